//! The identity service API, and Tchap's extensions of it, on the same addresses as all else.
//!
//! Specification v1.19, identity service API; tchap.md 2.1, 5 and 12. The paths of version 1 that
//! Tchap's clients call are served too, with the authentication of version 2: without any, they
//! would let everybody invite themselves.

mod account;
mod association;
mod info;
mod invitation;
mod key;
mod lookup;
pub(super) mod request;
mod validation;

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use super::AppState;

/// The versions whose endpoints are there.
const VERSIONS: &[&str] = &["r0.2.0", "r0.3.0", "v1.1", "v1.2", "v1.18", "v1.19"];

/// Every endpoint that clients ask.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/_matrix/identity/versions", get(versions))
        .route("/_matrix/identity/v2", get(ping))
        .route("/_matrix/identity/api/v1", get(ping))
        .merge(account::routes())
        .merge(association::routes())
        .merge(info::routes())
        .merge(invitation::routes())
        .merge(key::routes())
        .merge(lookup::routes())
        .merge(validation::routes())
}

/// Every endpoint that other servers of the same deployment ask.
pub(super) fn internal_routes() -> Router<AppState> {
    Router::new()
        .merge(info::internal_routes())
        .merge(association::internal_routes())
}

/// `GET /_matrix/identity/versions`.
async fn versions() -> Json<Value> {
    Json(json!({ "versions": VERSIONS }))
}

/// `GET /_matrix/identity/v2`: that there is an identity service.
async fn ping() -> Json<Value> {
    Json(json!({}))
}
