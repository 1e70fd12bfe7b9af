//! What changes users' views beside what they do themselves.

use super::{Inner, Live, TimelineEvent};
use crate::store::{RoomNid, RoomPosition, UserNid};

impl Live {
    /// Forgets the messages of a room up to a position: they were deleted.
    pub(in crate::store) fn purge(&self, room: RoomNid, position: RoomPosition) {
        self.write().window.purge(room, position);
    }

    /// Notes how far a user has read all threads of a room.
    pub(in crate::store) fn note_threads_read(
        &self,
        user: UserNid,
        room: RoomNid,
        position: RoomPosition,
        notify_count: i64,
    ) {
        if let Some(online) = self.write().users.get_mut(&user) {
            online
                .rooms_mut()
                .note_threads_read(room, position, notify_count);
        }
    }
}

impl Inner {
    /// A redacted event highlights nobody's room any more.
    pub(super) fn forget_highlight(&mut self, event: &TimelineEvent) {
        for user in self.watchers.get(&event.room).into_iter().flatten() {
            if let Some(online) = self.users.get_mut(user) {
                online.rooms_mut().forget_highlight(event);
            }
        }
    }
}
