//! Locking, suspending and blocking accounts (specification v1.19, "Account locking", "Account
//! suspension", "Server Administration"; tchap.md R-03), and Synapse's calls on accounts.

use ruma::UserId;
use serde_json::{Value, json};
use std::time::Duration;

use crate::harness::{
    client::{Client, encode},
    server::{PASSWORD, TestServer},
};

async fn server() -> (TestServer, Client) {
    let server = TestServer::new().await;
    let admin = server.register_admin("root").await;
    (server, admin)
}

fn path(what: &str, user_id: &str) -> String {
    format!("/_matrix/client/v1/admin/{what}/{}", encode(user_id))
}

#[tokio::test]
async fn a_locked_account_keeps_its_sessions_and_can_only_log_out() {
    let (server, admin) = server().await;
    let bob = server.register("bob").await;
    let lock = path("lock", &bob.user_id);
    let answer = admin.get(&lock).await.expect_ok();
    assert_eq!(answer, json!({ "locked": false }));
    let answer = admin.put(&lock, &json!({ "locked": true })).await;
    assert_eq!(answer.expect_ok(), json!({ "locked": true }));
    assert_eq!(admin.get(&lock).await.expect_ok()["locked"], true);
    for refused in [
        bob.get("account/whoami").await,
        bob.get("sync").await,
        bob.post("createRoom", &json!({})).await,
        server.client().login("bob", PASSWORD).await,
    ] {
        let body = refused.expect_error(401, "M_USER_LOCKED");
        assert_eq!(body["soft_logout"], true);
    }
    admin
        .put(&lock, &json!({ "locked": false }))
        .await
        .expect_ok();
    bob.get("account/whoami").await.expect_ok();
    admin
        .put(&lock, &json!({ "locked": true }))
        .await
        .expect_ok();
    bob.post("logout", &json!({})).await.expect_ok();
    bob.get("account/whoami")
        .await
        .expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn a_suspended_account_reads_leaves_and_writes_nothing() {
    let (server, admin) = server().await;
    let bob = server.register("bob").await;
    let room = admin
        .create_room(&json!({ "preset": "public_chat", "invite": [bob.user_id] }))
        .await;
    let other = admin.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&room).await.expect_ok();
    let own = bob.send(&room, "mine").await;
    let others = admin.send(&room, "hello").await;
    let suspend = path("suspend", &bob.user_id);
    let answer = admin.put(&suspend, &json!({ "suspended": true })).await;
    assert_eq!(answer.expect_ok(), json!({ "suspended": true }));
    assert_eq!(admin.get(&suspend).await.expect_ok()["suspended"], true);
    let room_path = format!("rooms/{}", encode(&room));
    let name = format!("profile/{}/displayname", encode(&bob.user_id));
    let message = json!({ "msgtype": "m.text", "body": "no" });
    let redact = |event: &str| format!("{room_path}/redact/{}/t{}", encode(event), event.len());
    for refused in [
        bob.put(&format!("{room_path}/send/m.room.message/1"), &message)
            .await,
        bob.put(
            &format!("{room_path}/state/m.room.topic/"),
            &json!({ "topic": "no" }),
        )
        .await,
        bob.join(&other).await,
        bob.post("createRoom", &json!({})).await,
        bob.put(&name, &json!({ "displayname": "no" })).await,
        bob.post(
            &format!("{room_path}/invite"),
            &json!({ "user_id": "@a:example.org" }),
        )
        .await,
        bob.put(&redact(&others), &json!({})).await,
    ] {
        refused.expect_error(403, "M_USER_SUSPENDED");
    }
    let seen = bob.sync(None, Duration::ZERO).await;
    assert!(seen["rooms"]["join"][&room].is_object());
    server.client().login("bob", PASSWORD).await.expect_ok();
    bob.put(&redact(&own), &json!({})).await.expect_ok();
    let address = json!({ "medium": "email", "address": "a@example.org" });
    let answer = bob.post("account/3pid/delete", &address).await;
    answer.expect_error(403, "M_USER_SUSPENDED");
    bob.leave(&room).await.expect_ok();
    admin
        .put(&suspend, &json!({ "suspended": false }))
        .await
        .expect_ok();
    bob.join(&other).await.expect_ok();
}

#[tokio::test]
async fn only_administrators_hold_accounts_back_and_never_each_other() {
    let (server, admin) = server().await;
    let bob = server.register("bob").await;
    let gone = server.register("gone").await;
    let other = server.register("other").await;
    let accounts = server.app.accounts();
    let id = |client: &Client| -> ruma::OwnedUserId { client.user_id.as_str().try_into().unwrap() };
    accounts.deactivate_user(&id(&gone), false).await.unwrap();
    server.make_admin(&other).await;
    for what in ["lock", "suspend"] {
        let body = json!({ "locked": true, "suspended": true });
        for (sender, user_id, status, errcode) in [
            (&bob, "@nobody:example.org", 403, "M_FORBIDDEN"),
            (&bob, bob.user_id.as_str(), 403, "M_FORBIDDEN"),
            (&admin, admin.user_id.as_str(), 403, "M_FORBIDDEN"),
            (&admin, other.user_id.as_str(), 403, "M_FORBIDDEN"),
            (&admin, "@a:elsewhere.org", 400, "M_INVALID_PARAM"),
            (&admin, "@nobody:example.org", 404, "M_NOT_FOUND"),
            (&admin, gone.user_id.as_str(), 404, "M_NOT_FOUND"),
        ] {
            let path = path(what, user_id);
            sender.put(&path, &body).await.expect_error(status, errcode);
            sender.get(&path).await.expect_error(status, errcode);
        }
        let missing = admin.put(&path(what, &bob.user_id), &json!({})).await;
        missing.expect_error(400, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn administrators_are_told_that_they_may_hold_accounts_back() {
    let (server, admin) = server().await;
    let bob = server.register("bob").await;
    let moderation = async |client: &Client| {
        let answer = client.get("capabilities").await.expect_ok();
        answer["capabilities"]["m.account_moderation"].clone()
    };
    let may = json!({ "suspend": true, "lock": true });
    assert_eq!(moderation(&admin).await, may);
    assert_eq!(moderation(&bob).await, Value::Null);
}

#[tokio::test]
async fn r_03_one_call_blocks_an_account_and_ends_its_sessions() {
    let (server, admin) = server().await;
    let bob = server.register("bob").await;
    let since = bob.sync(None, Duration::ZERO).await;
    let since = encode(since["next_batch"].as_str().unwrap());
    let waiting = format!("sync?since={since}&timeout=30000");
    let block = format!("/_chappe/admin/v1/users/{}/block", encode(&bob.user_id));
    bob.post(&block, &json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    let blocked = async {
        tokio::task::yield_now().await;
        admin.post(&block, &json!({})).await.expect_ok()
    };
    // Also the sync that waits.
    let (waited, answer) = tokio::join!(bob.get(&waiting), blocked);
    assert_eq!(answer, json!({ "locked": true }));
    waited.expect_error(401, "M_UNKNOWN_TOKEN");
    let again = server.client().login("bob", PASSWORD).await;
    again.expect_error(401, "M_USER_LOCKED");
    admin
        .post("/_chappe/admin/v1/users/nonsense/block", &json!({}))
        .await
        .expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn administrators_end_all_sessions_of_a_user() {
    let (server, admin) = server().await;
    let bob = server.register("bob").await;
    let mut second = server.client();
    second.login("bob", PASSWORD).await.expect_ok();
    for api in ["/_chappe/admin/v1", "/api/admin/v1"] {
        let path = |user: &str| format!("{api}/users/{}/kill-sessions", encode(user));
        let refused = bob.post(&path(&bob.user_id), &json!({})).await;
        assert!(matches!(refused.status, 401 | 403), "{}", refused.text);
        let unknown = admin.post(&path("@no:example.org"), &json!({})).await;
        unknown.expect_error(404, "M_NOT_FOUND");
        admin
            .post(&path(&bob.user_id), &json!({}))
            .await
            .expect_ok();
        for client in [&bob, &second] {
            let answer = client.get("account/whoami").await;
            answer.expect_error(401, "M_UNKNOWN_TOKEN");
        }
    }
    // Nothing else was done to the account.
    server.client().login("bob", PASSWORD).await.expect_ok();
}

#[tokio::test]
async fn synapse_calls_show_and_change_accounts() {
    let (server, admin) = server().await;
    let bob = server.register("bob").await;
    let path = format!("/_synapse/admin/v2/users/{}", encode(&bob.user_id));
    bob.get(&path).await.expect_error(403, "M_FORBIDDEN");
    let shown = admin.get(&path).await.expect_ok();
    assert_eq!(shown["name"], bob.user_id);
    assert_eq!(
        (&shown["admin"], &shown["deactivated"]),
        (&false.into(), &false.into())
    );
    let devices = admin.get(&format!("{path}/devices")).await.expect_ok();
    assert_eq!(devices["total"], 1);
    assert_eq!(devices["devices"][0]["device_id"], bob.device_id);

    let room = bob.create_room(&json!({})).await;
    let threepids = json!([{ "medium": "email", "address": "Bob@Example.net" }]);
    let body = json!({ "displayname": "Bob B.", "threepids": threepids, "locked": true });
    let changed = admin.put(&path, &body).await.expect_ok();
    assert_eq!(changed["displayname"], "Bob B.");
    assert_eq!(changed["threepids"][0]["address"], "bob@example.net");
    assert_eq!(changed["locked"], true);
    admin
        .put(&path, &json!({ "locked": false }))
        .await
        .expect_ok();
    let member = format!(
        "rooms/{}/state/m.room.member/{}",
        encode(&room),
        encode(&bob.user_id)
    );
    assert_eq!(bob.get(&member).await.expect_ok()["displayname"], "Bob B.");

    let password = format!("/_synapse/admin/v1/reset_password/{}", encode(&bob.user_id));
    let body = json!({ "new_password": "Another-horse8" });
    admin.post(&password, &body).await.expect_ok();
    bob.get("account/whoami")
        .await
        .expect_error(401, "M_UNKNOWN_TOKEN");
    server
        .client()
        .login("bob", "Another-horse8")
        .await
        .expect_ok();
    admin
        .post(&password, &json!({}))
        .await
        .expect_error(400, "M_MISSING_PARAM");

    let deactivate = format!("/_synapse/admin/v1/deactivate/{}", encode(&bob.user_id));
    admin
        .post(&deactivate, &json!({ "erase": "yes" }))
        .await
        .expect_error(400, "M_INVALID_PARAM");
    admin.post(&deactivate, &json!({})).await.expect_ok();
    assert_eq!(admin.get(&path).await.expect_ok()["deactivated"], true);
    // Back with an address only.
    let back = json!({ "deactivated": false });
    admin
        .put(&path, &back)
        .await
        .expect_error(400, "M_MISSING_PARAM");
    let back = json!({ "deactivated": false, "threepids": threepids, "password": PASSWORD });
    assert_eq!(
        admin.put(&path, &back).await.expect_ok()["deactivated"],
        false
    );
    server.client().login("bob", PASSWORD).await.expect_ok();

    let new = "/_synapse/admin/v2/users/%40new%3Aexample.org";
    let made = admin
        .put(new, &json!({ "password": PASSWORD, "admin": true }))
        .await;
    assert_eq!((made.status, &made.body["admin"]), (201, &true.into()));
    for (body, errcode) in [
        (json!({ "displayname": 5 }), "M_INVALID_PARAM"),
        (
            json!({ "threepids": [{ "medium": "msisdn", "address": "1" }] }),
            "M_INVALID_PARAM",
        ),
        (json!({ "threepids": threepids }), "M_THREEPID_IN_USE"),
        (
            json!({ "threepids": [{ "medium": "email", "address": "a@b@c" }] }),
            "M_INVALID_PARAM",
        ),
    ] {
        admin.put(new, &body).await.expect_error(400, errcode);
    }
    let elsewhere = "/_synapse/admin/v2/users/%40a%3Aelsewhere.org";
    admin
        .put(elsewhere, &json!({}))
        .await
        .expect_error(400, "M_INVALID_PARAM");
    admin.get(elsewhere).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn r_17_a_closed_account_leaves_all_rooms_and_its_power_level() {
    let (server, admin) = server().await;
    let bob = server.register("bob").await;
    let mut rooms = Vec::new();
    for _ in 0..60 {
        // Version 11: creators have a level that can be taken away.
        let room = admin
            .create_room(&json!({
                "preset": "public_chat",
                "room_version": "11",
                "power_level_content_override": { "users": {
                    admin.user_id.clone(): 100,
                    bob.user_id.clone(): 100,
                } },
            }))
            .await;
        bob.join(&room).await.expect_ok();
        rooms.push(room);
    }
    let invited = admin.create_room(&json!({ "invite": [bob.user_id] })).await;
    let deactivate = format!("/_synapse/admin/v1/deactivate/{}", encode(&bob.user_id));
    admin.post(&deactivate, &json!({})).await.expect_ok();
    // The rest is done beside requests; asking for it here waits for it.
    let user_id = <&UserId>::try_from(bob.user_id.as_str()).unwrap();
    wait_for_rooms(&server, user_id).await;
    for room in rooms.iter().chain([&invited]) {
        let path = format!("rooms/{}/state", encode(room));
        let member = format!("{path}/m.room.member/{}", encode(&bob.user_id));
        assert_eq!(admin.get(&member).await.expect_ok()["membership"], "leave");
    }
    for room in &rooms {
        let levels = format!("rooms/{}/state/m.room.power_levels/", encode(room));
        let levels: Value = admin.get(&levels).await.expect_ok();
        assert_eq!(levels["users"], json!({ admin.user_id.clone(): 100 }));
    }
}

/// Waits until no work in rooms is left.
async fn wait_for_rooms(server: &TestServer, user_id: &UserId) {
    let mut conn = server.database().connect().await;
    for _ in 0..500 {
        let left: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM account_work JOIN users USING (user_nid) WHERE user_id = $1",
        )
        .bind(user_id.as_str())
        .fetch_one(&mut conn)
        .await
        .unwrap();
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("rooms are left to be left");
}
