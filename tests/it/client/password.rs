//! Changing and resetting passwords, and closing accounts (tchap.md 2.6).

use ::http::Request;
use axum::body::Body;
use chappe::config::Profile;
use serde_json::{Value, json};

use super::{PASSWORD, Site, email_auth, open, password_auth, tchap};
use crate::harness::accounts::AccountsOptions;

const NEW: &str = "Nouveau-1794-Lille";

async fn login(site: &Site, name: &str, password: &str) -> u16 {
    let body = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": name },
        "password": password,
    });
    site.post("v3/login", None, body).await.status
}

#[tokio::test]
async fn the_rules_for_passwords_are_told() {
    let site = tchap().await;
    let rules = site.get("r0/password_policy", None).await.ok();
    assert_eq!(rules["m.minimum_length"], 12);
    assert_eq!(rules["m.require_symbol"], true);
    assert_eq!(
        open().await.get("r0/password_policy", None).await.ok(),
        json!({})
    );
}

#[tokio::test]
async fn a_new_password_logs_the_other_devices_out_unless_asked_not_to() {
    let site = open().await;
    let me = site.register("camille").await;
    let token = me["access_token"].as_str();
    let other = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": "camille" },
        "password": PASSWORD,
    });
    let other = site.post("v3/login", None, other).await.ok();
    let other = other["access_token"].as_str();
    let change = async |password: &str, logout: Value, auth: Option<Value>| {
        let body = json!({ "new_password": password, "logout_devices": logout, "auth": auth });
        site.post("v3/account/password", token, body).await
    };
    let begun = change(NEW, false.into(), None).await;
    assert_eq!(begun.status, 401);
    // The new password need not be the same again: the first one counts.
    let auth = password_auth("camille", PASSWORD, Some(&begun.json()["session"]));
    change("another", false.into(), Some(auth)).await.ok();
    assert_eq!(site.get("v3/account/whoami", other).await.status, 200);
    assert_eq!(login(&site, "camille", PASSWORD).await, 403);
    assert_eq!(login(&site, "camille", NEW).await, 200);

    let body = json!({
        "new_password": PASSWORD,
        "auth": password_auth("camille", NEW, None),
    });
    site.post("v3/account/password", token, body).await.ok();
    assert_eq!(site.get("v3/account/whoami", other).await.status, 401);
    assert_eq!(site.get("v3/account/whoami", token).await.status, 200);
}

/// With the rules of Tchap it is the other way round: whoever changes their password would else lose
/// what they had not backed up.
#[tokio::test]
async fn r_11_with_the_rules_of_tchap_a_new_password_keeps_the_other_devices_unless_asked_not_to() {
    let site = tchap().await;
    let me = site.register_agent("a@x.gouv.fr").await;
    let (name, token) = ("a-x.gouv.fr", me["access_token"].as_str());
    let other = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": name },
        "password": PASSWORD,
    });
    let other = site.post("v3/login", None, other).await.ok();
    let other = other["access_token"].as_str();
    let change = async |new: &str, old: &str, logout: Option<bool>| {
        let mut body = json!({ "new_password": new, "auth": password_auth(name, old, None) });
        if let Some(logout) = logout {
            body["logout_devices"] = logout.into();
        }
        site.post("v3/account/password", token, body).await.ok();
    };
    change(NEW, PASSWORD, None).await;
    assert_eq!(site.get("v3/account/whoami", other).await.status, 200);
    assert_eq!(login(&site, name, PASSWORD).await, 403);
    change(PASSWORD, NEW, Some(true)).await;
    assert_eq!(site.get("v3/account/whoami", other).await.status, 401);
    assert_eq!(site.get("v3/account/whoami", token).await.status, 200);
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_mail() {
    let site = tchap().await;
    let me = site.register_agent("a@x.gouv.fr").await;
    let name = "a-x.gouv.fr";
    site.service
        .clock
        .advance(std::time::Duration::from_secs(1));
    let sid = site
        .request_mail("account/password", "A@X.gouv.fr", 1)
        .await
        .ok()["sid"]
        .clone();
    let begun = site
        .post("v3/account/password", None, json!({ "new_password": NEW }))
        .await;
    assert_eq!(begun.status, 401);
    let session = begun.json()["session"].clone();
    let body = json!({ "new_password": NEW, "auth": email_auth(&session, &sid) });
    let finish = async || site.post("v3/account/password", None, body.clone()).await;

    // A program that opens links in mails does not confirm.
    let link = site.service.newest_link().await.unwrap();
    let page = site.open(&link).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("<form"), "{}", page.text);
    assert_eq!(finish().await.failure(), (401, "M_UNAUTHORIZED".to_owned()));

    let confirm = Request::post(link.path())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(link.query().unwrap().to_owned()))
        .unwrap();
    assert_eq!(site.send_raw(confirm).await.status, 200);
    finish().await.ok();
    assert_eq!(finish().await.status, 401);
    assert_eq!(login(&site, name, NEW).await, 200);
    assert_eq!(login(&site, name, PASSWORD).await, 403);
    let old = site
        .get("v3/account/whoami", me["access_token"].as_str())
        .await;
    assert_eq!(old.status, 401);
}

#[tokio::test]
async fn a_reset_tells_nobody_whether_there_is_an_account() {
    let site = tchap().await;
    let first = site
        .request_mail("account/password", "a@x.gouv.fr", 1)
        .await
        .ok();
    let second = site
        .request_mail("account/password", "a@x.gouv.fr", 1)
        .await
        .ok();
    assert_eq!(first["sid"], second["sid"]);
    assert_eq!(site.service.mails().await, 0);
    let open = Site::new(AccountsOptions::new(Profile::Open)).await;
    let answer = open.request_mail("account/password", "a@x.fr", 1).await;
    assert_eq!(answer.failure(), (400, "M_THREEPID_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn the_proof_of_a_registration_changes_no_password() {
    let site = tchap().await;
    site.register_agent("a@x.gouv.fr").await;
    let begun = site
        .post("v3/account/password", None, json!({ "new_password": NEW }))
        .await;
    let session = begun.json()["session"].clone();
    let sid = site.request_mail("register", "b@x.gouv.fr", 1).await.ok()["sid"].clone();
    site.open_newest_link().await;
    let body = json!({ "new_password": NEW, "auth": email_auth(&session, &sid) });
    let answer = site.post("v3/account/password", None, body).await;
    assert_eq!(answer.failure(), (401, "M_UNAUTHORIZED".to_owned()));
}

#[tokio::test]
async fn a_closed_account_is_gone() {
    let site = tchap().await;
    let me = site.register_agent("a@x.gouv.fr").await;
    let token = me["access_token"].as_str();
    let missing = site.post("v3/account/deactivate", None, json!({})).await;
    assert_eq!(missing.failure(), (401, "M_MISSING_TOKEN".to_owned()));
    let auth = password_auth("a-x.gouv.fr", PASSWORD, None);
    let body = json!({ "erase": true, "auth": auth });
    let answer = site.post("v3/account/deactivate", token, body).await.ok();
    assert_eq!(answer, json!({ "id_server_unbind_result": "success" }));
    assert_eq!(site.get("v3/account/whoami", token).await.status, 401);
    assert_eq!(login(&site, "a-x.gouv.fr", PASSWORD).await, 403);
    let path = format!("v3/profile/{}", me["user_id"].as_str().unwrap());
    assert_eq!(site.get(&path, None).await.status, 404);
    // Its address is free again, and the old proofs are not good.
    assert_eq!(site.service.mails().await, 1);
    site.request_mail("register", "a@x.gouv.fr", 1).await.ok();
    assert_eq!(site.service.mails().await, 2);
}
