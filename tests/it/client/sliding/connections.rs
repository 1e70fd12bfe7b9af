//! Connections: restarts, moves, retries, and their end.

use std::time::Duration;

use chappe::store::live::LiveOptions;
use serde_json::json;

use super::{Connection, PATH, public_room, rooms, timeline, window};
use crate::harness::server::{TestOptions, TestServer};

#[tokio::test]
async fn a_connection_goes_on_at_another_process_and_after_a_restart() {
    let nothing = LiveOptions {
        window_bytes: 0,
        ..LiveOptions::default()
    };
    for memory in [None, Some(nothing)] {
        let options = TestOptions {
            memory,
            ..TestOptions::default()
        };
        let one = TestServer::start(options).await;
        let anna = one.register("anna").await;
        let (first, second) = (public_room(&anna, "1").await, public_room(&anna, "2").await);
        let body = window(0, 9, 5);
        let mut sync = Connection::new(&anna);
        sync.sync(&body).await;
        // Each server is new: it knows nothing but what the database has.
        for room in [&first, &second, &first] {
            let sent = anna.send(room, "hello").await;
            let other = one.sibling().await;
            let moved = anna.at(&other.url);
            let mut there = Connection {
                client: &moved,
                pos: sync.pos.clone(),
            };
            let answer = there.sync(&body).await;
            assert_eq!(rooms(&answer), std::slice::from_ref(room), "{answer:#}");
            assert_eq!(timeline(&answer["rooms"][room]), [sent], "{answer:#}");
            assert_eq!(answer["rooms"][room]["num_live"], 1);
            sync.pos = there.pos;
        }
        let answer = sync.sync(&body).await;
        assert!(rooms(&answer).is_empty(), "{answer:#}");
    }
}

#[tokio::test]
async fn positions_of_others_and_of_long_ago_are_unknown() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let body = window(0, 9, 1);
    let mut sync = Connection::new(&anna);
    sync.sync(&body).await;
    let pos = sync.pos.clone();
    let mut second = server.client();
    second
        .login("anna", crate::harness::server::PASSWORD)
        .await
        .expect_ok();
    for client in [&ben, &second] {
        let stolen = Connection {
            client,
            pos: pos.clone(),
        };
        let answer = stolen.ask(&body, Duration::ZERO).await;
        answer.expect_error(400, "M_UNKNOWN_POS");
    }
    let mut other_name = body.clone();
    other_name["conn_id"] = json!("other");
    let answer = sync.ask(&other_name, Duration::ZERO).await;
    answer.expect_error(400, "M_UNKNOWN_POS");
    for wrong in [
        "",
        "nonsense",
        "s1_0",
        "p1_1_0",
        "p-1_1_0",
        "p1_9223372036854775807_0",
    ] {
        let path = format!("{PATH}?pos={wrong}");
        let answer = anna.post(&path, &body).await;
        answer.expect_error(400, "M_UNKNOWN_POS");
    }
    // A position of the future.
    let (snapshot, _) = pos.as_deref().unwrap().split_once('_').unwrap();
    let path = format!("{PATH}?pos={snapshot}_999999_0");
    anna.post(&path, &body)
        .await
        .expect_error(400, "M_UNKNOWN_POS");
    sync.sync(&body).await;
}

#[tokio::test]
async fn a_device_has_a_bounded_number_of_connections() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let mut connections = Vec::new();
    for number in 0..13 {
        let mut body = window(0, 9, 1);
        body["conn_id"] = json!(format!("c{number}"));
        let mut sync = Connection::new(&anna);
        for width in 0..8 {
            // Each of these writes a snapshot.
            public_room(&anna, &width.to_string()).await;
            sync.sync(&body).await;
        }
        connections.push((sync, body));
    }
    let mut conn = server.database().connect().await;
    let statement = "SELECT COUNT(*) FROM sliding_positions";
    let count: i64 = sqlx::query_scalar(statement)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(count <= 40, "{count}");
    // A process that has not kept the oldest in memory says that it is over.
    let fresh = server.sibling().await;
    let moved = anna.at(&fresh.url);
    for (number, (sync, body)) in connections.iter().enumerate() {
        let there = Connection {
            client: &moved,
            pos: sync.pos.clone(),
        };
        let answer = there.ask(body, Duration::ZERO).await;
        if number < 3 {
            answer.expect_error(400, "M_UNKNOWN_POS");
        } else {
            answer.expect_ok();
        }
    }
    anna.post("logout", &json!({})).await.expect_ok();
    let count: i64 = sqlx::query_scalar(statement)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(count, 0);
}

#[tokio::test]
async fn messages_in_known_rooms_write_no_snapshots() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = public_room(&anna, "A room").await;
    let body = window(0, 9, 1);
    let mut sync = Connection::new(&anna);
    sync.sync(&body).await;
    let mut conn = server.database().connect().await;
    for number in 0..5 {
        anna.send(&room_id, &number.to_string()).await;
        assert_eq!(rooms(&sync.sync(&body).await), [&*room_id]);
    }
    let statement = "SELECT COUNT(*) FROM sliding_positions";
    let count: i64 = sqlx::query_scalar(statement)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_position_is_a_place_to_page_from() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = public_room(&anna, "A room").await;
    let before = anna.send(&room_id, "before").await;
    let mut sync = Connection::new(&anna);
    sync.sync(&window(0, 9, 1)).await;
    anna.send(&room_id, "after").await;
    let query = format!("&limit=1&from={}", sync.pos.unwrap());
    let page = anna.messages(&room_id, &query).await;
    assert_eq!(page["chunk"][0]["event_id"], before);
}

#[tokio::test]
async fn the_feature_is_announced() {
    let server = TestServer::new().await;
    let answer = server.client().get("/_matrix/client/versions").await;
    let features = &answer.expect_ok()["unstable_features"];
    assert_eq!(features["org.matrix.simplified_msc3575"], true);
}
