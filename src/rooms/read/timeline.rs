//! Pages of the timeline, and the events around one.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UserId};

use super::{
    Bundles, Viewer,
    filter::{self, Wanted},
    token_after,
    walk::Walk,
};
use crate::{
    rooms::{Actor, Error, Rooms},
    store::{
        RoomPosition,
        events::{self, Direction, Range},
        live::{LiveRoom, TimelineEvent},
    },
};

/// The most events that one request gives.
const MAX_EVENTS: usize = 1_000;
/// The most events that one request looks at.
const MAX_SCANNED: i64 = 1_000;
/// How many events near a time are looked at: clocks differ by so much.
const NEAR_A_TIME: usize = 10;
/// How many events are looked at together where a filter keeps some of them back.
const FILTERED_PAGE: i64 = 100;

/// What page is asked for.
#[derive(Clone, Debug)]
pub struct MessagesQuery {
    /// Where to begin; from the end of the timeline in the direction if there is none.
    pub from: Option<String>,
    /// Where to stop.
    pub to: Option<String>,
    /// Which way to go.
    pub direction: Direction,
    /// The most events; more than 1,000 are 1,000, and none is one.
    pub limit: usize,
    /// Which events to give.
    pub filter: Wanted,
}

/// A page of the timeline.
#[derive(Clone, Debug)]
pub struct Page {
    /// The token of its beginning.
    pub start: String,
    /// The token to go on from; none if there is no more.
    pub end: Option<String>,
    /// The events as JSON, in the direction of the page.
    pub chunk: Vec<String>,
    /// The member events of their senders as JSON, where members are loaded lazily.
    pub state: Vec<String>,
}

/// An event with those around it.
#[derive(Clone, Debug)]
pub struct Context {
    /// The token to go back from.
    pub start: String,
    /// The token to go on from.
    pub end: String,
    /// The event, as JSON.
    pub event: String,
    /// The events before it, newest first.
    pub before: Vec<String>,
    /// The events after it, oldest first.
    pub after: Vec<String>,
    /// The state at the newest of these events.
    pub state: Vec<String>,
}

impl Rooms {
    /// A page of a room's timeline (client-server API v1.19, `GET /rooms/{roomId}/messages`).
    ///
    /// The page's end follows from what was looked at, not from what could be shown: a reader who
    /// goes on from there never looks at the same events twice, and always gets to the end.
    ///
    /// # Errors
    /// [`Error::NotJoined`] for a reader who may see nothing of the room, and [`Error::Invalid`]
    /// for a token that is none.
    pub async fn messages(
        &self,
        reader: &Actor,
        room_id: &RoomId,
        query: &MessagesQuery,
    ) -> Result<Page, Error> {
        let opened = self.open(reader, room_id).await?;
        let (room, mut viewer) = opened.ok_or(Error::NotJoined)?;
        let mut walk = self.walk(&room, &viewer, query).await?;
        let from = walk.cursor;
        if !viewer.head().room().is_joined(&reader.user_id) {
            viewer.reach(&self.0.store, RoomPosition(1)).await?;
        }
        if !viewer.sees_anything() {
            return Err(Error::NotJoined);
        }
        let start = query.from.clone().unwrap_or_else(|| token_after(from));
        let mut page = Page {
            start,
            end: None,
            chunk: Vec::new(),
            state: Vec::new(),
        };
        if !filter::allows_room(&query.filter.events, room_id) {
            return Ok(page);
        }
        let limit = query.limit.clamp(1, MAX_EVENTS);
        let events = self
            .collect(&mut viewer, &mut walk, &query.filter, limit)
            .await?;
        let beyond = Walk {
            stop: match query.direction {
                Direction::Backward => RoomPosition(0),
                Direction::Forward => viewer.head().position(),
            },
            ..walk
        };
        let more = beyond
            .next()
            .and_then(|next| viewer.next_visible(next, query.direction));
        if more.is_some() && walk.cursor != from {
            page.end = Some(token_after(walk.cursor));
        }
        if filter::is_lazy(&query.filter.events) {
            let newest = events.iter().map(|event| event.position).max();
            let senders = senders(&events);
            page.state = match newest {
                Some(newest) => self.members_at(&viewer, &senders, newest).await?,
                None => Vec::new(),
            };
        }
        let bundles = self.bundle(reader, &viewer, &events).await?;
        page.chunk = texts(&events, &viewer, &bundles, reader, room_id);
        Ok(page)
    }

    /// An event with those around it (`GET /rooms/{roomId}/context/{eventId}`).
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] if there is none, or the reader may not see it.
    pub async fn context(
        &self,
        reader: &Actor,
        room_id: &RoomId,
        event_id: &EventId,
        limit: usize,
        filter: &Wanted,
    ) -> Result<Context, Error> {
        let opened = self.open(reader, room_id).await?;
        let (room, mut viewer) = opened.ok_or(Error::UnknownEvent)?;
        let event = self.visible_event(&room, &mut viewer, event_id).await?;
        let event = event.ok_or(Error::UnknownEvent)?;
        let limit = limit.min(MAX_EVENTS);
        let limit = if filter::allows_room(&filter.events, room_id) {
            limit
        } else {
            0
        };
        let mut back = Walk {
            direction: Direction::Backward,
            cursor: RoomPosition(event.position.0 - 1),
            stop: RoomPosition(0),
        };
        let before = self
            .collect(&mut viewer, &mut back, filter, limit / 2)
            .await?;
        let mut forth = Walk {
            direction: Direction::Forward,
            cursor: event.position,
            stop: viewer.head().position(),
        };
        let rest = limit - limit / 2;
        let after = self.collect(&mut viewer, &mut forth, filter, rest).await?;
        let newest = after.last().map_or(event.position, |last| last.position);
        let shown = [before.as_slice(), &[Arc::clone(&event)], after.as_slice()].concat();
        let senders = senders(&shown);
        let only_members = filter::is_lazy(&filter.events).then_some(&senders);
        let bundles = self.bundle(reader, &viewer, &shown).await?;
        let text = |events: &[_]| texts(events, &viewer, &bundles, reader, room_id);
        let event = text(&[event]);
        Ok(Context {
            start: token_after(back.cursor),
            end: token_after(forth.cursor),
            event: event.into_iter().next().unwrap_or_default(),
            before: text(&before),
            after: text(&after),
            state: self.state_texts_at(&viewer, newest, only_members).await?,
        })
    }

    /// The event closest to a time in a direction, that time included (`GET
    /// /rooms/{roomId}/timestamp_to_event`): its id and when it was sent.
    ///
    /// # Errors
    /// [`Error::NotJoined`] for a reader who may see nothing of the room, and
    /// [`Error::UnknownEvent`] if there is none.
    pub async fn event_at_time(
        &self,
        reader: &Actor,
        room_id: &RoomId,
        time: MilliSecondsSinceUnixEpoch,
        direction: Direction,
    ) -> Result<(OwnedEventId, MilliSecondsSinceUnixEpoch), Error> {
        let opened = self.open(reader, room_id).await?;
        let (room, mut viewer) = opened.ok_or(Error::NotJoined)?;
        if !viewer.head().room().is_joined(&reader.user_id) {
            viewer.reach(&self.0.store, RoomPosition(1)).await?;
        }
        if !viewer.sees_anything() {
            return Err(Error::NotJoined);
        }
        let newest = viewer.head().position();
        let time_ms = i64::from(time.get());
        let from = match direction {
            Direction::Backward => time_ms + 1,
            Direction::Forward => time_ms,
        };
        let first = {
            let mut conn = self.0.store.conn().await?;
            events::at_time(&mut conn, room.nid(), newest, from).await?
        };
        let mut walk = Walk {
            direction,
            cursor: RoomPosition(first.0 - 1),
            stop: match direction {
                Direction::Backward => RoomPosition(0),
                Direction::Forward => newest,
            },
        };
        let everything = Wanted::default();
        let found = self
            .collect(&mut viewer, &mut walk, &everything, NEAR_A_TIME)
            .await?;
        let fits = |event: &&Arc<TimelineEvent>| match direction {
            Direction::Backward => event.pdu.origin_server_ts() <= time,
            Direction::Forward => event.pdu.origin_server_ts() >= time,
        };
        let event = found.iter().find(fits).ok_or(Error::UnknownEvent)?;
        let pdu = &event.pdu;
        Ok((pdu.owned_event_id().clone(), pdu.origin_server_ts()))
    }

    /// The walk that a query asks for.
    async fn walk(
        &self,
        room: &LiveRoom,
        viewer: &Viewer,
        query: &MessagesQuery,
    ) -> Result<Walk, Error> {
        let newest = viewer.head().position();
        let (first, last) = match query.direction {
            Direction::Backward => (newest, RoomPosition(0)),
            Direction::Forward => (RoomPosition(0), newest),
        };
        let cursor = match &query.from {
            Some(token) => self.resolve(room.nid(), token).await?.min(newest),
            None => first,
        };
        let stop = match &query.to {
            Some(token) => self.resolve(room.nid(), token).await?.min(newest),
            None => last,
        };
        Ok(Walk {
            direction: query.direction,
            cursor,
            stop,
        })
    }

    /// Up to `limit` events that the reader may see and the filter lets through, in the direction
    /// of the walk, which then stands where the next page begins.
    async fn collect(
        &self,
        viewer: &mut Viewer,
        walk: &mut Walk,
        wanted: &Wanted,
        limit: usize,
    ) -> Result<Vec<Arc<TimelineEvent>>, Error> {
        let mut events = Vec::with_capacity(limit.min(100));
        let mut left = MAX_SCANNED;
        while events.len() < limit && left > 0 {
            let missing = i64::try_from(limit - events.len()).unwrap_or(MAX_SCANNED);
            let count = if wanted.is_selective() || !viewer.ignored().is_empty() {
                missing.max(FILTERED_PAGE)
            } else {
                missing
            };
            let count = count.min(left);
            let Some((first, _)) = walk.ahead(count) else {
                break;
            };
            viewer.reach(&self.0.store, first).await?;
            // What the reader may not see is passed over, and not looked at.
            if let Some(next) = walk.next() {
                walk.skip_to(viewer.next_visible(next, walk.direction));
            }
            let Some((first, last)) = walk.ahead(count) else {
                break;
            };
            viewer.reach(&self.0.store, first).await?;
            left -= last.0 - first.0 + 1;
            let mut found = self.read(&viewer.within(first, last)).await?;
            let end = match walk.direction {
                Direction::Backward => {
                    found.reverse();
                    first
                }
                Direction::Forward => last,
            };
            for event in found {
                if viewer.ignores(&event) || !wanted.allows(&event.pdu) {
                    continue;
                }
                let position = event.position;
                events.push(event);
                if events.len() == limit {
                    walk.pass(position);
                    return Ok(events);
                }
            }
            walk.pass(end);
        }
        Ok(events)
    }

    /// All events of these parts of a room, oldest first: from memory if they are recent.
    async fn read(&self, parts: &[Range]) -> Result<Vec<Arc<TimelineEvent>>, Error> {
        let count = |part: &Range| u32::try_from(part.last.0 - part.first.0 + 1);
        match parts {
            [] => Ok(Vec::new()),
            [part] => {
                let count = count(part).unwrap_or(u32::MAX);
                Ok(self.0.store.timeline(part.room, *part, count).await?)
            }
            parts => {
                let longest = parts.iter().filter_map(|part| count(part).ok()).max();
                let mut conn = self.0.store.conn().await?;
                let longest = longest.unwrap_or(u32::MAX);
                Ok(events::list(&mut conn, parts, Direction::Forward, longest).await?)
            }
        }
    }
}

fn senders(events: &[Arc<TimelineEvent>]) -> BTreeSet<&UserId> {
    events.iter().map(|event| event.pdu.sender()).collect()
}

/// Events of a room as JSON, with the room's id and what relates to them.
pub(super) fn texts(
    events: &[Arc<TimelineEvent>],
    viewer: &Viewer,
    bundles: &Bundles,
    reader: &Actor,
    room_id: &RoomId,
) -> Vec<String> {
    let text = |event: &Arc<TimelineEvent>| {
        viewer.show_with(event, Some(room_id), reader.device, bundles.of(event))
    };
    events.iter().map(text).collect()
}
