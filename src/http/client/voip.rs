//! What clients need to call each other.
//!
//! Specification v1.19, client-server API, "Voice over IP"; MSC4143 for calls of several people.

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use ruma::api::client::voip::get_turn_server_info;
use serde_json::{Value, json};

use crate::{
    accounts::Reach,
    http::{ApiError, AppState, RouterExt as _, Ruma, plain, well_known},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    let transports = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports";
    Router::new()
        .endpoint_raw(&[], turn_server)
        .route(transports, get(rtc_transports))
}

/// `GET /_matrix/client/v3/voip/turnServer`. Clients take an empty object for "there is none": the
/// specification has no answer for that.
async fn turn_server(
    State(state): State<AppState>,
    request: Ruma<get_turn_server_info::v3::Request>,
) -> Result<Response, ApiError> {
    let credentials = state.calls.turn_credentials(request.sender.user_id());
    let answer = credentials.map_or_else(
        || json!({}),
        |credentials| {
            json!({
                "username": credentials.username,
                "password": credentials.password,
                "uris": credentials.uris,
                "ttl": credentials.lifetime.as_secs(),
            })
        },
    );
    Ok(Json(answer).into_response())
}

/// `GET /_matrix/client/unstable/org.matrix.msc4143/rtc/transports`.
async fn rtc_transports(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    plain::sender(&state, request, Reach::Private).await?;
    let transports = well_known::rtc_transports(state.calls.livekit_service_urls());
    Ok(Json(json!({ "rtc_transports": transports })))
}
