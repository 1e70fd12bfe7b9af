//! Rooms in which state has owners (MSC3757).

use serde_json::{Value, json};

use crate::harness::{
    client::{Client, encode},
    server::TestServer,
};

const TYPE: &str = "org.example.own";

async fn set(client: &Client, room_id: &str, state_key: &str) -> crate::harness::client::Answer {
    let (room_id, state_key) = (encode(room_id), encode(state_key));
    let path = format!("rooms/{room_id}/state/{TYPE}/{state_key}");
    client.put(&path, &json!({ "by": client.user_id })).await
}

#[tokio::test]
async fn state_of_a_user_is_set_by_them_and_by_whoever_stands_above_them() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let (ben, carl) = (server.register("ben").await, server.register("carl").await);
    let answer = anna.get("capabilities").await.expect_ok();
    let available = &answer["capabilities"]["m.room_versions"]["available"];
    assert_eq!(available["12"], "stable");
    for version in ["org.matrix.msc3757.10", "org.matrix.msc3757.11"] {
        assert_eq!(available[version], "unstable");
        let room = json!({
            "preset": "public_chat", "room_version": version,
            "power_level_content_override": { "events": { TYPE: 0 } },
        });
        let room_id = anna.create_room(&room).await;
        for client in [&ben, &carl] {
            client.join(&room_id).await.expect_ok();
        }
        // Longer than any state key elsewhere.
        let own = format!("{}_{}", ben.user_id, "x".repeat(255));
        for state_key in [&ben.user_id, &own] {
            set(&ben, &room_id, state_key).await.expect_ok();
            let refused = set(&carl, &room_id, state_key).await;
            refused.expect_error(403, "M_FORBIDDEN");
        }
        set(&anna, &room_id, &own).await.expect_ok();
        let path = format!("rooms/{}/state/{TYPE}/{}", encode(&room_id), encode(&own));
        let found: Value = ben.get(&path).await.expect_ok();
        assert_eq!(found["by"], *anna.user_id);
        let bad = set(&anna, &room_id, "@oops").await;
        bad.expect_error(400, "M_BAD_JSON");
        let longer = set(&ben, &room_id, &format!("{own}x")).await;
        longer.expect_error(413, "M_TOO_LARGE");
    }
    let room = json!({ "room_version": "org.matrix.msc3757.12" });
    let unknown = anna.post("createRoom", &room).await;
    unknown.expect_error(400, "M_UNSUPPORTED_ROOM_VERSION");
    // Another process has the rooms as they are, and rooms are upgraded to these versions.
    let sibling = server.sibling().await;
    let there = anna.at(&sibling.url);
    let room_id = there.create_room(&json!({ "room_version": "11" })).await;
    let path = format!("rooms/{}/upgrade", encode(&room_id));
    let version = json!({ "new_version": "org.matrix.msc3757.11" });
    let upgraded = there.post(&path, &version).await.expect_ok();
    let replacement = upgraded["replacement_room"].as_str().unwrap();
    let own = format!("{}_1", anna.user_id);
    set(&anna, replacement, &own).await.expect_ok();
}
