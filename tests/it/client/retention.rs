//! How long rooms keep messages (MSC1763; tchap.md, 4.10).

use std::{sync::Arc, time::Duration};

use chappe::clock::ManualClock;
use serde_json::{Value, json};

use super::paging::path;
use crate::harness::{
    client::{Client, encode},
    server::{TestOptions, TestServer},
};

const DAY: Duration = Duration::from_hours(24);

/// Works until there is nothing to do; gives how many messages were deleted.
async fn purge(server: &TestServer) -> i64 {
    let mut deleted = 0;
    loop {
        let batch = server.app.rooms().purge_batch().await.unwrap();
        deleted += batch.deleted;
        if !batch.has_more {
            return deleted;
        }
    }
}

async fn bodies(client: &Client, room: &str) -> Vec<String> {
    let page = client.messages(room, "&limit=500").await;
    let bodies = page["chunk"].as_array().unwrap().iter();
    let bodies = bodies.filter_map(|event| event["content"]["body"].as_str());
    bodies.map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn rt_05_rt_06_messages_go_when_their_room_keeps_them_no_longer() {
    let clock = Arc::new(ManualClock::new(1_790_000_000_000));
    let server = TestServer::start(TestOptions {
        clock: Some(Arc::clone(&clock)),
        ..TestOptions::with("[rooms.retention]\npurge = \"always\"\ndefault_lifetime = \"1095d\"\n")
    })
    .await;
    let sibling = server.sibling().await;
    let anna = server.register("anna").await;
    let retention = json!({ "max_lifetime": 60 * 24 * 60 * 60 * 1_000_u64 });
    let retention = json!([{ "type": "m.room.retention", "content": retention }]);
    let short = anna
        .create_room(&json!({ "name": "Forum", "initial_state": retention }))
        .await;
    let long = anna.create_room(&json!({})).await;
    let mut first = String::new();
    for room in [&short, &long] {
        for number in 0..450 {
            let event_id = anna.send(room, &format!("old {number}")).await;
            if room == &short && number == 0 {
                first = event_id;
            }
        }
    }
    purge(&server).await;
    clock.advance(DAY * 30);
    anna.send(&short, "younger").await;
    clock.advance(DAY * 31);
    // The other process knows the messages too.
    let elsewhere = anna.at(&sibling.url);
    assert_eq!(bodies(&elsewhere, &short).await.len(), 451);
    assert_eq!(purge(&sibling).await, 450);
    assert_eq!(purge(&server).await, 0);

    for anna in [&anna, &elsewhere] {
        assert_eq!(bodies(anna, &short).await, ["younger"]);
        assert_eq!(bodies(anna, &long).await.len(), 450);
        let event = path(&short, &format!("event/{}", encode(&first)));
        anna.get(&event).await.expect_error(404, "M_NOT_FOUND");
        let name = path(&short, "state/m.room.name/");
        assert_eq!(anna.get(&name).await.expect_ok()["name"], "Forum");
    }
    for anna in [&anna, &elsewhere] {
        anna.send(&short, "and on").await;
    }
    // Memory forgets them as well, once it has heard of it.
    for server in [&server, &sibling] {
        let anna = anna.at(&server.url);
        let mut told = Value::Null;
        for _ in 0..200 {
            told = anna.sync(None, Duration::ZERO).await;
            if !told["rooms"]["join"][&short].to_string().contains("old 4") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let timeline = &told["rooms"]["join"][&short]["timeline"];
        assert!(!timeline.to_string().contains("old 4"), "{timeline}");
        assert!(timeline.to_string().contains("and on"), "{timeline}");
    }
    // Three years later the other room has lost its own, but for the last, which the next event
    // is built on. What came after the newest run waits for the next one.
    clock.advance(DAY * 1100);
    assert_eq!(purge(&server).await, 449 + 1);
    assert_eq!(bodies(&anna, &long).await, ["old 449"]);
}

#[tokio::test]
async fn nothing_is_deleted_where_nobody_asked_for_it() {
    let clock = Arc::new(ManualClock::new(1_790_000_000_000));
    let server = TestServer::start(TestOptions {
        clock: Some(Arc::clone(&clock)),
        ..TestOptions::default()
    })
    .await;
    let anna = server.register("anna").await;
    let room = anna.create_room(&json!({})).await;
    anna.send_state(&room, "m.room.retention", "", &json!({ "max_lifetime": 1 }))
        .await
        .expect_ok();
    anna.send(&room, "one").await;
    anna.send(&room, "two").await;
    purge(&server).await;
    clock.advance(DAY * 400);
    assert_eq!(purge(&server).await, 0);
    assert_eq!(bodies(&anna, &room).await, ["two", "one"]);
}
