//! Events that are sent later (MSC4140).

use std::{sync::Arc, time::Duration};

use chappe::clock::ManualClock;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    client::{Answer, Client, encode},
    process::until,
    server::{TestOptions, TestServer},
};

const BASE: &str = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";

/// A server whose time stands still, with somebody and a room.
struct Site {
    server: TestServer,
    clock: Arc<ManualClock>,
    anna: Client,
    room_id: String,
}

impl Site {
    async fn new(config: &str) -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let server = TestServer::start(TestOptions {
            clock: Some(Arc::clone(&clock)),
            ..TestOptions::with(config)
        })
        .await;
        let anna = server.register("anna").await;
        let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
        Self {
            server,
            clock,
            anna,
            room_id,
        }
    }

    fn send_path(&self, transaction_id: &str, delay: &str) -> String {
        let room = encode(&self.room_id);
        format!(
            "rooms/{room}/send/m.room.message/{transaction_id}?org.matrix.msc4140.delay={delay}"
        )
    }

    async fn message(&self, transaction_id: &str, delay: &str) -> Answer {
        let content = json!({ "msgtype": "m.text", "body": transaction_id });
        let path = self.send_path(transaction_id, delay);
        self.anna.put(&path, &content).await
    }

    async fn topic(&self, topic: &str, delay: &str) -> String {
        let room = encode(&self.room_id);
        let path = format!("rooms/{room}/state/m.room.topic/?org.matrix.msc4140.delay={delay}");
        let answer = self.anna.put(&path, &json!({ "topic": topic })).await;
        id(&answer.expect_ok())
    }

    /// Lets time pass, and waits until what is due is sent: here, or by the server's own task, which
    /// may have taken it first.
    async fn pass(&self, milliseconds: u64) {
        self.clock.advance(Duration::from_millis(milliseconds));
        self.server.app.rooms().send_delayed_due().await.unwrap();
        let told = || "events are still taken".to_owned();
        until("sent", told, async || !self.has_taken().await).await;
    }

    async fn has_taken(&self) -> bool {
        let mut conn = self.server.database().connect().await;
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM delayed_events WHERE lease_ends_ms IS NOT NULL)",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap()
    }

    async fn bodies(&self) -> Vec<String> {
        let page = self.anna.messages(&self.room_id, "&limit=100").await;
        let chunk = page["chunk"].as_array().unwrap().iter().rev();
        let bodies = chunk.filter_map(|event| event["content"]["body"].as_str());
        bodies.map(str::to_owned).collect()
    }

    async fn scheduled(&self, client: &Client) -> Vec<Value> {
        let answer = client.get(BASE).await.expect_ok();
        answer["delayed_events"].as_array().unwrap().clone()
    }

    async fn topic_now(&self) -> Answer {
        let room = encode(&self.room_id);
        self.anna
            .get(&format!("rooms/{room}/state/m.room.topic/"))
            .await
    }
}

fn id(answer: &Value) -> String {
    answer["delay_id"].as_str().unwrap().to_owned()
}

async fn manage(client: &Client, delay_id: &str, action: &str) -> Answer {
    let path = format!("{BASE}/{}/{action}", encode(delay_id));
    client.post(&path, &json!({})).await
}

#[tokio::test]
async fn messages_are_sent_when_their_time_has_come_and_in_its_order() {
    let site = Site::new("").await;
    for (transaction_id, delay) in [("late", "900"), ("early", "700"), ("middle", "800")] {
        site.message(transaction_id, delay).await.expect_ok();
    }
    let listed = site.scheduled(&site.anna).await;
    let first = &listed[0];
    assert_eq!(listed.len(), 3);
    assert_eq!(first["type"], "m.room.message");
    assert_eq!(first["room_id"], site.room_id);
    assert_eq!(first["content"]["body"], "early");
    assert_eq!(first["delay"], 700);
    assert_eq!(first["running_since"], 1_700_000_000_000_i64);
    assert!(first.get("state_key").is_none());
    site.pass(699).await;
    assert!(site.bodies().await.is_empty());
    site.pass(300).await;
    assert_eq!(site.bodies().await, ["early", "middle", "late"]);
    assert!(site.scheduled(&site.anna).await.is_empty());
    let path = format!("{BASE}/{}", encode(&id(first)));
    let one = site.anna.get(&path).await.expect_ok();
    assert!(one["event_id"].is_string());
    assert_eq!(one["finalised_ts"], 1_700_000_000_999_i64);
}

#[tokio::test]
async fn processes_that_send_side_by_side_keep_the_order() {
    let site = Site::new("").await;
    let other = site.server.sibling().await;
    let delays: Vec<String> = (1..=40).map(|delay| format!("{}", delay * 10)).collect();
    for delay in delays.iter().rev() {
        site.message(delay, delay).await.expect_ok();
    }
    let servers = [&site.server, &other];
    let sending = servers
        .iter()
        .cycle()
        .take(delays.len())
        .map(async |server| {
            site.clock.advance(Duration::from_millis(10));
            server.app.rooms().send_delayed_due().await
        });
    for sent in join_all(sending).await {
        sent.unwrap();
    }
    site.pass(0).await;
    assert_eq!(site.bodies().await, delays);
}

#[tokio::test]
async fn the_sender_is_told_which_delayed_event_it_was() {
    let site = Site::new("").await;
    let delay_id = id(&site.message("m1", "100").await.expect_ok());
    site.pass(100).await;
    let page = site.anna.messages(&site.room_id, "&limit=1").await;
    let unsigned = &page["chunk"][0]["unsigned"];
    assert_eq!(unsigned["org.matrix.msc4140.delay_id"], delay_id);
    assert!(unsigned.get("transaction_id").is_none(), "{unsigned}");
    let ben = site.server.register("ben").await;
    ben.join(&site.room_id).await.expect_ok();
    let page = ben.messages(&site.room_id, "&limit=2").await;
    assert!(!page.to_string().contains("delay_id"), "{page}");
}

#[tokio::test]
async fn a_repeated_request_schedules_nothing_twice() {
    let site = Site::new("").await;
    let first = id(&site.message("m1", "700").await.expect_ok());
    let again = site
        .anna
        .put(&site.send_path("m1", "700"), &json!({}))
        .await;
    assert_eq!(id(&again.expect_ok()), first);
    let other = site.server.sibling().await;
    let anna = site.anna.at(&other.url);
    let again = anna.put(&site.send_path("m1", "700"), &json!({})).await;
    assert_eq!(id(&again.expect_ok()), first);
    assert_eq!(site.scheduled(&site.anna).await.len(), 1);
    // An event that is sent at once has transaction ids of its own.
    let room = encode(&site.room_id);
    let path = format!("rooms/{room}/send/m.room.message/m1");
    let content = json!({ "msgtype": "m.text", "body": "now" });
    site.anna.put(&path, &content).await.expect_ok();
    assert_eq!(site.bodies().await, ["now"]);
}

#[tokio::test]
async fn state_is_restarted_sent_and_canceled_by_whoever_knows_its_id() {
    let site = Site::new("").await;
    let nobody = site.server.client();
    let id = site.topic("restarted", "1000").await;
    assert_eq!(site.scheduled(&site.anna).await[0]["state_key"], "");
    site.pass(900).await;
    manage(&nobody, &id, "restart").await.expect_ok();
    site.pass(900).await;
    site.topic_now().await.expect_error(404, "M_NOT_FOUND");
    site.pass(100).await;
    assert_eq!(site.topic_now().await.expect_ok()["topic"], "restarted");
    let answer = manage(&nobody, &id, "cancel").await;
    answer.expect_error(409, "M_UNKNOWN");
    manage(&nobody, &id, "send").await.expect_ok();

    let id = site.topic("canceled", "1000").await;
    manage(&nobody, &id, "cancel").await.expect_ok();
    manage(&nobody, &id, "cancel").await.expect_ok();
    let answer = manage(&nobody, &id, "restart").await;
    answer.expect_error(409, "M_UNKNOWN");
    let answer = manage(&nobody, &id, "send").await;
    answer.expect_error(409, "M_UNKNOWN");
    site.pass(2000).await;
    assert_eq!(site.topic_now().await.expect_ok()["topic"], "restarted");

    let id = site.topic("sent", "100000").await;
    let path = format!("{BASE}/{}", encode(&id));
    let by_body = nobody.post(&path, &json!({ "action": "send" })).await;
    by_body.expect_ok();
    assert_eq!(site.topic_now().await.expect_ok()["topic"], "sent");
    assert!(site.scheduled(&site.anna).await.is_empty());
}

#[tokio::test]
async fn wrong_ids_and_actions_are_refused() {
    let site = Site::new("").await;
    let nobody = site.server.client();
    for action in ["restart", "send", "cancel"] {
        let answer = manage(&nobody, "abc", action).await;
        answer.expect_error(404, "M_NOT_FOUND");
    }
    let answer = manage(&nobody, "a\0b", "cancel").await;
    answer.expect_error(404, "M_NOT_FOUND");
    let answer = manage(&nobody, "abc", "oops").await;
    answer.expect_error(404, "M_NOT_FOUND");
    let path = format!("{BASE}/abc");
    let answer = nobody.post(&path, &json!({})).await;
    answer.expect_error(400, "M_MISSING_PARAM");
    let answer = nobody.post(&path, &json!({ "action": "oops" })).await;
    answer.expect_error(400, "M_INVALID_PARAM");
    nobody.get(BASE).await.expect_error(401, "M_MISSING_TOKEN");
    let id = id(&site.message("m1", "700").await.expect_ok());
    let ben = site.server.register("ben").await;
    assert!(site.scheduled(&ben).await.is_empty());
    let answer = ben.get(&format!("{BASE}/{}", encode(&id))).await;
    answer.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn what_cannot_be_sent_later_is_refused_at_once() {
    let site = Site::new("[rooms.delayed_events]\nmax_delay = \"1m\"\nmax_scheduled = 2").await;
    for wrong in ["", "x", "-5", "0", "99999999999999999999999"] {
        let answer = site.message("m1", wrong).await;
        answer.expect_error(400, "M_INVALID_PARAM");
    }
    let answer = site.message("m1", "60001").await;
    let body = answer.expect_error(400, "M_UNKNOWN");
    assert_eq!(body["org.matrix.msc4140.errcode"], "M_MAX_DELAY_EXCEEDED");
    assert_eq!(body["org.matrix.msc4140.max_delay"], 60_000);
    let room = encode(&site.room_id);
    let path = format!("rooms/{room}/state/m.room.power_levels/?org.matrix.msc4140.delay=5");
    let answer = site.anna.put(&path, &json!({ "ban": "50" })).await;
    answer.expect_error(400, "M_BAD_JSON");
    let ben = site.server.register("ben").await;
    let content = json!({ "msgtype": "m.text", "body": "b" });
    let answer = ben.put(&site.send_path("m1", "5"), &content).await;
    answer.expect_error(403, "M_FORBIDDEN");
    site.message("m1", "5000").await.expect_ok();
    site.message("m2", "7000").await.expect_ok();
    let answer = site.message("m3", "5").await;
    assert_eq!(answer.headers["retry-after"], "5");
    let body = answer.expect_error(429, "M_LIMIT_EXCEEDED");
    assert_eq!(body["retry_after_ms"], 5000);
    site.pass(5000).await;
    site.message("m3", "5").await.expect_ok();
    let capabilities = site.anna.get("capabilities").await.expect_ok();
    let limits = &capabilities["capabilities"]["org.matrix.msc4140.delayed_events"];
    let expected = json!({ "max_delay_ms": 60_000, "max_scheduled": 2 });
    assert_eq!(*limits, expected);
}

#[tokio::test]
async fn a_server_that_delays_nothing_says_so() {
    let site = Site::new("[rooms.delayed_events]\nmax_scheduled = 0").await;
    let answer = site.message("m1", "5").await;
    answer.expect_error(403, "M_FORBIDDEN");
    let versions = site.anna.get("/_matrix/client/versions").await.expect_ok();
    let feature = &versions["unstable_features"]["org.matrix.msc4140"];
    assert!(feature.is_null());
    let on = Site::new("").await;
    let versions = on.anna.get("/_matrix/client/versions").await.expect_ok();
    assert_eq!(versions["unstable_features"]["org.matrix.msc4140"], true);
}

#[tokio::test]
async fn an_event_that_may_not_be_sent_any_more_fails_with_the_reason() {
    let site = Site::new("").await;
    let ben = site.server.register("ben").await;
    ben.join(&site.room_id).await.expect_ok();
    let content = json!({ "msgtype": "m.text", "body": "b" });
    let answer = ben.put(&site.send_path("m1", "500"), &content).await;
    let delay_id = id(&answer.expect_ok());
    let body = json!({ "user_id": ben.user_id });
    let ban = format!("rooms/{}/ban", encode(&site.room_id));
    site.anna.post(&ban, &body).await.expect_ok();
    let answer = manage(&ben, &delay_id, "send").await;
    answer.expect_error(403, "M_FORBIDDEN");
    // It waits on, in case that changes.
    assert_eq!(site.scheduled(&ben).await.len(), 1);
    site.pass(5000).await;
    assert!(site.bodies().await.is_empty());
    let path = format!("{BASE}/{}", encode(&delay_id));
    let one = ben.get(&path).await.expect_ok();
    assert_eq!(one["error"]["errcode"], "M_FORBIDDEN");
    assert!(one.get("event_id").is_none());
}

#[tokio::test]
async fn suspended_and_closed_accounts_send_nothing_later() {
    let site = Site::new("").await;
    let ben = site.server.register("ben").await;
    let carl = site.server.register("carl").await;
    let content = json!({ "msgtype": "m.text", "body": "b" });
    let path = site.send_path("m1", "500");
    for client in [&ben, &carl] {
        client.join(&site.room_id).await.expect_ok();
        client.put(&path, &content).await.expect_ok();
    }
    let accounts = site.server.app.accounts();
    let user_id =
        |client: &Client| -> ruma::OwnedUserId { client.user_id.as_str().try_into().unwrap() };
    let hold = chappe::accounts::Hold::Suspension;
    accounts
        .hold_user(&user_id(&ben), hold, true, false)
        .await
        .unwrap();
    accounts
        .deactivate_user(&user_id(&carl), false)
        .await
        .unwrap();
    let answer = ben.put(&site.send_path("m2", "500"), &content).await;
    answer.expect_error(403, "M_USER_SUSPENDED");
    site.pass(500).await;
    assert!(site.bodies().await.is_empty());
    assert!(site.scheduled(&ben).await.is_empty());
}

#[tokio::test]
async fn the_path_of_the_newer_proposal_schedules_too() {
    let site = Site::new("").await;
    let room = encode(&site.room_id);
    let path = |kind: &str, transaction_id: &str| {
        let base = "/_matrix/client/unstable/org.matrix.msc4140";
        format!("{base}/rooms/{room}/delayed_event/{kind}/{transaction_id}")
    };
    let topic = json!({ "delay_ms": 10, "state_key": "", "content": { "topic": "later" } });
    let topic_path = path("m.room.topic", "1");
    let first = site.anna.put(&topic_path, &topic).await.expect_ok();
    let again = site.anna.put(&topic_path, &topic).await.expect_ok();
    assert_eq!(first, again);
    for (body, errcode) in [
        (json!({ "content": {} }), "M_MISSING_PARAM"),
        (json!({ "delay_ms": 10 }), "M_MISSING_PARAM"),
        (json!({ "delay_ms": -1, "content": {} }), "M_INVALID_PARAM"),
        (json!({ "delay_ms": "1", "content": {} }), "M_INVALID_PARAM"),
        (json!({ "delay_ms": 1, "content": 5 }), "M_BAD_JSON"),
    ] {
        let answer = site.anna.put(&path("m.room.message", "2"), &body).await;
        answer.expect_error(400, errcode);
    }
    site.pass(10).await;
    assert_eq!(site.topic_now().await.expect_ok()["topic"], "later");
}

#[tokio::test]
async fn any_process_sends_what_another_was_asked_for() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
    let path = |delay: u32| {
        let room = encode(&room_id);
        format!("rooms/{room}/send/m.room.message/{delay}?org.matrix.msc4140.delay={delay}")
    };
    let content = |body: &str| json!({ "msgtype": "m.text", "body": body });
    // The process that was asked sends it by itself.
    anna.put(&path(50), &content("soon")).await.expect_ok();
    let has = async |client: &Client, body: &str| {
        let page = client.messages(&room_id, "&limit=20").await;
        page["chunk"].to_string().contains(body)
    };
    let told = || "nothing".to_owned();
    until("sent", told, async || has(&anna, "\"soon\"").await).await;
    // One that has stopped meanwhile does not, and the next one does.
    anna.put(&path(60_000), &content("later")).await.expect_ok();
    anna.put(&path(300), &content("between")).await.expect_ok();
    let other = server.sibling().await;
    let anna = anna.at(&other.url);
    drop(server);
    until("sent", told, async || has(&anna, "\"between\"").await).await;
    assert!(!has(&anna, "\"later\"").await);
}
