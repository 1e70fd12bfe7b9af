//! The recent part of the stream, indexed by room and by user.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{Change, Entry, Live, TimelineEvent, UserRooms};
use crate::store::{Membership, RoomNid, RoomPosition, StreamPosition, UserNid};

/// The entries with positions in `(first, last]`, without a gap.
#[derive(Debug)]
pub(super) struct Window {
    first: StreamPosition,
    last: StreamPosition,
    entries: VecDeque<Arc<Entry>>,
    by_room: HashMap<RoomNid, VecDeque<Arc<Entry>>>,
    by_user: HashMap<UserNid, VecDeque<Arc<Entry>>>,
    /// The changes of device lists that are not for one user alone.
    device_lists: VecDeque<Arc<Entry>>,
    /// Where in the stream the newest of them is of each user.
    device_list_at: HashMap<UserNid, StreamPosition>,
    weight: usize,
    limit: usize,
}

impl Window {
    pub(super) fn new(position: StreamPosition, limit: usize) -> Self {
        Self {
            first: position,
            last: position,
            entries: VecDeque::new(),
            by_room: HashMap::new(),
            by_user: HashMap::new(),
            device_lists: VecDeque::new(),
            device_list_at: HashMap::new(),
            weight: 0,
            limit,
        }
    }

    pub(super) fn restart(&mut self, position: StreamPosition) {
        *self = Self::new(position, self.limit);
    }

    pub(super) fn last(&self) -> StreamPosition {
        self.last
    }

    /// Whether everything after `position` is here.
    pub(super) fn covers(&self, position: StreamPosition) -> bool {
        position >= self.first
    }

    pub(super) fn push(&mut self, entry: Entry) {
        let entry = Arc::new(entry);
        self.last = entry.position;
        self.weight += entry.change.weight();
        if let Some(room) = entry.change.room() {
            let of_room = self.by_room.entry(room).or_default();
            of_room.push_back(Arc::clone(&entry));
        }
        for user in entry.change.users() {
            let of_user = self.by_user.entry(user).or_default();
            of_user.push_back(Arc::clone(&entry));
        }
        if let Change::DeviceList {
            user, viewer: None, ..
        } = &entry.change
        {
            self.device_lists.push_back(Arc::clone(&entry));
            self.device_list_at.insert(*user, entry.position);
        }
        self.entries.push_back(entry);
        while self.weight > self.limit {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some(entry) = self.entries.pop_front() else {
            return;
        };
        self.first = entry.position;
        self.weight = self.weight.saturating_sub(entry.change.weight());
        if let Some(room) = entry.change.room() {
            pop_from(&mut self.by_room, &room, entry.position);
        }
        for user in entry.change.users() {
            pop_from(&mut self.by_user, &user, entry.position);
        }
        if let Change::DeviceList {
            user, viewer: None, ..
        } = &entry.change
        {
            self.device_lists.pop_front();
            if self.device_list_at.get(user) == Some(&entry.position) {
                self.device_list_at.remove(user);
            }
        }
    }

    /// All entries after a position.
    pub(super) fn after(&self, position: StreamPosition) -> impl Iterator<Item = &Arc<Entry>> {
        let skip = self
            .entries
            .partition_point(|entry| entry.position <= position);
        self.entries.range(skip..)
    }

    /// The entries about a user after a position.
    pub(super) fn own_after(&self, position: StreamPosition, user: UserNid) -> Vec<Arc<Entry>> {
        tail(self.by_user.get(&user), position)
    }

    /// The changes of device lists after a position that are not for one user alone.
    pub(super) fn device_lists_after(&self, position: StreamPosition) -> Vec<Arc<Entry>> {
        tail(Some(&self.device_lists), position)
    }

    /// Whether a user's device list has changed after a position.
    pub(super) fn has_device_list_after(&self, position: StreamPosition, user: UserNid) -> bool {
        let newest = self.device_list_at.get(&user);
        newest.is_some_and(|newest| *newest > position)
    }

    /// Whether there is an entry about a user after a position that is like this.
    pub(super) fn has_own_after(
        &self,
        position: StreamPosition,
        user: UserNid,
        is_like: impl Fn(&Change) -> bool,
    ) -> bool {
        let entries = self.by_user.get(&user).into_iter().flatten().rev();
        entries
            .take_while(|entry| entry.position > position)
            .any(|entry| is_like(&entry.change))
    }

    /// The entries of a user's rooms after a position, by room. Rooms that the user has left count
    /// as well, if they were left after the position.
    pub(super) fn rooms_after(
        &self,
        position: StreamPosition,
        rooms: &UserRooms,
    ) -> Vec<(RoomNid, Vec<Arc<Entry>>)> {
        if position >= self.last {
            return Vec::new();
        }
        let missed = usize::try_from(self.last.0 - position.0).unwrap_or(usize::MAX);
        let mut candidates: Vec<RoomNid> = if missed < rooms.len() {
            self.after(position)
                .filter_map(|entry| entry.change.room())
                .filter(|room| rooms.get(*room).is_some())
                .collect()
        } else {
            rooms
                .iter()
                .filter(|(room, of_user)| {
                    of_user.membership == Membership::Join || self.has_after(*room, position)
                })
                .map(|(room, _)| room)
                .collect()
        };
        candidates.sort_unstable();
        candidates.dedup();
        candidates
            .into_iter()
            .map(|room| (room, tail(self.by_room.get(&room), position)))
            .filter(|(_, entries)| !entries.is_empty())
            .collect()
    }

    fn has_after(&self, room: RoomNid, position: StreamPosition) -> bool {
        let newest = self.by_room.get(&room).and_then(VecDeque::back);
        newest.is_some_and(|entry| entry.position > position)
    }

    /// The events of a room, oldest first.
    pub(super) fn events_of(&self, room: RoomNid) -> impl Iterator<Item = Arc<TimelineEvent>> {
        let entries = self.by_room.get(&room).into_iter().flatten();
        entries.filter_map(|entry| match &entry.change {
            Change::Event(event) => Some(Arc::clone(event)),
            _ => None,
        })
    }

    /// The same, with their places in the stream.
    pub(super) fn events_at(
        &self,
        room: RoomNid,
    ) -> impl Iterator<Item = (StreamPosition, Arc<TimelineEvent>)> {
        let entries = self.by_room.get(&room).into_iter().flatten();
        entries.filter_map(|entry| match &entry.change {
            Change::Event(event) => Some((entry.position, Arc::clone(event))),
            _ => None,
        })
    }

    /// The events of a room after a position that relate to others, and from where on that is all
    /// of them: children are newer than their parents, so an event of the window has none outside.
    pub(super) fn relating_events(
        &self,
        room: RoomNid,
        first: RoomPosition,
    ) -> (RoomPosition, Vec<Arc<TimelineEvent>>) {
        let mut covered = RoomPosition(i64::MAX);
        let mut relating = Vec::new();
        for entry in self.by_room.get(&room).into_iter().flatten().rev() {
            let Change::Event(event) = &entry.change else {
                continue;
            };
            covered = event.position.max(first);
            if event.position <= first {
                break;
            }
            if event.pdu.relates_to().is_some() {
                relating.push(Arc::clone(event));
            }
        }
        relating.reverse();
        (covered, relating)
    }

    /// Replaces an event that lost its content, wherever it stands: itself, and what the state event
    /// that followed it tells of it.
    pub(super) fn redact(&mut self, redacted: &Arc<TimelineEvent>) {
        let Some(of_room) = self.by_room.get(&redacted.room) else {
            return;
        };
        let mut changed = Vec::new();
        for entry in of_room {
            let Change::Event(event) = &entry.change else {
                continue;
            };
            if event.position == redacted.position {
                changed.push((entry.position, Arc::clone(redacted)));
            } else if event.slot.is_some()
                && event.replaces == Some(redacted.position)
                && event.redacted_by.is_none()
            {
                changed.push((entry.position, Arc::new(event.after(redacted))));
            }
        }
        for (position, event) in changed {
            self.replace(position, event);
        }
    }

    /// Forgets the messages of a room up to a position. State events stay.
    pub(super) fn purge(&mut self, room: RoomNid, position: RoomPosition) {
        let Some(of_room) = self.by_room.get_mut(&room) else {
            return;
        };
        let mut gone = Vec::new();
        of_room.retain(|entry| {
            let is_gone = matches!(&entry.change, Change::Event(event)
                if event.slot.is_none() && event.position <= position);
            if is_gone {
                gone.push(entry.position);
            }
            !is_gone
        });
        if of_room.is_empty() {
            self.by_room.remove(&room);
        }
        for position in gone {
            let at = self
                .entries
                .partition_point(|entry| entry.position < position);
            if let Some(entry) = self.entries.get_mut(at) {
                self.weight = self.weight.saturating_sub(entry.change.weight());
                *entry = Arc::new(Entry {
                    position,
                    change: Change::Nothing,
                });
                self.weight += entry.change.weight();
            }
        }
    }

    /// Puts another event in the place of the one at a position of the stream.
    fn replace(&mut self, position: StreamPosition, event: Arc<TimelineEvent>) {
        let (room, member) = (event.room, event.member.map(|change| change.user));
        let new = Arc::new(Entry {
            position,
            change: Change::Event(event),
        });
        let weight = new.change.weight();
        let mut before = weight;
        let of_room = self.by_room.get_mut(&room);
        let of_user = member.and_then(|user| self.by_user.get_mut(&user));
        let places = of_room.into_iter().chain(of_user);
        for entries in places.chain([&mut self.entries]) {
            let at = entries.partition_point(|entry| entry.position < position);
            let place = entries.get_mut(at);
            if let Some(place) = place.filter(|entry| entry.position == position) {
                before = place.change.weight();
                *place = Arc::clone(&new);
            }
        }
        self.weight = self.weight.saturating_sub(before) + weight;
    }
}

impl Live {
    /// The events of a room after a position that relate to others, oldest first; and from where on
    /// events have no other children.
    pub fn relating_events(
        &self,
        room: RoomNid,
        first: RoomPosition,
    ) -> (RoomPosition, Vec<Arc<TimelineEvent>>) {
        self.read().window.relating_events(room, first)
    }
}

/// The entries after a position.
fn tail(entries: Option<&VecDeque<Arc<Entry>>>, position: StreamPosition) -> Vec<Arc<Entry>> {
    let Some(entries) = entries else {
        return Vec::new();
    };
    let skip = entries.partition_point(|entry| entry.position <= position);
    entries.range(skip..).cloned().collect()
}

fn pop_from<K: std::hash::Hash + Eq>(
    index: &mut HashMap<K, VecDeque<Arc<Entry>>>,
    key: &K,
    position: StreamPosition,
) {
    let Some(entries) = index.get_mut(key) else {
        return;
    };
    if entries
        .front()
        .is_some_and(|entry| entry.position == position)
    {
        entries.pop_front();
    }
    if entries.is_empty() {
        index.remove(key);
    }
}
