//! `/_synapse/admin/v1/send_server_notice`: what the operator's tools tell users.
//!
//! The endpoint of Synapse's admin API that Tchap's tools call (tchap.md 10.1; 12, row 33). An
//! unknown user is a 404.

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    routing::{post, put},
};
use ruma::{OwnedTransactionId, TransactionId, events::TimelineEventType};
use serde_json::{Value, json, value::to_raw_value};

use super::{
    AppState,
    error::ApiError,
    plain::{self, Plain},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    const PATH: &str = "/_synapse/admin/v1/send_server_notice";
    Router::new()
        .route(PATH, post(send))
        .route(&format!("{PATH}/{{txn_id}}"), put(send_once))
}

/// `POST /_synapse/admin/v1/send_server_notice`.
async fn send(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    let transaction_id = OwnedTransactionId::from(state.random.alphanumeric(16));
    answer(&state, request, &transaction_id).await
}

/// `PUT /_synapse/admin/v1/send_server_notice/{txnId}`.
async fn send_once(
    State(state): State<AppState>,
    Path(transaction_id): Path<String>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    answer(&state, request, &OwnedTransactionId::from(transaction_id)).await
}

async fn answer(
    state: &AppState,
    request: Request,
    transaction_id: &TransactionId,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(state, request).await?;
    let to = request.text("user_id")?;
    let to = to.ok_or_else(|| ApiError::missing_param("Missing parameter: user_id"))?;
    let to = plain::user_id(to)?;
    let event_type = request.text("type")?.unwrap_or("m.room.message");
    let content = request.required("content")?;
    if !content.is_object() {
        return Err(ApiError::invalid_param("content is not an object"));
    }
    let content = to_raw_value(content).map_err(|error| ApiError::bad_json(error.to_string()))?;
    let event_type = TimelineEventType::from(event_type);
    let event_id = state
        .notices
        .send(
            &to,
            event_type,
            &content,
            transaction_id,
            request.sender.device(),
        )
        .await?;
    Ok(Json(json!({ "event_id": event_id })))
}
