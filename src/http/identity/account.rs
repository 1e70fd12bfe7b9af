//! Accounts of the identity service, and what people agree to.
//!
//! Specification v1.19, identity service API, "Authentication" and "Terms of service".

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::request::{Parameters, holder, limited, token};
use crate::{
    http::{ApiError, AppState},
    identity::Identity,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/_matrix/identity/v2/account/register", post(register))
        .route("/_matrix/identity/v2/account", get(account))
        .route("/_matrix/identity/v2/account/logout", post(log_out))
        .route("/_matrix/identity/v2/terms", get(terms).post(accept))
}

/// `POST /_matrix/identity/v2/account/register`.
async fn register(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = limited(&state, request).await?;
    let body = Parameters::read(&state, request).await?;
    let server = body.text("matrix_server_name")?;
    let openid = body.text("access_token")?;
    let token = state.identity.register(server, openid).await?;
    Ok(Json(json!({ "token": *token })))
}

/// `GET /_matrix/identity/v2/account`.
async fn account(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    let (holder, _) = holder(&state, request).await?;
    Ok(Json(json!({ "user_id": holder.user_id })))
}

/// `POST /_matrix/identity/v2/account/logout`.
async fn log_out(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    let token = token(&request);
    holder(&state, request).await?;
    state.identity.log_out(&token?).await?;
    Ok(Json(json!({})))
}

/// `GET /_matrix/identity/v2/terms`.
async fn terms(State(identity): State<Identity>) -> Json<Value> {
    let policies: BTreeMap<_, _> = identity
        .terms()
        .iter()
        .map(|terms| {
            let policy = json!({
                "version": terms.version,
                "fr": { "name": terms.name, "url": terms.url_fr },
                "en": { "name": terms.name, "url": terms.url_en },
            });
            (terms.name.as_str(), policy)
        })
        .collect();
    Json(json!({ "policies": policies }))
}

/// `POST /_matrix/identity/v2/terms`. People have agreed to the same when they made their account,
/// so that nothing is refused for want of it.
async fn accept(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    let (holder, request) = holder(&state, request).await?;
    let body = Parameters::read(&state, request).await?;
    let urls = body.texts("user_accepts")?;
    state.identity.accept_terms(&holder, &urls).await?;
    Ok(Json(json!({})))
}
