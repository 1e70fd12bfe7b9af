//! What administrators do with media, pictures of people, and what goes with old messages.

use std::{sync::Arc, time::Duration};

use chappe::clock::ManualClock;
use serde_json::json;

use super::{
    images::{png, thumbnail},
    *,
};
use crate::harness::{process::until, server::SMALL_POOL};

#[tokio::test]
async fn what_is_withdrawn_cannot_be_had_under_any_name_until_it_is_given_back() {
    let server = server("").await;
    let (anna, admin) = (
        server.register("anna").await,
        server.register_admin("admin").await,
    );
    let first = upload(&anna, "text/plain", b"bad").await;
    let second = upload(&anna, "text/plain", b"bad").await;
    let good = upload(&anna, "text/plain", b"good").await;
    let act = async |client: &Client, what: &str, path: &str| {
        let path = format!("/_synapse/admin/v1/media/{what}/{path}");
        client.post(&path, &json!({})).await
    };
    act(&anna, "quarantine", &first)
        .await
        .expect_error(403, "M_FORBIDDEN");
    act(&admin, "quarantine", "localhost/unknown")
        .await
        .expect_error(404, "M_NOT_FOUND");
    act(&admin, "quarantine", &first).await.expect_ok();
    for path in [&first, &second] {
        download(&anna, path, &[])
            .await
            .expect_error(404, "M_NOT_FOUND");
    }
    assert_eq!(download(&anna, &good, &[]).await.status, 200);
    // Uploaded again it is withdrawn still.
    let again = upload(&anna, "text/plain", b"bad").await;
    download(&anna, &again, &[])
        .await
        .expect_error(404, "M_NOT_FOUND");
    let info = admin
        .get(&format!("/_synapse/admin/v1/media/{first}"))
        .await
        .expect_ok();
    assert_eq!(info["media_info"]["quarantined_by"], admin.user_id);
    act(&admin, "unquarantine", &second).await.expect_ok();
    assert_eq!(download(&anna, &first, &[]).await.bytes, b"bad");
    // What is protected stays when a user's media are withdrawn.
    let id = good.split('/').nth(1).unwrap();
    admin
        .post(
            &format!("/_synapse/admin/v1/media/protect/{id}"),
            &json!({}),
        )
        .await
        .expect_ok();
    let all = format!(
        "/_synapse/admin/v1/user/{}/media/quarantine",
        encode(&anna.user_id)
    );
    let answer = admin.post(&all, &json!({})).await.expect_ok();
    assert_eq!(answer, json!({ "num_quarantined": 1 }));
    download(&anna, &first, &[])
        .await
        .expect_error(404, "M_NOT_FOUND");
    assert_eq!(download(&anna, &good, &[]).await.status, 200);
}

#[tokio::test]
async fn what_was_just_had_is_withdrawn_on_every_process() {
    let server = server("").await;
    let other = server.sibling().await;
    let (anna, admin) = (
        server.register("anna").await,
        server.register_admin("admin").await,
    );
    let elsewhere = anna.at(&other.url);
    let path = upload(&anna, "image/png", &png(40, 40)).await;
    let statuses = async || {
        let small = "width=32&height=32&method=crop";
        let mut statuses = Vec::new();
        for client in [&anna, &elsewhere] {
            statuses.push(download(client, &path, &[]).await.status);
            statuses.push(thumbnail(client, &path, small).await.status);
        }
        statuses
    };
    let are = async |expected: u16| statuses().await == [expected; 4];
    let told = || "another".to_owned();
    for _ in 0..2 {
        assert!(are(200).await);
    }
    let media = format!("/_synapse/admin/v1/media/quarantine/{path}");
    admin.post(&media, &json!({})).await.expect_ok();
    // The process that was asked does so at once.
    assert_eq!(statuses().await[..2], [404, 404]);
    until("withdrawn", told, async || are(404).await).await;
    let media = format!("/_synapse/admin/v1/media/unquarantine/{path}");
    admin.post(&media, &json!({})).await.expect_ok();
    until("given back", told, async || are(200).await).await;
    let all = format!(
        "/_synapse/admin/v1/user/{}/media/quarantine",
        encode(&anna.user_id)
    );
    admin.post(&all, &json!({})).await.expect_ok();
    assert_eq!(statuses().await[..2], [404, 404]);
    until("withdrawn", told, async || are(404).await).await;
    admin.post(&media, &json!({})).await.expect_ok();
    until("given back", told, async || are(200).await).await;
    let media = format!("/_synapse/admin/v1/media/{path}");
    admin.delete(&media).await.expect_ok();
    assert_eq!(statuses().await[..2], [404, 404]);
    until("deleted", told, async || are(404).await).await;
}

#[tokio::test]
async fn what_was_just_had_is_had_again_without_the_database() {
    let server = server(SMALL_POOL).await;
    let anna = server.register("anna").await;
    let path = upload(&anna, "image/png", &png(40, 40)).await;
    let small = "width=32&height=32&method=crop";
    for _ in 0..2 {
        assert_eq!(download(&anna, &path, &[]).await.status, 200);
        assert_eq!(thumbnail(&anna, &path, small).await.status, 200);
    }
    let held = server.all_connections().await;
    assert_eq!(download(&anna, &path, &[]).await.status, 200);
    assert_eq!(thumbnail(&anna, &path, small).await.status, 200);
    let other = thumbnail(&anna, &path, "width=96&height=96&method=crop").await;
    assert_eq!(other.status, 503);
    drop(held);
}

#[tokio::test]
async fn what_is_deleted_goes_with_its_bytes_once_nobody_has_them() {
    let server = server("[media]\nmax_bytes_per_user = \"10B\"\n").await;
    let (anna, bert, admin) = (
        server.register("anna").await,
        server.register("bert").await,
        server.register_admin("admin").await,
    );
    let first = upload(&anna, "text/plain", b"12345678").await;
    let second = upload(&bert, "text/plain", b"12345678").await;
    let delete = async |path: &str| {
        admin
            .delete(&format!("/_synapse/admin/v1/media/{path}"))
            .await
    };
    let answer = delete(&first).await.expect_ok();
    assert_eq!(answer["total"], 1);
    delete(&first).await.expect_error(404, "M_NOT_FOUND");
    download(&anna, &first, &[])
        .await
        .expect_error(404, "M_NOT_FOUND");
    server.app.media().clean_up().await.unwrap();
    assert_eq!(download(&anna, &second, &[]).await.status, 200);
    assert_eq!(objects(&server), 1);
    // There is place again.
    upload(&anna, "text/plain", b"abcdefgh").await;
    let list = format!("/_synapse/admin/v1/users/{}/media", encode(&bert.user_id));
    assert_eq!(admin.get(&list).await.expect_ok()["total"], 1);
    assert_eq!(admin.delete(&list).await.expect_ok()["total"], 1);
    server.app.media().clean_up().await.unwrap();
    assert_eq!(objects(&server), 1);
    anna.delete(&list).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn media_that_nobody_downloads_go_but_pictures_of_people_stay() {
    let clock = Arc::new(ManualClock::new(1_800_000_000_000));
    let options = TestOptions {
        config: "[media]\nunused_lifetime = \"10d\"\n".to_owned(),
        clock: Some(Arc::clone(&clock)),
        ..TestOptions::default()
    };
    let server = TestServer::start(options).await;
    let anna = server.register("anna").await;
    let (old, used) = (
        upload(&anna, "text/plain", b"old").await,
        upload(&anna, "text/plain", b"used").await,
    );
    let picture = upload(&anna, "image/png", b"\x89PNG\r\n\x1a\npicture").await;
    let url = json!({ "avatar_url": format!("mxc://{picture}") });
    let profile = format!("profile/{}/avatar_url", encode(&anna.user_id));
    anna.put(&profile, &url).await.expect_ok();
    clock.advance(Duration::from_hours(24 * 6));
    assert_eq!(download(&anna, &used, &[]).await.status, 200);
    clock.advance(Duration::from_hours(24 * 6));
    server.app.media().clean_up().await.unwrap();
    // The token has a life of its own.
    let bert = server.register("bert").await;
    download(&bert, &old, &[])
        .await
        .expect_error(404, "M_NOT_FOUND");
    assert_eq!(download(&bert, &used, &[]).await.status, 200);
    assert_eq!(download(&bert, &picture, &[]).await.status, 200);
}

#[tokio::test]
async fn pictures_of_people_and_rooms_have_a_size_and_a_type() {
    let settings = "[media.avatars]\nmax_bytes = \"100B\"\ntypes = [\"image/png\"]\n";
    let server = server(settings).await;
    let anna = server.register("anna").await;
    let good = upload(&anna, "image/png", b"\x89PNG\r\n\x1a\npicture").await;
    let large = upload(
        &anna,
        "image/png",
        &[&b"\x89PNG\r\n\x1a\n"[..], &[0; 100]].concat(),
    )
    .await;
    let text = upload(&anna, "image/png", b"no picture").await;
    let pending = anna
        .post("/_matrix/media/v1/create", &json!({}))
        .await
        .expect_ok();
    let pending = path_of(&pending);
    let room = anna.create_room(&json!({})).await;
    let profile = format!("profile/{}/avatar_url", encode(&anna.user_id));
    for bad in [&large, &text, &pending] {
        let url = format!("mxc://{bad}");
        let answer = anna.put(&profile, &json!({ "avatar_url": url })).await;
        answer.expect_error(403, "M_FORBIDDEN");
        let content = json!({ "url": url });
        let answer = anna.send_state(&room, "m.room.avatar", "", &content).await;
        answer.expect_error(403, "M_FORBIDDEN");
        let member = json!({ "membership": "join", "avatar_url": url });
        let answer = anna
            .send_state(&room, "m.room.member", &anna.user_id, &member)
            .await;
        answer.expect_error(403, "M_FORBIDDEN");
        let state = json!([{ "type": "m.room.avatar", "content": content }]);
        let answer = anna
            .post("createRoom", &json!({ "initial_state": state }))
            .await;
        answer.expect_error(403, "M_FORBIDDEN");
    }
    let url = format!("mxc://{good}");
    anna.put(&profile, &json!({ "avatar_url": url }))
        .await
        .expect_ok();
    let content = json!({ "url": url });
    anna.send_state(&room, "m.room.avatar", "", &content)
        .await
        .expect_ok();
}

#[tokio::test]
async fn old_messages_take_their_files_with_them_but_not_those_that_others_need() {
    let clock = Arc::new(ManualClock::new(1_800_000_000_000));
    let options = TestOptions {
        config: "[rooms.retention]\npurge = \"always\"\ndefault_lifetime = \"30d\"\n".to_owned(),
        clock: Some(Arc::clone(&clock)),
        ..TestOptions::default()
    };
    let server = TestServer::start(options).await;
    let (anna, bert) = (server.register("anna").await, server.register("bert").await);
    let room = anna.create_room(&json!({ "preset": "public_chat" })).await;
    bert.join(&room).await.expect_ok();
    let mut paths = Vec::new();
    for name in ["gone", "again", "shown", "others"] {
        let owner = if name == "others" { &bert } else { &anna };
        let bytes = [&b"\x89PNG\r\n\x1a\n"[..], name.as_bytes()].concat();
        let path = upload(owner, "image/png", &bytes).await;
        let url = format!("mxc://{path}");
        let content = json!({ "msgtype": "m.file", "body": name, "url": url });
        anna.send_event(&room, "m.room.message", &content).await;
        paths.push(path);
    }
    let profile = format!("profile/{}/avatar_url", encode(&anna.user_id));
    let url = json!({ "avatar_url": format!("mxc://{}", paths[2]) });
    anna.put(&profile, &url).await.expect_ok();
    purge(&server).await;
    clock.advance(Duration::from_hours(24 * 31));
    let (anna, bert) = (again(&server, "anna").await, again(&server, "bert").await);
    let url = format!("mxc://{}", paths[1]);
    let content = json!({ "msgtype": "m.file", "body": "again", "url": url });
    anna.send_event(&room, "m.room.message", &content).await;
    purge(&server).await;
    server.app.media().clean_up().await.unwrap();
    download(&bert, &paths[0], &[])
        .await
        .expect_error(404, "M_NOT_FOUND");
    for kept in &paths[1..] {
        assert_eq!(download(&bert, kept, &[]).await.status, 200);
    }
    assert_eq!(objects(&server), 3);
}

async fn again(server: &TestServer, name: &str) -> Client {
    let mut client = server.client();
    client
        .login(name, crate::harness::server::PASSWORD)
        .await
        .expect_ok();
    client
}

async fn purge(server: &TestServer) {
    while server.app.rooms().purge_batch().await.unwrap().has_more {}
}
