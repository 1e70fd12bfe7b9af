//! Replacing rooms (specification v1.19, client-server API, "Room Upgrades").

use std::time::Duration;

use serde_json::{Value, json};

use super::create_room::state;
use crate::harness::{
    client::{Answer, Client, encode},
    server::TestServer,
};

async fn upgrade(client: &Client, room: &str, version: &str) -> Answer {
    let path = format!("rooms/{}/upgrade", encode(room));
    client.post(&path, &json!({ "new_version": version })).await
}

fn replacement(answer: Answer) -> String {
    let answer = answer.expect_ok();
    answer["replacement_room"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_new_room_has_the_state_of_the_old_one_and_the_old_one_is_closed() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let eve = server.register("eve").await;
    for (from, to) in [("1", "6"), ("9", "12"), ("12", "12"), ("12", "10")] {
        let alias = format!("salon{from}{to}");
        let old = anna
            .create_room(&json!({
                "room_version": from,
                "preset": "public_chat",
                "visibility": "public",
                "name": "Salon",
                "topic": "Tout",
                "room_alias_name": alias,
                "power_level_content_override": { "users_default": 0, "kick": 77 },
                "initial_state": [
                    { "type": "m.room.server_acl", "content": { "allow": ["*"] } },
                    { "type": "org.example.other", "content": { "stays": true } },
                ],
            }))
            .await;
        ben.join(&old).await.expect_ok();
        let ban = format!("rooms/{}/ban", encode(&old));
        anna.post(&ban, &json!({ "user_id": eve.user_id }))
            .await
            .expect_ok();
        upgrade(&ben, &old, to)
            .await
            .expect_error(403, "M_FORBIDDEN");
        let new = replacement(upgrade(&anna, &old, to).await);

        let create = state(&anna, &new, "m.room.create", "").await;
        assert_eq!(create["room_version"], to);
        assert_eq!(create["predecessor"]["room_id"], *old);
        assert_eq!(create["predecessor"]["event_id"].is_string(), to != "12");
        for (kind, key, value) in [
            ("m.room.name", "name", json!("Salon")),
            ("m.room.topic", "topic", json!("Tout")),
            ("m.room.join_rules", "join_rule", json!("public")),
            ("m.room.server_acl", "allow", json!(["*"])),
            ("m.room.power_levels", "kick", json!(77)),
        ] {
            assert_eq!(
                state(&anna, &new, kind, "").await[key],
                value,
                "{from} {to}"
            );
        }
        assert_eq!(
            state(&anna, &new, "org.example.other", "").await,
            Value::Null
        );
        let banned = state(&anna, &new, "m.room.member", &eve.user_id).await;
        assert_eq!(banned["membership"], "ban");
        // Whoever led the room leads it.
        anna.send_state(&new, "m.room.topic", "", &json!({ "topic": "Encore" }))
            .await
            .expect_ok();

        let tombstone = state(&anna, &old, "m.room.tombstone", "").await;
        assert_eq!(tombstone["replacement_room"], *new);
        let levels = state(&anna, &old, "m.room.power_levels", "").await;
        assert_eq!(
            (&levels["events_default"], &levels["invite"]),
            (&json!(50), &json!(50))
        );
        let full = format!("#{alias}:example.org");
        let named = anna.get(&format!("directory/room/{}", encode(&full))).await;
        assert_eq!(named.expect_ok()["room_id"], *new);
        assert_eq!(
            state(&anna, &new, "m.room.canonical_alias", "").await["alias"],
            *full
        );
        for (room, visibility) in [(&old, "private"), (&new, "public")] {
            let path = format!("directory/list/room/{}", encode(room));
            let listed = anna.get(&path).await.expect_ok();
            assert_eq!(listed["visibility"], visibility);
        }
        ben.join(&new).await.expect_ok();
    }
    let room = anna.create_room(&json!({})).await;
    upgrade(&anna, &room, "77")
        .await
        .expect_error(400, "M_UNSUPPORTED_ROOM_VERSION");
    upgrade(&eve, &room, "12")
        .await
        .expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn who_joins_the_new_room_takes_their_settings_along() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let old = anna.create_room(&json!({ "preset": "public_chat" })).await;
    ben.join(&old).await.expect_ok();
    let user = encode(&ben.user_id);
    let tag = format!("user/{user}/rooms/{}/tags/m.favourite", encode(&old));
    ben.put(&tag, &json!({ "order": 0.5 })).await.expect_ok();
    let rule = format!("pushrules/global/room/{}", encode(&old));
    ben.put(&rule, &json!({ "actions": [] })).await.expect_ok();
    let direct = format!("user/{user}/account_data/m.direct");
    ben.put(&direct, &json!({ "@anna:example.org": [old] }))
        .await
        .expect_ok();
    let new = replacement(upgrade(&anna, &old, "12").await);
    ben.join(&new).await.expect_ok();
    let tags = format!("user/{user}/rooms/{}/tags", encode(&new));
    let tags = ben.get(&tags).await.expect_ok();
    assert_eq!(tags["tags"]["m.favourite"]["order"], 0.5);
    let rule = format!("pushrules/global/room/{}", encode(&new));
    assert_eq!(ben.get(&rule).await.expect_ok()["actions"], json!([]));
    let direct = ben.get(&direct).await.expect_ok();
    assert_eq!(direct["@anna:example.org"], json!([old, new]));
}

#[tokio::test]
async fn knocks_are_seen_and_answered() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let closed = anna.create_room(&json!({})).await;
    let knock = |room: &str| format!("knock/{}", encode(room));
    let why = json!({ "reason": "Bonjour" });
    ben.post(&knock(&closed), &why)
        .await
        .expect_error(403, "M_FORBIDDEN");
    ben.post(&knock("!unknown:example.org"), &why)
        .await
        .expect_error(404, "M_NOT_FOUND");
    let rules = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = anna
        .create_room(&json!({ "initial_state": rules, "name": "Porte" }))
        .await;
    for _ in 0..2 {
        let knocked = ben.post(&knock(&room), &why).await.expect_ok();
        assert_eq!(knocked["room_id"], *room);
    }
    let member = state(&anna, &room, "m.room.member", &ben.user_id).await;
    assert_eq!(
        (&member["membership"], &member["reason"]),
        (&json!("knock"), &json!("Bonjour"))
    );
    let news = ben.sync(None, Duration::ZERO).await;
    let shown = &news["rooms"]["knock"][&room]["knock_state"]["events"];
    assert!(shown.to_string().contains("Porte"), "{news}");
    anna.post(&knock(&room), &why)
        .await
        .expect_error(403, "M_FORBIDDEN");
    anna.invite(&room, &ben.user_id).await.expect_ok();
    ben.join(&room).await.expect_ok();
    // And one who changes their mind.
    let carla = server.register("carla").await;
    carla.post(&knock(&room), &json!({})).await.expect_ok();
    carla.leave(&room).await.expect_ok();
    carla.join(&room).await.expect_error(403, "M_FORBIDDEN");
}

/// The children that a space names.
async fn children(client: &Client, space: &str) -> Vec<String> {
    let path = format!("rooms/{}/state", encode(space));
    let state = client.get(&path).await.expect_ok();
    let events = state.as_array().unwrap().iter();
    let mut children: Vec<_> = events
        .filter(|event| event["type"] == "m.space.child" && event["content"]["via"].is_array())
        .map(|event| event["state_key"].as_str().unwrap().to_owned())
        .collect();
    children.sort();
    children
}

#[tokio::test]
async fn spaces_name_the_new_room_where_who_replaces_it_may_say_so() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let space = json!({ "creation_content": { "type": "m.space" }, "preset": "public_chat" });
    let mine = anna.create_room(&space).await;
    let foreign = ben.create_room(&space).await;
    let mut closed = space.clone();
    closed["preset"] = json!("private_chat");
    let closed = ben.create_room(&closed).await;
    anna.join(&foreign).await.expect_ok();
    let old = anna.create_room(&json!({ "preset": "public_chat" })).await;
    let other = anna.create_room(&json!({ "preset": "public_chat" })).await;
    let child = json!({ "via": ["example.org"], "order": "a", "suggested": true });
    for (client, space) in [(&anna, &mine), (&ben, &foreign), (&ben, &closed)] {
        for room in [&old, &other] {
            client
                .send_state(space, "m.space.child", room, &child)
                .await
                .expect_ok();
        }
    }
    let parent = json!({ "via": ["example.org"], "canonical": true });
    anna.send_state(&old, "m.space.parent", &mine, &parent)
        .await
        .expect_ok();
    anna.send_state(&old, "m.space.parent", &foreign, &json!({}))
        .await
        .expect_ok();
    let new = replacement(upgrade(&anna, &old, "12").await);
    let mut moved = [new.clone(), other.clone()];
    moved.sort();
    assert_eq!(children(&anna, &mine).await, moved);
    assert_eq!(state(&anna, &mine, "m.space.child", &new).await, child);
    let mut stays = [old, other];
    stays.sort();
    for space in [&foreign, &closed] {
        assert_eq!(children(&ben, space).await, stays);
    }
    assert_eq!(state(&anna, &new, "m.space.parent", &mine).await, parent);
    assert_eq!(
        state(&anna, &new, "m.space.parent", &foreign).await,
        Value::Null
    );

    // A space keeps its children.
    let larger = replacement(upgrade(&anna, &mine, "12").await);
    assert_eq!(children(&anna, &larger).await, moved);
    let create = state(&anna, &larger, "m.room.create", "").await;
    assert_eq!(create["type"], "m.space");
}

#[tokio::test]
async fn who_replaces_a_room_says_who_stands_above_the_levels() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let cleo = server.register("cleo").await;
    let (a, b, c) = (&*anna.user_id, &*ben.user_id, &*cleo.user_id);
    for (from, levels, by, named, left) in [
        ("11", json!({ b: 100 }), &ben, json!([]), json!({})),
        (
            "11",
            json!({ b: 100, c: 100 }),
            &ben,
            json!([]),
            json!({ c: 100 }),
        ),
        ("12", json!({ b: 150 }), &ben, json!([c]), json!({})),
        ("12", json!({ b: 150, c: 50 }), &ben, json!([c]), json!({})),
        (
            "11",
            json!({ a: 100, b: 100, c: 50 }),
            &anna,
            json!([b]),
            json!({ c: 50 }),
        ),
    ] {
        let body = json!({ "room_version": from, "preset": "public_chat" });
        let old = anna.create_room(&body).await;
        ben.join(&old).await.expect_ok();
        cleo.join(&old).await.expect_ok();
        anna.send_state(&old, "m.room.power_levels", "", &json!({ "users": levels }))
            .await
            .expect_ok();
        let path = format!("rooms/{}/upgrade", encode(&old));
        let body = json!({ "new_version": "12", "additional_creators": named });
        let new = replacement(by.post(&path, &body).await);
        let create = state(by, &new, "m.room.create", "").await;
        let creators = create.get("additional_creators").cloned();
        assert_eq!(creators.unwrap_or(json!([])), named);
        let levels = state(by, &new, "m.room.power_levels", "").await;
        assert_eq!(levels["users"], left);
    }
    // Who is above all levels has none, and naming them is a mistake.
    let room = anna.create_room(&json!({})).await;
    anna.send_state(
        &room,
        "m.room.power_levels",
        "",
        &json!({ "users": { a: 100 } }),
    )
    .await
    .expect_error(400, "M_BAD_JSON");
    // Where nobody is above the levels, those who were lead.
    let old = replacement(upgrade(&anna, &room, "10").await);
    let levels = state(&anna, &old, "m.room.power_levels", "").await;
    assert_eq!(levels["users"], json!({ a: 100 }));
}

#[tokio::test]
async fn a_room_that_a_client_makes_in_the_place_of_another_takes_settings_along() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let old = anna.create_room(&json!({ "preset": "public_chat" })).await;
    ben.join(&old).await.expect_ok();
    let rule = |room: &str| format!("pushrules/global/room/{}", encode(room));
    for client in [&anna, &ben] {
        let actions = json!({ "actions": ["dont_notify"] });
        client.put(&rule(&old), &actions).await.expect_ok();
    }
    let new = anna
        .create_room(&json!({
            "preset": "public_chat",
            "creation_content": { "predecessor": { "room_id": old } },
        }))
        .await;
    anna.get(&rule(&new)).await.expect_ok();
    ben.get(&rule(&new)).await.expect_error(404, "M_NOT_FOUND");
    ben.join(&new).await.expect_ok();
    ben.get(&rule(&new)).await.expect_ok();
}

#[tokio::test]
async fn whom_another_room_lets_in_is_let_into_the_new_one() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let space = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } });
    let space = anna.create_room(&space).await;
    for rule in ["restricted", "knock_restricted"] {
        let rules = json!({
            "join_rule": rule,
            "allow": [{ "type": "m.room_membership", "room_id": space }],
        });
        let old = anna
            .create_room(&json!({
                "room_version": "10",
                "initial_state": [
                    { "type": "m.room.join_rules", "content": rules },
                    { "type": "m.space.parent", "state_key": space,
                        "content": { "via": ["example.org"], "canonical": true } },
                ],
            }))
            .await;
        let new = replacement(upgrade(&anna, &old, "12").await);
        assert_eq!(state(&anna, &new, "m.room.join_rules", "").await, rules);
        let parent = state(&anna, &new, "m.space.parent", &space).await;
        assert_eq!(parent["canonical"], true);
        ben.join(&new).await.expect_error(403, "M_FORBIDDEN");
        ben.join(&space).await.expect_ok();
        ben.join(&new).await.expect_ok();
        ben.leave(&space).await.expect_ok();
    }
}

#[tokio::test]
async fn a_knock_is_taken_back_refused_and_accepted() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let cleo = server.register("cleo").await;
    let eve = server.register("eve").await;
    for (version, rule) in [("7", "knock"), ("10", "knock_restricted"), ("12", "knock")] {
        let rules = json!({ "join_rule": rule, "allow": [] });
        let room = anna
            .create_room(&json!({
                "room_version": version,
                "initial_state": [{ "type": "m.room.join_rules", "content": rules }],
            }))
            .await;
        let knock = format!("knock/{}", encode(&room));
        let act = async |what: &str, reason: Option<&str>| {
            let path = format!("rooms/{}/{what}", encode(&room));
            let body = json!({ "user_id": ben.user_id, "reason": reason });
            anna.post(&path, &body).await.expect_ok();
        };
        ben.join(&room).await.expect_error(403, "M_FORBIDDEN");
        let before = ben.sync(None, Duration::ZERO).await["next_batch"].clone();
        ben.post(&knock, &json!({ "reason": "Bonjour" }))
            .await
            .expect_ok();
        let sync = ben.sync(before.as_str(), Duration::ZERO).await;
        assert!(sync["rooms"]["knock"][&room].is_object(), "{sync}");
        // Those in the room see it, with the reason.
        let seen = anna.sync(None, Duration::ZERO).await;
        let events = &seen["rooms"]["join"][&room]["timeline"]["events"];
        let last = events.as_array().unwrap().last().unwrap();
        assert_eq!(last["content"]["membership"], "knock");
        assert_eq!(last["content"]["reason"], "Bonjour");
        // It lets nobody in, and lets nothing be read.
        ben.join(&room).await.expect_error(403, "M_FORBIDDEN");
        let messages = format!("rooms/{}/messages?dir=b", encode(&room));
        ben.get(&messages).await.expect_error(403, "M_FORBIDDEN");

        let since = sync["next_batch"].as_str();
        ben.leave(&room).await.expect_ok();
        let sync = ben.sync(since, Duration::ZERO).await;
        let left = &sync["rooms"]["leave"][&room]["timeline"]["events"];
        assert_eq!(left[0]["content"]["membership"], "leave", "{sync}");
        assert!(sync["rooms"]["knock"][&room].is_null(), "{sync}");

        ben.post(&knock, &json!({})).await.expect_ok();
        act("kick", Some("Non")).await;
        ben.post(&knock, &json!({})).await.expect_ok();
        act("invite", None).await;
        ben.post(&knock, &json!({}))
            .await
            .expect_error(403, "M_FORBIDDEN");
        ben.join(&room).await.expect_ok();
        ben.post(&knock, &json!({}))
            .await
            .expect_error(403, "M_FORBIDDEN");
        act("ban", None).await;
        ben.post(&knock, &json!({}))
            .await
            .expect_error(403, "M_FORBIDDEN");
        // Members who may not invite do not answer a knock.
        cleo.post(&knock, &json!({})).await.expect_ok();
        let path = format!("rooms/{}/invite", encode(&room));
        eve.post(&path, &json!({ "user_id": cleo.user_id }))
            .await
            .expect_error(403, "M_FORBIDDEN");
        server
            .client()
            .post(&knock, &json!({}))
            .await
            .expect_error(401, "M_MISSING_TOKEN");
    }
}
