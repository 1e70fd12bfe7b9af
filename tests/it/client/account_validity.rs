//! Accounts that expire (tchap.md 2.8).

use std::{sync::Arc, time::Duration};

use chappe::{
    accounts::{NewUser, ValiditySettings},
    clock::{Clock as _, ManualClock},
    store::{account_validity, account_views, accounts},
};
use ruma::{OwnedUserId, UserId};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{PASSWORD, Site, tchap_options};
use crate::harness::{
    client::encode,
    server::{TestOptions, TestServer},
};

const SEND_MAIL: &str = "/_synapse/client/email_account_validity/send_mail";
const RENEW: &str = "/_synapse/client/email_account_validity/renew";
const ADMIN: &str = "/_synapse/client/email_account_validity/admin";
const EXPIRED: &str = "ORG_MATRIX_EXPIRED_ACCOUNT";
const PERIOD: Duration = days(100);

const fn days(count: u64) -> Duration {
    Duration::from_hours(24 * count)
}

fn validity() -> ValiditySettings {
    ValiditySettings {
        period: PERIOD,
        reminders: vec![days(30), days(10)],
        exclude: vec!["-exempt.gouv.fr".to_owned()],
        send_links: true,
        deactivate_after: Some(days(20)),
        resend_delay: Duration::from_mins(1),
    }
}

async fn site_with(settings: ValiditySettings) -> Site {
    let mut options = tchap_options();
    options.settings.validity = Some(settings);
    Site::new(options).await
}

async fn site() -> Site {
    site_with(validity()).await
}

impl Site {
    /// When an account expires, in milliseconds since the epoch.
    async fn expiry(&self, user_id: &str) -> Option<i64> {
        let user_id = <&UserId>::try_from(user_id).unwrap();
        let mut conn = self.service.store.conn().await.unwrap();
        let account = accounts::find(&mut conn, user_id).await.unwrap().unwrap();
        let found = account_validity::find(&mut conn, account.user).await;
        found.unwrap().map(|validity| validity.expires_ms)
    }

    fn now(&self) -> i64 {
        self.service.clock.now_i64()
    }

    /// Time goes by, and what is due is done. Gives how many mails were sent.
    async fn after(&self, time: Duration) -> usize {
        self.service.clock.advance(time);
        self.service.accounts.keep_validity().await.unwrap().mailed
    }

    async fn admin_token(&self) -> String {
        let new = NewUser {
            localpart: Some("root".to_owned()),
            password: Some(Zeroizing::new(PASSWORD.to_owned())),
            is_admin: true,
            ..NewUser::default()
        };
        self.service.accounts.create_user(new).await.unwrap();
        self.log_in("root").await["access_token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn log_in(&self, name: &str) -> Value {
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": name },
            "password": PASSWORD,
        });
        self.post("v3/login", None, body).await.ok()
    }

    async fn whoami(&self, session: &Value) -> (u16, String) {
        let token = session["access_token"].as_str();
        self.get("v3/account/whoami", token).await.failure()
    }
}

fn is_ok(answer: &(u16, String)) -> bool {
    answer.0 == 200
}

fn expired() -> (u16, String) {
    (403, EXPIRED.to_owned())
}

#[tokio::test]
async fn av_01_a_new_account_is_good_for_a_period() {
    let site = site().await;
    let me = site.register_agent("a@x.gouv.fr").await;
    let expiry = site.expiry("@a-x.gouv.fr:example.org").await.unwrap();
    assert_eq!(
        expiry,
        site.now() + i64::try_from(PERIOD.as_millis()).unwrap()
    );
    site.service
        .clock
        .advance(PERIOD.saturating_sub(Duration::from_millis(1)));
    assert!(is_ok(&site.whoami(&me).await));
    site.service.clock.advance(Duration::from_millis(1));
    assert_eq!(site.whoami(&me).await, expired());
}

#[tokio::test]
async fn av_02_accounts_that_were_there_get_dates_in_the_last_tenth_of_the_period() {
    let site = site().await;
    let mut dates = Vec::new();
    for at in 0..12 {
        let user_id = OwnedUserId::try_from(format!("@old{at}:example.org")).unwrap();
        site.service
            .add_session(&user_id, &format!("token{at}"))
            .await;
    }
    assert_eq!(site.expiry("@old0:example.org").await, None);
    let done = site.service.accounts.keep_validity().await.unwrap();
    assert_eq!((done.dated, done.mailed), (12, 0));
    for at in 0..12 {
        let date = site.expiry(&format!("@old{at}:example.org")).await.unwrap();
        let left = Duration::from_millis(u64::try_from(date - site.now()).unwrap());
        assert!(left >= days(90) && left <= PERIOD, "{left:?}");
        dates.push(date);
    }
    dates.sort_unstable();
    dates.dedup();
    assert!(dates.len() > 6, "{dates:?}");
    // Once.
    let done = site.service.accounts.keep_validity().await.unwrap();
    assert_eq!(done.dated, 0);
}

#[tokio::test]
async fn av_03_r_26_each_delay_has_one_mail_and_a_new_mail_kills_the_old_link() {
    let site = site().await;
    let me = site.register_agent("a@x.gouv.fr").await;
    assert_eq!(site.after(days(69)).await, 0);
    assert_eq!(site.after(days(2)).await, 1);
    let first = site.service.newest_link().await.unwrap();
    assert_eq!(first.path(), RENEW);
    assert_eq!(site.after(days(1)).await, 0);
    assert_eq!(site.after(days(19)).await, 1);
    let second = site.service.newest_link().await.unwrap();
    assert_ne!(first, second);
    assert_eq!(site.after(Duration::from_mins(30)).await, 0);
    assert_eq!(site.open(&first).await.status, 400);
    assert_eq!(site.open(&second).await.status, 200);
    // The next period has its own mails.
    assert_eq!(site.after(days(9)).await, 0);
    assert!(is_ok(&site.whoami(&me).await));
    assert_eq!(site.after(days(62)).await, 1);
}

#[tokio::test]
async fn av_03_one_process_at_a_time_sends_the_mails() {
    let site = site().await;
    site.register_agent("a@x.gouv.fr").await;
    site.service.clock.advance(days(71));
    let other = site.service.other_process().await;
    let (one, two) = tokio::join!(site.service.accounts.keep_validity(), other.keep_validity());
    assert_eq!(one.unwrap().mailed + two.unwrap().mailed, 1);
}

#[tokio::test]
async fn av_04_an_expired_account_can_do_nothing_but_renew_and_log_out() {
    let site = site().await;
    let me = site.register_agent("a@x.gouv.fr").await;
    let token = me["access_token"].as_str();
    site.service.clock.advance(PERIOD);
    let profile = "v3/profile/@a-x.gouv.fr:example.org/avatar_url";
    for (method, path) in [
        ("GET", "v3/account/whoami"),
        ("GET", "v3/sync"),
        ("GET", "v3/devices"),
        ("PUT", profile),
        ("POST", "v3/createRoom"),
        ("POST", "unstable/users/info"),
        ("POST", "v3/account/deactivate"),
        ("POST", "v3/account/password"),
        ("POST", ADMIN),
    ] {
        let body = (method != "GET").then(|| json!({ "new_password": "x", "avatar_url": "" }));
        let answer = site.send(method, path, token, body).await;
        assert_eq!(answer.failure(), expired(), "{method} {path}");
    }
    site.post(SEND_MAIL, token, json!({})).await.ok();
    site.post("v3/logout", token, json!({})).await.ok();
    assert_eq!(site.whoami(&me).await, (401, "M_UNKNOWN_TOKEN".to_owned()));
}

#[tokio::test]
async fn av_06_an_expired_user_asks_for_the_mail_and_waits_before_asking_again() {
    let site = site().await;
    let me = site.register_agent("a@x.gouv.fr").await;
    let token = me["access_token"].as_str();
    site.service.clock.advance(PERIOD);
    let before = site.service.mails().await;
    let answer = site.post(SEND_MAIL, token, json!({})).await.ok();
    assert_eq!(
        (answer, site.service.mails().await),
        (json!({}), before + 1)
    );
    let again = site.post(SEND_MAIL, token, json!({})).await;
    assert_eq!(again.failure(), (429, "M_LIMIT_EXCEEDED".to_owned()));
    assert!(again.json()["retry_after_ms"].as_u64().unwrap() <= 60_000);
    site.service.clock.advance(Duration::from_mins(1));
    let old_path = "unstable/account_validity/send_mail";
    site.post(old_path, token, json!({})).await.ok();
    assert_eq!(site.service.mails().await, before + 2);
    let missing = site.post(SEND_MAIL, None, json!({})).await;
    assert_eq!(missing.failure(), (401, "M_MISSING_TOKEN".to_owned()));
    let wrong = site.post(SEND_MAIL, Some("nobody"), json!({})).await;
    assert_eq!(wrong.failure(), (401, "M_UNKNOWN_TOKEN".to_owned()));
}

#[tokio::test]
async fn av_07_and_av_16_an_excluded_account_never_expires_and_gets_no_mail() {
    let site = site().await;
    let me = site.register_agent("a@exempt.gouv.fr").await;
    let token = me["access_token"].as_str();
    assert_eq!(site.expiry("@a-exempt.gouv.fr:example.org").await, None);
    assert_eq!(site.after(days(71)).await, 0);
    assert_eq!(site.after(days(300)).await, 0);
    assert!(is_ok(&site.whoami(&me).await));
    assert_eq!(site.expiry("@a-exempt.gouv.fr:example.org").await, None);
    let answer = site.post(SEND_MAIL, token, json!({})).await;
    assert_eq!(answer.failure(), (400, "M_UNKNOWN".to_owned()));

    // A date from before the exclusion does not count either.
    let admin = site.admin_token().await;
    let body = json!({ "user_id": "@a-exempt.gouv.fr:example.org", "expiration_ts": 1 });
    site.post(ADMIN, Some(&admin), body).await.ok();
    assert!(is_ok(&site.whoami(&me).await));
    let done = site.service.accounts.keep_validity().await.unwrap();
    assert_eq!((done.mailed, done.closed), (0, 0));
}

#[tokio::test]
async fn av_08_and_av_09_a_link_renews_once_and_says_so_the_second_time() {
    let site = site().await;
    let me = site.register_agent("a@x.gouv.fr").await;
    site.service.clock.advance(PERIOD + days(1));
    assert_eq!(site.whoami(&me).await, expired());
    site.post(SEND_MAIL, me["access_token"].as_str(), json!({}))
        .await
        .ok();
    let link = site.service.newest_link().await.unwrap();
    let page = site.open(&link).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("renouvelé"), "{}", page.text);
    assert_eq!(page.headers["cache-control"], "no-store");
    let expiry = site.expiry("@a-x.gouv.fr:example.org").await.unwrap();
    assert_eq!(
        expiry,
        site.now() + i64::try_from(PERIOD.as_millis()).unwrap()
    );
    assert!(is_ok(&site.whoami(&me).await));

    site.service.clock.advance(days(3));
    let again = site.open(&link).await;
    assert_eq!(again.status, 200);
    assert!(again.text.contains("déjà renouvelé"), "{}", again.text);
    assert_eq!(site.expiry("@a-x.gouv.fr:example.org").await, Some(expiry));
}

#[tokio::test]
async fn av_10_and_av_11_an_unknown_or_missing_token_renews_nothing() {
    let site = site().await;
    site.register_agent("a@x.gouv.fr").await;
    let old = "/_matrix/client/unstable/account_validity/renew";
    let long = "a".repeat(5000);
    for (path, query, status) in [
        (RENEW, "?token=unknown".to_owned(), 400),
        (RENEW, String::new(), 400),
        (RENEW, "?token=".to_owned(), 400),
        (RENEW, format!("?token={long}"), 400),
        (RENEW, "?token=%00".to_owned(), 400),
        (old, "?token=unknown".to_owned(), 404),
        (old, String::new(), 400),
    ] {
        let answer = site.get(&format!("{path}{query}"), None).await;
        assert_eq!(answer.status, status, "{path}{query}");
        assert!(answer.text.contains("<h1>"), "{}", answer.text);
    }
}

#[tokio::test]
async fn av_12_without_links_a_code_renews_with_the_users_own_token_only() {
    let site = site_with(ValiditySettings {
        send_links: false,
        ..validity()
    })
    .await;
    let me = site.register_agent("a@x.gouv.fr").await;
    let other = site.register_agent("b@x.gouv.fr").await;
    let token = me["access_token"].as_str();
    site.service.clock.advance(PERIOD);
    site.post(SEND_MAIL, token, json!({})).await.ok();
    site.service.mailer.deliver_due().await.unwrap();
    let mails = site.service.mailer.outbox().unwrap().list().await.unwrap();
    let is_code = |word: &&str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_digit());
    let code = mails[0].text.split_whitespace().find(is_code).unwrap();
    let path = format!("{RENEW}?token={code}");
    assert_eq!(
        site.get(&path, None).await.failure(),
        (401, "M_MISSING_TOKEN".to_owned())
    );
    let others = site.get(&path, other["access_token"].as_str()).await;
    assert_eq!(others.status, 400);
    assert_eq!(site.whoami(&me).await, expired());
    assert_eq!(site.get(&path, token).await.status, 200);
    assert!(is_ok(&site.whoami(&me).await));
}

#[tokio::test]
async fn av_13_and_av_14_an_administrator_sets_the_date() {
    let site = site().await;
    let me = site.register_agent("a@x.gouv.fr").await;
    let user_id = "@a-x.gouv.fr:example.org";
    let body = json!({ "user_id": user_id, "expiration_ts": 5 });
    let refused = site.post(ADMIN, me["access_token"].as_str(), body).await;
    assert_eq!(refused.failure(), (403, "M_FORBIDDEN".to_owned()));

    let admin = site.admin_token().await;
    let set = async |body: Value| site.post(ADMIN, Some(&admin), body).await;
    let date = site.now() + 1000;
    let body = json!({ "user_id": user_id, "expiration_ts": date });
    assert_eq!(set(body).await.ok(), json!({ "expiration_ts": date }));
    assert_eq!(site.expiry(user_id).await, Some(date));
    site.service.clock.advance(Duration::from_secs(1));
    assert_eq!(site.whoami(&me).await, expired());

    // Without a date it is a period from now, also by the older path; at once.
    let path = "/_synapse/admin/v1/account_validity/validity";
    let body = json!({ "user_id": user_id, "enable_renewal_emails": false });
    let answer = site.post(path, Some(&admin), body).await.ok();
    let expected = site.now() + i64::try_from(PERIOD.as_millis()).unwrap();
    assert_eq!(answer, json!({ "expiration_ts": expected }));
    assert!(is_ok(&site.whoami(&me).await));
    assert_eq!(site.after(days(80)).await, 0);

    for (body, failure) in [
        (json!({}), (400, "M_MISSING_PARAM")),
        (json!({ "user_id": 5 }), (400, "M_INVALID_PARAM")),
        (json!({ "user_id": "nonsense" }), (400, "M_INVALID_PARAM")),
        (
            json!({ "user_id": "@no:example.org" }),
            (404, "M_NOT_FOUND"),
        ),
        (
            json!({ "user_id": user_id, "expiration_ts": "soon" }),
            (400, "M_INVALID_PARAM"),
        ),
        (
            json!({ "user_id": user_id, "expiration_ts": i64::MAX }),
            (400, "M_INVALID_PARAM"),
        ),
        (
            json!({ "user_id": user_id, "enable_renewal_emails": "yes" }),
            (400, "M_INVALID_PARAM"),
        ),
    ] {
        let text = body.to_string();
        let answer = set(body).await.failure();
        assert_eq!(answer, (failure.0, failure.1.to_owned()), "{text}");
    }
}

#[tokio::test]
async fn av_15_an_account_that_nobody_renews_is_closed_and_not_erased() {
    let site = site().await;
    let me = site.register_agent("a@x.gouv.fr").await;
    let user_id = me["user_id"].as_str().unwrap();
    let close = async || site.service.accounts.keep_validity().await.unwrap().closed;
    site.service
        .clock
        .advance((PERIOD + days(20)).saturating_sub(Duration::from_secs(1)));
    assert_eq!(close().await, 0);
    site.service.clock.advance(Duration::from_secs(1));
    assert_eq!(close().await, 1);
    assert_eq!(close().await, 0);
    assert_eq!(site.whoami(&me).await, (401, "M_UNKNOWN_TOKEN".to_owned()));
    let mut conn = site.service.store.conn().await.unwrap();
    let user_id = <&UserId>::try_from(user_id).unwrap();
    let details = account_views::find_details(&mut conn, user_id)
        .await
        .unwrap()
        .unwrap();
    assert!(details.deactivated_ms.is_some() && !details.is_erased);
}

#[tokio::test]
async fn av_20_an_expired_user_logs_in_and_can_only_ask_for_the_mail_again() {
    let site = site().await;
    site.register_agent("a@x.gouv.fr").await;
    site.service.clock.advance(PERIOD);
    let session = site.log_in("a-x.gouv.fr").await;
    assert_eq!(session["user_id"], "@a-x.gouv.fr:example.org");
    assert_eq!(site.whoami(&session).await, expired());
    let token = session["access_token"].as_str();
    site.post(SEND_MAIL, token, json!({})).await.ok();
    let link = site.service.newest_link().await.unwrap();
    assert_eq!(site.open(&link).await.status, 200);
    assert!(is_ok(&site.whoami(&session).await));
}

#[tokio::test]
async fn accounts_do_not_expire_unless_a_period_is_set() {
    let site = Site::new(tchap_options()).await;
    let me = site.register_agent("a@x.gouv.fr").await;
    site.service.clock.advance(days(10_000));
    assert!(is_ok(&site.whoami(&me).await));
    let answer = site
        .post(SEND_MAIL, me["access_token"].as_str(), json!({}))
        .await;
    assert_eq!(answer.status, 400);
    let old = "/_matrix/client/unstable/account_validity/renew?token=a";
    assert_eq!(
        site.get(old, None).await.failure(),
        (403, "M_FORBIDDEN".to_owned())
    );
    assert_eq!(
        site.get(&format!("{RENEW}?token=a"), None).await.status,
        400
    );
}

/// A server with a clock that stands still, and an administrator.
async fn server() -> (TestServer, Arc<ManualClock>, crate::harness::client::Client) {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let server = TestServer::start(TestOptions {
        config: "[accounts.validity]\nperiod = \"100d\"".to_owned(),
        clock: Some(clock.clone()),
        ..TestOptions::default()
    })
    .await;
    let admin = server.register_admin("root").await;
    (server, clock, admin)
}

#[tokio::test]
async fn av_18_and_av_19_after_the_renewal_the_same_session_reads_what_it_missed() {
    let (server, clock, admin) = server().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&room).await.expect_ok();
    let since = bob.sync(None, Duration::ZERO).await;
    let since = since["next_batch"].as_str().unwrap();
    let soon = clock.now_i64() + 1000;
    let body = json!({ "user_id": bob.user_id, "expiration_ts": soon });
    admin.post(ADMIN, &body).await.expect_ok();
    clock.advance(Duration::from_secs(1));
    let path = format!("sync?since={}", encode(since));
    bob.get(&path).await.expect_error(403, EXPIRED);
    alice.send(&room, "while you were away").await;
    admin
        .post(ADMIN, &json!({ "user_id": bob.user_id }))
        .await
        .expect_ok();
    let missed = bob.sync(Some(since), Duration::ZERO).await;
    let events = &missed["rooms"]["join"][&room]["timeline"]["events"];
    assert_eq!(events[0]["content"]["body"], "while you were away");
}

#[tokio::test]
async fn av_17_who_has_expired_is_not_found_by_name_until_the_renewal() {
    let (server, _clock, admin) = server().await;
    let bob = server.register("bob").await;
    let found = async || {
        let body = json!({ "search_term": "bob" });
        let answer = admin.post("user_directory/search", &body).await.expect_ok();
        answer["results"].as_array().unwrap().len()
    };
    let room = bob.create_room(&json!({ "preset": "public_chat" })).await;
    admin.join(&room).await.expect_ok();
    assert_eq!(found().await, 1);
    let expire = json!({ "user_id": bob.user_id, "expiration_ts": 1 });
    admin.post(ADMIN, &expire).await.expect_ok();
    server.app.accounts().keep_validity().await.unwrap();
    assert_eq!(found().await, 0);
    let renew = json!({ "user_id": bob.user_id });
    admin.post(ADMIN, &renew).await.expect_ok();
    assert_eq!(found().await, 1);
}

#[tokio::test]
async fn av_04_and_av_19_every_process_hears_of_an_expiry_and_of_a_renewal() {
    let (server, _clock, admin) = server().await;
    let other = server.sibling().await;
    let bob = server.register("bob").await;
    let there = bob.at(&other.url);
    let since = there.sync(None, Duration::ZERO).await;
    let since = encode(since["next_batch"].as_str().unwrap());
    let waiting = format!("sync?since={since}&timeout=30000");
    // A sync that waits ends as soon as the account has expired.
    let expire = async {
        tokio::task::yield_now().await;
        let body = json!({ "user_id": bob.user_id, "expiration_ts": 1 });
        admin.post(ADMIN, &body).await.expect_ok();
    };
    let (waited, ()) = tokio::join!(there.get(&waiting), expire);
    waited.expect_error(403, EXPIRED);
    bob.get("account/whoami").await.expect_error(403, EXPIRED);
    admin
        .post(ADMIN, &json!({ "user_id": bob.user_id }))
        .await
        .expect_ok();
    bob.get("account/whoami").await.expect_ok();
    for _ in 0..200 {
        if there.get("account/whoami").await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the other process did not hear of the renewal");
}
