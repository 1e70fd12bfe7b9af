//! What is refused.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Connection, PATH, ask, public_room, rooms, window};
use crate::harness::server::TestServer;

#[tokio::test]
async fn without_a_session_there_is_nothing_to_see() {
    let server = TestServer::new().await;
    let mut nobody = server.client();
    let answer = nobody.post(PATH, &json!({})).await;
    answer.expect_error(401, "M_MISSING_TOKEN");
    nobody.token = Some("wrong".to_owned());
    let answer = nobody.post(PATH, &json!({})).await;
    answer.expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn too_much_is_refused() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = public_room(&anna, "A room").await;
    let list = &window(0, 9, 1)["lists"]["all"];
    let rule = json!({ "timeline_limit": 1, "required_state": [] });
    let many = |count: usize, name: &dyn Fn(usize) -> String, value: &Value| -> Value {
        let pairs = (0..count).map(|number| (name(number), value.clone()));
        Value::Object(pairs.collect())
    };
    let list_name = |number: usize| format!("l{number}");
    let room_name = |number: usize| format!("!r{number}:example.org");
    let with = |field: &str, value: Value| {
        let mut list = list.clone();
        list[field] = value;
        json!({ "lists": { "all": list } })
    };
    let pairs = |count: usize| {
        let pairs = (0..count).map(|number| json!(["m.room.name", number.to_string()]));
        Value::Array(pairs.collect())
    };
    let texts = |count: usize| {
        let texts = (0..count).map(|number| json!(number.to_string()));
        Value::Array(texts.collect())
    };
    let ranges = |count: usize| Value::Array((0..count).map(|at| json!([at, at])).collect());
    let long = "x".repeat(65);
    for wrong in [
        json!({ "lists": many(101, &list_name, list) }),
        json!({ "room_subscriptions": many(5_000, &room_name, &rule) }),
        json!({ "conn_id": long }),
        json!({ "conn_id": "a\0b" }),
        json!({ "txn_id": "x".repeat(256) }),
        json!({ "lists": { long: list } }),
        with("required_state", pairs(201)),
        with("ranges", ranges(21)),
        with("ranges", json!([[5, 4]])),
        with("filters", json!({ "tags": texts(101) })),
        with("filters", json!({ "not_room_types": texts(101) })),
        json!({ "extensions": { "receipts": { "enabled": true, "rooms": texts(101) } } }),
    ] {
        let answer = anna.post(PATH, &wrong).await;
        answer.expect_error(400, "M_INVALID_PARAM");
    }
    for wrong in [
        json!({ "lists": [] }),
        json!({ "lists": { "all": { "ranges": [[0, -1]] } } }),
        json!({ "lists": { "all": { "ranges": [[0]] } } }),
        json!({ "lists": { "all": { "ranges": [[0, 1]], "timeline_limit": -1 } } }),
        json!({ "lists": { "all": { "ranges": [[0, 1]], "required_state": [["a"]] } } }),
        json!({ "room_subscriptions": { "no room": rule } }),
        json!({ "conn_id": 7 }),
    ] {
        let answer = anna.post(PATH, &wrong).await;
        answer.expect_error(400, "M_BAD_JSON");
    }
    let answer = anna.post(&format!("{PATH}?timeout=soon"), &json!({})).await;
    answer.expect_error(400, "M_INVALID_PARAM");
    // As much as is allowed, and numbers as large as they get, are answered.
    let mut body = json!({
        "lists": many(100, &list_name, list),
        "room_subscriptions": many(100, &room_name, &rule),
    });
    body["lists"]["l0"]["ranges"] = json!([[0, u64::MAX], [u64::MAX, u64::MAX]]);
    body["lists"]["l0"]["timeline_limit"] = json!(u64::MAX);
    let answer = ask(&anna, None, &body, Duration::ZERO).await.expect_ok();
    assert_eq!(rooms(&answer), [room_id]);
}

#[tokio::test]
async fn an_empty_request_is_a_connection_without_rooms() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    public_room(&anna, "A room").await;
    let mut sync = Connection::new(&anna);
    for body in [json!({}), json!({ "txn_id": "7" })] {
        let answer = sync.sync(&body).await;
        assert!(rooms(&answer).is_empty());
        assert_eq!(answer["txn_id"], body["txn_id"]);
    }
}
