//! Proving addresses to the identity service, and binding them (identity service API v1.19,
//! "Establishing associations").

use std::time::Duration;

use serde_json::{Value, json};

use super::{SECRET, Town, openid};
use crate::harness::client::{Answer, Client, encode};

const ASK: &str = "/_matrix/identity/v2/validate/email/requestToken";
const SUBMIT: &str = "/_matrix/identity/v2/validate/email/submitToken";

async fn ask(identity: &Client, email: &str) -> Answer {
    let body = json!({ "client_secret": SECRET, "email": email, "send_attempt": 1 });
    identity.post(ASK, &body).await
}

async fn validated(identity: &Client, sid: &str, secret: &str) -> Answer {
    let path = format!(
        "/_matrix/identity/v2/3pid/getValidated3pid?sid={}&client_secret={}",
        encode(sid),
        encode(secret)
    );
    identity.get(&path).await
}

fn query(link: &str, name: &str) -> String {
    let link: url::Url = link.parse().unwrap();
    let found = link.query_pairs().find(|(key, _)| key == name);
    found.unwrap().1.into_owned()
}

#[tokio::test]
async fn an_address_is_proved_and_bound() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let identity = town.identity(&agent).await;
    let address = "j.dupont@culture.gouv.fr";
    let sid = ask(&identity, address).await.expect_ok()["sid"].clone();
    let sid = sid.as_str().unwrap();
    let bind = |mxid: &str| json!({ "sid": sid, "client_secret": SECRET, "mxid": mxid });
    let bind_path = "/_matrix/identity/v2/3pid/bind";
    validated(&identity, sid, SECRET)
        .await
        .expect_error(400, "M_SESSION_NOT_VALIDATED");
    identity
        .post(bind_path, &bind(&agent.user_id))
        .await
        .expect_error(400, "M_SESSION_NOT_VALIDATED");
    validated(&identity, sid, "other")
        .await
        .expect_error(404, "M_NO_VALID_SESSION");
    validated(&identity, "other", SECRET)
        .await
        .expect_error(404, "M_NO_VALID_SESSION");

    let mail = town.mails.wait_for_words(address, "submitToken").await;
    let token = query(&mail.first_link(), "token");
    let submit =
        |token: &str, secret: &str| json!({ "sid": sid, "client_secret": secret, "token": token });
    identity
        .post(SUBMIT, &submit("wrong", SECRET))
        .await
        .expect_error(400, "M_TOKEN_INCORRECT");
    identity
        .post(SUBMIT, &submit(&token, "other"))
        .await
        .expect_error(404, "M_NO_VALID_SESSION");
    for _ in 0..2 {
        let answer = identity.post(SUBMIT, &submit(&token, SECRET)).await;
        assert_eq!(answer.expect_ok(), json!({ "success": true }));
    }
    let proved = validated(&identity, sid, SECRET).await.expect_ok();
    assert_eq!(proved["medium"], "email");
    assert_eq!(proved["address"], address);
    assert_eq!(proved["validated_at"], 1_700_000_000_000_i64);

    // To its own user only.
    identity
        .post(bind_path, &bind("@other:example.org"))
        .await
        .expect_error(403, "M_UNAUTHORIZED");
    let bound = identity.post(bind_path, &bind(&agent.user_id)).await;
    let bound = bound.expect_ok();
    assert_eq!(bound["mxid"], agent.user_id.as_str());
    assert_eq!(bound["address"], address);
    assert!(bound["not_after"].as_i64() > bound["not_before"].as_i64());
    assert!(bound["signatures"]["example.org"].is_object());
    assert_eq!(
        found(&agent, address).await,
        json!({ "mxid": agent.user_id })
    );

    // It is his now, and nobody else's.
    let unbind = |mxid: &str, address: &str| json!({ "mxid": mxid, "threepid": { "medium": "email", "address": address } });
    let unbind_path = "/_matrix/identity/v2/3pid/unbind";
    let anne = town.register("anne.martin@justice.gouv.fr").await;
    let other = town.identity(&anne).await;
    other
        .post(unbind_path, &unbind(&agent.user_id, address))
        .await
        .expect_error(403, "M_UNAUTHORIZED");
    other
        .post(unbind_path, &unbind(&anne.user_id, address))
        .await
        .expect_error(404, "M_NOT_FOUND");
    identity
        .post(unbind_path, &unbind(&agent.user_id, address))
        .await
        .expect_ok();
    assert_eq!(found(&agent, address).await, json!({}));
    // The address of the account is bound as long as it is one.
    identity
        .post(
            unbind_path,
            &unbind(&agent.user_id, "jean.dupont@culture.gouv.fr"),
        )
        .await
        .expect_error(403, "M_UNAUTHORIZED");
}

async fn found(client: &Client, address: &str) -> Value {
    let address = encode(address);
    let path =
        format!("/_matrix/client/unstable/account/3pid/lookup?medium=email&address={address}");
    client.get(&path).await.expect_ok()
}

#[tokio::test]
async fn what_was_bound_to_a_closed_account_is_free() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let anne = town.register("anne.martin@justice.gouv.fr").await;
    let address = "j.dupont@culture.gouv.fr";
    for client in [&agent, &anne] {
        assert_eq!(found(&anne, address).await, json!({}));
        let identity = town.identity(client).await;
        let body = json!({
            "client_secret": client.user_id.split(':').next().unwrap().trim_matches('@'),
            "email": address,
            "send_attempt": 1,
        });
        let sid = identity.post(ASK, &body).await.expect_ok()["sid"].clone();
        let secret = body["client_secret"].as_str().unwrap();
        town.open_link(address, &format!("client_secret={secret}"))
            .await;
        let body = json!({ "sid": sid, "client_secret": secret, "mxid": client.user_id });
        identity
            .post("/_matrix/identity/v2/3pid/bind", &body)
            .await
            .expect_ok();
        let owner = json!({ "mxid": client.user_id });
        assert_eq!(found(&anne, address).await, owner);
        if client.user_id == agent.user_id {
            let user_id = ruma::UserId::parse(&agent.user_id).unwrap();
            let accounts = town.server.app.accounts();
            accounts.deactivate_user(&user_id, false).await.unwrap();
        }
    }
}

#[tokio::test]
async fn addresses_of_others_are_not_bound() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    town.register("anne.martin@justice.gouv.fr").await;
    let identity = town.identity(&agent).await;
    for (address, status, errcode) in [
        ("a@other.fr", 403, "M_THREEPID_DENIED"),
        ("kermit@example.com", 403, "M_THREEPID_DENIED"),
        ("anne.martin@justice.gouv.fr", 400, "M_THREEPID_IN_USE"),
    ] {
        let sid = ask(&identity, address).await.expect_ok()["sid"].clone();
        // The link of the mail is for browsers, which have no token.
        town.open_link(address, "submitToken").await;
        let body = json!({ "sid": sid, "client_secret": SECRET, "mxid": agent.user_id });
        identity
            .post("/_matrix/identity/v2/3pid/bind", &body)
            .await
            .expect_error(status, errcode);
    }
}

#[tokio::test]
async fn sessions_end_and_telephones_are_not_served() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let identity = town.identity(&agent).await;
    let sid = ask(&identity, "j.dupont@culture.gouv.fr").await.expect_ok()["sid"].clone();
    let sid = sid.as_str().unwrap();
    // A form is as good as JSON.
    let http = reqwest::Client::new();
    let answer = http
        .post(format!("{}{ASK}", town.server.url))
        .bearer_auth(identity.token.as_ref().unwrap())
        .header("content-type", "application/x-www-form-urlencoded")
        .body("client_secret=secret&email=j.dupont%40culture.gouv.fr&send_attempt=1")
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(answer["sid"], sid);

    town.clock.advance(Duration::from_hours(24 * 3));
    let answer = validated(&identity, sid, SECRET).await;
    answer.expect_error(400, "M_SESSION_EXPIRED");
    let body = json!({
        "client_secret": SECRET,
        "country": "FR",
        "phone_number": "0123456789",
        "send_attempt": 1,
    });
    let base = "/_matrix/identity/v2/validate/msisdn";
    identity
        .post(&format!("{base}/requestToken"), &body)
        .await
        .expect_error(400, "M_DESTINATION_REJECTED");
    identity
        .post(&format!("{base}/submitToken"), &body)
        .await
        .expect_error(404, "M_NO_VALID_SESSION");
    for bad in ["a@b@culture.gouv.fr", "a", ""] {
        let refused = ask(&identity, bad).await;
        refused.expect_error(400, "M_INVALID_EMAIL");
    }
    openid(&agent).await;
}
