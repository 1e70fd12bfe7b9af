//! Who is in a room: joining, inviting, leaving, and what moderators do.
//!
//! Each operation is one plan for [`Rooms::update`]: it looks at the newest room, answers with no
//! event where nothing would change, and leaves the rest to the authorization rules. What is read
//! of the database, such as the profile that a member event copies, is read before.

mod everywhere;
mod invite;
mod join;
mod knock;
mod leave;
mod moderate;
mod third_party;

use std::collections::HashMap;

use ruma::{
    CanonicalJsonObject, OwnedRoomId, OwnedUserId, UserId,
    events::{StateEventType, room::member::MembershipState},
};
use serde::Serialize;

pub(super) use self::join::allow_rules;
pub use self::{
    everywhere::SomeRooms,
    join::Joining,
    third_party::{InvitingRoom, SignedInvite, ThirdPartyInvite},
};
use super::{Error, Rooms};
use crate::{
    event::{Draft, build},
    store::{
        Membership, RoomNid, UserNid,
        profiles::{self, Shown},
    },
};

/// The content of a member event (client-server API v1.19, `m.room.member`).
#[derive(Clone, Debug, Serialize)]
pub(super) struct MemberContent<'a> {
    pub(super) membership: MembershipState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) displayname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) avatar_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_direct: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) join_authorised_via_users_server: Option<OwnedUserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) third_party_invite: Option<&'a CanonicalJsonObject>,
    /// Fields of the client's own. None of the above is replaced by them.
    #[serde(skip)]
    pub(super) custom: Option<&'a CanonicalJsonObject>,
}

impl<'a> MemberContent<'a> {
    /// A membership without anything else.
    pub(super) fn new(membership: MembershipState) -> Self {
        Self {
            membership,
            displayname: None,
            avatar_url: None,
            reason: None,
            is_direct: false,
            join_authorised_via_users_server: None,
            third_party_invite: None,
            custom: None,
        }
    }

    /// With what the member shows of themselves.
    pub(super) fn showing(membership: MembershipState, shown: &'a Shown) -> Self {
        Self {
            displayname: shown.display_name.as_deref(),
            avatar_url: shown.avatar_url.as_deref(),
            ..Self::new(membership)
        }
    }

    /// The event.
    pub(super) fn draft(&self, user_id: &UserId) -> Result<Draft, Error> {
        let mut content = build::content_from(self)?;
        for (name, value) in self.custom.into_iter().flatten() {
            content.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let state_key = user_id.as_str();
        Ok(Draft::state(StateEventType::RoomMember, state_key, content))
    }
}

impl Rooms {
    /// The rooms in which a user has one of these memberships.
    pub(super) async fn rooms_with(
        &self,
        user: UserNid,
        memberships: &[Membership],
    ) -> Result<Vec<OwnedRoomId>, Error> {
        let rooms = self.room_numbers_with(user, memberships).await?;
        Ok(self.0.store.room_ids(&rooms).await?.into_values().collect())
    }

    pub(in crate::rooms) async fn room_numbers_with(
        &self,
        user: UserNid,
        memberships: &[Membership],
    ) -> Result<Vec<RoomNid>, Error> {
        let store = &self.0.store;
        store.load_user(user).await?;
        let rooms = store.live().rooms_of(user).map(|(_, rooms)| {
            let wanted = memberships.iter().flat_map(|one| rooms.with(*one));
            wanted.collect()
        });
        Ok(rooms.unwrap_or_default())
    }

    /// What a user of this server shows in rooms.
    pub(super) async fn shown(&self, user: UserNid) -> Result<Shown, Error> {
        let mut shown = self.shown_by(&[user]).await?;
        Ok(shown.remove(&user).unwrap_or_default())
    }

    /// What these users show in rooms, by one query.
    pub(super) async fn shown_by(
        &self,
        users: &[UserNid],
    ) -> Result<HashMap<UserNid, Shown>, Error> {
        let mut conn = self.0.store.conn().await?;
        Ok(profiles::list_shown(&mut conn, users).await?)
    }

    /// Whether a user belongs to this server.
    pub(super) fn is_local(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.server_name()
    }

    /// Invites go to users of this server only, as long as there is no federation.
    pub(super) fn require_reachable(&self, user_id: &UserId) -> Result<(), Error> {
        if user_id.as_str().contains('\0') {
            return Err(Error::Invalid("the user id is not valid".to_owned()));
        }
        if self.is_local(user_id) {
            Ok(())
        } else {
            Err(Error::Unreachable)
        }
    }
}
