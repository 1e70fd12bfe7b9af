//! A user's view of their rooms: memberships, and how far the user has read.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use imbl::HashMap;
use tokio::sync::Notify;

use super::Change;
use crate::store::{Membership, RoomNid, RoomPosition, UserNid};

/// Who is meant by a mention of the whole room.
pub const EVERYBODY: UserNid = UserNid(0);

/// The most mentions that are counted in a room.
const MAX_HIGHLIGHTS: usize = 100;

/// One room in a user's view.
#[derive(Clone, Debug, Default)]
pub struct RoomOfUser {
    /// What the user is to the room.
    pub membership: Membership,
    /// The position of the membership event.
    pub position: RoomPosition,
    /// Whether the user has forgotten the room.
    pub forgotten: bool,
    /// How far the user has read.
    pub read_position: RoomPosition,
    /// The count of unread messages up to there.
    pub read_notify_count: i64,
    /// Events after that which mention the user.
    pub highlights: Arc<Vec<RoomPosition>>,
}

/// All rooms that a user has to do with. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct UserRooms(HashMap<RoomNid, RoomOfUser>);

impl UserRooms {
    /// A view of these rooms.
    pub fn new(rooms: impl IntoIterator<Item = (RoomNid, RoomOfUser)>) -> Self {
        Self(rooms.into_iter().collect())
    }

    /// One room of the view.
    pub fn get(&self, room: RoomNid) -> Option<&RoomOfUser> {
        self.0.get(&room)
    }

    /// The user's membership in a room.
    pub fn membership(&self, room: RoomNid) -> Membership {
        self.get(room)
            .map_or(Membership::Leave, |room| room.membership)
    }

    /// All rooms, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (RoomNid, &RoomOfUser)> {
        self.0.iter().map(|(room, of_user)| (*room, of_user))
    }

    /// The rooms in which the user is this, in no order.
    pub fn with(&self, membership: Membership) -> impl Iterator<Item = RoomNid> {
        self.iter()
            .filter(move |(_, room)| room.membership == membership)
            .map(|(room, _)| room)
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rooms whose events the user sees.
    pub(super) fn watched(&self) -> Vec<RoomNid> {
        self.with(Membership::Join).collect()
    }

    /// Takes in a change that concerns this user.
    pub(super) fn apply(&mut self, user: UserNid, change: &Change) {
        match change {
            Change::Event(event) => {
                if let Some(member) = event.member.filter(|member| member.user == user) {
                    let mut room = self.0.get(&event.room).cloned().unwrap_or_default();
                    room.membership = member.after;
                    room.position = event.position;
                    room.forgotten = false;
                    self.0.insert(event.room, room);
                }
                if event.sender == user && event.marks_read() {
                    self.mark_read(event.room, event.position, event.notify_count);
                } else if event.sender != user
                    && (event.mentions.contains(&user) || event.mentions.contains(&EVERYBODY))
                    && let Some(room) = self.0.get_mut(&event.room)
                    && room.highlights.len() < MAX_HIGHLIGHTS
                {
                    Arc::make_mut(&mut room.highlights).push(event.position);
                }
            }
            Change::Receipt {
                room,
                user: reader,
                thread,
                position,
                notify_count,
                ..
            } if *reader == user && matches!(&**thread, "" | "main") => {
                self.mark_read(*room, *position, *notify_count);
            }
            Change::Receipt { .. }
            | Change::AccountData { .. }
            | Change::DeviceList { .. }
            | Change::ToDevice { .. }
            | Change::OneTimeKeys { .. }
            | Change::Nothing => {}
        }
    }

    fn mark_read(&mut self, room: RoomNid, position: RoomPosition, notify_count: i64) {
        let Some(room) = self.0.get_mut(&room) else {
            return;
        };
        if room.read_position < position {
            room.read_position = position;
            room.read_notify_count = notify_count;
        }
        if !room.highlights.is_empty() {
            Arc::make_mut(&mut room.highlights).retain(|highlight| *highlight > position);
        }
    }
}

/// A user whose view is in memory.
#[derive(Debug)]
pub(super) struct OnlineUser {
    rooms: UserRooms,
    waiter: Arc<Notify>,
    last_used: AtomicU64,
}

impl OnlineUser {
    pub(super) fn new(rooms: UserRooms, use_number: u64) -> Self {
        Self {
            rooms,
            waiter: Arc::new(Notify::new()),
            last_used: AtomicU64::new(use_number),
        }
    }

    pub(super) fn rooms(&self) -> &UserRooms {
        &self.rooms
    }

    /// Notes a use, by a number that grows with each.
    pub(super) fn touch(&self, use_number: u64) {
        self.last_used.store(use_number, Ordering::Relaxed);
    }

    pub(super) fn rooms_mut(&mut self) -> &mut UserRooms {
        &mut self.rooms
    }

    pub(super) fn waiter(&self) -> Arc<Notify> {
        Arc::clone(&self.waiter)
    }

    pub(super) fn wake(&self) {
        self.waiter.notify_waiters();
    }

    /// Whether a sync holds the waiter.
    pub(super) fn is_waiting(&self) -> bool {
        Arc::strong_count(&self.waiter) > 1
    }

    pub(super) fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }
}
