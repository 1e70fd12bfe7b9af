//! `/presence`: who is there.
//!
//! Specification v1.19, client-server API, "Presence".

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse as _, Response},
};
use ruma::api::client::presence::{get_presence, set_presence};

use super::raw::require_self;
use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::Actor,
    sync::presence_content,
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint(set).endpoint_raw(&[], get)
}

/// `PUT /_matrix/client/v3/presence/{userId}/status`.
async fn set(
    State(state): State<AppState>,
    request: Ruma<set_presence::v3::Request>,
) -> Result<set_presence::v3::Response, ApiError> {
    let body = request.body;
    require_self(&request.sender, &body.user_id)?;
    let actor = Actor::from(&*request.sender);
    state
        .sync
        .presence()
        .set(&actor, body.presence, body.status_msg)
        .map_err(|error| ApiError::invalid_param(error.to_string()))?;
    Ok(set_presence::v3::Response::new())
}

/// `GET /_matrix/client/v3/presence/{userId}/status`. Who shares no room with somebody does not
/// learn whether there is such a user.
async fn get(
    State(state): State<AppState>,
    request: Ruma<get_presence::v3::Request>,
) -> Result<Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let presence = state.sync.presence();
    let shown = presence.seen_by(&actor, &request.body.user_id).await?;
    let shown = shown.ok_or_else(|| ApiError::forbidden("You share no room with this user"))?;
    let content = presence_content(&shown, presence.now());
    Ok(Json(content).into_response())
}
