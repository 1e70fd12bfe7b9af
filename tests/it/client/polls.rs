//! Polls: what they count and whom they notify (MSC3930).

use serde_json::{Value, json};

use super::{
    pushers::{NEAR, pusher, set},
    unread::of_room,
};
use crate::harness::{
    client::{Client, encode},
    gateway::Gateway,
    server::{TestOptions, TestServer},
};

async fn send(client: &Client, room_id: &str, of_type: &str, content: &Value) -> String {
    let of_type = format!("org.matrix.msc3381.poll.{of_type}");
    client.send_event(room_id, &of_type, content).await
}

/// A poll, an answer to it, and its end.
async fn poll(client: &Client, room_id: &str) -> [String; 3] {
    let question = json!({ "org.matrix.msc3381.poll.start": { "question": { "body": "Lunch?" } } });
    let poll = send(client, room_id, "start", &question).await;
    let about = json!({ "rel_type": "m.reference", "event_id": poll });
    let answer = json!({
        "m.relates_to": about,
        "org.matrix.msc3381.poll.response": { "answers": ["yes"] },
    });
    let answer = send(client, room_id, "response", &answer).await;
    let end = json!({ "m.relates_to": about, "org.matrix.msc3381.poll.end": {} });
    let end = send(client, room_id, "end", &end).await;
    [poll, answer, end]
}

#[tokio::test]
async fn a_poll_counts_and_notifies_as_a_message_does_and_its_answers_do_not() {
    let server = TestServer::start(TestOptions::with(NEAR)).await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
    ben.join(&room_id).await.expect_ok();
    let gateway = Gateway::new().await;
    set(&ben, &pusher(&gateway.url, "key")).await;
    let [start, answer, end] = poll(&anna, &room_id).await;
    // The room is one of two: polls are heard as messages are.
    let sound = json!({ "sound": "default" });
    assert_eq!(gateway.of(&start).await["devices"][0]["tweaks"], sound);
    let told = gateway.of(&end).await;
    assert_eq!(told["devices"][0]["tweaks"], sound);
    assert_eq!(told["counts"], json!({ "unread": 2 }));
    let is_answer = |told: &Value| told["event_id"] == *answer;
    assert!(!gateway.told().iter().any(is_answer));
    assert_eq!(of_room(&ben, &room_id, false).await.0, (2, 0));
    // With a third one they are silent.
    let carl = server.register("carl").await;
    carl.join(&room_id).await.expect_ok();
    let [start, _, end] = poll(&anna, &room_id).await;
    for event_id in [start, end] {
        assert_eq!(
            gateway.of(&event_id).await["devices"][0]["tweaks"],
            json!({})
        );
    }
    assert_eq!(of_room(&ben, &room_id, false).await.0, (4, 0));
}

#[tokio::test]
async fn the_rules_of_polls_can_be_changed_like_others() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let carl = server.register("carl").await;
    let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
    for client in [&ben, &carl] {
        client.join(&room_id).await.expect_ok();
    }
    let rule = |kind: &str, name: &str| {
        let id = format!(".org.matrix.msc3930.rule.poll_{name}");
        format!("pushrules/global/{kind}/{}", encode(&id))
    };
    let found = ben.get(&rule("override", "response")).await.expect_ok();
    let condition = json!({
        "kind": "event_match", "key": "type", "pattern": "org.matrix.msc3381.poll.response",
    });
    assert_eq!(found["conditions"], json!([condition]));
    assert_eq!(found["actions"], json!([]));
    poll(&anna, &room_id).await;
    assert_eq!(of_room(&ben, &room_id, false).await.0, (2, 0));
    let off = json!({ "enabled": false });
    let switch = format!("{}/enabled", rule("underride", "end"));
    ben.put(&switch, &off).await.expect_ok();
    assert_eq!(of_room(&ben, &room_id, false).await.0, (1, 0));
    assert_eq!(of_room(&carl, &room_id, false).await.0, (2, 0));
    ben.delete(&rule("underride", "end"))
        .await
        .expect_error(400, "M_INVALID_PARAM");
    // Elsewhere, and where they are read from the database, they say the same.
    let sibling = server.sibling().await;
    let there = ben.at(&sibling.url);
    assert_eq!(of_room(&there, &room_id, false).await.0, (1, 0));
}
