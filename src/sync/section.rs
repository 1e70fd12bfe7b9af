//! Which events of a room go into an answer.

use std::{collections::HashMap, sync::Arc};

use ruma::{UserId, events::room::member::MembershipState};

use super::{
    Error, Events, Request, Sync,
    missed::{JoinedNews, LeftNews},
};
use crate::{
    event::Pdu,
    rooms::{Actor, Bundles, Viewer},
    store::{
        DeviceNid, RoomNid, RoomPosition,
        events::{self, Direction, Range},
        live::{RoomHead, TimelineEvent},
    },
};

/// How many events are read for each that a filter may let through.
const FILTERED_FACTOR: u32 = 5;
/// The most events that are read of one room.
const MAX_READ: u32 = 1_000;

/// The part of a room's line that an answer tells.
#[derive(Debug)]
pub(super) struct Section {
    /// The room.
    pub(super) room: RoomNid,
    /// The room as it is at its end, or later.
    pub(super) head: Arc<RoomHead>,
    /// The last position that the client knew; `None` if it knew nothing.
    pub(super) from: Option<RoomPosition>,
    /// The last position that it knows now.
    pub(super) to: RoomPosition,
    /// The most events of the timeline.
    pub(super) limit: usize,
    /// Whether the reader sees nothing but how it ended.
    pub(super) only_end: bool,
    /// Whether the reader has left the room.
    is_left: bool,
    /// The events.
    pub(super) timeline: Vec<Arc<TimelineEvent>>,
    /// All events after `from`, where they are in memory: what was left out is among them.
    pub(super) known: Option<Vec<Arc<TimelineEvent>>>,
    /// Whether there are older events that the client does not know, or the timeline begins anew.
    pub(super) limited: bool,
    /// The position before the timeline, where paging back begins.
    pub(super) before: RoomPosition,
    /// What the reader may see, and was, along the timeline, once that was looked up.
    pub(super) viewer: Option<Viewer>,
    /// What relates to the events of the timeline, where that is told.
    pub(super) bundles: Arc<Bundles>,
    /// The state before the timeline, or after it: what the client does not know of it.
    pub(super) state: Vec<Arc<Pdu>>,
}

impl Sync {
    /// The sections of rooms in which the user is joined.
    pub(super) async fn joined_sections(
        &self,
        request: &Request,
        news: &[JoinedNews],
    ) -> Result<Vec<Section>, Error> {
        let mut sections: Vec<Section> = news
            .iter()
            .map(|news| {
                let to = news.head.position();
                let mut section = Section::new(news.room, &news.head, news.from, to);
                section.limit = request.filter.timeline.limit();
                section.known.clone_from(&news.events);
                section.begin_anew(request);
                section
            })
            .collect();
        self.add_timelines(&request.actor, &request.filter.timeline, &mut sections)
            .await?;
        self.add_state(request, &mut sections).await?;
        Ok(sections)
    }

    /// The sections of rooms that the user left.
    pub(super) async fn left_sections(
        &self,
        request: &Request,
        news: &[LeftNews],
    ) -> Result<Vec<Section>, Error> {
        let mut sections: Vec<Section> = news.iter().map(Section::of_left).collect();
        for section in &mut sections {
            section.limit = request.filter.timeline.limit();
            section.begin_anew(request);
        }
        self.add_timelines(&request.actor, &request.filter.timeline, &mut sections)
            .await?;
        let (ends, mut sections): (Vec<_>, Vec<_>) =
            sections.into_iter().partition(|section| section.only_end);
        self.add_state(request, &mut sections).await?;
        sections.extend(ends);
        Ok(sections)
    }

    /// Fills the timelines: from memory where it has enough, and else with one query.
    pub(super) async fn add_timelines(
        &self,
        actor: &Actor,
        filter: &Events,
        sections: &mut [Section],
    ) -> Result<(), Error> {
        let mut ranges = Vec::new();
        for section in &mut *sections {
            let known = section.known.clone().or_else(|| self.in_memory(section));
            match known {
                Some(events) => section.take(events, filter),
                None if section.first() <= section.to => ranges.push(Range {
                    room: section.room,
                    first: section.first(),
                    last: section.to,
                }),
                None => {}
            }
        }
        if !ranges.is_empty() {
            let limit = sections.iter().map(|section| section.limit).max();
            let read = u32::try_from(limit.unwrap_or(1)).unwrap_or(MAX_READ).max(1);
            let read = if filter.is_open() {
                read
            } else {
                (read.saturating_mul(FILTERED_FACTOR)).clamp(100, MAX_READ)
            };
            let mut conn = self.0.store.conn().await?;
            let found = events::list(&mut conn, &ranges, Direction::Backward, read).await?;
            drop(conn);
            let mut by_room: HashMap<RoomNid, Vec<Arc<TimelineEvent>>> = HashMap::new();
            for event in found {
                by_room.entry(event.room).or_default().push(event);
            }
            for range in &ranges {
                let section = sections
                    .iter_mut()
                    .find(|section| section.room == range.room);
                if let Some(section) = section {
                    section.take(by_room.remove(&range.room).unwrap_or_default(), filter);
                }
            }
        }
        self.hide_what_is_not_visible(actor, sections).await?;
        for section in sections.iter_mut().filter(|section| section.only_end) {
            section.limited = false;
        }
        self.add_bundles(actor, sections).await
    }

    /// The newest events of a room, if memory has as many as are wanted, or all that there are.
    fn in_memory(&self, section: &Section) -> Option<Vec<Arc<TimelineEvent>>> {
        let mut recent = self.0.store.live().recent_events(section.room);
        recent.retain(|event| event.position <= section.to);
        if recent.last().map(|event| event.position) != Some(section.to) {
            return None;
        }
        let first = recent.first().map(|event| event.position)?;
        if first > section.first() && recent.len() < section.limit {
            return None;
        }
        recent.retain(|event| event.position >= section.first());
        Some(recent)
    }

    /// What relates to the events of the timelines that are not all of what happened: where they
    /// are, clients aggregate for themselves (client-server API v1.19, "Aggregations of child
    /// events").
    async fn add_bundles(&self, actor: &Actor, sections: &mut [Section]) -> Result<(), Error> {
        let shown: Vec<_> = sections
            .iter()
            .filter(|section| section.limited)
            .filter_map(|section| Some((section.viewer.as_ref()?, section.timeline.as_slice())))
            .collect();
        if shown.is_empty() {
            return Ok(());
        }
        let bundles = self.0.rooms.bundle_all(actor, &shown).await?;
        let bundles = Arc::new(bundles);
        for section in sections.iter_mut().filter(|section| section.limited) {
            section.bundles = Arc::clone(&bundles);
        }
        Ok(())
    }

    /// Leaves out what the history visibility hides from the reader.
    async fn hide_what_is_not_visible(
        &self,
        actor: &Actor,
        sections: &mut [Section],
    ) -> Result<(), Error> {
        let rooms: Vec<RoomNid> = sections
            .iter()
            .filter(|section| section.is_left || !section.timeline.is_empty())
            .map(|section| section.room)
            .collect();
        let mut viewers = HashMap::with_capacity(rooms.len());
        for room in self.0.store.load_rooms(&rooms).await? {
            viewers.insert(room.nid(), self.0.rooms.viewer(&room, actor).await?);
        }
        let first: HashMap<RoomNid, RoomPosition> = sections
            .iter()
            .filter_map(|section| {
                let first = section.timeline.first().map(|event| event.position);
                // Whether somebody who is gone was ever there takes the whole line.
                let whole = section.is_left.then_some(RoomPosition(1));
                Some((section.room, whole.or(first)?))
            })
            .collect();
        let short = viewers.iter_mut().filter_map(|(room, viewer)| {
            let first = first.get(room)?;
            Some((viewer, *first))
        });
        Viewer::reach_all(&self.0.store, short.collect()).await?;
        for section in sections {
            if let Some(viewer) = viewers.remove(&section.room) {
                section.hide(viewer, &actor.user_id);
            }
        }
        Ok(())
    }
}

/// Leaves out the rooms in which nobody said anything but those whom the reader ignores.
pub(super) fn leave_out_the_unheard(news: &mut Vec<JoinedNews>, sections: &mut Vec<Section>) {
    let is_news = |news: &JoinedNews, section: &Section| {
        section.from.is_none()
            || section.limited
            || !section.timeline.is_empty()
            || !section.state.is_empty()
            || !news.receipts.is_empty()
    };
    let both = std::mem::take(news).into_iter().zip(sections.drain(..));
    let (kept, their_sections): (Vec<_>, Vec<_>) = both
        .filter(|(news, section)| is_news(news, section))
        .unzip();
    *news = kept;
    *sections = their_sections;
}

/// Whether an event is the end of the reader's own membership, with which the section ends.
fn is_own_end(event: &TimelineEvent, to: RoomPosition, reader: &UserId) -> bool {
    event.position == to
        && matches!(
            event.pdu.membership(),
            Some(MembershipState::Leave | MembershipState::Ban)
        )
        && event.pdu.state_key() == Some(reader.as_str())
}

impl Section {
    /// A section without events, after `from` and up to `to`.
    pub(super) fn new(
        room: RoomNid,
        head: &Arc<RoomHead>,
        from: Option<RoomPosition>,
        to: RoomPosition,
    ) -> Self {
        Self {
            room,
            head: Arc::clone(head),
            from,
            to,
            limit: 0,
            only_end: false,
            is_left: false,
            timeline: Vec::new(),
            known: None,
            limited: false,
            before: to,
            viewer: None,
            bundles: Arc::default(),
            state: Vec::new(),
        }
    }

    /// A section of a room that the user left. Who was not joined has seen nothing, and sees no
    /// more than how it ended.
    pub(super) fn of_left(news: &LeftNews) -> Self {
        let end = Some(RoomPosition(news.at.0 - 1));
        let from = if news.was_joined { news.from } else { end };
        Self {
            only_end: !news.was_joined,
            is_left: true,
            ..Self::new(news.room, &news.head, from, news.at)
        }
    }

    /// Who came to a room since their last sync may have been there before, and what they know of
    /// it is no part of this timeline: it begins anew, whether it was cut or not.
    fn begin_anew(&mut self, request: &Request) {
        self.limited = request.since.is_some() && self.from.is_none();
    }

    /// Leaves out what a reader may not see.
    fn hide(&mut self, viewer: Viewer, reader: &UserId) {
        // How the reader's own membership ended is always told.
        let to = self.to;
        let hidden = |event: &Arc<TimelineEvent>| {
            !viewer.may_see(event.position) && !is_own_end(event, to, reader)
        };
        if let Some(last) = self.timeline.iter().rposition(hidden) {
            // Not only what is hidden goes, but all before it: it may be state, which the answer
            // tells as it was before the timeline. The client pages back to the rest.
            let shown = self.timeline.split_off(last + 1);
            if let Some(hidden) = self.timeline.last() {
                self.before = hidden.position;
            }
            self.timeline = shown;
            self.limited = true;
        }
        if let Some(first) = self.timeline.first() {
            self.before = RoomPosition(first.position.0 - 1);
        }
        if self.is_left && !viewer.was_joined() {
            self.only_end = true;
            self.timeline.retain(|event| event.position == to);
        }
        self.timeline.retain(|event| !viewer.ignores(event));
        self.viewer = Some(viewer);
    }

    /// The first position that the client does not know.
    pub(super) fn first(&self) -> RoomPosition {
        RoomPosition(self.from.map_or(1, |from| from.0 + 1))
    }

    /// The first position of the timeline; the one after the end if it is empty.
    pub(super) fn start(&self) -> RoomPosition {
        RoomPosition(self.before.0 + 1)
    }

    /// Takes the newest of these events, which end at `to`, into the timeline.
    fn take(&mut self, events: Vec<Arc<TimelineEvent>>, filter: &Events) {
        let limit = self.limit;
        let room_id = self.head.room().room_id();
        let oldest = events.first().map(|event| event.position);
        let mut wanted: Vec<_> = events
            .into_iter()
            .filter(|event| filter.wants(room_id, &event.pdu))
            .collect();
        self.before = RoomPosition(oldest.map_or(self.to.0, |oldest| oldest.0 - 1));
        if wanted.len() > limit {
            let cut = wanted.len() - limit;
            let rest = wanted.split_off(cut);
            if let Some(last) = wanted.last() {
                self.before = last.position;
            }
            wanted = rest;
            self.limited = true;
        }
        self.limited |= self.before >= self.first();
        if wanted.is_empty() && limit == 0 {
            self.before = self.to;
        }
        self.timeline = wanted;
    }
}

impl Section {
    /// An event of the timeline for its reader, who was joined when it was sent unless the viewer
    /// says otherwise.
    pub(super) fn event_text(&self, event: &TimelineEvent, device: Option<DeviceNid>) -> String {
        match &self.viewer {
            Some(viewer) => viewer.show_with(event, None, device, self.bundles.of(event)),
            None => event.for_reader(None, Some(&MembershipState::Join), device),
        }
    }
}
