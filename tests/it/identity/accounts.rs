//! Tokens of the identity service, and what people agree to (identity service API v1.19,
//! "Authentication", "Terms of service").

use std::time::Duration;

use serde_json::json;

use super::{Town, openid};
use crate::harness::client::encode;

const REGISTER: &str = "/_matrix/identity/v2/account/register";

#[tokio::test]
async fn an_openid_token_becomes_a_token_of_the_identity_service_and_nothing_else() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let mut body = openid(&agent).await;
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["matrix_server_name"], "example.org");
    assert_eq!(body["expires_in"], 3600);
    // It is no access token of either API.
    let mut stranger = agent.at(&town.server.url);
    stranger.token = Some(body["access_token"].as_str().unwrap().to_owned());
    let answer = stranger.get("account/whoami").await;
    answer.expect_error(401, "M_UNKNOWN_TOKEN");
    let account = "/_matrix/identity/v2/account";
    stranger
        .get(account)
        .await
        .expect_error(401, "M_UNAUTHORIZED");
    agent.get(account).await.expect_error(401, "M_UNAUTHORIZED");

    let identity = town.identity(&agent).await;
    let answer = identity.get(account).await.expect_ok();
    assert_eq!(answer["user_id"], agent.user_id.as_str());
    identity
        .get("account/whoami")
        .await
        .expect_error(401, "M_UNKNOWN_TOKEN");
    // Of somebody else's, or of another server's, nothing comes.
    let other = format!("user/{}/openid/request_token", encode("@b:example.org"));
    let answer = agent.post(&other, &json!({})).await;
    answer.expect_error(403, "M_FORBIDDEN");
    let anybody = town.server.client();
    body["matrix_server_name"] = json!("matrix.org");
    let answer = anybody.post(REGISTER, &body).await;
    answer.expect_error(401, "M_UNAUTHORIZED");
    body["matrix_server_name"] = json!("example.org");
    body["access_token"] = json!("unknown");
    let answer = anybody.post(REGISTER, &body).await;
    answer.expect_error(401, "M_UNAUTHORIZED");

    let logout = "/_matrix/identity/v2/account/logout";
    identity.post(logout, &json!({})).await.expect_ok();
    identity
        .get(account)
        .await
        .expect_error(401, "M_UNAUTHORIZED");
    identity
        .post(logout, &json!({}))
        .await
        .expect_error(401, "M_UNAUTHORIZED");
}

#[tokio::test]
async fn tokens_end_with_time_and_with_the_account() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let body = openid(&agent).await;
    let identity = town.identity(&agent).await;
    let account = "/_matrix/identity/v2/account";
    town.clock.advance(Duration::from_mins(61));
    let anybody = town.server.client();
    let answer = anybody.post(REGISTER, &body).await;
    answer.expect_error(401, "M_UNAUTHORIZED");
    identity.get(account).await.expect_ok();
    let other = town.register("anne.martin@justice.gouv.fr").await;
    let closing = town.identity(&other).await;
    town.clock.advance(Duration::from_hours(24 * 60));
    identity
        .get(account)
        .await
        .expect_error(401, "M_UNAUTHORIZED");
    town.server.app.identity().clean_up().await.unwrap();

    let again = town.identity(&other).await;
    drop(closing);
    again.get(account).await.expect_ok();
    let user_id = ruma::UserId::parse(&other.user_id).unwrap();
    let accounts = town.server.app.accounts();
    accounts.deactivate_user(&user_id, false).await.unwrap();
    again.get(account).await.expect_error(401, "M_UNAUTHORIZED");
}

#[tokio::test]
async fn terms_are_told_to_everybody_and_accepted_by_people() {
    let terms = r#"
        [[registration.terms]]
        name = "cgu"
        version = "2"
        url_fr = "https://example.org/cgu-2"
        url_en = "https://example.org/terms-2"
    "#;
    let town = Town::new().await;
    let path = "/_matrix/identity/v2/terms";
    let anybody = town.server.client();
    let none = anybody.get(path).await.expect_ok();
    assert_eq!(none, json!({ "policies": {} }));
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let identity = town.identity(&agent).await;
    for body in [
        json!({ "user_accepts": ["https://example.org/cgu-2"] }),
        json!({ "user_accepts": [] }),
    ] {
        let answer = identity.post(path, &body).await.expect_ok();
        assert_eq!(answer, json!({}));
    }
    let answer = identity.post(path, &json!({ "user_accepts": [1] })).await;
    answer.expect_error(400, "M_INVALID_PARAM");
    anybody
        .post(path, &json!({ "user_accepts": [] }))
        .await
        .expect_error(401, "M_UNAUTHORIZED");

    let town = Town::with(terms).await;
    let answer = town.server.client().get(path).await.expect_ok();
    let policy = &answer["policies"]["cgu"];
    assert_eq!(policy["version"], "2");
    assert_eq!(policy["fr"]["url"], "https://example.org/cgu-2");
    assert_eq!(policy["en"]["url"], "https://example.org/terms-2");
}

#[tokio::test]
async fn the_service_says_that_it_is_there() {
    let town = Town::new().await;
    let anybody = town.server.client();
    for path in ["/_matrix/identity/v2", "/_matrix/identity/api/v1"] {
        assert_eq!(anybody.get(path).await.expect_ok(), json!({}));
    }
    let answer = anybody.get("/_matrix/identity/versions").await.expect_ok();
    let versions = answer["versions"].as_array().unwrap();
    assert!(versions.contains(&json!("v1.19")), "{versions:?}");
}
