//! Unread messages that were worked out, kept for as long as what they rest on.

use std::{collections::BTreeMap, sync::Arc};

use ruma::OwnedEventId;

use super::{Unread, UnreadOf};
use crate::{
    event::push::Rules,
    store::{
        RoomPosition, StreamPosition,
        live::{Ignored, OwnRules},
    },
};

/// What was worked out before, and what that is good for.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) basis: Basis,
    /// The last event that was asked; with the usual rules, how many events of threads there were.
    pub(super) until: i64,
    pub(super) unread: Unread,
    /// With the usual rules, since when messages of threads are counted; only threads that have any.
    pub(super) since: BTreeMap<OwnedEventId, RoomPosition>,
}

/// What a tally rests on.
#[derive(Clone, Debug)]
pub(super) struct Basis {
    read_position: RoomPosition,
    threads_position: RoomPosition,
    thread_reads: Arc<BTreeMap<OwnedEventId, RoomPosition>>,
    written_in_threads: RoomPosition,
    rules: Option<Arc<Rules>>,
    ignored: Option<Arc<Ignored>>,
    members: usize,
    /// When subscriptions to threads have last changed, where they say what counts.
    subscribed_at: StreamPosition,
}

impl Basis {
    pub(super) fn new(
        of: UnreadOf<'_>,
        own: Option<&OwnRules>,
        subscribed_at: StreamPosition,
    ) -> Self {
        Self {
            read_position: of.of_user.read_position,
            threads_position: of.of_user.threads_position,
            thread_reads: Arc::clone(&of.of_user.thread_reads),
            written_in_threads: of.of_user.written_in_threads,
            rules: own.and_then(|own| own.rules.clone()),
            ignored: own.map(|own| Arc::clone(&own.ignored)),
            // What the usual rules say of messages is the same in a room of two.
            members: own.map_or(0, |_| of.head.room().joined_count()),
            subscribed_at,
        }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        let same_rules = match (&self.rules, &other.rules) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        self.read_position == other.read_position
            && self.threads_position == other.threads_position
            && self.members == other.members
            && self.subscribed_at == other.subscribed_at
            && same_rules
            && self.ignored == other.ignored
            && self.thread_reads == other.thread_reads
    }

    /// Whether it is the same as far as threads go. What the user writes in them is no unread message
    /// and may not be in any count, and yet reads what came before; [`Self::is`] leaves that to those
    /// who look at the events.
    pub(super) fn is_threads(&self, other: &Self) -> bool {
        self.rules.is_none()
            && self.ignored.is_none()
            && self.members == 0
            && self.subscribed_at == other.subscribed_at
            && self.threads_position == other.threads_position
            && self.written_in_threads == other.written_in_threads
            && self.thread_reads == other.thread_reads
    }
}
