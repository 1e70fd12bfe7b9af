//! `/rooms/{roomId}/receipt` and `/read_markers`: how far people have read.
//!
//! Specification v1.19, client-server API, "Receipts" and "Read and unread markers".

use axum::{Router, extract::State};
use ruma::api::client::{
    read_marker::set_read_marker,
    receipt::create_receipt::{self, v3::ReceiptType},
};

use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::{Actor, ReadMarkers, ReceiptKind, Rooms},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint(create).endpoint(set_markers)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`.
async fn create(
    State(rooms): State<Rooms>,
    request: Ruma<create_receipt::v3::Request>,
) -> Result<create_receipt::v3::Response, ApiError> {
    let body = request.body;
    let reader = Actor::from(&*request.sender);
    let kind = match body.receipt_type {
        ReceiptType::Read => ReceiptKind::Read,
        ReceiptType::ReadPrivate => ReceiptKind::ReadPrivate,
        ReceiptType::FullyRead => ReceiptKind::FullyRead,
        _ => return Err(ApiError::invalid_param("Unknown receipt type")),
    };
    let thread = body.thread.as_str();
    rooms
        .mark_read(&reader, &body.room_id, kind, &body.event_id, thread)
        .await?;
    Ok(create_receipt::v3::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/read_markers`.
async fn set_markers(
    State(rooms): State<Rooms>,
    request: Ruma<set_read_marker::v3::Request>,
) -> Result<set_read_marker::v3::Response, ApiError> {
    let body = request.body;
    let reader = Actor::from(&*request.sender);
    let markers = ReadMarkers {
        fully_read: body.fully_read,
        read: body.read_receipt,
        read_private: body.private_read_receipt,
    };
    rooms
        .set_read_markers(&reader, &body.room_id, &markers)
        .await?;
    Ok(set_read_marker::v3::Response::new())
}
