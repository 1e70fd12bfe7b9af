//! Login, tokens and logout (tchap.md 2.7; specification v1.19, "Login", "Refreshing access
//! tokens").

use std::time::Duration;

use chappe::config::Profile;
use serde_json::{Value, json};

use super::{PASSWORD, Site, open, tchap};
use crate::harness::accounts::AccountsOptions;

fn by_name(name: &str, password: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": name },
        "password": password,
    })
}

#[tokio::test]
async fn people_log_in_by_name_id_or_address() {
    let site = tchap().await;
    site.register_agent("jean.dupont@culture.gouv.fr").await;
    let name = "jean.dupont-culture.gouv.fr";
    let email = json!({
        "type": "m.id.thirdparty",
        "medium": "email",
        "address": "Jean.Dupont@CULTURE.gouv.fr",
    });
    let password = json!({ "type": "m.login.password", "password": PASSWORD });
    let with = |fields: Value| {
        let mut body = password.clone();
        let fields = fields.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        body
    };
    for body in [
        by_name(name, PASSWORD),
        by_name(&format!("@{name}:example.org"), PASSWORD),
        by_name("Jean.Dupont-Culture.gouv.fr", PASSWORD),
        with(json!({ "identifier": email })),
        with(json!({ "user": name })),
        with(json!({ "medium": "email", "address": "jean.dupont@culture.gouv.fr" })),
    ] {
        let session = site.post("r0/login", None, body.clone()).await.ok();
        assert_eq!(session["user_id"], format!("@{name}:example.org"), "{body}");
    }
}

#[tokio::test]
async fn every_failed_login_looks_the_same() {
    let site = open().await;
    site.register("camille").await;
    site.register("gone").await;
    let gone = "@gone:example.org".try_into().unwrap();
    site.service
        .accounts
        .deactivate_user(gone, false)
        .await
        .unwrap();
    let mut answers = Vec::new();
    for (name, password) in [
        ("camille", "wrong"),
        ("camille", ""),
        ("nobody", PASSWORD),
        ("gone", PASSWORD),
        ("@camille:elsewhere.org", PASSWORD),
        ("camille\u{0}", PASSWORD),
        ("", PASSWORD),
    ] {
        let answer = site.post("v3/login", None, by_name(name, password)).await;
        assert_eq!(
            answer.failure(),
            (403, "M_FORBIDDEN".to_owned()),
            "{name:?}"
        );
        answers.push(answer.text);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

#[tokio::test]
async fn too_many_failures_are_stopped_and_forgiven() {
    let mut options = AccountsOptions::new(Profile::Open);
    options.settings.limits.login_failed = Some(chappe::accounts::Rate {
        per_second: 0.1,
        burst: 3,
    });
    let site = Site::new(options).await;
    site.register("camille").await;
    for _ in 0..3 {
        let answer = site
            .post("v3/login", None, by_name("camille", "wrong"))
            .await;
        assert_eq!(answer.status, 403);
    }
    let answer = site
        .post("v3/login", None, by_name("Camille", PASSWORD))
        .await;
    assert_eq!(answer.failure(), (429, "M_LIMIT_EXCEEDED".to_owned()));
    site.service.clock.advance(Duration::from_secs(11));
    for _ in 0..5 {
        site.post("v3/login", None, by_name("camille", PASSWORD))
            .await
            .ok();
    }
}

#[tokio::test]
async fn other_kinds_of_login_are_refused() {
    let site = open().await;
    for body in [
        json!({ "type": "m.login.sso", "token": "x" }),
        json!({ "type": "m.login.unheard-of" }),
    ] {
        let answer = site.post("v3/login", None, body).await;
        assert_eq!(answer.failure(), (400, "M_UNKNOWN".to_owned()));
    }
    let answer = site.post("v3/login", None, json!({})).await;
    assert_eq!(answer.failure(), (400, "M_BAD_JSON".to_owned()));
    let flows = site.get("v3/login", None).await.ok();
    let token = json!({ "type": "m.login.token", "get_login_token": true });
    let flows_of_this = json!([{ "type": "m.login.password" }, token]);
    assert_eq!(flows, json!({ "flows": flows_of_this }));
}

#[tokio::test]
async fn a_device_that_logs_in_again_has_one_token() {
    let site = open().await;
    site.register("camille").await;
    let mut body = by_name("camille", PASSWORD);
    body["device_id"] = "PHONE".into();
    body["initial_device_display_name"] = "Phone".into();
    let first = site.post("v3/login", None, body.clone()).await.ok();
    assert_eq!(first["device_id"], "PHONE");
    site.get("v3/account/whoami", first["access_token"].as_str())
        .await
        .ok();
    let second = site.post("v3/login", None, body).await.ok();
    let old = site
        .get("v3/account/whoami", first["access_token"].as_str())
        .await;
    assert_eq!(old.failure(), (401, "M_UNKNOWN_TOKEN".to_owned()));
    let me = site
        .get("v3/account/whoami", second["access_token"].as_str())
        .await
        .ok();
    assert_eq!(me["device_id"], "PHONE");
}

#[tokio::test]
async fn old_tokens_work_until_a_new_one_is_used() {
    let site = open().await;
    site.register("camille").await;
    let mut body = by_name("camille", PASSWORD);
    body["refresh_token"] = true.into();
    let session = site.post("v3/login", None, body).await.ok();
    assert_eq!(session["expires_in_ms"], 300_000);
    let refresh = async |token: &Value| {
        let body = json!({ "refresh_token": token });
        site.post("v3/refresh", None, body).await
    };
    let whoami = async |token: &Value| site.get("v3/account/whoami", token.as_str()).await;

    // Two answers got lost: the first refresh token still works.
    let lost = refresh(&session["refresh_token"]).await.ok();
    let kept = refresh(&session["refresh_token"]).await.ok();
    assert_eq!(refresh(&lost["refresh_token"]).await.status, 401);
    whoami(&session["access_token"]).await.ok();
    whoami(&kept["access_token"]).await.ok();
    let used = refresh(&session["refresh_token"]).await;
    assert_eq!(used.failure(), (401, "M_UNKNOWN_TOKEN".to_owned()));

    site.service.clock.advance(Duration::from_secs(301));
    let expired = whoami(&kept["access_token"]).await;
    assert_eq!(expired.failure(), (401, "M_UNKNOWN_TOKEN".to_owned()));
    assert_eq!(expired.json()["soft_logout"], true);
    let next = refresh(&kept["refresh_token"]).await.ok();
    // Using a refresh token is a use, too.
    let newest = refresh(&next["refresh_token"]).await.ok();
    assert_eq!(refresh(&kept["refresh_token"]).await.status, 401);
    whoami(&newest["access_token"]).await.ok();
}

#[tokio::test]
async fn logout_ends_one_session_or_all() {
    let site = open().await;
    let mut tokens = vec![site.register("camille").await["access_token"].clone()];
    for _ in 0..2 {
        let session = site
            .post("v3/login", None, by_name("camille", PASSWORD))
            .await
            .ok();
        tokens.push(session["access_token"].clone());
    }
    let states = async || {
        let mut states = Vec::new();
        for token in &tokens {
            let answer = site.get("v3/account/whoami", token.as_str()).await;
            states.push(answer.status);
        }
        states
    };
    assert_eq!(states().await, [200, 200, 200]);
    site.post("v3/logout", tokens[0].as_str(), json!({}))
        .await
        .ok();
    assert_eq!(states().await, [401, 200, 200]);
    site.post("v3/logout/all", tokens[1].as_str(), json!({}))
        .await
        .ok();
    assert_eq!(states().await, [401, 401, 401]);
    let answer = site.get("v3/account/whoami", tokens[2].as_str()).await;
    assert_eq!(answer.json()["soft_logout"], false);
}

#[tokio::test]
async fn another_process_forgets_a_session_when_it_is_told() {
    let site = open().await;
    let me = site.register("camille").await;
    let token = me["access_token"].as_str().unwrap();
    let other = site.service.other_process().await;
    let requester = other.authenticate(token).await.unwrap();
    site.post("v3/logout", Some(token), json!({})).await.ok();
    // The message is on its way.
    assert!(other.authenticate(token).await.is_ok());
    other.forget_sessions(requester.user());
    assert!(other.authenticate(token).await.is_err());
}
