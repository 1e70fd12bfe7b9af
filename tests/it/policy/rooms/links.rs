//! The private room by link (tchap.md, 4.6).

use serde_json::{Value, json};

use super::{agent, bring_in, denied, guest, open, private, publish, set, tchap};
use crate::harness::client::{Client, encode};

const JOIN_RULES: &str = "m.room.join_rules";

/// What clients do to make a link: close the room to guests without account, give it an alias, let
/// everybody join who has it.
async fn make_link(host: &Client, room: &str, alias: &str) {
    let guests = json!({ "guest_access": "forbidden" });
    set(host, room, "m.room.guest_access", guests)
        .await
        .expect_ok();
    let path = format!("directory/room/{}", encode(alias));
    host.put(&path, &json!({ "room_id": room }))
        .await
        .expect_ok();
    let canonical = json!({ "alias": alias });
    set(host, room, "m.room.canonical_alias", canonical)
        .await
        .expect_ok();
    let public = json!({ "join_rule": "public" });
    set(host, room, JOIN_RULES, public).await.expect_ok();
}

fn texts(messages: &Value) -> Vec<&str> {
    let events = messages["chunk"].as_array().unwrap().iter();
    let texts = events.filter_map(|event| event["content"]["body"].as_str());
    texts.collect()
}

#[tokio::test]
async fn lk2_01_lk2_03_lk2_07_lk2_08_lk2_09_r_20_agents_join_by_the_link_until_it_is_switched_off()
{
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let (paul, luc) = (agent(&server, "paul").await, agent(&server, "luc").await);
    let eve = guest(&server, "eve").await;
    let room = marie.create_room(&private()).await;
    marie.send(&room, "avant le lien").await;
    let alias = "#bureau:example.org";
    make_link(&marie, &room, alias).await;

    // It is in no list, and cannot be put there.
    for client in [&marie, &paul] {
        let listed = client.get("publicRooms").await.expect_ok();
        assert_eq!(listed["chunk"], json!([]));
    }
    denied(
        publish(&marie, &room, "public").await,
        "room_not_publishable",
    );

    // An agent joins, and reads from there on.
    paul.join(alias).await.expect_ok();
    marie.send(&room, "bienvenue").await;
    let messages = paul.messages(&room, "&limit=50").await;
    assert_eq!(texts(&messages), ["bienvenue"]);

    // A guest does not, by the alias or by the id, and learns why.
    denied(eve.join(alias).await, "external_user");
    denied(eve.join(&room).await, "external_user");

    // Off again: who is in stays, nobody else comes.
    let invite = json!({ "join_rule": "invite" });
    set(&marie, &room, JOIN_RULES, invite).await.expect_ok();
    luc.join(alias).await.expect_error(403, "M_FORBIDDEN");
    paul.send(&room, "toujours là").await;
    bring_in(&marie, &room, &luc).await;
}

#[tokio::test]
async fn lk2_04_a_guest_needs_an_invite_where_agents_need_the_link() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    let eve = guest(&server, "eve").await;
    let room = marie.create_room(&open()).await;
    let alias = "#ouvert:example.org";
    make_link(&marie, &room, alias).await;
    denied(eve.join(alias).await, "external_user");
    paul.join(alias).await.expect_ok();
    bring_in(&marie, &room, &eve).await;
}

#[tokio::test]
async fn lk2_06_nobody_comes_without_an_account() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let room = marie.create_room(&private()).await;
    make_link(&marie, &room, "#bureau:example.org").await;
    let guests = json!({ "guest_access": "can_join" });
    denied(
        set(&marie, &room, "m.room.guest_access", guests).await,
        "guests_not_allowed",
    );
    let visitor = server.client();
    let registered = visitor.post("register?kind=guest", &json!({})).await;
    assert_eq!(registered.status, 403, "{}", registered.text);
}

#[tokio::test]
async fn lk2_10_neither_a_forum_nor_a_direct_chat_has_a_link() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let forum = marie.create_room(&super::public()).await;
    let invite = json!({ "join_rule": "invite" });
    denied(
        set(&marie, &forum, JOIN_RULES, invite).await,
        "room_is_public",
    );
    let chat = marie.create_room(&json!({ "is_direct": true })).await;
    let public = json!({ "join_rule": "public" });
    denied(
        set(&marie, &chat, JOIN_RULES, public).await,
        "room_is_direct",
    );
}
