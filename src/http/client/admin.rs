//! `/admin`: locking and suspending accounts.
//!
//! Specification v1.19, client-server API, "Server Administration", and the one call that blocks
//! an account and ends its sessions (tchap.md R-03).

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::post,
};
use ruma::api::client::admin::{
    get_user_info::{
        self,
        v3::{ConnectionInfo, DeviceInfo, SessionInfo},
    },
    is_user_locked, is_user_suspended, lock_user, suspend_user,
};
use serde_json::{Value, json};

use super::account::timestamp;
use crate::{
    accounts::{Accounts, Hold},
    http::{
        ApiError, AppState, RouterExt as _, Ruma,
        plain::{Plain, UserIdOfPath},
    },
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(whois)
        .endpoint(is_locked)
        .endpoint(lock)
        .endpoint(is_suspended)
        .endpoint(suspend)
        .route("/_chappe/admin/v1/users/{user_id}/block", post(block))
        .route(
            "/_chappe/admin/v1/users/{user_id}/kill-sessions",
            post(kill_sessions),
        )
        .route(
            "/api/admin/v1/users/{user_id}/kill-sessions",
            post(kill_sessions),
        )
}

/// `GET /_matrix/client/v3/admin/whois/{userId}`: one connection for each device, the last that was
/// seen.
async fn whois(
    State(accounts): State<Accounts>,
    request: Ruma<get_user_info::v3::Request>,
) -> Result<get_user_info::v3::Response, ApiError> {
    let user_id = request.body.user_id;
    let devices = accounts.whois(&request.sender, &user_id).await?;
    let mut response = get_user_info::v3::Response::new();
    response.user_id = Some(user_id);
    for device in devices {
        let mut connection = ConnectionInfo::new();
        connection.ip = device.last_seen_ip;
        connection.last_seen = device.last_seen_ms.map(timestamp);
        connection.user_agent = device.last_seen_user_agent;
        let mut session = SessionInfo::new();
        session.connections = vec![connection];
        let mut info = DeviceInfo::new();
        info.sessions = vec![session];
        let device_id = device.device_id.to_string();
        response.devices.insert(device_id, info);
    }
    Ok(response)
}

/// `GET /_matrix/client/v1/admin/lock/{userId}`.
async fn is_locked(
    State(accounts): State<Accounts>,
    request: Ruma<is_user_locked::v1::Request>,
) -> Result<is_user_locked::v1::Response, ApiError> {
    let user_id = request.body.user_id;
    let holds = accounts.holds(&request.sender, &user_id).await?;
    Ok(is_user_locked::v1::Response::new(holds.is_locked))
}

/// `PUT /_matrix/client/v1/admin/lock/{userId}`.
async fn lock(
    State(accounts): State<Accounts>,
    request: Ruma<lock_user::v1::Request>,
) -> Result<lock_user::v1::Response, ApiError> {
    let (user_id, locked) = (request.body.user_id, request.body.locked);
    accounts
        .set_hold(&request.sender, &user_id, Hold::Lock, locked)
        .await?;
    Ok(lock_user::v1::Response::new(locked))
}

/// `GET /_matrix/client/v1/admin/suspend/{userId}`.
async fn is_suspended(
    State(accounts): State<Accounts>,
    request: Ruma<is_user_suspended::v1::Request>,
) -> Result<is_user_suspended::v1::Response, ApiError> {
    let user_id = request.body.user_id;
    let holds = accounts.holds(&request.sender, &user_id).await?;
    Ok(is_user_suspended::v1::Response::new(holds.is_suspended))
}

/// `PUT /_matrix/client/v1/admin/suspend/{userId}`.
async fn suspend(
    State(accounts): State<Accounts>,
    request: Ruma<suspend_user::v1::Request>,
) -> Result<suspend_user::v1::Response, ApiError> {
    let (user_id, suspended) = (request.body.user_id, request.body.suspended);
    accounts
        .set_hold(&request.sender, &user_id, Hold::Suspension, suspended)
        .await?;
    Ok(suspend_user::v1::Response::new(suspended))
}

/// `POST /_chappe/admin/v1/users/{userId}/block`: locks, and ends all sessions.
async fn block(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let user_id = user_id.parse()?;
    state.accounts.block(&request.sender, &user_id).await?;
    Ok(Json(json!({ "locked": true })))
}

/// `POST /_chappe/admin/v1/users/{userId}/kill-sessions`, also where tools of Tchap look for it.
async fn kill_sessions(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let user_id = user_id.parse()?;
    let accounts = &state.accounts;
    let ended = accounts.end_sessions_by(&request.sender, &user_id).await?;
    Ok(Json(json!({ "user_id": user_id, "sessions_ended": ended })))
}
