//! What `[policy.restrictions]` adds (tchap.md, 3, DRC rows).

use serde_json::json;

use super::{agent, bring_in, denied, private, public, tchap_with};

#[tokio::test]
async fn drc_04_drc_05_drc_06_rooms_are_joined_by_invite_and_by_their_creator() {
    let server = tchap_with("[policy.restrictions]\njoin_by_invite_only = true").await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    let forum = marie.create_room(&public()).await;
    denied(paul.join(&forum).await, "invite_required");
    bring_in(&marie, &forum, &paul).await;
}

#[tokio::test]
async fn drc_07_drc_08_r_31_people_are_invited_along_and_not_later() {
    let server = tchap_with("[policy.restrictions]\ninvite_at_creation_only = true").await;
    let marie = agent(&server, "marie").await;
    let (paul, luc) = (agent(&server, "paul").await, agent(&server, "luc").await);
    let body = json!({ "preset": "private_chat", "invite": [paul.user_id] });
    let room = marie.create_room(&body).await;
    paul.join(&room).await.expect_ok();
    denied(
        marie.invite(&room, &luc.user_id).await,
        "invites_restricted",
    );
}

#[tokio::test]
async fn drc_10_drc_11_some_are_not_invited_to_what_is_listed() {
    let more = "[policy.restrictions]\nunpublished_only_servers = [\"example.org\"]";
    let server = tchap_with(more).await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    let forum = marie.create_room(&public()).await;
    denied(
        marie.invite(&forum, &paul.user_id).await,
        "invites_restricted",
    );
    let room = marie.create_room(&private()).await;
    marie.invite(&room, &paul.user_id).await.expect_ok();
}

#[tokio::test]
async fn drc_12_only_chats_of_two_are_made() {
    let server = tchap_with("[policy.restrictions]\ncreate_one_to_one_only = true").await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    denied(
        marie.post("createRoom", &private()).await,
        "creation_restricted",
    );
    let body = json!({ "is_direct": true, "invite": [paul.user_id] });
    marie.create_room(&body).await;
}
