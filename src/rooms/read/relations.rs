//! The events that relate to one, and the threads of a room.
//!
//! Client-server API v1.19, "Event relationships" and "Threading".

use std::{collections::HashMap, sync::Arc};

use ruma::{EventId, RoomId};

use super::{Viewer, bundle::ignored_ids, texts, token_after, walk::Walk};
use crate::{
    event::{
        client_format::{self, Personal, Unsigned},
        redact,
    },
    rooms::{Actor, Error, Rooms},
    store::{
        RoomNid, RoomPosition,
        events::{self, Direction},
        live::TimelineEvent,
        relations::{self, ChildrenQuery, Parent},
    },
};

/// The most events of one page.
const MAX_EVENTS: usize = 100;
/// How many there are when nobody says.
const DEFAULT_EVENTS: usize = 50;
/// How far down indirect relations are followed.
const MAX_DEPTH: u8 = 3;

/// Which events are asked for.
#[derive(Clone, Debug)]
pub struct RelationsQuery {
    /// Only those with this type of relation.
    pub rel_type: Option<String>,
    /// Only those of this type.
    pub event_type: Option<String>,
    /// Where to begin; the end of the room in the direction if it is not said.
    pub from: Option<String>,
    /// Where to stop.
    pub to: Option<String>,
    /// Which way to go.
    pub direction: Direction,
    /// The most events.
    pub limit: Option<usize>,
    /// Whether those that relate indirectly are wanted, too.
    pub recurse: bool,
}

/// Events that relate to one.
#[derive(Clone, Debug)]
pub struct RelationsPage {
    /// The events as JSON.
    pub chunk: Vec<String>,
    /// The token to go on from; none if there is no more.
    pub next_batch: Option<String>,
    /// The token that this page began at, unless it is the first.
    pub prev_batch: Option<String>,
    /// How far down relations were followed, where that was asked for.
    pub recursion_depth: Option<u8>,
}

/// Which threads are asked for.
#[derive(Clone, Debug, Default)]
pub struct ThreadsQuery {
    /// Where to begin; at the newest if it is not said.
    pub from: Option<String>,
    /// Only those that the reader has taken part in.
    pub participated: bool,
    /// The most threads.
    pub limit: Option<usize>,
}

/// Threads of a room.
#[derive(Clone, Debug)]
pub struct ThreadsPage {
    /// Their roots as JSON, those with the newest events first.
    pub chunk: Vec<String>,
    /// The token to go on from; none if there is no more.
    pub next_batch: Option<String>,
}

impl Rooms {
    /// The events that relate to one (`GET /rooms/{roomId}/relations/{eventId}`).
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] if there is none, or the reader may not see it, and
    /// [`Error::Invalid`] for a token that is none.
    pub async fn relations(
        &self,
        reader: &Actor,
        room_id: &RoomId,
        event_id: &EventId,
        query: &RelationsQuery,
    ) -> Result<RelationsPage, Error> {
        let opened = self.open(reader, room_id).await?;
        let (room, mut viewer) = opened.ok_or(Error::UnknownEvent)?;
        let parent = self.visible_event(&room, &mut viewer, event_id).await?;
        let parent = parent.ok_or(Error::UnknownEvent)?;
        let walk = self.relations_walk(room.nid(), &viewer, query).await?;
        let limit = page_limit(query.limit.map(|limit| limit.max(1)))?;
        let (after, until) = match walk.direction {
            Direction::Backward => (walk.stop, walk.cursor),
            Direction::Forward => (walk.cursor, walk.stop),
        };
        let asked = ChildrenQuery {
            parent: parent_of(&viewer, parent.position),
            rel_type: query.rel_type.clone(),
            event_type: query.event_type.clone(),
            after,
            until,
            direction: query.direction,
            limit: i64::try_from(limit + 1).unwrap_or(i64::MAX),
        };
        let can_match = [&query.rel_type, &query.event_type]
            .into_iter()
            .flatten()
            .all(|text| !text.contains('\0'));
        let mut found = Vec::new();
        if can_match && after < until {
            let ignored = ignored_ids(Some(&viewer));
            let mut conn = self.0.store.conn().await?;
            found = if query.recurse {
                let depth = MAX_DEPTH.into();
                relations::descendants(&mut conn, &asked, &ignored, depth).await?
            } else {
                relations::children(&mut conn, &asked, &ignored).await?
            };
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| match query.direction {
                Direction::Backward => RoomPosition(last.0 - 1),
                Direction::Forward => *last,
            });
        let events = self.at(room.nid(), &found).await?;
        let bundles = self.bundle(reader, &viewer, &events).await?;
        Ok(RelationsPage {
            chunk: texts(&events, &viewer, &bundles, reader, room_id),
            next_batch: next.map(token_after),
            prev_batch: query.from.clone(),
            recursion_depth: query.recurse.then_some(MAX_DEPTH),
        })
    }

    /// The part of a room that a query asks for.
    async fn relations_walk(
        &self,
        room: RoomNid,
        viewer: &Viewer,
        query: &RelationsQuery,
    ) -> Result<Walk, Error> {
        let newest = viewer.head().position();
        let (first, last) = match query.direction {
            Direction::Backward => (newest, RoomPosition(0)),
            Direction::Forward => (RoomPosition(0), newest),
        };
        let cursor = match &query.from {
            Some(token) => self.resolve(room, token).await?.min(newest),
            None => first,
        };
        let stop = match &query.to {
            Some(token) => self.resolve(room, token).await?.min(newest),
            None => last,
        };
        Ok(Walk {
            direction: query.direction,
            cursor,
            stop,
        })
    }

    /// The threads of a room (`GET /rooms/{roomId}/threads`).
    ///
    /// # Errors
    /// [`Error::NotJoined`] for a reader who may see nothing of the room, and [`Error::Invalid`]
    /// for a token that is none.
    pub async fn threads(
        &self,
        reader: &Actor,
        room_id: &RoomId,
        query: &ThreadsQuery,
    ) -> Result<ThreadsPage, Error> {
        let opened = self.open(reader, room_id).await?;
        let (room, mut viewer) = opened.ok_or(Error::NotJoined)?;
        viewer.reach(&self.0.store, RoomPosition(1)).await?;
        if !viewer.sees_anything() {
            return Err(Error::NotJoined);
        }
        let newest = viewer.head().position();
        let from = match &query.from {
            Some(token) => self.resolve(room.nid(), token).await?.min(newest),
            None => newest,
        };
        let limit = page_limit(query.limit)?;
        let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mut found = {
            let by = query.participated.then_some(reader.user);
            let mut conn = self.0.store.conn().await?;
            relations::threads(&mut conn, &parent_of(&viewer, from), by, wanted).await?
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more);
        let next = next.map(|(_, latest)| RoomPosition(latest.0 - 1));
        let roots: Vec<_> = found.iter().map(|(root, _)| *root).collect();
        let roots = self.at(room.nid(), &roots).await?;
        let bundles = self.bundle(reader, &viewer, &roots).await?;
        let chunk = roots
            .iter()
            // A thread of ignored people only is none for the reader.
            .filter(|root| bundles.of(root).is_some())
            .map(|root| {
                if viewer.ignores(root) {
                    return redacted_text(root, &viewer, bundles.of(root));
                }
                Ok(viewer.show_with(root, Some(room_id), reader.device, bundles.of(root)))
            });
        Ok(ThreadsPage {
            chunk: chunk.collect::<Result<_, Error>>()?,
            next_batch: next.map(token_after),
        })
    }

    /// The events at these positions of a room, in their order. That the reader may see them was
    /// decided before.
    async fn at(
        &self,
        room: RoomNid,
        positions: &[RoomPosition],
    ) -> Result<Vec<Arc<TimelineEvent>>, Error> {
        let places: Vec<_> = positions.iter().map(|at| (room, *at)).collect();
        let found = {
            let mut conn = self.0.store.conn().await?;
            events::at(&mut conn, &places).await?
        };
        let mut found: HashMap<_, _> = found
            .into_iter()
            .map(|event| (event.position, event))
            .collect();
        Ok(positions.iter().filter_map(|at| found.remove(at)).collect())
    }
}

/// How many events a page has.
fn page_limit(limit: Option<usize>) -> Result<usize, Error> {
    match limit {
        None => Ok(DEFAULT_EVENTS),
        Some(0) => Err(Error::Invalid("the limit is greater than zero".to_owned())),
        Some(limit) => Ok(limit.min(MAX_EVENTS)),
    }
}

fn parent_of(viewer: &Viewer, position: RoomPosition) -> Parent {
    Parent {
        room: viewer.room(),
        position,
        visible: relations::visible(viewer.visible_parts()),
    }
}

/// The root of a thread without what an ignored user said.
fn redacted_text(
    root: &TimelineEvent,
    viewer: &Viewer,
    bundle: Option<&str>,
) -> Result<String, Error> {
    let rules = viewer.head().room().rules();
    let left = redact::redact(&root.pdu, &rules.redaction)
        .map_err(|error| Error::Invalid(error.to_string()))?;
    let text = client_format::client_text(&left, &Unsigned::default(), true);
    let personal = Personal {
        relations: bundle,
        membership: Some(viewer.membership_at(root.position)),
        ..Personal::default()
    };
    Ok(client_format::personalize(&text, &personal))
}
