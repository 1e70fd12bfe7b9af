//! What every request passes before its handler: one function, since each layer of its own would
//! cost another allocation and another clone per request.
//!
//! In this order: the answer to `OPTIONS`; the request's id, span and client address; load
//! shedding; the time limit and the net for panics; CORS headers, also on errors; the observer.
//! Compression stands around all of it.
//!
//! Specification v1.19, client-server API, "Web browser clients".

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{MatchedPath, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        CACHE_CONTROL, CONTENT_TYPE,
    },
};
use ipnet::IpNet;
use ruma::api::error::ErrorCode;
use tokio::{sync::Semaphore, time::Instant};
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, Predicate},
};
use tracing::{Instrument as _, field::Empty};

use super::{
    AppState, audit::Watch, client::rendezvous::RENDEZVOUS, error::ApiError, peer::ClientAddress,
};
use crate::random::Random;

/// The id of a request, in its logs and its answer.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The most letters of a request id that somebody else chose.
const MAX_REQUEST_ID: usize = 64;

/// How many requests are worked on at once.
pub(super) struct Gates {
    requests: Semaphore,
    long_polls: Semaphore,
}

impl Gates {
    pub(super) fn new(requests: usize, long_polls: usize) -> Self {
        let gate = |permits: usize| Semaphore::new(permits.min(Semaphore::MAX_PERMITS));
        Self {
            requests: gate(requests),
            long_polls: gate(long_polls),
        }
    }

    /// How many more requests, and how many more long polls, would be let in.
    pub(super) fn free(&self) -> (usize, usize) {
        let Self {
            requests,
            long_polls,
        } = self;
        (requests.available_permits(), long_polls.available_permits())
    }
}

/// Puts the layers around all routes of `router`, and around its fallbacks.
pub(super) fn wrap(
    router: Router<AppState>,
    state: &AppState,
    trusted_proxies: &[IpNet],
) -> Router<AppState> {
    let stack = Stack {
        state: state.clone(),
        trusted_proxies: trusted_proxies.into(),
    };
    let compression = CompressionLayer::new()
        .gzip(true)
        .quality(CompressionLevel::Fastest)
        .compress_when(WorthCompressing {
            from: state.settings.compress_from_bytes,
        });
    router
        .layer(from_fn_with_state(stack, around))
        .layer(compression)
}

#[derive(Clone)]
struct Stack {
    state: AppState,
    trusted_proxies: Arc<[IpNet]>,
}

async fn around(State(stack): State<Stack>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers(), &stack.state.random);
    let is_options = request.method() == Method::OPTIONS;
    let method = method(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let is_api = is_api(request.uri().path());
    let is_rendezvous = request.uri().path().starts_with(RENDEZVOUS);

    let mut response = if is_api && is_options {
        preflight()
    } else {
        let extensions = request.extensions();
        let address = ClientAddress::find(extensions, request.headers(), &stack.trusted_proxies);
        request.extensions_mut().insert(address);
        let watch = Watch::begin(&mut request, method);
        let span = tracing::info_span!(
            "http.client",
            endpoint = Empty,
            method,
            route,
            request.id = id.to_str().unwrap_or_default(),
        );
        let mut response = guard(&stack.state, route, request, next)
            .instrument(span)
            .await;
        watch.end(&stack.state.audit, &id, &mut response);
        response
    };

    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    if is_api {
        allow_browsers(headers, is_rendezvous);
        // Answers are for those who asked, at the moment when they did, unless they say otherwise.
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
    let status = response.status().as_u16();
    (stack.state.observer)(route, method, status, begun.elapsed());
    response
}

/// The method's name; anybody can send any other word, which must not make a measure of its own.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// Lets a request through if there is room, and makes sure that it is answered.
async fn guard(state: &AppState, route: &str, request: Request, next: Next) -> Response {
    let polls = is_long_poll(route);
    let gates = state.gates();
    let gate = if polls {
        &gates.long_polls
    } else {
        &gates.requests
    };
    let Ok(_pass) = gate.try_acquire() else {
        return ApiError::unavailable().into_response();
    };
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answer = if polls {
        answer.await
    } else {
        let Ok(answer) = tokio::time::timeout(state.settings.request_timeout, answer).await else {
            tracing::warn!("request took too long");
            return too_slow().into_response();
        };
        answer
    };
    answer.unwrap_or_else(|_| {
        // What it panicked with is left out: it may quote the request.
        tracing::error!("request panicked");
        ApiError::unknown().into_response()
    })
}

fn too_slow() -> ApiError {
    let status = StatusCode::GATEWAY_TIMEOUT;
    ApiError::new(status, ErrorCode::Unknown, "The request took too long")
}

/// Whether a request waits for news, and so may take long without working.
fn is_long_poll(route: &str) -> bool {
    route.ends_with("/sync") || route.ends_with("/events") || moves_files(route)
}

/// Whether a request takes as long as its file needs, or waits for a file that is still to come.
fn moves_files(route: &str) -> bool {
    let is_media = route.starts_with("/_matrix/media/")
        || route.starts_with("/_matrix/client/v1/media/")
        || route.starts_with("/_matrix/media_proxy/");
    is_media
        && ["/upload", "/download", "/thumbnail/", "/scan"]
            .iter()
            .any(|part| route.contains(part))
}

/// Whether the specification's rules for browsers apply. Pages are not for other sites' scripts.
fn is_api(path: &str) -> bool {
    path.starts_with("/_matrix/") || path.starts_with("/.well-known/matrix/")
}

/// The answer to `OPTIONS`, which runs nothing of the endpoint.
fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    // A browser asks once a day and not before each request.
    let day = HeaderValue::from_static("86400");
    response.headers_mut().insert(ACCESS_CONTROL_MAX_AGE, day);
    response
}

fn allow_browsers(headers: &mut HeaderMap, is_rendezvous: bool) {
    const ORIGIN: HeaderValue = HeaderValue::from_static("*");
    const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS");
    const HEADERS: HeaderValue =
        HeaderValue::from_static("X-Requested-With, Content-Type, Authorization");
    // MSC4108: two devices see by them who wrote last.
    const CONDITIONS: HeaderValue = HeaderValue::from_static(
        "X-Requested-With, Content-Type, Authorization, If-Match, If-None-Match",
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if is_rendezvous {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, CONDITIONS);
        let exposed = HeaderValue::from_static("ETag");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    } else {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    }
}

/// The id that a proxy gave the request, if it is harmless, or a new one.
fn request_id(headers: &HeaderMap, random: &Random) -> HeaderValue {
    if let Some(id) = headers.get(REQUEST_ID).filter(|id| is_harmless(id)) {
        return id.clone();
    }
    HeaderValue::try_from(random.alphanumeric(16)).unwrap_or(HeaderValue::from_static("-"))
}

fn is_harmless(id: &HeaderValue) -> bool {
    let is_harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(is_harmless)
}

/// Text of a known length that is long enough. Streams, images and what can be had in parts pass as
/// they are: a part is one of the bytes that the whole has.
#[derive(Clone)]
struct WorthCompressing {
    from: u64,
}

impl Predicate for WorthCompressing {
    fn should_compress<B: HttpBody>(&self, response: &http::Response<B>) -> bool {
        let is_text = |kind: &HeaderValue| {
            let kind = kind.as_bytes();
            kind.starts_with(b"application/json") || kind.starts_with(b"text/")
        };
        let is_long = |length: u64| length >= self.from;
        !response.headers().contains_key(ACCEPT_RANGES)
            && response.body().size_hint().exact().is_some_and(is_long)
            && response.headers().get(CONTENT_TYPE).is_some_and(is_text)
    }
}
