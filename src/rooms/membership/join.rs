//! Joining rooms.
//!
//! Client-server API v1.19, `POST /join/{roomIdOrAlias}`, and "Restricted rooms"; room version 8
//! for how a member vouches for somebody who joins a restricted room.

use std::{collections::HashSet, sync::Arc};

use ruma::{
    CanonicalJsonObject, OwnedRoomId, OwnedUserId, RoomId, RoomOrAliasId, UserId,
    events::room::{guest_access::GuestAccess, member::MembershipState},
    room::{AllowRule, JoinRule},
};
use serde_json::{Map, Value};

use super::{MemberContent, SignedInvite};
use crate::{
    event::{Room, build},
    rooms::{Actor, Error, Planned, Rooms},
    store::{Membership, live::LiveRoom},
};

/// The fields of a member event that say something to servers: a client does not choose them.
const RESERVED: &[&str] = &[
    "avatar_url",
    "displayname",
    "is_direct",
    "join_authorised_via_users_server",
    "membership",
    "reason",
    "third_party_invite",
    "third_party_signed",
];

/// What somebody says when they join.
#[derive(Clone, Debug, Default)]
pub struct Joining<'a> {
    /// Why.
    pub reason: Option<&'a str>,
    /// An invitation by e-mail that they exchange on the way.
    pub invite: Option<SignedInvite>,
    /// Whether they have a guest account: rooms say whether those may join.
    pub is_guest: bool,
    /// Fields of the member event that are the client's own; see [`Self::with_fields`].
    pub custom: CanonicalJsonObject,
}

impl Joining<'_> {
    /// With those of a body's fields that go into the member event as they are.
    ///
    /// # Errors
    /// [`Error::BadJson`] for what no event can hold, such as fractions.
    pub fn with_fields(self, mut fields: Map<String, Value>) -> Result<Self, Error> {
        for name in RESERVED {
            fields.remove(*name);
        }
        let custom = build::content_from(&fields)
            .map_err(|_| Error::BadJson("the fields fit into no event"))?;
        Ok(Self { custom, ..self })
    }
}

impl Rooms {
    /// Joins a room. Does nothing in a room where the user is joined.
    ///
    /// # Errors
    /// [`Error::UnknownRoom`] or [`Error::UnknownAlias`] where there is none,
    /// [`Error::Unreachable`] for those of other servers, and [`Error::Forbidden`] where the join
    /// rule or a ban says so; [`Error::GuestAccess`] for guests whom the room does not want.
    pub async fn join(
        &self,
        actor: &Actor,
        room: &RoomOrAliasId,
        joining: &Joining<'_>,
    ) -> Result<OwnedRoomId, Error> {
        let (room_id, room) = self.named_room(room).await?;
        // The user may have been asked in, or have left, at another process a moment ago.
        self.0.store.catch_up().await?;
        if room.head().room().is_joined(&actor.user_id) {
            return Ok(room_id);
        }
        let is_invited = *room.head().room().membership(&actor.user_id) == MembershipState::Invite;
        if let Some(invite) = joining.invite.as_ref().filter(|_| !is_invited) {
            self.accept_signed_invite(actor, &room, invite).await?;
        }
        let shown = self.shown(actor.user).await?;
        let allowed = self.allowed_rooms(room.head().room(), actor).await?;
        let plan = |room: &Room| {
            if room.is_joined(&actor.user_id) {
                return Ok(Vec::new());
            }
            if joining.is_guest && *room.guest_access() != GuestAccess::CanJoin {
                return Err(Error::GuestAccess);
            }
            let content = MemberContent {
                reason: joining.reason,
                custom: Some(&joining.custom),
                join_authorised_via_users_server: self.authorizer(room, actor, &allowed)?,
                ..MemberContent::showing(MembershipState::Join, &shown)
            };
            Ok(vec![Planned::by(actor, content.draft(&actor.user_id)?)])
        };
        self.update(&room_id, actor, None, plan).await?;
        self.take_over_settings(actor, &room_id).await;
        Ok(room_id)
    }

    /// The room that a client names by id or alias.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub(in crate::rooms) async fn named_room(
        &self,
        room: &RoomOrAliasId,
    ) -> Result<(OwnedRoomId, Arc<LiveRoom>), Error> {
        let room_id = match <&RoomId>::try_from(room) {
            Ok(room_id) => room_id.to_owned(),
            Err(alias) => self.resolve_alias(alias).await?,
        };
        if let Some(room) = self.find_room(&room_id).await? {
            return Ok((room_id, room));
        }
        let elsewhere = |server| server != self.server_name();
        Err(if room_id.server_name().is_some_and(elsewhere) {
            Error::Unreachable
        } else {
            Error::UnknownRoom
        })
    }

    /// Whether a user who joins this room does so only because everybody may: it is public, and
    /// nobody invited them. `false` where there is no such room, or they are joined.
    pub async fn joins_unasked(&self, actor: &Actor, room: &RoomOrAliasId) -> Result<bool, Error> {
        let room = match self.named_room(room).await {
            Ok((_, room)) => room,
            Err(Error::UnknownAlias | Error::UnknownRoom | Error::Unreachable) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let head = room.head();
        let room = head.room();
        let membership = room.membership(&actor.user_id);
        let is_asked = matches!(membership, MembershipState::Invite | MembershipState::Join);
        Ok(*room.join_rule() == JoinRule::Public && !is_asked)
    }

    /// The rooms whose members may join a restricted room and in which the user is joined.
    pub(in crate::rooms) async fn allowed_rooms(
        &self,
        room: &Room,
        actor: &Actor,
    ) -> Result<HashSet<OwnedRoomId>, Error> {
        let mut allowed: HashSet<_> = allow_rules(room).cloned().collect();
        if !allowed.is_empty() {
            let mine = self.rooms_with(actor.user, &[Membership::Join]).await?;
            let mine: HashSet<_> = mine.into_iter().collect();
            allowed.retain(|room_id| mine.contains(room_id));
        }
        Ok(allowed)
    }

    /// The member who vouches for somebody who joins a restricted room without an invite; none
    /// where nobody needs to. `allowed` is what [`Self::allowed_rooms`] said.
    pub(in crate::rooms) fn authorizer(
        &self,
        room: &Room,
        actor: &Actor,
        allowed: &HashSet<OwnedRoomId>,
    ) -> Result<Option<OwnedUserId>, Error> {
        let is_restricted = matches!(
            room.join_rule(),
            JoinRule::Restricted(_) | JoinRule::KnockRestricted(_)
        ) && room.rules().authorization.restricted_join_rule;
        let may_join_anyway = matches!(
            room.membership(&actor.user_id),
            MembershipState::Invite | MembershipState::Join
        );
        if !is_restricted || may_join_anyway {
            return Ok(None);
        }
        // The rules may have changed since `allowed` was asked for.
        if !allow_rules(room).any(|room_id| allowed.contains(room_id)) {
            let message = "you are in none of the rooms whose members may join";
            return Err(Error::Forbidden(message.to_owned()));
        }
        let authorizer = find_authorizer(room, |user_id| self.is_local(user_id));
        let authorizer = authorizer
            .ok_or_else(|| Error::Forbidden("nobody in the room may let you in".to_owned()))?;
        Ok(Some(authorizer))
    }
}

/// The rooms whose members may join a restricted room.
pub(in crate::rooms) fn allow_rules(room: &Room) -> impl Iterator<Item = &OwnedRoomId> {
    let rules = match room.join_rule() {
        JoinRule::Restricted(rules) | JoinRule::KnockRestricted(rules) => Some(&rules.allow),
        _ => None,
    };
    let rules = rules.into_iter().flatten();
    rules.filter_map(|rule| match rule {
        AllowRule::RoomMembership(membership) => Some(&membership.room_id),
        _ => None,
    })
}

/// A joined member of this server who may invite. Those with a level of their own come first, so
/// that the members are walked only where everybody may invite.
pub(in crate::rooms) fn find_authorizer(
    room: &Room,
    is_local: impl Fn(&UserId) -> bool,
) -> Option<OwnedUserId> {
    let levels = room.power_levels();
    let fits = |user_id: &&UserId| {
        levels.user(user_id) >= levels.invite() && is_local(user_id) && room.is_joined(user_id)
    };
    let named = levels.users().map(|(user_id, _)| user_id);
    let found = levels.infinite_users().chain(named).find(fits);
    let everybody = || {
        let members = room.joined_members();
        (levels.users_default() >= levels.invite())
            .then_some(members)?
            .into_iter()
            .find(fits)
    };
    found.or_else(everybody).map(ToOwned::to_owned)
}
