//! `/devices`: the sender's devices.
//!
//! Specification v1.19, client-server API, "Device management".

use axum::{Router, extract::State, response::Response};
use http::StatusCode;
use ruma::api::client::device::{
    Device, delete_device, delete_devices, get_device, get_devices, update_device,
};

use super::{account::timestamp, raw};
use crate::{
    accounts::Accounts,
    http::{ApiError, AppState, RouterExt as _, Ruma},
    store::devices,
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(list)
        .endpoint(get)
        .endpoint_raw(&[], update)
        .endpoint(delete)
        .endpoint(delete_many)
}

/// `GET /_matrix/client/v3/devices`.
async fn list(
    State(accounts): State<Accounts>,
    request: Ruma<get_devices::v3::Request>,
) -> Result<get_devices::v3::Response, ApiError> {
    let devices = accounts.devices(&request.sender).await?;
    let devices = devices.into_iter().map(format).collect();
    Ok(get_devices::v3::Response::new(devices))
}

/// `GET /_matrix/client/v3/devices/{deviceId}`.
async fn get(
    State(accounts): State<Accounts>,
    request: Ruma<get_device::v3::Request>,
) -> Result<get_device::v3::Response, ApiError> {
    let device = accounts
        .device(&request.sender, &request.body.device_id)
        .await?;
    Ok(get_device::v3::Response::new(format(device)))
}

/// `PUT /_matrix/client/v3/devices/{deviceId}`.
async fn update(
    State(accounts): State<Accounts>,
    request: Ruma<update_device::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let is_new = accounts
        .rename_device(
            &request.sender,
            &body.device_id,
            body.display_name.as_deref(),
        )
        .await?;
    let mut response = raw::json("{}".to_owned());
    if is_new {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// `DELETE /_matrix/client/v3/devices/{deviceId}`.
async fn delete(
    State(accounts): State<Accounts>,
    request: Ruma<delete_device::v3::Request>,
) -> Result<delete_device::v3::Response, ApiError> {
    let body = request.body;
    let client = Some(request.client.address);
    accounts
        .delete_devices(
            &request.sender,
            &[body.device_id],
            body.auth.as_ref(),
            client,
        )
        .await?;
    Ok(delete_device::v3::Response::new())
}

/// `POST /_matrix/client/v3/delete_devices`.
async fn delete_many(
    State(accounts): State<Accounts>,
    request: Ruma<delete_devices::v3::Request>,
) -> Result<delete_devices::v3::Response, ApiError> {
    let body = request.body;
    let client = Some(request.client.address);
    accounts
        .delete_devices(&request.sender, &body.devices, body.auth.as_ref(), client)
        .await?;
    Ok(delete_devices::v3::Response::new())
}

fn format(device: devices::Device) -> Device {
    let mut formatted = Device::new(device.device_id);
    formatted.display_name = device.display_name;
    formatted.last_seen_ip = device.last_seen_ip;
    formatted.last_seen_ts = device.last_seen_ms.map(timestamp);
    formatted
}
