//! What those who join later see of somebody who wanted to be forgotten (specification v1.19,
//! `POST /account/deactivate`, `erase`).

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    client::{Client, encode},
    process::until,
    server::TestServer,
};

/// What somebody sees of an event by each of the ways to read it.
async fn ways(client: &Client, room_id: &str, event_id: &str) -> Vec<Value> {
    let (room, event) = (encode(room_id), encode(event_id));
    let one = client.get(&format!("rooms/{room}/event/{event}")).await;
    let context = client.get(&format!("rooms/{room}/context/{event}")).await;
    let page = client.messages(room_id, "&limit=50").await;
    let filter = encode(r#"{"room":{"timeline":{"limit":50}}}"#);
    let synced = client.get(&format!("sync?filter={filter}")).await;
    let synced = synced.expect_ok();
    let timeline = &synced["rooms"]["join"][room_id]["timeline"]["events"];
    let find = |events: &Value| {
        let mut events = events.as_array().unwrap().iter();
        events
            .find(|found| found["event_id"] == event_id)
            .unwrap()
            .clone()
    };
    vec![
        one.expect_ok(),
        context.expect_ok()["event"].clone(),
        find(&page["chunk"]),
        find(timeline),
    ]
}

#[tokio::test]
async fn newcomers_see_what_an_erased_user_wrote_without_its_content() {
    let server = TestServer::new().await;
    let other = server.sibling().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let (carl, dora) = (server.register("carl").await, other.register("dora").await);
    let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
    for client in [&ben, &carl] {
        client.join(&room_id).await.expect_ok();
    }
    let of_ben = ben.send(&room_id, "of ben").await;
    let of_carl = carl.send(&room_id, "of carl").await;
    let accounts = server.app.accounts();
    for (client, erase) in [(&ben, true), (&carl, false)] {
        let user_id = client.user_id.as_str().try_into().unwrap();
        accounts.deactivate_user(user_id, erase).await.unwrap();
    }
    let store = other.app.store();
    let told = async || !store.erased().is_empty();
    until("told", || "not".to_owned(), told).await;
    let evi = server.register("evi").await;
    for newcomer in [&dora, &evi] {
        newcomer.join(&room_id).await.expect_ok();
        for event in ways(newcomer, &room_id, &of_ben).await {
            assert_eq!(event["content"], json!({}), "{event}");
            assert_eq!(event["sender"], ben.user_id);
        }
        for event in ways(newcomer, &room_id, &of_carl).await {
            assert_eq!(event["content"]["body"], "of carl", "{event}");
        }
    }
    // Who saw it goes on seeing it.
    for event in ways(&anna, &room_id, &of_ben).await {
        assert_eq!(event["content"]["body"], "of ben", "{event}");
    }
    // An incremental sync hides nothing from those who are there.
    let begin = anna.sync(None, Duration::ZERO).await;
    assert!(begin.to_string().contains("of ben"));
}
