//! The last administrator of a room leaves (tchap.md, 10.3).

use serde_json::{Value, json};

use super::{LEVELS, agent, guest, open, private, public, set, state, tchap};
use crate::harness::client::Client;

async fn levels(client: &Client, room: &str) -> Value {
    state(client, room, LEVELS).await
}

/// Invites somebody, who joins.
async fn bring(host: &Client, room: &str, member: &Client) {
    host.invite(room, &member.user_id).await.expect_ok();
    member.join(room).await.expect_ok();
}

#[tokio::test]
async fn la_01_la_02_la_06_r_16_r_22_a_private_room_is_not_left_without_a_lead() {
    let server = tchap().await;
    let (anna, ben) = (agent(&server, "anna").await, agent(&server, "ben").await);
    let carla = agent(&server, "carla").await;
    let room = anna.create_room(&private()).await;
    bring(&anna, &room, &ben).await;
    anna.leave(&room).await.expect_ok();
    assert_eq!(levels(&ben, &room).await["users_default"], 100);
    // Ben leads now, and everybody who comes.
    bring(&ben, &room, &carla).await;
    let before = levels(&carla, &room).await;
    ben.leave(&room).await.expect_ok();
    assert_eq!(levels(&carla, &room).await, before);
    carla.leave(&room).await.expect_ok();
    // Leaving again does no harm.
    carla.leave(&room).await.expect_ok();
    // Nobody else is there.
    let alone = anna.create_room(&private()).await;
    anna.leave(&alone).await.expect_ok();
}

#[tokio::test]
async fn la_03_la_04_la_05_agents_and_no_guests_follow() {
    let server = tchap().await;
    let (anna, ben) = (agent(&server, "anna").await, agent(&server, "ben").await);
    let (carla, gil) = (agent(&server, "carla").await, guest(&server, "gil").await);
    let room = anna.create_room(&open()).await;
    for member in [&ben, &carla, &gil] {
        bring(&anna, &room, member).await;
    }
    anna.leave(&room).await.expect_ok();
    let now = levels(&ben, &room).await;
    assert_eq!(now["users_default"], 0);
    assert_eq!(now["users"][&ben.user_id], 100);
    assert_eq!(now["users"][&carla.user_id], 100);
    assert_eq!(now["users"][&gil.user_id], Value::Null);

    let moderated = anna.create_room(&open()).await;
    for member in [&ben, &carla, &gil] {
        bring(&anna, &moderated, member).await;
    }
    let mut now = levels(&anna, &moderated).await;
    if now["users"].is_null() {
        now["users"] = json!({});
    }
    now["users"][&ben.user_id] = json!(50);
    set(&anna, &moderated, LEVELS, now).await.expect_ok();
    anna.leave(&moderated).await.expect_ok();
    let now = levels(&ben, &moderated).await;
    assert_eq!(now["users"][&ben.user_id], 100);
    assert_eq!(now["users"][&carla.user_id], Value::Null);
}

#[tokio::test]
async fn la_09_a_public_room_is_led_by_those_who_are_there() {
    let server = tchap().await;
    let (anna, ben) = (agent(&server, "anna").await, agent(&server, "ben").await);
    let carla = agent(&server, "carla").await;
    let room = anna.create_room(&public()).await;
    ben.join(&room).await.expect_ok();
    anna.leave(&room).await.expect_ok();
    carla.join(&room).await.expect_ok();
    let now = levels(&carla, &room).await;
    assert_eq!(now["users"][&ben.user_id], 100);
    assert_eq!(now["users_default"], 0);
    assert_eq!(now["users"][&carla.user_id], Value::Null);
}
