//! Stages of authentication in a browser (specification v1.19, client-server API, "Fallback").

use axum::{body::Body, http::Request};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chappe::{config::Profile, store::registration_tokens};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Answer, PASSWORD, Site, open, tchap};
use crate::harness::{accounts::AccountsOptions, client::encode};

fn path(stage: &str, session: &Value) -> String {
    let session = encode(session.as_str().unwrap_or_default());
    format!("v3/auth/{stage}/fallback/web?session={session}&lang=en")
}

/// Sends the form of a stage.
async fn fill(site: &Site, stage: &str, session: &Value, fields: &[(&str, &str)]) -> Answer {
    let session = session.as_str().unwrap_or_default();
    let mut body = format!("session={}&lang=en", encode(session));
    for (name, value) in fields {
        body.push_str(&format!("&{name}={}", encode(value)));
    }
    let request = Request::post(format!("/_matrix/client/r0/auth/{stage}/fallback/web"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .unwrap();
    site.send_raw(request).await
}

/// The value of a hidden field.
fn hidden(page: &Answer, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let rest = page.text.split(start.as_str()).nth(1);
    let rest = rest.unwrap_or_else(|| panic!("no {name}: {}", page.text));
    rest.split('"').next().unwrap().to_owned()
}

/// Fails unless this is the last page, which tells the client, and may do that alone.
#[track_caller]
fn assert_done(page: &Answer) {
    assert_eq!(page.status, 200, "{}", page.text);
    let (_, script) = page.text.split_once("<script>").unwrap();
    let (script, _) = script.split_once("</script>").unwrap();
    assert!(script.contains("window.onAuthDone()"), "{script}");
    assert!(
        script.contains("window.opener.postMessage(\"authDone\", \"*\")"),
        "{script}"
    );
    let hash = STANDARD.encode(Sha256::digest(script));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains(&format!("script-src 'sha256-{hash}';")),
        "{policy}"
    );
    assert_eq!(page.headers["cross-origin-opener-policy"], "unsafe-none");
}

#[tokio::test]
async fn a_registration_goes_on_with_stages_that_were_passed_in_a_browser() {
    let mut options = AccountsOptions::new(Profile::Open);
    let registration = &mut options.settings.registration;
    registration.open = false;
    registration.requires_token = true;
    registration.terms = vec![chappe::accounts::Terms {
        name: "terms".to_owned(),
        version: "2".to_owned(),
        url_fr: "https://example.org/cgu".parse().unwrap(),
        url_en: "https://example.org/terms".parse().unwrap(),
    }];
    let site = Site::new(options).await;
    {
        let mut conn = site.service.store.conn().await.unwrap();
        registration_tokens::insert(&mut conn, "good", Some(1), 1, None)
            .await
            .unwrap();
    }
    let (terms, token) = ("m.login.terms", "m.login.registration_token");
    let body = json!({ "username": "camille", "password": PASSWORD });
    let begun = site.post("v3/register", None, body).await.json();
    let session = &begun["session"];

    let page = site.get(&path(terms, session), None).await;
    assert_eq!(page.status, 200);
    assert!(
        page.text.contains("example.org&#x2f;terms"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("<script"), "{}", page.text);
    assert_eq!(page.headers["cross-origin-opener-policy"], "unsafe-none");
    assert_eq!(page.headers["x-frame-options"], "DENY");
    // Looking at a page passes nothing.
    let body = json!({ "auth": { "session": session } });
    let waits = site.post("v3/register", None, body.clone()).await;
    let completed = waits.json()["completed"].clone();
    assert!(
        completed.as_array().is_none_or(Vec::is_empty),
        "{completed}"
    );
    assert_done(&fill(&site, terms, session, &[]).await);
    assert_done(&site.get(&path(terms, session), None).await);
    let waits = site.post("v3/register", None, body.clone()).await;
    assert_eq!(waits.json()["completed"], json!([terms]));

    let page = site.get(&path(token, session), None).await;
    assert!(page.text.contains("<label for=\"token\">"), "{}", page.text);
    let wrong = fill(&site, token, session, &[("token", "bad")]).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("role=\"alert\""), "{}", wrong.text);
    assert!(!wrong.text.contains("<script"), "{}", wrong.text);
    assert_done(&fill(&site, token, session, &[("token", "good")]).await);
    let done = site.post("v3/register", None, body).await.ok();
    assert_eq!(done["user_id"], "@camille:example.org");
    // The session is over.
    let over = site.get(&path(token, session), None).await;
    assert_eq!(over.status, 400);
    assert!(!over.text.contains("<script"), "{}", over.text);
}

#[tokio::test]
async fn a_password_in_a_browser_is_that_of_the_account_that_asks() {
    let site = open().await;
    let camille = site.register("camille").await;
    let other = site.register("other").await;
    let token = camille["access_token"].as_str();
    let stage = "m.login.password";
    let change = json!({ "new_password": "Another-1794-Lille" });
    let begun = site
        .post("v3/account/password", token, change.clone())
        .await;
    let session = begun.json()["session"].clone();
    let page = site.get(&path(stage, &session), None).await;
    assert!(
        page.text
            .contains("type=\"password\" autocomplete=\"current-password\""),
        "{}",
        page.text
    );
    for wrong in ["", "wrong"] {
        let page = fill(&site, stage, &session, &[("password", wrong)]).await;
        assert_eq!(page.status, 401, "{}", page.text);
    }
    let mut body = change;
    body["auth"] = json!({ "session": session });
    let waits = site.post("v3/account/password", token, body.clone()).await;
    assert_eq!(waits.status, 401);
    assert_done(&fill(&site, stage, &session, &[("password", PASSWORD)]).await);
    // The session is good for who began it alone.
    let theirs = other["access_token"].as_str();
    let refused = site.post("v3/account/password", theirs, body.clone()).await;
    assert_eq!(refused.status, 401);
    site.post("v3/account/password", token, body).await.ok();
}

#[tokio::test]
async fn an_address_is_proved_in_a_browser() {
    let site = tchap().await;
    let stage = "m.login.email.identity";
    let begun = site
        .post("v3/register", None, json!({ "password": PASSWORD }))
        .await;
    let session = &begun.json()["session"];
    let page = site.get(&path(stage, session), None).await;
    assert!(
        page.text.contains("type=\"email\" autocomplete=\"email\""),
        "{}",
        page.text
    );
    // An address that may not register here, and what is no address.
    for wrong in ["a@nowhere.net", "nothing", ""] {
        let page = fill(&site, stage, session, &[("email", wrong)]).await;
        assert_eq!(page.status, 401, "{wrong}");
    }
    assert_eq!(site.service.mails().await, 0);
    let email = ("email", "camille@culture.gouv.fr");
    let sent = fill(&site, stage, session, &[email]).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    let (sid, secret) = (hidden(&sent, "sid"), hidden(&sent, "client_secret"));
    let proof = [("sid", sid.as_str()), ("client_secret", secret.as_str())];
    let early = fill(&site, stage, session, &proof).await;
    assert_eq!(early.status, 401);
    assert_eq!(hidden(&early, "sid"), sid);
    assert_eq!(site.open_newest_link().await.status, 200);
    let guessed = [("sid", sid.as_str()), ("client_secret", "other")];
    assert_eq!(fill(&site, stage, session, &guessed).await.status, 401);
    assert_done(&fill(&site, stage, session, &proof).await);
    let body = json!({ "auth": { "session": session } });
    let done = site.post("v3/register", None, body).await.ok();
    assert_eq!(done["user_id"], "@camille-culture.gouv.fr:example.org");
}

#[tokio::test]
async fn there_are_pages_for_the_stages_of_a_session_alone() {
    let site = open().await;
    let begun = site
        .post("v3/register", None, json!({ "password": PASSWORD }))
        .await;
    let session = &begun.json()["session"];
    let dummy = "m.login.dummy";
    assert_eq!(site.get(&path(dummy, session), None).await.status, 200);
    for stage in [
        "m.login.password",
        "m.login.sso",
        "m.login.recaptcha",
        "what",
    ] {
        assert_eq!(
            site.get(&path(stage, session), None).await.status,
            400,
            "{stage}"
        );
        let page = fill(&site, stage, session, &[("password", PASSWORD)]).await;
        assert_eq!(page.status, 400, "{stage}");
    }
    for session in ["", "unknown", "\0", &"x".repeat(5_000)] {
        let page = fill(&site, dummy, &json!(session), &[]).await;
        assert_eq!(page.status, 400);
    }
    // Other sites cannot send the form as something else.
    let request = Request::post(format!("/_matrix/client/v3/auth/{dummy}/fallback/web"))
        .header("content-type", "text/plain")
        .body(Body::from("session=x"))
        .unwrap();
    let refused = site.send_raw(request).await;
    assert_eq!(refused.failure(), (400, "M_UNKNOWN".to_owned()));
    assert_done(&fill(&site, dummy, session, &[]).await);
    let body = json!({ "username": "camille", "auth": { "session": session } });
    site.post("v3/register", None, body).await.ok();
}
