//! Making rooms (specification v1.19, client-server API, "Creation").

use std::{collections::BTreeSet, sync::Arc};

use chappe::clock::ManualClock;
use serde_json::{Value, json};

use crate::harness::{
    client::{Client, encode},
    server::{TestOptions, TestServer},
};

/// A state event's content; `Null` where there is none.
pub(super) async fn state(client: &Client, room_id: &str, kind: &str, key: &str) -> Value {
    let path = format!("rooms/{}/state/{kind}/{}", encode(room_id), encode(key));
    let answer = client.get(&path).await;
    if answer.status == 404 {
        return Value::Null;
    }
    answer.expect_ok()
}

#[tokio::test]
async fn presets_decide_who_joins_and_who_sees() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    for (preset, join_rule, guests) in [
        ("private_chat", "invite", "can_join"),
        ("trusted_private_chat", "invite", "can_join"),
        ("public_chat", "public", "forbidden"),
    ] {
        let room = alice.create_room(&json!({ "preset": preset })).await;
        let rules = state(&alice, &room, "m.room.join_rules", "").await;
        assert_eq!(rules["join_rule"], join_rule, "{preset}");
        let history = state(&alice, &room, "m.room.history_visibility", "").await;
        assert_eq!(history["history_visibility"], "shared", "{preset}");
        let access = state(&alice, &room, "m.room.guest_access", "").await;
        assert_eq!(access["guest_access"], guests, "{preset}");
    }
}

#[tokio::test]
async fn rooms_of_every_version_are_made_and_used() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    for version in 1..=12 {
        let room = alice
            .create_room(&json!({
                "room_version": version.to_string(),
                "preset": "trusted_private_chat",
                "name": "Salon",
                "topic": "Tout",
                "invite": [bob.user_id],
            }))
            .await;
        let create = state(&alice, &room, "m.room.create", "").await;
        assert_eq!(create["room_version"], version.to_string());
        assert_eq!(room.contains(':'), version < 12, "{room}");
        assert_eq!(create.get("creator").is_some(), version < 11, "{create}");
        let levels = state(&alice, &room, "m.room.power_levels", "").await;
        if version < 12 {
            assert_eq!(levels["users"][&bob.user_id], 100, "version {version}");
        } else {
            assert_eq!(levels["users"], json!({}));
            assert_eq!(create["additional_creators"], json!([bob.user_id]));
        }
        bob.join(&room).await.expect_ok();
        let event_id = bob.send(&room, "Bonjour").await;
        let redact = format!(
            "rooms/{}/redact/{}/{}",
            encode(&room),
            encode(&event_id),
            alice.transaction_id()
        );
        alice.put(&redact, &json!({})).await.expect_ok();
        let name = json!({ "name": "Autre" });
        bob.send_state(&room, "m.room.name", "", &name)
            .await
            .expect_ok();
        let name = state(&alice, &room, "m.room.name", "").await;
        assert_eq!(name["name"], "Autre", "version {version}");
    }
    alice
        .post("createRoom", &json!({ "room_version": "99" }))
        .await
        .expect_error(400, "M_UNSUPPORTED_ROOM_VERSION");
}

#[tokio::test]
async fn what_is_asked_for_goes_before_the_preset() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let room = alice
        .create_room(&json!({
            "preset": "private_chat",
            "room_version": "11",
            "name": "Salon",
            "topic": "Thème",
            "creation_content": { "type": "m.space", "room_version": "1", "m.federate": false },
            "power_level_content_override": { "events_default": 10 },
            "initial_state": [
                { "type": "m.room.name", "content": { "name": "Autre" } },
                {
                    "type": "m.room.history_visibility",
                    "content": { "history_visibility": "joined" },
                },
                { "type": "org.example.own", "state_key": "a", "content": { "b": 1 } },
            ],
        }))
        .await;
    let create = state(&alice, &room, "m.room.create", "").await;
    assert_eq!(
        create,
        json!({ "type": "m.space", "room_version": "11", "m.federate": false })
    );
    assert_eq!(
        state(&alice, &room, "m.room.name", "").await,
        json!({ "name": "Salon" })
    );
    let topic = state(&alice, &room, "m.room.topic", "").await;
    assert_eq!(topic["topic"], "Thème");
    assert_eq!(topic["m.topic"]["m.text"][0]["body"], "Thème");
    let history = state(&alice, &room, "m.room.history_visibility", "").await;
    assert_eq!(history["history_visibility"], "joined");
    let levels = state(&alice, &room, "m.room.power_levels", "").await;
    assert_eq!(levels["events_default"], 10);
    assert_eq!(levels["users"], json!({ &alice.user_id: 100 }));
    let own = state(&alice, &room, "org.example.own", "a").await;
    assert_eq!(own, json!({ "b": 1 }));
}

#[tokio::test]
async fn members_show_their_profiles_from_the_beginning() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    for client in [&alice, &bob] {
        let path = format!("profile/{}/displayname", encode(&client.user_id));
        let name = json!({ "displayname": format!("Dr {}", client.user_id) });
        client.put(&path, &name).await.expect_ok();
    }
    let body = json!({ "invite": [bob.user_id], "is_direct": true });
    let room = alice.create_room(&body).await;
    let member = |user_id: String| {
        let (alice, room) = (&alice, &room);
        async move { state(alice, room, "m.room.member", &user_id).await }
    };
    let joined = member(alice.user_id.clone()).await;
    assert_eq!(joined["membership"], "join");
    assert_eq!(joined["displayname"], format!("Dr {}", alice.user_id));
    assert_eq!(joined.get("is_direct"), None);
    let invited = member(bob.user_id.clone()).await;
    assert_eq!(invited["membership"], "invite");
    assert_eq!(invited["displayname"], format!("Dr {}", bob.user_id));
    assert_eq!(invited["is_direct"], true);
}

#[tokio::test]
async fn a_taken_alias_makes_no_room() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let body = json!({ "room_alias_name": "salon", "visibility": "public" });
    let room = alice.create_room(&body).await;
    let alias = state(&alice, &room, "m.room.canonical_alias", "").await;
    assert_eq!(alias, json!({ "alias": "#salon:example.org" }));
    alice
        .post("createRoom", &body)
        .await
        .expect_error(400, "M_ROOM_IN_USE");
    let rooms = alice.get("joined_rooms").await.expect_ok();
    assert_eq!(rooms["joined_rooms"], json!([room]));
    let listed = alice.get("publicRooms").await.expect_ok();
    assert_eq!(listed["total_room_count_estimate"], 1);
    for name in ["", "a b", "a:b"] {
        alice
            .post("createRoom", &json!({ "room_alias_name": name }))
            .await
            .expect_error(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn a_room_that_its_own_rules_refuse_is_not_made() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    for (body, errcode) in [
        (
            json!({ "name": "x", "power_level_content_override": {
                "users": { &alice.user_id: 1 },
            }, "room_version": "11" }),
            "M_INVALID_ROOM_STATE",
        ),
        (
            json!({ "power_level_content_override": { "users": { &alice.user_id: 100 } } }),
            "M_INVALID_ROOM_STATE",
        ),
        (
            json!({ "power_level_content_override": { "users": { &alice.user_id: "100" } } }),
            "M_BAD_JSON",
        ),
        (json!({ "preset": "own_chat" }), "M_INVALID_PARAM"),
        (
            json!({ "invite_3pid": [{
                "id_server": "example.org",
                "id_access_token": "x",
                "medium": "email",
                "address": "bob@@example.org",
            }] }),
            "M_INVALID_PARAM",
        ),
    ] {
        let answer = alice.post("createRoom", &body).await;
        answer.expect_error(400, errcode);
    }
    alice
        .post("createRoom", &json!({ "invite": ["@bob:elsewhere.org"] }))
        .await
        .expect_error(404, "M_NOT_FOUND");
    let rooms = alice.get("joined_rooms").await.expect_ok();
    assert_eq!(rooms["joined_rooms"], json!([]));
}

#[tokio::test]
async fn rooms_that_are_made_in_one_millisecond_are_different_rooms() {
    let clock = Arc::new(ManualClock::new(1_790_000_000_000));
    let server = TestServer::start(TestOptions {
        clock: Some(clock),
        ..TestOptions::default()
    })
    .await;
    let alice = server.register("alice").await;
    let mut rooms = BTreeSet::new();
    for _ in 0..5 {
        rooms.insert(alice.create_room(&json!({})).await);
    }
    assert_eq!(rooms.len(), 5);
}
