//! What `[policy.restrictions]` adds (tchap.md, 3, DRC rows).

use serde_json::json;

use super::{agent, bring_in, denied, joined_rooms, person, private, public, tchap, tchap_with};
use crate::harness::client::encode;

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

#[tokio::test]
async fn r_08_an_administrator_of_the_server_reads_no_room_of_others() {
    let server = tchap().await;
    let anna = agent(&server, "anna").await;
    let root = person(&server, "root", "gouv.example", true).await;
    let room = anna.create_room(&private()).await;
    let event = anna.send(&room, "Confidentiel").await;
    let room = encode(&room);
    for path in [
        "messages?dir=b".to_owned(),
        "state".to_owned(),
        "members".to_owned(),
        "joined_members".to_owned(),
        format!("event/{}", encode(&event)),
        format!("context/{}", encode(&event)),
    ] {
        let answer = root.get(&format!("rooms/{room}/{path}")).await;
        assert!(
            matches!(answer.status, 403 | 404),
            "{path}: {}",
            answer.text
        );
        assert!(
            !answer.text.contains("Confidentiel"),
            "{path}: {}",
            answer.text
        );
    }
    root.post(&format!("rooms/{room}/join"), &json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    // Nor are there the calls by which administrators of other servers read rooms, or go into them.
    for path in [
        format!("/_synapse/admin/v1/rooms/{room}/messages?dir=b"),
        format!("/_synapse/admin/v1/rooms/{room}/state"),
        format!("/_synapse/admin/v1/rooms/{room}/context/{}", encode(&event)),
        format!("/_synapse/admin/v1/rooms/{room}/members"),
    ] {
        root.get(&path).await.expect_error(404, "M_UNRECOGNIZED");
    }
    for path in [
        format!("/_synapse/admin/v1/join/{room}"),
        format!("/_synapse/admin/v1/rooms/{room}/make_room_admin"),
        format!("/_synapse/admin/v1/users/{}/login", encode(&anna.user_id)),
    ] {
        root.post(&path, &json!({}))
            .await
            .expect_error(404, "M_UNRECOGNIZED");
    }
}

#[tokio::test]
async fn rl_08_no_room_stands_for_the_directory() {
    let server = tchap().await;
    let (anna, ben) = (agent(&server, "anna").await, agent(&server, "ben").await);
    let search = json!({ "search_term": "ben" });
    let found = anna
        .post("user_directory/search", &search)
        .await
        .expect_ok();
    assert_eq!(found["results"][0]["user_id"], ben.user_id.as_str());
    for client in [&anna, &ben] {
        let sync = client.sync(None, std::time::Duration::ZERO).await;
        assert!(sync["rooms"].is_null(), "{sync}");
        assert_eq!(joined_rooms(client).await, json!([]));
    }
}

#[tokio::test]
async fn r_24_an_administrator_gives_people_another_name_and_another_address() {
    let server = tchap().await;
    let anna = agent(&server, "anna").await;
    let root = person(&server, "root", "gouv.example", true).await;
    let path = format!("/_synapse/admin/v2/users/{}", encode(&anna.user_id));
    let change = json!({
        "displayname": "Anna Durand",
        "threepids": [{ "medium": "email", "address": "anna.durand@gouv.example" }],
    });
    anna.put(&path, &change)
        .await
        .expect_error(403, "M_FORBIDDEN");
    // Not one that could not register here.
    let elsewhere = json!({
        "threepids": [{ "medium": "email", "address": "anna@nowhere.example" }],
    });
    root.put(&path, &elsewhere)
        .await
        .expect_error(403, "M_THREEPID_DENIED");
    root.put(&path, &change).await.expect_ok();
    let profile = format!("profile/{}/displayname", encode(&anna.user_id));
    let name = anna.get(&profile).await.expect_ok();
    assert_eq!(name["displayname"], "Anna Durand");
    let threepids = anna.get("account/3pid").await.expect_ok();
    assert_eq!(
        threepids["threepids"][0]["address"],
        "anna.durand@gouv.example"
    );
    assert_eq!(threepids["threepids"].as_array().unwrap().len(), 1);
}
