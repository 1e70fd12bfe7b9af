//! Tokens with which another client logs in (specification v1.19, `POST /login/get_token`).

use std::{sync::Arc, time::Duration};

use chappe::clock::ManualClock;
use serde_json::{Value, json};

use crate::harness::{
    client::{Answer, Client},
    server::{PASSWORD, TestOptions, TestServer},
};

const PATH: &str = "/_matrix/client/v1/login/get_token";

async fn token(client: &Client, password: &str) -> Answer {
    let asked = client.post(PATH, &json!({})).await;
    assert_eq!(asked.status, 401, "{}", asked.text);
    let auth = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": client.user_id },
        "password": password,
        "session": asked.body["session"],
    });
    client.post(PATH, &json!({ "auth": auth })).await
}

async fn log_in(server: &TestServer, token: &Value) -> Answer {
    let body = json!({ "type": "m.login.token", "token": token, "device_id": "SECOND" });
    server.client().post("login", &body).await
}

#[tokio::test]
async fn a_token_lets_another_client_log_in_once() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let answer = token(&anna, PASSWORD).await.expect_ok();
    assert_eq!(answer["expires_in_ms"], 120_000);
    let session = log_in(&server, &answer["login_token"]).await.expect_ok();
    assert_eq!(session["user_id"], anna.user_id);
    assert_eq!(session["device_id"], "SECOND");
    let again = log_in(&server, &answer["login_token"]).await;
    again.expect_error(403, "M_FORBIDDEN");
    // The proof was for one token.
    let flows = server.client().get("login").await.expect_ok();
    let flow = json!({ "type": "m.login.token", "get_login_token": true });
    assert!(flows["flows"].as_array().unwrap().contains(&flow));
    let capabilities = anna.get("capabilities").await.expect_ok();
    let capability = &capabilities["capabilities"]["m.get_login_token"];
    assert_eq!(capability["enabled"], true);
}

#[tokio::test]
async fn a_token_needs_the_password_and_ends_soon() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let server = TestServer::start(TestOptions {
        clock: Some(Arc::clone(&clock)),
        ..TestOptions::default()
    })
    .await;
    let anna = server.register("anna").await;
    let wrong = token(&anna, "wrong").await;
    wrong.expect_error(401, "M_FORBIDDEN");
    let nobody = server.client().post(PATH, &json!({})).await;
    nobody.expect_error(401, "M_MISSING_TOKEN");
    let answer = token(&anna, PASSWORD).await.expect_ok();
    clock.advance(Duration::from_mins(2));
    let late = log_in(&server, &answer["login_token"]).await;
    late.expect_error(403, "M_FORBIDDEN");
    log_in(&server, &json!("guess"))
        .await
        .expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_token_of_a_locked_or_closed_account_is_no_good() {
    let server = TestServer::new().await;
    let accounts = server.app.accounts();
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let of_anna = token(&anna, PASSWORD).await.expect_ok();
    let of_ben = token(&ben, PASSWORD).await.expect_ok();
    let id = |client: &Client| -> ruma::OwnedUserId { client.user_id.as_str().try_into().unwrap() };
    let lock = chappe::accounts::Hold::Lock;
    accounts
        .hold_user(&id(&anna), lock, true, false)
        .await
        .unwrap();
    accounts.deactivate_user(&id(&ben), false).await.unwrap();
    let answer = log_in(&server, &of_anna["login_token"]).await;
    answer.expect_error(401, "M_USER_LOCKED");
    let answer = log_in(&server, &of_ben["login_token"]).await;
    answer.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_server_that_offers_no_tokens_takes_none() {
    let server = TestServer::start(TestOptions::with("[sessions]\nlogin_tokens = false")).await;
    let anna = server.register("anna").await;
    let answer = anna.post(PATH, &json!({})).await;
    answer.expect_error(400, "M_UNKNOWN");
    let answer = log_in(&server, &json!("token")).await;
    answer.expect_error(400, "M_UNKNOWN");
    let flows = server.client().get("login").await.expect_ok();
    assert!(!flows.to_string().contains("m.login.token"));
}
