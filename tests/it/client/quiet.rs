//! A sync that has nothing new to tell, or only what is in memory, asks the database nothing: it is
//! answered while somebody else has all connections.

use std::time::Duration;

use serde_json::{Value, json};

use super::sliding::{self, PATH};
use crate::harness::{
    client::{Client, encode},
    keys::Device,
    server::{SMALL_POOL, TestOptions, TestServer},
};

/// A user with rooms, messages, receipts, account data, keys and messages to the device.
async fn anna_and_ben(server: &TestServer) -> (Client, Client, String) {
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let mut last = String::new();
    for name in ["One", "Two", "Three"] {
        let room = json!({ "preset": "public_chat", "name": name });
        last = anna.create_room(&room).await;
        ben.join(&last).await.expect_ok();
        let event_id = ben.send(&last, "hello").await;
        let path = format!(
            "rooms/{}/receipt/m.read/{}",
            encode(&last),
            encode(&event_id)
        );
        anna.post(&path, &json!({})).await.expect_ok();
        let path = format!("user/{}/rooms/{last}/tags/m.favourite", anna.user_id);
        anna.put(&path, &json!({})).await.expect_ok();
    }
    let path = format!("user/{}/account_data/m.direct", anna.user_id);
    anna.put(&path, &json!({ &ben.user_id: [last] }))
        .await
        .expect_ok();
    ben.create_room(&json!({ "invite": [anna.user_id] })).await;
    for client in [&anna, &ben] {
        Device::of(client).upload(client).await;
    }
    let messages = json!({ "messages": { &anna.user_id: { "*": { "hello": 1 } } } });
    ben.put("sendToDevice/test.message/t1", &messages)
        .await
        .expect_ok();
    (anna, ben, last)
}

/// Sliding sync with all that there is to ask.
fn sliding_body(room_id: &str, since: &Value) -> Value {
    let required = json!([["*", "*"], ["m.room.member", "$LAZY"]]);
    let mut body = json!({
        "lists": {
            "all": { "ranges": [[0, 20]], "timeline_limit": 5, "required_state": required },
            "direct": {
                "ranges": [[0, 20]], "timeline_limit": 1, "required_state": [],
                "filters": { "is_dm": true, "not_tags": ["m.lowpriority"] },
            },
        },
        "room_subscriptions": { room_id: { "timeline_limit": 20, "required_state": required } },
        "extensions": {
            "to_device": { "enabled": true },
            "e2ee": { "enabled": true },
            "account_data": { "enabled": true },
            "receipts": { "enabled": true },
            "typing": { "enabled": true },
        },
    });
    if since.is_string() {
        body["extensions"]["to_device"]["since"] = since.clone();
    }
    body
}

#[tokio::test]
async fn a_sync_with_nothing_new_asks_the_database_nothing() {
    let server = TestServer::start(TestOptions::with(SMALL_POOL)).await;
    let (anna, ben, room_id) = anna_and_ben(&server).await;
    let filter = json!({ "room": { "state": { "lazy_load_members": true } } });
    let path = format!("user/{}/filter", anna.user_id);
    let stored = anna.post(&path, &filter).await.expect_ok();
    let stored = stored["filter_id"].as_str().unwrap().to_owned();
    let mut quiet = Vec::new();
    for filter in [String::new(), stored, encode(&filter.to_string())] {
        let mut path = "sync?timeout=0".to_owned();
        if !filter.is_empty() {
            path.push_str(&format!("&filter={filter}"));
        }
        // Twice, since the first answer may leave something to tell.
        let mut since = String::new();
        for _ in 0..2 {
            let answer = anna.get(&format!("{path}{since}")).await.expect_ok();
            since = format!("&since={}", encode(answer["next_batch"].as_str().unwrap()));
        }
        quiet.push(format!("{path}{since}"));
    }
    let mut sync = sliding::Connection::new(&anna);
    let mut body = sliding_body(&room_id, &Value::Null);
    for _ in 0..3 {
        let answer = sync.sync(&body).await;
        let since = &answer["extensions"]["to_device"]["next_batch"];
        body = sliding_body(&room_id, since);
    }
    let held = server.all_connections().await;
    for path in &quiet {
        let answer = anna.get(path).await.expect_ok();
        assert!(answer["rooms"].is_null(), "{path}: {answer:#}");
        assert!(answer["next_batch"].is_string());
    }
    let answer = sync.sync(&body).await;
    assert_eq!(sliding::rooms(&answer), Vec::<String>::new(), "{answer:#}");
    // One that waits and gives up neither.
    let waiting = quiet[0].replace("timeout=0", "timeout=1");
    anna.get(&waiting).await.expect_ok();
    sync.wait(&body, Duration::from_millis(1)).await;
    // What needs the database is refused meanwhile: the connections are really gone.
    let answer = ben.get("devices").await;
    assert!(answer.status >= 500, "{}", answer.text);
    drop(held);
    ben.get("devices").await.expect_ok();
}

#[tokio::test]
async fn a_message_that_is_in_memory_is_told_without_the_database() {
    let server = TestServer::start(TestOptions::with(SMALL_POOL)).await;
    let (anna, ben, room_id) = anna_and_ben(&server).await;
    let begin = anna.sync(None, Duration::ZERO).await;
    let since = begin["next_batch"].as_str().unwrap();
    let mut sync = sliding::Connection::new(&anna);
    let mut body = sliding_body(&room_id, &Value::Null);
    for _ in 0..2 {
        let answer = sync.sync(&body).await;
        body = sliding_body(&room_id, &answer["extensions"]["to_device"]["next_batch"]);
    }
    let event_id = ben.send(&room_id, "news").await;
    let held = server.all_connections().await;
    let answer = anna.sync(Some(since), Duration::ZERO).await;
    let events = &answer["rooms"]["join"][&room_id]["timeline"]["events"];
    assert_eq!(events[0]["event_id"], *event_id);
    let path = format!("{PATH}?pos={}", encode(sync.pos.as_deref().unwrap()));
    let answer = anna.post(&path, &body).await.expect_ok();
    assert_eq!(sliding::timeline(&answer["rooms"][&room_id]), [event_id]);
    drop(held);
}
