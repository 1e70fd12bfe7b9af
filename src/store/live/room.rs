//! Rooms in memory: the committed head that readers see, and the head that writers build on.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use super::TimelineEvent;
use crate::{
    event::Room,
    store::{RoomNid, RoomPosition},
};

/// A snapshot of a room with what the store counts along.
#[derive(Clone, Debug)]
pub struct RoomHead {
    room: Room,
    notify_count: i64,
}

impl RoomHead {
    /// A head; `notify_count` is that of the last event.
    pub fn new(room: Room, notify_count: i64) -> Self {
        Self { room, notify_count }
    }

    /// The room.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// How many events count as unread messages.
    pub fn notify_count(&self) -> i64 {
        self.notify_count
    }

    /// The position of the last event.
    pub fn position(&self) -> RoomPosition {
        RoomPosition(self.room.version())
    }
}

/// A room that is in memory.
#[derive(Debug)]
pub struct LiveRoom {
    nid: RoomNid,
    committed: ArcSwap<RoomHead>,
    /// One writer of this process at a time, in the order in which they came.
    writer: AsyncMutex<()>,
    /// The head after the writes that are under way.
    speculative: Mutex<Speculative>,
}

#[derive(Debug, Default)]
struct Speculative {
    head: Option<Arc<RoomHead>>,
    /// Counts how often the speculative head was thrown away: a write that fails throws away
    /// only the heads that were built on it.
    generation: u64,
}

/// The right to put the next event on a room's line.
#[derive(Debug)]
pub struct RoomWriter<'a> {
    room: &'a LiveRoom,
    head: Arc<RoomHead>,
    generation: u64,
    _turn: MutexGuard<'a, ()>,
}

impl LiveRoom {
    pub(in crate::store) fn new(nid: RoomNid, head: Arc<RoomHead>) -> Self {
        Self {
            nid,
            committed: ArcSwap::new(head),
            writer: AsyncMutex::new(()),
            speculative: Mutex::default(),
        }
    }

    /// The room's number.
    pub fn nid(&self) -> RoomNid {
        self.nid
    }

    /// The room as it is committed.
    pub fn head(&self) -> Arc<RoomHead> {
        self.committed.load_full()
    }

    /// Waits for this process's turn to write.
    pub async fn writer(&self) -> RoomWriter<'_> {
        let turn = self.writer.lock().await;
        let committed = self.head();
        let mut speculative = self.lock();
        // What has been committed since is no longer speculation.
        if speculative
            .head
            .as_ref()
            .is_some_and(|head| head.position() <= committed.position())
        {
            speculative.head = None;
        }
        let head = speculative.head.clone().unwrap_or(committed);
        RoomWriter {
            room: self,
            head,
            generation: speculative.generation,
            _turn: turn,
        }
    }

    /// Forgets the heads that were built on a failed write of this generation.
    pub fn discard(&self, generation: u64) {
        let mut speculative = self.lock();
        if speculative.generation == generation {
            speculative.generation += 1;
            speculative.head = None;
        }
    }

    /// A commit of this process: the head comes with it.
    pub(in crate::store) fn advance_to(&self, head: &Arc<RoomHead>) {
        self.committed.rcu(|now| {
            if now.position() < head.position() {
                Arc::clone(head)
            } else {
                Arc::clone(now)
            }
        });
    }

    /// A committed event, of this process or another. Does nothing if the head has it already.
    /// Says `false` if the head is further behind than this event: then it must be loaded anew.
    pub(in crate::store) fn advance_by(&self, event: &TimelineEvent) -> bool {
        let now = self.head();
        if now.position() >= event.position {
            return true;
        }
        if now.position().0 + 1 != event.position.0 {
            return false;
        }
        let room = now.room().after(&event.pdu);
        self.advance_to(&Arc::new(RoomHead::new(room, event.notify_count)));
        true
    }

    /// A state event of the head lost its content.
    pub(in crate::store) fn redact(&self, event: &TimelineEvent) {
        if event.slot.is_none() {
            return;
        }
        self.committed.rcu(|now| {
            let room = now.room().with_redacted(&event.pdu);
            Arc::new(RoomHead::new(room, now.notify_count()))
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Speculative> {
        self.speculative
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl RoomWriter<'_> {
    /// The head to build on.
    pub fn head(&self) -> &Arc<RoomHead> {
        &self.head
    }

    /// The generation to name in [`LiveRoom::discard`] should the write fail.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Says that a write with this head has been handed to the journal: the next writer builds on
    /// it. Ends the turn.
    pub fn submitted(self, head: Arc<RoomHead>) {
        let mut speculative = self.room.lock();
        if speculative.generation == self.generation {
            speculative.head = Some(head);
        }
    }
}
