//! What clients need to call each other (specification v1.19, client-server API, "Voice over IP";
//! MSC4143).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use serde_json::json;
use sha1::Sha1;

use crate::harness::server::{TestOptions, TestServer};

const TRANSPORTS: &str = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports";

#[tokio::test]
async fn credentials_for_a_call_are_those_that_the_turn_server_expects() {
    let server = TestServer::start(TestOptions::with(
        "[calls]\nturn_uris = ['turns:turn.example.org:5349']\nturn_secret = 'sesame'\n\
         turn_lifetime = '1h'\n",
    ))
    .await;
    let anna = server.register("anna").await;
    let told = anna.get("voip/turnServer").await.expect_ok();
    assert_eq!(told["uris"], json!(["turns:turn.example.org:5349"]));
    assert_eq!(told["ttl"], 3600);
    let username = told["username"].as_str().unwrap();
    let (end, user_id) = username.split_once(':').unwrap();
    assert_eq!(user_id, anna.user_id);
    assert!(end.parse::<i64>().unwrap() > 1_700_000_000);
    let mut mac = Hmac::<Sha1>::new_from_slice(b"sesame").unwrap();
    mac.update(username.as_bytes());
    let expected = STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(told["password"], json!(expected));
    server
        .client()
        .get("voip/turnServer")
        .await
        .expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn clients_are_told_where_calls_of_several_people_meet() {
    let server = TestServer::start(TestOptions::with(
        "[calls]\nlivekit_service_urls = ['https://rtc.example.org/jwt/']\n",
    ))
    .await;
    let anna = server.register("anna").await;
    let place = json!([{
        "type": "livekit",
        "livekit_service_url": "https://rtc.example.org/jwt",
    }]);
    let told = anna.get(TRANSPORTS).await.expect_ok();
    assert_eq!(told, json!({ "rtc_transports": place }));
    let known = anna.get("/.well-known/matrix/client").await.expect_ok();
    assert_eq!(known["org.matrix.msc4143.rtc_foci"], place);
    server
        .client()
        .get(TRANSPORTS)
        .await
        .expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn without_a_turn_server_there_is_nothing_to_tell() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let told = anna.get("voip/turnServer").await.expect_ok();
    assert_eq!(told, json!({}));
    let told = anna.get(TRANSPORTS).await.expect_ok();
    assert_eq!(told, json!({ "rtc_transports": [] }));
}
