//! For those who follow the whole stream.

use std::sync::Arc;

use ruma::EventId;
use tokio::sync::watch;

use super::{Entry, Live, TimelineEvent};
use crate::store::{RoomNid, StreamPosition};

impl Live {
    /// The entries after a position, at most `limit`. `None` if the window does not reach back so
    /// far.
    pub(in crate::store) fn entries_after(
        &self,
        position: StreamPosition,
        limit: usize,
    ) -> Option<Vec<Arc<Entry>>> {
        let window = &self.read().window;
        let covers = window.covers(position);
        covers.then(|| window.after(position).take(limit).cloned().collect())
    }

    /// Tells each time that readers of this process see more of the stream.
    pub fn advances(&self) -> watch::Receiver<StreamPosition> {
        self.advanced.subscribe()
    }

    /// A recent event of a room, by its id.
    pub fn recent_event(&self, room: RoomNid, id: &EventId) -> Option<Arc<TimelineEvent>> {
        let inner = self.read();
        let mut events = inner.window.events_of(room);
        events.find(|event| event.pdu.event_id() == id)
    }
}
