//! What a request may say in the words of MSC4186 as it was merged, and whom it shows.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Connection, PATH, public_room, rooms, state, subscription, window};
use crate::harness::{
    client::{Client, encode},
    server::TestServer,
};

const NOW: Duration = Duration::ZERO;

/// Whether somebody is there.
async fn presence(viewer: &Client, of: &Client) -> Value {
    let path = format!("presence/{}/status", encode(&of.user_id));
    viewer.get(&path).await.expect_ok()["presence"].clone()
}

#[tokio::test]
async fn a_list_has_one_range_or_shows_all_rooms() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let mut all = Vec::new();
    for number in 0..3 {
        all.push(public_room(&anna, &number.to_string()).await);
    }
    let list = |range: Value| {
        let mut body = window(0, 0, 1);
        let list = body["lists"]["all"].as_object_mut().unwrap();
        list.remove("ranges");
        if range.is_array() {
            list.insert("range".to_owned(), range);
        }
        body
    };
    let mut sync = Connection::new(&anna);
    let answer = sync.sync(&list(json!([0, 0]))).await;
    assert_eq!(rooms(&answer), [all[2].clone()]);
    assert_eq!(answer["lists"]["all"]["count"], 3);
    let answer = sync.sync(&list(Value::Null)).await;
    let mut rest = all[..2].to_vec();
    rest.sort();
    assert_eq!(rooms(&answer), rest);
    for wrong in [json!([1, 0]), json!([5, 4])] {
        let answer = anna.post(PATH, &list(wrong)).await;
        answer.expect_error(400, "M_INVALID_PARAM");
    }
    let answer = anna.post(PATH, &list(json!([0]))).await;
    answer.expect_error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn required_state_names_what_to_tell_and_what_not() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = public_room(&anna, "A room").await;
    ben.join(&room_id).await.expect_ok();
    ben.send(&room_id, "hello").await;
    let types = async |required: Value| -> Vec<String> {
        let body = subscription(&room_id, &required, 1);
        let answer = Connection::new(&anna).sync(&body).await;
        let pairs = state(&answer["rooms"][&room_id]).into_iter();
        pairs.map(|(event_type, key)| event_type + &key).collect()
    };
    let member = |user: &Client| format!("m.room.member{}", user.user_id);
    let everything = types(json!({ "include": [{}] })).await;
    assert!(everything.contains(&member(&anna)) && everything.contains(&member(&ben)));
    assert!(everything.contains(&"m.room.create".to_owned()));
    let mut others = everything.clone();
    others.retain(|one| one != "m.room.create");
    let without =
        json!({ "include": [{}], "exclude": [{ "type": "m.room.create", "state_key": "" }] });
    assert_eq!(types(without).await, others);
    let no_members = json!({ "include": [{}], "exclude": [{ "type": "m.room.member" }] });
    let found = types(no_members).await;
    assert!(
        !found.iter().any(|one| one.starts_with("m.room.member")),
        "{found:?}"
    );
    let lazily = json!({ "include": [{ "type": "m.room.name" }], "lazy_members": true });
    assert_eq!(
        types(lazily).await,
        [member(&ben), "m.room.name".to_owned()]
    );
    // Who is mentioned is told, whatever is excluded.
    let lazily = json!({ "exclude": [{ "type": "m.room.member" }], "lazy_members": true });
    assert_eq!(types(lazily).await, [member(&ben)]);
    let of_key = json!({ "include": [{ "state_key": anna.user_id }] });
    assert_eq!(types(of_key).await, [member(&anna)]);
    assert_eq!(types(json!({})).await, Vec::<String>::new());
    let many = vec![json!({ "type": "a" }); 101];
    let body = subscription(&room_id, &json!({ "include": many, "exclude": many }), 1);
    let answer = anna.post(PATH, &body).await;
    answer.expect_error(400, "M_INVALID_PARAM");
    let body = subscription(&room_id, &json!({ "include": [7] }), 1);
    anna.post(PATH, &body).await.expect_error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn what_was_excluded_is_told_once_it_is_asked_for() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = public_room(&anna, "A room").await;
    let names = |excluded: &Value| {
        let required = json!({ "include": [{ "type": "m.room.name" }], "exclude": excluded });
        subscription(&room_id, &required, 1)
    };
    let without = names(&json!([{ "type": "m.room.name", "state_key": "" }]));
    let mut sync = Connection::new(&anna);
    let answer = sync.sync(&without).await;
    assert_eq!(state(&answer["rooms"][&room_id]), []);
    // Another process remembers what it was.
    let there = anna.at(&server.sibling().await.url);
    sync.client = &there;
    let answer = sync.sync(&names(&json!([]))).await;
    let expected = [("m.room.name".to_owned(), String::new())];
    assert_eq!(state(&answer["rooms"][&room_id]), expected);
    assert!(rooms(&sync.sync(&without).await).is_empty());
}

#[tokio::test]
async fn the_body_may_hold_what_the_query_holds() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = public_room(&anna, "A room").await;
    ben.join(&room_id).await.expect_ok();
    let mut body = window(0, 9, 1);
    body["set_presence"] = json!("unavailable");
    let answer = ben.post(PATH, &body).await.expect_ok();
    assert_eq!(rooms(&answer), [room_id.clone()]);
    assert_eq!(presence(&anna, &ben).await, "unavailable");
    body["pos"] = answer["pos"].clone();
    let answer = ben.post(PATH, &body).await.expect_ok();
    assert!(rooms(&answer).is_empty());
    // It waits as long as it says.
    body["pos"] = answer["pos"].clone();
    body["timeout"] = json!(30_000);
    let (answer, event_id) = tokio::join!(ben.post(PATH, &body), anna.send(&room_id, "hello"));
    assert!(answer.expect_ok().to_string().contains(&event_id));
    body["pos"] = json!("nonsense");
    ben.post(PATH, &body)
        .await
        .expect_error(400, "M_UNKNOWN_POS");
}

#[tokio::test]
async fn who_syncs_is_there_unless_they_say_otherwise() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = public_room(&anna, "A room").await;
    ben.join(&room_id).await.expect_ok();
    let slide = async |query: &str| ben.post(&format!("{PATH}{query}"), &json!({})).await;
    slide("?set_presence=offline").await.expect_ok();
    assert_eq!(presence(&anna, &ben).await, "offline");
    slide("?set_presence=unavailable").await.expect_ok();
    assert_eq!(presence(&anna, &ben).await, "unavailable");
    slide("").await.expect_ok();
    assert_eq!(presence(&anna, &ben).await, "online");
    let answer = slide("?set_presence=asleep").await;
    answer.expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn invites_of_people_who_are_ignored_are_not_shown() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let carl = server.register("carl").await;
    let ignore = async |users: Value| {
        let path = format!("user/{}/account_data/m.ignored_user_list", anna.user_id);
        let body = json!({ "ignored_users": users });
        anna.put(&path, &body).await.expect_ok();
    };
    ignore(json!({ &ben.user_id: {} })).await;
    let invite = json!({ "invite": [anna.user_id] });
    let of_ben = ben.create_room(&invite).await;
    let of_carl = carl.create_room(&invite).await;
    let mut body = window(0, 9, 1);
    body["room_subscriptions"] = subscription(&of_ben, &json!([]), 1)["room_subscriptions"].clone();
    let mut sync = Connection::new(&anna);
    let answer = sync.sync(&body).await;
    assert_eq!(rooms(&answer), [of_carl.clone()]);
    assert_eq!(answer["lists"]["all"]["count"], 1);
    let room = &answer["rooms"][&of_carl];
    assert_eq!(room["stripped_state"], room["invite_state"]);
    // Nor do they wake anybody's sync with news.
    ben.create_room(&invite).await;
    let answer = sync.wait(&body, Duration::from_millis(1)).await;
    assert!(rooms(&answer).is_empty(), "{answer:#}");
    // Once they are not ignored any more, they are there.
    ignore(json!({})).await;
    let answer = sync.sync(&body).await;
    assert_eq!(answer["lists"]["all"]["count"], 3);
    let room = &answer["rooms"][&of_ben];
    assert!(room["invite_state"].is_array(), "{answer:#}");
    let v2 = anna.sync(None, NOW).await;
    assert!(v2["rooms"]["invite"][&of_ben].is_object());
}
