//! The life of accounts: coming back, terms, addresses, and what others may know of an account
//! (tchap.md 2.4, 6.3, 10.4; specification v1.19, "Adding Account Administrative Contact
//! Information").

use std::time::Duration;

use ::http::Request;
use axum::body::Body;
use chappe::{
    accounts::{Hold, NewUser, Terms, ValiditySettings},
    config::Profile,
};
use ruma::UserId;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Answer, PASSWORD, Site, email_auth, open, password_auth, tchap, tchap_options};
use crate::harness::{
    accounts::AccountsOptions,
    client::encode,
    server::{TestOptions, TestServer},
};

async fn close(site: &Site, session: &Value, erase: bool) {
    let name = session["user_id"].as_str().unwrap();
    let body = json!({ "auth": password_auth(name, PASSWORD, None), "erase": erase });
    site.post(
        "v3/account/deactivate",
        session["access_token"].as_str(),
        body,
    )
    .await
    .ok();
}

async fn login(site: &Site, name: &str) -> Answer {
    let body = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": name },
        "password": PASSWORD,
    });
    site.post("v3/login", None, body).await
}

fn id(text: &str) -> &UserId {
    text.try_into().unwrap()
}

const EMAIL: &str = "a@x.gouv.fr";
const USER: &str = "@a-x.gouv.fr:example.org";

#[tokio::test]
async fn mreg_05_whoever_proves_the_address_of_a_closed_account_gets_it_back() {
    let site = tchap().await;
    let first = site.register_agent(EMAIL).await;
    assert_eq!(first["user_id"], USER);
    close(&site, &first, false).await;
    let second = site.register_agent("A@X.gouv.fr").await;
    assert_eq!(second["user_id"], USER);
    let token = second["access_token"].as_str();
    let threepids = site.get("v3/account/3pid", token).await.ok();
    assert_eq!(threepids["threepids"][0]["address"], EMAIL);
    let profile = site.get(&format!("v3/profile/{USER}"), None).await.ok();
    assert_eq!(profile["displayname"], "A [X]");
    login(&site, "a-x.gouv.fr").await.ok();
    // The old session is not good again.
    let old = site.get("v3/account/whoami", first["access_token"].as_str());
    assert_eq!(old.await.status, 401);
}

#[tokio::test]
async fn mreg_05_an_account_that_expired_comes_back_with_a_new_date() {
    let mut options = tchap_options();
    let day = Duration::from_hours(24);
    options.settings.validity = Some(ValiditySettings {
        period: day * 10,
        reminders: Vec::new(),
        exclude: Vec::new(),
        send_links: true,
        deactivate_after: Some(day),
        resend_delay: Duration::ZERO,
    });
    let site = Site::new(options).await;
    site.register_agent(EMAIL).await;
    site.service.clock.advance(day * 12);
    let done = site.service.accounts.keep_validity().await.unwrap();
    assert_eq!(done.closed, 1);
    let back = site.register_agent(EMAIL).await;
    assert_eq!(back["user_id"], USER);
    let token = back["access_token"].as_str();
    site.get("v3/account/whoami", token).await.ok();
    site.service.clock.advance(day * 10);
    assert_eq!(site.get("v3/account/whoami", token).await.status, 403);
}

#[tokio::test]
async fn uid_13_what_an_administrator_closed_or_was_erased_does_not_come_back_by_itself() {
    let site = tchap().await;
    let first = site.register_agent(EMAIL).await;
    close(&site, &first, false).await;
    // An administrator may say so later.
    let accounts = &site.service.accounts;
    accounts.deactivate_user(id(USER), false).await.unwrap();
    let second = site.register_agent(EMAIL).await;
    assert_eq!(second["user_id"], "@a-x.gouv.fr1:example.org");
    close(&site, &second, true).await;
    let third = site.register_agent(EMAIL).await;
    assert_eq!(third["user_id"], "@a-x.gouv.fr2:example.org");
    // Nor what was locked when it was closed.
    let user_id = id(third["user_id"].as_str().unwrap());
    close(&site, &third, false).await;
    let fourth = site.register_agent(EMAIL).await;
    assert_eq!(fourth["user_id"], third["user_id"]);
    accounts
        .hold_user(user_id, Hold::Lock, true, false)
        .await
        .unwrap();
    accounts.deactivate_user(user_id, false).await.unwrap();
    let fifth = site.register_agent(EMAIL).await;
    assert_eq!(fifth["user_id"], "@a-x.gouv.fr3:example.org");
}

#[tokio::test]
async fn mreg_06_a_closed_account_does_not_show_at_login() {
    let site = tchap().await;
    let session = site.register_agent(EMAIL).await;
    close(&site, &session, false).await;
    let closed = login(&site, "a-x.gouv.fr").await;
    let unknown = login(&site, "b-x.gouv.fr").await;
    assert_eq!(closed.failure(), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(closed.json(), unknown.json());
}

#[tokio::test]
async fn operators_open_accounts_again_with_an_address() {
    let site = tchap().await;
    site.register_agent(EMAIL).await;
    site.register_agent("taken@x.gouv.fr").await;
    let accounts = &site.service.accounts;
    let reopen = async |address: &str| accounts.reactivate_user(id(USER), address, None).await;
    assert!(reopen(EMAIL).await.is_err(), "it is open");
    accounts.deactivate_user(id(USER), false).await.unwrap();
    assert!(reopen("taken@x.gouv.fr").await.is_err());
    assert!(reopen("nonsense").await.is_err());
    let nobody = accounts.reactivate_user(id("@no:example.org"), EMAIL, None);
    assert!(nobody.await.is_err());
    reopen("new@x.gouv.fr").await.unwrap();
    // Its owner sets a password by mail.
    site.request_mail("account/password", "new@x.gouv.fr", 1)
        .await
        .ok();
    let link = site.service.newest_link().await.unwrap();
    assert!(link.path().contains("password_reset"));
    let found = accounts.find_by_email("new@x.gouv.fr").await.unwrap();
    assert_eq!(found.unwrap(), USER);
}

#[tokio::test]
async fn users_info_tells_who_is_expired_closed_or_external() {
    let mut options = tchap_options();
    options.policy.addresses.patterns[0].external = false;
    options.policy.addresses.patterns.insert(
        0,
        chappe::config::policy::AddressPattern {
            pattern: ".*@guest.gouv.fr".to_owned(),
            external: true,
            ..Default::default()
        },
    );
    options.settings.validity = Some(ValiditySettings {
        period: Duration::from_hours(240),
        reminders: Vec::new(),
        exclude: Vec::new(),
        send_links: true,
        deactivate_after: None,
        resend_delay: Duration::ZERO,
    });
    let site = Site::new(options).await;
    site.register_agent("old@x.gouv.fr").await;
    site.service.clock.advance(Duration::from_hours(240));
    site.register_agent("guest@guest.gouv.fr").await;
    site.register_agent("gone@x.gouv.fr").await;
    let gone = "@gone-x.gouv.fr:example.org";
    let accounts = &site.service.accounts;
    accounts.deactivate_user(id(gone), false).await.unwrap();
    let me = site.register_agent(EMAIL).await;
    let token = me["access_token"].as_str();
    let ask = async |body: Value| site.post("unstable/users/info", token, body).await;
    let flags = |expired: bool, deactivated: bool, external: bool| json!({ "expired": expired, "deactivated": deactivated, "external": external });
    let old = "@old-x.gouv.fr:example.org";
    let guest = "@guest-guest.gouv.fr:example.org";
    let all = [
        USER,
        old,
        guest,
        gone,
        "@nobody:example.org",
        "@a:elsewhere.org",
    ];
    let answer = ask(json!({ "user_ids": all })).await.ok();
    let expected = json!({
        USER: flags(false, false, false),
        old: flags(true, false, false),
        guest: flags(false, false, true),
        gone: flags(false, true, false),
    });
    assert_eq!(answer, expected);

    let one = async |user_id: &str| site.get(&format!("r0/user/{user_id}/info"), token).await;
    assert_eq!(one(old).await.ok(), flags(true, false, false));
    let unknown = one("@nobody:example.org").await;
    assert_eq!(unknown.failure(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(
        one("nonsense").await.failure(),
        (400, "M_INVALID_PARAM".to_owned())
    );

    for (body, errcode) in [
        (json!({}), "M_MISSING_PARAM"),
        (json!({ "user_ids": USER }), "M_INVALID_PARAM"),
        (json!({ "user_ids": [5] }), "M_INVALID_PARAM"),
        (json!({ "user_ids": ["nonsense"] }), "M_INVALID_PARAM"),
        (json!({ "user_ids": vec![USER; 1001] }), "M_INVALID_PARAM"),
    ] {
        assert_eq!(ask(body).await.failure(), (400, errcode.to_owned()));
    }
    let nobody = site.post("unstable/users/info", None, json!({})).await;
    assert_eq!(nobody.failure(), (401, "M_MISSING_TOKEN".to_owned()));
}

fn terms(version: &str) -> Vec<Terms> {
    vec![Terms {
        name: "cgu".to_owned(),
        version: version.to_owned(),
        url_fr: "https://example.org/cgu".parse().unwrap(),
        url_en: "https://example.org/terms".parse().unwrap(),
    }]
}

#[tokio::test]
async fn new_terms_are_agreed_to_on_a_page_before_anything_else() {
    let mut options = AccountsOptions::new(Profile::Open);
    options.settings.registration.require_acceptance = true;
    options.settings.registration.terms = terms("2");
    let site = Site::new(options).await;
    // An account from before the terms.
    site.service
        .add_session(id("@old:example.org"), "token")
        .await;
    let refused = site.get("v3/account/whoami", Some("token")).await;
    assert_eq!(refused.failure(), (403, "M_CONSENT_NOT_GIVEN".to_owned()));
    let uri = refused.json()["consent_uri"].as_str().unwrap().to_owned();
    assert!(
        uri.starts_with("https://matrix.example.org/_matrix/consent?u=old&h="),
        "{uri}"
    );
    let uri: url::Url = uri.parse().unwrap();

    let form = site.open(&uri).await;
    assert_eq!(form.status, 200);
    assert!(
        form.text.contains("https:&#x2f;&#x2f;example.org&#x2f;cgu"),
        "{}",
        form.text
    );
    assert!(!form.text.contains("<script"), "{}", form.text);
    // The same page in English.
    assert!(form.text.contains("&amp;lang=en\""), "{}", form.text);
    let digest = form.text.split("name=\"v\" value=\"").nth(1).unwrap();
    let digest = digest.split('"').next().unwrap();
    let send = async |query: &str, digest: &str| {
        let request = Request::post(uri.path())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(format!("{query}&v={digest}")))
            .unwrap();
        site.send_raw(request).await.status
    };
    let query = uri.query().unwrap();
    // Other versions than those that were shown, and another signature.
    assert_eq!(send(query, "0").await, 400);
    assert_eq!(send("u=old&h=0", digest).await, 400);
    assert_eq!(send(&query.replace("u=old", "u=other"), digest).await, 400);
    assert_eq!(site.get("/_matrix/consent", None).await.status, 400);
    assert_eq!(
        site.get("v3/account/whoami", Some("token")).await.status,
        403
    );
    assert_eq!(send(query, digest).await, 200);
    site.get("v3/account/whoami", Some("token")).await.ok();
}

#[tokio::test]
async fn who_agreed_at_registration_is_asked_again_only_for_a_new_version() {
    let mut options = AccountsOptions::new(Profile::Open);
    options.settings.registration.require_acceptance = true;
    options.settings.registration.terms = terms("1");
    let mut site = Site::new(options).await;
    let body = json!({
        "username": "camille",
        "password": PASSWORD,
        "auth": { "type": "m.login.dummy" },
    });
    let first = site.post("v3/register", None, body).await.json();
    let auth = json!({ "type": "m.login.terms", "session": first["session"] });
    let done = site
        .post("v3/register", None, json!({ "auth": auth }))
        .await
        .ok();
    let token = done["access_token"].as_str().unwrap().to_owned();
    site.get("v3/account/whoami", Some(&token)).await.ok();

    site.service
        .restart(|settings| settings.registration.terms = terms("2"))
        .await;
    let refused = site.service.accounts.authenticate(&token).await.unwrap();
    let refused = site
        .service
        .accounts
        .may_proceed(&refused, chappe::accounts::Reach::Private);
    assert!(matches!(
        refused,
        Err(chappe::accounts::Error::ConsentNotGiven(_))
    ));
    // Logging out needs no consent.
    site.post("v3/logout", Some(&token), json!({})).await.ok();
}

#[tokio::test]
async fn an_address_is_added_and_removed_by_its_owner() {
    let site = open().await;
    let me = site.register("camille").await;
    let token = me["access_token"].as_str();
    site.register("other").await;
    let sid = site
        .request_mail("account/3pid", "Camille@Example.net", 1)
        .await;
    let sid = sid.ok()["sid"].clone();
    let add = async |auth: Value| {
        let body = json!({ "sid": sid, "client_secret": "secret", "auth": auth });
        site.post("v3/account/3pid/add", token, body).await
    };
    assert_eq!(add(Value::Null).await.status, 401);
    let proof = || password_auth("camille", PASSWORD, None);
    let early = add(proof()).await;
    assert_eq!(early.failure(), (400, "M_THREEPID_AUTH_FAILED".to_owned()));
    assert_eq!(site.open_newest_link().await.status, 200);
    let others = add(password_auth("other", PASSWORD, None)).await;
    assert_eq!(others.failure(), (403, "M_FORBIDDEN".to_owned()));
    // Older clients say the same in another way.
    let old = async |auth: Value| {
        let credentials = json!({ "sid": sid, "client_secret": "secret", "id_server": "a" });
        let body = json!({ "three_pid_creds": credentials, "bind": false, "auth": auth });
        site.post("r0/account/3pid", token, body).await
    };
    assert_eq!(old(Value::Null).await.status, 401);
    let wrong = site.post("v3/account/3pid", token, json!({})).await;
    assert_eq!(wrong.failure(), (400, "M_BAD_JSON".to_owned()));
    assert_eq!(old(proof()).await.ok(), json!({}));
    let listed = async || site.get("v3/account/3pid", token).await.ok()["threepids"].clone();
    assert_eq!(listed().await[0]["address"], "camille@example.net");
    // Once; and nobody else gets it.
    assert_eq!(add(proof()).await.status, 400);
    let taken = site
        .request_mail("account/3pid", "camille@example.net", 2)
        .await;
    assert_eq!(taken.failure(), (400, "M_THREEPID_IN_USE".to_owned()));
    let malformed = site.request_mail("account/3pid", "a@b@c", 1).await;
    assert_eq!(malformed.failure(), (400, "M_INVALID_PARAM".to_owned()));

    let delete = async |medium: &str, address: &str| {
        let body = json!({ "medium": medium, "address": address });
        site.post("v3/account/3pid/delete", token, body).await
    };
    delete("email", "nobody@example.net").await.ok();
    delete("msisdn", "123").await.ok();
    assert_eq!(delete("email", "nonsense").await.status, 400);
    let deleted = delete("email", "CAMILLE@example.net").await.ok();
    assert_eq!(deleted, json!({ "id_server_unbind_result": "success" }));
    assert_eq!(listed().await, json!([]));
}

#[tokio::test]
async fn phone_numbers_are_not_taken() {
    let site = open().await;
    let me = site.register("camille").await;
    let body = json!({
        "client_secret": "secret", "country": "FR", "phone_number": "0600000000",
        "send_attempt": 1,
    });
    let ask = async |path: &str| {
        let path = format!("v3/{path}/msisdn/requestToken");
        let token = me["access_token"].as_str();
        site.post(&path, token, body.clone()).await.failure()
    };
    let unknown = (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED".to_owned());
    assert_eq!(ask("account/3pid").await, unknown);
    let denied = (403, "M_THREEPID_DENIED".to_owned());
    assert_eq!(ask("register").await, denied);
    assert_eq!(ask("account/password").await, denied);
}

#[tokio::test]
async fn a_proof_for_an_address_makes_no_account_and_no_password() {
    let site = open().await;
    let sid = site
        .request_mail("account/3pid", "a@example.net", 1)
        .await
        .ok()["sid"]
        .clone();
    site.open_newest_link().await;
    let body = json!({ "username": "a", "password": PASSWORD });
    let begun = site.post("v3/register", None, body).await.json();
    let body = json!({ "auth": email_auth(&begun["session"], &sid) });
    let answer = site.post("v3/register", None, body).await;
    assert_eq!(answer.failure(), (401, "M_UNAUTHORIZED".to_owned()));
}

#[tokio::test]
async fn only_own_addresses_are_bound_and_only_here() {
    let site = open().await;
    let me = site.register("camille").await;
    let token = me["access_token"].as_str();
    let sid = site
        .request_mail("account/3pid", "a@example.net", 1)
        .await
        .ok()["sid"]
        .clone();
    let bind = async |server: &str| {
        let body = json!({
            "sid": sid,
            "client_secret": "secret",
            "id_server": server,
            "id_access_token": "x",
        });
        site.post("v3/account/3pid/bind", token, body)
            .await
            .failure()
    };
    assert_eq!(
        bind("evil.org").await,
        (403, "M_SERVER_NOT_TRUSTED".to_owned())
    );
    assert_eq!(
        bind("example.org").await,
        (400, "M_THREEPID_AUTH_FAILED".to_owned())
    );
    let body = json!({ "medium": "email", "address": "a@example.net" });
    let unbound = site.post("v3/account/3pid/unbind", token, body).await.ok();
    assert_eq!(unbound, json!({ "id_server_unbind_result": "no-support" }));
}

#[tokio::test]
async fn tchap_does_not_let_people_change_their_addresses() {
    let site = tchap().await;
    let me = site.register_agent(EMAIL).await;
    let token = me["access_token"].as_str();
    let mails = site.service.mails().await;
    let secrets = json!({ "sid": "1", "client_secret": "secret" });
    let server = json!({
        "sid": "1",
        "client_secret": "secret",
        "id_server": "example.org",
        "id_access_token": "x",
    });
    let address = json!({ "medium": "email", "address": EMAIL });
    let request = json!({ "client_secret": "s", "email": "b@x.gouv.fr", "send_attempt": 1 });
    for (path, body) in [
        ("email/requestToken", request),
        ("add", secrets),
        ("delete", address.clone()),
        ("bind", server),
        ("unbind", address),
    ] {
        let path = format!("v3/account/3pid/{path}");
        let answer = site.post(&path, token, body).await;
        assert_eq!(answer.failure(), (403, "M_FORBIDDEN".to_owned()), "{path}");
        assert_eq!(
            answer.json()["fr.gouv.tchap.reason"],
            "addresses_fixed",
            "{path}"
        );
    }
    assert_eq!(site.service.mails().await, mails);
}

#[tokio::test]
async fn where_tchap_lets_people_add_addresses_they_must_belong_to_this_server() {
    let mut options = tchap_options();
    options.policy.addresses.allow_change = true;
    let site = Site::new(options).await;
    let ask = async |email: &str| site.request_mail("account/3pid", email, 1).await;
    ask("b@x.gouv.fr").await.ok();
    assert_eq!(
        ask("b@other.fr").await.failure(),
        (403, "M_THREEPID_DENIED".to_owned())
    );
}

#[tokio::test]
async fn profiles_can_be_kept_to_people_who_share_a_room() {
    let server = TestServer::start(TestOptions::with(
        "[server]\nprofile = \"tchap\"\n[registration]\nopen = false\n\
         [policy.profiles]\nknown_users_only = true\n[policy.passwords]\nenforce = \"never\"",
    ))
    .await;
    let mut clients = Vec::new();
    for name in ["alice", "bob", "eve"] {
        let new = NewUser {
            localpart: Some(name.to_owned()),
            password: Some(Zeroizing::new(PASSWORD.to_owned())),
            ..NewUser::default()
        };
        server.app.accounts().create_user(new).await.unwrap();
        let mut client = server.client();
        client.login(name, PASSWORD).await.expect_ok();
        clients.push(client);
    }
    let [alice, bob, eve] = &clients[..] else {
        panic!("three people")
    };
    let room = alice
        .create_room(&json!({ "preset": "private_chat" }))
        .await;
    let profile = format!("profile/{}", encode(&alice.user_id));
    let invite = json!({ "user_id": bob.user_id });
    let room_path = format!("rooms/{}/invite", encode(&room));
    alice.post(&room_path, &invite).await.expect_ok();
    bob.get(&profile).await.expect_error(403, "M_FORBIDDEN");
    bob.join(&room).await.expect_ok();
    bob.get(&profile).await.expect_ok();
    bob.get(&format!("{profile}/displayname")).await.expect_ok();
    alice.get(&profile).await.expect_ok();
    for path in [profile.clone(), format!("{profile}/displayname")] {
        let refused = eve.get(&path).await.expect_error(403, "M_FORBIDDEN");
        assert_eq!(refused["fr.gouv.tchap.reason"], "profile_of_a_stranger");
        let nobody = server.client().get(&path).await;
        nobody.expect_error(401, "M_MISSING_TOKEN");
    }
    let unknown = eve.get("profile/%40no%3Aexample.org").await;
    unknown.expect_error(403, "M_FORBIDDEN");
}
