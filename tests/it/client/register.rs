//! Registration (tchap.md 2.3 and 2.5; specification v1.19, "Account registration").

use std::time::Duration;

use chappe::{config::Profile, store::registration_tokens};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;

use super::{PASSWORD, Site, email_auth, open, tchap, tchap_options};
use crate::harness::accounts::{AccountsOptions, SHARED_SECRET};

#[tokio::test]
async fn an_agent_registers_with_an_address_and_gets_the_id_that_follows_from_it() {
    let site = tchap().await;
    let registered = site.register_agent(" Jean.DUPONT@Culture.gouv.fr ").await;
    let user_id = "@jean.dupont-culture.gouv.fr:example.org";
    assert_eq!(registered["user_id"], user_id);
    let token = registered["access_token"].as_str().unwrap();
    let me = site.get("v3/account/whoami", Some(token)).await.ok();
    assert_eq!(me["user_id"], user_id);
    let profile = site.get(&format!("v3/profile/{user_id}"), None).await.ok();
    assert_eq!(profile["displayname"], "Jean Dupont [Culture]");
    let threepids = site.get("v3/account/3pid", Some(token)).await.ok();
    assert_eq!(
        threepids["threepids"][0]["address"],
        "jean.dupont@culture.gouv.fr"
    );
}

#[tokio::test]
async fn a_display_name_that_follows_from_the_address_is_fixed() {
    let site = tchap().await;
    let registered = site.register_agent("jean.dupont@culture.gouv.fr").await;
    let token = registered["access_token"].as_str();
    let path = format!(
        "v3/profile/{}/displayname",
        registered["user_id"].as_str().unwrap()
    );
    let body = json!({ "displayname": "The Minister" });
    let answer = site.send("PUT", &path, token, Some(body)).await;
    assert_eq!(answer.failure(), (400, "M_FORBIDDEN".to_owned()));
}

#[tokio::test]
async fn reg_02_reg_03_and_reg_07_addresses_that_may_not_register_get_no_mail() {
    let site = tchap().await;
    for (email, failure) in [
        ("a@other.fr", (403, "M_THREEPID_DENIED")),
        ("a@example.com", (403, "M_THREEPID_DENIED")),
        ("a@nowhere.net", (403, "M_THREEPID_DENIED")),
        ("a.gouv.fr", (400, "M_INVALID_PARAM")),
        ("a@b@elysee.gouv.fr", (400, "M_INVALID_PARAM")),
        ("@elysee.gouv.fr", (400, "M_INVALID_PARAM")),
        ("a@", (400, "M_INVALID_PARAM")),
        ("_svc@beta.gouv.fr", (400, "M_INVALID_USERNAME")),
    ] {
        let answer = site.request_mail("register", email, 1).await;
        assert_eq!(
            answer.failure(),
            (failure.0, failure.1.to_owned()),
            "{email}"
        );
    }
    assert_eq!(site.service.mails().await, 0);
}

#[tokio::test]
async fn reg_01_an_address_of_this_server_gets_a_session_and_one_mail() {
    let site = tchap().await;
    let answer = site.request_mail("register", "a@x.gouv.fr", 1).await.ok();
    let sid = answer["sid"].as_str().unwrap();
    assert!(
        !sid.is_empty() && answer.as_object().unwrap().len() == 1,
        "{answer}"
    );
    assert_eq!(site.service.mails().await, 1);
    let link = site.service.newest_link().await.unwrap();
    assert!(
        link.query_pairs()
            .any(|(key, value)| key == "sid" && value == sid)
    );
}

#[tokio::test]
async fn reg_05_an_open_server_says_that_an_address_is_taken() {
    let site = open().await;
    let begun = site
        .post(
            "v3/register",
            None,
            json!({ "username": "jean", "password": PASSWORD }),
        )
        .await;
    let session = begun.json()["session"].clone();
    let sid = site
        .request_mail("register", "jean@example.net", 1)
        .await
        .ok()["sid"]
        .clone();
    site.open_newest_link().await;
    let body = json!({ "auth": email_auth(&session, &sid) });
    let registered = site.post("v3/register", None, body).await.ok();
    assert_eq!(registered["user_id"], "@jean:example.org");
    let again = site.request_mail("register", "JEAN@example.net", 2).await;
    assert_eq!(again.failure(), (400, "M_THREEPID_IN_USE".to_owned()));
}

#[tokio::test]
async fn reg_06_and_reg_09_a_known_address_looks_like_an_unknown_one() {
    let site = tchap().await;
    site.register_agent("jean.dupont@culture.gouv.fr").await;
    let before = site.service.mails().await;
    let known = "jean.dupont@culture.gouv.fr";
    let first = site.request_mail("register", known, 5).await.ok();
    let second = site.request_mail("register", known, 5).await.ok();
    assert_eq!(first["sid"], second["sid"]);
    // Its holder alone learns of it, and nothing can be proved by that mail (tchap.md 5.4).
    assert_eq!(site.service.mails().await, before + 1);
    let link = site.service.newest_link().await.unwrap();
    assert_eq!(link.as_str(), "https://tchap.example.org/");

    let unknown = "new@culture.gouv.fr";
    let first = site.request_mail("register", unknown, 5).await.ok();
    let second = site.request_mail("register", unknown, 5).await.ok();
    assert_eq!(first["sid"], second["sid"]);
    assert_eq!(site.service.mails().await, before + 2);
    site.request_mail("register", unknown, 6).await.ok();
    assert_eq!(site.service.mails().await, before + 3);
}

#[tokio::test]
async fn reg_10_mails_to_an_address_are_limited() {
    let mut options = tchap_options();
    options.settings.limits.mail_per_address = Some(chappe::accounts::Rate {
        per_second: 0.01,
        burst: 2,
    });
    let site = Site::new(options).await;
    for attempt in 1..=2 {
        site.request_mail("register", "a@x.gouv.fr", attempt)
            .await
            .ok();
    }
    let answer = site.request_mail("register", "A@x.gouv.fr", 3).await;
    assert_eq!(answer.failure(), (429, "M_LIMIT_EXCEEDED".to_owned()));
    assert!(answer.json()["retry_after_ms"].as_u64().unwrap() > 0);
    site.request_mail("register", "b@x.gouv.fr", 1).await.ok();
}

#[tokio::test]
async fn reg_11_reg_12_and_reg_17_the_session_waits_until_the_link_is_opened() {
    let site = tchap().await;
    let begun = site
        .post("r0/register", None, json!({ "password": PASSWORD }))
        .await;
    assert_eq!(begun.status, 401);
    let begun = begun.json();
    assert_eq!(
        begun["flows"],
        json!([{ "stages": ["m.login.email.identity"] }])
    );
    let session = &begun["session"];
    let sid = site.request_mail("register", "a@x.gouv.fr", 1).await.ok()["sid"].clone();
    let body = json!({ "auth": email_auth(session, &sid) });
    let early = site.post("r0/register", None, body.clone()).await;
    assert_eq!(early.failure(), (401, "M_UNAUTHORIZED".to_owned()));
    assert_eq!(&early.json()["session"], session);

    let link = site.service.newest_link().await.unwrap();
    let mut wrong = link.clone();
    wrong.set_query(Some(
        &link.query().unwrap().replace("token=che_", "token=chx_"),
    ));
    assert_eq!(site.open(&wrong).await.status, 400);
    for _ in 0..2 {
        let page = site.open(&link).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.headers["cache-control"], "no-store");
    }
    let done = site.post("r0/register", None, body.clone()).await.ok();
    assert_eq!(done["user_id"], "@a-x.gouv.fr:example.org");
    // The proof was used.
    let again = site.post("r0/register", None, body).await;
    assert_eq!(again.status, 401);
}

#[tokio::test]
async fn reg_13_the_address_is_checked_again_at_the_end() {
    let site = tchap().await;
    let begun = site
        .post("r0/register", None, json!({ "password": PASSWORD }))
        .await;
    let session = begun.json()["session"].clone();
    let sid = site.request_mail("register", "a@x.gouv.fr", 1).await.ok()["sid"].clone();
    site.open_newest_link().await;
    let nobody = chappe::policy::Policy::new(
        &chappe::config::policy::Policy::default(),
        Profile::Tchap,
        "example.org".try_into().unwrap(),
    );
    site.service
        .policy
        .store(std::sync::Arc::new(nobody.unwrap()));
    let body = json!({ "auth": email_auth(&session, &sid) });
    let answer = site.post("r0/register", None, body).await;
    assert_eq!(answer.failure(), (403, "M_THREEPID_DENIED".to_owned()));
}

#[tokio::test]
async fn reg_15_the_proposed_user_name_is_ignored() {
    let site = tchap().await;
    let body = json!({ "username": "minister", "password": PASSWORD });
    let begun = site.post("r0/register", None, body).await;
    let session = begun.json()["session"].clone();
    let sid = site.request_mail("register", "a@x.gouv.fr", 1).await.ok()["sid"].clone();
    site.open_newest_link().await;
    let body = json!({ "username": "minister", "auth": email_auth(&session, &sid) });
    let done = site.post("r0/register", None, body).await.ok();
    assert_eq!(done["user_id"], "@a-x.gouv.fr:example.org");
}

#[tokio::test]
async fn reg_16_every_user_name_is_said_to_be_free() {
    let site = tchap().await;
    site.register_agent("a@x.gouv.fr").await;
    for name in ["a-x.gouv.fr", "anything", "NOT%20a%20name"] {
        let path = format!("r0/register/available?username={name}");
        assert_eq!(
            site.get(&path, None).await.ok(),
            json!({ "available": true })
        );
    }
    let site = open().await;
    site.register("camille").await;
    let taken = site
        .get("v3/register/available?username=camille", None)
        .await;
    assert_eq!(taken.failure(), (400, "M_USER_IN_USE".to_owned()));
    let wrong = site
        .get("v3/register/available?username=CAMILLE", None)
        .await;
    assert_eq!(wrong.failure(), (400, "M_INVALID_USERNAME".to_owned()));
}

#[tokio::test]
async fn reg_18_a_password_is_needed_at_the_end() {
    let site = tchap().await;
    let begun = site.post("r0/register", None, json!({})).await;
    let session = begun.json()["session"].clone();
    let sid = site.request_mail("register", "a@x.gouv.fr", 1).await.ok()["sid"].clone();
    site.open_newest_link().await;
    let auth = email_auth(&session, &sid);
    let answer = site
        .post("r0/register", None, json!({ "auth": auth }))
        .await;
    assert_eq!(answer.failure(), (400, "M_MISSING_PARAM".to_owned()));
    // The session is still there.
    let body = json!({ "password": PASSWORD, "auth": auth });
    site.post("r0/register", None, body).await.ok();
}

#[tokio::test]
async fn reg_19_and_pw_06_a_password_that_cannot_be_used_is_refused_at_once() {
    let site = tchap().await;
    for (password, errcode) in [
        (json!(1), "M_BAD_JSON"),
        (json!("short"), "M_PASSWORD_TOO_SHORT"),
        (json!("no-digits-at-ALL"), "M_PASSWORD_NO_DIGIT"),
        (json!("NoSymbolsAtAll123"), "M_PASSWORD_NO_SYMBOL"),
        (json!("no-capitals-at-1"), "M_PASSWORD_NO_UPPERCASE"),
        (json!("NO-SMALL-ONES-1"), "M_PASSWORD_NO_LOWERCASE"),
        (json!("aA1-".repeat(129)), "M_INVALID_PARAM"),
    ] {
        let body = json!({ "password": password });
        let answer = site.post("r0/register", None, body).await;
        assert_eq!(answer.failure(), (400, errcode.to_owned()));
    }
}

#[tokio::test]
async fn reg_20_there_are_no_guests() {
    for site in [tchap().await, open().await] {
        let answer = site.post("r0/register?kind=guest", None, json!({})).await;
        assert_eq!(answer.failure(), (403, "M_FORBIDDEN".to_owned()));
    }
}

#[tokio::test]
async fn reg_21_the_dummy_stage_is_no_way_around_the_address() {
    let site = tchap().await;
    let body = json!({ "password": PASSWORD, "auth": { "type": "m.login.dummy" } });
    let answer = site.post("r0/register", None, body).await;
    assert_eq!(answer.failure(), (401, "M_FORBIDDEN".to_owned()));
    let session = answer.json()["session"].clone();
    let auth = json!({ "type": "m.login.dummy", "session": session });
    let answer = site
        .post("r0/register", None, json!({ "auth": auth }))
        .await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn reg_22_without_login_there_is_no_token() {
    let site = open().await;
    let body = json!({
        "username": "camille",
        "password": PASSWORD,
        "inhibit_login": true,
        "auth": { "type": "m.login.dummy" },
    });
    let answer = site.post("v3/register", None, body).await.ok();
    assert_eq!(answer["user_id"], "@camille:example.org");
    assert_eq!(
        (&answer["access_token"], &answer["device_id"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn uid_13_a_deactivated_account_keeps_its_id() {
    let site = tchap().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let registered = site.register_agent("foo@bar.gouv.fr").await;
        let user_id = registered["user_id"].as_str().unwrap().to_owned();
        let id = user_id.as_str().try_into().unwrap();
        site.service
            .accounts
            .deactivate_user(id, false)
            .await
            .unwrap();
        ids.push(user_id);
    }
    let expected = ["foo-bar.gouv.fr", "foo-bar.gouv.fr1", "foo-bar.gouv.fr2"];
    assert_eq!(ids, expected.map(|name| format!("@{name}:example.org")));
}

#[tokio::test]
async fn links_lead_only_to_places_that_are_known() {
    let site = tchap().await;
    let ask = async |link: &str| {
        let body = json!({
            "client_secret": "secret",
            "email": "a@x.gouv.fr",
            "send_attempt": 1,
            "next_link": link,
        });
        site.post("v3/register/email/requestToken", None, body)
            .await
    };
    for link in [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://evil.example.com/",
        "https://tchap.example.org@evil.example.com/",
        "https://tchap.example.org.evil.example.com/",
        "nonsense",
    ] {
        let failure = ask(link).await.failure();
        assert_eq!(failure, (400, "M_INVALID_PARAM".to_owned()), "{link}");
    }
    let link = "https://tchap.example.org/#/register?session_id=1";
    ask(link).await.ok();
    let page = site.open_newest_link().await;
    assert_eq!(
        (page.status, &page.headers["location"]),
        (302, &link.parse().unwrap())
    );
}

#[tokio::test]
async fn a_mail_is_good_for_its_own_purpose_and_for_a_time() {
    let site = tchap().await;
    site.register_agent("a@x.gouv.fr").await;
    let begun = site
        .post("r0/register", None, json!({ "password": PASSWORD }))
        .await;
    let session = begun.json()["session"].clone();
    let sid = site.request_mail("register", "b@x.gouv.fr", 1).await.ok()["sid"].clone();
    let link = site.service.newest_link().await.unwrap();
    site.service.clock.advance(Duration::from_hours(73));
    assert_eq!(site.open(&link).await.status, 400);
    let body = json!({ "auth": email_auth(&session, &sid) });
    let answer = site.post("r0/register", None, body).await.json();
    // Sessions of authentication live for an hour, so this is another one.
    assert_ne!(answer["session"], session);
}

#[tokio::test]
async fn a_session_is_not_good_for_another_operation() {
    let site = open().await;
    let me = site.register("camille").await;
    let token = me["access_token"].as_str();
    let begun = site
        .post("v3/register", None, json!({ "password": PASSWORD }))
        .await
        .json();
    let auth = super::password_auth("camille", PASSWORD, Some(&begun["session"]));
    let answer = site
        .post("v3/account/deactivate", token, json!({ "auth": auth }))
        .await;
    assert_eq!(answer.status, 401);
    assert_ne!(answer.json()["session"], begun["session"]);
    site.get("v3/account/whoami", token).await.ok();
}

#[tokio::test]
async fn a_registration_token_is_good_for_as_many_accounts_as_it_says() {
    let mut options = AccountsOptions::new(Profile::Open);
    options.settings.registration.open = false;
    options.settings.registration.requires_token = true;
    let site = Site::new(options).await;
    let mut conn = site.service.store.conn().await.unwrap();
    registration_tokens::insert(&mut conn, "token", Some(1), 1, None)
        .await
        .unwrap();
    drop(conn);
    let valid = async |token: &str| {
        let path = format!("v1/register/m.login.registration_token/validity?token={token}");
        site.get(&path, None).await.ok()["valid"].as_bool().unwrap()
    };
    let register = async |name: &str, token: &str| {
        let auth = json!({ "type": "m.login.registration_token", "token": token });
        let body = json!({ "username": name, "password": PASSWORD, "auth": auth });
        site.post("v3/register", None, body).await
    };
    assert!(valid("token").await && !valid("other").await);
    assert_eq!(
        register("a", "other").await.failure(),
        (401, "M_UNAUTHORIZED".to_owned())
    );
    register("a", "token").await.ok();
    assert!(!valid("token").await);
    assert_eq!(register("b", "token").await.status, 401);
}

#[tokio::test]
async fn terms_are_shown_and_agreed_to() {
    let mut options = AccountsOptions::new(Profile::Open);
    options.settings.registration.terms = vec![chappe::accounts::Terms {
        name: "terms".to_owned(),
        version: "2".to_owned(),
        url_fr: "https://example.org/fr".parse().unwrap(),
        url_en: "https://example.org/en".parse().unwrap(),
    }];
    let site = Site::new(options).await;
    let body = json!({
        "username": "camille",
        "password": PASSWORD,
        "auth": { "type": "m.login.dummy" },
    });
    let first = site.post("v3/register", None, body).await;
    assert_eq!(first.status, 401);
    let first = first.json();
    assert_eq!(first["completed"], json!(["m.login.dummy"]));
    let policies = &first["params"]["m.login.terms"]["policies"];
    assert_eq!(policies["terms"]["fr"]["url"], "https://example.org/fr");
    let auth = json!({ "type": "m.login.terms", "session": first["session"] });
    let done = site
        .post("v3/register", None, json!({ "auth": auth }))
        .await
        .ok();
    assert_eq!(done["user_id"], "@camille:example.org");
}

#[tokio::test]
async fn the_shared_secret_makes_accounts_once_per_nonce() {
    let site = open().await;
    let path = "/_synapse/admin/v1/register";
    let register = async |nonce: &str, name: &str, secret: &str| {
        let mut code = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
        code.update(format!("{nonce}\0{name}\0pass\0admin").as_bytes());
        let body = json!({
            "nonce": nonce,
            "username": name,
            "password": "pass",
            "admin": true,
            "mac": format!("{:x}", code.finalize().into_bytes()),
        });
        site.post(path, None, body).await
    };
    let nonce = async || {
        let answer = site.get(path, None).await.ok();
        answer["nonce"].as_str().unwrap().to_owned()
    };
    let first = nonce().await;
    let wrong = register(&first, "root", "other").await;
    assert_eq!(wrong.failure(), (403, "M_FORBIDDEN".to_owned()));
    let done = register(&first, "root", SHARED_SECRET).await.ok();
    assert_eq!(done["user_id"], "@root:example.org");
    let me = site
        .get("v3/account/whoami", done["access_token"].as_str())
        .await
        .ok();
    assert_eq!(me["user_id"], "@root:example.org");
    let again = register(&first, "other", SHARED_SECRET).await;
    assert_eq!(again.status, 400);
    let taken = register(&nonce().await, "root", SHARED_SECRET).await;
    assert_eq!(taken.failure(), (400, "M_USER_IN_USE".to_owned()));
    let late = nonce().await;
    site.service.clock.advance(Duration::from_secs(61));
    assert_eq!(register(&late, "late", SHARED_SECRET).await.status, 400);
}

#[tokio::test]
async fn lk_the_identity_service_tells_where_an_address_belongs() {
    let site = tchap().await;
    let info = async |query: &str| {
        site.get(&format!("/_matrix/identity/api/v1/info?{query}"), None)
            .await
    };
    let hs = async |address: &str| {
        info(&format!("medium=email&address={address}")).await.ok()["hs"].clone()
    };
    assert_eq!(hs("A@Culture.GOUV.fr").await, "example.org");
    assert_eq!(hs("a@other.fr").await, "other.example.org");
    assert_eq!(hs("a@nowhere.net").await, Value::Null);
    assert_eq!(info("medium=msisdn&address=1").await.ok(), json!({}));
    assert_eq!(info("medium=email").await.status, 400);
    assert_eq!(info("medium=email&address=a@b@c.gouv.fr").await.status, 400);
}
