//! Simplified sliding sync.

mod connections;
mod devices;
mod extensions;
mod lists;
mod proposal;
mod refusals;
mod rooms;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::{Answer, Client, encode};

/// Where it is.
pub(crate) const PATH: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";

/// One connection of a client.
pub(crate) struct Connection<'a> {
    pub(crate) client: &'a Client,
    pub(crate) pos: Option<String>,
}

impl<'a> Connection<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, pos: None }
    }

    /// Asks, and keeps the position as it was.
    pub(crate) async fn ask(&self, body: &Value, timeout: Duration) -> Answer {
        ask(self.client, self.pos.as_deref(), body, timeout).await
    }

    /// Asks without waiting, and takes the answer in.
    pub(crate) async fn sync(&mut self, body: &Value) -> Value {
        self.wait(body, Duration::ZERO).await
    }

    /// Asks, and takes the answer in.
    pub(crate) async fn wait(&mut self, body: &Value, timeout: Duration) -> Value {
        let answer = self.ask(body, timeout).await.expect_ok();
        self.pos = Some(answer["pos"].as_str().unwrap().to_owned());
        answer
    }
}

/// A request of a client.
pub(crate) async fn ask(
    client: &Client,
    pos: Option<&str>,
    body: &Value,
    timeout: Duration,
) -> Answer {
    let mut path = format!("{PATH}?timeout={}", timeout.as_millis());
    if let Some(pos) = pos {
        path.push_str(&format!("&pos={}", encode(pos)));
    }
    client.post(&path, body).await
}

/// One list of all rooms, with a window, and events of each room.
pub(crate) fn window(first: u64, last: u64, limit: u64) -> Value {
    json!({ "lists": { "all": {
        "ranges": [[first, last]],
        "required_state": [],
        "timeline_limit": limit,
    } } })
}

/// A subscription to a room.
pub(crate) fn subscription(room_id: &str, required: &Value, limit: u64) -> Value {
    json!({ "room_subscriptions": { room_id: {
        "required_state": required,
        "timeline_limit": limit,
    } } })
}

/// The ids of the rooms of an answer, sorted.
pub(crate) fn rooms(answer: &Value) -> Vec<String> {
    let rooms = answer["rooms"].as_object().unwrap();
    rooms.keys().cloned().collect()
}

/// The ids of the events of a room's timeline.
pub(crate) fn timeline(room: &Value) -> Vec<String> {
    let events = room["timeline"].as_array().into_iter().flatten();
    events
        .map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect()
}

/// The (type, state key) pairs of a room's state, sorted.
pub(crate) fn state(room: &Value) -> Vec<(String, String)> {
    let events = room["required_state"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut pairs: Vec<_> = events
        .map(|event| (text(&event["type"]), text(&event["state_key"])))
        .collect();
    pairs.sort();
    pairs
}

/// A public room.
pub(crate) async fn public_room(client: &Client, name: &str) -> String {
    let room = json!({ "preset": "public_chat", "name": name });
    client.create_room(&room).await
}
