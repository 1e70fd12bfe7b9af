//! What is told of a room.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Connection, public_room, rooms, state, subscription, timeline, window};
use crate::harness::{client::Client, server::TestServer};

/// How long a sync may wait.
const LONG: Duration = Duration::from_secs(30);

async fn anna_and_ben() -> (TestServer, Client, Client) {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    (server, anna, ben)
}

#[tokio::test]
async fn a_room_is_told_whole_at_first_and_then_what_is_new() {
    let (_server, anna, ben) = anna_and_ben().await;
    let room_id = public_room(&anna, "A room").await;
    let first = anna.send(&room_id, "one").await;
    let second = anna.send(&room_id, "two").await;
    let mut body = window(0, 9, 2);
    body["lists"]["all"]["required_state"] = json!([["m.room.create", ""], ["m.room.name", ""]]);
    let mut sync = Connection::new(&anna);
    let answer = sync.sync(&body).await;
    assert_eq!(answer["lists"]["all"]["count"], 1);
    let room = &answer["rooms"][&room_id];
    assert_eq!(room["initial"], true);
    assert_eq!(room["name"], "A room");
    assert_eq!(room["membership"], "join");
    assert_eq!(room["lists"], json!(["all"]));
    assert_eq!(timeline(room), [first, second.clone()]);
    assert_eq!(room["limited"], true);
    assert_eq!(room["num_live"], 0);
    assert_eq!(room["joined_count"], 1);
    assert_eq!(room["invited_count"], 0);
    assert!(room["heroes"].is_null(), "{room}");
    let pair = |event_type: &str| (event_type.to_owned(), String::new());
    assert_eq!(state(room), [pair("m.room.create"), pair("m.room.name")]);
    let page = anna
        .messages(
            &room_id,
            &format!("&limit=3&from={}", room["prev_batch"].as_str().unwrap()),
        )
        .await;
    assert!(!page["chunk"].to_string().contains(&second), "{page}");

    ben.join(&room_id).await.expect_ok();
    let third = ben.send(&room_id, "three").await;
    let answer = sync.sync(&body).await;
    let room = &answer["rooms"][&room_id];
    assert!(room["initial"].is_null(), "{room}");
    assert!(room["name"].is_null(), "{room}");
    assert_eq!(timeline(room).last(), Some(&third));
    assert_eq!(timeline(room).len(), 2);
    assert_eq!(room["limited"], false);
    assert_eq!(room["num_live"], 2);
    assert_eq!(room["joined_count"], 2);
    assert!(state(room).is_empty(), "{room}");
    assert_eq!(room["notification_count"], 1);

    let answer = sync.sync(&body).await;
    assert_eq!(rooms(&answer), Vec::<String>::new());
    assert_eq!(answer["lists"]["all"]["count"], 1);
}

#[tokio::test]
async fn a_sync_with_nothing_to_tell_waits_for_news() {
    let (_server, anna, ben) = anna_and_ben().await;
    let room_id = public_room(&anna, "A room").await;
    ben.join(&room_id).await.expect_ok();
    let body = window(0, 9, 5);
    let mut sync = Connection::new(&anna);
    sync.sync(&body).await;
    let waiting = sync.wait(&body, LONG);
    let (answer, sent) = tokio::join!(waiting, ben.send(&room_id, "now"));
    assert_eq!(timeline(&answer["rooms"][&room_id]), [sent]);
}

#[tokio::test]
async fn a_position_that_is_asked_for_again_gives_the_same_again() {
    let (_server, anna, ben) = anna_and_ben().await;
    let room_id = public_room(&anna, "A room").await;
    ben.join(&room_id).await.expect_ok();
    let body = window(0, 9, 5);
    let mut sync = Connection::new(&anna);
    sync.sync(&body).await;
    let sent = ben.send(&room_id, "now").await;
    for _ in 0..3 {
        let answer = sync.ask(&body, Duration::ZERO).await.expect_ok();
        assert_eq!(timeline(&answer["rooms"][&room_id]), [&*sent]);
    }
    // A first answer that was lost is no harm either.
    let other = Connection::new(&anna);
    for _ in 0..3 {
        let answer = other.ask(&body, Duration::ZERO).await.expect_ok();
        assert_eq!(answer["rooms"][&room_id]["initial"], true);
    }
    assert_eq!(timeline(&sync.sync(&body).await["rooms"][&room_id]), [sent]);
}

#[tokio::test]
async fn members_come_as_the_timeline_needs_them() {
    let (server, anna, ben) = anna_and_ben().await;
    let carl = server.register("carl").await;
    let room_id = public_room(&anna, "A room").await;
    for client in [&ben, &carl] {
        client.join(&room_id).await.expect_ok();
    }
    ben.send(&room_id, "one").await;
    let lazy = json!([["m.room.member", "$LAZY"], ["m.room.member", "$ME"]]);
    let body = subscription(&room_id, &lazy, 1);
    let member = |client: &Client| ("m.room.member".to_owned(), client.user_id.clone());
    let mut sync = Connection::new(&anna);
    let answer = sync.sync(&body).await;
    assert_eq!(
        state(&answer["rooms"][&room_id]),
        [member(&anna), member(&ben)]
    );
    ben.send(&room_id, "two").await;
    let answer = sync.sync(&body).await;
    assert!(state(&answer["rooms"][&room_id]).is_empty(), "{answer:#}");
    carl.send(&room_id, "three").await;
    let answer = sync.sync(&body).await;
    assert_eq!(state(&answer["rooms"][&room_id]), [member(&carl)]);
    // Whoever changes is told again, also where the change is not in the timeline.
    let path = format!("profile/{}/displayname", ben.user_id);
    let name = json!({ "displayname": "Benjamin" });
    ben.put(&path, &name).await.expect_ok();
    ben.send(&room_id, "four").await;
    ben.send(&room_id, "five").await;
    let answer = sync.sync(&body).await;
    let room = &answer["rooms"][&room_id];
    assert_eq!(room["limited"], true);
    assert_eq!(state(room), [member(&ben)]);
    assert_eq!(
        room["required_state"][0]["content"]["displayname"],
        "Benjamin"
    );
}

#[tokio::test]
async fn stars_and_types_choose_state() {
    let (_server, anna, _ben) = anna_and_ben().await;
    let room_id = public_room(&anna, "A room").await;
    for key in ["a", "b"] {
        let content = json!({ "at": key });
        anna.send_state(&room_id, "test.state", key, &content)
            .await
            .expect_ok();
    }
    let pair = |event_type: &str, key: &str| (event_type.to_owned(), key.to_owned());
    let both = vec![pair("test.state", "a"), pair("test.state", "b")];
    for (required, expected) in [
        (json!([["test.state", "*"]]), both.clone()),
        (json!([["test.state", "b"]]), vec![pair("test.state", "b")]),
        (json!([["*", "a"]]), vec![pair("test.state", "a")]),
        (json!([]), vec![]),
    ] {
        let mut sync = Connection::new(&anna);
        let answer = sync.sync(&subscription(&room_id, &required, 1)).await;
        assert_eq!(state(&answer["rooms"][&room_id]), expected, "{required}");
    }
    let mut sync = Connection::new(&anna);
    let everything = subscription(&room_id, &json!([["*", "*"]]), 1);
    let answer = sync.sync(&everything).await;
    let all = state(&answer["rooms"][&room_id]);
    let member = pair("m.room.member", &anna.user_id);
    assert!(all.contains(&both[0]) && all.contains(&member), "{all:?}");
    let content = json!({ "at": "again" });
    anna.send_state(&room_id, "test.state", "b", &content)
        .await
        .expect_ok();
    let answer = sync.sync(&everything).await;
    assert_eq!(state(&answer["rooms"][&room_id]), [both[1].clone()]);
}

#[tokio::test]
async fn who_asks_for_more_of_a_room_gets_it_at_once() {
    let (_server, anna, _ben) = anna_and_ben().await;
    let room_id = public_room(&anna, "A room").await;
    let mut sent = Vec::new();
    for number in 0..6 {
        sent.push(anna.send(&room_id, &number.to_string()).await);
    }
    let mut sync = Connection::new(&anna);
    let answer = sync.sync(&window(0, 9, 1)).await;
    assert_eq!(timeline(&answer["rooms"][&room_id]), sent[5..]);
    let mut wide = window(0, 9, 4);
    wide["lists"]["all"]["required_state"] = json!([["m.room.name", ""]]);
    let answer = sync.wait(&wide, LONG).await;
    let room = &answer["rooms"][&room_id];
    assert!(room["initial"].is_null(), "{room}");
    assert_eq!(timeline(room), sent[2..]);
    assert_eq!(room["num_live"], 0);
    assert_eq!(room["expanded_timeline"], true);
    assert_eq!(room["unstable_expanded_timeline"], true);
    assert_eq!(state(room), [("m.room.name".to_owned(), String::new())]);
    // Less, and the same again, is nothing new.
    for body in [window(0, 9, 1), wide.clone()] {
        assert!(rooms(&sync.sync(&body).await).is_empty());
    }
    // What happened in between is not forgotten.
    sync.sync(&window(0, 9, 1)).await;
    let name = json!({ "name": "Another" });
    anna.send_state(&room_id, "m.room.name", "", &name)
        .await
        .expect_ok();
    let answer = sync.sync(&window(0, 9, 1)).await;
    assert_eq!(answer["rooms"][&room_id]["name"], "Another");
    let answer = sync.sync(&wide).await;
    let room = &answer["rooms"][&room_id];
    assert_eq!(room["required_state"][0]["content"], name);
}

#[tokio::test]
async fn a_room_without_a_name_is_named_after_its_members() {
    let (_server, anna, ben) = anna_and_ben().await;
    let path = format!("profile/{}/displayname", ben.user_id);
    let name = json!({ "displayname": "Benjamin" });
    ben.put(&path, &name).await.expect_ok();
    let room = json!({ "preset": "trusted_private_chat", "invite": [ben.user_id] });
    let room_id = anna.create_room(&room).await;
    let direct = json!({ &ben.user_id: [room_id] });
    let mut sync = Connection::new(&anna);
    let body = window(0, 9, 1);
    let answer = sync.sync(&body).await;
    let room = &answer["rooms"][&room_id];
    assert!(room["name"].is_null() && room["is_dm"].is_null(), "{room}");
    let hero = json!({ "user_id": ben.user_id, "displayname": "Benjamin" });
    assert_eq!(room["heroes"], json!([hero]));
    assert_eq!(room["invited_count"], 1);
    let path = format!("user/{}/account_data/m.direct", anna.user_id);
    anna.put(&path, &direct).await.expect_ok();
    let answer = sync.sync(&body).await;
    assert_eq!(answer["rooms"][&room_id]["is_dm"], true);
    anna.put(&path, &json!({})).await.expect_ok();
    let answer = sync.sync(&body).await;
    assert_eq!(answer["rooms"][&room_id]["is_dm"], false);
    for (content, expected) in [
        (json!({ "name": "Named" }), json!("Named")),
        (json!({}), Value::Null),
    ] {
        anna.send_state(&room_id, "m.room.name", "", &content)
            .await
            .expect_ok();
        let answer = sync.sync(&body).await;
        let room = answer["rooms"][&room_id].as_object().unwrap();
        assert_eq!(room["name"], expected, "{room:?}");
        assert_eq!(room.contains_key("heroes"), expected.is_null(), "{room:?}");
    }
}

#[tokio::test]
async fn an_invited_user_sees_what_a_stranger_may_know() {
    let (_server, anna, ben) = anna_and_ben().await;
    let room = json!({ "preset": "private_chat", "name": "A room" });
    let room_id = anna.create_room(&room).await;
    anna.send(&room_id, "a secret").await;
    let secret = json!({ "topic": "secret too" });
    anna.send_state(&room_id, "test.secret", "", &secret)
        .await
        .expect_ok();
    let body = subscription(&room_id, &json!([["*", "*"]]), 10);
    let mut lists = window(0, 9, 10);
    lists["room_subscriptions"] = body["room_subscriptions"].clone();
    let mut sync = Connection::new(&ben);
    assert!(rooms(&sync.sync(&lists).await).is_empty());
    anna.invite(&room_id, &ben.user_id).await.expect_ok();
    let answer = sync.sync(&lists).await;
    let room = &answer["rooms"][&room_id];
    assert_eq!(room["membership"], "invite");
    assert!(!answer.to_string().contains("secret"), "{answer:#}");
    let stripped = room["invite_state"].as_array().unwrap();
    let has = |event_type: &str| stripped.iter().any(|event| event["type"] == event_type);
    assert!(has("m.room.create") && has("m.room.name") && has("m.room.member"));
    assert!(room["timeline"].is_null() && room["required_state"].is_null());
    assert!(rooms(&sync.sync(&lists).await).is_empty());
    ben.leave(&room_id).await.expect_ok();
    let answer = sync.sync(&lists).await;
    let room = &answer["rooms"][&room_id];
    assert_eq!(room["membership"], "leave");
    assert_eq!(timeline(room).len(), 1, "{room}");
    assert_eq!(
        state(room),
        [("m.room.member".to_owned(), ben.user_id.clone())]
    );
    assert!(!answer.to_string().contains("secret"), "{answer:#}");
    // A connection that never saw the invitation hears nothing.
    let mut other = Connection::new(&ben);
    assert!(rooms(&other.sync(&lists).await).is_empty());
    anna.invite(&room_id, &ben.user_id).await.expect_ok();
    assert_eq!(
        sync.sync(&lists).await["rooms"][&room_id]["membership"],
        "invite"
    );
    ben.join(&room_id).await.expect_ok();
    let answer = sync.sync(&lists).await;
    assert_eq!(answer["rooms"][&room_id]["initial"], true);
    assert_eq!(answer["rooms"][&room_id]["name"], "A room");
}

#[tokio::test]
async fn a_knock_is_told_with_its_stripped_state() {
    let (_server, anna, ben) = anna_and_ben().await;
    let room = json!({ "name": "A room", "initial_state": [{
        "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" },
    }] });
    let room_id = anna.create_room(&room).await;
    ben.post(&format!("knock/{room_id}"), &json!({}))
        .await
        .expect_ok();
    let mut sync = Connection::new(&ben);
    let answer = sync.sync(&window(0, 9, 10)).await;
    let room = &answer["rooms"][&room_id];
    assert_eq!(room["membership"], "knock");
    let stripped = room["invite_state"].as_array().unwrap();
    let own = stripped
        .iter()
        .find(|event| event["state_key"] == ben.user_id.as_str());
    assert_eq!(own.unwrap()["content"]["membership"], "knock");
}

/// CVE-2024-53867.
#[tokio::test]
async fn who_left_sees_no_state_of_afterwards() {
    let (_server, anna, ben) = anna_and_ben().await;
    let room_id = public_room(&anna, "Before").await;
    ben.join(&room_id).await.expect_ok();
    let everything = json!([["*", "*"]]);
    let mut body = window(0, 9, 10);
    body["lists"]["all"]["required_state"] = everything.clone();
    body["room_subscriptions"] =
        subscription(&room_id, &everything, 10)["room_subscriptions"].clone();
    let mut sync = Connection::new(&ben);
    sync.sync(&body).await;
    let after = async |word: &str| {
        for (event_type, content) in [
            ("m.room.name", json!({ "name": format!("After {word}") })),
            ("test.state", json!({ "secret": word })),
        ] {
            anna.send_state(&room_id, event_type, "", &content)
                .await
                .expect_ok();
        }
        anna.send(&room_id, &format!("secret {word}")).await;
    };
    ben.leave(&room_id).await.expect_ok();
    after("of leaving").await;
    let answer = sync.sync(&body).await;
    let room = &answer["rooms"][&room_id];
    assert_eq!(room["membership"], "leave");
    let own = ("m.room.member".to_owned(), ben.user_id.clone());
    assert_eq!(state(room), [own]);
    assert_eq!(timeline(room).len(), 1, "{room}");
    assert!(!answer.to_string().contains("secret"), "{answer:#}");
    assert!(!answer.to_string().contains("After"), "{answer:#}");
    after("once more").await;
    assert!(rooms(&sync.sync(&body).await).is_empty());
    // A new connection may ask for the room as it was, and no more.
    let mut other = Connection::new(&ben);
    let answer = other.sync(&body).await;
    let room = &answer["rooms"][&room_id];
    assert_eq!(room["name"], "Before", "{answer:#}");
    assert!(!answer.to_string().contains("secret"), "{answer:#}");
    assert!(!answer.to_string().contains("After"), "{answer:#}");
    // One that only has lists does not hear of a room that its user has left.
    let mut lists = Connection::new(&ben);
    assert!(rooms(&lists.sync(&window(0, 9, 10)).await).is_empty());
}

#[tokio::test]
async fn who_was_removed_is_told_so_on_every_connection() {
    let (_server, anna, ben) = anna_and_ben().await;
    let room_id = public_room(&anna, "Before").await;
    ben.join(&room_id).await.expect_ok();
    let mut body = window(0, 9, 1);
    body["lists"]["all"]["required_state"] = json!([["m.room.member", "$ME"]]);
    let target = json!({ "user_id": ben.user_id });
    let act = async |what: &str| {
        let path = format!("rooms/{room_id}/{what}");
        anna.post(&path, &target).await.expect_ok();
    };
    act("kick").await;
    let mut sync = Connection::new(&ben);
    let answer = sync.sync(&body).await;
    let room = &answer["rooms"][&room_id];
    assert_eq!(room["membership"], "leave", "{answer:#}");
    assert_eq!(room["initial"], true);
    assert_eq!(room["required_state"][0]["content"]["membership"], "leave");
    act("ban").await;
    let answer = sync.sync(&body).await;
    assert_eq!(answer["rooms"][&room_id]["membership"], "ban");
    let mut other = Connection::new(&ben);
    let answer = other.sync(&body).await;
    assert_eq!(answer["rooms"][&room_id]["membership"], "ban");
    act("unban").await;
    ben.join(&room_id).await.expect_ok();
    let answer = sync.sync(&body).await;
    assert_eq!(answer["rooms"][&room_id]["initial"], true);
    assert_eq!(answer["rooms"][&room_id]["membership"], "join");
}

#[tokio::test]
async fn who_was_banned_and_never_came_hears_nothing() {
    let (_server, anna, ben) = anna_and_ben().await;
    let room_id = public_room(&anna, "A room").await;
    let target = json!({ "user_id": ben.user_id });
    let path = format!("rooms/{room_id}/ban");
    anna.post(&path, &target).await.expect_ok();
    let mut body = window(0, 9, 1);
    body["room_subscriptions"] =
        subscription(&room_id, &json!([["*", "*"]]), 1)["room_subscriptions"].clone();
    let answer = Connection::new(&ben).sync(&body).await;
    assert!(rooms(&answer).is_empty(), "{answer:#}");
    assert_eq!(answer["lists"]["all"]["count"], 0);
}

#[tokio::test]
async fn a_stranger_learns_nothing_of_a_room_by_subscribing() {
    let (_server, anna, ben) = anna_and_ben().await;
    let room = json!({ "preset": "public_chat", "initial_state": [{
        "type": "m.room.history_visibility", "state_key": "",
        "content": { "history_visibility": "world_readable" },
    }] });
    let room_id = anna.create_room(&room).await;
    let mut body = subscription(&room_id, &json!([["*", "*"]]), 10);
    body["room_subscriptions"]["!nowhere:example.org"] =
        body["room_subscriptions"][&room_id].clone();
    body["extensions"] = json!({
        "typing": { "enabled": true },
        "receipts": { "enabled": true },
        "account_data": { "enabled": true },
    });
    let answer = Connection::new(&ben).sync(&body).await;
    assert!(rooms(&answer).is_empty(), "{answer:#}");
    assert!(!answer.to_string().contains(&room_id), "{answer:#}");
}

#[tokio::test]
async fn the_bump_stamp_follows_what_is_said() {
    let (_server, anna, _ben) = anna_and_ben().await;
    let (one, two) = (
        public_room(&anna, "One").await,
        public_room(&anna, "Two").await,
    );
    let mut sync = Connection::new(&anna);
    let stamp = |answer: &Value, room: &str| answer["rooms"][room]["bump_stamp"].as_i64().unwrap();
    let answer = sync.sync(&window(0, 9, 1)).await;
    assert!(stamp(&answer, &one) <= stamp(&answer, &two));
    let before = stamp(&answer, &one);
    let topic = json!({ "topic": "quiet" });
    anna.send_state(&one, "m.room.topic", "", &topic)
        .await
        .expect_ok();
    let answer = sync.sync(&window(0, 9, 1)).await;
    assert_eq!(stamp(&answer, &one), before);
    anna.send(&one, "loud").await;
    let answer = sync.sync(&window(0, 9, 1)).await;
    assert!(stamp(&answer, &one) > before);
}
