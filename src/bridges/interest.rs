//! What concerns a service.
//!
//! A room concerns it by its id, by an alias, or by a member; a membership event of one of its users
//! does so too, wherever it is. What is known of a room is kept and brought up to date by the events
//! that pass by, so that an event costs the same in a room of any size.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use ruma::{OwnedRoomId, RoomId, UserId};

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
/// Of how many rooms the members are read at once.
const LEARNED: usize = 20;
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
            let is_known = of_room.concerns();
            if is_known || !service.has_aliases() || of_room.looked_at.elapsed() < ALIASES_KEPT {
                return Ok(is_known);
            }
            of_room.by_name = has_alias(store, service, room).await?;
            of_room.looked_at = Instant::now();
            return Ok(of_room.by_name);
        }
        let rooms = [(room, room_id.to_owned())];
        self.learn(store, service, server_name, &rooms).await?;
        Ok(self.knows(room) == Some(true))
    }

    /// Whether what happens in a room concerns the service, as far as is known without asking.
    pub(super) fn knows(&self, room: RoomNid) -> Option<bool> {
        let of_room = self.rooms.get(&room)?;
        Some(of_room.concerns())
    }

    /// Finds out about rooms of which nothing is known.
    pub(super) async fn learn(
        &mut self,
        store: &Store,
        service: &Service,
        server_name: &str,
        rooms: &[(RoomNid, OwnedRoomId)],
    ) -> Result<(), StoreError> {
        for rooms in rooms.chunks(LEARNED) {
            let nids: Vec<RoomNid> = rooms.iter().map(|(room, _)| *room).collect();
            let mut conn = store.conn().await?;
            let members = appservices::list_local_members(&mut conn, &nids, server_name).await?;
            let aliases = if service.has_aliases() {
                directory::list_aliases_of(&mut conn, &nids).await?
            } else {
                Vec::new()
            };
            drop(conn);
            let looked_at = Instant::now();
            let mut found: HashMap<RoomNid, OfRoom> = rooms
                .iter()
                .map(|(room, room_id)| {
                    let of_room = OfRoom {
                        by_name: service.covers_room(room_id),
                        looked_at,
                        members: HashSet::new(),
                    };
                    (*room, of_room)
                })
                .collect();
            for (room, user, user_id) in members {
                if service.covers_user(&user_id)
                    && let Some(of_room) = found.get_mut(&room)
                {
                    of_room.members.insert(user);
                }
            }
            for (room, alias) in aliases {
                if let Some(of_room) = found.get_mut(&room) {
                    of_room.by_name |= service.covers_alias(&alias);
                }
            }
            if self.rooms.len() + found.len() > MAX_ROOMS || self.members >= MAX_MEMBERS {
                self.rooms.clear();
                self.members = 0;
            }
            let members = found.values().map(|of_room| of_room.members.len());
            self.members += members.sum::<usize>();
            self.rooms.extend(found);
        }
        Ok(())
    }
}

impl OfRoom {
    fn concerns(&self) -> bool {
        self.by_name || !self.members.is_empty()
    }
}

async fn has_alias(store: &Store, service: &Service, room: RoomNid) -> Result<bool, StoreError> {
    let mut conn = store.conn().await?;
    let aliases = directory::list_aliases(&mut conn, room).await?;
    Ok(aliases.iter().any(|alias| service.covers_alias(alias)))
}
