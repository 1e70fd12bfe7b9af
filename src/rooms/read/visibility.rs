//! Which events of a room a reader may see: decided here, for every path by which events are read.
//!
//! What counts is the history visibility and the reader's own membership along the room's line.
//! Most reads are of recent events by members who have been there for longer, and the head of the
//! room says enough for them; only a look further back asks the database, once.
//!
//! See the client-server API v1.19, "Room history visibility".

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{
    OwnedUserId, RoomId, UserId,
    events::{
        StateEventType,
        room::{history_visibility::HistoryVisibility, member::MembershipState},
    },
};
use serde::Deserialize;

use crate::{
    event::{
        Pdu,
        client_format::{Personal, Unsigned, client_text, personalize},
        redact::redact,
        visibility::{Change, may_see_change},
    },
    store::{
        DeviceNid, RoomNid, RoomPosition, SlotNid, Store, StoreError, UserNid,
        events::{Direction, Range},
        live::{Ignored, LiveRoom, RoomHead, TimelineEvent},
        state::{self, StateRow},
    },
};

/// What one reader may see of one room, as it was when this was made.
#[derive(Clone, Debug)]
pub struct Viewer {
    room: RoomNid,
    head: Arc<RoomHead>,
    /// `None` for somebody who has nothing to do with the room, or has forgotten it.
    reader: Option<OwnedUserId>,
    /// Whose messages the reader does not want to see.
    ignored: Arc<Ignored>,
    line: Line,
    /// The parts of the line that the reader may see, in order, from `known_from` on.
    visible: Vec<(i64, i64)>,
    /// The first position of which anything is known.
    known_from: i64,
    /// Whose events those see without their content who were not joined when they were sent.
    erased: Arc<HashSet<UserNid>>,
}

/// A value along the room's line.
#[derive(Clone, Debug)]
pub(in crate::rooms) struct Steps<T> {
    first: T,
    changes: Vec<(i64, T)>,
}

/// The two values that decide, along the room's line.
#[derive(Clone, Debug)]
pub(in crate::rooms) struct Line {
    visibility: Steps<HistoryVisibility>,
    membership: Steps<MembershipState>,
}

impl<T> Steps<T> {
    pub(in crate::rooms) fn new(first: T, changes: Vec<(i64, T)>) -> Self {
        Self { first, changes }
    }

    /// The value before the event at a position.
    fn before(&self, position: i64) -> &T {
        self.get(self.changes.partition_point(|(at, _)| *at < position))
    }

    /// The value after the event at a position.
    fn after(&self, position: i64) -> &T {
        self.get(self.changes.partition_point(|(at, _)| *at <= position))
    }

    fn last(&self) -> &T {
        self.get(self.changes.len())
    }

    /// The value after so many changes.
    fn get(&self, count: usize) -> &T {
        let newest = count.checked_sub(1).and_then(|at| self.changes.get(at));
        newest.map_or(&self.first, |(_, value)| value)
    }
}

impl Line {
    pub(in crate::rooms) fn new(
        visibility: Steps<HistoryVisibility>,
        membership: Steps<MembershipState>,
    ) -> Self {
        Self {
            visibility,
            membership,
        }
    }

    #[cfg(test)]
    pub(in crate::rooms) fn membership(&self) -> &Steps<MembershipState> {
        &self.membership
    }

    /// The parts of the line that may be seen, in order, from `first` on. The last one may reach
    /// beyond the newest event.
    pub(in crate::rooms) fn visible(&self, first: i64) -> Vec<(i64, i64)> {
        let mut points: Vec<i64> = (self.visibility.changes.iter().map(|(at, _)| *at))
            .chain(self.membership.changes.iter().map(|(at, _)| *at))
            .filter(|at| *at >= first)
            .collect();
        points.sort_unstable();
        points.dedup();
        let mut parts = Vec::new();
        let mut next = first;
        for point in points {
            self.push_if_visible(&mut parts, next, point - 1);
            self.push_if_visible(&mut parts, point, point);
            next = point + 1;
        }
        self.push_if_visible(&mut parts, next, i64::MAX);
        parts
    }

    /// Adds a part in which nothing changes after its first event.
    fn push_if_visible(&self, parts: &mut Vec<(i64, i64)>, first: i64, last: i64) {
        if first > last || !self.may_see(first) {
            return;
        }
        match parts.last_mut() {
            Some(before) if before.1 + 1 == first => before.1 = last,
            _ => parts.push((first, last)),
        }
    }

    fn may_see(&self, position: i64) -> bool {
        let is_later_join =
            |(at, to): &(i64, MembershipState)| *at > position && *to == MembershipState::Join;
        let joined_after = self.membership.changes.iter().any(is_later_join);
        may_see_change(
            &Change {
                before: self.visibility.before(position),
                after: self.visibility.after(position),
            },
            &Change {
                before: self.membership.before(position),
                after: self.membership.after(position),
            },
            joined_after,
        )
    }

    /// Where the reader last stopped being joined: the position of the event that did it.
    pub(in crate::rooms) fn left_at(&self) -> Option<i64> {
        let changes = &self.membership.changes;
        let ends_join = |(at, to): &&(i64, MembershipState)| {
            *to != MembershipState::Join && *self.membership.before(*at) == MembershipState::Join
        };
        changes.iter().rev().find(ends_join).map(|(at, _)| *at)
    }
}

impl Viewer {
    /// What a reader may see of a room, known at least from `first` on.
    pub async fn load(
        store: &Store,
        room: &LiveRoom,
        reader: &UserId,
        first: RoomPosition,
    ) -> Result<Self, StoreError> {
        let mut viewer = Self::of_head(store, room, Some(reader));
        viewer.reach(store, first).await?;
        Ok(viewer)
    }

    /// What somebody who was never in the room may see of it, known at least from `first` on.
    pub async fn load_stranger(
        store: &Store,
        room: &LiveRoom,
        first: RoomPosition,
    ) -> Result<Self, StoreError> {
        let mut viewer = Self::of_head(store, room, None);
        viewer.reach(store, first).await?;
        Ok(viewer)
    }

    /// The same for somebody who ignores others.
    #[must_use]
    pub fn ignoring(self, mut ignored: Arc<Ignored>) -> Self {
        // Nobody ignores themselves.
        if let Some(reader) = &self.reader
            && ignored.contains(reader)
        {
            Arc::make_mut(&mut ignored).remove(reader);
        }
        Self { ignored, ..self }
    }

    /// Whom the reader ignores.
    pub fn ignored(&self) -> &Ignored {
        &self.ignored
    }

    /// Whether the reader ignores whoever sent an event. State is never ignored (client-server API
    /// v1.19, "Ignoring Users").
    pub fn ignores(&self, event: &TimelineEvent) -> bool {
        event.slot.is_none() && self.ignored.contains(event.pdu.sender())
    }

    /// Whether the reader is shown an event: it may be seen, and is not of somebody ignored.
    pub fn shows(&self, event: &TimelineEvent) -> bool {
        self.may_see(event.position) && !self.ignores(event)
    }

    /// The parts of the room that may be seen, as far as they are known: first and last positions.
    pub(super) fn visible_parts(&self) -> impl Iterator<Item = (i64, i64)> {
        let newest = self.head.position().0;
        let parts = self.visible.iter();
        parts
            .map(move |(first, last)| (*first, (*last).min(newest)))
            .filter(|(first, last)| first <= last)
    }

    /// What the head says.
    fn of_head(store: &Store, room: &LiveRoom, reader: Option<&UserId>) -> Self {
        let head = room.head();
        let now = head.room();
        let visibility = now.state_event(&StateEventType::RoomHistoryVisibility, "");
        let member = reader.and_then(|reader| now.member(reader));
        let membership = reader.map_or(&MembershipState::Leave, |reader| now.membership(reader));
        // The state before an event that changes one of them is known only from further back. Who
        // is not joined may have been: then all of the line matters.
        let known_from = match member {
            Some(_) if *membership != MembershipState::Join => i64::MAX,
            _ => [visibility, member]
                .into_iter()
                .flatten()
                .map(|event| event.position + 1)
                .max()
                .unwrap_or(1),
        };
        let line = Line::new(
            Steps::new(now.history_visibility().clone(), Vec::new()),
            Steps::new(membership.clone(), Vec::new()),
        );
        Self {
            room: room.nid(),
            visible: line.visible(known_from),
            reader: reader.map(ToOwned::to_owned),
            ignored: Arc::default(),
            head,
            line,
            known_from,
            erased: store.erased(),
        }
    }

    /// Makes sure that everything is known from a position on; costs one query, or none.
    pub async fn reach(&mut self, store: &Store, first: RoomPosition) -> Result<(), StoreError> {
        Self::reach_all(store, vec![(self, first)]).await
    }

    /// The same for several rooms, each of them once, with no more queries than for one.
    pub async fn reach_all(
        store: &Store,
        viewers: Vec<(&mut Self, RoomPosition)>,
    ) -> Result<(), StoreError> {
        let short: Vec<&mut Self> = viewers
            .into_iter()
            .filter(|(viewer, first)| viewer.known_from > first.0.max(1))
            .map(|(viewer, _)| viewer)
            .collect();
        if short.is_empty() {
            return Ok(());
        }
        let wanted: Vec<_> = short.iter().flat_map(|viewer| viewer.slots()).collect();
        let numbers = store.slot_numbers(wanted).await?;
        let mut places = Vec::with_capacity(numbers.len());
        for viewer in &short {
            let slots = viewer.slots().into_iter();
            let known = slots.filter_map(|slot| numbers.get(&slot).copied());
            places.extend(known.map(|slot| (viewer.room, slot)));
        }
        let rows = {
            let mut conn = store.conn().await?;
            state::histories(&mut conn, &places).await?
        };
        let visibility = numbers.get(&visibility_slot()).copied();
        let mut by_room: HashMap<RoomNid, Vec<(SlotNid, StateRow)>> = HashMap::new();
        for (slot, row) in rows {
            by_room.entry(row.room).or_default().push((slot, row));
        }
        for viewer in short {
            let rows = by_room.remove(&viewer.room).unwrap_or_default();
            viewer.learn(visibility, rows);
        }
        Ok(())
    }

    /// The slots whose history decides.
    fn slots(&self) -> Vec<(String, String)> {
        let now = self.head.room();
        let mut slots = Vec::with_capacity(2);
        if now
            .state_event(&StateEventType::RoomHistoryVisibility, "")
            .is_some()
        {
            slots.push(visibility_slot());
        }
        if let Some(reader) = self
            .reader
            .as_ref()
            .filter(|reader| now.member(reader).is_some())
        {
            slots.push(("m.room.member".to_owned(), reader.to_string()));
        }
        slots
    }

    /// Takes in the whole history of its slots.
    fn learn(&mut self, visibility_slot: Option<SlotNid>, rows: Vec<(SlotNid, StateRow)>) {
        let mut visibility = Vec::new();
        let mut membership = Vec::new();
        // What was committed after the head is not part of this view.
        let newest = self.head.position();
        for (slot, row) in rows.into_iter().filter(|(_, row)| row.position <= newest) {
            if Some(slot) == visibility_slot {
                visibility.push((row.position.0, history_visibility(&row.pdu)));
            } else {
                let to = row.pdu.membership().cloned();
                membership.push((row.position.0, to.unwrap_or(MembershipState::Leave)));
            }
        }
        self.line = Line::new(
            Steps::new(HistoryVisibility::Shared, visibility),
            Steps::new(MembershipState::Leave, membership),
        );
        self.known_from = 1;
        self.visible = self.line.visible(1);
    }

    /// The room's number.
    pub fn room(&self) -> RoomNid {
        self.room
    }

    /// The room as it was when this was made.
    pub fn head(&self) -> &Arc<RoomHead> {
        &self.head
    }

    /// Whether the reader may see the event at a position. `false` where [`Self::reach`] was not
    /// asked to look.
    pub fn may_see(&self, position: RoomPosition) -> bool {
        let at = self.visible.partition_point(|(_, last)| *last < position.0);
        let part = self.visible.get(at);
        part.is_some_and(|(first, _)| *first <= position.0)
    }

    /// The reader's membership after the event at a position, for `unsigned.membership`. Ask
    /// [`Self::reach`] to look as far back first.
    pub fn membership_at(&self, position: RoomPosition) -> &MembershipState {
        self.line.membership.after(position.0)
    }

    /// An event that the reader may see, in client format: without its content, as after a
    /// redaction, if its sender asked to be forgotten and the reader was not joined when it was
    /// sent (`POST /account/deactivate`). `room_id` is given where the answer does not name the
    /// room. Ask [`Self::reach`] to look as far back first.
    pub fn show(
        &self,
        event: &TimelineEvent,
        room_id: Option<&RoomId>,
        device: Option<DeviceNid>,
    ) -> String {
        self.show_with(event, room_id, device, None)
    }

    /// The same with bundled aggregations: the object under `m.relations`, as JSON.
    pub fn show_with(
        &self,
        event: &TimelineEvent,
        room_id: Option<&RoomId>,
        device: Option<DeviceNid>,
        relations: Option<&str>,
    ) -> String {
        let membership = self.membership_at(event.position);
        let membership_given = Some(membership);
        if *membership == MembershipState::Join || !self.erased.contains(&event.sender) {
            return event.for_reader_with(room_id, membership_given, device, relations);
        }
        match redact(&event.pdu, &self.head.room().rules().redaction) {
            Ok(left) => {
                let text = client_text(&left, &Unsigned::default(), false);
                let personal = Personal {
                    room_id,
                    relations,
                    membership: membership_given,
                    ..Personal::default()
                };
                personalize(&text, &personal)
            }
            Err(error) => {
                // Events were checked when they came. Nothing is better than too much.
                tracing::error!(event.id = %event.pdu.event_id(), %error, "an event cannot be pruned");
                "{}".to_owned()
            }
        }
    }

    /// The point at which the reader may see the state of the room: now for members, the point of
    /// leaving for those who left, now for everybody where the history is world-readable. `None`
    /// for all others. Ask [`Self::reach`] for the whole line first, unless the reader is joined.
    pub fn last_readable_state_position(&self) -> Option<RoomPosition> {
        if *self.line.membership.last() == MembershipState::Join {
            return Some(self.head.position());
        }
        if let Some(left) = self.line.left_at() {
            return Some(RoomPosition(left));
        }
        let everybody = *self.head.room().history_visibility() == HistoryVisibility::WorldReadable;
        everybody.then(|| self.head.position())
    }

    /// Whether the reader is or was joined. Ask [`Self::reach`] for the whole line first.
    pub fn was_joined(&self) -> bool {
        *self.line.membership.last() == MembershipState::Join || self.line.left_at().is_some()
    }

    /// Whether there is any event that the reader may see.
    pub(super) fn sees_anything(&self) -> bool {
        let newest = self.head.position().0;
        let oldest = self.visible.first();
        oldest.is_some_and(|(first, _)| *first <= newest) || self.known_from > 1
    }

    /// The next position, from one on in a direction, that may be seen, or of which nothing is
    /// known yet. `None` if there is none.
    pub(super) fn next_visible(
        &self,
        from: RoomPosition,
        direction: Direction,
    ) -> Option<RoomPosition> {
        match direction {
            Direction::Backward => {
                let at = self.visible.partition_point(|(first, _)| *first <= from.0);
                let part = at.checked_sub(1).and_then(|at| self.visible.get(at));
                let seen = part.map(|(_, last)| (*last).min(from.0));
                let unknown = (self.known_from > 1).then(|| (self.known_from - 1).min(from.0));
                seen.max(unknown)
            }
            Direction::Forward if from.0 < self.known_from => Some(from.0),
            Direction::Forward => {
                let at = self.visible.partition_point(|(_, last)| *last < from.0);
                let next = self.visible.get(at).map(|(first, _)| (*first).max(from.0));
                next.filter(|next| *next <= self.head.position().0)
            }
        }
        .filter(|position| *position > 0)
        .map(RoomPosition)
    }

    /// The parts of a range that may be seen.
    pub(super) fn within(&self, first: RoomPosition, last: RoomPosition) -> Vec<Range> {
        let parts = self.visible.iter();
        parts
            .map(|part| (part.0.max(first.0), part.1.min(last.0)))
            .filter(|(first, last)| first <= last)
            .map(|(first, last)| Range {
                room: self.room,
                first: RoomPosition(first),
                last: RoomPosition(last),
            })
            .collect()
    }
}

/// Where a room's history visibility stands.
fn visibility_slot() -> (String, String) {
    ("m.room.history_visibility".to_owned(), String::new())
}

/// The visibility that an event sets; one that is not understood is `shared`.
fn history_visibility(pdu: &Pdu) -> HistoryVisibility {
    #[derive(Deserialize)]
    struct Content {
        history_visibility: HistoryVisibility,
    }
    let content = pdu.content_as::<Content>();
    content.map_or(HistoryVisibility::Shared, |content| {
        content.history_visibility
    })
}
