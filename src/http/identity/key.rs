//! The keys that sign invitations.
//!
//! Specification v1.19, identity service API, "Key management".

use axum::{
    Json, Router,
    extract::{Path, Request, State, rejection::PathRejection},
    routing::get,
};
use http::Uri;
use serde_json::{Value, json};

use super::request::{Parameters, limited};
use crate::http::{ApiError, AppState};

pub(super) fn routes() -> Router<AppState> {
    let version = |base: &str| {
        let path = |rest: &str| format!("/_matrix/identity/{base}/pubkey/{rest}");
        Router::new()
            .route(&path("isvalid"), get(is_valid))
            .route(&path("ephemeral/isvalid"), get(is_ephemeral_valid))
            .route(&path("{key_id}"), get(key))
    };
    version("v2").merge(version("api/v1"))
}

/// `GET /_matrix/identity/v2/pubkey/{keyId}`.
async fn key(
    State(state): State<AppState>,
    key_id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Ok(Path(key_id)) = key_id else {
        return Err(ApiError::invalid_param("The path is not UTF-8"));
    };
    let key = state.identity.public_key(&key_id)?;
    Ok(Json(json!({ "public_key": key })))
}

/// `GET /_matrix/identity/v2/pubkey/isvalid`.
async fn is_valid(State(state): State<AppState>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let parameters = Parameters::of_query(&uri);
    let valid = state.identity.is_key_valid(parameters.text("public_key")?);
    Ok(Json(json!({ "valid": valid })))
}

/// `GET /_matrix/identity/v2/pubkey/ephemeral/isvalid`.
async fn is_ephemeral_valid(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let parameters = Parameters::of_query(request.uri());
    limited(&state, request).await?;
    let key = parameters.text("public_key")?;
    let valid = state.identity.is_ephemeral_key_valid(key).await?;
    Ok(Json(json!({ "valid": valid })))
}
