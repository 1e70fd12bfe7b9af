//! For who follows the whole stream, such as what tells application services.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Entry, Live};
use crate::store::StreamPosition;

impl Live {
    /// Tells whenever the stream has moved on: for who follows all of it.
    pub fn news(&self) -> watch::Receiver<StreamPosition> {
        self.news.subscribe()
    }

    /// What happened after a position, oldest first, at most `limit` entries. `None` if the window
    /// does not reach back so far.
    pub(in crate::store) fn entries_after(
        &self,
        position: StreamPosition,
        limit: usize,
    ) -> Option<Vec<Arc<Entry>>> {
        let inner = self.read();
        if !inner.window.covers(position) {
            return None;
        }
        let entries = inner.window.after(position).take(limit);
        Some(entries.cloned().collect())
    }
}
