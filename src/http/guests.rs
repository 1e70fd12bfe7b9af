//! What guest accounts may ask for: what the specification lists, and nothing else (v1.19,
//! client-server API, "Guest Access").
//!
//! Two operations are added: joining by alias, since clients join by that path what they could join
//! by the other one, and logging out.

use axum::extract::MatchedPath;
use http::{Method, Request};

/// Endpoints, without their version, by method. One that ends with a slash stands for all below it.
const GET: &[&str] = &[
    "account/whoami",
    "devices",
    "devices/",
    "events",
    "media/download/",
    "media/thumbnail/",
    "sync",
];
const GET_IN_ROOM: &[&str] = &[
    "context/",
    "event/",
    "initialSync",
    "members",
    "messages",
    "state",
    "state/",
];
const POST: &[&str] = &[
    "join/",
    "keys/claim",
    "keys/query",
    "keys/upload",
    "logout",
    "logout/all",
];
const POST_IN_ROOM: &[&str] = &["join", "leave"];
const PUT: &[&str] = &["devices/", "sendToDevice/"];
const PUT_IN_ROOM: &[&str] = &["send/", "state/"];

/// Whether a guest may send this request.
pub(super) fn may_use(request: &Request<()>) -> bool {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", MatchedPath::as_str);
    may(request.method(), route, request.uri().path())
}

fn may(method: &Method, route: &str, path: &str) -> bool {
    let Some(endpoint) = route
        .strip_prefix("/_matrix/client/")
        .and_then(|rest| rest.split_once('/'))
        .map(|(_version, endpoint)| endpoint)
    else {
        return false;
    };
    let in_room = endpoint
        .strip_prefix("rooms/")
        .and_then(|room| room.split_once('/'))
        .map(|(_room, endpoint)| endpoint);
    let is_named = path.ends_with("/displayname") && endpoint.starts_with("profile/");
    match (method, in_room) {
        (&Method::GET | &Method::HEAD, None) => is_among(GET, endpoint),
        (&Method::GET | &Method::HEAD, Some(endpoint)) => is_among(GET_IN_ROOM, endpoint),
        (&Method::POST, None) => is_among(POST, endpoint),
        (&Method::POST, Some(endpoint)) => is_among(POST_IN_ROOM, endpoint),
        (&Method::PUT, None) => is_named || is_among(PUT, endpoint),
        (&Method::PUT, Some(endpoint)) => is_among(PUT_IN_ROOM, endpoint),
        (&Method::DELETE, None) => is_named,
        _ => false,
    }
}

fn is_among(listed: &[&str], endpoint: &str) -> bool {
    listed.iter().any(|one| {
        if one.ends_with('/') {
            endpoint.starts_with(one)
        } else {
            endpoint == *one
        }
    })
}
