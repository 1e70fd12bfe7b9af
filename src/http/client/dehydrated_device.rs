//! `/dehydrated_device`: a device that collects messages while nobody is logged in.
//!
//! MSC3814, under its unstable path.

use std::fmt::Write as _;

use axum::{Router, extract::State, response::Response};
use ruma::api::client::dehydrated_device::{
    delete_dehydrated_device, get_dehydrated_device, get_events, put_dehydrated_device,
};
use serde_json::{json, value::RawValue};

use super::{keys::session_keys, raw};
use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    keys::{Keys, NewDehydrated, Upload},
    rooms::Actor,
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(put)
        .endpoint_raw(&[], get)
        .endpoint(delete)
        .endpoint_raw(&[], events)
}

/// `PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`.
async fn put(
    State(keys): State<Keys>,
    request: Ruma<put_dehydrated_device::unstable::Request>,
) -> Result<put_dehydrated_device::unstable::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let device_data = body.device_data.json().get();
    if !device_data.trim_start().starts_with('{') {
        return Err(ApiError::bad_json("The device data is an object"));
    }
    let new = NewDehydrated {
        device_id: body.device_id.clone(),
        display_name: body.initial_device_display_name,
        device_data: device_data.to_owned(),
        keys: Upload {
            device_keys: Some(body.device_keys.json().get().to_owned()),
            one_time_keys: session_keys(body.one_time_keys),
            fallback_keys: session_keys(body.fallback_keys),
        },
    };
    keys.dehydrate(&actor, new).await?;
    let device_id = body.device_id;
    Ok(put_dehydrated_device::unstable::Response::new(device_id))
}

/// `GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`.
async fn get(
    State(keys): State<Keys>,
    request: Ruma<get_dehydrated_device::unstable::Request>,
) -> Result<Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let device = keys.dehydrated(&actor).await?;
    let device_data: Option<&RawValue> = serde_json::from_str(&device.device_data).ok();
    let document = json!({ "device_id": device.device_id, "device_data": device_data });
    Ok(raw::json(document.to_string()))
}

/// `DELETE /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`.
async fn delete(
    State(keys): State<Keys>,
    request: Ruma<delete_dehydrated_device::unstable::Request>,
) -> Result<delete_dehydrated_device::unstable::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let device_id = keys.delete_dehydrated(&actor).await?;
    Ok(delete_dehydrated_device::unstable::Response::new(device_id))
}

/// `POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events`.
async fn events(
    State(keys): State<Keys>,
    request: Ruma<get_events::unstable::Request>,
) -> Result<Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let since = body.next_batch.as_deref();
    let (batch, has_more) = keys
        .dehydrated_messages(&actor, body.device_id.as_str(), since)
        .await?;
    let mut out = format!("{{\"events\":{}", raw::array(&batch.events));
    // A client that gets no events is at the end; until then it has to ask again.
    if has_more || !batch.events.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(out, ",\"next_batch\":\"d{}\"", batch.until);
    }
    out.push('}');
    Ok(raw::json(out))
}
