//! What concerns a service.
//!
//! A room concerns it by its id, by an alias, or by a member; a membership event of one of its users
//! does so too, wherever it is. What is known of a room is kept and brought up to date by the events
//! that pass by, so that an event costs the same in a room of any size.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use ruma::{RoomId, UserId};

use crate::{
    appservice::Service,
    store::{
        Membership, RoomNid, Store, StoreError, UserNid, appservices, directory,
        live::TimelineEvent,
    },
};

/// How many rooms are kept, and how many members of theirs.
const MAX_ROOMS: usize = 20_000;
const MAX_MEMBERS: usize = 500_000;
/// How old what is known of a room's aliases may be: they are not in the stream.
const ALIASES_KEPT: Duration = Duration::from_secs(30);

/// What is known of the rooms.
#[derive(Default)]
pub(super) struct Interest {
    rooms: HashMap<RoomNid, OfRoom>,
    members: usize,
}

struct OfRoom {
    /// By its id, or by an alias.
    by_name: bool,
    looked_at: Instant,
    /// The service's users among its members.
    members: HashSet<UserNid>,
}

impl Interest {
    /// Whether an event concerns the service.
    pub(super) async fn in_event(
        &mut self,
        store: &Store,
        service: &Service,
        server_name: &str,
        event: &TimelineEvent,
    ) -> Result<bool, StoreError> {
        let room_id = event.pdu.room_id();
        let was_in = self
            .in_room(store, service, server_name, event.room, room_id)
            .await?;
        let Some(change) = event.member else {
            return Ok(was_in);
        };
        let target = event.pdu.state_key().map(<&UserId>::try_from);
        let is_target = matches!(target, Some(Ok(target)) if service.covers_user(target));
        if is_target && let Some(of_room) = self.rooms.get_mut(&event.room) {
            let is_changed = if change.after == Membership::Join {
                of_room.members.insert(change.user)
            } else {
                of_room.members.remove(&change.user)
            };
            if is_changed && change.after == Membership::Join {
                self.members += 1;
            } else if is_changed {
                self.members = self.members.saturating_sub(1);
            }
        }
        Ok(was_in || is_target)
    }

    /// Whether what happens in a room concerns the service.
    pub(super) async fn in_room(
        &mut self,
        store: &Store,
        service: &Service,
        server_name: &str,
        room: RoomNid,
        room_id: &RoomId,
    ) -> Result<bool, StoreError> {
        if let Some(of_room) = self.rooms.get_mut(&room) {
            let is_known = of_room.by_name || !of_room.members.is_empty();
            if is_known || !service.has_aliases() || of_room.looked_at.elapsed() < ALIASES_KEPT {
                return Ok(is_known);
            }
            of_room.by_name = has_alias(store, service, room).await?;
            of_room.looked_at = Instant::now();
            return Ok(of_room.by_name);
        }
        let members = {
            let mut conn = store.conn().await?;
            appservices::list_local_members(&mut conn, room, server_name).await?
        };
        let members: HashSet<UserNid> = members
            .into_iter()
            .filter(|(_, user_id)| service.covers_user(user_id))
            .map(|(user, _)| user)
            .collect();
        let by_name = service.covers_room(room_id)
            || (service.has_aliases() && has_alias(store, service, room).await?);
        if self.rooms.len() >= MAX_ROOMS || self.members >= MAX_MEMBERS {
            self.rooms.clear();
            self.members = 0;
        }
        self.members += members.len();
        let is_known = by_name || !members.is_empty();
        self.rooms.insert(
            room,
            OfRoom {
                by_name,
                looked_at: Instant::now(),
                members,
            },
        );
        Ok(is_known)
    }
}

async fn has_alias(store: &Store, service: &Service, room: RoomNid) -> Result<bool, StoreError> {
    let mut conn = store.conn().await?;
    let aliases = directory::list_aliases(&mut conn, room).await?;
    Ok(aliases.iter().any(|alias| service.covers_alias(alias)))
}
