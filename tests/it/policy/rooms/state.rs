//! Encryption, history and retention of rooms that are there (tchap.md, 4.9, 4.10).

use serde_json::{Value, json};

use super::{ACCESS, agent, denied, invalid, private, public, set, state, tchap, with_access};
use crate::harness::client::{Client, encode};

const ENCRYPTION: &str = "m.room.encryption";
const RETENTION: &str = "m.room.retention";

async fn encrypt(client: &Client, room: &str) -> crate::harness::client::Answer {
    let content = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    set(client, room, ENCRYPTION, content).await
}

#[tokio::test]
async fn en_01_en_02_cr_16_forums_and_rooms_without_encryption_stay_so() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let forum = marie.create_room(&public()).await;
    denied(encrypt(&marie, &forum).await, "encryption_not_allowed");
    let access = json!({ "rule": "restricted", "force_unencrypted_at_creation": true });
    let plain = marie.create_room(&with_access(private(), access)).await;
    assert_eq!(state(&marie, &plain, ENCRYPTION).await, Value::Null);
    denied(encrypt(&marie, &plain).await, "encryption_not_allowed");
    // AR-21, AR-22: opening it takes the choice along.
    let opened = json!({ "rule": "unrestricted" });
    denied(
        set(&marie, &plain, ACCESS, opened).await,
        "encryption_choice_fixed",
    );
    let opened = json!({ "rule": "unrestricted", "force_unencrypted_at_creation": true });
    set(&marie, &plain, ACCESS, opened).await.expect_ok();
}

#[tokio::test]
async fn hv_01_no_history_is_readable_by_everybody() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let kind = "m.room.history_visibility";
    let world = json!({ "history_visibility": "world_readable" });
    let mut body = public();
    body["initial_state"] = json!([{ "type": kind, "state_key": "", "content": world }]);
    let forum = marie.create_room(&body).await;
    assert_eq!(
        state(&marie, &forum, kind).await["history_visibility"],
        "shared"
    );
    denied(
        set(&marie, &forum, kind, world).await,
        "history_not_world_readable",
    );
}

#[tokio::test]
async fn rt_01_rt_02_rt_03_rt_04_rt_05_forums_keep_messages_for_three_months_at_most() {
    const DAY_MS: i64 = 86_400_000;
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let forum = marie.create_room(&public()).await;
    let days = |days: i64| json!({ "max_lifetime": days * DAY_MS });
    assert_eq!(state(&marie, &forum, RETENTION).await, days(90));
    let mut longer = public();
    longer["initial_state"] = json!([{ "type": RETENTION, "state_key": "", "content": days(120) }]);
    invalid(
        marie.post("createRoom", &longer).await,
        "retention_too_long",
    );
    denied(
        set(&marie, &forum, RETENTION, days(120)).await,
        "retention_too_long",
    );
    denied(
        set(&marie, &forum, RETENTION, json!({})).await,
        "retention_too_long",
    );
    let answer = set(&marie, &forum, RETENTION, days(60)).await.expect_ok();
    let event_id = answer["event_id"].as_str().unwrap();
    let path = format!("rooms/{}/redact/{}/r1", encode(&forum), encode(event_id));
    denied(marie.put(&path, &json!({})).await, "event_protected");
    assert_eq!(state(&marie, &forum, RETENTION).await, days(60));
}
