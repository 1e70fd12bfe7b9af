//! The writes of one commit, laid out for the statements of [`super::commit`].

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Committed, RoomWrite, SendWrite, Write};
use crate::store::{
    DeviceNid, Membership, RoomNid, RoomPosition, StoreError, StreamPosition, UserNid,
    live::{Change, Entry, RoomHead, TimelineEvent, bump},
};

/// Several writes on their way into one transaction.
pub(super) struct Batch<'a> {
    writes: &'a [Write],
    /// Rooms that another process was faster in: their writes are left out.
    lost: HashSet<RoomNid>,
    /// The writes whose messages to devices were sent before.
    repeated: HashSet<usize>,
}

/// A state event's place in the temporal table.
pub(super) struct StateRow {
    pub(super) room: RoomNid,
    pub(super) slot: i64,
    pub(super) position: RoomPosition,
    pub(super) until: Option<RoomPosition>,
}

/// What a user is to a room after this commit.
pub(super) struct MembershipRow {
    pub(super) user: UserNid,
    pub(super) room: RoomNid,
    pub(super) membership: Membership,
    pub(super) position: RoomPosition,
    /// Whether somebody else ended it, and the user was joined.
    pub(super) removed: bool,
    /// Whether somebody else ended it, or said no once more: it stays removed if it was.
    pub(super) stays_removed: bool,
    /// For one who joined just now, the position of that event; 0 otherwise.
    pub(super) joined_at: RoomPosition,
    /// The count of unread messages at `joined_at`.
    pub(super) notify_count: i64,
}

impl<'a> Batch<'a> {
    pub(super) fn new(writes: &'a [Write]) -> Self {
        Self {
            writes,
            lost: HashSet::new(),
            repeated: HashSet::new(),
        }
    }

    /// Whether there are only messages, which one statement writes.
    pub(super) fn is_plain(&self) -> bool {
        self.writes.iter().all(|write| {
            let plain_room = write.room.as_ref().is_none_or(|room| {
                room.created.is_none()
                    && room.redactions.is_empty()
                    && room.relations.is_empty()
                    && room.summary.is_none()
                    && room.events.iter().all(|event| {
                        event.slot.is_none() && event.mentions.is_empty() && event.thread.is_none()
                    })
            });
            plain_room
                && write.receipts.is_empty()
                && write.account_data.is_empty()
                && write.aliases.is_empty()
                && write.publish.is_none()
                && write.device_lists.is_empty()
                && write.to_device.is_none()
                && write.thread_subscriptions.is_empty()
        })
    }

    /// Whether there are only messages to devices, which one statement writes.
    pub(super) fn is_sends(&self) -> bool {
        self.writes.iter().all(Write::is_send)
    }

    /// The rooms of the batch with the position they are expected at, in the order of locking.
    ///
    /// Writes on a room follow each other: the first one's expectation is the room's. A write
    /// that does not follow the one before it lost its race already.
    pub(super) fn expectations(&mut self) -> Vec<(RoomNid, RoomPosition)> {
        let mut expected = HashMap::new();
        let mut reached: HashMap<RoomNid, RoomPosition> = HashMap::new();
        for room in self.writes.iter().filter_map(|write| write.room.as_ref()) {
            expected.entry(room.room).or_insert(room.expected);
            if reached
                .get(&room.room)
                .is_some_and(|at| *at != room.expected)
            {
                self.lost.insert(room.room);
            }
            reached.insert(room.room, room.head.position());
        }
        let mut expected: Vec<_> = expected.into_iter().collect();
        expected.retain(|(room, _)| !self.lost.contains(room));
        expected.sort_unstable();
        expected
    }

    /// Leaves out the rooms of the batch that are not among `won`.
    pub(super) fn keep(&mut self, won: &[RoomNid]) {
        let rooms = self.writes.iter().filter_map(|write| write.room.as_ref());
        let lost = rooms
            .map(|room| room.room)
            .filter(|room| !won.contains(room));
        self.lost.extend(lost);
    }

    /// Leaves out messages to devices whose transaction is not among the `new` ones, and what
    /// repeats a transaction of this batch.
    pub(super) fn keep_sends(&mut self, new: &HashSet<(DeviceNid, [u8; 16])>) {
        let mut seen = HashSet::new();
        for (at, write) in self.writes.iter().enumerate() {
            let send = write.to_device.as_ref();
            let Some(transaction) = send.and_then(|send| send.transaction.as_ref()) else {
                continue;
            };
            let key = (transaction.device, transaction.key);
            if !new.contains(&key) || !seen.insert(key) {
                self.repeated.insert(at);
            }
        }
    }

    fn kept(&self) -> impl Iterator<Item = &'a Write> {
        let writes = self.writes.iter().enumerate();
        writes
            .filter(|(at, write)| !self.is_lost(write) && !self.repeated.contains(at))
            .map(|(_, write)| write)
    }

    /// The messages to devices.
    pub(super) fn sends(&self) -> impl Iterator<Item = &'a SendWrite> {
        self.kept().filter_map(|write| write.to_device.as_ref())
    }

    /// Whether there is anything that is written once the positions are known.
    pub(super) fn concerns_devices(&self) -> bool {
        self.kept()
            .any(|write| write.to_device.is_some() || !write.device_lists.is_empty())
    }

    fn is_lost(&self, write: &Write) -> bool {
        let room = write.room.as_ref();
        room.is_some_and(|room| self.lost.contains(&room.room))
    }

    pub(super) fn writes(&self) -> impl Iterator<Item = &'a Write> {
        self.kept()
    }

    pub(super) fn rooms(&self) -> impl Iterator<Item = &'a RoomWrite> {
        self.kept().filter_map(|write| write.room.as_ref())
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &'a Arc<TimelineEvent>> {
        self.rooms().flat_map(|room| &room.events)
    }

    /// The newest head of each room, in the order of the rooms' numbers.
    pub(super) fn heads(&self) -> Vec<(RoomNid, Arc<RoomHead>)> {
        let heads: HashMap<_, _> = self
            .rooms()
            .map(|room| (room.room, Arc::clone(&room.head)))
            .collect();
        let mut heads: Vec<_> = heads.into_iter().collect();
        heads.sort_unstable_by_key(|(room, _)| *room);
        heads
    }

    /// The state rows: where one commit changes a slot twice, the first row is closed at once.
    pub(super) fn state(&self) -> Vec<StateRow> {
        let mut rows: Vec<StateRow> = Vec::new();
        let mut newest: HashMap<(RoomNid, i64), usize> = HashMap::new();
        for event in self.events() {
            let Some(slot) = event.slot else { continue };
            if let Some(before) = newest.insert((event.room, slot.0), rows.len())
                && let Some(row) = rows.get_mut(before)
            {
                row.until = Some(event.position);
            }
            rows.push(StateRow {
                room: event.room,
                slot: slot.0,
                position: event.position,
                until: None,
            });
        }
        rows
    }

    /// The newest membership of each user in each room.
    pub(super) fn memberships(&self) -> Vec<MembershipRow> {
        let mut newest: HashMap<(UserNid, RoomNid), MembershipRow> = HashMap::new();
        for event in self.events() {
            let Some(member) = &event.member else {
                continue;
            };
            let by_others = matches!(member.after, Membership::Leave | Membership::Ban)
                && event.sender != member.user;
            let before = newest.get(&(member.user, event.room));
            let (removed, stays_removed) = match before {
                Some(before) => (
                    before.removed && by_others,
                    before.stays_removed && by_others,
                ),
                None => (false, by_others),
            };
            let joins = member.joins();
            newest.insert(
                (member.user, event.room),
                MembershipRow {
                    removed: removed || (by_others && member.before == Membership::Join),
                    stays_removed,
                    joined_at: if joins {
                        event.position
                    } else {
                        RoomPosition(0)
                    },
                    notify_count: if joins { event.notify_count } else { 0 },
                    user: member.user,
                    room: event.room,
                    membership: member.after,
                    position: event.position,
                },
            );
        }
        newest.into_values().collect()
    }

    /// When somebody last said something in each of the rooms of the heads; 0 for those in which
    /// nobody did.
    pub(super) fn bumps(&self) -> HashMap<RoomNid, i64> {
        let mut bumps: HashMap<RoomNid, i64> = HashMap::new();
        for event in self.events() {
            if let Some(ms) = bump(&event.pdu) {
                let newest = bumps.entry(event.room).or_default();
                *newest = ms.max(*newest);
            }
        }
        bumps
    }

    /// How far the senders have read by sending: the newest event of each.
    pub(super) fn reads(&self) -> Vec<&'a TimelineEvent> {
        let mut newest: HashMap<(UserNid, RoomNid), &TimelineEvent> = HashMap::new();
        for event in self.events().filter(|event| event.marks_read()) {
            newest.insert((event.sender, event.room), event);
        }
        newest.into_values().collect()
    }

    /// The stream entries of the batch, without their positions: one for each change, in order.
    pub(super) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for write in self.kept() {
            if let Some(room) = &write.room {
                changes.extend(room.events.iter().cloned().map(Change::Event));
            }
            changes.extend(write.receipts.iter().map(|receipt| Change::Receipt {
                room: receipt.room,
                user: receipt.user,
                private: receipt.private,
                thread: receipt.thread.as_str().into(),
                position: receipt.position,
                notify_count: receipt.notify_count,
                event_id: receipt.event_id.clone(),
                at: receipt.at,
            }));
            changes.extend(write.account_data.iter().map(|data| Change::AccountData {
                user: data.user,
                room: data.room,
                event_type: data.event_type.as_str().into(),
                content: Arc::from(data.content.clone()),
            }));
            changes.extend(write.device_lists.iter().map(|list| Change::DeviceList {
                user: list.user,
                viewer: list.viewer,
                rooms: Arc::clone(&list.rooms),
            }));
            changes.extend(write.to_device.iter().filter_map(SendWrite::change));
            changes.extend(
                write
                    .one_time_keys
                    .iter()
                    .map(|(user, devices)| Change::OneTimeKeys {
                        user: *user,
                        devices: Arc::clone(devices),
                    }),
            );
            let subscriptions = write.thread_subscriptions.iter();
            changes.extend(subscriptions.map(|write| Change::ThreadSubscription {
                user: write.user,
                room: write.room,
                thread: write.thread.clone(),
            }));
        }
        changes
    }

    /// The stream entries of the batch; the last of them is at `last`.
    pub(super) fn entries(&self, last: StreamPosition) -> Vec<Entry> {
        let changes = self.changes();
        let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
        let positions = (last.0 - count + 1)..;
        positions
            .zip(changes)
            .map(|(position, change)| Entry {
                position: StreamPosition(position),
                change,
            })
            .collect()
    }

    /// What each writer hears.
    pub(super) fn outcomes(&self, last: StreamPosition) -> Vec<Result<Committed, StoreError>> {
        let outcome = |write: &Write| {
            if self.is_lost(write) {
                Err(StoreError::Conflict)
            } else {
                Ok(Committed { position: last })
            }
        };
        self.writes.iter().map(outcome).collect()
    }

    /// The events as they are after the redactions of this batch.
    pub(super) fn redacted(&self) -> Vec<Arc<TimelineEvent>> {
        self.rooms()
            .flat_map(|room| &room.redactions)
            .map(|redaction| Arc::clone(&redaction.event))
            .collect()
    }
}
