//! Cross-signing (specification v1.19, "Cross-signing").

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    client::Client,
    keys::{Device, Identity, Signer, query},
    server::{PASSWORD, TestServer},
};

const NOW: Duration = Duration::ZERO;

fn with_password(mut body: Value, user: &str, session: &Value) -> Value {
    body["auth"] = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": PASSWORD,
        "session": session,
    });
    body
}

async fn sign(client: &Client, user_id: &str, target: &str, key: &Value) -> Value {
    let body = json!({ (user_id): { (target): key } });
    let answer = client.post("keys/signatures/upload", &body).await;
    answer.expect_ok()
}

async fn next(client: &Client) -> String {
    let sync = client.sync(None, NOW).await;
    sync["next_batch"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_first_keys_need_no_password_and_others_do() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let upload = async |body: &Value| alice.post("keys/device_signing/upload", body).await;
    let identity = Identity::of(&alice);
    // Without a master key there is nothing that could have signed.
    let early = json!({ "self_signing_key": identity.key("self_signing") });
    upload(&early).await.expect_error(400, "M_MISSING_PARAM");
    let first = json!({ "master_key": identity.key("master") });
    upload(&first).await.expect_ok();
    upload(&first).await.expect_ok();
    // A key beside it is new.
    let asked = upload(&early).await;
    assert_eq!(asked.status, 401, "{}", asked.text);
    assert_eq!(
        asked.body["flows"][0]["stages"],
        json!(["m.login.password"])
    );
    let session = &asked.body["session"];
    // The proof is for these keys only.
    let other = Identity::of(&alice);
    let wrong = with_password(other.body(), "alice", session);
    assert_eq!(upload(&wrong).await.status, 401);
    let proved = with_password(early, "alice", session);
    upload(&proved).await.expect_ok();
    // The answer was lost: what is there already needs nothing.
    upload(&proved).await.expect_ok();
    let asked = upload(&other.body()).await;
    assert_eq!(asked.status, 401);
    let proved = with_password(other.body(), "alice", &asked.body["session"]);
    upload(&proved).await.expect_ok();
    let found = query(&alice, &alice.user_id).await;
    for (kind, usage) in [
        ("master_keys", "master"),
        ("self_signing_keys", "self_signing"),
        ("user_signing_keys", "user_signing"),
    ] {
        let mut expected = other.key(usage);
        if usage == "master" {
            expected["signatures"] = json!({});
        }
        assert_eq!(found[kind][&alice.user_id], expected);
    }
}

#[tokio::test]
async fn another_master_key_takes_what_the_old_one_had_signed() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let device = Device::of(&alice);
    device.upload(&alice).await;
    let old = Identity::of(&alice);
    old.upload(&alice).await.expect_ok();
    let mut signed = device.keys();
    old.self_signing
        .sign(&mut signed, &alice.user_id, &old.self_signing.public);
    sign(&alice, &alice.user_id, &alice.device_id, &signed).await;
    let new = Identity::of(&alice);
    let body = json!({ "master_key": new.key("master") });
    let asked = alice.post("keys/device_signing/upload", &body).await;
    let body = with_password(body, "alice", &asked.body["session"]);
    let answer = alice.post("keys/device_signing/upload", &body).await;
    answer.expect_ok();
    let found = query(&alice, &alice.user_id).await;
    assert!(found.get("self_signing_keys").is_none());
    assert!(found.get("user_signing_keys").is_none());
    let keys = &found["device_keys"][&alice.user_id][&alice.device_id];
    assert_eq!(*keys, device.keys());
}

#[tokio::test]
async fn signatures_are_seen_by_those_whom_they_concern() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&room).await.expect_ok();
    let (desk, phone) = (Device::of(&alice), Device::of(&bob));
    desk.upload(&alice).await;
    phone.upload(&bob).await;
    let (hers, his) = (Identity::of(&alice), Identity::of(&bob));
    hers.upload(&alice).await.expect_ok();
    his.upload(&bob).await.expect_ok();
    let bob_since = next(&bob).await;
    let alice_since = next(&alice).await;

    // She signs her device and, with the device, her master key.
    let mut device = desk.keys();
    hers.self_signing
        .sign(&mut device, &alice.user_id, &hers.self_signing.public);
    let mut master = hers.key("master");
    desk.signer
        .sign(&mut master, &alice.user_id, &alice.device_id);
    let body = json!({ (&alice.user_id): {
        (&alice.device_id): device,
        (&hers.master.public): master,
    } });
    let answer = alice.post("keys/signatures/upload", &body).await;
    assert_eq!(answer.expect_ok(), json!({}));
    for reader in [&alice, &bob] {
        let found = query(reader, &alice.user_id).await;
        let seen = &found["device_keys"][&alice.user_id][&alice.device_id];
        assert_eq!(*seen, device);
        assert_eq!(found["master_keys"][&alice.user_id], master);
        let user_signing = found.get("user_signing_keys").is_some();
        assert_eq!(user_signing, reader.user_id == alice.user_id);
    }
    let sync = bob.sync(Some(&bob_since), NOW).await;
    assert_eq!(sync["device_lists"]["changed"], json!([alice.user_id]));
    // She signs him: that is hers alone to see.
    let bob_since = sync["next_batch"].as_str().unwrap();
    let waiting = alice.sync(Some(&alice_since), Duration::from_secs(30));
    waiting.await;
    let alice_since = next(&alice).await;
    let mut his_master = his.key("master");
    hers.user_signing
        .sign(&mut his_master, &alice.user_id, &hers.user_signing.public);
    let answer = sign(&alice, &bob.user_id, &his.master.public, &his_master).await;
    assert_eq!(answer, json!({}));
    let found = query(&alice, &bob.user_id).await;
    assert_eq!(found["master_keys"][&bob.user_id], his_master);
    let found = query(&bob, &bob.user_id).await;
    assert_eq!(found["master_keys"][&bob.user_id]["signatures"], json!({}));
    let sync = alice.sync(Some(&alice_since), NOW).await;
    assert_eq!(sync["device_lists"]["changed"], json!([bob.user_id]));
    let sync = bob.sync(Some(bob_since), NOW).await;
    assert!(sync.get("device_lists").is_none());
    // The keys again, as a client sends them at a start, do not undo the signatures.
    desk.upload(&alice).await;
    let found = query(&bob, &alice.user_id).await;
    let seen = &found["device_keys"][&alice.user_id][&alice.device_id];
    assert_eq!(*seen, device);
}

#[tokio::test]
async fn a_device_may_come_signed_already() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let identity = Identity::of(&alice);
    identity.upload(&alice).await.expect_ok();
    let mut keys = Device::of(&alice).keys();
    let public = &identity.self_signing.public;
    identity
        .self_signing
        .sign(&mut keys, &alice.user_id, public);
    let body = json!({ "device_keys": keys });
    alice.post("keys/upload", &body).await.expect_ok();
    let found = query(&alice, &alice.user_id).await;
    assert_eq!(found["device_keys"][&alice.user_id][&alice.device_id], keys);
    // A forged one is refused.
    let name = format!("ed25519:{public}");
    keys["signatures"][&alice.user_id][&name] =
        keys["signatures"][&alice.user_id][format!("ed25519:{}", alice.device_id)].clone();
    let body = json!({ "device_keys": keys });
    let answer = alice.post("keys/upload", &body).await;
    answer.expect_error(400, "M_INVALID_SIGNATURE");
}

#[tokio::test]
async fn wrong_signatures_fail_one_by_one() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let desk = Device::of(&alice);
    desk.upload(&alice).await;
    let (hers, his) = (Identity::of(&alice), Identity::of(&bob));
    hers.upload(&alice).await.expect_ok();
    his.upload(&bob).await.expect_ok();
    let public = |signer: &Signer| signer.public.clone();
    let mut good = desk.keys();
    hers.self_signing
        .sign(&mut good, &alice.user_id, &public(&hers.self_signing));
    // Another's device, a key that may not sign it, a changed key, and a forged signature.
    let mut with_master = desk.keys();
    hers.master
        .sign(&mut with_master, &alice.user_id, &public(&hers.master));
    let mut changed = desk.keys();
    changed["algorithms"] = json!(["m.other"]);
    hers.self_signing
        .sign(&mut changed, &alice.user_id, &public(&hers.self_signing));
    let mut forged = desk.keys();
    Signer::new().sign(&mut forged, &alice.user_id, &public(&hers.self_signing));
    let mut as_bob = his.key("master");
    his.user_signing
        .sign(&mut as_bob, &bob.user_id, &public(&his.user_signing));
    let cases = [
        (
            &alice.user_id,
            &alice.device_id,
            &with_master,
            "M_INVALID_SIGNATURE",
        ),
        (
            &alice.user_id,
            &alice.device_id,
            &changed,
            "M_INVALID_SIGNATURE",
        ),
        (
            &alice.user_id,
            &alice.device_id,
            &forged,
            "M_INVALID_SIGNATURE",
        ),
        (&alice.user_id, &"NONE".to_owned(), &good, "M_NOT_FOUND"),
        (&bob.user_id, &bob.device_id, &good, "M_NOT_FOUND"),
        (
            &bob.user_id,
            &his.master.public,
            &as_bob,
            "M_INVALID_SIGNATURE",
        ),
    ];
    for (user_id, target, key, errcode) in cases {
        let answer = sign(&alice, user_id, target, key).await;
        let failure = &answer["failures"][user_id][target];
        assert_eq!(failure["errcode"], errcode, "{answer}");
    }
    // A good one beside a bad one holds.
    let body = json!({ (&alice.user_id): { (&alice.device_id): good, "NONE": good } });
    let answer = alice
        .post("keys/signatures/upload", &body)
        .await
        .expect_ok();
    let failures = answer["failures"][&alice.user_id].as_object().unwrap();
    assert_eq!(failures.len(), 1);
    let found = query(&bob, &alice.user_id).await;
    assert_eq!(found["device_keys"][&alice.user_id][&alice.device_id], good);
}

#[tokio::test]
async fn wrong_cross_signing_keys_are_refused() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let identity = Identity::of(&alice);
    let master = identity.key("master");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut key = master.clone();
        change(&mut key);
        json!({ "master_key": key })
    };
    let mut unsigned = identity.body();
    unsigned["self_signing_key"]["signatures"] = json!({});
    let mut forged = identity.body();
    forged["self_signing_key"]["signatures"] = forged["user_signing_key"]["signatures"].clone();
    let cases = [
        (
            with(&|key| key["user_id"] = bob.user_id.clone().into()),
            "M_INVALID_PARAM",
        ),
        (
            with(&|key| key["usage"] = json!(["self_signing"])),
            "M_INVALID_PARAM",
        ),
        (with(&|key| key["keys"] = json!({})), "M_INVALID_PARAM"),
        (
            with(&|key| key["keys"]["ed25519:other"] = "other".into()),
            "M_INVALID_PARAM",
        ),
        (
            with(&|key| key["keys"] = json!({ "ed25519:short": "short" })),
            "M_INVALID_PARAM",
        ),
        (
            with(&|key| drop(key.as_object_mut().unwrap().remove("usage"))),
            "M_BAD_JSON",
        ),
        (unsigned, "M_INVALID_SIGNATURE"),
        (forged, "M_INVALID_SIGNATURE"),
    ];
    for (body, errcode) in cases {
        let answer = alice.post("keys/device_signing/upload", &body).await;
        answer.expect_error(400, errcode);
    }
    let found = query(&alice, &alice.user_id).await;
    assert!(found.get("master_keys").is_none());
    // A key and a device may not have the same id.
    let mut twin = server.client();
    let login = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": "alice" },
        "password": PASSWORD,
        "device_id": identity.master.public,
    });
    let session = twin.post("login", &login).await.expect_ok();
    twin.take_session(&session);
    let answer = identity.upload(&alice).await;
    answer.expect_error(403, "M_FORBIDDEN");
    let nobody = server.client();
    let answer = nobody.post("keys/device_signing/upload", &json!({})).await;
    answer.expect_error(401, "M_MISSING_TOKEN");
}
