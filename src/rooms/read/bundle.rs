//! Bundled aggregations: what relates to events, told with them under `m.relations`.
//!
//! Children are newer than their parents: all that relates to an event of the window stands in the
//! window too, and is found there. For older events one query asks for all of them, and one more
//! for the events to show, if there are any.
//!
//! Client-server API v1.19, "Aggregations of child events".

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::Arc,
};

use ruma::{OwnedEventId, RoomId};

use super::Viewer;
use crate::{
    event::relation::{Aggregation, aggregation},
    rooms::{Actor, Error, Rooms},
    store::{
        RoomNid, RoomPosition, UserNid, events,
        live::TimelineEvent,
        relations::{self, Parent, Reader},
    },
};

/// The most references that are told with their parent.
const MAX_REFERENCES: usize = 100;

type Place = (RoomNid, RoomPosition);

/// What relates to events, for one reader.
#[derive(Clone, Debug, Default)]
pub struct Bundles(HashMap<Place, String>);

impl Bundles {
    /// The object under `m.relations` of an event, as JSON. `None` if nothing relates to it.
    pub fn of(&self, event: &TimelineEvent) -> Option<&str> {
        self.0.get(&place(event)).map(String::as_str)
    }
}

/// What relates to one event.
#[derive(Default)]
struct Related {
    edit: Option<Arc<TimelineEvent>>,
    thread: Option<Thread>,
    references: Vec<OwnedEventId>,
}

struct Thread {
    count: i64,
    participated: bool,
    latest: Arc<TimelineEvent>,
}

type AllRelated = BTreeMap<Place, Related>;

impl Rooms {
    /// What relates to events of one room that the reader is shown.
    pub async fn bundle(
        &self,
        reader: &Actor,
        viewer: &Viewer,
        shown: &[Arc<TimelineEvent>],
    ) -> Result<Bundles, Error> {
        self.bundle_all(reader, &[(viewer, shown)]).await
    }

    /// The same for several rooms. Costs no query where the events are recent, one where nothing
    /// relates to older ones, and a few more at most.
    pub async fn bundle_all(
        &self,
        reader: &Actor,
        shown: &[(&Viewer, &[Arc<TimelineEvent>])],
    ) -> Result<Bundles, Error> {
        let viewers: HashMap<_, _> = shown
            .iter()
            .map(|(viewer, _)| (viewer.room(), *viewer))
            .collect();
        let mut events: Vec<_> = shown.iter().flat_map(|(_, events)| *events).collect();
        events.retain(|event| event.slot.is_none());
        let related = self.related(reader, &viewers, &events).await?;
        if related.is_empty() {
            return Ok(Bundles::default());
        }
        // The newest events of threads may have been edited: they cannot begin threads themselves.
        let latest: Vec<_> = related
            .values()
            .filter_map(|related| related.thread.as_ref())
            .map(|thread| &thread.latest)
            .collect();
        let of_latest = self.related(reader, &viewers, &latest).await?;
        let inner = Bundles(write(&of_latest, &viewers, reader, &Bundles::default()));
        Ok(Bundles(write(&related, &viewers, reader, &inner)))
    }

    /// What relates to these events, which are no state.
    async fn related(
        &self,
        reader: &Actor,
        viewers: &HashMap<RoomNid, &Viewer>,
        parents: &[&Arc<TimelineEvent>],
    ) -> Result<AllRelated, Error> {
        let mut by_room: BTreeMap<RoomNid, Vec<&Arc<TimelineEvent>>> = BTreeMap::new();
        for event in parents {
            by_room.entry(event.room).or_default().push(event);
        }
        let mut related = AllRelated::new();
        let mut older = Vec::new();
        for (room, events) in by_room {
            let Some(viewer) = viewers.get(&room) else {
                continue;
            };
            let first = events.iter().map(|event| event.position).min();
            let live = self.0.store.live();
            let (covered, children) = live.relating_events(room, first.unwrap_or_default());
            let by_parent = by_parent(viewer, &children);
            let visible = relations::visible(viewer.visible_parts());
            for event in events {
                if event.position < covered {
                    older.push((
                        Parent {
                            room,
                            position: event.position,
                            visible: Arc::clone(&visible),
                        },
                        Arc::clone(event),
                    ));
                } else if let Some(children) = by_parent.get(event.pdu.event_id())
                    && let Some(found) = in_memory(event, children, reader.user)
                {
                    related.insert(place(event), found);
                }
            }
        }
        if !older.is_empty() {
            self.add_older(reader, viewers, &older, &mut related)
                .await?;
        }
        Ok(related)
    }

    /// What the database knows of events that are older than the window.
    async fn add_older(
        &self,
        reader: &Actor,
        viewers: &HashMap<RoomNid, &Viewer>,
        older: &[(Parent, Arc<TimelineEvent>)],
        related: &mut AllRelated,
    ) -> Result<(), Error> {
        let parents: Vec<_> = older.iter().map(|(parent, _)| parent.clone()).collect();
        let asked = Reader {
            user: reader.user,
            ignored: ignored_ids(viewers.values().next().copied()),
        };
        let mut conn = self.0.store.conn().await?;
        let summaries = relations::summaries(&mut conn, &parents, &asked).await?;
        let shown = summaries
            .iter()
            .filter(|summary| summary.aggregation != Aggregation::Reference)
            .map(|summary| (summary.room, summary.latest));
        let shown: Vec<_> = shown.collect();
        let events = events::at(&mut conn, &shown).await?;
        let events: HashMap<_, _> = events.iter().map(|event| (place(event), event)).collect();
        let parents: HashMap<_, _> = older
            .iter()
            .map(|(_, event)| (place(event), event))
            .collect();
        for summary in summaries {
            let at = (summary.room, summary.parent);
            let Some(parent) = parents.get(&at) else {
                continue;
            };
            let latest = events.get(&(summary.room, summary.latest));
            let found = related.entry(at).or_default();
            match (summary.aggregation, latest) {
                (Aggregation::Edit, Some(edit)) if parent.redacted_by.is_none() => {
                    found.edit = Some(Arc::clone(edit));
                }
                (Aggregation::Thread, Some(latest)) => {
                    found.thread = Some(Thread {
                        count: summary.count,
                        participated: summary.by_reader || parent.sender == reader.user,
                        latest: Arc::clone(latest),
                    });
                }
                (Aggregation::Reference, _) => found.references = summary.references,
                _ => {}
            }
        }
        related.retain(|_, related| !related.is_empty());
        Ok(())
    }
}

impl Related {
    fn is_empty(&self) -> bool {
        self.edit.is_none() && self.thread.is_none() && self.references.is_empty()
    }
}

fn place(event: &TimelineEvent) -> Place {
    (event.room, event.position)
}

/// The ids of the users whom a reader ignores.
pub(super) fn ignored_ids(viewer: Option<&Viewer>) -> Vec<String> {
    let ignored = viewer.map(Viewer::ignored);
    let ignored = ignored.into_iter().flatten();
    ignored.map(ToString::to_string).collect()
}

/// The children that the reader is shown, by the parents that they name.
fn by_parent<'a>(
    viewer: &Viewer,
    children: &'a [Arc<TimelineEvent>],
) -> HashMap<&'a ruma::EventId, Vec<&'a Arc<TimelineEvent>>> {
    let mut by_parent: HashMap<_, Vec<_>> = HashMap::new();
    for child in children {
        if let Some(relation) = child.pdu.relates_to()
            && viewer.shows(child)
        {
            let parent: &ruma::EventId = &relation.event_id;
            by_parent.entry(parent).or_default().push(child);
        }
    }
    by_parent
}

/// What these children, oldest first, are to their parent.
fn in_memory(
    parent: &TimelineEvent,
    children: &[&Arc<TimelineEvent>],
    reader: UserNid,
) -> Option<Related> {
    let mut related = Related::default();
    for child in children {
        match aggregation(&parent.pdu, &child.pdu) {
            Some(Aggregation::Edit) if parent.redacted_by.is_none() => {
                let age = |event: &TimelineEvent| {
                    let pdu = &event.pdu;
                    (pdu.origin_server_ts(), pdu.owned_event_id().clone())
                };
                if (related.edit.as_ref()).is_none_or(|newest| age(newest) < age(child)) {
                    related.edit = Some(Arc::clone(child));
                }
            }
            Some(Aggregation::Thread) => {
                let before = related.thread.take();
                related.thread = Some(Thread {
                    count: before.as_ref().map_or(0, |thread| thread.count) + 1,
                    participated: before.is_some_and(|thread| thread.participated)
                        || child.sender == reader
                        || parent.sender == reader,
                    latest: Arc::clone(child),
                });
            }
            Some(Aggregation::Reference) if related.references.len() < MAX_REFERENCES => {
                related.references.push(child.pdu.owned_event_id().clone());
            }
            _ => {}
        }
    }
    (!related.is_empty()).then_some(related)
}

/// The objects under `m.relations`. What is in them has its own from `inner`.
fn write(
    related: &AllRelated,
    viewers: &HashMap<RoomNid, &Viewer>,
    reader: &Actor,
    inner: &Bundles,
) -> HashMap<Place, String> {
    let mut written = HashMap::with_capacity(related.len());
    for (at, related) in related {
        let Some(viewer) = viewers.get(&at.0) else {
            continue;
        };
        let room_id = viewer.head().room().room_id();
        let text = |event: &TimelineEvent| text(event, viewer, room_id, reader, inner);
        let mut out = String::from("{");
        if let Some(edit) = &related.edit {
            let _ = write!(out, "\"m.replace\":{}", text(edit));
        }
        // Writing to a string cannot fail.
        if let Some(thread) = &related.thread {
            let comma = if out.len() > 1 { "," } else { "" };
            let _ = write!(
                out,
                "{comma}\"m.thread\":{{\"count\":{},\"current_user_participated\":{},\
                 \"latest_event\":{}}}",
                thread.count,
                thread.participated,
                text(&thread.latest),
            );
        }
        if !related.references.is_empty() {
            let comma = if out.len() > 1 { "," } else { "" };
            let chunk: Vec<_> = related
                .references
                .iter()
                .map(|id| serde_json::json!({ "event_id": id }))
                .collect();
            let chunk = serde_json::Value::from(chunk);
            let _ = write!(out, "{comma}\"m.reference\":{{\"chunk\":{chunk}}}");
        }
        out.push('}');
        written.insert(*at, out);
    }
    written
}

fn text(
    event: &TimelineEvent,
    viewer: &Viewer,
    room_id: &RoomId,
    reader: &Actor,
    inner: &Bundles,
) -> String {
    viewer.show_with(event, Some(room_id), reader.device, inner.of(event))
}
