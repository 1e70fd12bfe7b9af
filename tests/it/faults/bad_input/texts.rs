//! PostgreSQL keeps no NUL in a text: wherever a text comes in, that must be no failure.

use reqwest::Method;
use serde_json::json;

use super::{Raw, Site, World};
use crate::harness::client::encode;

#[tokio::test]
async fn no_text_with_a_nul_fails() {
    let site = Site::new().await;
    let world = World::new(&site.server, "anna").await;
    site.server.register("ben").await;
    let mut failures = Vec::new();
    for (method, path, body) in requests(&world) {
        let path = format!("/_matrix/client/v3/{path}");
        for token in [world.user.token.as_deref(), None] {
            let mut raw = Raw::new(method.clone(), &path, token);
            let text = body.to_string();
            if !body.is_null() {
                raw = raw.with(&text);
            }
            let url = format!("{}{path}", site.server.url);
            let mut builder = site.http.request(method.clone(), url);
            if let Some(token) = raw.token {
                builder = builder.bearer_auth(token);
            }
            if let Some(body) = raw.body {
                builder = builder.body(body.to_vec());
            }
            let answer = builder.send().await.unwrap();
            if answer.status().is_server_error() {
                failures.push(format!("{method} {path} {text}: {}", answer.status()));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    world.user.get("account/whoami").await.expect_ok();
    // What went in comes out again.
    let sync = world.user.get("sync").await;
    sync.expect_ok();
}

/// Requests with a NUL in each text that may come to the database.
fn requests(world: &World) -> Vec<(Method, String, serde_json::Value)> {
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let own = encode(&world.user.user_id);
    let room = encode(&world.room_id);
    let event = encode(&world.event_id);
    let nul = "a\0b";
    let user_id = "@a\0b:example.org";
    let (path, user) = ("a%00b", "%40a%00b%3Aexample.org");
    let text = json!({ "msgtype": "m.text", "body": nul });
    let none = json!(null);
    let login = |user: &str, device: &str, name: &str| {
        json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user },
            "password": super::PASSWORD, "device_id": device, "initial_device_display_name": name,
        })
    };
    let register = |user: &str, password: &str, device: &str, session: &str| {
        json!({
            "username": user, "password": password, "device_id": device,
            "initial_device_display_name": nul,
            "auth": { "type": "m.login.dummy", "session": session },
        })
    };
    let mail = |email: &str, secret: &str| json!({ "email": email, "client_secret": secret, "send_attempt": 1 });
    let mut requests = vec![
        (post.clone(), "login".to_owned(), login(nul, "D", "n")),
        (post.clone(), "login".to_owned(), login(user_id, "D", "n")),
        (post.clone(), "login".to_owned(), login("ben", nul, "n")),
        (post.clone(), "login".to_owned(), login("ben", "D", nul)),
        (
            post.clone(),
            "login".to_owned(),
            json!({
                "type": "m.login.password", "password": nul,
                "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": nul },
            }),
        ),
        (
            post.clone(),
            "refresh".to_owned(),
            json!({ "refresh_token": nul }),
        ),
        (
            post.clone(),
            "register".to_owned(),
            register(nul, "Correct-horse7", "D", ""),
        ),
        (
            post.clone(),
            "register".to_owned(),
            register("cleo", nul, "D", ""),
        ),
        (
            post.clone(),
            "register".to_owned(),
            register("cleo", "Correct-horse7", nul, ""),
        ),
        (
            post.clone(),
            "register".to_owned(),
            register("dora", "Correct-horse7", "D", nul),
        ),
        (
            get.clone(),
            format!("register/available?username={path}"),
            none.clone(),
        ),
        (
            post.clone(),
            "register/email/requestToken".to_owned(),
            mail("a\0b@example.com", "s"),
        ),
        (
            post.clone(),
            "register/email/requestToken".to_owned(),
            mail("a@example.com", nul),
        ),
        (
            post.clone(),
            "account/password/email/requestToken".to_owned(),
            mail("a\0b@example.com", "s"),
        ),
        (
            post.clone(),
            "account/password/email/requestToken".to_owned(),
            mail("a@b.com", nul),
        ),
        (
            post.clone(),
            "account/password".to_owned(),
            json!({ "new_password": nul, "auth": { "type": "m.login.password", "password": nul,
                "session": nul, "identifier": { "type": "m.id.user", "user": nul } } }),
        ),
        (
            post.clone(),
            "account/deactivate".to_owned(),
            json!({ "auth": { "type": "m.login.dummy", "session": nul } }),
        ),
        (
            get.clone(),
            format!("account/whoami?access_token={path}"),
            none.clone(),
        ),
        (get.clone(), format!("devices/{path}"), none.clone()),
        (
            put.clone(),
            format!("devices/{path}"),
            json!({ "display_name": "n" }),
        ),
        (
            put.clone(),
            format!("devices/{}", world.user.device_id),
            json!({ "display_name": nul }),
        ),
        (delete.clone(), format!("devices/{path}"), json!({})),
        (
            post.clone(),
            "delete_devices".to_owned(),
            json!({ "devices": [nul] }),
        ),
        (get.clone(), format!("profile/{user}"), none.clone()),
        (
            get.clone(),
            format!("profile/{user}/displayname"),
            none.clone(),
        ),
        (get.clone(), format!("profile/{own}/{path}"), none.clone()),
        (
            put.clone(),
            format!("profile/{own}/displayname"),
            json!({ "displayname": nul }),
        ),
        (
            put.clone(),
            format!("profile/{own}/avatar_url"),
            json!({ "avatar_url": "mxc://a/\0" }),
        ),
        (
            put.clone(),
            format!("profile/{own}/x.y"),
            json!({ "x.y": { "a\0b": nul } }),
        ),
        (
            put.clone(),
            format!("profile/{own}/{path}"),
            json!({ "a\0b": nul }),
        ),
        (
            delete.clone(),
            format!("profile/{own}/{path}"),
            none.clone(),
        ),
        (
            post.clone(),
            format!("user/{own}/filter"),
            json!({ "room": { "rooms": [world.room_id], "timeline": { "types": [nul] } } }),
        ),
        (
            get.clone(),
            format!("user/{own}/filter/{path}"),
            none.clone(),
        ),
        (
            get.clone(),
            format!("user/{own}/account_data/{path}"),
            none.clone(),
        ),
        (
            put.clone(),
            format!("user/{own}/account_data/{path}"),
            json!({ "a": 1 }),
        ),
        (
            put.clone(),
            format!("user/{own}/account_data/x.y"),
            json!({ "a\0b": nul }),
        ),
        (
            put.clone(),
            format!("user/{own}/rooms/{room}/account_data/{path}"),
            json!({ "a": 1 }),
        ),
        (
            put.clone(),
            format!("user/{own}/rooms/{room}/account_data/x.y"),
            json!({ "a": nul }),
        ),
        (
            put.clone(),
            format!("user/{own}/rooms/{room}/tags/{path}"),
            json!({ "order": 0.5 }),
        ),
        (
            delete.clone(),
            format!("user/{own}/rooms/{room}/tags/{path}"),
            none.clone(),
        ),
        (
            get.clone(),
            format!("directory/room/%23{path}%3Aexample.org"),
            none.clone(),
        ),
        (
            put.clone(),
            format!("directory/room/%23{path}%3Aexample.org"),
            json!({ "room_id": world.room_id }),
        ),
        (
            delete.clone(),
            format!("directory/room/%23{path}%3Aexample.org"),
            none.clone(),
        ),
        (
            put.clone(),
            "directory/room/%23c%3Aexample.org".to_owned(),
            json!({ "room_id": "!a\0b:example.org" }),
        ),
        (
            get.clone(),
            format!("directory/list/room/!{path}%3Aexample.org"),
            none.clone(),
        ),
        (
            put.clone(),
            format!("directory/list/room/!{path}%3Aexample.org"),
            json!({ "visibility": "public" }),
        ),
        (
            get.clone(),
            format!("publicRooms?since={path}"),
            none.clone(),
        ),
        (
            post.clone(),
            "publicRooms".to_owned(),
            json!({ "filter": { "generic_search_term": nul, "room_types": [nul] } }),
        ),
        (
            post.clone(),
            "publicRooms".to_owned(),
            json!({ "since": nul }),
        ),
        (
            post.clone(),
            format!("join/%23{path}%3Aexample.org"),
            json!({}),
        ),
        (
            post.clone(),
            format!("join/!{path}%3Aexample.org"),
            json!({}),
        ),
        (
            post.clone(),
            format!("join/{room}"),
            json!({ "reason": nul }),
        ),
        (get.clone(), format!("sync?since={path}"), none.clone()),
        (get.clone(), format!("sync?filter={path}"), none.clone()),
        (
            get.clone(),
            format!("pushrules/global/content/{path}"),
            none.clone(),
        ),
        (
            put.clone(),
            format!("pushrules/global/content/{path}"),
            json!({ "pattern": "a", "actions": [] }),
        ),
        (
            put.clone(),
            "pushrules/global/content/mine".to_owned(),
            json!({ "pattern": nul, "actions": [nul] }),
        ),
        (
            put.clone(),
            format!("pushrules/global/content/mine2?before={path}"),
            json!({ "pattern": nul, "actions": [] }),
        ),
        (
            delete.clone(),
            format!("pushrules/global/content/{path}"),
            none.clone(),
        ),
    ];
    for room_body in [
        json!({ "name": nul }),
        json!({ "topic": nul }),
        json!({ "room_alias_name": nul }),
        json!({ "invite": [user_id] }),
        json!({ "room_version": nul }),
        json!({ "creation_content": { "type": nul } }),
        json!({ "visibility": "public", "name": nul, "preset": "public_chat" }),
        json!({ "initial_state": [{ "type": nul, "state_key": "", "content": {} }] }),
        json!({ "initial_state": [{ "type": "x", "state_key": nul, "content": {} }] }),
        json!({ "power_level_content_override": { "users": { user_id: 5 } } }),
    ] {
        requests.push((post.clone(), "createRoom".to_owned(), room_body));
    }
    for what in ["invite", "kick", "ban", "unban"] {
        let path = format!("rooms/{room}/{what}");
        requests.push((post.clone(), path.clone(), json!({ "user_id": user_id })));
        requests.push((
            post.clone(),
            path,
            json!({ "user_id": "@ben:example.org", "reason": nul }),
        ));
    }
    for (method, rest, body) in [
        (
            put.clone(),
            format!("send/m.room.message/{path}"),
            text.clone(),
        ),
        (put.clone(), format!("send/{path}/1"), text.clone()),
        (
            put.clone(),
            "send/m.room.message/2".to_owned(),
            json!({ "a\0b": nul, "msgtype": nul,
            "body": nul, "m.mentions": { "user_ids": [user_id] },
            "m.relates_to": { "rel_type": nul, "event_id": nul } }),
        ),
        (put.clone(), format!("state/{path}/"), json!({})),
        (
            put.clone(),
            format!("state/x.y/{path}"),
            json!({ "a": nul }),
        ),
        (
            put.clone(),
            format!("state/m.room.member/{user}"),
            json!({ "membership": "invite" }),
        ),
        (
            put.clone(),
            "state/m.room.name/".to_owned(),
            json!({ "name": nul }),
        ),
        (
            put.clone(),
            "state/m.room.topic/".to_owned(),
            json!({ "topic": nul }),
        ),
        (
            put.clone(),
            "state/m.room.avatar/".to_owned(),
            json!({ "url": nul }),
        ),
        (
            put.clone(),
            "state/m.room.join_rules/".to_owned(),
            json!({ "join_rule": nul }),
        ),
        (
            put.clone(),
            "state/m.room.canonical_alias/".to_owned(),
            json!({ "alias": "#a\0b:example.org", "alt_aliases": [nul] }),
        ),
        (
            put.clone(),
            "state/m.room.history_visibility/".to_owned(),
            json!({ "history_visibility": nul }),
        ),
        (get.clone(), format!("state/{path}/{path}"), none.clone()),
        (get.clone(), format!("event/%24{path}"), none.clone()),
        (get.clone(), format!("context/%24{path}"), none.clone()),
        (
            get.clone(),
            format!("messages?dir=b&from={path}"),
            none.clone(),
        ),
        (
            get.clone(),
            format!("members?at={path}&membership={path}"),
            none.clone(),
        ),
        (
            put.clone(),
            format!("redact/{event}/{path}"),
            json!({ "reason": nul }),
        ),
        (put.clone(), format!("redact/%24{path}/3"), json!({})),
        (post.clone(), format!("receipt/m.read/%24{path}"), json!({})),
        (
            post.clone(),
            format!("receipt/m.read/{event}"),
            json!({ "thread_id": nul }),
        ),
        (
            post.clone(),
            "read_markers".to_owned(),
            json!({ "m.fully_read": "$\0" }),
        ),
        (
            post.clone(),
            "read_markers".to_owned(),
            json!({ "m.read": "$\0" }),
        ),
        (
            put.clone(),
            format!("typing/{user}"),
            json!({ "typing": true, "timeout": 1 }),
        ),
    ] {
        requests.push((method, format!("rooms/{room}/{rest}"), body));
    }
    for rest in [
        "state",
        "members",
        "joined_members",
        "aliases",
        "messages?dir=b",
    ] {
        let path = format!("rooms/!{path}%3Aexample.org/{rest}");
        requests.push((get.clone(), path, none.clone()));
    }
    requests
}
