//! Pushers, what push gateways are told, and the list of notifications.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chappe::clock::ManualClock;
use serde_json::{Value, json};

use super::paging::path;
use crate::harness::{
    client::{Client, encode},
    gateway::Gateway,
    server::{TestOptions, TestServer},
};

/// Gateways of this machine may be reached.
pub(super) const NEAR: &str = r#"
    [push]
    allow_http = true
    [outbound]
    allow_networks = ["127.0.0.0/8"]
"#;

pub(super) fn pusher(url: &str, key: &str) -> Value {
    json!({
        "kind": "http",
        "app_id": "org.example.app",
        "pushkey": key,
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "fr",
        "data": { "url": url, "custom": 1 },
    })
}

pub(super) async fn set(client: &Client, pusher: &Value) {
    client.post("pushers/set", pusher).await.expect_ok();
}

async fn pushers(client: &Client) -> Vec<Value> {
    let list = client.get("pushers").await.expect_ok();
    list["pushers"].as_array().unwrap().clone()
}

/// Anna and Ben in a room that is called "Square".
async fn pair(server: &TestServer) -> (Client, Client, String) {
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room = json!({ "preset": "public_chat", "name": "Square" });
    let room_id = anna.create_room(&room).await;
    ben.join(&room_id).await.expect_ok();
    (anna, ben, room_id)
}

#[tokio::test]
async fn pushers_are_set_listed_and_removed() {
    let server = TestServer::start(TestOptions::with(NEAR)).await;
    let (anna, ben, _) = pair(&server).await;
    let gateway = Gateway::new().await;
    assert_eq!(pushers(&ben).await, Vec::<Value>::new());
    set(&ben, &pusher(&gateway.url, "k1")).await;
    set(&ben, &pusher(&gateway.url, "k2")).await;
    let found = pushers(&ben).await;
    let keys: Vec<_> = found.iter().map(|it| it["pushkey"].as_str()).collect();
    assert_eq!(keys, [Some("k1"), Some("k2")]);
    assert_eq!(found[0]["data"], json!({ "url": gateway.url, "custom": 1 }));
    assert_eq!(found[0]["lang"], "fr");
    // The same again replaces.
    let mut other = pusher(&gateway.url, "k1");
    other["lang"] = json!("en");
    set(&ben, &other).await;
    assert_eq!(pushers(&ben).await[0]["lang"], "en");
    // The phone changes hands, unless both have it.
    other["append"] = json!(true);
    set(&anna, &other).await;
    assert_eq!(pushers(&ben).await.len(), 2);
    other["append"] = json!(false);
    set(&anna, &other).await;
    assert_eq!(pushers(&ben).await.len(), 1);
    let none = json!({ "kind": null, "app_id": "org.example.app", "pushkey": "k2" });
    set(&ben, &none).await;
    set(&ben, &none).await;
    assert_eq!(pushers(&ben).await, Vec::<Value>::new());
    server
        .client()
        .get("pushers")
        .await
        .expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn bad_pushers_are_refused() {
    let server = TestServer::new().await;
    let ben = server.register("ben").await;
    let good = "https://push.example.org/_matrix/push/v1/notify";
    let with = |change: fn(&mut Value)| {
        let mut pusher = pusher(good, "key");
        change(&mut pusher);
        pusher
    };
    let cases = [
        with(|it| it["data"]["url"] = json!("http://push.example.org/_matrix/push/v1/notify")),
        with(|it| it["data"]["url"] = json!("https://10.0.0.1/_matrix/push/v1/notify")),
        with(|it| it["data"]["url"] = json!("https://[::1]/_matrix/push/v1/notify")),
        with(|it| it["data"]["url"] = json!("https://push.example.org/elsewhere")),
        with(|it| it["data"]["url"] = json!("nothing")),
        with(|it| it["pushkey"] = json!("x".repeat(513))),
        with(|it| it["app_id"] = json!("x".repeat(65))),
        with(|it| it["pushkey"] = json!("a\u{0}b")),
        with(|it| it["lang"] = json!("x".repeat(2_000))),
        with(|it| it["data"]["more"] = json!("x".repeat(20_000))),
        with(|it| it["kind"] = json!("pigeon")),
        json!({ "kind": "http", "app_id": "a", "pushkey": "k" }),
        json!({}),
    ];
    for case in cases {
        let answer = ben.post("pushers/set", &case).await;
        assert_eq!(answer.status, 400, "{case} {}", answer.text);
    }
    let mut mail = with(|it| it["kind"] = json!("email"));
    mail["app_id"] = json!("m.email");
    mail["pushkey"] = json!("somebody@example.org");
    ben.post("pushers/set", &mail)
        .await
        .expect_error(400, "M_THREEPID_NOT_FOUND");
    assert_eq!(pushers(&ben).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_gateway_is_told_of_messages_and_of_what_was_read() {
    let server = TestServer::start(TestOptions::with(NEAR)).await;
    let (anna, ben, room_id) = pair(&server).await;
    let gateway = Gateway::new().await;
    set(&ben, &pusher(&gateway.url, "full")).await;
    let mut short = pusher(&gateway.url, "short");
    short["data"]["format"] = json!("event_id_only");
    set(&ben, &short).await;
    // Ben's own messages are no news for Ben.
    ben.send(&room_id, "mine").await;
    let event_id = anna.send(&room_id, "hello").await;
    let is = |event_id: &str, key: &str| {
        let (event_id, key) = (event_id.to_owned(), key.to_owned());
        move |told: &Value| told["event_id"] == *event_id && told["devices"][0]["pushkey"] == *key
    };
    let told = gateway.until("in full", is(&event_id, "full")).await;
    assert_eq!(told["room_id"], *room_id);
    assert_eq!(told["type"], "m.room.message");
    assert_eq!(told["sender"], *anna.user_id);
    assert_eq!(told["room_name"], "Square");
    assert_eq!(told["content"]["body"], "hello");
    assert_eq!(told["counts"], json!({ "unread": 1 }));
    assert_eq!(told["prio"], "high");
    assert_eq!(told["devices"][0]["tweaks"], json!({ "sound": "default" }));
    assert_eq!(told["devices"][0]["data"], json!({ "custom": 1 }));
    assert_eq!(told["devices"][0]["app_id"], "org.example.app");
    assert!(told["devices"][0]["pushkey_ts"].is_i64());
    let told = gateway.until("in short", is(&event_id, "short")).await;
    assert!(told.get("content").is_none() && told.get("sender").is_none());
    let data = &told["devices"][0]["data"];
    assert_eq!(*data, json!({ "custom": 1, "format": "event_id_only" }));
    // Reading clears the number.
    let read = path(&room_id, &format!("receipt/m.read/{}", encode(&event_id)));
    ben.post(&read, &json!({})).await.expect_ok();
    gateway
        .wait("of the number alone", |told| {
            let is_event = |told: &Value| told["event_id"] == *event_id;
            let after = told.iter().skip_while(|told| !is_event(told));
            after
                .filter(|told| told.get("event_id").is_none())
                .any(|told| told["counts"]["unread"] == 0)
        })
        .await;
    let own = gateway
        .told()
        .iter()
        .any(|told| told["content"]["body"] == "mine");
    assert!(!own);
}

#[tokio::test]
async fn a_mention_is_highlighted_a_muted_room_is_silent_and_an_invitation_rings() {
    let server = TestServer::start(TestOptions::with(NEAR)).await;
    let (anna, ben, room_id) = pair(&server).await;
    let gateway = Gateway::new().await;
    set(&ben, &pusher(&gateway.url, "key")).await;
    let rule = format!("pushrules/global/room/{}", encode(&room_id));
    ben.put(&rule, &json!({ "actions": [] })).await.expect_ok();
    let silent = anna.send(&room_id, "not for you").await;
    let mention = json!({
        "msgtype": "m.text", "body": "ben", "m.mentions": { "user_ids": [ben.user_id] },
    });
    let loud = anna.send_event(&room_id, "m.room.message", &mention).await;
    let told = gateway.of(&loud).await;
    let tweaks = json!({ "sound": "default", "highlight": true });
    assert_eq!(told["devices"][0]["tweaks"], tweaks);
    let other = anna.create_room(&json!({})).await;
    anna.invite(&other, &ben.user_id).await.expect_ok();
    let told = gateway
        .until("of the invitation", |told| told["type"] == "m.room.member")
        .await;
    assert_eq!(told["user_is_target"], true);
    assert!(
        !gateway
            .told()
            .iter()
            .any(|told| told["event_id"] == *silent)
    );
}

#[tokio::test]
async fn a_gateway_that_fails_is_tried_again_and_loses_nothing() {
    let server = TestServer::start(TestOptions::with(NEAR)).await;
    let (anna, ben, room_id) = pair(&server).await;
    let gateway = Gateway::new().await;
    gateway.answer(502, json!({}));
    set(&ben, &pusher(&gateway.url, "key")).await;
    let first = anna.send(&room_id, "first").await;
    gateway.refused(1).await;
    let second = anna.send(&room_id, "second").await;
    gateway.refused(2).await;
    // Another process takes over.
    let sibling = server.sibling().await;
    server.stop().await;
    gateway.answer(200, json!({ "rejected": [] }));
    let told = gateway.of(&first).await;
    assert_eq!(told["counts"]["unread"], 2);
    gateway.of(&second).await;
    let anna = anna.at(&sibling.url);
    let third = anna.send(&room_id, "third").await;
    gateway.of(&third).await;
}

#[tokio::test]
async fn what_happens_while_a_gateway_is_tried_again_is_told_at_once() {
    let server = TestServer::start(TestOptions::with(NEAR)).await;
    let (anna, ben, room_id) = pair(&server).await;
    let (good, gateway) = (Gateway::new().await, Gateway::new().await);
    gateway.answer(502, json!({}));
    set(&ben, &pusher(&gateway.url, "key")).await;
    set(&ben, &pusher(&good.url, "good")).await;
    let first = anna.send(&room_id, "first").await;
    gateway.refused(1).await;
    // It thinks while all others are told more.
    gateway.delay(Duration::from_secs(3));
    gateway.answer(200, json!({ "rejected": [] }));
    gateway.of(&first).await;
    let second = anna.send(&room_id, "second").await;
    good.of(&second).await;
    gateway.of(&second).await;
    let third = anna.send(&room_id, "third").await;
    gateway.of(&third).await;
}

#[tokio::test]
async fn a_slow_gateway_holds_up_nobody_else() {
    let server = TestServer::start(TestOptions::with(NEAR)).await;
    let (anna, ben, room_id) = pair(&server).await;
    let (good, slow) = (Gateway::new().await, Gateway::new().await);
    slow.delay(Duration::from_secs(9));
    set(&ben, &pusher(&slow.url, "slow")).await;
    set(&ben, &pusher(&good.url, "good")).await;
    let begun = Instant::now();
    for text in ["one", "two", "three", "four"] {
        let event_id = anna.send(&room_id, text).await;
        good.of(&event_id).await;
    }
    // Nine seconds for each message but the first, otherwise.
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(20), "{taken:?}");
}

#[tokio::test]
async fn a_rejected_pusher_is_removed() {
    let server = TestServer::start(TestOptions::with(NEAR)).await;
    let (anna, ben, room_id) = pair(&server).await;
    let (good, gateway) = (Gateway::new().await, Gateway::new().await);
    set(&ben, &pusher(&gateway.url, "gone")).await;
    set(&ben, &pusher(&good.url, "kept")).await;
    // It may yet be told how much there was to read when Ben joined.
    let before = anna.send(&room_id, "before").await;
    gateway.of(&before).await;
    gateway.answer(200, json!({ "rejected": ["gone"] }));
    let first = anna.send(&room_id, "first").await;
    gateway.of(&first).await;
    good.of(&first).await;
    let second = anna.send(&room_id, "second").await;
    good.of(&second).await;
    let left = pushers(&ben).await;
    let keys: Vec<_> = left.iter().map(|it| it["pushkey"].as_str()).collect();
    assert_eq!(keys, [Some("kept")]);
}

#[tokio::test]
async fn a_pusher_goes_with_its_device() {
    let server = TestServer::start(TestOptions::with(NEAR)).await;
    let (_, ben, _) = pair(&server).await;
    let gateway = Gateway::new().await;
    let mut phone = server.client();
    phone
        .login("ben", crate::harness::server::PASSWORD)
        .await
        .expect_ok();
    set(&phone, &pusher(&gateway.url, "phone")).await;
    set(&ben, &pusher(&gateway.url, "desk")).await;
    phone.post("logout", &json!({})).await.expect_ok();
    let left = pushers(&ben).await;
    let keys: Vec<_> = left.iter().map(|it| it["pushkey"].as_str()).collect();
    assert_eq!(keys, [Some("desk")]);
}

#[tokio::test]
async fn r_35_noisy_rules_make_a_sound_for_every_message() {
    for noisy in [true, false] {
        let config = NEAR.replace("[push]", &format!("[push]\nnoisy = {noisy}"));
        let server = TestServer::start(TestOptions::with(&config)).await;
        let (anna, ben, room_id) = pair(&server).await;
        server
            .register("carl")
            .await
            .join(&room_id)
            .await
            .expect_ok();
        let gateway = Gateway::new().await;
        set(&ben, &pusher(&gateway.url, "key")).await;
        let event_id = anna.send(&room_id, "to the three of us").await;
        let told = gateway.of(&event_id).await;
        let sound = told["devices"][0]["tweaks"]["sound"].as_str();
        assert_eq!(sound, noisy.then_some("default"), "noisy: {noisy}");
        // Who is named without being mentioned hears it as everybody does.
        let content = json!({
            "msgtype": "m.text", "body": format!("for {}", ben.user_id), "m.mentions": {},
        });
        let event_id = anna.send_event(&room_id, "m.room.message", &content).await;
        let told = gateway.of(&event_id).await;
        let sound = told["devices"][0]["tweaks"]["sound"].as_str();
        assert_eq!(sound, noisy.then_some("default"), "noisy: {noisy}");
        // Clients work it out themselves from the rules that they are given.
        let rule = ben
            .get("pushrules/global/underride/.m.rule.message/actions")
            .await;
        let actions = rule.expect_ok()["actions"].to_string();
        assert_eq!(actions.contains("sound"), noisy, "{actions}");
    }
}

#[tokio::test]
async fn av_05_an_expired_user_gets_no_push() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let server = TestServer::start(TestOptions {
        config: format!("{NEAR}\n[accounts.validity]\nperiod = \"90d\"\nreminders = []\n"),
        clock: Some(Arc::clone(&clock)),
        ..TestOptions::default()
    })
    .await;
    let (anna, ben, room_id) = pair(&server).await;
    let gateway = Gateway::new().await;
    set(&ben, &pusher(&gateway.url, "key")).await;
    let before = anna.send(&room_id, "before").await;
    gateway.of(&before).await;
    // Later Carl comes, whose account lives longer.
    clock.advance(Duration::from_hours(80 * 24));
    let carl = server.register("carl").await;
    let other = Gateway::new().await;
    set(&carl, &pusher(&other.url, "other")).await;
    carl.join(&room_id).await.expect_ok();
    let dora = server.register("dora").await;
    dora.join(&room_id).await.expect_ok();
    clock.advance(Duration::from_hours(20 * 24));
    let after = dora.send(&room_id, "after").await;
    other.of(&after).await;
    // A renewal brings notifications back, but not what came meanwhile.
    server.make_admin(&dora).await;
    let renewed = json!({ "user_id": ben.user_id, "expiration_ts": 9_999_999_999_999_i64 });
    let path = "/_synapse/client/email_account_validity/admin";
    dora.post(path, &renewed).await.expect_ok();
    let again = dora.send(&room_id, "again").await;
    gateway.of(&again).await;
    other.of(&again).await;
    assert!(!gateway.told().iter().any(|told| told["event_id"] == *after));
    // Who is locked is told nothing either.
    let path = format!("/_matrix/client/v1/admin/lock/{}", encode(&carl.user_id));
    dora.put(&path, &json!({ "locked": true }))
        .await
        .expect_ok();
    let unheard = dora.send(&room_id, "not for Carl").await;
    gateway.of(&unheard).await;
    // What comes later is looked at once all have been told of this.
    let last = dora.send(&room_id, "last").await;
    gateway.of(&last).await;
    assert!(!other.told().iter().any(|told| told["event_id"] == *unheard));
}

#[tokio::test]
async fn notifications_are_listed_newest_first() {
    let server = TestServer::new().await;
    let (anna, ben, room_id) = pair(&server).await;
    let mut sent = Vec::new();
    for number in 0..5 {
        let body = format!("message {number}");
        let mut content = json!({ "msgtype": "m.text", "body": body });
        if number == 2 {
            content["m.mentions"] = json!({ "user_ids": [ben.user_id] });
        }
        sent.push(anna.send_event(&room_id, "m.room.message", &content).await);
    }
    let read = path(&room_id, &format!("receipt/m.read/{}", encode(&sent[1])));
    ben.post(&read, &json!({})).await.expect_ok();
    let mut listed = Vec::new();
    let mut from = String::new();
    loop {
        let query = format!("notifications?limit=2{from}");
        let page = ben.get(&query).await.expect_ok();
        listed.extend(page["notifications"].as_array().unwrap().clone());
        let Some(next) = page["next_token"].as_str() else {
            break;
        };
        from = format!("&from={next}");
    }
    let ids: Vec<_> = listed
        .iter()
        .map(|it| it["event"]["event_id"].as_str().unwrap())
        .collect();
    let newest: Vec<_> = sent.iter().rev().map(String::as_str).collect();
    assert_eq!(ids, newest);
    let read: Vec<_> = listed
        .iter()
        .map(|it| it["read"].as_bool().unwrap())
        .collect();
    assert_eq!(read, [false, false, false, true, true]);
    assert_eq!(listed[0]["room_id"], *room_id);
    assert_eq!(listed[0]["actions"][0], "notify");
    let loud = ben.get("notifications?only=highlight").await.expect_ok();
    let loud = loud["notifications"].as_array().unwrap();
    assert_eq!(loud.len(), 1);
    assert_eq!(loud[0]["event"]["event_id"], *sent[2]);
    // Anna sent all of them.
    let own = anna.get("notifications").await.expect_ok();
    assert_eq!(own["notifications"], json!([]));
    ben.get("notifications?from=nonsense")
        .await
        .expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn a_mail_tells_of_messages_that_wait_for_three_days_until_it_is_not_wanted() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let server = TestServer::start(TestOptions {
        clock: Some(Arc::clone(&clock)),
        ..TestOptions::default()
    })
    .await;
    let (anna, ben, room_id) = pair(&server).await;
    let store = server.app.store();
    let user_id = ruma::UserId::parse(&ben.user_id).unwrap();
    let user = store.user_number(&user_id).await.unwrap();
    let mut conn = store.conn().await.unwrap();
    chappe::store::threepids::insert(&mut conn, user, "ben@example.org", 1, 1)
        .await
        .unwrap();
    drop(conn);
    let mut mail = pusher("", "ben@example.org");
    mail["kind"] = json!("email");
    mail["app_id"] = json!("m.email");
    mail["data"] = json!({});
    set(&ben, &mail).await;
    anna.send(&room_id, "a secret").await;
    let hours = |hours| clock.advance(Duration::from_hours(hours));
    let count = async || {
        server.app.push().mail().await.unwrap();
        server.mails().await.len()
    };
    hours(71);
    assert_eq!(count().await, 0);
    hours(2);
    assert_eq!(count().await, 1);
    let said = server.mail_to("ben@example.org").await;
    assert!(
        said.subject.contains("un message non lu"),
        "{}",
        said.subject
    );
    assert!(!said.text.contains("a secret"));
    // The same messages are told of once; others wait for as long again.
    hours(100);
    assert_eq!(count().await, 1);
    anna.send(&room_id, "another").await;
    hours(73);
    assert_eq!(count().await, 2);
    // The link asks first, and then ends them.
    let link = said
        .text
        .lines()
        .find(|line| line.contains("unsubscribe"))
        .unwrap();
    let link = url::Url::parse(link.trim()).unwrap();
    let opened = format!("{}?{}", link.path(), link.query().unwrap());
    let asked = server.client().get(&opened).await;
    assert_eq!(asked.status, 200);
    assert_eq!(pushers(&ben).await.len(), 1);
    let form = reqwest::Client::builder().no_proxy().build().unwrap();
    let to = format!("{}{}", server.url, link.path());
    let body = link.query().unwrap().to_owned();
    let post = |body: String| {
        form.post(&to)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
    };
    post(body.replace("code=", "code=A")).await.unwrap();
    assert_eq!(pushers(&ben).await.len(), 1);
    assert_eq!(post(body).await.unwrap().status(), 200);
    assert_eq!(pushers(&ben).await, Vec::<Value>::new());
    anna.send(&room_id, "one more").await;
    hours(100);
    assert_eq!(count().await, 2);
}
