//! The directory of public rooms (tchap.md, 3 and 4.9).

use serde_json::json;

use super::{agent, denied, guest, open, private, public, publish, tchap};

#[tokio::test]
async fn dir_01_dir_03_dir_04_dir_05_only_forums_are_published() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let forum = marie.create_room(&public()).await;
    publish(&marie, &forum, "private").await.expect_ok();
    publish(&marie, &forum, "public").await.expect_ok();
    let room = marie.create_room(&private()).await;
    denied(
        publish(&marie, &room, "public").await,
        "room_not_publishable",
    );
    let room = marie.create_room(&open()).await;
    denied(
        publish(&marie, &room, "public").await,
        "public_room_excludes_externals",
    );
    publish(&marie, &room, "private").await.expect_ok();
    let listed = marie.get("publicRooms").await.expect_ok();
    assert_eq!(listed["chunk"][0]["room_id"], forum);
    assert_eq!(listed["total_room_count_estimate"], 1);
}

#[tokio::test]
async fn ro_09_guests_see_an_empty_directory_and_strangers_none() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let eve = guest(&server, "eve").await;
    marie.create_room(&public()).await;
    let nobody = server.client().get("publicRooms").await;
    nobody.expect_error(401, "M_MISSING_TOKEN");
    for (client, count) in [(&marie, 1), (&eve, 0)] {
        let listed = client.get("publicRooms").await.expect_ok();
        assert_eq!(listed["chunk"].as_array().unwrap().len(), count);
    }
    for (client, count) in [(&marie, 1), (&eve, 0)] {
        let filter = json!({ "filter": { "generic_search_term": "Forum" } });
        let found = client.post("publicRooms", &filter).await.expect_ok();
        assert_eq!(found["chunk"].as_array().unwrap().len(), count);
    }
}
