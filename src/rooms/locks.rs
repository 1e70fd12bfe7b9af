//! Turns for changes that read what they change, such as adding a tag to others.

use tokio::sync::{Mutex, MutexGuard};

use crate::store::{RoomNid, UserNid};

/// How many locks there are. Two keys may share one: then one waits for the other for no reason,
/// for as long as a commit takes.
const COUNT: i64 = 251;

/// Locks by user and room. They hold within this process.
#[derive(Debug)]
pub(super) struct Locks(Vec<Mutex<()>>);

impl Locks {
    pub(super) fn new() -> Self {
        Self((0..COUNT).map(|_| Mutex::new(())).collect())
    }

    /// Waits for the turn on a user's affairs in a room; [`None`] stands for the global ones.
    pub(super) async fn turn(&self, user: UserNid, room: Option<RoomNid>) -> MutexGuard<'_, ()> {
        let room = room.unwrap_or_default();
        let mixed = user.0.wrapping_mul(31).wrapping_add(room.0);
        let at = usize::try_from(mixed.rem_euclid(COUNT)).unwrap_or_default();
        let lock = self.0.get(at).or(self.0.first());
        match lock {
            Some(lock) => lock.lock().await,
            None => unreachable!("there are always locks"),
        }
    }
}
