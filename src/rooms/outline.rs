//! What somebody who is not in a room may know of it: whether they may, and its outline.
//!
//! Client-server API v1.19, "Room summary" and "Spaces".

use std::{collections::HashSet, sync::Arc};

use ruma::{
    OwnedRoomId, RoomOrAliasId, RoomVersionId, UserId,
    events::{
        StateEventType,
        room::{history_visibility::HistoryVisibility, member::MembershipState},
    },
    room::JoinRule,
};
use serde::Deserialize;

use super::{Actor, Error, Rooms, membership, persist};
use crate::{
    event::Room,
    store::{
        Membership,
        journal::RoomSummary,
        live::{LiveRoom, RoomHead},
        memberships,
    },
};

/// Who looks at rooms from the outside.
#[derive(Clone, Debug)]
pub struct Onlooker {
    actor: Actor,
    /// Whether rooms that are open to everybody are shown: by Tchap's rules not to guests.
    sees_public: bool,
    joined: HashSet<OwnedRoomId>,
}

/// What is told of a room to those who may join it.
#[derive(Clone, Debug)]
pub struct Outline {
    /// The room's id.
    pub room_id: OwnedRoomId,
    /// Name, topic, and what else the directory shows.
    pub summary: RoomSummary,
    /// Who may join.
    pub join_rule: JoinRule,
    /// The algorithm, if the room is encrypted.
    pub encryption: Option<String>,
    /// The room's version.
    pub room_version: RoomVersionId,
}

impl Rooms {
    /// Somebody who looks at rooms, with the rooms in which they are joined.
    pub async fn onlooker(&self, actor: &Actor, sees_public: bool) -> Result<Onlooker, Error> {
        let joined = self.rooms_with(actor.user, &[Membership::Join]).await?;
        Ok(Onlooker {
            actor: actor.clone(),
            sees_public,
            joined: joined.into_iter().collect(),
        })
    }

    /// The outline of a room, and what the onlooker is to it (client-server API v1.19,
    /// `GET /room_summary/{roomIdOrAlias}`).
    ///
    /// # Errors
    /// [`Error::UnknownRoom`] where there is no such room, or the onlooker may not know of it.
    pub async fn outline(
        &self,
        onlooker: &Onlooker,
        room: &RoomOrAliasId,
    ) -> Result<(Outline, MembershipState), Error> {
        let (_, room) = match self.named_room(room).await {
            Err(Error::UnknownAlias) => return Err(Error::UnknownRoom),
            found => found?,
        };
        let head = room.head();
        if !onlooker.may_know(head.room()) {
            return Err(Error::UnknownRoom);
        }
        let membership = head.room().membership(&onlooker.actor.user_id).clone();
        Ok((Outline::of(head.room()), membership))
    }

    /// The rooms in which two users are both joined, in the order of their ids (client-server API
    /// v1.19, `GET /mutual_rooms`).
    ///
    /// # Errors
    /// [`Error::Invalid`] for oneself.
    pub async fn mutual_rooms(
        &self,
        actor: &Actor,
        other: &UserId,
    ) -> Result<Vec<OwnedRoomId>, Error> {
        if actor.user_id == other {
            let message = "the rooms that you share with yourself are all of yours";
            return Err(Error::Invalid(message.to_owned()));
        }
        // The database keeps no NUL, so nobody has one in their id.
        if other.as_str().contains('\0') {
            return Ok(Vec::new());
        }
        let mut conn = self.0.store.conn().await?;
        Ok(memberships::list_mutual(&mut conn, actor.user, other).await?)
    }
}

impl Onlooker {
    /// Whether the onlooker may know of a room: they are in it or asked in, may join or knock, or
    /// everybody may read it.
    pub(super) fn may_know(&self, room: &Room) -> bool {
        match room.membership(&self.actor.user_id) {
            MembershipState::Join | MembershipState::Invite => return true,
            MembershipState::Ban => return false,
            _ => {}
        }
        let rules = &room.rules().authorization;
        let is_allowed = || membership::allow_rules(room).any(|room| self.joined.contains(room));
        let may_join = match room.join_rule() {
            JoinRule::Public => self.sees_public,
            JoinRule::Knock => rules.knocking && self.sees_public,
            JoinRule::Restricted(_) => rules.restricted_join_rule && is_allowed(),
            JoinRule::KnockRestricted(_) => {
                rules.knock_restricted_join_rule && (self.sees_public || is_allowed())
            }
            _ => false,
        };
        let is_readable = *room.history_visibility() == HistoryVisibility::WorldReadable;
        may_join || (is_readable && self.sees_public)
    }

    /// The head of a room, if the onlooker may know of it.
    pub(super) fn known(&self, room: &Arc<LiveRoom>) -> Option<Arc<RoomHead>> {
        let head = room.head();
        self.may_know(head.room()).then_some(head)
    }
}

impl Outline {
    /// The outline of a room as it is.
    pub(super) fn of(room: &Room) -> Self {
        #[derive(Deserialize)]
        struct Encryption {
            algorithm: String,
        }
        let encryption = room.state_content::<Encryption>(&StateEventType::RoomEncryption, "");
        Self {
            room_id: room.room_id().to_owned(),
            summary: persist::summary(room),
            join_rule: room.join_rule().clone(),
            encryption: encryption.map(|encryption| encryption.algorithm),
            room_version: room.room_version().clone(),
        }
    }
}
