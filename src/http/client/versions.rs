//! `GET /_matrix/client/versions`: what clients can expect of this server.
//!
//! Specification v1.19, client-server API, "API versions".

use axum::{Router, routing::get};
use http::HeaderMap;
use serde_json::json;

use crate::http::{
    AppState,
    document::{Document, Freshness},
};

/// The versions whose mandatory endpoints are there.
///
/// Clients choose paths and features by this list: every path of an endpoint is served, so the older
/// ones cost nothing.
const VERSIONS: &[&str] = &[
    "r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.4.0", "r0.5.0", "r0.6.0", "r0.6.1", "v1.1", "v1.2",
    "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13",
    "v1.14", "v1.15", "v1.16", "v1.17", "v1.18", "v1.19",
];

/// The unstable features that are there.
const UNSTABLE_FEATURES: &[&str] = &[
    "org.matrix.msc3391",
    "org.matrix.msc3814",
    "org.matrix.msc3874",
    "org.matrix.simplified_msc3575",
];

pub(super) fn routes(state: &AppState) -> Router<AppState> {
    let delays = state.rooms.delayed_limits().max_scheduled > 0;
    let subscriptions = state.rooms.thread_subscriptions_notify();
    let qr_sign_in = state.rendezvous.is_on();
    let features = UNSTABLE_FEATURES
        .iter()
        .chain(delays.then_some(&"org.matrix.msc4140"))
        .chain(qr_sign_in.then_some(&"org.matrix.msc4108"))
        // The endpoints are always there. A client that subscribes for its user relies on the push
        // rules.
        .chain(subscriptions.then_some(&"org.matrix.msc4306"))
        .chain(subscriptions.then_some(&"org.matrix.msc4308"))
        .map(|feature| ((*feature).to_owned(), true.into()));
    let features: serde_json::Map<_, _> = features.collect();
    let document = json!({ "versions": VERSIONS, "unstable_features": features });
    let document = Document::new(document.to_string());
    // The same for everybody: a token is not looked at, so that a client with an old one can still
    // find out how to log in.
    let versions = async move |headers: HeaderMap| document.answer(&headers, Freshness::Minutes);
    Router::new().route("/_matrix/client/versions", get(versions))
}
