//! `/sendToDevice`: messages to devices.
//!
//! Specification v1.19, client-server API, "Send-to-Device messaging".

use axum::{Router, extract::State};
use ruma::api::client::to_device::send_event_to_device;

use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    keys::Keys,
    rooms::Actor,
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint(send)
}

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`.
async fn send(
    State(keys): State<Keys>,
    request: Ruma<send_event_to_device::v3::Request>,
) -> Result<send_event_to_device::v3::Response, ApiError> {
    let body = request.body;
    let actor = Actor::from(&*request.sender);
    let messages = body
        .messages
        .into_iter()
        .map(|(user_id, contents)| {
            let contents = contents
                .into_iter()
                .map(|(device, content)| (device.to_string(), content.into_json()));
            (user_id, contents.collect())
        })
        .collect();
    let event_type = body.event_type.to_string();
    keys.send_to_device(&actor, &event_type, body.txn_id.as_str(), &messages)
        .await?;
    Ok(send_event_to_device::v3::Response::new())
}
