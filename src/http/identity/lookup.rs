//! Finding people by their addresses.
//!
//! Specification v1.19, identity service API, "Association lookup".

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::request::{Parameters, holder};
use crate::http::{ApiError, AppState, Kind};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/_matrix/identity/v2/hash_details", get(hash_details))
        .route("/_matrix/identity/v2/lookup", post(look_up))
}

/// `GET /_matrix/identity/v2/hash_details`.
async fn hash_details(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    holder(&state, request).await?;
    let details = state.identity.hash_details().await?;
    Ok(Json(json!({
        "lookup_pepper": details.pepper,
        "algorithms": details.algorithms,
    })))
}

/// `POST /_matrix/identity/v2/lookup`.
async fn look_up(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    let (holder, request) = holder(&state, request).await?;
    state.limits.check_user(Kind::AddressLookup, holder.user)?;
    let body = Parameters::read(&state, request).await?;
    let (algorithm, pepper) = (body.text("algorithm")?, body.text("pepper")?);
    let addresses = body.texts("addresses")?;
    state.limits.check_lookup(holder.user, addresses.len())?;
    let mappings = state
        .identity
        .look_up(&holder, algorithm, pepper, &addresses)
        .await?;
    Ok(Json(json!({ "mappings": mappings })))
}
