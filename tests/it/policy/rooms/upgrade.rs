//! Rooms that are replaced by those of another version (tchap.md, 4.11).

use serde_json::{Value, json};

use super::{ACCESS, agent, denied, guest, open, public, set, state, tchap, with_access};
use crate::harness::client::{Client, encode};

async fn upgrade(client: &Client, room: &str, version: &str) -> String {
    let path = format!("rooms/{}/upgrade", encode(room));
    let answer = client.post(&path, &json!({ "new_version": version })).await;
    let new = answer.expect_ok()["replacement_room"].clone();
    new.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn up_01_the_access_rules_move_as_they_are() {
    let server = tchap().await;
    let anna = agent(&server, "anna").await;
    let access = json!({
        "rule": "restricted",
        "visibility": "private",
        "force_unencrypted_at_creation": true,
    });
    let mut body = with_access(json!({ "preset": "private_chat" }), access);
    body["room_version"] = json!("1");
    let old = anna.create_room(&body).await;
    let open = json!({
        "rule": "unrestricted",
        "visibility": "private",
        "force_unencrypted_at_creation": true,
    });
    set(&anna, &old, ACCESS, open.clone()).await.expect_ok();
    for version in ["9", "12"] {
        let new = upgrade(&anna, &old, version).await;
        assert_eq!(state(&anna, &new, ACCESS).await, open);
        assert_eq!(state(&anna, &new, "m.room.encryption").await, Value::Null);
    }
}

#[tokio::test]
async fn up_02_a_public_room_stays_public_and_keeps_its_name_and_place() {
    let server = tchap().await;
    let (anna, ben) = (agent(&server, "anna").await, agent(&server, "ben").await);
    let mut body = public();
    body["room_alias_name"] = json!("forum");
    let old = anna.create_room(&body).await;
    let new = upgrade(&anna, &old, "11").await;
    for kind in [ACCESS, "m.room.retention", "m.room.join_rules"] {
        let content = state(&anna, &new, kind).await;
        assert_eq!(content, state(&anna, &old, kind).await, "{kind}");
        assert_ne!(content, Value::Null, "{kind}");
    }
    let joined = ben.join("#forum:example.org").await.expect_ok();
    assert_eq!(joined["room_id"], *new);
    let listed = ben.post("publicRooms", &json!({})).await.expect_ok();
    let rooms = listed["chunk"].as_array().unwrap().iter();
    let rooms: Vec<_> = rooms.map(|room| &room["room_id"]).collect();
    assert_eq!(rooms, [&json!(new)]);
}

#[tokio::test]
async fn ro_02_ro_11_guests_replace_no_room_and_lead_no_new_one() {
    let server = tchap().await;
    let anna = agent(&server, "anna").await;
    let eve = guest(&server, "eve").await;
    let direct = json!({
        "is_direct": true,
        "preset": "trusted_private_chat",
        "invite": [eve.user_id],
        "room_version": "11",
    });
    let chat = anna.create_room(&direct).await;
    eve.join(&chat).await.expect_ok();
    let path = |room: &str| format!("rooms/{}/upgrade", encode(room));
    let version = json!({ "new_version": "12" });
    denied(eve.post(&path(&chat), &version).await, "external_user");

    let mut body = open();
    body["room_version"] = json!("11");
    let old = anna.create_room(&body).await;
    let with_eve = json!({ "new_version": "12", "additional_creators": [eve.user_id] });
    let answer = anna.post(&path(&old), &with_eve).await;
    denied(answer, "external_power_level");
    upgrade(&anna, &old, "12").await;
}
