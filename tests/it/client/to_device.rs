//! Messages to devices (specification v1.19, "Send-to-Device messaging").

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    client::Client,
    keys::Device,
    server::{PASSWORD, TestServer},
    tchap,
};

const NOW: Duration = Duration::ZERO;

async fn send(
    client: &Client,
    transaction: &str,
    messages: Value,
) -> crate::harness::client::Answer {
    let path = format!("sendToDevice/my.type/{transaction}");
    client.put(&path, &json!({ "messages": messages })).await
}

/// What the messages of a sync say.
fn told(sync: &Value) -> Vec<String> {
    let events = sync["to_device"]["events"].as_array();
    let events = events.into_iter().flatten();
    events
        .map(|event| event["content"]["n"].as_str().unwrap().to_owned())
        .collect()
}

fn token(sync: &Value) -> String {
    sync["next_batch"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_message_comes_until_its_token_comes_back() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let first = token(&bob.sync(None, NOW).await);
    let waiting = bob.sync(Some(&first), Duration::from_secs(30));
    let messages = json!({ (&bob.user_id): { (&bob.device_id): { "n": "1" } } });
    let sending = async { send(&alice, "a", messages.clone()).await.expect_ok() };
    let (sync, _) = tokio::join!(waiting, sending);
    assert_eq!(
        sync["to_device"]["events"],
        json!([{ "content": { "n": "1" }, "sender": alice.user_id, "type": "my.type" }])
    );
    // The answer was lost: it comes again, with the next one behind it.
    let messages = json!({ (&bob.user_id): { (&bob.device_id): { "n": "2" } } });
    send(&alice, "b", messages).await.expect_ok();
    let again = bob.sync(Some(&first), NOW).await;
    assert_eq!(told(&again), ["1", "2"]);
    // Confirmed as far as the first answer goes.
    assert_eq!(told(&bob.sync(Some(&token(&sync)), NOW).await), ["2"]);
    assert_eq!(told(&bob.sync(Some(&first), NOW).await), ["2"]);
    let last = token(&again);
    assert!(told(&bob.sync(Some(&last), NOW).await).is_empty());
    assert!(told(&bob.sync(Some(&first), NOW).await).is_empty());
    assert!(told(&bob.sync(None, NOW).await).is_empty());
}

#[tokio::test]
async fn a_transaction_is_sent_once_also_by_another_process() {
    let server = TestServer::new().await;
    let sibling = server.sibling().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let messages = json!({ (&bob.user_id): { (&bob.device_id): { "n": "1" } } });
    let there = alice.at(&sibling.url);
    let sends = (0..6).map(|n| {
        let client = if n % 2 == 0 { &alice } else { &there };
        send(client, "same", messages.clone())
    });
    for answer in futures_util::future::join_all(sends).await {
        answer.expect_ok();
    }
    assert_eq!(told(&bob.sync(None, NOW).await), ["1"]);
    // The id counts for the type and the device.
    let path = "sendToDevice/other.type/same";
    let body = json!({ "messages": messages });
    alice.put(path, &body).await.expect_ok();
    let mut other = server.client();
    other.login("alice", PASSWORD).await.expect_ok();
    send(&other, "same", messages).await.expect_ok();
    assert_eq!(told(&bob.at(&sibling.url).sync(None, NOW).await).len(), 3);
}

#[tokio::test]
async fn a_star_stands_for_all_devices_and_a_name_goes_before_it() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let phone = server.register("bob").await;
    let mut desk = server.client();
    desk.login("bob", PASSWORD).await.expect_ok();
    let messages = json!({
        (&phone.user_id): { "*": { "n": "all" }, (&desk.device_id): { "n": "desk" } },
        "@nobody:example.org": { "*": { "n": "lost" } },
        "@far:elsewhere.example": { "*": { "n": "lost" } },
    });
    send(&alice, "a", messages).await.expect_ok();
    assert_eq!(told(&phone.sync(None, NOW).await), ["all"]);
    assert_eq!(told(&desk.sync(None, NOW).await), ["desk"]);
    assert!(told(&alice.sync(None, NOW).await).is_empty());
}

#[tokio::test]
async fn one_request_wakes_all_recipients_wherever_they_wait() {
    let server = TestServer::new().await;
    let sibling = server.sibling().await;
    let alice = server.register("alice").await;
    let here = server.register("bob").await;
    let mut phone = server.client();
    phone.login("bob", PASSWORD).await.expect_ok();
    let there = server.register("carol").await.at(&sibling.url);
    let bystander = server.register("dan").await;
    let mut since = Vec::new();
    for client in [&here, &phone, &there, &bystander] {
        since.push(token(&client.sync(None, NOW).await));
    }
    let before = server.app.store().live().position();
    let messages = json!({
        (&here.user_id): { (&here.device_id): { "n": "desk" }, (&phone.device_id): { "n": "phone" } },
        (&there.user_id): { "*": { "n": "carol" } },
    });
    let long = Duration::from_secs(30);
    let (desk, handset, carol, _) = tokio::join!(
        here.sync(Some(&since[0]), long),
        phone.sync(Some(&since[1]), long),
        there.sync(Some(&since[2]), long),
        async { send(&alice, "a", messages).await.expect_ok() },
    );
    assert_eq!(told(&desk), ["desk"]);
    assert_eq!(told(&handset), ["phone"]);
    assert_eq!(told(&carol), ["carol"]);
    // It is one entry of the stream, however many are told.
    let after = server.app.store().live().position();
    assert_eq!(after.0 - before.0, 1);
    assert!(told(&bystander.sync(Some(&since[3]), NOW).await).is_empty());
    // A process that reads the stream later finds them as well.
    let third = server.sibling().await;
    let desk = here.at(&third.url).sync(Some(&since[0]), NOW).await;
    assert_eq!(told(&desk), ["desk"]);
}

#[tokio::test]
async fn a_hundred_messages_come_at_once_and_the_others_after_them_in_order() {
    let server = TestServer::new().await;
    let sibling = server.sibling().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let start = token(&bob.sync(None, NOW).await);
    for n in 0..230 {
        let messages = json!({ (&bob.user_id): { (&bob.device_id): { "n": n.to_string() } } });
        send(&alice, &format!("t{n}"), messages).await.expect_ok();
    }
    let (mut since, mut all) = (start, Vec::new());
    for expected in [100, 100, 30, 0] {
        let client = if expected == 30 {
            &bob.at(&sibling.url)
        } else {
            &bob
        };
        let sync = client.sync(Some(&since), NOW).await;
        let batch = told(&sync);
        assert_eq!(batch.len(), expected);
        all.extend(batch);
        since = token(&sync);
    }
    let expected: Vec<_> = (0..230).map(|n| n.to_string()).collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn messages_survive_a_restart_and_go_with_their_device() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let messages = json!({ (&bob.user_id): { "*": { "n": "1" } } });
    send(&alice, "a", messages).await.expect_ok();
    let sibling = server.sibling().await;
    server.stop().await;
    let there = bob.at(&sibling.url);
    assert_eq!(told(&there.sync(None, NOW).await), ["1"]);
    there.post("logout", &json!({})).await.expect_ok();
    let login = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": "bob" },
        "password": PASSWORD,
        "device_id": bob.device_id,
    });
    let mut again = sibling.client();
    let session = sibling.client().post("login", &login).await.expect_ok();
    again.take_session(&session);
    assert!(told(&again.sync(None, NOW).await).is_empty());
}

#[tokio::test]
async fn a_device_that_comes_again_by_its_name_gets_what_is_for_it() {
    let server = TestServer::new().await;
    let sibling = server.sibling().await;
    let (alice, carol) = (
        server.register("alice").await,
        server.register("carol").await,
    );
    let mut bob = server.register("bob").await;
    let at_both = [
        (alice.at(&server.url), "here"),
        (carol.at(&sibling.url), "there"),
    ];
    // Who shares a room with somebody is told of their devices.
    let room_id = bob.create_room(&json!({ "preset": "public_chat" })).await;
    for (client, _) in &at_both {
        client.join(&room_id).await.expect_ok();
    }
    for round in 0..3 {
        let mut since = Vec::new();
        for (client, _) in &at_both {
            since.push(token(&client.sync(None, NOW).await));
        }
        Device::of(&bob).upload(&bob).await;
        for ((client, place), since) in at_both.iter().zip(&since) {
            let news = client.sync(Some(since), Duration::from_secs(30)).await;
            assert_eq!(news["device_lists"]["changed"], json!([bob.user_id]));
            for nth in 0..2 {
                let n = format!("{place} {round} {nth}");
                let messages = json!({ (&bob.user_id): { (&bob.device_id): { "n": n } } });
                send(client, &n, messages).await.expect_ok();
            }
        }
        let mut got = told(&bob.at(&sibling.url).sync(None, NOW).await);
        got.sort_unstable();
        let expected =
            ["here", "there"].map(|place| [0, 1].map(|nth| format!("{place} {round} {nth}")));
        assert_eq!(got, expected.concat());
        let device_id = bob.device_id.clone();
        bob.post("logout", &json!({})).await.expect_ok();
        let login = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": "bob" },
            "password": PASSWORD,
            "device_id": device_id,
        });
        bob = server.client();
        let session = bob.post("login", &login).await.expect_ok();
        bob.take_session(&session);
    }
}

#[tokio::test]
async fn what_a_claimed_key_encrypts_goes_to_the_device_that_has_it() {
    let server = TestServer::new().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let device = Device::of(&bob);
    let keys = json!({
        "device_keys": device.keys(),
        "one_time_keys": device.one_time_keys(&["A"]),
    });
    bob.post("keys/upload", &keys).await.expect_ok();
    let message = |n: &str| json!({ (&bob.user_id): { (&bob.device_id): { "n": n } } });
    send(&alice, "a", message("1")).await.expect_ok();
    // Elsewhere the device has gone and come again by its name, and this process has not heard.
    let mut conn = server.database().connect().await;
    for statement in [
        "ALTER TABLE devices ALTER device_nid DROP IDENTITY",
        "SET session_replication_role = replica",
        "UPDATE devices SET device_nid = device_nid + 1000 \
            WHERE device_nid IN (SELECT device_nid FROM device_keys)",
        "UPDATE device_keys SET device_nid = device_nid + 1000",
        "UPDATE one_time_keys SET device_nid = device_nid + 1000",
    ] {
        sqlx::query(statement).execute(&mut conn).await.unwrap();
    }
    let claim =
        json!({ "one_time_keys": { (&bob.user_id): { (&bob.device_id): "signed_curve25519" } } });
    let claimed = alice.post("keys/claim", &claim).await.expect_ok();
    let keys = &claimed["one_time_keys"][&bob.user_id][&bob.device_id];
    assert!(keys["signed_curve25519:A"].is_object(), "{claimed}");
    send(&alice, "b", message("2")).await.expect_ok();
    let there: Vec<String> =
        sqlx::query_scalar("SELECT json FROM to_device WHERE device_nid > 1000")
            .fetch_all(&mut conn)
            .await
            .unwrap();
    assert_eq!(there.len(), 1, "{there:?}");
    assert!(there[0].contains("\"n\":\"2\""), "{there:?}");
}

#[tokio::test]
async fn messages_whose_device_went_while_they_were_written_are_deleted() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let messages = json!({ (&bob.user_id): { "*": { "n": "1" } } });
    send(&alice, "a", messages).await.expect_ok();
    let mut conn = server.database().connect().await;
    sqlx::query("INSERT INTO to_device (device_nid, position, json) VALUES (123456, 1, '{}')")
        .execute(&mut conn)
        .await
        .unwrap();
    server.app.keys().clean_up().await.unwrap();
    let left: Vec<String> = sqlx::query_scalar("SELECT json FROM to_device")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(told(&bob.sync(None, NOW).await), ["1"]);
}

#[tokio::test]
async fn bad_messages_are_refused() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let to_self = |content: Value| json!({ (&alice.user_id): { (&alice.device_id): content } });
    let cases = [
        (to_self("text".into()), 400, "M_BAD_JSON"),
        (
            to_self(json!({ "n": "x".repeat(70_000) })),
            413,
            "M_TOO_LARGE",
        ),
        (json!([]), 400, "M_BAD_JSON"),
        (json!({ "alice": {} }), 400, "M_BAD_JSON"),
    ];
    for (messages, status, errcode) in cases {
        let answer = send(&alice, "a", messages).await;
        answer.expect_error(status, errcode);
    }
    let long = format!("sendToDevice/{}/a", "t".repeat(300));
    let body = json!({ "messages": to_self(json!({})) });
    let answer = alice.put(&long, &body).await;
    answer.expect_error(400, "M_INVALID_PARAM");
    let many: serde_json::Map<String, Value> =
        (0..5_001).map(|n| (format!("D{n}"), json!({}))).collect();
    let answer = send(&alice, "a", json!({ (&alice.user_id): many })).await;
    answer.expect_error(413, "M_TOO_LARGE");
    let nobody = server.client();
    let answer = send(&nobody, "a", to_self(json!({}))).await;
    answer.expect_error(401, "M_MISSING_TOKEN");
    // The transaction id was not used up.
    send(&alice, "a", to_self(json!({ "n": "1" })))
        .await
        .expect_ok();
    assert_eq!(told(&alice.sync(None, NOW).await), ["1"]);
}

#[tokio::test]
async fn with_tchaps_rules_strangers_send_nothing() {
    let server = tchap::server("[policy.profiles]\nknown_users_only = true\n").await;
    let alice = tchap::person(&server, "alice.martin@culture.gouv.fr").await;
    let bob = tchap::person(&server, "bob.durand@interieur.gouv.fr").await;
    let messages = json!({ (&bob.user_id): { "*": { "n": "1" } } });
    send(&alice, "a", messages.clone()).await.expect_ok();
    assert!(told(&bob.sync(None, NOW).await).is_empty());
    let room = json!({ "preset": "private_chat", "invite": [&bob.user_id] });
    alice.create_room(&room).await;
    send(&alice, "b", messages).await.expect_ok();
    assert_eq!(told(&bob.sync(None, NOW).await), ["1"]);
}
