//! What a client makes of its syncs.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use chappe::sync::SyncToken;
use serde_json::{Value, json};

use super::log::{Logged, Reader, check_room};
use crate::harness::client::{Client, encode};

/// The type of the account data that histories write.
pub(super) const DATA: &str = "test.data";

/// Where a client believes to stand in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Join,
    Invite,
    Knock,
    Leave,
}

/// What a client knows of a room.
#[derive(Debug, Default)]
pub(super) struct RoomView {
    pub(super) place: Option<Place>,
    /// The ids of the events, oldest first, gaps filled.
    pub(super) events: Vec<String>,
    /// The event of each (type, state key).
    pub(super) state: BTreeMap<(String, String), String>,
    /// The newest public receipt of each user.
    pub(super) receipts: BTreeMap<String, String>,
    /// How many are joined, by the summary.
    pub(super) joined_count: i64,
    /// Who sent the events of the newest timeline.
    pub(super) senders: BTreeSet<String>,
    /// How many of the events the server had to tell when it said that the user had left.
    pub(super) told_at_end: Option<usize>,
}

/// What a client asks of `/sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Everything.
    All,
    /// Members as the timeline needs them.
    Lazy,
    /// Messages only, and the state after them.
    Messages,
    /// The state after the timeline.
    StateAfter,
}

/// Which members a client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// All of them.
    All,
    /// Those that the newest timeline needs.
    OfTimeline,
}

/// What a client knows.
pub(super) struct View {
    wish: Wish,
    /// The filter of its timelines, for pages of them.
    timeline: String,
    /// The same session at each of the servers.
    clients: Vec<Client>,
    filter: String,
    pub(super) since: Option<String>,
    pub(super) rooms: BTreeMap<String, RoomView>,
    pub(super) own: Own,
}

/// What a client knows that is for its user, or for its device, alone.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// The newest account data of each room, and what is of none.
    pub(super) account_data: BTreeMap<Option<String>, Value>,
    /// The messages to the device, oldest first.
    pub(super) messages: Vec<u64>,
}

impl Own {
    /// Takes in account data of a room, or of none.
    pub(super) fn take_data(&mut self, room_id: Option<&str>, events: &Value) {
        for event in list(events).filter(|event| event["type"] == DATA) {
            let room_id = room_id.map(ToOwned::to_owned);
            self.account_data.insert(room_id, event["content"].clone());
        }
    }

    /// Takes in messages to the device.
    pub(super) fn take_messages(&mut self, events: &Value) {
        let numbers = list(events).map(|event| event["content"]["number"].as_u64().unwrap());
        self.messages.extend(numbers);
    }
}

impl View {
    /// A client that has not synced yet, and wants at most `limit` events of a room at once.
    pub(super) fn new(client: &Client, urls: &[&str], limit: usize) -> Self {
        Self::with(client, urls, limit, Wish::All)
    }

    /// The same for a client with a wish.
    pub(super) fn with(client: &Client, urls: &[&str], limit: usize, wish: Wish) -> Self {
        let mut timeline = json!({ "limit": limit });
        if wish == Wish::Messages {
            timeline["types"] = json!(["m.room.mess*"]);
        }
        let mut filter = json!({ "room": { "timeline": timeline } });
        if wish == Wish::Lazy {
            filter["room"]["state"] = json!({ "lazy_load_members": true });
        }
        Self {
            wish,
            timeline: encode(&timeline.to_string()),
            clients: urls.iter().map(|url| client.at(url)).collect(),
            filter: encode(&filter.to_string()),
            since: None,
            rooms: BTreeMap::new(),
            own: Own::default(),
        }
    }

    pub(super) fn user_id(&self) -> &str {
        &self.clients[0].user_id
    }

    /// Asks a server, and loses the answer.
    pub(super) async fn ask(&self, server: usize, timeout: Duration) -> Value {
        let mut path = format!(
            "sync?filter={}&timeout={}",
            self.filter,
            timeout.as_millis()
        );
        if self.takes_state_after() {
            path.push_str("&use_state_after=true");
        }
        if let Some(since) = &self.since {
            path.push_str(&format!("&since={}", encode(since)));
        }
        self.clients[server].get(&path).await.expect_ok()
    }

    /// Whether the state comes apart from the timeline.
    fn takes_state_after(&self) -> bool {
        matches!(self.wish, Wish::Messages | Wish::StateAfter)
    }

    /// Adds a server.
    pub(super) fn add_server(&mut self, url: &str) {
        let client = self.clients[0].at(url);
        self.clients.push(client);
    }

    /// Asks a server, and takes the answer in.
    pub(super) async fn sync(&mut self, server: usize, timeout: Duration) -> Result<(), String> {
        let answer = self.ask(server, timeout).await;
        let rooms = |kind: &str| {
            let rooms = answer["rooms"][kind].as_object().cloned();
            rooms.unwrap_or_default()
        };
        self.own.take_data(None, &answer["account_data"]["events"]);
        self.own.take_messages(&answer["to_device"]["events"]);
        for (room_id, room) in rooms("join") {
            let data = &room["account_data"]["events"];
            self.own.take_data(Some(&room_id), data);
            self.take_joined(server, &room_id, &room).await?;
        }
        for (room_id, room) in rooms("leave") {
            self.take_left(server, &room_id, &room).await?;
        }
        for (room_id, _) in rooms("invite") {
            self.rooms.entry(room_id).or_default().place = Some(Place::Invite);
        }
        for (room_id, _) in rooms("knock") {
            self.rooms.entry(room_id).or_default().place = Some(Place::Knock);
        }
        self.since = Some(text(&answer["next_batch"]));
        Ok(())
    }

    /// Syncs until everything up to a place in the stream was told.
    pub(super) async fn sync_up_to(&mut self, server: usize, position: i64) -> Result<(), String> {
        loop {
            self.sync(server, Duration::from_millis(50)).await?;
            let token: SyncToken = self.since.as_ref().unwrap().parse().unwrap();
            if token.position.0 >= position {
                return Ok(());
            }
        }
    }

    async fn take_joined(
        &mut self,
        server: usize,
        room_id: &str,
        room: &Value,
    ) -> Result<(), String> {
        self.take_timeline(server, room_id, room).await?;
        let view = self.rooms.get_mut(room_id).unwrap();
        view.place = Some(Place::Join);
        view.told_at_end = None;
        if let Some(count) = room["summary"]["m.joined_member_count"].as_i64() {
            view.joined_count = count;
        }
        for event in list(&room["ephemeral"]["events"]) {
            if event["type"] != "m.receipt" {
                continue;
            }
            for (event_id, kinds) in event["content"].as_object().unwrap() {
                let readers = kinds["m.read"].as_object().into_iter().flatten();
                for (reader, _) in readers {
                    view.receipts.insert(reader.clone(), event_id.clone());
                }
            }
        }
        Ok(())
    }

    async fn take_left(
        &mut self,
        server: usize,
        room_id: &str,
        room: &Value,
    ) -> Result<(), String> {
        let known = self.rooms.entry(room_id.to_owned()).or_default();
        // Who was not joined hears how it ended, and nothing of what was before. Who came and went
        // has a gap to fill.
        let limited = room["timeline"]["limited"] == true;
        if known.place == Some(Place::Join) || limited {
            self.take_timeline(server, room_id, room).await?;
            let view = self.rooms.get_mut(room_id).unwrap();
            view.told_at_end = Some(view.events.len());
        }
        self.rooms.get_mut(room_id).unwrap().place = Some(Place::Leave);
        Ok(())
    }

    /// Takes a timeline in, and fills the gap before it.
    async fn take_timeline(
        &mut self,
        server: usize,
        room_id: &str,
        room: &Value,
    ) -> Result<(), String> {
        let view = self.rooms.entry(room_id.to_owned()).or_default();
        let known: HashSet<String> = view.events.iter().cloned().collect();
        let timeline = &room["timeline"];
        let limited = timeline["limited"] == true;
        let events: Vec<_> = list(&timeline["events"]).collect();
        let (old, new): (Vec<_>, Vec<_>) = events
            .iter()
            .map(|event| text(&event["event_id"]))
            .partition(|event_id| known.contains(event_id));
        if !old.is_empty() && !limited {
            return Err(format!("{room_id}: told twice: {old:?}"));
        }
        let mut missed = Vec::new();
        if limited && old.is_empty() {
            let from = text(&timeline["prev_batch"]);
            let client = &self.clients[server];
            missed = page_back(client, room_id, from, &known, &self.timeline).await;
        }
        let view = self.rooms.get_mut(room_id).unwrap();
        view.events.extend(missed.into_iter().rev());
        view.events.extend(new);
        if !events.is_empty() {
            view.senders = events.iter().map(|event| text(&event["sender"])).collect();
        }
        let apart = matches!(self.wish, Wish::Messages | Wish::StateAfter);
        let state = if apart { "state_after" } else { "state" };
        let events = events.into_iter().filter(|_| !apart);
        for event in list(&room[state]["events"]).chain(events) {
            if let Some(state_key) = event["state_key"].as_str() {
                let key = (text(&event["type"]), state_key.to_owned());
                view.state.insert(key, text(&event["event_id"]));
            }
        }
        Ok(())
    }
}

impl View {
    /// Compares what was made of the syncs of a room with its log.
    pub(super) fn check(
        &self,
        room_id: &str,
        log: &[Logged],
        ignored: Option<&str>,
    ) -> Result<(), String> {
        let nothing = RoomView::default();
        let view = self.rooms.get(room_id).unwrap_or(&nothing);
        let reader = Reader {
            user_id: self.user_id(),
            members: match self.wish {
                Wish::Lazy => Members::OfTimeline,
                _ => Members::All,
            },
            only_messages: self.wish == Wish::Messages,
            ignored,
        };
        let checked = check_room(view, log, &reader);
        checked.map_err(|fault| format!("{:?}: {fault}", self.wish))
    }
}

/// The ids of the events before a point, newest first, up to one that is known.
pub(super) async fn page_back(
    client: &Client,
    room_id: &str,
    from: String,
    known: &HashSet<String>,
    filter: &str,
) -> Vec<String> {
    let mut from = Some(from);
    let mut missed = Vec::new();
    while let Some(start) = from {
        let query = format!("&limit=50&from={}&filter={filter}", encode(&start));
        let query = query.trim_end_matches("&filter=");
        let page = client.messages(room_id, query).await;
        for event in list(&page["chunk"]) {
            let event_id = text(&event["event_id"]);
            if known.contains(&event_id) {
                return missed;
            }
            missed.push(event_id);
        }
        from = page["end"].as_str().map(ToOwned::to_owned);
    }
    missed
}

/// The items of a JSON list; none where there is no list.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A JSON string.
#[track_caller]
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
