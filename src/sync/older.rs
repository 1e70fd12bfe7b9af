//! The ways to sync that were there before `/sync`: the whole of it, one room of it, and the events
//! that come after.
//!
//! Client-server API v1.19, `GET /initialSync`, `GET /events` (deprecated since r0) and
//! `GET /rooms/{roomId}/initialSync`, by which rooms are still peeked into. What they tell is what
//! `/sync`, `/messages` and `/state` tell, in another order.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use ruma::{OwnedRoomId, RoomId, api::client::filter::FilterDefinition};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Error, Filter, MAX_TIMEOUT, Request, Sync, SyncToken, Waiting};
use crate::{
    event::client_format::{Unsigned, client_text},
    rooms::{
        Actor, MessagesQuery, Viewer,
        filter::{RelationFilters, Wanted},
    },
    store::{
        Membership, RoomNid, RoomPosition, StreamPosition, account_data,
        events::Direction,
        live::{Change, Entry, TimelineEvent, UserRooms},
    },
};

/// How many events of a room are told where nobody says how many.
const DEFAULT_LIMIT: u32 = 10;
/// The most events of a room.
const MAX_LIMIT: u32 = 100;
/// The most events of one answer about what came after.
pub const MAX_EVENTS: usize = 100;
/// How many entries of the stream are looked at together, and how often in one request.
const PAGE: usize = 500;
/// How many such pages one request looks at: whoever is further behind asks again.
const MAX_PAGES: usize = 20;

/// What is asked of the events that come after a token.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The token; now if there is none.
    pub from: Option<String>,
    /// The only room whose events are wanted; its reader need not have joined it.
    pub room: Option<OwnedRoomId>,
    /// How long to wait if there are none.
    pub timeout: Duration,
}

/// Events that came after a token.
struct Heard {
    chunk: Vec<String>,
    end: String,
}

impl Heard {
    fn write(self, start: &str) -> String {
        let chunk = self.chunk.join(",");
        // Tokens are digits and letters.
        format!(
            "{{\"start\":\"{start}\",\"end\":\"{}\",\"chunk\":[{chunk}]}}",
            self.end
        )
    }
}

impl Sync {
    /// Everything that a user sees, with so many events of each room; with those that the user has
    /// left if they are asked for.
    pub async fn initial_sync(
        &self,
        actor: &Actor,
        limit: Option<u32>,
        with_left: bool,
    ) -> Result<Value, Error> {
        let mut definition = FilterDefinition::default();
        let limit = limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        definition.room.timeline.limit = Some(limit.into());
        definition.room.include_leave = with_left;
        let request = Request {
            actor: actor.clone(),
            since: None,
            filter: Arc::new(Filter::new(definition, RelationFilters::default())),
            full_state: true,
            state_after: true,
            timeout: Duration::ZERO,
        };
        let text = self.sync(request).await?;
        let mut seen: Value = serde_json::from_str(&text).unwrap_or_default();
        let end = seen["next_batch"].take();
        let mut rooms = Vec::new();
        for membership in ["join", "leave"] {
            for (room_id, room) in entries(seen["rooms"][membership].take()) {
                rooms.push(room_info(&room_id, membership, room, &end));
            }
        }
        let ids: Vec<OwnedRoomId> = rooms
            .iter()
            .filter_map(|room| room["room_id"].as_str()?.try_into().ok())
            .collect();
        let published = self.0.rooms.published_among(&ids).await?;
        for (room, room_id) in rooms.iter_mut().zip(&ids) {
            room["visibility"] = visibility(published.contains(room_id)).into();
        }
        let invited = entries(seen["rooms"]["invite"].take());
        rooms.extend(self.invitations(actor, invited.keys()).await?);
        Ok(json!({
            "end": end,
            "rooms": rooms,
            "presence": events(seen["presence"].take()),
            "account_data": events(seen["account_data"].take()),
        }))
    }

    /// The rooms to which a user is invited, each with the invitation.
    async fn invitations(
        &self,
        actor: &Actor,
        room_ids: impl Iterator<Item = &String>,
    ) -> Result<Vec<Value>, Error> {
        let ids = room_ids.filter_map(|room_id| <&RoomId>::try_from(room_id.as_str()).ok());
        let ids: Vec<&RoomId> = ids.collect();
        let numbers = self.0.store.room_numbers(&ids).await?;
        let nids: Vec<RoomNid> = numbers.into_values().collect();
        let rooms = self.0.store.load_rooms(&nids).await?;
        let told = rooms.iter().map(|room| {
            let head = room.head();
            let room_id = head.room().room_id();
            let mut told = json!({ "room_id": room_id, "membership": "invite" });
            let own = head.room().member(&actor.user_id);
            let text = own.map(|own| client_text(&own.pdu, &Unsigned::default(), true));
            if let Some(Ok(invite)) = text.as_deref().map(serde_json::from_str::<Value>) {
                told["invite"] = invite;
            }
            told
        });
        Ok(told.collect())
    }

    /// One room as the user sees it, with so many of its newest events.
    ///
    /// # Errors
    /// [`Error::Rooms`] for who may not look at the room.
    pub async fn room_initial_sync(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        limit: Option<u32>,
    ) -> Result<Value, Error> {
        let (store, rooms) = (&self.0.store, &self.0.rooms);
        let end = SyncToken::at(store.live().position()).to_string();
        let state = rooms.state(actor, room_id).await?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let query = MessagesQuery {
            from: Some(end.clone()),
            to: None,
            direction: Direction::Backward,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            filter: Wanted::default(),
        };
        let mut page = rooms.messages(actor, room_id, &query).await?;
        page.chunk.reverse();
        let mut messages = json!({ "chunk": values(&page.chunk), "end": end });
        if let Some(start) = page.end {
            messages["start"] = start.into();
        }
        let is_published = rooms.is_published(room_id).await?;
        let mut told = json!({
            "room_id": room_id,
            "messages": messages,
            "state": values(&state),
            "visibility": visibility(is_published),
            "account_data": self.account_data_of(actor, room_id).await?,
        });
        if let Some(membership) = self.membership(actor, room_id).await? {
            told["membership"] = membership.as_str().into();
        }
        Ok(told)
    }

    /// What a user is to a room; nothing to one that is only looked at.
    async fn membership(
        &self,
        actor: &Actor,
        room_id: &RoomId,
    ) -> Result<Option<Membership>, Error> {
        let Some(room) = self.0.rooms.find_room(room_id).await? else {
            return Ok(None);
        };
        let rooms = self.rooms_of(actor).await?;
        let of_user = rooms.get(room.nid()).filter(|of_user| !of_user.forgotten);
        Ok(of_user.map(|of_user| of_user.membership))
    }

    /// What a user keeps of a room.
    async fn account_data_of(&self, actor: &Actor, room_id: &RoomId) -> Result<Vec<Value>, Error> {
        let Some(room) = self.0.store.room_number(room_id).await? else {
            return Ok(Vec::new());
        };
        let mut conn = self.0.store.conn().await?;
        let all = account_data::list(&mut conn, actor.user).await?;
        let of_room = all
            .into_iter()
            .filter(|data| data.room == Some(room) && data.content.get() != account_data::DELETED);
        let told = of_room.map(|data| {
            let content: Value = serde_json::from_str(data.content.get()).unwrap_or_default();
            json!({ "type": data.event_type, "content": content })
        });
        Ok(told.collect())
    }

    /// The events after a token, oldest first, as JSON; waits for some if there are none.
    ///
    /// # Errors
    /// [`Error::InvalidToken`], and [`Error::Rooms`] for a room into which the user may
    /// not look.
    pub async fn events(&self, actor: &Actor, asked: &Listening) -> Result<String, Error> {
        let deadline = Instant::now() + asked.timeout.min(MAX_TIMEOUT);
        let now = || SyncToken::at(self.0.store.live().position()).to_string();
        let start = asked.from.clone().unwrap_or_else(now);
        let heard = match &asked.room {
            Some(room_id) => self.in_room(actor, room_id, &start, deadline).await?,
            None => self.in_all_rooms(actor, &start, deadline).await?,
        };
        Ok(heard.write(&start))
    }

    /// The events of one room.
    async fn in_room(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        start: &str,
        deadline: Instant,
    ) -> Result<Heard, Error> {
        let (store, rooms) = (&self.0.store, &self.0.rooms);
        if let Ok(since) = start.parse::<SyncToken>()
            && since.position > store.live().position()
        {
            store.catch_up().await?;
        }
        let mut news = store.live().advances();
        loop {
            // What comes after this look wakes it.
            news.mark_unchanged();
            let seen = rooms.find_room(room_id).await?;
            let seen = seen.map(|room| (room.nid(), room.head().position()));
            let now = SyncToken::at(store.live().position()).to_string();
            let query = MessagesQuery {
                from: Some(start.to_owned()),
                to: Some(now.clone()),
                direction: Direction::Forward,
                limit: MAX_EVENTS,
                filter: Wanted::default(),
            };
            let page = rooms.messages(actor, room_id, &query).await?;
            if !page.chunk.is_empty() || self.is_over(deadline) {
                return Ok(Heard {
                    chunk: page.chunk,
                    end: page.end.unwrap_or(now),
                });
            }
            let _waiting = Waiting::new(&self.0);
            // The stream goes on for everybody: only what this room does is looked at again.
            while !self.is_over(deadline) {
                tokio::select! {
                    _ = news.changed() => {}
                    () = tokio::time::sleep_until(deadline) => {}
                    () = self.0.stop.cancelled() => {}
                }
                let Some((room, position)) = seen else { break };
                let head = store.live().room(room).map(|room| room.head().position());
                if head != Some(position) {
                    break;
                }
            }
        }
    }

    /// The events of all rooms in which the user is.
    async fn in_all_rooms(
        &self,
        actor: &Actor,
        start: &str,
        deadline: Instant,
    ) -> Result<Heard, Error> {
        let store = &self.0.store;
        let mut position = start.parse::<SyncToken>()?.position;
        if position > store.live().position() {
            store.catch_up().await?;
        }
        let mut pages = 0;
        loop {
            store.load_user(actor.user).await?;
            let Some(waiter) = store.live().waiter(actor.user) else {
                // The view was dropped again: memory is short.
                continue;
            };
            // Registered before looking: what is committed after the look wakes this.
            let woken = waiter.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let entries = store.entries_after(position, PAGE).await?;
            let mut chunk = Vec::new();
            if let Some(last) = entries.last() {
                (chunk, position) = self.of_user(actor, &entries, last.position).await?;
                pages += 1;
            }
            let is_done = if entries.is_empty() {
                self.is_over(deadline)
            } else {
                pages == MAX_PAGES
            };
            if !chunk.is_empty() || is_done {
                return Ok(Heard {
                    chunk,
                    end: SyncToken::at(position).to_string(),
                });
            }
            if !entries.is_empty() {
                continue;
            }
            let _waiting = Waiting::new(&self.0);
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = self.0.stop.cancelled() => {}
            }
        }
    }

    /// The events among entries of the stream that a user may see, and how far that is.
    async fn of_user(
        &self,
        actor: &Actor,
        entries: &[Arc<Entry>],
        last: StreamPosition,
    ) -> Result<(Vec<String>, StreamPosition), Error> {
        let rooms = self.rooms_of(actor).await?;
        let is_own =
            |event: &TimelineEvent| event.member.is_some_and(|member| member.user == actor.user);
        let mut end = last;
        let mut wanted: Vec<&Arc<TimelineEvent>> = Vec::new();
        for entry in entries {
            let Change::Event(event) = &entry.change else {
                continue;
            };
            let membership = rooms.membership(event.room);
            let is_hidden = membership == Membership::Invite && rooms.hides_invite(event.room);
            if membership != Membership::Join && (!is_own(event) || is_hidden) {
                continue;
            }
            if wanted.len() == MAX_EVENTS {
                // The rest is for the next answer.
                end = StreamPosition(entry.position.0 - 1);
                break;
            }
            wanted.push(event);
        }
        let viewers = self.viewers(actor, &wanted).await?;
        let texts = wanted.into_iter().filter_map(|event| {
            let viewer = viewers.get(&event.room)?;
            let may_see = viewer.shows(event) || is_own(event);
            let room_id = viewer.head().room().room_id();
            may_see.then(|| viewer.show(event, Some(room_id), actor.device))
        });
        Ok((texts.collect(), end))
    }

    /// What a user may see of the rooms of these events, as far back as they reach.
    async fn viewers(
        &self,
        actor: &Actor,
        events: &[&Arc<TimelineEvent>],
    ) -> Result<HashMap<RoomNid, Viewer>, Error> {
        let mut first: BTreeMap<RoomNid, RoomPosition> = BTreeMap::new();
        for event in events {
            first.entry(event.room).or_insert(event.position);
        }
        let nids: Vec<RoomNid> = first.keys().copied().collect();
        let mut viewers = HashMap::with_capacity(nids.len());
        for room in self.0.store.load_rooms(&nids).await? {
            viewers.insert(room.nid(), self.0.rooms.viewer(&room, actor).await?);
        }
        let short = viewers.iter_mut().filter_map(|(room, viewer)| {
            let first = first.get(room)?;
            Some((viewer, *first))
        });
        Viewer::reach_all(&self.0.store, short.collect()).await?;
        Ok(viewers)
    }

    async fn rooms_of(&self, actor: &Actor) -> Result<UserRooms, Error> {
        self.0.store.load_user(actor.user).await?;
        let rooms = self.0.store.live().rooms_of(actor.user);
        Ok(rooms.map(|(_, rooms)| rooms).unwrap_or_default())
    }

    fn is_over(&self, deadline: Instant) -> bool {
        Instant::now() >= deadline || self.0.stop.is_cancelled()
    }
}

/// A room of a `/sync`, as it was told before.
fn room_info(room_id: &str, membership: &str, mut room: Value, end: &Value) -> Value {
    let with_id = |events: Value| -> Vec<Value> {
        let mut events = self::events(events);
        for event in &mut events {
            event["room_id"] = room_id.into();
        }
        events
    };
    let mut timeline = room["timeline"].take();
    let mut messages = json!({ "chunk": with_id(json!({ "events": timeline["events"].take() })) });
    messages["end"] = end.clone();
    if let Some(start) = timeline["prev_batch"].as_str() {
        messages["start"] = start.into();
    }
    json!({
        "room_id": room_id,
        "membership": membership,
        "messages": messages,
        "state": with_id(room["state_after"].take()),
        "account_data": events(room["account_data"].take()),
    })
}

/// The fields of an object; none of what is no object.
fn entries(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What stands under `events`.
fn events(mut section: Value) -> Vec<Value> {
    match section.get_mut("events").map(Value::take) {
        Some(Value::Array(events)) => events,
        _ => Vec::new(),
    }
}

/// Texts of JSON, parsed.
fn values(texts: &[String]) -> Vec<Value> {
    let parsed = texts.iter().map(|text| serde_json::from_str(text));
    parsed.filter_map(Result::ok).collect()
}

fn visibility(is_published: bool) -> &'static str {
    if is_published { "public" } else { "private" }
}
