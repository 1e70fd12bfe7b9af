//! Two processes on one database, and clients at both.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::AssertSqlSafe;
use tokio::time::{sleep, timeout};

use super::{
    load::{self, Load},
    log,
    view::{View, list, text},
};
use crate::harness::{
    client::{Client, encode},
    process::Process,
    server::{TestOptions, TestServer},
};

/// How long what one process knows may stay unknown to the other.
const LIMIT: Duration = Duration::from_secs(5);
/// How often something is looked at.
const SOON: Duration = Duration::from_millis(10);

/// A room of Anna at one process and Ben at the other.
struct Pair {
    one: TestServer,
    other: TestServer,
    anna: Client,
    ben: Client,
    room_id: String,
}

impl Pair {
    async fn new() -> Self {
        let one = TestServer::new().await;
        let other = one.sibling().await;
        let (anna, ben) = (one.register("anna").await, other.register("ben").await);
        let room_id = shared_room(&anna, &ben).await;
        Self {
            one,
            other,
            anna,
            ben,
            room_id,
        }
    }
}

async fn shared_room(anna: &Client, ben: &Client) -> String {
    let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
    ben.join(&room_id).await.expect_ok();
    room_id
}

/// How long it takes from sending at one process to the answer of a sync that waits at the other,
/// each of a hundred times, in order.
async fn latencies(sender: &Client, reader: &Client, room_id: &str) -> Vec<Duration> {
    let begin = reader.sync(None, Duration::ZERO).await;
    let mut since = text(&begin["next_batch"]);
    let mut latencies = Vec::new();
    for number in 0..100 {
        let waiting = reader.sync(Some(&since), LIMIT);
        let sending = async {
            let begun = Instant::now();
            (sender.send(room_id, &number.to_string()).await, begun)
        };
        let reading = async { (waiting.await, Instant::now()) };
        let ((mut answer, mut at), (event_id, begun)) = tokio::join!(reading, sending);
        loop {
            since = text(&answer["next_batch"]);
            let events = &answer["rooms"]["join"][room_id]["timeline"]["events"];
            if list(events).any(|event| event["event_id"] == event_id.as_str()) {
                break;
            }
            assert!(begun.elapsed() < LIMIT, "the other process hears nothing");
            answer = reader.sync(Some(&since), LIMIT).await;
            at = Instant::now();
        }
        latencies.push(at - begun);
    }
    latencies.sort_unstable();
    latencies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_sent_to_one_process_reaches_a_sync_that_waits_at_the_other() {
    let pair = Pair::new().await;
    let latencies = latencies(&pair.anna, &pair.ben, &pair.room_id).await;
    println!(
        "in one program: p50 {:?}, p99 {:?}",
        latencies[50], latencies[98]
    );
    assert!(latencies[98] < Duration::from_secs(1), "{latencies:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_real_processes_hear_of_each_other() {
    let one = Process::start(&TestOptions::default()).await;
    let same = format!(
        "server.data_folder = {:?}\ndatabase.url = {:?}",
        one.data_folder(),
        one.database().url
    );
    let other = Process::start(&TestOptions::with(&same)).await;
    let (anna, ben) = (one.register("anna").await, other.register("ben").await);
    let room_id = shared_room(&anna, &ben).await;
    let latencies = latencies(&anna, &ben, &room_id).await;
    println!(
        "as processes: p50 {:?}, p99 {:?}",
        latencies[50], latencies[98]
    );
    assert!(latencies[98] < Duration::from_secs(1), "{latencies:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_processes_send_into_one_room_at_once() {
    let pair = Pair::new().await;
    let urls = [pair.one.url.as_str(), pair.other.url.as_str()];
    let mut views = vec![
        View::new(&pair.anna, &urls, 20),
        View::new(&pair.ben, &urls, 20),
    ];
    let senders = (0..8).map(|number| {
        let sender = if number % 4 < 2 {
            &pair.anna
        } else {
            &pair.ben
        };
        sender.at(urls[number / 4])
    });
    let load = Load::start(senders, &pair.room_id, 50);
    let reading = async {
        loop {
            for (server, view) in views.iter_mut().enumerate() {
                view.sync(server, Duration::from_millis(20)).await.unwrap();
            }
        }
    };
    let acknowledged = tokio::select! {
        () = reading => unreachable!(),
        acknowledged = load.ended() => acknowledged,
    };
    assert_eq!(acknowledged.len(), 8 * 50);
    let mut conn = pair.one.database().connect().await;
    let end = log::stream_position(&mut conn).await;
    for (server, view) in views.iter_mut().enumerate() {
        view.sync_up_to(server, end).await.unwrap();
    }
    // Each view is the log, in its order.
    load::check(&mut conn, &pair.room_id, &acknowledged, &views).await;
}

/// For a moment the processes hear nothing of each other, but for what they ask the database.
async fn deafen(pair: &Pair) {
    let mut conn = pair.one.database().connect().await;
    let begun = Instant::now();
    let listeners = "FROM pg_stat_activity \
        WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    loop {
        let count = AssertSqlSafe(format!("SELECT COUNT(*) {listeners}"));
        let count: i64 = sqlx::query_scalar(count)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        if count == 2 {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{count} processes listen");
        sleep(SOON).await;
    }
    let end = AssertSqlSafe(format!(
        "SELECT pg_terminate_backend(pid, 5000) {listeners}"
    ));
    sqlx::query(end).execute(&mut conn).await.unwrap();
}

#[tokio::test]
async fn who_is_let_in_at_one_process_is_in_at_the_other() {
    let pair = Pair::new().await;
    let there = pair.anna.at(&pair.other.url);
    let (ben, elsewhere) = (&pair.ben, pair.ben.at(&pair.one.url));
    // The other process knows the rooms as they were before.
    let room = async |preset: &str| {
        let room_id = pair.anna.create_room(&json!({ "preset": preset })).await;
        let state = format!("rooms/{}/state", encode(&room_id));
        there.get(&state).await.expect_ok();
        room_id
    };
    let [writes, reads, invited, left] = [
        room("public_chat").await,
        room("public_chat").await,
        room("private_chat").await,
        room("public_chat").await,
    ];
    ben.join(&left).await.expect_ok();
    // And Ben as he was.
    ben.sync(None, Duration::ZERO).await;

    deafen(&pair).await;
    elsewhere.join(&reads).await.expect_ok();
    let page = ben.messages(&reads, "").await;
    assert_eq!(page["chunk"][0]["state_key"], ben.user_id.as_str());

    deafen(&pair).await;
    elsewhere.join(&writes).await.expect_ok();
    ben.send(&writes, "there").await;

    deafen(&pair).await;
    pair.anna.invite(&invited, &ben.user_id).await.expect_ok();
    ben.join(&invited).await.expect_ok();

    // Who has left at one comes back at the other.
    deafen(&pair).await;
    elsewhere.leave(&left).await.expect_ok();
    ben.join(&left).await.expect_ok();
    ben.send(&left, "back").await;
}

#[tokio::test]
async fn a_sync_token_of_one_process_works_at_the_other() {
    let pair = Pair::new().await;
    let elsewhere = pair.anna.at(&pair.other.url);
    let begin = pair.anna.sync(None, Duration::ZERO).await;
    let mut since = text(&begin["next_batch"]);
    for number in 0..20 {
        let (sender, reader) = if number % 2 == 0 {
            (&pair.anna, &elsewhere)
        } else {
            (&elsewhere, &pair.anna)
        };
        let event_id = sender.send(&pair.room_id, &number.to_string()).await;
        // The token is of the process that the event was sent to: it is at its end or after it.
        let here = sender.sync(Some(&since), Duration::ZERO).await;
        let events = &here["rooms"]["join"][&pair.room_id]["timeline"]["events"];
        assert_eq!(list(events).count(), 1, "{here:#}");
        assert_eq!(events[0]["event_id"], event_id.as_str());
        let next = text(&here["next_batch"]);
        // It tells the other process no less, and nothing twice.
        let there = reader.sync(Some(&next), Duration::ZERO).await;
        assert!(there["rooms"].is_null(), "{there:#}");
        since = text(&there["next_batch"]);
    }
}

#[tokio::test]
async fn who_logs_out_at_one_process_is_out_at_the_other() {
    let pair = Pair::new().await;
    let elsewhere = pair.ben.at(&pair.one.url);
    elsewhere.get("account/whoami").await.expect_ok();
    let begin = elsewhere.sync(None, Duration::ZERO).await;
    let path = format!(
        "sync?timeout=20000&since={}",
        encode(&text(&begin["next_batch"]))
    );
    pair.ben.post("logout", &json!({})).await.expect_ok();
    until("the session has ended", async || {
        elsewhere.get("account/whoami").await.status == 401
    })
    .await;
    elsewhere
        .get(&path)
        .await
        .expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn who_types_at_one_process_is_seen_at_the_other() {
    let pair = Pair::new().await;
    let begin = pair.ben.sync(None, Duration::ZERO).await;
    let mut since = text(&begin["next_batch"]);
    let path = format!(
        "rooms/{}/typing/{}",
        encode(&pair.room_id),
        encode(&pair.anna.user_id)
    );
    for typing in [true, false] {
        let body = json!({ "typing": typing, "timeout": 30_000 });
        pair.anna.put(&path, &body).await.expect_ok();
        let seen = timeout(LIMIT, async {
            loop {
                let answer = pair.ben.sync(Some(&since), LIMIT).await;
                since = text(&answer["next_batch"]);
                let ephemeral = &answer["rooms"]["join"][&pair.room_id]["ephemeral"]["events"];
                let found = list(ephemeral).find(|event| event["type"] == "m.typing");
                if let Some(event) = found {
                    return event["content"]["user_ids"].clone();
                }
            }
        });
        let expected = if typing {
            json!([pair.anna.user_id])
        } else {
            json!([])
        };
        assert_eq!(seen.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_room_forgotten_at_one_process_is_forgotten_at_the_other() {
    let pair = Pair::new().await;
    let elsewhere = pair.ben.at(&pair.one.url);
    let room = encode(&pair.room_id);
    let filter = encode(r#"{"room":{"include_leave":true}}"#);
    let all = format!("sync?filter={filter}");
    pair.ben.leave(&pair.room_id).await.expect_ok();
    until("the room is left", async || {
        let answer = elsewhere.get(&all).await.expect_ok();
        answer["rooms"]["leave"][&pair.room_id].is_object()
    })
    .await;
    let forget = format!("rooms/{room}/forget");
    pair.ben.post(&forget, &json!({})).await.expect_ok();
    until("the room is forgotten", async || {
        elsewhere.get(&all).await.expect_ok()["rooms"]["leave"].is_null()
    })
    .await;
    let messages = format!("rooms/{room}/messages?dir=b");
    elsewhere
        .get(&messages)
        .await
        .expect_error(403, "M_FORBIDDEN");
}

/// Waits until something holds.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < LIMIT, "not so: {what}");
        sleep(SOON).await;
    }
}
