//! Device lists in the extension for end-to-end encryption: as `/sync` tells them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Connection, public_room};
use crate::{
    client::device_lists::{servers, users},
    harness::{keys::Device, server::TestServer},
};

const LONG: Duration = Duration::from_secs(30);

/// What clients ask on the connection that only looks after encryption.
fn body() -> Value {
    json!({ "extensions": { "e2ee": { "enabled": true } } })
}

/// Who has changed and who has left.
fn lists(answer: &Value) -> (Vec<String>, Vec<String>) {
    let lists = &answer["extensions"]["e2ee"]["device_lists"];
    let names = |key: &str| {
        let users = lists[key].as_array().into_iter().flatten();
        users
            .map(|user| user.as_str().unwrap().to_owned())
            .collect()
    };
    (names("changed"), names("left"))
}

async fn news(sync: &mut Connection<'_>) -> (Vec<String>, Vec<String>) {
    lists(&sync.sync(&body()).await)
}

#[tokio::test]
async fn new_keys_wake_those_who_share_a_room_on_every_process() {
    let server = TestServer::new().await;
    let sibling = server.sibling().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    let room_id = public_room(&alice, "A room").await;
    bob.join(&room_id).await.expect_ok();
    let there = bob.at(&sibling.url);
    let (mut far, mut own) = (Connection::new(&there), Connection::new(&alice));
    let mut stranger = Connection::new(&carol);
    for sync in [&mut far, &mut own, &mut stranger] {
        // Whoever begins asks for all keys anyway.
        assert_eq!(news(sync).await, (vec![], vec![]));
    }
    let device = Device::of(&alice);
    let asked = body();
    let (answer, ()) = tokio::join!(far.wait(&asked, LONG), device.upload(&alice));
    assert_eq!(lists(&answer), (users(&[&alice]), vec![]));
    assert_eq!(news(&mut own).await, (users(&[&alice]), vec![]));
    assert_eq!(news(&mut stranger).await, (vec![], vec![]));
    assert_eq!(news(&mut far).await, (vec![], vec![]));
    // The same keys again are no news.
    device.upload(&alice).await;
    assert_eq!(news(&mut far).await, (vec![], vec![]));
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room_id = public_room(&alice, "A room").await;
        bob.join(&room_id).await.expect_ok();
        let mut sync = Connection::new(&bob);
        sync.sync(&body()).await;
        Device::of(&alice).upload(&alice).await;
        let lost = sync.ask(&body(), Duration::ZERO).await.expect_ok();
        assert_eq!(lists(&lost), (users(&[&alice]), vec![]));
        assert_eq!(news(&mut sync).await, (users(&[&alice]), vec![]));
        assert_eq!(news(&mut sync).await, (vec![], vec![]));
    }
}

#[tokio::test]
async fn who_comes_to_share_a_room_is_changed_and_who_shares_none_any_more_has_left() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let carol = server.register("carol").await;
        let nothing = (vec![], vec![]);
        let room_id = public_room(&alice, "A room").await;
        let mut sync = Connection::new(&alice);
        sync.sync(&body()).await;
        bob.join(&room_id).await.expect_ok();
        assert_eq!(news(&mut sync).await, (users(&[&bob]), vec![]));
        // A second room is no news, in either direction.
        let second = public_room(&bob, "Another").await;
        alice.join(&second).await.expect_ok();
        assert_eq!(news(&mut sync).await, nothing);
        bob.leave(&room_id).await.expect_ok();
        assert_eq!(news(&mut sync).await, nothing);
        bob.leave(&second).await.expect_ok();
        assert_eq!(news(&mut sync).await, (vec![], users(&[&bob])));
        // Whose keys change after that is not told, and comes again with the next room.
        Device::of(&bob).upload(&bob).await;
        assert_eq!(news(&mut sync).await, nothing);
        bob.join(&second).await.expect_ok();
        carol.join(&second).await.expect_ok();
        assert_eq!(news(&mut sync).await, (users(&[&bob, &carol]), vec![]));
        alice.leave(&second).await.expect_ok();
        assert_eq!(news(&mut sync).await, (vec![], users(&[&bob, &carol])));
    }
}

#[tokio::test]
async fn who_does_not_ask_is_not_told() {
    let server = TestServer::new().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room_id = public_room(&alice, "A room").await;
    bob.join(&room_id).await.expect_ok();
    let asked = [
        json!({ "conn_id": "a" }),
        json!({ "conn_id": "b", "extensions": { "e2ee": { "enabled": false } } }),
        json!({ "conn_id": "c", "extensions": { "to_device": { "enabled": true } } }),
    ];
    let mut syncs = [(); 3].map(|()| Connection::new(&bob));
    for (sync, asked) in syncs.iter_mut().zip(&asked) {
        sync.sync(asked).await;
    }
    Device::of(&alice).upload(&alice).await;
    for (sync, asked) in syncs.iter_mut().zip(&asked) {
        let answer = sync.sync(asked).await;
        assert!(answer["extensions"]["e2ee"].is_null(), "{answer:#}");
    }
}
