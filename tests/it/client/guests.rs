//! Guest accounts (specification v1.19, client-server API, "Guest Access").

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::create_room::state;
use crate::{
    harness::{
        client::{Client, encode},
        process::until,
        server::{PASSWORD, TestOptions, TestServer},
    },
    operations,
};

async fn server() -> TestServer {
    TestServer::start(TestOptions::with("[registration]\nguests = true\n")).await
}

async fn guest(server: &TestServer) -> Client {
    let mut client = server.client();
    let answer = client.post("register?kind=guest", &json!({})).await;
    client.take_session(&answer.expect_ok());
    client
}

fn room(access: &str) -> Value {
    json!({
        "preset": "public_chat",
        "initial_state": [
            { "type": "m.room.guest_access", "content": { "guest_access": access } },
        ],
    })
}

/// What the specification lets guests do, by ruma's names; and, of ours, to join by alias and to log
/// out.
const ALLOWED: &[&str] = &[
    "claim_keys",
    "delete_profile_field",
    "get_content",
    "get_content_as_filename",
    "get_content_thumbnail",
    "get_context",
    "get_current_state",
    "get_device",
    "get_devices",
    "get_keys",
    "get_member_events",
    "get_message_events",
    "get_room_event",
    "get_state_event_for_key",
    "get_state_events",
    "join_room_by_id",
    "join_room_by_id_or_alias",
    "leave_room",
    "listen_to_new_events",
    "logout",
    "logout_all",
    "send_event_to_device",
    "send_message_event",
    "send_state_event",
    "set_profile_field",
    "sync_events",
    "update_device",
    "upload_keys",
    "whoami",
];

#[tokio::test]
async fn guests_may_do_what_the_specification_lists_and_nothing_else() {
    let server = server().await;
    let guest = guest(&server).await;
    let whoami = guest.get("account/whoami").await.expect_ok();
    assert_eq!(whoami["is_guest"], true);
    let named = |operation: &operations::Operation| {
        let path = operation.path.replace("{user_id}", &encode(&guest.user_id));
        let path = path
            .replace("{field}", "displayname")
            .replace("{key_name}", "displayname");
        path.replace(['{', '}'], "")
    };
    let mut faults = Vec::new();
    for operation in operations::routed() {
        if operation.token != Some(true) {
            continue;
        }
        // What ends the session is tried last.
        if operation.name.starts_with("logout") || operation.name == "deactivate" {
            continue;
        }
        let body = (operation.method != Method::GET).then(|| json!({}));
        let method = operation.method.clone();
        let answer = guest
            .request(method, &named(operation), body.as_ref())
            .await;
        let is_refused = answer.body["errcode"] == "M_GUEST_ACCESS_FORBIDDEN";
        let is_allowed = ALLOWED.contains(&operation.name);
        if is_refused == is_allowed {
            faults.push(format!("{} {}", operation.name, answer.text));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // Of their profile, they change their names alone.
    let user = encode(&guest.user_id);
    let name = format!("profile/{user}/displayname");
    guest
        .put(&name, &json!({ "displayname": "Visiteuse" }))
        .await
        .expect_ok();
    guest
        .put(
            &format!("profile/{user}/avatar_url"),
            &json!({ "avatar_url": "" }),
        )
        .await
        .expect_error(403, "M_GUEST_ACCESS_FORBIDDEN");
    guest.delete(&name).await.expect_ok();
    guest.post("logout", &json!({})).await.expect_ok();
    guest
        .get("account/whoami")
        .await
        .expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn guests_join_rooms_that_let_guests_in() {
    let server = server().await;
    let anna = server.register("anna").await;
    let guest = guest(&server).await;
    let open = anna.create_room(&room("can_join")).await;
    let closed = anna.create_room(&room("forbidden")).await;
    guest
        .join(&closed)
        .await
        .expect_error(403, "M_GUEST_ACCESS_FORBIDDEN");
    guest
        .post(&format!("rooms/{}/join", encode(&closed)), &json!({}))
        .await
        .expect_error(403, "M_GUEST_ACCESS_FORBIDDEN");
    // Nor by the way around, nor where they are invited.
    guest
        .send_state(
            &closed,
            "m.room.member",
            &guest.user_id,
            &json!({ "membership": "join" }),
        )
        .await
        .expect_error(403, "M_GUEST_ACCESS_FORBIDDEN");
    anna.invite(&closed, &guest.user_id).await.expect_ok();
    guest
        .join(&closed)
        .await
        .expect_error(403, "M_GUEST_ACCESS_FORBIDDEN");
    guest.join(&open).await.expect_ok();
    guest.send(&open, "Bonjour").await;
    anna.join(&closed).await.expect_ok();
}

#[tokio::test]
async fn guests_look_into_rooms_that_everybody_may_read() {
    let server = server().await;
    let anna = server.register("anna").await;
    let guest = guest(&server).await;
    let with = |visibility: &str| {
        json!({
            "preset": "public_chat",
            "name": "Place",
            "initial_state": [{
                "type": "m.room.history_visibility",
                "content": { "history_visibility": visibility },
            }],
        })
    };
    let readable = anna.create_room(&with("world_readable")).await;
    let event = anna.send(&readable, "Avis").await;
    let room = encode(&readable);
    let page = guest.messages(&readable, "").await;
    assert_eq!(page["chunk"][0]["content"]["body"], "Avis");
    let state = guest.get(&format!("rooms/{room}/state")).await.expect_ok();
    assert!(state.as_array().unwrap().len() > 5);
    let name = guest.get(&format!("rooms/{room}/state/m.room.name")).await;
    assert_eq!(name.expect_ok()["name"], "Place");
    let members = guest
        .get(&format!("rooms/{room}/members"))
        .await
        .expect_ok();
    assert_eq!(members["chunk"].as_array().unwrap().len(), 1);
    for path in ["event", "context"] {
        let path = format!("rooms/{room}/{path}/{}", encode(&event));
        guest.get(&path).await.expect_ok();
    }
    for visibility in ["shared", "joined"] {
        let closed = anna.create_room(&with(visibility)).await;
        let room = encode(&closed);
        for path in ["messages?dir=b", "state", "state/m.room.name", "members"] {
            let path = format!("rooms/{room}/{path}");
            guest.get(&path).await.expect_error(403, "M_FORBIDDEN");
        }
    }
}

#[tokio::test]
async fn guests_leave_when_the_room_does_not_want_them_any_more() {
    let server = server().await;
    let anna = server.register("anna").await;
    let ben = server.register("ben").await;
    let guests = [guest(&server).await, guest(&server).await];
    for how in ["changed", "redacted"] {
        let open = anna.create_room(&room("can_join")).await;
        ben.join(&open).await.expect_ok();
        for guest in &guests {
            guest.join(&open).await.expect_ok();
        }
        if how == "changed" {
            let content = json!({ "guest_access": "forbidden" });
            anna.send_state(&open, "m.room.guest_access", "", &content)
                .await
                .expect_ok();
        } else {
            let path = format!("rooms/{}/state", encode(&open));
            let state = anna.get(&path).await.expect_ok();
            let mut events = state.as_array().unwrap().iter();
            let event = events.find(|event| event["type"] == "m.room.guest_access");
            let event_id = event.unwrap()["event_id"].as_str().unwrap();
            let path = format!("rooms/{}/redact/{}/1", encode(&open), encode(event_id));
            anna.put(&path, &json!({})).await.expect_ok();
        }
        for guest in &guests {
            let is_gone = async || {
                let member = state(&anna, &open, "m.room.member", &guest.user_id).await;
                member["membership"] == "leave"
            };
            until("gone", || how.to_owned(), is_gone).await;
            // On their own behalf.
            let path = format!("rooms/{}/state", encode(&open));
            let state = anna.get(&path).await.expect_ok();
            let mut events = state.as_array().unwrap().iter();
            let left = events.find(|event| event["state_key"] == guest.user_id.as_str());
            assert_eq!(left.unwrap()["sender"], guest.user_id.as_str());
            guest
                .join(&open)
                .await
                .expect_error(403, "M_GUEST_ACCESS_FORBIDDEN");
        }
        let member = state(&anna, &open, "m.room.member", &ben.user_id).await;
        assert_eq!(member["membership"], "join");
    }
}

#[tokio::test]
async fn what_a_stopped_process_left_undone_is_done() {
    let server = server().await;
    let anna = server.register("anna").await;
    let guest = guest(&server).await;
    let open = anna.create_room(&room("can_join")).await;
    guest.join(&open).await.expect_ok();
    // As if nobody had heard of it.
    let mut conn = server.database().connect().await;
    sqlx::query("UPDATE room_summaries SET guest_can_join = FALSE")
        .execute(&mut conn)
        .await
        .unwrap();
    // The room itself still lets guests in: it counts.
    server.app.rooms().remove_unwanted_guests().await.unwrap();
    let member = state(&anna, &open, "m.room.member", &guest.user_id).await;
    assert_eq!(member["membership"], "join");
    let content = json!({ "guest_access": "forbidden" });
    anna.send_state(&open, "m.room.guest_access", "", &content)
        .await
        .expect_ok();
    let sibling = server.sibling().await;
    sibling.app.rooms().remove_unwanted_guests().await.unwrap();
    let there = anna.at(&sibling.url);
    let is_gone = async || {
        let member = state(&there, &open, "m.room.member", &guest.user_id).await;
        member["membership"] == "leave"
    };
    until("gone", String::new, is_gone).await;
}

#[tokio::test]
async fn a_guest_becomes_a_user_and_keeps_the_rooms() {
    let server = server().await;
    let anna = server.register("anna").await;
    let guest = guest(&server).await;
    let open = anna.create_room(&room("can_join")).await;
    guest.join(&open).await.expect_ok();
    let name = guest
        .user_id
        .split(':')
        .next()
        .unwrap()
        .trim_start_matches('@');
    let register = async |name: &str, token: Option<&str>| {
        let body = json!({
            "username": name,
            "password": PASSWORD,
            "guest_access_token": token,
            "auth": { "type": "m.login.dummy" },
        });
        server.client().post("register", &body).await
    };
    let token = guest.token.as_deref();
    register("other", token)
        .await
        .expect_error(400, "M_INVALID_PARAM");
    register(name, None)
        .await
        .expect_error(400, "M_USER_IN_USE");
    register(name, Some("wrong"))
        .await
        .expect_error(401, "M_UNKNOWN_TOKEN");
    register(name, anna.token.as_deref())
        .await
        .expect_error(403, "M_FORBIDDEN");
    let mut user = server.client();
    user.take_session(&register(name, token).await.expect_ok());
    assert_eq!(user.user_id, guest.user_id);
    assert_eq!(
        user.get("joined_rooms").await.expect_ok()["joined_rooms"],
        json!([open])
    );
    // The session of the guest may do more now.
    let whoami = guest.get("account/whoami").await.expect_ok();
    assert_ne!(whoami["is_guest"], true);
    guest.create_room(&json!({})).await;
    server.client().login(name, PASSWORD).await.expect_ok();
    register(name, token).await.expect_error(403, "M_FORBIDDEN");
    // Rooms that guests may not be in do not mind any more.
    let content = json!({ "guest_access": "forbidden" });
    anna.send_state(&open, "m.room.guest_access", "", &content)
        .await
        .expect_ok();
    server.app.rooms().remove_unwanted_guests().await.unwrap();
    let sync = user.sync(None, Duration::ZERO).await;
    assert!(sync["rooms"]["join"][&open].is_object(), "{sync}");
}

#[tokio::test]
async fn there_are_no_guests_unless_the_operator_wants_some() {
    let server = TestServer::new().await;
    let refused = server
        .client()
        .post("register?kind=guest", &json!({}))
        .await;
    refused.expect_error(403, "M_FORBIDDEN");
}
