//! Direct chats (tchap.md, 4.7 and 4.9).

use serde_json::{Value, json};

use super::{agent, denied, guest, moderate, publish, set, tchap};
use crate::harness::client::Client;

/// A chat of two, who both lead it.
async fn chat(host: &Client, other: &Client) -> String {
    let body = json!({
        "is_direct": true,
        "preset": "trusted_private_chat",
        "invite": [other.user_id],
        "room_version": "11",
    });
    let room = host.create_room(&body).await;
    other.join(&room).await.expect_ok();
    room
}

#[tokio::test]
async fn md_01_md_08_md_11_a_chat_is_for_two() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    let eve = guest(&server, "eve").await;
    let room = chat(&marie, &eve).await;
    eve.send(&room, "Bonjour").await;
    for host in [&marie, &eve] {
        denied(host.invite(&room, &paul.user_id).await, "room_is_direct");
    }
    denied(
        moderate(&marie, &room, "ban", &paul).await,
        "room_is_direct",
    );
    // The two leave and come back.
    eve.leave(&room).await.expect_ok();
    denied(marie.invite(&room, &paul.user_id).await, "room_is_direct");
    marie.invite(&room, &eve.user_id).await.expect_ok();
    eve.join(&room).await.expect_ok();
    marie.leave(&room).await.expect_ok();
    eve.invite(&room, &marie.user_id).await.expect_ok();
    marie.join(&room).await.expect_ok();
}

#[tokio::test]
async fn md_14_a_rejected_invite_counts() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let (paul, luc) = (agent(&server, "paul").await, agent(&server, "luc").await);
    let body = json!({ "is_direct": true, "invite": [paul.user_id] });
    let room = marie.create_room(&body).await;
    paul.leave(&room).await.expect_ok();
    denied(marie.invite(&room, &luc.user_id).await, "room_is_direct");
}

#[tokio::test]
async fn md_02_md_03_md_04_one_address_at_a_time_is_invited() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    let room = marie.create_room(&json!({ "is_direct": true })).await;
    let send = |token: &'static str, content: Value| {
        let (marie, room) = (&marie, &room);
        async move {
            let kind = "m.room.third_party_invite";
            marie.send_state(room, kind, token, &content).await
        }
    };
    let invite = json!({
        "display_name": "e…@s…",
        "key_validity_url": "https://example.org/valid",
        "public_key": "AAAA",
    });
    send("a", invite.clone()).await.expect_ok();
    denied(send("b", invite.clone()).await, "room_is_direct");
    denied(marie.invite(&room, &paul.user_id).await, "room_is_direct");
    send("a", json!({})).await.expect_ok();
    send("b", invite).await.expect_ok();
}

#[tokio::test]
async fn nm_01_md_12_dir_02_a_chat_has_no_name_and_is_not_listed() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    let room = chat(&marie, &paul).await;
    for (kind, content) in [
        ("m.room.name", json!({ "name": "Nous" })),
        ("m.room.topic", json!({ "topic": "Nous" })),
        ("m.room.avatar", json!({ "url": "mxc://example.org/nous" })),
    ] {
        denied(set(&marie, &room, kind, content).await, "room_is_direct");
    }
    denied(publish(&marie, &room, "public").await, "room_is_direct");
    publish(&marie, &room, "private").await.expect_ok();
}
