//! Binding addresses to users.
//!
//! Specification v1.19, identity service API, "Establishing associations"; tchap.md 12, rows 3
//! and 4.

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::post,
};
use ruma::CanonicalJsonObject;
use serde_json::{Value, json};

use super::request::{Parameters, holder};
use crate::{
    http::{ApiError, AppState},
    identity::Error,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/_matrix/identity/v2/3pid/bind", post(bind))
        .route("/_matrix/identity/v2/3pid/unbind", post(unbind))
}

/// They believe whoever asks, and so are served in a closed network only.
pub(super) fn internal_routes() -> Router<AppState> {
    Router::new()
        .route("/_matrix/identity/internal/bind", post(bind_internal))
        .route("/_matrix/identity/internal/unbind", post(unbind_internal))
}

/// `POST /_matrix/identity/v2/3pid/bind`.
async fn bind(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<CanonicalJsonObject>, ApiError> {
    let (holder, request) = holder(&state, request).await?;
    let body = Parameters::read(&state, request).await?;
    let (sid, secret) = (body.text("sid")?, body.text("client_secret")?);
    let user_id = body.user_id("mxid")?;
    let association = state
        .identity
        .bind(&state.accounts, &holder, sid, secret, &user_id)
        .await?;
    Ok(Json(association))
}

/// `POST /_matrix/identity/v2/3pid/unbind`.
async fn unbind(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    let (holder, request) = holder(&state, request).await?;
    let body = Parameters::read(&state, request).await?;
    let user_id = body.user_id("mxid")?;
    let threepid = body.object("threepid")?;
    require_email(threepid.text("medium")?)?;
    let address = threepid.text("address")?;
    let session = body.optional("sid")?.zip(body.optional("client_secret")?);
    state
        .identity
        .unbind(&state.accounts, &holder, session, &user_id, address)
        .await?;
    Ok(Json(json!({})))
}

/// `POST /_matrix/identity/internal/bind`.
async fn bind_internal(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = Parameters::read(&state, request).await?;
    require_email(body.text("medium")?)?;
    let (address, user_id) = (body.text("address")?, body.user_id("mxid")?);
    state.identity.bind_internal(address, &user_id).await?;
    Ok(Json(json!({})))
}

/// `POST /_matrix/identity/internal/unbind`.
async fn unbind_internal(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = Parameters::read(&state, request).await?;
    require_email(body.text("medium")?)?;
    let (address, user_id) = (body.text("address")?, body.user_id("mxid")?);
    state.identity.unbind_internal(address, &user_id).await?;
    Ok(Json(json!({})))
}

fn require_email(medium: &str) -> Result<(), ApiError> {
    if medium == "email" {
        Ok(())
    } else {
        Err(Error::UnknownMedium.into())
    }
}
