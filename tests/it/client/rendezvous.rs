//! Where two devices meet while one of them signs in by a QR code (MSC4108).

use std::{sync::Arc, time::Duration};

use chappe::clock::ManualClock;
use reqwest::{
    Method, Response,
    header::{HeaderMap, HeaderName},
};
use serde_json::Value;

use crate::harness::{
    client::Client,
    server::{TestOptions, TestServer},
};

const PATH: &str = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous";
const TEXT: (&str, &str) = ("content-type", "text/plain");
const ON: &str = "[qr_sign_in]\nenabled = true\n";

async fn open(client: &Client, payload: &'static str) -> (String, HeaderMap) {
    let made = client.respond(Method::POST, PATH, &[TEXT], payload).await;
    assert_eq!(made.status(), 201);
    let headers = made.headers().clone();
    let body: Value = made.json().await.unwrap();
    let url = body["url"].as_str().unwrap();
    let at = url.find(PATH).unwrap();
    (url[at..].to_owned(), headers)
}

async fn get(client: &Client, place: &str, known: Option<&str>) -> Response {
    let known = known.map(|known| ("if-none-match", known));
    let headers: Vec<_> = known.into_iter().collect();
    client.respond(Method::GET, place, &headers, "").await
}

async fn put(client: &Client, place: &str, known: &str, payload: &'static str) -> Response {
    let headers = [TEXT, ("if-match", known)];
    client.respond(Method::PUT, place, &headers, payload).await
}

fn header(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(HeaderName::try_from(name).unwrap());
    let value = value.unwrap_or_else(|| panic!("no {name}: {headers:?}"));
    value.to_str().unwrap().to_owned()
}

fn etag(response: &Response) -> String {
    header(response.headers(), "etag")
}

async fn errcode(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["errcode"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn two_devices_talk_through_any_process_and_see_who_wrote_last() {
    let server = TestServer::start(TestOptions::with(ON)).await;
    let sibling = server.sibling().await;
    let (old, new) = (server.client(), sibling.client());
    let (place, headers) = open(&old, "hello from A").await;
    let first = header(&headers, "etag");
    for name in ["expires", "last-modified"] {
        assert!(header(&headers, name).ends_with("GMT"));
    }
    assert_eq!(header(&headers, "cache-control"), "no-store");
    assert_eq!(header(&headers, "pragma"), "no-cache");
    let read = get(&new, &place, None).await;
    assert_eq!(read.status(), 200);
    assert_eq!(etag(&read), first);
    assert!(header(read.headers(), "content-type").starts_with("text/plain"));
    assert_eq!(
        header(read.headers(), "expires"),
        header(&headers, "expires")
    );
    assert_eq!(read.text().await.unwrap(), "hello from A");
    let same = get(&new, &place, Some(&first)).await;
    assert_eq!((same.status().as_u16(), etag(&same)), (304, first.clone()));
    let written = put(&new, &place, &first, "hello from B").await;
    assert_eq!(written.status(), 202);
    let second = etag(&written);
    assert_ne!(first, second);
    assert_eq!(
        header(written.headers(), "expires"),
        header(&headers, "expires")
    );
    // The same text again is another payload.
    let written = put(&old, &place, &second, "hello from B").await;
    let third = etag(&written);
    assert_ne!(second, third);
    // Whoever has not seen the last one is told so, and does not replace it.
    let late = put(&new, &place, &second, "late").await;
    assert_eq!(etag(&late), third);
    assert_eq!(errcode(late).await, (412, "M_CONCURRENT_WRITE".to_owned()));
    assert_eq!(
        get(&new, &place, None).await.text().await.unwrap(),
        "hello from B"
    );
    // Without quotes, as in the proposal.
    let bare = put(&new, &place, third.trim_matches('"'), "bare").await;
    assert_eq!(bare.status(), 202);
    let closed = old.respond(Method::DELETE, &place, &[], "").await;
    assert_eq!(closed.status(), 204);
    for gone in [
        get(&new, &place, None).await,
        put(&new, &place, &third, "x").await,
        old.respond(Method::DELETE, &place, &[], "").await,
    ] {
        assert_eq!(errcode(gone).await, (404, "M_NOT_FOUND".to_owned()));
    }
}

#[tokio::test]
async fn only_one_of_many_writers_wins() {
    let server = TestServer::start(TestOptions::with(ON)).await;
    let client = server.client();
    let (place, headers) = open(&client, "nobody's").await;
    let known = header(&headers, "etag");
    let writes = (0..8).map(|_| put(&client, &place, &known, "mine"));
    let answers = futures_util::future::join_all(writes).await;
    let won = answers.iter().filter(|answer| answer.status() == 202);
    assert_eq!(won.count(), 1);
}

#[tokio::test]
async fn notes_are_small_few_and_short_lived() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let options = TestOptions {
        clock: Some(Arc::clone(&clock)),
        ..TestOptions::with(&format!(
            "{ON}max_sessions = 2\nmax_payload = '8B'\nlifetime = '60s'"
        ))
    };
    let server = TestServer::start(options).await;
    let client = server.client();
    let (place, headers) = open(&client, "12345678").await;
    assert_eq!(
        header(&headers, "last-modified"),
        "Tue, 14 Nov 2023 22:13:20 GMT"
    );
    assert_eq!(header(&headers, "expires"), "Tue, 14 Nov 2023 22:14:20 GMT");
    let large = client
        .respond(Method::POST, PATH, &[TEXT], "123456789")
        .await;
    assert_eq!(errcode(large).await, (413, "M_TOO_LARGE".to_owned()));
    let known = header(&headers, "etag");
    let large = put(&client, &place, &known, "123456789").await;
    assert_eq!(errcode(large).await, (413, "M_TOO_LARGE".to_owned()));
    open(&client, "second").await;
    let third = client.respond(Method::POST, PATH, &[TEXT], "third").await;
    assert!(third.headers().contains_key("retry-after"));
    assert_eq!(errcode(third).await, (429, "M_LIMIT_EXCEEDED".to_owned()));
    clock.advance(Duration::from_secs(50));
    // Writing does not keep it open for longer.
    let written = put(&client, &place, &known, "later").await;
    assert_eq!(written.status(), 202);
    clock.advance(Duration::from_secs(10));
    let gone = get(&client, &place, None).await;
    assert_eq!(errcode(gone).await, (404, "M_NOT_FOUND".to_owned()));
    open(&client, "again").await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let server = TestServer::start(TestOptions::with(ON)).await;
    let client = server.client();
    let (place, headers) = open(&client, "x").await;
    let known = header(&headers, "etag");
    let post = async |headers: &[(&str, &str)]| {
        let answer = client.respond(Method::POST, PATH, headers, "x").await;
        errcode(answer).await
    };
    assert_eq!(post(&[]).await, (400, "M_MISSING_PARAM".to_owned()));
    let json = [("content-type", "application/json")];
    assert_eq!(post(&json).await, (400, "M_INVALID_PARAM".to_owned()));
    let pieces = client.chunked(PATH, vec![b"x".to_vec()]).await;
    pieces.expect_error(400, "M_MISSING_PARAM");
    let missing = client.respond(Method::PUT, &place, &[TEXT], "x").await;
    assert_eq!(errcode(missing).await, (400, "M_MISSING_PARAM".to_owned()));
    for wrong in ["*", "W/\"x\"", "\"a\", \"b\"", "\"\"", "\"", "a b"] {
        let answer = put(&client, &place, wrong, "x").await;
        assert_eq!(
            errcode(answer).await,
            (400, "M_INVALID_PARAM".to_owned()),
            "{wrong}"
        );
        let answer = get(&client, &place, Some(wrong)).await;
        assert_eq!(
            errcode(answer).await,
            (400, "M_INVALID_PARAM".to_owned()),
            "{wrong}"
        );
    }
    for id in ["x", "%00", "%ff", &"a".repeat(32), &"a".repeat(3000)] {
        let answer = put(&client, &format!("{PATH}/{id}"), &known, "x").await;
        assert_eq!(
            errcode(answer).await,
            (404, "M_NOT_FOUND".to_owned()),
            "{id}"
        );
    }
    let wrong = client.respond(Method::GET, PATH, &[], "").await;
    assert_eq!(errcode(wrong).await, (405, "M_UNRECOGNIZED".to_owned()));
}

#[tokio::test]
async fn browsers_may_use_it() {
    let server = TestServer::start(TestOptions::with(ON)).await;
    let client = server.client();
    let (place, headers) = open(&client, "x").await;
    let asked = client.respond(Method::OPTIONS, &place, &[], "").await;
    for headers in [&headers, asked.headers()] {
        assert_eq!(header(headers, "access-control-allow-origin"), "*");
        assert_eq!(header(headers, "access-control-expose-headers"), "ETag");
        let allowed = header(headers, "access-control-allow-headers");
        assert!(allowed.contains("If-Match") && allowed.contains("If-None-Match"));
        let methods = header(headers, "access-control-allow-methods");
        assert!(methods.contains("PUT") && methods.contains("DELETE"));
    }
    let other = client.get("/_matrix/client/versions").await;
    assert!(!other.headers.contains_key("access-control-expose-headers"));
    assert_eq!(other.body["unstable_features"]["org.matrix.msc4108"], true);
}

#[tokio::test]
async fn it_is_there_only_where_the_operator_wants_it() {
    let server = TestServer::new().await;
    let client = server.client();
    let answer = client.respond(Method::POST, PATH, &[TEXT], "x").await;
    assert_eq!(errcode(answer).await, (404, "M_UNRECOGNIZED".to_owned()));
    let versions = client.get("/_matrix/client/versions").await;
    assert!(
        versions.body["unstable_features"]
            .get("org.matrix.msc4108")
            .is_none()
    );
}

#[tokio::test]
async fn who_opens_many_is_limited() {
    let limits = "[limits]\nenabled = true\nlogin = { per_second = 0.001, burst = 2 }\n";
    let server = TestServer::start(TestOptions::with(&format!("{ON}{limits}"))).await;
    let client = server.client();
    open(&client, "x").await;
    let (place, _) = open(&client, "x").await;
    let third = client.respond(Method::POST, PATH, &[TEXT], "x").await;
    assert_eq!(errcode(third).await, (429, "M_LIMIT_EXCEEDED".to_owned()));
    assert_eq!(get(&client, &place, None).await.status(), 200);
}
