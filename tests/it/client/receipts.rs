//! Receipts and the marker of what has been read.

use chappe::store::{
    Database, RoomNid, RoomPosition, StoreOptions,
    journal::{ReceiptWrite, Write},
    live::LiveOptions,
    receipts, users,
};
use ruma::{EventId, RoomId, UserId};
use serde_json::{Value, json};
use std::time::Duration;

use super::paging::{path, room};
use crate::harness::{
    client::{Client, encode},
    server::TestServer,
};

/// The receipts of a room that its reader may see: user, whether private, thread, event.
async fn receipts_of(
    server: &TestServer,
    room_id: &str,
    reader: &Client,
) -> Vec<(String, bool, String, String)> {
    let options = StoreOptions {
        url: server.database().url.clone(),
        max_connections: 1,
        acquire_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(20),
    };
    let database = Database::open(&options).unwrap();
    let (store, _) = database.start(LiveOptions::default()).await.unwrap();
    let room_id = RoomId::parse(room_id).unwrap();
    let room: RoomNid = store.room_number(&room_id).await.unwrap().unwrap();
    let mut conn = store.conn().await.unwrap();
    let user_id = UserId::parse(&reader.user_id).unwrap();
    let user = users::intern(&mut conn, &user_id).await.unwrap();
    let found = receipts::list(&mut conn, &[room], user, None)
        .await
        .unwrap();
    let mut found: Vec<_> = found
        .into_iter()
        .map(|receipt| {
            let event_id = receipt.event_id.to_string();
            (
                receipt.user_id.to_string(),
                receipt.private,
                receipt.thread,
                event_id,
            )
        })
        .collect();
    found.sort_unstable();
    found
}

async fn mark(client: &Client, room_id: &str, kind: &str, event_id: &str, body: Value) -> u16 {
    let rest = format!("receipt/{kind}/{}", encode(event_id));
    client.post(&path(room_id, &rest), &body).await.status
}

#[tokio::test]
async fn a_receipt_never_goes_back() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let ben = server.register("ben").await;
    let room_id = room(&anna, "shared").await;
    anna.invite(&room_id, &ben.user_id).await.expect_ok();
    ben.join(&room_id).await.expect_ok();
    let first = anna.send(&room_id, "first").await;
    let second = anna.send(&room_id, "second").await;
    for event_id in [&first, &second, &first] {
        assert_eq!(
            mark(&ben, &room_id, "m.read", event_id, json!({})).await,
            200
        );
    }
    assert_eq!(
        mark(&ben, &room_id, "m.read.private", &first, json!({})).await,
        200
    );
    let public = (ben.user_id.clone(), false, String::new(), second.clone());
    let private = (ben.user_id.clone(), true, String::new(), first.clone());
    assert_eq!(
        receipts_of(&server, &room_id, &anna).await,
        [public.clone()]
    );
    assert_eq!(
        receipts_of(&server, &room_id, &ben).await,
        [public, private]
    );
}

#[tokio::test]
async fn receipts_of_threads_stand_apart() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let root = anna.send(&room_id, "root").await;
    let reply = json!({
        "msgtype": "m.text",
        "body": "reply",
        "m.relates_to": { "rel_type": "m.thread", "event_id": root },
    });
    let reply = anna.send_event(&room_id, "m.room.message", &reply).await;
    let other = anna.send(&room_id, "other").await;
    let in_thread = |thread: &str| json!({ "thread_id": thread });
    assert_eq!(
        mark(&anna, &room_id, "m.read", &reply, in_thread(&root)).await,
        200
    );
    assert_eq!(
        mark(&anna, &room_id, "m.read", &other, in_thread("main")).await,
        200
    );
    assert_eq!(
        mark(&anna, &room_id, "m.read", &other, in_thread(&root)).await,
        400
    );
    assert_eq!(
        mark(&anna, &room_id, "m.read", &reply, in_thread("main")).await,
        400
    );
    assert_eq!(
        mark(&anna, &room_id, "m.read", &reply, in_thread("")).await,
        400
    );
    assert_eq!(
        mark(&anna, &room_id, "m.read", &reply, in_thread("$a\u{0}")).await,
        400
    );
    assert_eq!(
        mark(&anna, &room_id, "m.fully_read", &reply, in_thread(&root)).await,
        400
    );
    let user = anna.user_id.clone();
    let mut expected = [
        (user.clone(), false, root, reply),
        (user, false, "main".to_owned(), other),
    ];
    expected.sort_unstable();
    assert_eq!(receipts_of(&server, &room_id, &anna).await, expected);
}

#[tokio::test]
async fn read_markers_are_account_data_and_receipts() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let ben = server.register("ben").await;
    let room_id = room(&anna, "shared").await;
    let first = anna.send(&room_id, "first").await;
    let second = anna.send(&room_id, "second").await;
    let marker = format!(
        "user/{}/rooms/{}/account_data/m.fully_read",
        encode(&anna.user_id),
        encode(&room_id)
    );
    anna.get(&marker).await.expect_error(404, "M_NOT_FOUND");
    let markers = path(&room_id, "read_markers");
    let body = json!({ "m.fully_read": second, "m.read": second, "m.read.private": first });
    anna.post(&markers, &body).await.expect_ok();
    assert_eq!(
        anna.get(&marker).await.expect_ok(),
        json!({ "event_id": second })
    );
    assert_eq!(
        mark(&anna, &room_id, "m.fully_read", &first, json!({})).await,
        200
    );
    assert_eq!(
        anna.get(&marker).await.expect_ok(),
        json!({ "event_id": second })
    );
    assert_eq!(receipts_of(&server, &room_id, &anna).await.len(), 2);
    anna.post(&markers, &json!({})).await.expect_ok();
    for event_id in ["$unknown", "$unknown\u{0}"] {
        assert_eq!(
            mark(&anna, &room_id, "m.read", event_id, json!({})).await,
            400
        );
        let body = json!({ "m.fully_read": event_id });
        anna.post(&markers, &body)
            .await
            .expect_error(400, "M_INVALID_PARAM");
    }
    assert_eq!(
        mark(&anna, &room_id, "m.unheard.of", &first, json!({})).await,
        400
    );
    assert_eq!(mark(&ben, &room_id, "m.read", &first, json!({})).await, 403);
    ben.post(&markers, &body)
        .await
        .expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn who_joins_sees_the_receipts_that_were_there() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
    let event_id = anna.send(&room_id, "before").await;
    assert_eq!(
        mark(&anna, &room_id, "m.read", &event_id, json!({})).await,
        200
    );
    let begin = ben.sync(None, Duration::ZERO).await;
    ben.join(&room_id).await.expect_ok();
    let sibling = server.sibling().await;
    for ben in [&ben, &ben.at(&sibling.url)] {
        let since = begin["next_batch"].as_str();
        let news = ben.sync(since, Duration::ZERO).await;
        let receipts = &news["rooms"]["join"][&room_id]["ephemeral"]["events"][0];
        let of_event = &receipts["content"][&event_id]["m.read"];
        assert!(of_event[&anna.user_id].is_object(), "{news}");
    }
}

#[tokio::test]
async fn a_receipt_that_another_process_wrote_meanwhile_is_not_taken_back() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let first = anna.send(&room_id, "first").await;
    let second = anna.send(&room_id, "second").await;
    assert_eq!(
        mark(&anna, &room_id, "m.read", &second, json!({})).await,
        200
    );
    // A process that looked before writes after.
    let store = server.app.store();
    let room = RoomId::parse(&room_id).unwrap();
    let user = UserId::parse(&anna.user_id).unwrap();
    let late = ReceiptWrite {
        room: store.room_number(&room).await.unwrap().unwrap(),
        user: store.user_number(&user).await.unwrap(),
        private: false,
        thread: String::new(),
        position: RoomPosition(1),
        notify_count: 0,
        event_id: EventId::parse(&first).unwrap(),
        at: 1,
    };
    let write = Write {
        receipts: vec![late],
        ..Write::default()
    };
    store.journal().write(write).await.unwrap();
    let stands = (anna.user_id.clone(), false, String::new(), second);
    assert_eq!(receipts_of(&server, &room_id, &anna).await, [stands]);
}
