//! Searching what was said in rooms that are not encrypted.
//!
//! The store finds candidates among the rooms that the reader has been in, the newest first. From
//! them a page is taken in the order that is asked for, through the viewer of each room: what is
//! hidden, redacted, of somebody ignored or in an encrypted room is passed over. What was passed
//! over counts as looked at, so that the next page goes on behind it, and behind the last candidate
//! with those that are older.
//!
//! Client-server API v1.19, "Server Side Search".

mod around;
mod candidates;
mod index;
mod token;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ruma::{OwnedRoomId, api::client::filter::RoomEventFilter};

pub use self::{around::Around, token::SearchToken};
use self::{around::MAX_AROUND, token::OneGroup};
use super::{Actor, Bundles, Error, NoToken, Rooms, Viewer, filter};
use crate::store::{
    RoomNid, RoomPosition, events,
    live::TimelineEvent,
    search::{Found, Key},
    user_directory,
};

/// How many results there are when nobody says.
const DEFAULT_RESULTS: usize = 10;
/// The most results of a page.
const MAX_RESULTS: usize = 50;
/// The most candidates that are looked at together. At first they are as many as results are wanted:
/// most often all of them may be seen, and each looks at another room.
const CHUNK: usize = 100;
/// The most candidates that are looked at for one page.
const MAX_LOOKED_AT: usize = 500;

/// What results are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Their rooms.
    Room,
    /// Their senders.
    Sender,
}

/// What is searched for.
#[derive(Clone, Debug)]
pub struct SearchQuery {
    /// The words.
    pub term: String,
    /// What they are looked for in.
    pub keys: Vec<Key>,
    /// Which events.
    pub filter: RoomEventFilter,
    /// Whether the best come first, and not the newest.
    pub by_rank: bool,
    /// The events around each result, if they are wanted.
    pub around: Option<Around>,
    /// Whether the state of the rooms is wanted.
    pub with_state: bool,
    /// What to group by.
    pub group_by: Vec<Group>,
    /// Where to go on.
    pub next_batch: Option<String>,
}

/// A page of results.
#[derive(Clone, Debug, Default)]
pub struct SearchPage {
    /// About how many there are in all.
    pub count: usize,
    /// The words that were found.
    pub highlights: Vec<String>,
    /// The results as JSON.
    pub results: Vec<String>,
    /// The state of rooms, as JSON.
    pub state: Vec<(OwnedRoomId, Vec<String>)>,
    /// The groups, as JSON, by the name of what is grouped by and of the group.
    pub groups: Vec<(&'static str, Vec<(String, String)>)>,
    /// The token to go on from; none if there is no more.
    pub next_batch: Option<String>,
}

/// A result.
struct Hit {
    found: Found,
    event: Arc<TimelineEvent>,
}

/// The viewers of the rooms that results are in; `None` for rooms that are not searched.
type Viewers = HashMap<RoomNid, Option<Viewer>>;

impl Rooms {
    /// Searches (`POST /search`).
    ///
    /// # Errors
    /// [`Error::SearchDisabled`], and [`Error::Invalid`] for a token that is none.
    pub async fn search(&self, reader: &Actor, query: &SearchQuery) -> Result<SearchPage, Error> {
        if !self.0.settings.search {
            return Err(Error::SearchDisabled);
        }
        let invalid = |NoToken| Error::Invalid("invalid pagination token".into());
        let token = query.next_batch.as_deref().map(str::parse::<SearchToken>);
        let token = token.transpose().map_err(invalid)?;
        let highlights = user_directory::words(&query.term);
        if highlights.is_empty() {
            return Ok(SearchPage::default());
        }
        self.catch_up_index().await?;
        self.0.store.load_user(reader.user).await?;
        let rooms = self.0.store.live().rooms_of(reader.user);
        let (_, rooms) = rooms.unwrap_or_default();
        let searched = self.searched_rooms(&rooms, &query.filter).await?;
        let candidates = self.candidates(&rooms, searched, query, token).await?;
        let count = token.map_or(candidates.about, |token| token.count);
        let offset = token.map_or(0, |token| token.offset);
        let ahead = candidates.found.get(offset..).unwrap_or_default();
        let limit = query.filter.limit.map(u64::from);
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(MAX_RESULTS));
        let limit = limit.unwrap_or(DEFAULT_RESULTS).clamp(1, MAX_RESULTS);

        let group = token.and_then(|token| token.group);
        let mut viewers = Viewers::new();
        let wanted = (&query.filter, group);
        let (hits, looked_at) = self
            .take(reader, ahead, wanted, limit, &mut viewers)
            .await?;
        let place = |(before, offset)| SearchToken {
            before,
            offset,
            count,
            group,
        };
        let next = match candidates.rest {
            Some(rest) if looked_at == ahead.len() => Some((rest, 0)),
            // Clients take a page that is full for one that is not the last.
            _ if looked_at < ahead.len() || hits.len() == limit => {
                Some(candidates.after(query, offset + looked_at))
            }
            _ => None,
        };
        let next = next.map(place);
        let results = self.result_texts(reader, query, &hits, &viewers).await?;
        Ok(SearchPage {
            count,
            highlights,
            results,
            state: self.states(reader, query, &hits, &mut viewers).await?,
            groups: groups(query, &hits, next),
            next_batch: next.map(|next| next.to_string()),
        })
    }

    /// Up to `limit` results from candidates, in their order, and how many were looked at.
    async fn take(
        &self,
        reader: &Actor,
        candidates: &[Found],
        (wanted, group): (&RoomEventFilter, Option<OneGroup>),
        limit: usize,
        viewers: &mut Viewers,
    ) -> Result<(Vec<Hit>, usize), Error> {
        let mut hits = Vec::new();
        let mut looked_at = 0;
        let mut ahead = candidates.get(..MAX_LOOKED_AT).unwrap_or(candidates);
        let mut size = limit;
        while !ahead.is_empty() {
            let (chunk, rest) = ahead.split_at(size.min(ahead.len()));
            ahead = rest;
            size = (size * 2).min(CHUNK);
            let places: Vec<_> = chunk
                .iter()
                .map(|found| (found.room, found.position))
                .collect();
            let events = {
                let mut conn = self.0.store.conn().await?;
                events::at(&mut conn, &places).await?
            };
            let events: HashMap<_, _> = events
                .into_iter()
                .map(|event| ((event.room, event.position), event))
                .collect();
            self.add_viewers(reader, &places, viewers).await?;
            for found in chunk {
                looked_at += 1;
                if !is_in(group, found) {
                    continue;
                }
                let event = events.get(&(found.room, found.position));
                let viewer = viewers.get(&found.room).and_then(Option::as_ref);
                if let (Some(event), Some(viewer)) = (event, viewer)
                    && event.redacted_by.is_none()
                    && viewer.shows(event)
                    && filter::allows(wanted, &event.pdu)
                {
                    hits.push(Hit {
                        found: *found,
                        event: Arc::clone(event),
                    });
                }
                if hits.len() == limit {
                    return Ok((hits, looked_at));
                }
            }
        }
        Ok((hits, looked_at))
    }

    /// The viewers of rooms, known from these positions on.
    async fn add_viewers(
        &self,
        reader: &Actor,
        places: &[(RoomNid, RoomPosition)],
        viewers: &mut Viewers,
    ) -> Result<(), Error> {
        let mut first: HashMap<RoomNid, RoomPosition> = HashMap::new();
        for (room, position) in places {
            // What is around them may be wanted as well.
            let position = RoomPosition((position.0 - MAX_AROUND).max(1));
            let first = first.entry(*room).or_insert(position);
            *first = (*first).min(position);
        }
        let missing: Vec<_> = first
            .keys()
            .copied()
            .filter(|room| !viewers.contains_key(room))
            .collect();
        for room in self.0.store.load_rooms(&missing).await? {
            let viewer = if room.head().room().is_encrypted() {
                None
            } else {
                Some(self.viewer(&room, reader).await?)
            };
            viewers.insert(room.nid(), viewer);
        }
        let short = viewers.iter_mut().filter_map(|(room, viewer)| {
            let position = first.get(room)?;
            Some((viewer.as_mut()?, *position))
        });
        Ok(Viewer::reach_all(&self.0.store, short.collect()).await?)
    }

    /// The results as JSON, with what is around them.
    async fn result_texts(
        &self,
        reader: &Actor,
        query: &SearchQuery,
        hits: &[Hit],
        viewers: &Viewers,
    ) -> Result<Vec<String>, Error> {
        let around = match query.around {
            Some(around) => self.around(around, hits, viewers).await?,
            None => around::All::default(),
        };
        let mut shown: HashMap<RoomNid, Vec<Arc<TimelineEvent>>> = HashMap::new();
        let context = around.events().cloned();
        for event in hits.iter().map(|hit| Arc::clone(&hit.event)).chain(context) {
            shown.entry(event.room).or_default().push(event);
        }
        let shown: Vec<_> = shown
            .iter()
            .filter_map(|(room, events)| Some((viewers.get(room)?.as_ref()?, &**events)))
            .collect();
        let bundles = self.bundle_all(reader, &shown).await?;
        let mut texts = Vec::with_capacity(hits.len());
        for (at, hit) in hits.iter().enumerate() {
            let Some(Some(viewer)) = viewers.get(&hit.event.room) else {
                continue;
            };
            let event = event_text(&hit.event, viewer, &bundles, reader);
            let rank = f64::from(hit.found.rank);
            let context = around.text(at, viewer, &bundles, reader);
            texts.push(format!(
                "{{\"rank\":{},\"result\":{event}{context}}}",
                serde_json::Value::from(rank)
            ));
        }
        Ok(texts)
    }

    /// The state of the rooms of results, as far as the reader may see it.
    async fn states(
        &self,
        reader: &Actor,
        query: &SearchQuery,
        hits: &[Hit],
        viewers: &mut Viewers,
    ) -> Result<Vec<(OwnedRoomId, Vec<String>)>, Error> {
        if !query.with_state {
            return Ok(Vec::new());
        }
        let rooms: BTreeSet<_> = hits.iter().map(|hit| hit.event.room).collect();
        let strangers = viewers.iter_mut().filter_map(|(room, viewer)| {
            let viewer = viewer.as_mut().filter(|_| rooms.contains(room))?;
            let is_member = viewer.head().room().is_joined(&reader.user_id);
            (!is_member).then_some((viewer, RoomPosition(1)))
        });
        Viewer::reach_all(&self.0.store, strangers.collect()).await?;
        let mut states = Vec::with_capacity(rooms.len());
        for room in rooms {
            let Some(Some(viewer)) = viewers.get_mut(&room) else {
                continue;
            };
            if let Some(at) = viewer.last_readable_state_position() {
                let room_id = viewer.head().room().room_id().to_owned();
                states.push((room_id, self.state_texts_at(viewer, at, None).await?));
            }
        }
        Ok(states)
    }
}

/// Whether a result is in the group that a client goes on in.
fn is_in(group: Option<OneGroup>, found: &Found) -> bool {
    match group {
        None => true,
        Some(OneGroup::Room(room)) => found.room == room,
        Some(OneGroup::Sender(sender)) => found.sender == sender,
    }
}

/// An event as JSON.
fn event_text(event: &TimelineEvent, viewer: &Viewer, bundles: &Bundles, reader: &Actor) -> String {
    let room_id = viewer.head().room().room_id();
    viewer.show_with(event, Some(room_id), reader.device, bundles.of(event))
}

/// The groups of results, in the order in which they come.
fn groups(
    query: &SearchQuery,
    hits: &[Hit],
    next: Option<SearchToken>,
) -> Vec<(&'static str, Vec<(String, String)>)> {
    let mut groups = Vec::new();
    for group in &query.group_by {
        let name = match group {
            Group::Room => "room_id",
            Group::Sender => "sender",
        };
        let mut members: Vec<(String, OneGroup, Vec<&str>)> = Vec::new();
        for hit in hits {
            let pdu = &hit.event.pdu;
            let (id, number) = match group {
                Group::Room => (pdu.room_id().as_str(), OneGroup::Room(hit.event.room)),
                Group::Sender => (pdu.sender().as_str(), OneGroup::Sender(hit.event.sender)),
            };
            let event_id = pdu.event_id().as_str();
            match members.iter_mut().find(|(known, ..)| known == id) {
                Some((_, _, ids)) => ids.push(event_id),
                None => members.push((id.to_owned(), number, vec![event_id])),
            }
        }
        let members = members
            .into_iter()
            .enumerate()
            .map(|(order, (id, number, ids))| {
                let mut text = serde_json::json!({ "order": order, "results": ids });
                if let Some(next) = next {
                    let next = SearchToken {
                        group: Some(number),
                        ..next
                    };
                    text["next_batch"] = next.to_string().into();
                }
                (id, text.to_string())
            });
        groups.push((name, members.collect()));
    }
    groups
}
