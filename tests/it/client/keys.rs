//! The keys of devices (specification v1.19, "Key management API").

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    client::Client,
    keys::{Device, public_key, query},
    server::{PASSWORD, TestServer},
    tchap,
};

const NOW: Duration = Duration::ZERO;

/// Claims a key of a device.
async fn claim(client: &Client, user_id: &str, device_id: &str) -> Value {
    let body = json!({ "one_time_keys": { (user_id): { (device_id): "signed_curve25519" } } });
    let answer = client.post("keys/claim", &body).await.expect_ok();
    answer["one_time_keys"][user_id][device_id].clone()
}

#[tokio::test]
async fn keys_are_uploaded_queried_and_claimed_once_in_order() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let device = Device::of(&alice);
    let body = json!({
        "device_keys": device.keys(),
        "one_time_keys": device.one_time_keys(&["B"]),
    });
    let counts = alice.post("keys/upload", &body).await.expect_ok();
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 1);
    let second = json!({ "one_time_keys": device.one_time_keys(&["A"]) });
    let counts = alice.post("keys/upload", &second).await.expect_ok();
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 2);
    // The same again is no fault.
    let counts = alice.post("keys/upload", &second).await.expect_ok();
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 2);

    let name = json!({ "display_name": "Desk" });
    let path = format!("devices/{}", alice.device_id);
    alice.put(&path, &name).await.expect_ok();
    let found = query(&bob, &alice.user_id).await;
    let mut expected = device.keys();
    expected["unsigned"] = json!({ "device_display_name": "Desk" });
    assert_eq!(
        found["device_keys"][&alice.user_id][&alice.device_id],
        expected
    );
    // A user without keys has no devices; one that is not there is not there.
    assert_eq!(
        query(&alice, &bob.user_id).await["device_keys"],
        json!({ (&bob.user_id): {} })
    );
    let nobody = query(&alice, "@nobody:example.org").await;
    assert!(nobody["device_keys"].get("@nobody:example.org").is_none());
    let elsewhere = query(&alice, "@a:elsewhere.example").await;
    assert!(elsewhere["failures"].get("elsewhere.example").is_some());

    let claimed = claim(&bob, &alice.user_id, &alice.device_id).await;
    let first = &body["one_time_keys"];
    assert_eq!(claimed, *first);
    let claimed = claim(&bob, &alice.user_id, &alice.device_id).await;
    assert_eq!(claimed, second["one_time_keys"]);
    let none = json!({ "one_time_keys": { (&alice.user_id): { (&alice.device_id): "signed_curve25519" } } });
    let none = bob.post("keys/claim", &none).await.expect_ok();
    assert_eq!(none["one_time_keys"], json!({}));
    let sync = alice.sync(None, NOW).await;
    assert_eq!(
        sync["device_one_time_keys_count"],
        json!({ "signed_curve25519": 0 })
    );
    assert_eq!(sync["device_unused_fallback_key_types"], json!([]));
}

#[tokio::test]
async fn the_fallback_key_is_given_out_again_and_again_and_the_device_hears_of_it() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let device = Device::of(&alice);
    let fallback = json!({ "signed_curve25519:F": device.fallback_key(3) });
    let body = json!({ "device_keys": device.keys(), "fallback_keys": fallback });
    alice.post("keys/upload", &body).await.expect_ok();
    let sync = alice.sync(None, NOW).await;
    let unused = "device_unused_fallback_key_types";
    assert_eq!(sync[unused], json!(["signed_curve25519"]));
    let since = sync["next_batch"].as_str().unwrap();
    let waiting = alice.sync(Some(since), Duration::from_secs(30));
    let claiming = async {
        for _ in 0..2 {
            let claimed = claim(&bob, &alice.user_id, &alice.device_id).await;
            assert_eq!(claimed, fallback);
        }
    };
    let (sync, ()) = tokio::join!(waiting, claiming);
    assert_eq!(sync[unused], json!([]));
    // The same again stays used; another one is not.
    alice.post("keys/upload", &body).await.expect_ok();
    assert_eq!(alice.sync(None, NOW).await[unused], json!([]));
    let new = json!({ "fallback_keys": { "signed_curve25519:G": device.fallback_key(4) } });
    alice.post("keys/upload", &new).await.expect_ok();
    let sync = alice.sync(None, NOW).await;
    assert_eq!(sync[unused], json!(["signed_curve25519"]));
}

#[tokio::test]
async fn who_claims_together_gets_what_they_asked_for_and_the_last_ones_the_fallback_key() {
    let server = TestServer::new().await;
    let (alice, carol) = (
        server.register("alice").await,
        server.register("carol").await,
    );
    let bob = server.register("bob").await;
    for (client, keys, fallback) in [(&alice, 5, true), (&carol, 3, false)] {
        let device = Device::of(client);
        let names: Vec<String> = (0..keys).map(|n| format!("K{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut body = json!({
            "device_keys": device.keys(),
            "one_time_keys": device.one_time_keys(&names),
        });
        if fallback {
            body["fallback_keys"] = json!({ "signed_curve25519:F": device.fallback_key(9) });
        }
        client.post("keys/upload", &body).await.expect_ok();
    }
    let ask = |client: &Client| json!({ &client.device_id: "signed_curve25519" });
    let claims = (0..20).map(|n| {
        let mut wanted = json!({ &alice.user_id: ask(&alice) });
        if n % 2 == 0 {
            wanted[&carol.user_id] = ask(&carol);
        }
        let body = json!({ "one_time_keys": wanted });
        let bob = &bob;
        async move {
            let answer = bob.post("keys/claim", &body).await.expect_ok();
            answer["one_time_keys"].clone()
        }
    });
    let answers = join_all(claims).await;
    let names = |answers: &[&Value], of: &Client| -> Vec<String> {
        let keys = answers
            .iter()
            .filter_map(|answer| answer[&of.user_id][&of.device_id].as_object())
            .flat_map(|keys| keys.keys().cloned());
        let mut names: Vec<_> = keys.collect();
        names.sort_unstable();
        names
    };
    let all: Vec<_> = answers.iter().collect();
    let mut expected: Vec<_> = (0..5).map(|n| format!("signed_curve25519:K{n}")).collect();
    expected.splice(0..0, vec!["signed_curve25519:F".to_owned(); 15]);
    assert_eq!(names(&all, &alice), expected);
    let both: Vec<_> = answers.iter().step_by(2).collect();
    let three: Vec<_> = (0..3).map(|n| format!("signed_curve25519:K{n}")).collect();
    assert_eq!(names(&both, &carol), three);
    let alone: Vec<_> = answers.iter().skip(1).step_by(2).collect();
    assert_eq!(names(&alone, &carol), Vec::<String>::new());
}

#[tokio::test]
async fn who_goes_away_while_claiming_takes_nobody_along() {
    let server = TestServer::new().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let device = Device::of(&alice);
    let names: Vec<String> = (0..60).map(|n| format!("K{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let body = json!({
        "device_keys": device.keys(),
        "one_time_keys": device.one_time_keys(&names),
    });
    alice.post("keys/upload", &body).await.expect_ok();
    let claims = (0..40).map(|n| {
        let claiming = claim(&bob, &alice.user_id, &alice.device_id);
        let patience = Duration::from_micros(if n % 2 == 0 {
            500 + 100 * n
        } else {
            20_000_000
        });
        async move { (n % 2, tokio::time::timeout(patience, claiming).await.ok()) }
    });
    let done = join_all(claims).await;
    let stayed = done.iter().filter(|(odd, _)| *odd == 1);
    let mut keys: Vec<_> = stayed
        .map(|(_, claimed)| claimed.as_ref().unwrap().as_object().unwrap())
        .flat_map(|keys| keys.keys().cloned())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 20);
}

#[tokio::test]
async fn each_key_is_given_out_once_under_load_and_by_several_processes() {
    let server = TestServer::new().await;
    let sibling = server.sibling().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let device = Device::of(&alice);
    let names: Vec<String> = (0..40).map(|n| format!("K{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let body = json!({
        "device_keys": device.keys(),
        "one_time_keys": device.one_time_keys(&names),
    });
    alice.post("keys/upload", &body).await.expect_ok();
    let there = bob.at(&sibling.url);
    let claims = (0..60).map(|n| {
        let client = if n % 2 == 0 { &bob } else { &there };
        claim(client, &alice.user_id, &alice.device_id)
    });
    let mut claimed: Vec<String> = join_all(claims)
        .await
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|keys| keys.keys().cloned())
        .collect();
    let all = claimed.len();
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!((all, claimed.len()), (40, 40));
    // Both processes know that there are none left.
    for url in [&server.url, &sibling.url] {
        let sync = alice.at(url).sync(None, NOW).await;
        assert_eq!(sync["device_one_time_keys_count"]["signed_curve25519"], 0);
    }
}

#[tokio::test]
async fn what_is_wrong_with_keys_is_refused_and_changes_nothing() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let device = Device::of(&alice);
    device.upload(&alice).await;
    let good = device.keys();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut keys = good.clone();
        change(&mut keys);
        json!({ "device_keys": keys })
    };
    let other = Device::of(&alice);
    let mut forged = device.keys();
    let own = format!("ed25519:{}", alice.device_id);
    forged["signatures"][&alice.user_id][&own] =
        other.keys()["signatures"][&alice.user_id][&own].clone();
    let one_time = |id: &str, key: Value| json!({ "one_time_keys": { (id): key } });
    let mut unsigned = device.one_time_key(1);
    unsigned.as_object_mut().unwrap().remove("signatures");
    let many: serde_json::Map<String, Value> = (0..501)
        .map(|n| (format!("curve25519:{n}"), "k".into()))
        .collect();
    let cases = [
        (
            with(&|keys| drop(keys.as_object_mut().unwrap().remove("algorithms"))),
            400,
            "M_BAD_JSON",
        ),
        (
            with(&|keys| keys["user_id"] = bob.user_id.clone().into()),
            400,
            "M_INVALID_PARAM",
        ),
        (
            with(&|keys| keys["device_id"] = "OTHER".into()),
            400,
            "M_INVALID_PARAM",
        ),
        (
            with(&|keys| keys["keys"][&own] = "short".into()),
            400,
            "M_INVALID_PARAM",
        ),
        (
            with(&|keys| keys["keys"]["ed25519:OTHER"] = public_key(1).into()),
            400,
            "M_INVALID_PARAM",
        ),
        (
            with(&|keys| keys["algorithms"] = json!(["other"])),
            400,
            "M_INVALID_SIGNATURE",
        ),
        (
            with(&|keys| keys["large"] = "x".repeat(70_000).into()),
            413,
            "M_TOO_LARGE",
        ),
        (with(&|keys| keys["float"] = json!(1.5)), 400, "M_BAD_JSON"),
        (json!({ "device_keys": forged }), 400, "M_INVALID_SIGNATURE"),
        (json!({ "device_keys": [] }), 400, "M_BAD_JSON"),
        (
            one_time("signed_curve25519:A", other.one_time_key(1)),
            400,
            "M_INVALID_SIGNATURE",
        ),
        (
            one_time("signed_curve25519:A", unsigned),
            400,
            "M_INVALID_SIGNATURE",
        ),
        (
            one_time("signed_curve25519:A", json!("text")),
            400,
            "M_BAD_JSON",
        ),
        (
            one_time("signed_curve25519:A", json!({ "key": "x" })),
            400,
            "M_INVALID_PARAM",
        ),
        (
            one_time("signed_curve25519:", device.one_time_key(1)),
            400,
            "M_INVALID_PARAM",
        ),
        (
            one_time("no algorithm:A", device.one_time_key(1)),
            400,
            "M_INVALID_PARAM",
        ),
        (json!({ "one_time_keys": many }), 413, "M_TOO_LARGE"),
    ];
    for (body, status, errcode) in cases {
        let answer = alice.post("keys/upload", &body).await;
        let text = body.to_string();
        let found = (answer.status, answer.body["errcode"].as_str());
        assert_eq!(
            found,
            (status, Some(errcode)),
            "{:.300} {}",
            text,
            answer.text
        );
    }
    // Bob has published no key that could have signed his.
    let early = json!({ "one_time_keys": Device::of(&bob).one_time_keys(&["A"]) });
    let answer = bob.post("keys/upload", &early).await;
    answer.expect_error(400, "M_INVALID_SIGNATURE");
    let found = query(&bob, &alice.user_id).await;
    assert_eq!(found["device_keys"][&alice.user_id][&alice.device_id], good);

    // An id stands for one key.
    let first = one_time("signed_curve25519:A", device.one_time_key(1));
    alice.post("keys/upload", &first).await.expect_ok();
    let second = json!({ "one_time_keys": {
        "signed_curve25519:A": device.one_time_key(2),
        "signed_curve25519:B": device.one_time_key(3),
    } });
    let refused = alice.post("keys/upload", &second).await;
    let refused = refused.expect_error(400, "M_INVALID_PARAM");
    // Clients know what to do by this sentence.
    let text = refused["error"].as_str().unwrap();
    assert!(text.starts_with("One time key") && text.contains("already exists"));
    let counts = alice.post("keys/upload", &json!({})).await.expect_ok();
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 1);

    let wrong = json!({ "device_keys": { (&bob.user_id): { "device_id1": true } } });
    let answer = alice.post("keys/query", &wrong).await;
    answer.expect_error(400, "M_BAD_JSON");
    let nobody = server.client();
    for path in ["keys/upload", "keys/query", "keys/claim"] {
        let answer = nobody.post(path, &json!({})).await;
        answer.expect_error(401, "M_MISSING_TOKEN");
    }
}

#[tokio::test]
async fn other_device_keys_end_what_the_old_ones_have_signed() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let device = Device::of(&alice);
    let body = json!({
        "device_keys": device.keys(),
        "one_time_keys": device.one_time_keys(&["A"]),
        "fallback_keys": { "signed_curve25519:F": device.fallback_key(3) },
    });
    alice.post("keys/upload", &body).await.expect_ok();
    Device::of(&alice).upload(&alice).await;
    assert_eq!(
        claim(&alice, &alice.user_id, &alice.device_id).await,
        Value::Null
    );
}

#[tokio::test]
async fn a_deleted_device_takes_its_keys_along() {
    let server = TestServer::new().await;
    let mut alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let device = Device::of(&alice);
    let body = json!({
        "device_keys": device.keys(),
        "one_time_keys": device.one_time_keys(&["A"]),
        "fallback_keys": { "signed_curve25519:F": device.fallback_key(3) },
    });
    alice.post("keys/upload", &body).await.expect_ok();
    let gone = alice.device_id.clone();
    alice.post("logout", &json!({})).await.expect_ok();
    let found = query(&bob, &alice.user_id).await;
    assert_eq!(found["device_keys"][&alice.user_id], json!({}));
    assert_eq!(claim(&bob, &alice.user_id, &gone).await, Value::Null);
    // The same id again is a new device.
    let login = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": "alice" },
        "password": PASSWORD,
        "device_id": gone,
    });
    let session = server.client().post("login", &login).await.expect_ok();
    alice.take_session(&session);
    assert_eq!(claim(&bob, &alice.user_id, &gone).await, Value::Null);
    let sync = alice.sync(None, NOW).await;
    assert_eq!(sync["device_one_time_keys_count"]["signed_curve25519"], 0);
}

#[tokio::test]
async fn with_tchaps_rules_strangers_see_and_claim_no_keys() {
    let server = tchap::server("[policy.profiles]\nknown_users_only = true\n").await;
    let alice = tchap::person(&server, "alice.martin@culture.gouv.fr").await;
    let bob = tchap::person(&server, "bob.durand@interieur.gouv.fr").await;
    let device = Device::of(&alice);
    let body = json!({
        "device_keys": device.keys(),
        "one_time_keys": device.one_time_keys(&["A"]),
    });
    alice.post("keys/upload", &body).await.expect_ok();
    let found = query(&bob, &alice.user_id).await;
    assert!(found["device_keys"].get(&alice.user_id).is_none());
    let claimed = claim(&bob, &alice.user_id, &alice.device_id).await;
    assert_eq!(claimed, Value::Null);
    let own = query(&alice, &alice.user_id).await;
    assert_eq!(
        own["device_keys"][&alice.user_id][&alice.device_id],
        device.keys()
    );
    // An invitation is enough: messages are encrypted for those who are invited.
    let room = json!({ "preset": "private_chat", "invite": [&bob.user_id] });
    alice.create_room(&room).await;
    let found = query(&bob, &alice.user_id).await;
    assert_eq!(
        found["device_keys"][&alice.user_id][&alice.device_id],
        device.keys()
    );
    let claimed = claim(&bob, &alice.user_id, &alice.device_id).await;
    assert_eq!(claimed, body["one_time_keys"]);
}
