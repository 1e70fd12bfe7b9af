//! People who want no invitations (specification v1.19, client-server API, "Invite permission").

use std::time::Duration;

use serde_json::{Value, json};

use super::sliding;
use crate::harness::{
    client::{Client, encode},
    server::{TestOptions, TestServer},
};

const NOW: Duration = Duration::ZERO;

async fn set(client: &Client, content: &Value) {
    let user = encode(&client.user_id);
    let path = format!("user/{user}/account_data/m.invite_permission_config");
    client.put(&path, content).await.expect_ok();
}

async fn invited(client: &Client, since: Option<&str>) -> Vec<String> {
    let sync = client.sync(since, NOW).await;
    let rooms = sync["rooms"]["invite"].as_object().cloned();
    rooms
        .unwrap_or_default()
        .into_iter()
        .map(|(id, _)| id)
        .collect()
}

async fn slidden(client: &Client) -> Vec<String> {
    let body = json!({ "lists": { "all": { "ranges": [[0, 10]], "timeline_limit": 0,
        "required_state": [] } } });
    let answer = client.post(sliding::PATH, &body).await.expect_ok();
    let rooms = answer["rooms"].as_object().cloned();
    rooms
        .unwrap_or_default()
        .into_iter()
        .map(|(id, _)| id)
        .collect()
}

#[tokio::test]
async fn who_refuses_invitations_gets_none_by_any_way() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let ben = server.register("ben").await;
    let carl = server.register("carl").await;
    let room = anna.create_room(&json!({})).await;
    set(&ben, &json!({ "default_action": "block" })).await;
    let as_state = async || {
        let content = json!({ "membership": "invite" });
        anna.send_state(&room, "m.room.member", &ben.user_id, &content)
            .await
    };
    let create = async || {
        let body = json!({ "invite": [carl.user_id, ben.user_id] });
        anna.post("createRoom", &body).await
    };
    for refused in [
        anna.invite(&room, &ben.user_id).await,
        as_state().await,
        create().await,
    ] {
        refused.expect_error(403, "M_INVITE_BLOCKED");
    }
    assert!(invited(&carl, None).await.is_empty(), "no room was made");
    // Strangers to the room do not learn that.
    let stranger = carl.invite(&room, &ben.user_id).await;
    stranger.expect_error(403, "M_FORBIDDEN");
    // On another process too, and for nobody else.
    let sibling = server.sibling().await;
    let there = anna.at(&sibling.url).invite(&room, &ben.user_id).await;
    there.expect_error(403, "M_INVITE_BLOCKED");
    anna.invite(&room, &carl.user_id).await.expect_ok();
    for content in [
        json!({}),
        json!({ "default_action": "allow" }),
        json!({ "default_action": 1 }),
    ] {
        set(&ben, &json!({ "default_action": "block" })).await;
        anna.invite(&room, &ben.user_id)
            .await
            .expect_error(403, "M_INVITE_BLOCKED");
        set(&ben, &content).await;
        anna.invite(&room, &ben.user_id).await.expect_ok();
        ben.leave(&room).await.expect_ok();
    }
}

#[tokio::test]
async fn invitations_from_before_are_not_shown_until_they_are_wanted_again() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let ben = server.register("ben").await;
    let since = ben.sync(None, NOW).await["next_batch"].clone();
    let room = anna.create_room(&json!({ "invite": [ben.user_id] })).await;
    assert_eq!(invited(&ben, None).await, [room.clone()]);
    assert_eq!(slidden(&ben).await, [room.clone()]);
    set(&ben, &json!({ "default_action": "block" })).await;
    assert!(invited(&ben, None).await.is_empty());
    assert!(invited(&ben, since.as_str()).await.is_empty());
    assert!(slidden(&ben).await.is_empty());
    // After a restart as well.
    let sibling = server.sibling().await;
    assert!(invited(&ben.at(&sibling.url), None).await.is_empty());
    assert!(slidden(&ben.at(&sibling.url)).await.is_empty());
    // Members see the invitation, and who knows of it may still accept it.
    let path = format!(
        "rooms/{}/state/m.room.member/{}",
        encode(&room),
        encode(&ben.user_id)
    );
    let member = anna.get(&path).await.expect_ok();
    assert_eq!(member["membership"], "invite");
    set(&ben, &json!({})).await;
    assert_eq!(invited(&ben, None).await, [room.clone()]);
    assert_eq!(slidden(&ben).await, [room.clone()]);
    set(&ben, &json!({ "default_action": "block" })).await;
    ben.join(&room).await.expect_ok();
    assert_eq!(slidden(&ben).await, [room]);
}

#[tokio::test]
async fn who_is_removed_and_asked_back_by_somebody_they_ignore_hears_that_they_are_out() {
    for options in [TestOptions::default(), TestOptions::forgetful()] {
        let server = TestServer::start(options).await;
        let anna = server.register("anna").await;
        let ben = server.register("ben").await;
        let carl = server.register("carl").await;
        let levels = json!({ "invite": 0 });
        let body = json!({ "preset": "public_chat", "power_level_content_override": levels });
        let room = anna.create_room(&body).await;
        carl.join(&room).await.expect_ok();
        ben.join(&room).await.expect_ok();
        let path = format!(
            "user/{}/account_data/m.ignored_user_list",
            encode(&ben.user_id)
        );
        let ignored = json!({ "ignored_users": { &carl.user_id: {} } });
        ben.put(&path, &ignored).await.expect_ok();
        let before = ben.sync(None, NOW).await;
        let since = before["next_batch"].as_str().unwrap();
        let kick = json!({ "user_id": ben.user_id, "reason": "enough" });
        let path = format!("rooms/{}/kick", encode(&room));
        anna.post(&path, &kick).await.expect_ok();
        let unheard = anna.send(&room, "without Ben").await;
        carl.invite(&room, &ben.user_id).await.expect_ok();

        let sync = ben.sync(Some(since), NOW).await;
        assert!(sync["rooms"]["invite"].is_null(), "{sync:#}");
        let left = &sync["rooms"]["leave"][&room]["timeline"]["events"];
        let left = left.as_array().unwrap();
        let last = left.last().unwrap();
        assert_eq!(last["content"]["membership"], "leave");
        assert_eq!(last["content"]["reason"], "enough");
        assert!(
            left.iter()
                .all(|event| event["event_id"] != unheard.as_str())
        );
        // Who was not in the room hears nothing of the next one either.
        let since = sync["next_batch"].as_str().unwrap();
        anna.post(&path, &kick).await.expect_ok();
        carl.invite(&room, &ben.user_id).await.expect_ok();
        let sync = ben.sync(Some(since), NOW).await;
        assert!(sync["rooms"].is_null(), "{sync:#}");
    }
}

#[tokio::test]
async fn sliding_sync_tells_who_was_removed_and_asked_back_by_somebody_they_ignore_too() {
    for options in [TestOptions::default(), TestOptions::forgetful()] {
        let server = TestServer::start(options).await;
        let anna = server.register("anna").await;
        let ben = server.register("ben").await;
        let carl = server.register("carl").await;
        let levels = json!({ "invite": 0 });
        let body = json!({ "preset": "public_chat", "name": "Before",
            "power_level_content_override": levels });
        let room = anna.create_room(&body).await;
        carl.join(&room).await.expect_ok();
        ben.join(&room).await.expect_ok();
        let ignore = async |users: Value| {
            let path = format!(
                "user/{}/account_data/m.ignored_user_list",
                encode(&ben.user_id)
            );
            let body = json!({ "ignored_users": users });
            ben.put(&path, &body).await.expect_ok();
        };
        ignore(json!({ &carl.user_id: {} })).await;
        // One client has a list, without invitations, and one subscribes.
        let mut listed = sliding::window(0, 9, 10);
        listed["lists"]["all"]["filters"] = json!({ "is_invite": false });
        listed["conn_id"] = json!("list");
        let mut subscribed = sliding::subscription(&room, &json!([["*", "*"]]), 10);
        subscribed["conn_id"] = json!("subscription");
        let mut list = sliding::Connection::new(&ben);
        let mut subscription = sliding::Connection::new(&ben);
        list.sync(&listed).await;
        subscription.sync(&subscribed).await;

        let path = format!("rooms/{}/kick", encode(&room));
        let kick = json!({ "user_id": ben.user_id, "reason": "enough" });
        let last = anna.send(&room, "with Ben").await;
        anna.post(&path, &kick).await.expect_ok();
        let name = json!({ "name": "After" });
        anna.send_state(&room, "m.room.name", "", &name)
            .await
            .expect_ok();
        anna.send(&room, "without Ben").await;
        carl.invite(&room, &ben.user_id).await.expect_ok();

        for (sync, body) in [(&mut list, &listed), (&mut subscription, &subscribed)] {
            let answer = sync.sync(body).await;
            let told = &answer["rooms"][&room];
            assert_eq!(told["membership"], "leave", "{answer:#}");
            assert!(told["invite_state"].is_null(), "{answer:#}");
            let events = told["timeline"].as_array().unwrap();
            assert_eq!(events[0]["event_id"], last.as_str(), "{answer:#}");
            assert_eq!(events[1]["content"]["reason"], "enough");
            assert_eq!(events.len(), 2);
            assert_eq!(told["bump_stamp"], events[1]["origin_server_ts"]);
            let told = told.to_string();
            assert!(
                !told.contains("After") && !told.contains("without"),
                "{told}"
            );
            // Once.
            assert!(sliding::rooms(&sync.sync(body).await).is_empty());
        }
        // Who was not in the room hears nothing of the next one either.
        anna.post(&path, &kick).await.expect_ok();
        carl.invite(&room, &ben.user_id).await.expect_ok();
        for (sync, body) in [(&mut list, &listed), (&mut subscription, &subscribed)] {
            assert!(sliding::rooms(&sync.sync(body).await).is_empty());
        }
        let new = sliding::Connection::new(&ben).sync(&listed).await;
        assert!(sliding::rooms(&new).is_empty(), "{new:#}");
        assert_eq!(new["lists"]["all"]["count"], 0);
        // It is there once Carl is heard again.
        ignore(json!({})).await;
        let answer = subscription.sync(&subscribed).await;
        assert_eq!(answer["rooms"][&room]["membership"], "invite");
        assert!(answer["rooms"][&room]["invite_state"].is_array());
    }
}
