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
