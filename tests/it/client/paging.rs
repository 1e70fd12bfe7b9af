//! Walks over a room's timeline, as clients do.

use serde_json::{Value, json};

use crate::harness::client::{Client, encode};

/// The path of something in a room.
pub(super) fn path(room_id: &str, rest: &str) -> String {
    format!("rooms/{}/{rest}", encode(room_id))
}

/// The ids of events.
pub(super) fn ids(events: &Value) -> Vec<String> {
    let events = events.as_array().unwrap().iter();
    events
        .map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect()
}

/// All events that a reader gets, page by page, in the direction `dir`.
pub(super) async fn all(client: &Client, room_id: &str, dir: &str, query: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut from = None;
    for _ in 0..1_000 {
        let token = from.as_ref().map(|token| format!("&from={token}"));
        let token = token.unwrap_or_default();
        let page = path(room_id, &format!("messages?dir={dir}{query}{token}"));
        let page = client.get(&page).await.expect_ok();
        events.extend(page["chunk"].as_array().unwrap().iter().cloned());
        let Some(end) = page["end"].as_str() else {
            return events;
        };
        assert_ne!(
            Some(end),
            page["start"].as_str(),
            "a page that leads nowhere"
        );
        from = Some(end.to_owned());
    }
    panic!("the pages do not end");
}

/// A room of the client with this history visibility, which one is let into by invitation.
pub(super) async fn room(client: &Client, visibility: &str) -> String {
    let visibility = json!({
        "type": "m.room.history_visibility",
        "state_key": "",
        "content": { "history_visibility": visibility },
    });
    let room = json!({ "preset": "private_chat", "initial_state": [visibility] });
    client.create_room(&room).await
}

/// Kicks, bans or unbans.
pub(super) async fn moderate(client: &Client, room_id: &str, what: &str, user_id: &str) {
    let body = json!({ "user_id": user_id });
    client.post(&path(room_id, what), &body).await.expect_ok();
}
