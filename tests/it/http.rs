//! What every request meets before and behind its handler, with a few endpoints that do nothing.

use std::{
    io::Read as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use ::http::{Method, Request, StatusCode, header::HeaderMap};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, State},
    routing::get,
};
use chappe::{
    accounts::Accounts,
    audit::Audit,
    calls::{Calls, Settings as CallSettings},
    clock::ManualClock,
    config,
    http::{
        ApiError, ApiSelection, AppState, Capabilities, CapabilitySettings, Home, HttpSettings,
        Kind, Rate, RateLimitSettings, RateLimits, Readiness, RouterExt as _, Ruma, Server,
        ServerSettings, Services, WellKnown, router,
    },
    pages::Pages,
    random::Random,
};
use ruma::{
    OwnedUserId,
    api::{
        IncomingRequest, Metadata,
        client::{
            alias::get_alias, profile::get_profile, room::create_room, session::login,
            state::send_state_event,
        },
        error::DeserializationError,
        path_builder::SinglePath,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::harness::accounts::{AccountsOptions, AccountsSite};

const TOKEN: &str = "secret";

/// The router under test, and what it told its observer.
struct Site {
    router: Router,
    state: AppState,
    seen: Arc<Mutex<Vec<(String, u16)>>>,
    /// Lets the handlers of `/wait` and `/sync` answer.
    go: Arc<Notify>,
    _service: AccountsSite,
}

#[derive(Default)]
struct Options {
    settings: HttpSettings,
    read: Option<Rate>,
    readiness: Readiness,
}

/// ruma's request types at paths of their own, so that they are in nobody's way.
macro_rules! stand_in {
    ($name:ident, $request:ty, $path:literal) => {
        struct $name($request);

        impl Metadata for $name {
            const METHOD: Method = <$request>::METHOD;
            const RATE_LIMITED: bool = <$request>::RATE_LIMITED;
            type Authentication = <$request as Metadata>::Authentication;
            type PathBuilder = SinglePath;
            const PATH_BUILDER: SinglePath = SinglePath::new($path);
        }

        impl IncomingRequest for $name {
            type EndpointError = <$request as IncomingRequest>::EndpointError;
            type OutgoingResponse = <$request as IncomingRequest>::OutgoingResponse;

            fn try_from_http_request_inner(
                request: Request<&[u8]>,
                path: &[&str],
            ) -> Result<Self, DeserializationError> {
                <$request>::try_from_http_request_inner(request, path).map(Self)
            }
        }
    };
}

stand_in!(Create, create_room::v3::Request, "/_matrix/test/create");
stand_in!(Login, login::v3::Request, "/_matrix/test/login");
stand_in!(
    SendState,
    send_state_event::v3::Request,
    "/_matrix/test/state/{room_id}/{event_type}/{state_key}"
);
stand_in!(
    Profile,
    get_profile::v3::Request,
    "/_matrix/test/profile/{user_id}"
);
stand_in!(
    Alias,
    get_alias::v3::Request,
    "/_matrix/test/alias/{room_alias}"
);

async fn create_room(
    _: State<Accounts>,
    request: Ruma<Create>,
) -> Result<create_room::v3::Response, ApiError> {
    assert_ne!(request.body.0.name.as_deref(), Some("panic"));
    let room_id = "!room:example.org".try_into().unwrap();
    Ok(create_room::v3::Response::new(room_id))
}

async fn login(_: State<Accounts>, request: Ruma<Login>) -> Result<login::v3::Response, ApiError> {
    let Login(_body) = request.body;
    let error = ApiError::new(
        StatusCode::FORBIDDEN,
        "ORG_MATRIX_EXPIRED_ACCOUNT",
        "Expired",
    );
    Err(error.with("address", request.client.address.to_string()))
}

async fn send_state(
    _: State<Accounts>,
    request: Ruma<SendState>,
) -> Result<send_state_event::v3::Response, ApiError> {
    let key = request.body.0.state_key;
    let event_id = format!("${}", if key.is_empty() { "empty" } else { &key });
    Ok(send_state_event::v3::Response::new(
        event_id.try_into().unwrap(),
    ))
}

async fn profile(
    _: State<Accounts>,
    request: Ruma<Profile>,
) -> Result<get_profile::v3::Response, ApiError> {
    let Profile(_body) = request.body;
    // On purpose: this is no user id.
    let user_id = OwnedUserId::try_from("nobody").unwrap();
    unreachable!("{user_id}")
}

async fn alias(
    State(limits): State<RateLimits>,
    request: Ruma<Alias>,
) -> Result<get_alias::v3::Response, ApiError> {
    let Alias(_body) = request.body;
    limits.check_address(Kind::DirectorySearch, request.client.address)?;
    Err(ApiError::not_found("No such alias"))
}

async fn site(options: Options) -> Site {
    let service = AccountsSite::new(AccountsOptions::new(config::Profile::Open)).await;
    service
        .add_session("@camille:example.org".try_into().unwrap(), TOKEN)
        .await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let go = Arc::new(Notify::new());
    let rates = RateLimitSettings {
        read: options.read.unwrap_or(Rate {
            per_second: 1.0,
            burst: 1000,
        }),
        directory_search: Rate {
            per_second: 0.4,
            burst: 1,
        },
        ..RateLimitSettings::default()
    };
    let told = Arc::clone(&seen);
    let state = AppState::new(Services {
        accounts: service.accounts.clone(),
        rooms: service.rooms(),
        keys: service.keys(),
        sync: service.sync(),
        bridges: service.bridges(),
        audit: Audit::off(service.clock.clone()),
        identity: service.identity(),
        media: service.media(),
        previews: service.previews(),
        scanner: service.scanner().await,
        notices: service.notices(),
        calls: Calls::new(CallSettings::default(), service.clock.clone()),
        push: service.push(),
        rendezvous: service.rendezvous(),
        limits: RateLimits::new(&rates, Arc::new(ManualClock::new(1_000_000))),
        settings: options.settings,
        random: Random::seeded(1),
        observer: Arc::new(move |route, _, status, _| {
            told.lock().unwrap().push((route.to_owned(), status));
        }),
        readiness: options.readiness,
        metrics: Arc::new(|| "chappe_up 1\n".to_owned()),
        well_known: WellKnown::new()
            .with_client(&"https://matrix.example.org/".parse().unwrap(), None, &[])
            .with_server("matrix.example.org:443".try_into().unwrap()),
        capabilities: Capabilities::from(&CapabilitySettings::default()),
        pages: Arc::new(Pages::new("Tchap", None).unwrap()),
        home: Home {
            server_name: "example.org".to_owned(),
            homeserver_url: "https://matrix.example.org".parse().unwrap(),
            profile: "open",
        },
    });
    let wait = |go: &Arc<Notify>| {
        let go = Arc::clone(go);
        get(async move || {
            go.notified().await;
            "done"
        })
    };
    let text = |length: usize| get(async move || "x".repeat(length));
    let json_path = "/_matrix/test/state/{room_id}/{event_type}/";
    let more = Router::new()
        .endpoint(create_room)
        .endpoint(login)
        .endpoint(profile)
        .endpoint(alias)
        .endpoint_also(&[json_path], send_state)
        .route("/_matrix/wait", wait(&go))
        .route("/_matrix/sync", wait(&go))
        .route("/short", text(4095))
        .route("/long", text(4096))
        .route(
            "/image",
            get(async || ([("content-type", "image/png")], "x".repeat(9000))),
        );
    let serves = ApiSelection {
        client: true,
        health: true,
        metrics: true,
        internal: false,
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
    };
    let router = router(&state, &serves, more);
    Site {
        router,
        state,
        seen,
        go,
        _service: service,
    }
}

/// A request from `198.51.100.7` with Camille's token.
fn request(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    let peer: SocketAddr = "198.51.100.7:4711".parse().unwrap();
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {TOKEN}"))
        .extension(ConnectInfo(peer))
        .body(body.into())
        .unwrap()
}

impl Site {
    async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts.status, parts.headers, body)
    }

    async fn json(&self, request: Request<Body>) -> (u16, Value) {
        let (status, headers, body) = self.send(request).await;
        assert_eq!(headers["content-type"], "application/json");
        (status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    /// The status and the error code.
    async fn fails(&self, request: Request<Body>) -> (u16, String) {
        let (status, body) = self.json(request).await;
        assert!(body["error"].is_string(), "{body}");
        (status, body["errcode"].as_str().unwrap().to_owned())
    }
}

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
const CREATE: &str = "/_matrix/test/create";

#[tokio::test]
async fn a_token_comes_in_the_header_or_in_the_query() {
    let site = site(Options::default()).await;
    let me = json!({ "user_id": "@camille:example.org", "device_id": "DEVICE" });
    for path in [WHOAMI, "/_matrix/client/r0/account/whoami"] {
        assert_eq!(site.json(request("GET", path, "")).await, (200, me.clone()));
    }
    let cases = [
        (format!("{WHOAMI}?access_token={TOKEN}"), None, 200, ""),
        (WHOAMI.to_owned(), None, 401, "M_MISSING_TOKEN"),
        (WHOAMI.to_owned(), Some("Bearer "), 401, "M_MISSING_TOKEN"),
        (WHOAMI.to_owned(), Some("Basic abc"), 401, "M_MISSING_TOKEN"),
        (
            WHOAMI.to_owned(),
            Some("Bearer other"),
            401,
            "M_UNKNOWN_TOKEN",
        ),
        (WHOAMI.to_owned(), Some("bearer secret"), 200, ""),
    ];
    for (path, header, status, errcode) in cases {
        let mut request = request("GET", &path, "");
        request.headers_mut().remove("authorization");
        if let Some(header) = header {
            request
                .headers_mut()
                .insert("authorization", header.parse().unwrap());
        }
        let (found, body) = site.json(request).await;
        assert_eq!(found, status, "{path} {header:?}");
        assert_eq!(body["errcode"].as_str().unwrap_or_default(), errcode);
    }
}

#[tokio::test]
async fn a_wrong_body_is_named() {
    let site = site(Options::default()).await;
    let deep = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let bad: [(Vec<u8>, &str); 9] = [
        (b"{".to_vec(), "M_NOT_JSON"),
        (b"hello".to_vec(), "M_NOT_JSON"),
        (b" ".to_vec(), "M_NOT_JSON"),
        (b"{\"name\":\"\xff\"}".to_vec(), "M_NOT_JSON"),
        (b"{\"name\":1}".to_vec(), "M_BAD_JSON"),
        (b" []".to_vec(), "M_BAD_JSON"),
        (b"\"text\"".to_vec(), "M_BAD_JSON"),
        (b"{\"invite\":[\"nobody\"]}".to_vec(), "M_BAD_JSON"),
        (deep(100).into_bytes(), "M_BAD_JSON"),
    ];
    for (body, errcode) in bad {
        let text = String::from_utf8_lossy(&body).into_owned();
        let found = site.fails(request("POST", CREATE, body)).await;
        assert_eq!(found, (400, errcode.to_owned()), "{text}");
    }
    for body in ["", "{}", "{\"name\":null,\"unknown\":[]}", &deep(99)] {
        let (status, answer) = site.json(request("POST", CREATE, body.to_owned())).await;
        assert_eq!(status, 200, "{body}: {answer}");
    }
}

#[tokio::test]
async fn a_body_without_what_ruma_indexes_does_not_panic() {
    let site = site(Options::default()).await;
    let found = site
        .fails(request("POST", "/_matrix/test/login", "{}"))
        .await;
    assert_eq!(found, (400, "M_BAD_JSON".to_owned()));
}

#[tokio::test]
async fn a_body_is_bounded_with_and_without_its_length() {
    let settings = HttpSettings {
        max_body_bytes: 1000,
        ..HttpSettings::default()
    };
    let site = site(Options {
        settings,
        ..Options::default()
    })
    .await;
    let body = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    let chunked = |text: String| {
        let chunks: Vec<Result<Bytes, std::io::Error>> = text
            .as_bytes()
            .chunks(64)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        Body::from_stream(futures_util::stream::iter(chunks))
    };
    for (length, status) in [(100, 200), (1000, 200), (1001, 413)] {
        let (found, answer) = site.json(request("POST", CREATE, body(length))).await;
        assert_eq!(found, status, "{length}: {answer}");
        let (found, answer) = site
            .json(request("POST", CREATE, chunked(body(length))))
            .await;
        assert_eq!(found, status, "{length} in chunks: {answer}");
    }
    let found = site.fails(request("POST", CREATE, body(5000))).await;
    assert_eq!(found.1, "M_TOO_LARGE");
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let settings = HttpSettings {
        body_timeout: Duration::from_millis(1),
        ..HttpSettings::default()
    };
    let site = site(Options {
        settings,
        ..Options::default()
    })
    .await;
    let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let found = site
        .fails(request("POST", CREATE, Body::from_stream(never)))
        .await;
    assert_eq!(found, (408, "M_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn path_arguments_are_checked_and_may_be_empty_where_the_specification_says_so() {
    let site = site(Options::default()).await;
    let state = "/_matrix/test/state/!a:example.org/m.room.name";
    for (path, event_id) in [
        (format!("{state}/key"), "$key"),
        (format!("{state}/a%2Fb"), "$a/b"),
        (format!("{state}/"), "$empty"),
    ] {
        let answer = site.json(request("PUT", &path, "{}")).await;
        assert_eq!(answer, (200, json!({ "event_id": event_id })));
    }
    for path in [
        "/_matrix/test/state/nonsense/m.room.name/x",
        "/_matrix/test/state/%FF/m.room.name/x",
    ] {
        let found = site.fails(request("PUT", path, "{}")).await;
        assert_eq!(found, (400, "M_INVALID_PARAM".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_unrecognized() {
    let site = site(Options::default()).await;
    let cases = [
        ("GET", "/_matrix/client/v3/nothing", 404),
        ("POST", "/nothing", 404),
        ("DELETE", WHOAMI, 405),
        ("POST", "/_matrix/client/versions", 405),
    ];
    for (method, path, status) in cases {
        let found = site.fails(request(method, path, "")).await;
        assert_eq!(
            found,
            (status, "M_UNRECOGNIZED".to_owned()),
            "{method} {path}"
        );
    }
    let (status, _, body) = site.send(request("HEAD", WHOAMI, "")).await;
    assert_eq!((status.as_u16(), body.len()), (200, 0));
}

#[tokio::test]
async fn browsers_are_let_in_also_to_errors() {
    let site = site(Options::default()).await;
    for (method, path, status) in [
        ("GET", WHOAMI, 200),
        ("GET", "/_matrix/client/v3/nothing", 404),
        ("DELETE", WHOAMI, 405),
        ("GET", "/_matrix/test/profile/@camille:example.org", 500),
        ("GET", "/.well-known/matrix/client", 200),
        ("OPTIONS", CREATE, 204),
        ("OPTIONS", "/_matrix/client/v3/nothing", 204),
    ] {
        let mut request = request(method, path, "");
        if method == Method::OPTIONS {
            request.headers_mut().remove("authorization");
        }
        let (found, headers, _) = site.send(request).await;
        assert_eq!(found.as_u16(), status, "{method} {path}");
        assert_eq!(headers["access-control-allow-origin"], "*");
        let methods = "GET, POST, PUT, DELETE, OPTIONS";
        assert_eq!(headers["access-control-allow-methods"], methods);
        let allowed = "X-Requested-With, Content-Type, Authorization";
        assert_eq!(headers["access-control-allow-headers"], allowed);
    }
    let (_, headers, _) = site.send(request("GET", "/", "")).await;
    assert!(!headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let read = Some(Rate {
        per_second: 0.5,
        burst: 2,
    });
    let site = site(Options {
        read,
        ..Options::default()
    })
    .await;
    let path = "/_matrix/client/v3/capabilities";
    for _ in 0..2 {
        assert_eq!(site.json(request("GET", path, "")).await.0, 200);
    }
    let (status, headers, body) = site.send(request("GET", path, "")).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (status.as_u16(), &headers["retry-after"]),
        (429, &"2".parse().unwrap())
    );
    assert_eq!(body["errcode"], "M_LIMIT_EXCEEDED");
    assert_eq!(body["retry_after_ms"], 2000);

    let search = "/_matrix/test/alias/%23a:example.org";
    assert_eq!(site.fails(request("GET", search, "")).await.0, 404);
    let (status, headers, _) = site.send(request("GET", search, "")).await;
    assert_eq!(
        (status.as_u16(), &headers["retry-after"]),
        (429, &"3".parse().unwrap())
    );
}

#[tokio::test]
async fn extra_fields_and_other_codes_reach_the_client() {
    let site = site(Options::default()).await;
    let body = r#"{"type":"m.login.password","password":"p","identifier":{"type":"m.id.user","user":"u"}}"#;
    for (peer, client) in [("192.0.2.1:1", "192.0.2.1"), ("10.0.0.1:1", "203.0.113.9")] {
        let mut login = request("POST", "/_matrix/test/login", body);
        let peer: SocketAddr = peer.parse().unwrap();
        login.extensions_mut().insert(ConnectInfo(peer));
        login
            .headers_mut()
            .insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
        let (status, body) = site.json(login).await;
        assert_eq!(
            (status, &body["errcode"]),
            (403, &"ORG_MATRIX_EXPIRED_ACCOUNT".into())
        );
        assert_eq!(body["address"], client);
    }
}

#[tokio::test]
async fn request_ids_are_made_or_taken_over() {
    let site = site(Options::default()).await;
    for (given, taken) in [
        (None, false),
        (Some("abc-1.2_3"), true),
        (Some("a b"), false),
    ] {
        let mut request = request("GET", WHOAMI, "");
        if let Some(given) = given {
            request
                .headers_mut()
                .insert("x-request-id", given.parse().unwrap());
        }
        let (_, headers, _) = site.send(request).await;
        let id = headers["x-request-id"].to_str().unwrap();
        assert_eq!(Some(id) == given, taken, "{id}");
        assert!(!id.is_empty());
    }
}

#[tokio::test]
async fn long_text_is_compressed_for_those_who_ask() {
    let site = site(Options::default()).await;
    let cases = [
        ("/short", true, false),
        ("/long", true, true),
        ("/long", false, false),
    ];
    for (path, asks, compressed) in cases.into_iter().chain([("/image", true, false)]) {
        let mut request = request("GET", path, "");
        if asks {
            request
                .headers_mut()
                .insert("accept-encoding", "gzip, br".parse().unwrap());
        }
        let (_, headers, body) = site.send(request).await;
        assert_eq!(
            headers.contains_key("content-encoding"),
            compressed,
            "{path}"
        );
        assert_eq!(body.len() < 1000, compressed, "{path}");
    }
}

#[tokio::test]
async fn a_panic_is_answered_and_the_next_request_is_served() {
    let site = site(Options::default()).await;
    let path = "/_matrix/test/profile/@camille:example.org";
    let found = site.fails(request("GET", path, "")).await;
    assert_eq!(found, (500, "M_UNKNOWN".to_owned()));
    assert_eq!(site.json(request("GET", WHOAMI, "")).await.0, 200);
    let seen = site.seen.lock().unwrap().clone();
    let route = "/_matrix/test/profile/{user_id}".to_owned();
    assert_eq!(seen, [(route, 500), (WHOAMI.to_owned(), 200)]);
}

#[tokio::test]
async fn a_busy_server_sheds_requests_and_keeps_long_polls() {
    let settings = HttpSettings {
        max_in_flight: 1,
        max_long_polls: 1,
        ..HttpSettings::default()
    };
    let site = site(Options {
        settings,
        ..Options::default()
    })
    .await;
    let mut work = pinned(
        site.router
            .clone()
            .oneshot(request("GET", "/_matrix/wait", "")),
    );
    let mut poll = pinned(
        site.router
            .clone()
            .oneshot(request("GET", "/_matrix/sync", "")),
    );
    assert!(futures_util::poll!(&mut work).is_pending());
    assert!(futures_util::poll!(&mut poll).is_pending());
    assert_eq!(site.state.free_places(), (0, 0));
    for path in [WHOAMI, "/_matrix/sync"] {
        let (status, headers, _) = site.send(request("GET", path, "")).await;
        assert_eq!(
            (status.as_u16(), &headers["retry-after"]),
            (503, &"2".parse().unwrap())
        );
    }
    // Those who look after the server get through.
    assert_eq!(site.json(request("GET", "/health/live", "")).await.0, 200);
    site.go.notify_waiters();
    assert_eq!(work.await.unwrap().status(), 200);
    assert_eq!(poll.await.unwrap().status(), 200);
    assert_eq!(site.json(request("GET", WHOAMI, "")).await.0, 200);
}

/// A future that can be polled by hand.
fn pinned<F: Future>(future: F) -> std::pin::Pin<Box<F>> {
    Box::pin(future)
}

#[tokio::test]
async fn a_slow_request_is_given_up_and_a_long_poll_is_not() {
    let settings = HttpSettings {
        request_timeout: Duration::from_millis(1),
        ..HttpSettings::default()
    };
    let site = site(Options {
        settings,
        ..Options::default()
    })
    .await;
    let mut poll = pinned(site.send(request("GET", "/_matrix/sync", "")));
    assert!(futures_util::poll!(&mut poll).is_pending());
    let found = site.fails(request("GET", "/_matrix/wait", "")).await;
    assert_eq!(found, (504, "M_UNKNOWN".to_owned()));
    assert!(futures_util::poll!(&mut poll).is_pending());
    site.go.notify_waiters();
    assert_eq!(poll.await.0, 200);
}

#[tokio::test]
async fn health_says_what_is_wrong() {
    let readiness = Readiness::default()
        .with("database", async || Ok(()))
        .with("disk", async || Err("full".to_owned()));
    let ill = site(Options {
        readiness,
        ..Options::default()
    })
    .await;
    let checks = json!({ "status": "failed", "checks": { "database": "ok", "disk": "full" } });
    assert_eq!(
        ill.json(request("GET", "/health/ready", "")).await,
        (503, checks)
    );
    assert_eq!(ill.json(request("GET", "/health/live", "")).await.0, 200);
    let well = site(Options::default()).await;
    assert_eq!(well.json(request("GET", "/health/ready", "")).await.0, 200);
}

#[tokio::test]
async fn the_server_says_what_it_is() {
    let site = site(Options::default()).await;
    let (_, body) = site
        .json(request("GET", "/.well-known/matrix/client", ""))
        .await;
    let url = "https://matrix.example.org";
    assert_eq!(body, json!({ "m.homeserver": { "base_url": url } }));
    let (_, body) = site
        .json(request("GET", "/.well-known/matrix/server", ""))
        .await;
    assert_eq!(body, json!({ "m.server": "matrix.example.org:443" }));
    let found = site
        .fails(request("GET", "/.well-known/matrix/support", ""))
        .await;
    assert_eq!(found, (404, "M_NOT_FOUND".to_owned()));

    let (_, body) = site
        .json(request("GET", "/_matrix/client/versions", ""))
        .await;
    assert!(
        body["versions"]
            .as_array()
            .unwrap()
            .contains(&"v1.1".into())
    );
    let (_, body) = site
        .json(request("GET", "/_matrix/client/v3/capabilities", ""))
        .await;
    let versions = &body["capabilities"]["m.room_versions"];
    assert_eq!(
        (&versions["default"], &versions["available"]["1"]),
        (&"12".into(), &"stable".into())
    );
    assert_eq!(body["capabilities"]["m.get_login_token"]["enabled"], false);

    let (_, headers, body) = site.send(request("GET", "/metrics", "")).await;
    assert_eq!(body, "chappe_up 1\n");
    assert_eq!(
        headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    for (language, said) in [("fr", "fonctionne"), ("en-GB, fr;q=0.5", "It works")] {
        let mut request = request("GET", "/", "");
        let headers = request.headers_mut();
        headers.insert("accept-language", language.parse().unwrap());
        let (status, headers, body) = site.send(request).await;
        let body = String::from_utf8_lossy(&body);
        assert_eq!(status, 200);
        assert!(headers.contains_key("content-security-policy"));
        for said in [said, "matrix.example.org", "0.1.0"] {
            assert!(body.contains(said), "{language} {said}: {body}");
        }
    }
}

/// A server on a port of its own.
async fn start(site: &Site, settings: ServerSettings) -> (String, Stop) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let token = CancellationToken::new();
    let server = Server::new(&settings).serve(listener, site.router.clone(), token.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(server);
    (format!("http://{address}"), Stop { token, tasks })
}

struct Stop {
    token: CancellationToken,
    tasks: tokio::task::JoinSet<()>,
}

impl Stop {
    async fn stopped(mut self) {
        self.tasks.join_next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_stopping_server_finishes_what_it_began() {
    let site = site(Options::default()).await;
    let (url, stop) = start(&site, ServerSettings::default()).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let slow = client.get(format!("{url}/_matrix/sync")).send();
    let mut slow = pinned(slow);
    // The request is under way once its place is taken.
    let places = site.state.free_places().1;
    while site.state.free_places().1 == places {
        assert!(futures_util::poll!(&mut slow).is_pending());
        tokio::task::yield_now().await;
    }
    stop.token.cancel();
    let token = stop.token.clone();
    let mut stopped = pinned(stop.stopped());
    while client
        .get(format!("{url}/health/live"))
        .send()
        .await
        .is_ok()
    {
        assert!(futures_util::poll!(&mut stopped).is_pending());
    }
    assert!(token.is_cancelled());
    site.go.notify_waiters();
    assert_eq!(slow.await.unwrap().text().await.unwrap(), "done");
    stopped.await;
}

#[tokio::test]
async fn a_stopping_server_does_not_wait_for_ever() {
    let site = site(Options::default()).await;
    let settings = ServerSettings {
        grace: Duration::ZERO,
        ..ServerSettings::default()
    };
    let (url, stop) = start(&site, settings).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut slow = pinned(client.get(format!("{url}/_matrix/sync")).send());
    let places = site.state.free_places().1;
    while site.state.free_places().1 == places {
        assert!(futures_util::poll!(&mut slow).is_pending());
        tokio::task::yield_now().await;
    }
    stop.token.cancel();
    stop.stopped().await;
    assert!(slow.await.is_err());
}

#[test]
fn large_heads_are_refused_over_the_wire() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let site = runtime.block_on(site(Options::default()));
    let (url, stop) = runtime.block_on(start(&site, ServerSettings::default()));
    let ask = |header: usize| {
        let address = url.strip_prefix("http://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let head = format!(
            "GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: {}\r\n\r\n",
            "x".repeat(header)
        );
        // The server may answer and hang up before it has read all.
        drop(std::io::Write::write_all(&mut stream, head.as_bytes()));
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    };
    assert_eq!(ask(1000), "HTTP/1.1 200");
    assert_eq!(ask(40_000), "HTTP/1.1 431");
    stop.token.cancel();
    runtime.block_on(stop.stopped());
}
#[test]
fn the_server_speaks_http_2_without_tls() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let site = runtime.block_on(site(Options::default()));
    let (url, stop) = runtime.block_on(start(&site, ServerSettings::default()));
    let mut stream = std::net::TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let empty_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &empty_settings[..]].concat();
    std::io::Write::write_all(&mut stream, &hello).unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "a frame of settings");
    drop(stream);
    stop.token.cancel();
    runtime.block_on(stop.stopped());
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = ServerSettings {
        header_timeout: Duration::from_millis(1),
        ..ServerSettings::default()
    };
    let site = runtime.block_on(site(Options::default()));
    let (url, stop) = runtime.block_on(start(&site, settings));
    for begin in ["", "PRI * HT", "GET / HTTP/1.1\r\nhost: "] {
        let address = url.strip_prefix("http://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        drop(std::io::Write::write_all(&mut stream, begin.as_bytes()));
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => (),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    stop.token.cancel();
    runtime.block_on(stop.stopped());
}
