//! Backups of room keys (specification v1.19, "Server-side key backups"), and secret storage.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{client::Client, server::TestServer};

const ALGORITHM: &str = "m.megolm_backup.v1.curve25519-aes-sha2";

async fn create(client: &Client) -> String {
    let body = json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": "abc" } });
    let answer = client.post("room_keys/version", &body).await.expect_ok();
    answer["version"].as_str().unwrap().to_owned()
}

fn key(index: u64, forwarded: u64, verified: bool) -> Value {
    json!({
        "first_message_index": index,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": { "ciphertext": format!("{index} {forwarded} {verified}") },
    })
}

fn at(rest: &str, version: &str) -> String {
    format!("room_keys/keys{rest}?version={version}")
}

#[tokio::test]
async fn keys_are_stored_read_and_deleted_at_every_level() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let version = create(&alice).await;
    assert_eq!(version, "1");
    let (a, b) = ("/!a:example.org", "/!b:example.org");
    let first = alice
        .put(&at(&format!("{a}/one"), &version), &key(1, 0, true))
        .await
        .expect_ok();
    assert_eq!(first["count"], 1);
    let of_room = json!({ "sessions": { "two": key(2, 0, true) } });
    let second = alice.put(&at(a, &version), &of_room).await.expect_ok();
    assert_ne!(first["etag"], second["etag"]);
    let all =
        json!({ "rooms": { "!b:example.org": { "sessions": { "three": key(3, 0, true) } } } });
    let third = alice.put(&at("", &version), &all).await.expect_ok();
    assert_eq!(third["count"], 3);
    // The same again changes nothing.
    let same = alice.put(&at("", &version), &all).await.expect_ok();
    assert_eq!(same, third);
    let info = alice.get("room_keys/version").await.expect_ok();
    assert_eq!(
        info,
        json!({
            "algorithm": ALGORITHM,
            "auth_data": { "public_key": "abc" },
            "count": 3,
            "etag": third["etag"],
            "version": "1",
        })
    );
    let by_version = alice.get("room_keys/version/1").await.expect_ok();
    assert_eq!(by_version, info);

    let found = alice.get(&at("", &version)).await.expect_ok();
    assert_eq!(
        found,
        json!({ "rooms": {
            "!a:example.org": { "sessions": { "one": key(1, 0, true), "two": key(2, 0, true) } },
            "!b:example.org": { "sessions": { "three": key(3, 0, true) } },
        } })
    );
    let found = alice.get(&at(b, &version)).await.expect_ok();
    assert_eq!(found, json!({ "sessions": { "three": key(3, 0, true) } }));
    let none = alice
        .get(&at("/!c:example.org", &version))
        .await
        .expect_ok();
    assert_eq!(none, json!({ "sessions": {} }));
    let one = alice.get(&at(&format!("{a}/two"), &version)).await;
    assert_eq!(one.expect_ok(), key(2, 0, true));
    let none = alice.get(&at(&format!("{a}/none"), &version)).await;
    none.expect_error(404, "M_NOT_FOUND");
    // Nobody else's.
    let others = bob.get(&at("", &version)).await;
    others.expect_error(404, "M_NOT_FOUND");

    let path = at(&format!("{a}/one"), &version);
    let left = alice.delete(&path).await.expect_ok();
    assert_eq!(left["count"], 2);
    let left = alice.delete(&at(b, &version)).await.expect_ok();
    assert_eq!(left["count"], 1);
    let left = alice.delete(&at("", &version)).await.expect_ok();
    assert_eq!(left["count"], 0);
    let found = alice.get(&at("", &version)).await.expect_ok();
    assert_eq!(found, json!({ "rooms": {} }));
}

#[tokio::test]
async fn only_a_better_key_replaces_another() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let version = create(&alice).await;
    let base = (10, 5, false);
    let cases = [
        ((11, 5, false), false),
        ((10, 6, false), false),
        ((11, 4, false), false),
        ((10, 5, false), false),
        ((10, 4, false), true),
        ((9, 9, false), true),
        ((99, 99, true), true),
    ];
    for (n, (other, replaces)) in cases.into_iter().enumerate() {
        let path = at(&format!("/!a:example.org/s{n}"), &version);
        let data = |(index, forwarded, verified)| key(index, forwarded, verified);
        let before = alice.put(&path, &data(base)).await.expect_ok();
        let after = alice.put(&path, &data(other)).await.expect_ok();
        assert_eq!(before["etag"] != after["etag"], replaces, "{other:?}");
        assert_eq!(before["count"], after["count"]);
        let expected = if replaces { other } else { base };
        assert_eq!(alice.get(&path).await.expect_ok(), data(expected));
        if other.2 {
            // What is verified stays so.
            alice.put(&path, &data((0, 0, false))).await.expect_ok();
            assert_eq!(alice.get(&path).await.expect_ok(), data(other));
        }
    }
}

#[tokio::test]
async fn keys_go_into_the_newest_backup_only() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let path = |version: &str| at("/!a:example.org/one", version);
    let none = alice.put(&path("1"), &key(1, 0, true)).await;
    none.expect_error(404, "M_NOT_FOUND");
    let none = alice.get("room_keys/version").await;
    none.expect_error(404, "M_NOT_FOUND");
    create(&alice).await;
    alice.put(&path("1"), &key(1, 0, true)).await.expect_ok();
    assert_eq!(create(&alice).await, "2");
    let refused = alice.put(&path("1"), &key(2, 0, true)).await;
    let refused = refused.expect_error(403, "M_WRONG_ROOM_KEYS_VERSION");
    assert_eq!(refused["current_version"], "2");
    // The older one can still be read, changed and deleted.
    assert_eq!(alice.get(&path("1")).await.expect_ok(), key(1, 0, true));
    let new =
        json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": "def" }, "version": "1" });
    let put = async |version: &str, body: &Value| {
        alice
            .put(&format!("room_keys/version/{version}"), body)
            .await
    };
    put("1", &new).await.expect_ok();
    let info = alice.get("room_keys/version/1").await.expect_ok();
    assert_eq!(info["auth_data"], json!({ "public_key": "def" }));
    put("2", &new).await.expect_error(400, "M_INVALID_PARAM");
    let other = json!({ "algorithm": "m.other", "auth_data": {} });
    put("1", &other).await.expect_error(400, "M_INVALID_PARAM");
    put("3", &other).await.expect_error(404, "M_NOT_FOUND");
    // Deleting the newest makes the one before it the newest; its version does not come again.
    alice.delete("room_keys/version/2").await.expect_ok();
    alice.delete("room_keys/version/2").await.expect_ok();
    let gone = alice.get("room_keys/version/2").await;
    gone.expect_error(404, "M_NOT_FOUND");
    let never = alice.delete("room_keys/version/7").await;
    never.expect_error(404, "M_NOT_FOUND");
    let newest = alice.get("room_keys/version").await.expect_ok();
    assert_eq!(newest["version"], "1");
    assert_eq!(create(&alice).await, "3");
}

#[tokio::test]
async fn many_at_once_on_two_processes_are_counted_right() {
    let server = TestServer::new().await;
    let sibling = server.sibling().await;
    let alice = server.register("alice").await;
    let there = alice.at(&sibling.url);
    let versions = join_all((0..6).map(|n| create(if n % 2 == 0 { &alice } else { &there }))).await;
    let mut sorted = versions.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["1", "2", "3", "4", "5", "6"]);
    let puts = (0..20).map(|n| {
        let client = if n % 2 == 0 { &alice } else { &there };
        let path = at(&format!("/!a:example.org/s{}", n / 2), "6");
        async move { client.put(&path, &key(1, 0, true)).await.expect_ok() }
    });
    join_all(puts).await;
    let info = alice.get("room_keys/version").await.expect_ok();
    assert_eq!((&info["count"], &info["etag"]), (&json!(10), &json!("10")));
}

#[tokio::test]
async fn bad_backups_and_keys_are_refused() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    for body in [
        json!({}),
        json!({ "algorithm": ALGORITHM }),
        json!({ "algorithm": ALGORITHM, "auth_data": "text" }),
        json!({ "algorithm": 1, "auth_data": {} }),
    ] {
        let answer = alice.post("room_keys/version", &body).await;
        answer.expect_error(400, "M_BAD_JSON");
    }
    let version = create(&alice).await;
    let put = async |session: &str, body: &Value| {
        let path = at(&format!("/!a:example.org/{session}"), &version);
        alice.put(&path, body).await
    };
    let with = |field: &str, value: Value| {
        let mut key = key(1, 0, true);
        key[field] = value;
        key
    };
    for body in [
        json!({}),
        with("first_message_index", json!(-1)),
        with("first_message_index", json!(1.5)),
        with("forwarded_count", json!("1")),
        with("is_verified", json!("yes")),
        with("session_data", json!("text")),
    ] {
        put("s", &body).await.expect_error(400, "M_BAD_JSON");
    }
    let large = with("session_data", json!({ "x": "x".repeat(70_000) }));
    put("s", &large).await.expect_error(413, "M_TOO_LARGE");
    let long = "s".repeat(300);
    let answer = put(&long, &key(1, 0, true)).await;
    answer.expect_error(400, "M_INVALID_PARAM");
    put("%00", &key(1, 0, true))
        .await
        .expect_error(400, "M_INVALID_PARAM");
    for version in ["0", "-1", "01", "x", "99999999999999999999"] {
        let answer = alice.get(&at("", version)).await;
        answer.expect_error(404, "M_NOT_FOUND");
    }
    let missing = alice.get("room_keys/keys").await;
    missing.expect_error(400, "M_MISSING_PARAM");
    let info = alice.get("room_keys/version").await.expect_ok();
    assert_eq!(info["count"], 0);
    let nobody = server.client().get("room_keys/version").await;
    nobody.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn secrets_are_kept_in_account_data() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let put = async |kind: &str, content: &Value| {
        let path = format!("user/{}/account_data/{kind}", alice.user_id);
        alice.put(&path, content).await.expect_ok();
        assert_eq!(alice.get(&path).await.expect_ok(), *content);
    };
    let key = json!({ "algorithm": "m.secret_storage.v1.aes-hmac-sha2", "iv": "a", "mac": "b" });
    put("m.secret_storage.key.abc", &key).await;
    put("m.secret_storage.default_key", &json!({ "key": "abc" })).await;
    let secret = json!({ "encrypted": { "abc": { "iv": "a", "ciphertext": "b", "mac": "c" } } });
    put("m.cross_signing.master", &secret).await;
}
