//! Who is there (specification v1.19, "Presence").

use std::{sync::Arc, time::Duration};

use chappe::{clock::ManualClock, store::live::LiveOptions};
use serde_json::{Value, json};

use crate::harness::{
    client::{Client, encode},
    process::until,
    server::{TestOptions, TestServer},
};

/// A server whose time stands still.
async fn server() -> (TestServer, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let server = TestServer::start(TestOptions {
        clock: Some(Arc::clone(&clock)),
        ..TestOptions::default()
    })
    .await;
    (server, clock)
}

fn status(user_id: &str) -> String {
    format!("presence/{}/status", encode(user_id))
}

async fn share_room(anna: &Client, ben: &Client) -> String {
    let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
    ben.join(&room_id).await.expect_ok();
    room_id
}

/// Syncs without being seen, and gives what is said of somebody, with the next token.
async fn seen(client: &Client, since: Option<&str>, user_id: &str) -> (Option<Value>, String) {
    seen_while("offline", client, since, user_id).await
}

/// The same, being seen like this.
async fn seen_while(
    presence: &str,
    client: &Client,
    since: Option<&str>,
    user_id: &str,
) -> (Option<Value>, String) {
    let mut path = format!("sync?timeout=0&set_presence={presence}");
    if let Some(since) = since {
        path.push_str("&since=");
        path.push_str(&encode(since));
    }
    let answer = client.get(&path).await.expect_ok();
    let events = answer["presence"]["events"].as_array().cloned();
    let event = events
        .unwrap_or_default()
        .into_iter()
        .find(|event| event["sender"] == user_id);
    let next = answer["next_batch"].as_str().unwrap().to_owned();
    (event.map(|event| event["content"].clone()), next)
}

#[tokio::test]
async fn people_set_their_own_presence_and_see_it() {
    let (server, _) = server().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let own = status(&anna.user_id);
    let begin = anna.get(&own).await.expect_ok();
    assert_eq!(begin, json!({ "presence": "offline" }));
    let body = json!({ "presence": "online", "status_msg": "here" });
    anna.put(&own, &body).await.expect_ok();
    let now = anna.get(&own).await.expect_ok();
    let expected = json!({
        "presence": "online", "status_msg": "here", "last_active_ago": 0,
        "currently_active": true,
    });
    assert_eq!(now, expected);
    ben.put(&own, &body).await.expect_error(403, "M_FORBIDDEN");
    for body in [json!({}), json!({ "presence": 5 })] {
        anna.put(&own, &body).await.expect_error(400, "M_BAD_JSON");
    }
    let long = json!({ "presence": "online", "status_msg": "a".repeat(2000) });
    let answer = anna.put(&own, &long).await;
    answer.expect_error(400, "M_INVALID_PARAM");
    let nobody = server.client().get(&own).await;
    nobody.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn only_those_who_share_a_room_see_somebody() {
    let (server, _) = server().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let carl = server.register("carl").await;
    let room_id = share_room(&anna, &ben).await;
    let (_, of_carl) = seen(&carl, None, &anna.user_id).await;
    let (_, of_ben) = seen(&ben, None, &anna.user_id).await;
    let body = json!({ "presence": "online", "status_msg": "here" });
    anna.put(&status(&anna.user_id), &body).await.expect_ok();
    let (content, next) = seen(&ben, Some(&of_ben), &anna.user_id).await;
    assert_eq!(content.unwrap()["status_msg"], "here");
    assert_eq!(seen(&ben, Some(&next), &anna.user_id).await.0, None);
    assert_eq!(seen(&carl, Some(&of_carl), &anna.user_id).await.0, None);
    assert_eq!(seen(&carl, None, &anna.user_id).await.0, None);
    let path = status(&anna.user_id);
    let shown = ben.get(&path).await.expect_ok();
    assert_eq!(shown["presence"], "online");
    carl.get(&path).await.expect_error(403, "M_FORBIDDEN");
    let path = status("@nobody:example.org");
    carl.get(&path).await.expect_error(403, "M_FORBIDDEN");
    // Who has left sees nothing any more.
    ben.leave(&room_id).await.expect_ok();
    assert_eq!(seen(&ben, None, &anna.user_id).await.0, None);
    ben.get(&status(&anna.user_id))
        .await
        .expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_sync_says_who_is_there_and_filters_leave_it_out() {
    let (server, _) = server().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    share_room(&anna, &ben).await;
    let (_, since) = seen(&ben, None, &anna.user_id).await;
    anna.get("sync?timeout=0&set_presence=unavailable")
        .await
        .expect_ok();
    let (content, since) = seen(&ben, Some(&since), &anna.user_id).await;
    assert_eq!(content.unwrap()["presence"], "unavailable");
    anna.get("sync?timeout=0").await.expect_ok();
    for filter in [
        json!({ "presence": { "types": [] } }),
        json!({ "presence": { "not_types": ["m.*"] } }),
        json!({ "presence": { "not_senders": [anna.user_id] } }),
        json!({ "presence": { "senders": [ben.user_id] } }),
        json!({ "presence": { "limit": 0 } }),
    ] {
        let filter = encode(&filter.to_string());
        let since = encode(&since);
        let path = format!("sync?timeout=0&set_presence=offline&since={since}&filter={filter}");
        let answer = ben.get(&path).await.expect_ok();
        assert!(answer.get("presence").is_none(), "{filter} {answer}");
    }
    let (content, _) = seen(&ben, Some(&since), &anna.user_id).await;
    assert_eq!(content.unwrap()["presence"], "online");
}

#[tokio::test]
async fn people_become_idle_and_go_as_time_passes() {
    let (server, clock) = server().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = share_room(&anna, &ben).await;
    let presence = server.app.presence();
    let (_, mut since) = seen(&ben, None, &anna.user_id).await;
    let mut state = async || {
        presence.tick().await;
        let (content, next) = seen(&ben, Some(&since), &anna.user_id).await;
        since = next;
        content.map(|content| content["presence"].as_str().unwrap().to_owned())
    };
    // A client that syncs again and again is there, and idle when nothing is done for long.
    for _ in 0..16 {
        anna.get("sync?timeout=0").await.expect_ok();
        clock.advance(Duration::from_secs(20));
        presence.tick().await;
    }
    assert_eq!(state().await.as_deref(), Some("unavailable"));
    anna.get("sync?timeout=0").await.expect_ok();
    assert_eq!(state().await, None);
    anna.send(&room_id, "awake").await;
    assert_eq!(state().await.as_deref(), Some("online"));
    clock.advance(Duration::from_secs(29));
    assert_eq!(state().await, None);
    clock.advance(Duration::from_secs(2));
    assert_eq!(state().await.as_deref(), Some("offline"));
    let shown = ben.get(&status(&anna.user_id)).await.expect_ok();
    assert_eq!(shown["last_active_ago"], 31_000);
}

#[tokio::test]
async fn a_waiting_sync_hears_of_it_at_both_processes() {
    let one = TestServer::new().await;
    let other = one.sibling().await;
    let (anna, ben) = (one.register("anna").await, other.register("ben").await);
    let carl = one.register("carl").await;
    let room_id = share_room(&anna, &ben).await;
    carl.join(&room_id).await.expect_ok();
    let mut waiting = Vec::new();
    for client in [&ben, &carl] {
        let begin = client.get("sync?set_presence=offline").await.expect_ok();
        waiting.push(encode(begin["next_batch"].as_str().unwrap()));
    }
    let body = json!({ "presence": "online", "status_msg": "both" });
    let path = |since: &str| format!("sync?set_presence=offline&timeout=20000&since={since}");
    let (ben_path, carl_path) = (path(&waiting[0]), path(&waiting[1]));
    let own = status(&anna.user_id);
    let (of_ben, of_carl, set) = tokio::join!(
        ben.get(&ben_path),
        carl.get(&carl_path),
        anna.put(&own, &body)
    );
    set.expect_ok();
    for answer in [of_ben.expect_ok(), of_carl.expect_ok()] {
        let event = &answer["presence"]["events"][0];
        assert_eq!(event["sender"], anna.user_id, "{answer}");
        assert_eq!(event["type"], "m.presence");
        assert_eq!(event["content"]["status_msg"], "both");
    }
    let path = status(&anna.user_id);
    let is_online = async || ben.get(&path).await.expect_ok()["presence"] == "online";
    until("online", || "offline".to_owned(), is_online).await;
}

#[tokio::test]
async fn a_server_without_presence_shows_nobody() {
    let server = TestServer::start(TestOptions::with("[presence]\nenabled = false")).await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    share_room(&anna, &ben).await;
    let body = json!({ "presence": "online" });
    anna.put(&status(&anna.user_id), &body).await.expect_ok();
    anna.get("sync?timeout=0").await.expect_ok();
    assert_eq!(seen(&ben, None, &anna.user_id).await.0, None);
    let shown = ben.get(&status(&anna.user_id)).await.expect_ok();
    assert_eq!(shown, json!({ "presence": "offline" }));
}

#[tokio::test]
async fn those_who_come_to_share_a_room_hear_who_is_there() {
    let (server, _) = server().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let carl = server.register("carl").await;
    for client in [&anna, &ben] {
        client
            .put(&status(&client.user_id), &json!({ "presence": "online" }))
            .await
            .expect_ok();
    }
    let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
    carl.join(&room_id).await.expect_ok();
    let (_, since_anna) = seen_while("online", &anna, None, &anna.user_id).await;
    let (told, since_ben) = seen_while("online", &ben, None, &anna.user_id).await;
    assert_eq!(told, None);
    ben.join(&room_id).await.expect_ok();

    // Neither has changed: it is the room that makes it news, for both.
    let (told, next_anna) = seen_while("online", &anna, Some(&since_anna), &ben.user_id).await;
    assert_eq!(told.unwrap()["presence"], "online");
    let (told, next_ben) = seen_while("online", &ben, Some(&since_ben), &anna.user_id).await;
    assert_eq!(told.unwrap()["presence"], "online");
    // Carl, who was never there, is no news.
    let (told, _) = seen_while("online", &ben, Some(&since_ben), &carl.user_id).await;
    assert_eq!(told, None);

    // It is told once, and not again for a new name.
    let name = format!("profile/{}/displayname", encode(&ben.user_id));
    let body = json!({ "displayname": "Benjamin" });
    ben.put(&name, &body).await.expect_ok();
    anna.send(&room_id, "hello").await;
    let (told, _) = seen_while("online", &anna, Some(&next_anna), &ben.user_id).await;
    assert_eq!(told, None);
    let (told, _) = seen_while("online", &ben, Some(&next_ben), &anna.user_id).await;
    assert_eq!(told, None);
    // A filter without presence leaves it out here as well.
    let filter = encode(r#"{"presence":{"types":[]}}"#);
    let path = format!(
        "sync?timeout=0&filter={filter}&since={}",
        encode(&since_ben)
    );
    let answer = ben.get(&path).await.expect_ok();
    assert_eq!(answer["presence"], Value::Null);
}

#[tokio::test]
async fn a_client_that_was_away_for_long_hears_of_those_who_joined() {
    let server = TestServer::start(TestOptions {
        memory: Some(LiveOptions {
            window_bytes: 0,
            ..LiveOptions::default()
        }),
        ..TestOptions::default()
    })
    .await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let body = json!({ "presence": "online" });
    ben.put(&status(&ben.user_id), &body).await.expect_ok();
    let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
    let (_, since) = seen(&anna, None, &ben.user_id).await;
    ben.join(&room_id).await.expect_ok();
    // His join is not among the newest events.
    for _ in 0..12 {
        ben.send(&room_id, "hello").await;
    }
    let (told, _) = seen(&anna, Some(&since), &ben.user_id).await;
    assert_eq!(told.unwrap()["presence"], "online");
}
