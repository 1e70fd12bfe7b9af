//! Whatever comes in, the server answers, and does not fail.
//!
//! `CHAPPE_BAD_INPUT_ROUNDS` and `CHAPPE_BAD_INPUT_SEED` ask for more, or other, random input.

mod addresses;
pub(crate) mod generate;
mod routes;
mod texts;

use std::time::Duration;

use chappe::sync::SyncToken;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use self::routes::Route;
use crate::harness::{
    client::Client,
    server::{PASSWORD, TestServer},
};

/// How often each route is tried.
const ROUNDS: u32 = 12;
/// The routes whose body comes from a page, and is no JSON.
const FORMS: [&str; 3] = ["password_link_confirmed", "consent_given", "stage_passed"];
/// The routes whose body is a file of any kind.
const FILES: [&str; 2] = ["create_content", "create_content_async"];
/// Parts of the paths of pages, whose refusals are for people.
const PAGES: [&str; 5] = [
    "/fallback/web",
    "submit_token",
    "submitToken",
    "account_validity/renew",
    "/_matrix/consent",
];
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server, and somebody who sends it nonsense.
struct Site {
    server: TestServer,
    http: reqwest::Client,
}

impl Site {
    async fn new() -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .unwrap();
        let server = TestServer::new().await;
        Self { server, http }
    }

    /// Sends a request as it is; the path begins with a slash. Fails if the server does.
    async fn send(&self, request: &Raw<'_>) -> (u16, String) {
        let url = format!("{}{}", self.server.url, request.path);
        let mut builder = self.http.request(request.method.clone(), url);
        if let Some(token) = request.token {
            builder = builder.bearer_auth(token);
        }
        if let Some(body) = request.body {
            builder = builder
                .header("content-type", request.content_type)
                .body(body.to_vec());
        }
        let what = || {
            let body = request.body.unwrap_or_default();
            let body = String::from_utf8_lossy(&body[..body.len().min(2000)]);
            let path: String = request.path.chars().take(500).collect();
            format!("{} {path} {body}", request.method)
        };
        let response = builder.send().await;
        let response = response.unwrap_or_else(|error| panic!("{error:?}: {}", what()));
        let status = response.status();
        let text = response.text().await;
        let text = text.unwrap_or_else(|error| panic!("{error:?}: {}", what()));
        assert!(!status.is_server_error(), "{status} {text}: {}", what());
        if status.is_client_error() {
            // Pages of links in mails are for people.
            let errcode = serde_json::from_str(&text)
                .ok()
                .and_then(|body: Value| Some(body.get("errcode")?.is_string()));
            let stepwise = status == StatusCode::UNAUTHORIZED && text.contains("\"flows\"");
            let page = PAGES.iter().any(|page| request.path.contains(page));
            let refused = errcode.unwrap_or(stepwise || page);
            assert!(refused, "{status} {text:?}: {}", what());
        }
        (status.as_u16(), text)
    }
}

/// A request, byte by byte.
struct Raw<'a> {
    method: Method,
    path: &'a str,
    token: Option<&'a str>,
    content_type: &'a str,
    body: Option<&'a [u8]>,
}

impl<'a> Raw<'a> {
    fn new(method: Method, path: &'a str, token: Option<&'a str>) -> Self {
        Self {
            method,
            path,
            token,
            content_type: "application/json",
            body: None,
        }
    }

    fn with(mut self, body: &'a str) -> Self {
        self.body = Some(body.as_bytes());
        self
    }
}

/// What paths and bodies can name.
pub(crate) struct World {
    pub(crate) user: Client,
    room_id: String,
    event_id: String,
    alias: String,
    filter_id: String,
    since: String,
}

impl World {
    pub(crate) async fn new(server: &TestServer, name: &str) -> Self {
        let user = server.register(name).await;
        let room = json!({ "preset": "public_chat", "room_alias_name": name });
        let room_id = user.create_room(&room).await;
        let event_id = user.send(&room_id, "hello").await;
        let own = crate::harness::client::encode(&user.user_id);
        let filter = user.post(&format!("user/{own}/filter"), &json!({})).await;
        let sync = user.sync(None, Duration::ZERO).await;
        let since = sync["next_batch"].as_str().unwrap().to_owned();
        since.parse::<SyncToken>().unwrap();
        Self {
            room_id,
            event_id,
            alias: format!("#{name}:example.org"),
            filter_id: filter.expect_ok()["filter_id"].as_str().unwrap().to_owned(),
            since,
            user,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_requests_are_answered_on_every_route() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let rounds = number("CHAPPE_BAD_INPUT_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("CHAPPE_BAD_INPUT_SEED").unwrap_or(1);
    let site = Site::new().await;
    let routes = routes::all();
    for round in 0..rounds {
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(seed) << 32 | u64::from(round));
        let mut world = World::new(&site.server, &format!("u{round}")).await;
        for route in &routes {
            let path = generate::path(&mut rng, route, &world);
            let body = route
                .takes_body()
                .then(|| generate::body(&mut rng, route, &world));
            let body = body.as_deref().map(str::as_bytes);
            for token in [None, world.user.token.as_deref()] {
                let mut raw = Raw::new(route.method.clone(), &path, token);
                raw.body = body;
                if FORMS.contains(&route.name) {
                    raw.content_type = "application/x-www-form-urlencoded";
                } else if rng.random_bool(0.1) {
                    raw.content_type = "text/plain";
                }
                site.send(&raw).await;
            }
            // It may have ended the session.
            if world.user.get("account/whoami").await.status != 200 {
                let name = format!("u{round}");
                let back = world.user.login(&name, PASSWORD).await.status;
                assert_eq!(back, 200, "after {}", route.name);
            }
        }
    }
    // It is as well as before.
    let anna = site.server.register("anna").await;
    let room_id = anna.create_room(&json!({})).await;
    anna.send(&room_id, "still there").await;
}

#[test]
fn all_routes_are_tried() {
    let tried: Vec<&str> = routes::all().iter().map(|route| route.name).collect();
    let missing: Vec<_> = routes::in_sources()
        .into_iter()
        .filter(|name| !tried.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "add these to the list: {missing:?}");
}

#[tokio::test]
async fn the_router_knows_all_routes() {
    let site = Site::new().await;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let world = World::new(&site.server, "anna").await;
    for route in routes::all() {
        for path in &route.paths {
            let path = generate::plausible(&mut rng, path, &world);
            let (status, text) = site
                .send(&Raw::new(route.method.clone(), &path, None))
                .await;
            let unknown = text.contains("M_UNRECOGNIZED");
            assert!(!unknown, "{} {path}: {status} {text}", route.method);
        }
    }
}

#[tokio::test]
async fn large_and_deep_bodies_are_refused_on_every_route() {
    let site = Site::new().await;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let world = World::new(&site.server, "anna").await;
    let token = world.user.token.as_deref();
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20));
    let arrays = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let open = "[".repeat(10_000);
    let takes_json = |route: &&Route| {
        route.takes_body() && !FORMS.contains(&route.name) && !FILES.contains(&route.name)
    };
    for route in routes::all().iter().filter(takes_json) {
        let Route { method, name, .. } = route;
        let path = generate::plausible(&mut rng, &route.paths[0], &world);
        let (status, text) = site
            .send(&Raw::new(method.clone(), &path, token).with(&large))
            .await;
        if matches!(*name, "request_ping" | "set_appservice_room_visibility") {
            // Only application services may, and who is none is told first.
            assert_eq!(status, 403, "{name}: {text}");
            continue;
        }
        assert_eq!(status, 413, "{name}: {text}");
        assert!(text.contains("M_TOO_LARGE"), "{name}: {text}");
        for deep in [&arrays, &objects, &open] {
            let raw = Raw::new(method.clone(), &path, token).with(deep);
            let (status, text) = site.send(&raw).await;
            assert_eq!(status, 400, "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_needs_no_body_is_not_lost() {
    let site = Site::new().await;
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(900 << 10));
    // The body is never looked at: a client that is still sending must hear why.
    for _ in 0..50 {
        for (path, expected) in [
            ("/_matrix/client/v3/rooms/!a/send/m.room.message/1", 401),
            ("/_matrix/client/v3/nothing/there", 404),
            ("/_matrix/client/v3/sync", 405),
        ] {
            let raw = Raw::new(Method::PUT, path, None).with(&large);
            assert_eq!(site.send(&raw).await.0, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn odd_paths_are_answered() {
    let site = Site::new().await;
    let world = World::new(&site.server, "anna").await;
    let token = world.user.token.as_deref();
    let long = "a".repeat(8_000);
    let wide = "%F0%9F%90%8C".repeat(500);
    let segments = [
        "%", "%zz", "%ff", "%c3%28", "%00", "%0A", "%2F", "%2e%2e", "%25", "é", "'", "\"", "{}",
        "*", &long, &wide, "",
    ];
    for route in &routes::all() {
        let template = &route.paths[0];
        for segment in segments {
            let path = generate::with_every_argument(template, segment);
            let mut raw = Raw::new(route.method.clone(), &path, token);
            if route.takes_body() {
                raw = raw.with("{}");
            }
            let ends_session = route.name.starts_with("logout");
            if !ends_session {
                site.send(&raw).await;
            }
        }
    }
    // Longer than anything that is read: it never comes to a route, and the connection may end
    // before all of it is sent.
    let path = format!("/_matrix/client/v3/profile/{}", "a".repeat(200_000));
    let url = format!("{}{path}", site.server.url);
    if let Ok(answer) = site.http.get(url).send().await {
        assert!(answer.status().is_client_error(), "{}", answer.status());
    }
    world.user.get("account/whoami").await.expect_ok();
}
