//! `/.well-known/matrix/client`, `server` and `support`, as configured. There is no policy server
//! here, of which `policy_server` would tell.
//!
//! Specification v1.19, client-server API, "Server discovery"; server-server API, "Server
//! discovery".

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::HeaderMap;
use ruma::{ServerName, api::client::discovery::discover_support::Contact};
use serde_json::{Value, json};
use url::Url;

use super::{
    AppState,
    document::{Document, Freshness},
    error::ApiError,
};

/// The three documents, written once. What is not configured is answered 404.
#[derive(Clone, Debug, Default)]
pub struct WellKnown {
    client: Option<Document>,
    server: Option<Document>,
    support: Option<Document>,
}

impl WellKnown {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where clients reach the server, its identity service, and the services that give out places
    /// on `LiveKit` servers.
    #[must_use]
    pub fn with_client(
        mut self,
        base_url: &Url,
        identity_server: Option<&Url>,
        livekit_services: &[Url],
    ) -> Self {
        let mut document = json!({ "m.homeserver": { "base_url": bare(base_url) } });
        if let Some(url) = identity_server {
            document["m.identity_server"] = json!({ "base_url": bare(url) });
        }
        if !livekit_services.is_empty() {
            // As clients look for it that do not ask for the transports yet.
            document["org.matrix.msc4143.rtc_foci"] = rtc_transports(livekit_services).into();
        }
        self.client = Some(written(&document));
        self
    }

    /// The host and port that other servers connect to.
    #[must_use]
    pub fn with_server(mut self, server: &ServerName) -> Self {
        self.server = Some(written(&json!({ "m.server": server })));
        self
    }

    /// Whom to ask for help. Without contacts and without a page, nothing.
    #[must_use]
    pub fn with_support(mut self, contacts: &[Contact], page: Option<&Url>) -> Self {
        let mut document = serde_json::Map::new();
        if !contacts.is_empty() {
            document.insert("contacts".to_owned(), json!(contacts));
        }
        if let Some(page) = page {
            document.insert("support_page".to_owned(), json!(page));
        }
        self.support = (!document.is_empty()).then(|| written(&Value::Object(document)));
        self
    }
}

pub(super) fn routes() -> Router<AppState> {
    let client = async |State(state): State<AppState>, headers: HeaderMap| {
        answer(state.well_known.client.as_ref(), &headers)
    };
    let server = async |State(state): State<AppState>, headers: HeaderMap| {
        answer(state.well_known.server.as_ref(), &headers)
    };
    let support = async |State(state): State<AppState>, headers: HeaderMap| {
        answer(state.well_known.support.as_ref(), &headers)
    };
    let policy = async |headers: HeaderMap| answer(None, &headers);
    Router::new()
        .route("/.well-known/matrix/policy_server", get(policy))
        .route("/.well-known/matrix/client", get(client))
        .route("/.well-known/matrix/server", get(server))
        .route("/.well-known/matrix/support", get(support))
}

/// Where calls of several people meet, as clients are told (MSC4143, MSC4195).
pub(super) fn rtc_transports(livekit_services: &[Url]) -> Vec<Value> {
    let services = livekit_services.iter();
    let transport = |url: &Url| json!({ "type": "livekit", "livekit_service_url": bare(url) });
    services.map(transport).collect()
}

fn answer(document: Option<&Document>, headers: &HeaderMap) -> Response {
    match document {
        Some(document) => document.answer(headers, Freshness::Hour),
        None => ApiError::not_found("Not configured").into_response(),
    }
}

fn written(document: &Value) -> Document {
    Document::new(document.to_string())
}

/// Clients put paths behind it.
fn bare(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}
