//! Who is in a room: joining, inviting, leaving, and what moderators do.
//!
//! Each operation is one plan for [`Rooms::update`]: it looks at the newest room, answers with no
//! event where nothing would change, and leaves the rest to the authorization rules. What is read
//! of the database, such as the profile that a member event copies, is read before.

mod invite;
mod join;
mod knock;
mod leave;
mod moderate;
mod third_party;

use std::collections::HashMap;

use futures_util::{StreamExt as _, future::BoxFuture, stream};
use ruma::{
    CanonicalJsonObject, OwnedRoomId, OwnedUserId, UserId,
    events::{StateEventType, room::member::MembershipState},
};
use serde::Serialize;

pub use self::third_party::{InvitingRoom, ThirdPartyInvite};
use super::{Actor, Error, Planned, Rooms};
use crate::{
    event::{Draft, Room, build},
    store::{
        Membership, UserNid,
        profiles::{self, Shown},
    },
};

/// How many rooms of one user are written to at once.
const ROOMS_AT_ONCE: usize = 8;

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
        let content = build::content_from(self)?;
        let state_key = user_id.as_str();
        Ok(Draft::state(StateEventType::RoomMember, state_key, content))
    }
}

impl Rooms {
    /// Sends a changed profile into all rooms in which its owner is joined; `actor` is the owner,
    /// whoever made the change. To be called after the profile was stored: it is read anew here,
    /// so that of two changes the later one lasts.
    ///
    /// # Errors
    /// What went wrong in the first room that failed; the others are done all the same.
    pub async fn profile_changed(&self, actor: &Actor) -> Result<(), Error> {
        let rooms = self.rooms_with(actor.user, &[Membership::Join]).await?;
        let shown = &self.shown(actor.user).await?;
        let tasks = rooms.into_iter().map(|room_id| -> BoxFuture<'_, _> {
            Box::pin(async move {
                let plan = |room: &Room| plan_profile(room, actor, shown);
                let outcome = self.update(&room_id, actor, None, plan).await;
                (room_id, outcome.map(drop))
            })
        });
        finish(tasks.collect()).await
    }

    /// Leaves all rooms and refuses all invites, as closing an account asks. Safe to do again.
    ///
    /// # Errors
    /// What went wrong in the first room that failed; the others are left all the same.
    pub async fn leave_all(&self, actor: &Actor) -> Result<(), Error> {
        let present = [Membership::Join, Membership::Invite, Membership::Knock];
        let rooms = self.rooms_with(actor.user, &present).await?;
        let tasks = rooms.into_iter().map(|room_id| -> BoxFuture<'_, _> {
            Box::pin(async move {
                let outcome = self.leave(actor, &room_id, None).await;
                (room_id, outcome)
            })
        });
        finish(tasks.collect()).await
    }

    /// The rooms in which a user has one of these memberships.
    async fn rooms_with(
        &self,
        user: UserNid,
        memberships: &[Membership],
    ) -> Result<Vec<OwnedRoomId>, Error> {
        let store = &self.0.store;
        store.load_user(user).await?;
        let rooms: Vec<_> = store
            .live()
            .rooms_of(user)
            .map(|(_, rooms)| {
                let wanted = memberships.iter().flat_map(|one| rooms.with(*one));
                wanted.collect()
            })
            .unwrap_or_default();
        Ok(store.room_ids(&rooms).await?.into_values().collect())
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

/// Waits for what is done in each of a user's rooms, a few at a time. A room that fails stops
/// nothing.
async fn finish(tasks: Vec<BoxFuture<'_, (OwnedRoomId, Result<(), Error>)>>) -> Result<(), Error> {
    let mut first = Ok(());
    let mut outcomes = stream::iter(tasks).buffer_unordered(ROOMS_AT_ONCE);
    while let Some((room_id, outcome)) = outcomes.next().await {
        if let Err(error) = outcome {
            tracing::warn!(room.id = %room_id, %error, "one of a user's rooms was not updated");
            first = first.and(Err(error));
        }
    }
    first
}

/// The member event after a changed profile, in a room where the user is joined and shows
/// something else.
fn plan_profile(room: &Room, actor: &Actor, shown: &Shown) -> Result<Vec<Planned>, Error> {
    #[derive(serde::Deserialize)]
    struct Now {
        displayname: Option<String>,
        avatar_url: Option<String>,
    }
    if !room.is_joined(&actor.user_id) {
        return Ok(Vec::new());
    }
    let now = room.state_content::<Now>(&StateEventType::RoomMember, actor.user_id.as_str());
    if now.is_some_and(|now| {
        now.displayname == shown.display_name && now.avatar_url == shown.avatar_url
    }) {
        return Ok(Vec::new());
    }
    let content = MemberContent::showing(MembershipState::Join, shown);
    Ok(vec![Planned::by(actor, content.draft(&actor.user_id)?)])
}
