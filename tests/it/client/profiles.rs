//! What people show of themselves, and what rooms copy of it (specification v1.19, "Profiles").

use std::{sync::Arc, time::Duration};

use chappe::{
    clock::ManualClock,
    store::{account_work, users},
};
use ruma::UserId;
use serde_json::json;

use crate::harness::{
    client::{Client, encode},
    process::until,
    server::{TestOptions, TestServer},
};

fn field(user_id: &str, name: &str) -> String {
    format!("profile/{}/{}", encode(user_id), encode(name))
}

async fn set(
    client: &Client,
    name: &str,
    value: serde_json::Value,
) -> crate::harness::client::Answer {
    let body = json!({ name: value });
    client.put(&field(&client.user_id, name), &body).await
}

#[tokio::test]
async fn fields_hold_any_json_under_names_with_a_namespace() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    for (name, value) in [
        ("m.tz", json!("Europe/Paris")),
        ("org.example.a", json!({ "b": [1, null] })),
        ("org.example.null", json!(null)),
        ("org.example.text", json!("")),
    ] {
        set(&anna, name, value.clone()).await.expect_ok();
        let path = field(&anna.user_id, name);
        let found = server.client().get(&path).await.expect_ok();
        assert_eq!(found, json!({ name: value }));
    }
    let path = field(&anna.user_id, "org.example.a");
    for _ in 0..2 {
        assert_eq!(anna.delete(&path).await.expect_ok(), json!({}));
    }
    anna.get(&path).await.expect_error(404, "M_NOT_FOUND");
    let path = format!("profile/{}", encode(&anna.user_id));
    let whole = anna.get(&path).await.expect_ok();
    assert!(whole.get("org.example.null").is_some());
    assert!(whole.get("org.example.a").is_none());
}

#[tokio::test]
async fn fields_that_cannot_be_kept_are_refused() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let long = format!("org.{}", "a".repeat(252));
    let large = "a".repeat(60_000);
    for (name, value, errcode) in [
        ("language", json!("fr"), "M_INVALID_PARAM"),
        ("Org.Example", json!("fr"), "M_INVALID_PARAM"),
        ("m.tz", json!(5), "M_BAD_JSON"),
        ("m.tz", json!("a b"), "M_INVALID_PARAM"),
        ("org.example", json!("\0"), "M_INVALID_PARAM"),
        (long.as_str(), json!("fr"), "M_KEY_TOO_LARGE"),
        ("org.example", json!(large), "M_PROFILE_TOO_LARGE"),
    ] {
        let answer = set(&anna, name, value).await;
        answer.expect_error(400, errcode);
    }
    // The bound is that of the whole profile.
    let half = json!("a".repeat(35_000));
    set(&anna, "org.one", half.clone()).await.expect_ok();
    let answer = set(&anna, "org.two", half).await;
    answer.expect_error(400, "M_PROFILE_TOO_LARGE");
    let path = field(&anna.user_id, "org.example");
    for body in [json!({ "org.other": 1 }), json!({})] {
        let answer = anna.put(&path, &body).await;
        answer.expect_error(400, "M_MISSING_PARAM");
    }
    let ben = server.register("ben").await;
    let body = json!({ "org.example": 1 });
    let answer = ben.put(&path, &body).await;
    answer.expect_error(403, "M_FORBIDDEN");
    let answer = ben.delete(&path).await;
    answer.expect_error(403, "M_FORBIDDEN");
    let answer = server.client().put(&path, &body).await;
    answer.expect_error(401, "M_MISSING_TOKEN");
}

/// What the member event of a room says somebody is called.
async fn name_in(client: &Client, room_id: &str) -> String {
    let member = encode(&client.user_id);
    let path = format!("rooms/{}/state/m.room.member/{member}", encode(room_id));
    let content = client.get(&path).await.expect_ok();
    content["displayname"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_new_name_reaches_all_rooms_also_when_a_process_dies_on_the_way() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let server = TestServer::start(TestOptions {
        clock: Some(Arc::clone(&clock)),
        ..TestOptions::default()
    })
    .await;
    let anna = server.register("anna").await;
    let mut rooms = Vec::new();
    for _ in 0..60 {
        rooms.push(anna.create_room(&json!({})).await);
    }
    set(&anna, "displayname", json!("Anna A."))
        .await
        .expect_ok();
    let has_all = async |name: &str| {
        let mut names = Vec::new();
        for room_id in &rooms {
            names.push(name_in(&anna, room_id).await);
        }
        names.iter().all(|found| found == name)
    };
    let accounts = server.app.accounts();
    while accounts.work(server.app.rooms()).await.unwrap() == chappe::accounts::WorkDone::Some {}
    // The server may have begun with it by itself.
    until("shown", String::new, async || has_all("Anna A.").await).await;

    // Somebody asks for a change, takes it up, and dies.
    let store = server.app.store();
    let mut conn = store.conn().await.unwrap();
    let user_id = <&UserId>::try_from(anna.user_id.as_str()).unwrap();
    let user = users::find(&mut conn, user_id).await.unwrap().unwrap();
    let now = 1_700_000_000_000;
    chappe::store::profiles::update_display_name(&mut conn, user, Some("Anna B."))
        .await
        .unwrap();
    let kind = account_work::WorkKind::ShowProfile;
    account_work::upsert(&mut conn, user, kind, now, now)
        .await
        .unwrap();
    let leased = now + 120_000;
    let taken = account_work::take(&mut conn, Some(user), now, leased).await;
    assert!(taken.unwrap().is_some());
    drop(conn);
    let other = server.sibling().await;
    let (accounts, rooms_service) = (other.app.accounts(), other.app.rooms());
    let done = accounts.work(rooms_service).await.unwrap();
    assert_eq!(done, chappe::accounts::WorkDone::Nothing);
    clock.advance(Duration::from_mins(2));
    while accounts.work(rooms_service).await.unwrap() == chappe::accounts::WorkDone::Some {}
    until("shown again", String::new, async || {
        has_all("Anna B.").await
    })
    .await;
}
