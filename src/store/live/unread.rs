//! What changes users' views beside what they do themselves.

use super::{Inner, Live, TimelineEvent};
use crate::store::{RoomNid, RoomPosition, unread::ThreadsRead};

impl Live {
    /// Forgets the messages of a room up to a position: they were deleted.
    pub(in crate::store) fn purge(&self, room: RoomNid, position: RoomPosition) {
        self.write().window.purge(room, position);
    }

    /// Notes how far users have read all threads of rooms.
    pub(in crate::store) fn note_threads_read(&self, read: &[ThreadsRead]) {
        let mut inner = self.write();
        for read in read {
            if let Some(online) = inner.users.get_mut(&read.user) {
                online.rooms_mut().note_threads_read(read);
            }
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
