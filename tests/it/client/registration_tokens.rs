//! Registration tokens, and what administrators do with them (Synapse's admin API; specification
//! v1.19, "Token-authenticated registration" and `GET /admin/whois/{userId}`).

use ruma::UserId;
use serde_json::{Value, json};

use crate::harness::{
    client::{Client, encode},
    server::{PASSWORD, TestOptions, TestServer},
};

const TOKENS: &str = "/_synapse/admin/v1/registration_tokens";

async fn server(config: &str) -> (TestServer, Client) {
    let server = TestServer::start(TestOptions::with(config)).await;
    let accounts = server.app.accounts();
    let root = <&UserId>::try_from("@root:example.org").unwrap();
    let new = chappe::accounts::NewUser {
        localpart: Some("root".to_owned()),
        password: Some(PASSWORD.to_owned().into()),
        is_admin: true,
        ..chappe::accounts::NewUser::default()
    };
    assert_eq!(accounts.create_user(new).await.unwrap(), root);
    let mut admin = server.client();
    admin.login("root", PASSWORD).await.expect_ok();
    (server, admin)
}

fn token(text: &str) -> String {
    format!("{TOKENS}/{}", encode(text))
}

async fn is_valid(server: &TestServer, token: &str) -> Value {
    let path = "/_matrix/client/v1/register/m.login.registration_token/validity";
    let answer = server.client().get(&format!("{path}?token={token}")).await;
    answer.expect_ok()["valid"].clone()
}

#[tokio::test]
async fn an_administrator_makes_changes_and_removes_tokens() {
    let (server, admin) = server("").await;
    let new = format!("{TOKENS}/new");
    let body = json!({ "token": "abc", "uses_allowed": 2, "expiry_time": 99_999_999_999_999_i64 });
    let made = admin.post(&new, &body).await.expect_ok();
    let expected = json!({
        "token": "abc", "uses_allowed": 2, "pending": 0, "completed": 0,
        "expiry_time": 99_999_999_999_999_i64,
    });
    assert_eq!(made, expected);
    assert_eq!(admin.get(&token("abc")).await.expect_ok(), expected);
    assert_eq!(is_valid(&server, "abc").await, true);
    let chosen = admin.post(&new, &json!({ "length": 24 })).await.expect_ok();
    assert_eq!(chosen["token"].as_str().unwrap().len(), 24);
    assert_eq!(chosen["uses_allowed"], Value::Null);
    let body = json!({ "uses_allowed": 0, "expiry_time": null });
    let changed = admin.put(&token("abc"), &body).await.expect_ok();
    assert_eq!(changed["uses_allowed"], 0);
    assert_eq!(changed["expiry_time"], Value::Null);
    assert_eq!(is_valid(&server, "abc").await, false);
    let list = async |query: &str| {
        let answer = admin.get(&format!("{TOKENS}{query}")).await.expect_ok();
        answer["registration_tokens"].as_array().unwrap().len()
    };
    assert_eq!(list("").await, 2);
    assert_eq!(list("?valid=true").await, 1);
    assert_eq!(list("?valid=false").await, 1);
    let answer = admin.delete(&token("abc")).await.expect_ok();
    assert_eq!(answer, json!({}));
    admin
        .get(&token("abc"))
        .await
        .expect_error(404, "M_NOT_FOUND");
    assert_eq!(list("").await, 1);
}

#[tokio::test]
async fn a_token_is_used_up_by_those_who_register() {
    let (server, admin) = server("[registration]\nopen = false\nrequires_token = true").await;
    let body = json!({ "token": "once", "uses_allowed": 1 });
    let new = format!("{TOKENS}/new");
    admin.post(&new, &body).await.expect_ok();
    for (name, status) in [("anna", 200), ("ben", 401)] {
        let mut body = json!({ "username": name, "password": PASSWORD });
        let client = server.client();
        let begun = client.post("register", &body).await;
        body["auth"] = json!({
            "type": "m.login.registration_token", "token": "once",
            "session": begun.body["session"],
        });
        let answer = client.post("register", &body).await;
        let answer = if answer.status == 401 && status == 200 {
            body["auth"] = json!({ "type": "m.login.dummy", "session": begun.body["session"] });
            client.post("register", &body).await
        } else {
            answer
        };
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    let used = admin.get(&token("once")).await.expect_ok();
    assert_eq!(used["completed"], 1);
}

#[tokio::test]
async fn only_administrators_see_tokens_and_bad_ones_are_refused() {
    let (server, admin) = server("").await;
    let bob = server.register("bob").await;
    let new = format!("{TOKENS}/new");
    for refused in [
        bob.get(TOKENS).await,
        bob.post(&new, &json!({})).await,
        bob.get(&token("a")).await,
        bob.put(&token("a"), &json!({})).await,
        bob.delete(&token("a")).await,
    ] {
        refused.expect_error(403, "M_FORBIDDEN");
    }
    let nobody = server.client().get(TOKENS).await;
    nobody.expect_error(401, "M_MISSING_TOKEN");
    let answer = admin.post(&new, &json!({ "token": "there" })).await;
    answer.expect_ok();
    let long = "a".repeat(65);
    for body in [
        json!({ "token": "there" }),
        json!({ "token": "" }),
        json!({ "token": long }),
        json!({ "token": "a b" }),
        json!({ "token": 5 }),
        json!({ "length": 0 }),
        json!({ "length": 65 }),
        json!({ "length": -1 }),
        json!({ "uses_allowed": -1 }),
        json!({ "uses_allowed": "1" }),
        json!({ "expiry_time": 1 }),
    ] {
        let answer = admin.post(&new, &body).await;
        answer.expect_error(400, "M_INVALID_PARAM");
    }
    for answer in [
        admin
            .put(&token("there"), &json!({ "uses_allowed": -1 }))
            .await,
        admin
            .put(&token("there"), &json!({ "expiry_time": 1 }))
            .await,
        admin.get(&format!("{TOKENS}?valid=maybe")).await,
    ] {
        answer.expect_error(400, "M_INVALID_PARAM");
    }
    for unknown in ["nothing", "a\0b"] {
        let put = admin.put(&token(unknown), &json!({})).await;
        put.expect_error(404, "M_NOT_FOUND");
        let delete = admin.delete(&token(unknown)).await;
        delete.expect_error(404, "M_NOT_FOUND");
    }
}

#[tokio::test]
async fn people_see_their_own_connections_and_administrators_everybodys() {
    let (server, admin) = server("").await;
    let bob = server.register("bob").await;
    bob.get("account/whoami").await.expect_ok();
    server.app.accounts().flush().await.unwrap();
    let path = |user_id: &str| format!("admin/whois/{}", encode(user_id));
    for client in [&bob, &admin] {
        let seen = client.get(&path(&bob.user_id)).await.expect_ok();
        assert_eq!(seen["user_id"], bob.user_id);
        let sessions = &seen["devices"][&bob.device_id]["sessions"];
        let connection = &sessions[0]["connections"][0];
        assert_eq!(connection["ip"], "127.0.0.1");
        assert!(connection["last_seen"].is_i64());
    }
    for (client, user_id, status, errcode) in [
        (&bob, admin.user_id.as_str(), 403, "M_FORBIDDEN"),
        (&bob, "@nobody:example.org", 403, "M_FORBIDDEN"),
        (&admin, "@nobody:example.org", 404, "M_NOT_FOUND"),
    ] {
        let answer = client.get(&path(user_id)).await;
        answer.expect_error(status, errcode);
    }
    let answer = server.client().get(&path(&bob.user_id)).await;
    answer.expect_error(401, "M_MISSING_TOKEN");
}
