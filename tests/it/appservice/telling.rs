//! What application services are told, and when they are asked.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};

use super::{HS_TOKEN, Site, of, registration};
use crate::harness::{
    client::{Client, encode},
    keys::Device,
    process::until,
};

/// A request that the service got.
#[derive(Clone, Debug)]
struct Got {
    method: Method,
    path: String,
    query: String,
    body: Value,
}

#[derive(Default)]
struct Inner {
    got: Mutex<Vec<Got>>,
    /// What it answers to transactions before it begins to take them.
    refusals: Mutex<VecDeque<u16>>,
    /// What it answers to other requests, by path.
    answers: Mutex<Vec<(String, u16, Value)>>,
}

/// An application service.
#[derive(Clone, Default)]
struct Bridge(Arc<Inner>);

impl Bridge {
    /// Begins to listen, and gives its address.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}")
    }

    fn refuse(&self, statuses: &[u16]) {
        self.0.refusals.lock().unwrap().extend(statuses);
    }

    fn answer(&self, path: &str, status: u16, body: Value) {
        let answer = (path.to_owned(), status, body);
        self.0.answers.lock().unwrap().push(answer);
    }

    fn got(&self) -> Vec<Got> {
        self.0.got.lock().unwrap().clone()
    }

    /// The requests with a transaction, also those that were refused.
    fn transactions(&self) -> Vec<Got> {
        let mut got = self.got();
        got.retain(|got| got.path.contains("/transactions/"));
        got
    }

    /// What was told, each transaction once.
    fn told(&self, what: &str) -> Vec<Value> {
        let mut ids = std::collections::HashSet::new();
        let transactions = self.transactions().into_iter();
        let new = transactions.filter(|got| ids.insert(got.path.clone()));
        new.flat_map(|got| got.body[what].as_array().cloned().unwrap_or_default())
            .collect()
    }

    /// The texts of the messages that it was told of, in order.
    fn texts(&self) -> Vec<String> {
        let events = self.told("events");
        let texts = events
            .iter()
            .filter_map(|event| event["content"]["body"].as_str());
        texts.map(str::to_owned).collect()
    }

    #[expect(
        clippy::future_not_send,
        reason = "a test waits for it in its own thread"
    )]
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        until(what, || format!("{:#?}", self.got()), async || holds(self)).await;
    }
}

async fn answer(
    State(bridge): State<Bridge>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let expected = format!("Bearer {HS_TOKEN}");
    if headers
        .get("authorization")
        .is_none_or(|token| *token != *expected)
    {
        return (
            StatusCode::FORBIDDEN,
            Json(json!({ "errcode": "M_FORBIDDEN" })),
        );
    }
    let path = uri.path().to_owned();
    bridge.0.got.lock().unwrap().push(Got {
        method,
        path: path.clone(),
        query: uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    if path.contains("/transactions/") {
        let refusal = bridge.0.refusals.lock().unwrap().pop_front();
        let status = StatusCode::from_u16(refusal.unwrap_or(200)).unwrap();
        return (status, Json(json!({})));
    }
    let answers = bridge.0.answers.lock().unwrap();
    match answers.iter().find(|(of, ..)| *of == path) {
        Some((_, status, body)) => (StatusCode::from_u16(*status).unwrap(), Json(body.clone())),
        None => (
            StatusCode::NOT_FOUND,
            Json(json!({ "errcode": "M_NOT_FOUND" })),
        ),
    }
}

/// A site with a service that listens, a user of it, and a room of the user.
async fn begin(bridge: &Bridge, more: &str) -> (Site, String) {
    let site = Site::new(&registration(Some(&bridge.start().await), more)).await;
    let room_id = room_of(&site, "_bridge_anna").await;
    (site, room_id)
}

async fn room_of(site: &Site, name: &str) -> String {
    let service = site.service();
    let body = json!({ "type": "m.login.application_service", "username": name });
    service.post("register", &body).await.expect_ok();
    let body = json!({ "preset": "public_chat" });
    let room = service.post(&of("createRoom", name), &body).await;
    room.expect_ok()["room_id"].as_str().unwrap().to_owned()
}

async fn joined(site: &Site, name: &str, room_id: &str) -> Client {
    let client = site.server.register(name).await;
    client.join(room_id).await.expect_ok();
    client
}

#[tokio::test]
async fn a_service_is_told_what_happens_where_its_users_are_and_nothing_else() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "").await;
    let ben = joined(&site, "ben", &room_id).await;
    let elsewhere = ben.create_room(&json!({})).await;
    ben.send(&elsewhere, "secret").await;
    ben.send(&room_id, "hello").await;
    bridge
        .until("told", |bridge| bridge.texts() == ["hello"])
        .await;
    let told = bridge.told("events");
    let event = told.last().unwrap();
    assert_eq!(event["room_id"], room_id.as_str());
    assert_eq!(event["sender"], "@ben:example.org");
    assert!(
        told.iter()
            .all(|event| event["room_id"] == room_id.as_str())
    );
    // An invite of one of its users is told too, and what follows once it has joined.
    ben.invite(&elsewhere, "@_bridge_anna:example.org")
        .await
        .expect_ok();
    let service = site.service();
    let join = of(&format!("join/{}", encode(&elsewhere)), "_bridge_anna");
    service.post(&join, &json!({})).await.expect_ok();
    ben.send(&elsewhere, "welcome").await;
    bridge
        .until("told", |bridge| bridge.texts() == ["hello", "welcome"])
        .await;
    let invite = bridge.told("events").into_iter().find(|event| {
        event["room_id"] == elsewhere.as_str() && event["content"]["membership"] == "invite"
    });
    assert_eq!(invite.unwrap()["state_key"], "@_bridge_anna:example.org");
    // And no more once the last of them has left.
    let leave = of(
        &format!("rooms/{}/leave", encode(&elsewhere)),
        "_bridge_anna",
    );
    service.post(&leave, &json!({})).await.expect_ok();
    ben.send(&elsewhere, "among us").await;
    ben.send(&room_id, "last").await;
    bridge
        .until("told", |bridge| bridge.texts().contains(&"last".to_owned()))
        .await;
    assert_eq!(bridge.texts(), ["hello", "welcome", "last"]);
}

#[tokio::test]
async fn a_transaction_is_sent_again_as_it_was_until_it_is_taken() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "").await;
    bridge
        .until("told", |bridge| !bridge.transactions().is_empty())
        .await;
    let ben = joined(&site, "ben", &room_id).await;
    bridge
        .until("told", |bridge| {
            bridge
                .told("events")
                .iter()
                .any(|event| event["state_key"] == "@ben:example.org")
        })
        .await;
    let before = bridge.transactions().len();
    bridge.refuse(&[500, 502]);
    for text in ["one", "two", "three"] {
        ben.send(&room_id, text).await;
    }
    bridge
        .until("told", |bridge| bridge.texts() == ["one", "two", "three"])
        .await;
    let sent = bridge.transactions().split_off(before);
    assert_eq!(sent[0].path, sent[1].path);
    assert_eq!(sent[0].path, sent[2].path);
    assert_eq!(sent[0].body, sent[1].body);
    assert_eq!(sent[0].body, sent[2].body);
    assert!(sent.iter().all(|got| got.method == Method::PUT));
}

#[tokio::test]
async fn what_was_not_told_is_told_after_a_restart_by_whichever_process() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "").await;
    let sibling = site.server.sibling().await;
    let ben = joined(&site, "ben", &room_id).await;
    ben.send(&room_id, "one").await;
    bridge
        .until("told", |bridge| bridge.texts() == ["one"])
        .await;
    // The process that tells ends in the middle of a transaction.
    bridge.refuse(&[500]);
    ben.send(&room_id, "two").await;
    let Site { server, .. } = site;
    server.stop().await;
    let ben = ben.at(&sibling.url);
    ben.send(&room_id, "three").await;
    bridge
        .until("told", |bridge| bridge.texts() == ["one", "two", "three"])
        .await;
}

#[tokio::test]
async fn older_services_have_older_paths() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "").await;
    let ben = joined(&site, "ben", &room_id).await;
    bridge
        .until("told", |bridge| {
            bridge
                .told("events")
                .iter()
                .any(|event| event["state_key"] == "@ben:example.org")
        })
        .await;
    bridge.refuse(&[405]);
    ben.send(&room_id, "hello").await;
    bridge
        .until("told", |bridge| {
            let last = bridge.transactions().pop().unwrap();
            last.path.starts_with("/transactions/") && last.query.contains(HS_TOKEN)
        })
        .await;
}

#[tokio::test]
async fn a_service_that_wants_it_is_told_who_types_and_who_has_read() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "receive_ephemeral: true").await;
    let ben = joined(&site, "ben", &room_id).await;
    let event_id = ben.send(&room_id, "hello").await;
    let room = encode(&room_id);
    let typing = format!("rooms/{room}/typing/%40ben%3Aexample.org");
    let body = json!({ "typing": true, "timeout": 30_000 });
    ben.put(&typing, &body).await.expect_ok();
    for kind in ["m.read", "m.read.private"] {
        let receipt = format!("rooms/{room}/receipt/{kind}/{}", encode(&event_id));
        ben.post(&receipt, &json!({})).await.expect_ok();
    }
    let is = |kind: &'static str| {
        move |bridge: &Bridge| {
            bridge
                .told("ephemeral")
                .iter()
                .any(|edu| edu["type"] == kind)
        }
    };
    bridge.until("typing", is("m.typing")).await;
    bridge.until("receipt", is("m.receipt")).await;
    let told = bridge.told("ephemeral");
    let typing = told.iter().find(|edu| edu["type"] == "m.typing").unwrap();
    assert_eq!(typing["room_id"], room_id.as_str());
    assert_eq!(
        typing["content"],
        json!({ "user_ids": ["@ben:example.org"] })
    );
    let receipts: Vec<&Value> = told
        .iter()
        .filter(|edu| edu["type"] == "m.receipt")
        .collect();
    let said = &receipts[0]["content"][&event_id];
    assert!(
        said["m.read"]["@ben:example.org"]["ts"].is_u64(),
        "{receipts:?}"
    );
    // A private receipt is its user's affair.
    assert!(
        receipts
            .iter()
            .all(|edu| !edu.to_string().contains("m.read.private"))
    );
}

/// What a service was told of who is there, by user, oldest first.
fn presence(bridge: &Bridge, user_id: &str) -> Vec<Value> {
    let told = bridge.told("ephemeral").into_iter();
    let told = told.filter(|edu| edu["type"] == "m.presence" && edu["sender"] == user_id);
    told.map(|edu| edu["content"].clone()).collect()
}

async fn set_presence(client: &Client, state: &str, status: &str) {
    let path = format!("presence/{}/status", encode(&client.user_id));
    let body = json!({ "presence": state, "status_msg": status });
    client.put(&path, &body).await.expect_ok();
}

#[tokio::test]
async fn a_service_that_wants_it_is_told_who_is_there() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "receive_ephemeral: true").await;
    let ben = joined(&site, "ben", &room_id).await;
    let helper = site.server.register("helper").await;
    let carl = site.server.register("carl").await;
    let elsewhere = carl.create_room(&json!({ "preset": "public_chat" })).await;
    // Somebody who shares a room, a user of its own who is in no room, and a stranger.
    set_presence(&carl, "online", "a stranger").await;
    set_presence(&helper, "unavailable", "its own").await;
    set_presence(&ben, "online", "one").await;
    bridge
        .until("told", |bridge| {
            let has = |user_id: &str| !presence(bridge, user_id).is_empty();
            has(&ben.user_id) && has(&helper.user_id)
        })
        .await;
    let of_ben = presence(&bridge, &ben.user_id);
    let last = of_ben.last().unwrap();
    assert_eq!(
        (&last["presence"], &last["status_msg"]),
        (&json!("online"), &json!("one"))
    );
    assert!(last["last_active_ago"].is_u64(), "{last}");
    assert_eq!(last["currently_active"], true);
    let of_helper = presence(&bridge, &helper.user_id);
    assert_eq!(of_helper[0]["presence"], "unavailable");
    let told = bridge.told("ephemeral");
    let event = told.iter().find(|edu| edu["type"] == "m.presence").unwrap();
    assert!(event.get("room_id").is_none(), "{event}");
    assert_eq!(told, bridge.told("de.sorunome.msc2409.ephemeral"));
    // What changes often is told once a second, as it is then.
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < Duration::from_millis(1_500) {
        set_presence(&ben, "online", &number.to_string()).await;
        number += 1;
    }
    set_presence(&ben, "online", "last").await;
    bridge
        .until("told", |bridge| {
            let of_ben = presence(bridge, &ben.user_id);
            of_ben
                .last()
                .is_some_and(|last| last["status_msg"] == "last")
        })
        .await;
    let count = presence(&bridge, &ben.user_id).len() - of_ben.len();
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!(count <= seconds + 2, "told {count} times in {seconds} s");
    assert_eq!(presence(&bridge, &carl.user_id), Vec::<Value>::new());
    // The stranger is none any more once one of the service's users is where they are, and is one
    // again when that has left.
    let service = site.service();
    let act = async |what: &str| {
        let path = of(&format!("{what}/{}", encode(&elsewhere)), "_bridge_anna");
        service.post(&path, &json!({})).await.expect_ok();
    };
    act("join").await;
    set_presence(&carl, "online", "no stranger").await;
    bridge
        .until("told", |bridge| {
            let of_carl = presence(bridge, &carl.user_id);
            of_carl
                .last()
                .is_some_and(|last| last["status_msg"] == "no stranger")
        })
        .await;
    let path = of(
        &format!("rooms/{}/leave", encode(&elsewhere)),
        "_bridge_anna",
    );
    service.post(&path, &json!({})).await.expect_ok();
    set_presence(&carl, "online", "a stranger again").await;
    set_presence(&ben, "online", "after Carl").await;
    bridge
        .until("told", |bridge| {
            let of_ben = presence(bridge, &ben.user_id);
            of_ben
                .last()
                .is_some_and(|last| last["status_msg"] == "after Carl")
        })
        .await;
    let of_carl = presence(&bridge, &carl.user_id);
    assert_eq!(of_carl.last().unwrap()["status_msg"], "no stranger");
}

#[tokio::test]
async fn a_service_is_told_at_another_process_who_is_there() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "receive_ephemeral: true").await;
    bridge
        .until("told", |bridge| !bridge.transactions().is_empty())
        .await;
    let ben = joined(&site, "ben", &room_id).await;
    let sibling = site.server.sibling().await;
    set_presence(&ben.at(&sibling.url), "online", "elsewhere").await;
    bridge
        .until("told", |bridge| {
            let of_ben = presence(bridge, &ben.user_id);
            of_ben
                .last()
                .is_some_and(|last| last["status_msg"] == "elsewhere")
        })
        .await;
}

#[tokio::test]
async fn nobody_is_told_who_is_there_where_that_is_off_or_not_wanted() {
    for (more, config) in [
        ("receive_ephemeral: true", "presence.enabled = false"),
        ("", "presence.enabled = true"),
    ] {
        let bridge = Bridge::default();
        let registration = registration(Some(&bridge.start().await), more);
        let site = Site::with(&registration, config).await;
        let room_id = room_of(&site, "_bridge_anna").await;
        let ben = joined(&site, "ben", &room_id).await;
        set_presence(&ben, "online", "here").await;
        // Longer than it takes to be told.
        site.server.app.presence().tick().await;
        ben.send(&room_id, "later").await;
        bridge
            .until("told", |bridge| bridge.texts() == ["later"])
            .await;
        assert_eq!(presence(&bridge, &ben.user_id), Vec::<Value>::new());
    }
}

#[tokio::test]
async fn users_of_services_say_how_they_are_without_a_device() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "").await;
    let ben = joined(&site, "ben", &room_id).await;
    let path = format!("presence/{}/status", encode("@_bridge_anna:example.org"));
    let body = json!({ "presence": "online", "status_msg": "over there" });
    let own = of(&path, "_bridge_anna");
    site.service().put(&own, &body).await.expect_ok();
    let seen = ben.get(&path).await.expect_ok();
    assert_eq!(
        (&seen["presence"], &seen["status_msg"]),
        (&json!("online"), &json!("over there"))
    );
}

#[tokio::test]
async fn a_service_is_told_what_its_users_need_to_read_encrypted_messages() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "receive_ephemeral: true").await;
    let service = site.service();
    let name = "@_bridge_anna:example.org";
    let own = |path: &str| of(&format!("{path}?device_id=ONE"), "_bridge_anna");
    let made = service
        .put(&of("devices/ONE", "_bridge_anna"), &json!({}))
        .await;
    assert_eq!(made.status, 201);
    let mut anna = site.server.client();
    name.clone_into(&mut anna.user_id);
    "ONE".clone_into(&mut anna.device_id);
    let device = Device::of(&anna);
    let body = json!({
        "device_keys": device.keys(),
        "one_time_keys": { "signed_curve25519:A": device.one_time_key(7) },
    });
    service.post(&own("keys/upload"), &body).await.expect_ok();
    let count = |bridge: &Bridge, count: i64| {
        bridge.transactions().iter().any(|got| {
            let counts = &got.body["org.matrix.msc3202.device_one_time_keys_count"];
            counts == &got.body["device_one_time_keys_count"]
                && counts[name]["ONE"]["signed_curve25519"] == count
        })
    };
    bridge.until("counted", |bridge| count(bridge, 1)).await;
    // Somebody who shares a room writes to the device, more than fits into one transaction.
    let ben = joined(&site, "ben", &room_id).await;
    let claim = json!({ "one_time_keys": { name: { "ONE": "signed_curve25519" } } });
    ben.post("keys/claim", &claim).await.expect_ok();
    bridge.until("claimed", |bridge| count(bridge, 0)).await;
    for number in 0..130 {
        let body = json!({ "messages": { name: { "ONE": { "number": number } } } });
        let path = format!("sendToDevice/org.example.note/{}", ben.transaction_id());
        ben.put(&path, &body).await.expect_ok();
    }
    let numbers = |bridge: &Bridge| -> Vec<i64> {
        let told = bridge.told("to_device");
        let numbers = told.iter().map(|event| event["content"]["number"].as_i64());
        numbers.flatten().collect()
    };
    bridge
        .until("written", |bridge| numbers(bridge).len() >= 130)
        .await;
    assert_eq!(numbers(&bridge), (0..130).collect::<Vec<_>>());
    let told = bridge.told("to_device");
    assert_eq!(told, bridge.told("de.sorunome.msc2409.to_device"));
    assert_eq!(told[0]["to_user_id"], name);
    assert_eq!(told[0]["to_device_id"], "ONE");
    assert_eq!(told[0]["sender"], ben.user_id.as_str());
    assert_eq!(told[0]["type"], "org.example.note");
    // Nobody gets them twice.
    let sync = service.get(&own("sync")).await.expect_ok();
    assert!(sync.get("to_device").is_none(), "{sync}");
    // Whose devices have changed, where the service is; and nothing of others.
    let carl = site.server.register("carl").await;
    for client in [&carl, &ben] {
        let body = json!({ "device_keys": Device::of(client).keys() });
        client.post("keys/upload", &body).await.expect_ok();
    }
    let changed = |bridge: &Bridge, user_id: &str| {
        bridge.transactions().iter().any(|got| {
            let changed = got.body["device_lists"]["changed"].as_array();
            changed.is_some_and(|changed| changed.iter().any(|one| one == user_id))
        })
    };
    bridge
        .until("changed", |bridge| changed(bridge, &ben.user_id))
        .await;
    assert!(!changed(&bridge, &carl.user_id));
}

#[tokio::test]
async fn a_service_that_does_not_want_it_leaves_messages_to_devices_where_they_are() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "").await;
    let service = site.service();
    let device = of("devices/ONE", "_bridge_anna");
    assert_eq!(service.put(&device, &json!({})).await.status, 201);
    let ben = joined(&site, "ben", &room_id).await;
    let body = json!({ "messages": { "@_bridge_anna:example.org": { "ONE": { "a": 1 } } } });
    ben.put("sendToDevice/org.example.note/1", &body)
        .await
        .expect_ok();
    ben.send(&room_id, "later").await;
    bridge
        .until("told", |bridge| bridge.texts() == ["later"])
        .await;
    assert!(bridge.told("to_device").is_empty());
    let sync = of("sync?device_id=ONE", "_bridge_anna");
    let sync = service.get(&sync).await.expect_ok();
    assert_eq!(sync["to_device"]["events"][0]["content"]["a"], 1);
}

#[tokio::test]
async fn a_service_that_does_not_want_it_is_told_of_events_alone() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "").await;
    let ben = joined(&site, "ben", &room_id).await;
    let event_id = ben.send(&room_id, "hello").await;
    let path = format!(
        "rooms/{}/receipt/m.read/{}",
        encode(&room_id),
        encode(&event_id)
    );
    ben.post(&path, &json!({})).await.expect_ok();
    ben.send(&room_id, "again").await;
    bridge
        .until("told", |bridge| bridge.texts() == ["hello", "again"])
        .await;
    assert!(bridge.told("ephemeral").is_empty());
}

#[tokio::test]
async fn a_service_is_asked_for_aliases_and_users_that_nobody_knows() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "").await;
    let ben = site.server.register("ben").await;
    let alias = "directory/room/%23_bridge_a%3Aexample.org";
    ben.get(alias).await.expect_error(404, "M_NOT_FOUND");
    let asked = |path: &str| bridge.got().iter().any(|got| got.path.ends_with(path));
    assert!(asked("/_matrix/app/v1/rooms/%23_bridge_a:example.org"));
    ben.get("directory/room/%23other%3Aexample.org")
        .await
        .expect_error(404, "M_NOT_FOUND");
    assert!(!asked("other:example.org"));
    // It says that there is one, and has made it.
    bridge.answer(
        "/_matrix/app/v1/rooms/%23_bridge_b:example.org",
        200,
        json!({}),
    );
    let own = of("directory/room/%23_bridge_b%3Aexample.org", "_bridge_anna");
    let service = site.service();
    service
        .put(&own, &json!({ "room_id": room_id }))
        .await
        .expect_ok();
    ben.join("#_bridge_b:example.org").await.expect_ok();
    // Users likewise.
    let room = ben.create_room(&json!({})).await;
    ben.invite(&room, "@_bridge_new:example.org").await;
    assert!(asked("/_matrix/app/v1/users/@_bridge_new:example.org"));
    ben.get("profile/%40_bridge_newer%3Aexample.org").await;
    assert!(asked("/_matrix/app/v1/users/@_bridge_newer:example.org"));
    ben.get("profile/%40_bridge_anna%3Aexample.org")
        .await
        .expect_ok();
    assert!(!asked("/_matrix/app/v1/users/@_bridge_anna:example.org"));
}

#[tokio::test]
async fn a_ping_goes_there_and_back() {
    let bridge = Bridge::default();
    let (site, _) = begin(&bridge, "").await;
    let service = site.service();
    let path = "/_matrix/client/v1/appservice/bridge/ping";
    let body = json!({ "transaction_id": "meow" });
    let refused = service
        .post(path, &body)
        .await
        .expect_error(502, "M_BAD_STATUS");
    assert_eq!(refused["status"], 404);
    bridge.answer("/_matrix/app/v1/ping", 200, json!({}));
    let pinged = service.post(path, &body).await.expect_ok();
    assert!(pinged["duration_ms"].is_u64(), "{pinged}");
    let got = bridge.got();
    let ping = got.iter().rfind(|got| got.path.ends_with("/ping")).unwrap();
    assert_eq!((&ping.method, &ping.body), (&Method::POST, &body));
    service
        .post("/_matrix/client/v1/appservice/other/ping", &body)
        .await
        .expect_error(403, "M_FORBIDDEN");
    let ben = site.server.register("ben").await;
    ben.post(path, &body).await.expect_error(403, "M_FORBIDDEN");
    // Nobody is there; and there is no address.
    let gone = Site::new(&registration(Some("http://127.0.0.1:9"), "")).await;
    let answer = gone.service().post(path, &body).await;
    answer.expect_error(502, "M_CONNECTION_FAILED");
    let silent = Site::new(&registration(None, "")).await;
    let answer = silent.service().post(path, &body).await;
    answer.expect_error(400, "M_URL_NOT_SET");
}

#[tokio::test]
async fn other_networks_are_looked_up_in_services() {
    let bridge = Bridge::default();
    let (site, room_id) = begin(&bridge, "protocols: [irc]").await;
    let ben = site.server.register("ben").await;
    let protocol = json!({ "user_fields": ["nick"], "location_fields": ["channel"],
        "field_types": {}, "icon": "mxc://example.org/a",
        "instances": [{ "network_id": "libera", "desc": "Libera", "fields": {} }] });
    bridge.answer("/_matrix/app/v1/thirdparty/protocol/irc", 200, protocol);
    let found = ben.get("thirdparty/protocols").await.expect_ok();
    let instance = &found["irc"]["instances"][0];
    assert_eq!(instance["instance_id"], "bridge|libera");
    ben.get("thirdparty/protocol/irc").await.expect_ok();
    ben.get("thirdparty/protocol/xmpp")
        .await
        .expect_error(404, "M_NOT_FOUND");
    let place = json!([{ "alias": "#_bridge_a:example.org", "protocol": "irc", "fields": {} }]);
    bridge.answer(
        "/_matrix/app/v1/thirdparty/location/irc",
        200,
        place.clone(),
    );
    let found = ben.get("thirdparty/location/irc?channel=%23a").await;
    assert_eq!(found.expect_ok(), place);
    let got = bridge.got();
    assert_eq!(got.last().unwrap().query, "channel=%23a");
    ben.get("thirdparty/location/xmpp")
        .await
        .expect_error(404, "M_NOT_FOUND");
    // Who cannot be understood, or does not know, has nothing.
    let found = ben.get("thirdparty/user/irc?nick=a").await.expect_ok();
    assert_eq!(found, json!([]));
    let found = ben.get("thirdparty/user?userid=%40ben%3Aexample.org").await;
    assert_eq!(found.expect_ok(), json!([]));
    // The directory of the network.
    let service = site.service();
    let list = format!("directory/list/appservice/libera/{}", encode(&room_id));
    ben.put(&list, &json!({ "visibility": "public" }))
        .await
        .expect_error(403, "M_FORBIDDEN");
    service
        .put(&list, &json!({ "visibility": "public" }))
        .await
        .expect_ok();
    let count = async |body: Value| {
        let found = ben.post("publicRooms", &body).await.expect_ok();
        found["chunk"].as_array().unwrap().len()
    };
    assert_eq!(
        count(json!({ "third_party_instance_id": "bridge|libera" })).await,
        1
    );
    assert_eq!(
        count(json!({ "third_party_instance_id": "bridge|oftc" })).await,
        0
    );
    assert_eq!(count(json!({})).await, 0);
    assert_eq!(count(json!({ "include_all_networks": true })).await, 1);
    service
        .put(&list, &json!({ "visibility": "private" }))
        .await
        .expect_ok();
    assert_eq!(
        count(json!({ "third_party_instance_id": "bridge|libera" })).await,
        0
    );
}
