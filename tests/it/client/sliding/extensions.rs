//! Extensions: account data, receipts and typing.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Connection, public_room, rooms, window};
use crate::harness::{client::Client, server::TestServer};

const LONG: Duration = Duration::from_secs(30);

struct Two {
    server: TestServer,
    anna: Client,
    ben: Client,
    room_id: String,
}

async fn two() -> Two {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = public_room(&anna, "A room").await;
    ben.join(&room_id).await.expect_ok();
    Two {
        server,
        anna,
        ben,
        room_id,
    }
}

fn with(extension: &str, settings: &Value) -> Value {
    let mut body = window(0, 9, 1);
    body["extensions"] = json!({ extension: settings });
    body
}

#[tokio::test]
async fn account_data_is_told_once() {
    let site = two().await;
    let Two {
        anna,
        room_id,
        server,
        ..
    } = &site;
    let user = &anna.user_id;
    let global = format!("user/{user}/account_data/test.global");
    let of_room = format!("user/{user}/rooms/{room_id}/account_data/test.room");
    anna.put(&global, &json!({ "at": 1 })).await.expect_ok();
    anna.put(&of_room, &json!({ "at": 1 })).await.expect_ok();
    let body = with("account_data", &json!({ "enabled": true }));
    let mut sync = Connection::new(anna);
    let answer = sync.sync(&body).await;
    let data = &answer["extensions"]["account_data"];
    let types = |events: &Value| -> Vec<String> {
        let events = events.as_array().unwrap().iter();
        events
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(types(&data["global"]), ["m.push_rules", "test.global"]);
    assert_eq!(types(&data["rooms"][room_id]), ["test.room"]);
    let answer = sync.sync(&body).await;
    assert_eq!(answer["extensions"], json!({}));
    let write = async {
        anna.put(&of_room, &json!({ "at": 2 })).await.expect_ok();
    };
    let (answer, ()) = tokio::join!(sync.wait(&body, LONG), write);
    let data = &answer["extensions"]["account_data"];
    assert_eq!(data["rooms"][room_id][0]["content"], json!({ "at": 2 }));
    assert!(data["global"].is_null() && rooms(&answer).is_empty());
    // Out of sight it is kept for later; off, for when it is on.
    sync.sync(&json!({})).await;
    anna.put(&of_room, &json!({ "at": 3 })).await.expect_ok();
    anna.put(&global, &json!({ "at": 3 })).await.expect_ok();
    sync.sync(&window(7, 9, 1)).await;
    let fresh = server.sibling().await;
    let moved = anna.at(&fresh.url);
    let mut sync = Connection {
        client: &moved,
        pos: sync.pos,
    };
    let answer = sync.sync(&body).await;
    let data = &answer["extensions"]["account_data"];
    let at_3 = |events: &Value| events.to_string().contains("{\"at\":3}");
    assert!(
        at_3(&data["global"]) && at_3(&data["rooms"][room_id]),
        "{answer:#}"
    );
}

#[tokio::test]
async fn receipts_are_told_of_the_rooms_that_are_looked_at() {
    let site = two().await;
    let Two {
        anna, ben, room_id, ..
    } = &site;
    let first = anna.send(room_id, "one").await;
    let read = async |client: &Client, kind: &str, event: &str| {
        let path = format!("rooms/{room_id}/receipt/{kind}/{event}");
        client.post(&path, &json!({})).await.expect_ok();
    };
    read(ben, "m.read", &first).await;
    let body = with("receipts", &json!({ "enabled": true }));
    let mut sync = Connection::new(anna);
    let answer = sync.sync(&body).await;
    let receipts = &answer["extensions"]["receipts"]["rooms"][room_id];
    assert_eq!(receipts["type"], "m.receipt");
    assert!(receipts["content"][&first]["m.read"][&ben.user_id]["ts"].is_number());
    // What does not belong to an event of the timeline is not told at first.
    let second = anna.send(room_id, "two").await;
    let answer = Connection::new(anna).sync(&body).await;
    assert!(answer["extensions"]["receipts"].is_null(), "{answer:#}");
    sync.sync(&body).await;
    let (answer, ()) = tokio::join!(sync.wait(&body, LONG), read(ben, "m.read", &second));
    let receipts = &answer["extensions"]["receipts"]["rooms"][room_id];
    assert!(receipts["content"][&second]["m.read"][&ben.user_id]["ts"].is_number());
    assert!(rooms(&answer).is_empty(), "{answer:#}");
    // Somebody's private receipt is nobody else's business.
    let third = anna.send(room_id, "three").await;
    sync.sync(&body).await;
    read(ben, "m.read.private", &third).await;
    let answer = sync.sync(&body).await;
    assert!(!answer.to_string().contains(&*ben.user_id), "{answer:#}");
    let none = with(
        "receipts",
        &json!({ "enabled": true, "lists": [], "rooms": [] }),
    );
    let answer = Connection::new(ben).sync(&none).await;
    assert!(answer["extensions"]["receipts"].is_null(), "{answer:#}");
}

#[tokio::test]
async fn reading_changes_the_counts() {
    let site = two().await;
    let Two {
        anna, ben, room_id, ..
    } = &site;
    let body = window(0, 9, 1);
    let mut sync = Connection::new(anna);
    let event = ben.send(room_id, "one").await;
    let answer = sync.sync(&body).await;
    assert_eq!(answer["rooms"][room_id]["notification_count"], 1);
    let path = format!("rooms/{room_id}/receipt/m.read/{event}");
    anna.post(&path, &json!({})).await.expect_ok();
    let answer = sync.sync(&body).await;
    let room = &answer["rooms"][room_id];
    assert_eq!(room["notification_count"], 0, "{answer:#}");
    assert_eq!(room["timeline"], json!([]));
}

#[tokio::test]
async fn typing_is_told_while_it_lasts() {
    let site = two().await;
    let Two {
        anna, ben, room_id, ..
    } = &site;
    let body = with("typing", &json!({ "enabled": true }));
    let mut sync = Connection::new(anna);
    let answer = sync.sync(&body).await;
    assert_eq!(answer["extensions"], json!({}));
    let path = format!("rooms/{room_id}/typing/{}", ben.user_id);
    let begin = async {
        let typing = json!({ "typing": true, "timeout": 30_000 });
        ben.put(&path, &typing).await.expect_ok();
    };
    let (answer, ()) = tokio::join!(sync.wait(&body, LONG), begin);
    let typing = &answer["extensions"]["typing"]["rooms"][room_id];
    assert_eq!(typing["type"], "m.typing");
    assert_eq!(typing["content"]["user_ids"], json!([ben.user_id]));
    assert!(rooms(&answer).is_empty(), "{answer:#}");
    let end = async {
        ben.put(&path, &json!({ "typing": false }))
            .await
            .expect_ok();
    };
    let (answer, ()) = tokio::join!(sync.wait(&body, LONG), end);
    let typing = &answer["extensions"]["typing"]["rooms"][room_id];
    assert_eq!(typing["content"]["user_ids"], json!([]));
}

#[tokio::test]
async fn an_extension_may_be_on_for_some_rooms_only() {
    let site = two().await;
    let Two { anna, room_id, .. } = &site;
    let path = format!(
        "user/{}/rooms/{room_id}/account_data/test.room",
        anna.user_id
    );
    anna.put(&path, &json!({ "at": 1 })).await.expect_ok();
    let subscribed = json!({ room_id: { "timeline_limit": 1, "required_state": [] } });
    for (settings, subscriptions, expected) in [
        (json!({ "lists": ["all"] }), json!({}), true),
        (json!({ "lists": ["other"] }), json!({}), false),
        (json!({ "lists": ["*"] }), json!({}), true),
        (
            json!({ "lists": [], "rooms": ["*"] }),
            subscribed.clone(),
            true,
        ),
        (
            json!({ "lists": [], "rooms": [room_id] }),
            subscribed.clone(),
            true,
        ),
        (json!({ "lists": [], "rooms": [room_id] }), json!({}), false),
        (
            json!({ "lists": [], "rooms": [] }),
            subscribed.clone(),
            false,
        ),
        (json!({ "lists": [] }), subscribed, true),
    ] {
        let mut settings = settings;
        settings["enabled"] = json!(true);
        let mut body = with("account_data", &settings);
        body["room_subscriptions"] = subscriptions;
        let answer = Connection::new(anna).sync(&body).await;
        let told = &answer["extensions"]["account_data"]["rooms"][room_id];
        assert_eq!(told.is_array(), expected, "{body:#}");
    }
}

#[tokio::test]
async fn messages_to_the_device_come_until_they_are_confirmed() {
    let site = two().await;
    let Two { anna, ben, .. } = &site;
    let body = |since: Option<&str>| {
        let mut settings = json!({ "enabled": true });
        if let Some(since) = since {
            settings["since"] = json!(since);
        }
        with("to_device", &settings)
    };
    let mut sync = Connection::new(anna);
    let answer = sync.sync(&body(None)).await;
    let since = answer["extensions"]["to_device"]["next_batch"].clone();
    let send = async {
        let devices = json!({ anna.device_id.as_str(): { "hello": 1 } });
        let messages = json!({ "messages": { anna.user_id.as_str(): devices } });
        ben.put("sendToDevice/test.message/t1", &messages)
            .await
            .expect_ok();
    };
    let asked = body(since.as_str());
    let (answer, ()) = tokio::join!(sync.wait(&asked, LONG), send);
    let messages = &answer["extensions"]["to_device"];
    assert_eq!(messages["events"][0]["type"], "test.message");
    assert!(rooms(&answer).is_empty());
    // Until it is confirmed it comes again.
    let again = sync.sync(&asked).await;
    assert_eq!(
        again["extensions"]["to_device"]["events"],
        messages["events"]
    );
    let confirmed = body(messages["next_batch"].as_str());
    let answer = sync.sync(&confirmed).await;
    assert_eq!(answer["extensions"]["to_device"]["events"], json!([]));
    // Another connection has nothing of it any more, and none that does not ask gets it.
    let answer = Connection::new(anna).sync(&body(None)).await;
    assert_eq!(answer["extensions"]["to_device"]["events"], json!([]));
    let wrong = sync.ask(&body(Some("nonsense")), Duration::ZERO).await;
    wrong.expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn counts_of_keys_are_told() {
    let site = two().await;
    let Two { anna, .. } = &site;
    let body = with("e2ee", &json!({ "enabled": true }));
    let mut sync = Connection::new(anna);
    let answer = sync.sync(&body).await;
    let e2ee = &answer["extensions"]["e2ee"];
    assert!(e2ee["device_one_time_keys_count"].is_object(), "{answer:#}");
    assert!(e2ee["device_unused_fallback_key_types"].is_array());
    assert!(e2ee["device_lists"].is_null());
    assert!(answer["extensions"]["to_device"].is_null());
}
