//! The calls of Synapse's admin API on accounts that tools of Tchap use (tchap.md 10.1).
//!
//! Accounts only: nothing here reads what is in rooms. Fields that this server has no use for are
//! ignored.

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::StatusCode;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    AppState,
    error::ApiError,
    plain::{Plain, UserIdOfPath},
};
use crate::{
    accounts::{AccountChange, AccountView},
    store::{devices::Device, threepids::Threepid},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/_synapse/admin/v2/users/{user_id}", get(view).put(change))
        .route("/_synapse/admin/v2/users/{user_id}/devices", get(devices))
        .route("/_synapse/admin/v1/deactivate/{user_id}", post(deactivate))
        .route(
            "/_synapse/admin/v1/reset_password/{user_id}",
            post(reset_password),
        )
}

/// `GET /_synapse/admin/v2/users/{user_id}`.
async fn view(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let user_id = user_id.parse()?;
    let accounts = &state.accounts;
    let account = accounts.view_account(&request.sender, &user_id).await?;
    Ok(Json(shown(&account)))
}

fn shown(account: &AccountView) -> Value {
    let details = &account.details;
    let threepids: Vec<Value> = account.threepids.iter().map(threepid).collect();
    json!({
        "name": details.user_id,
        "displayname": account.profile.display_name,
        "avatar_url": account.profile.avatar_url,
        "threepids": threepids,
        "admin": details.is_admin,
        "deactivated": details.deactivated_ms.is_some(),
        "erased": details.is_erased,
        "external": details.is_external,
        "locked": account.holds.is_locked,
        "suspended": account.holds.is_suspended,
        "is_guest": false,
        "shadow_banned": false,
        "user_type": details.user_type,
        "creation_ts": details.created_ms,
        "last_seen_ts": account.last_seen_ms,
        "external_ids": [],
    })
}

fn threepid(threepid: &Threepid) -> Value {
    json!({
        "medium": "email",
        "address": threepid.address,
        "validated_at": threepid.validated_ms,
        "added_at": threepid.added_ms,
    })
}

/// `PUT /_synapse/admin/v2/users/{user_id}`: 201 for an account that was made.
async fn change(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Response, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let user_id = user_id.parse()?;
    let text = |name| request.text(name).map(|text| text.map(str::to_owned));
    let change = AccountChange {
        display_name: text("displayname")?,
        avatar_url: text("avatar_url")?,
        password: text("password")?.map(Zeroizing::new),
        logout_devices: request.boolean("logout_devices")?.unwrap_or(true),
        addresses: request.optional("threepids").map(addresses).transpose()?,
        is_admin: request.boolean("admin")?,
        is_locked: request.boolean("locked")?,
        is_deactivated: request.boolean("deactivated")?,
    };
    let accounts = &state.accounts;
    let sender = &request.sender;
    let (is_new, user) = accounts.change_account(sender, &user_id, change).await?;
    accounts.begin_work(&state.rooms, user).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let account = accounts.view_account(sender, &user_id).await?;
    Ok((status, Json(shown(&account))).into_response())
}

fn addresses(value: &Value) -> Result<Vec<String>, ApiError> {
    let wrong = || ApiError::invalid_param("threepids is not a list of e-mail addresses");
    let list = value.as_array().ok_or_else(wrong)?;
    list.iter()
        .map(
            |one| match (one["medium"].as_str(), one["address"].as_str()) {
                (Some("email"), Some(address)) => Ok(address.to_owned()),
                _ => Err(wrong()),
            },
        )
        .collect()
}

/// `GET /_synapse/admin/v2/users/{user_id}/devices`.
async fn devices(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let user_id = user_id.parse()?;
    let devices = state
        .accounts
        .view_devices(&request.sender, &user_id)
        .await?;
    let shown = |device: &Device| {
        json!({
            "device_id": device.device_id,
            "display_name": device.display_name,
            "last_seen_ip": device.last_seen_ip,
            "last_seen_ts": device.last_seen_ms,
            "user_id": user_id,
        })
    };
    let list: Vec<Value> = devices.iter().map(shown).collect();
    Ok(Json(json!({ "total": list.len(), "devices": list })))
}

/// `POST /_synapse/admin/v1/deactivate/{user_id}`.
async fn deactivate(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let user_id = user_id.parse()?;
    let erase = request.boolean("erase")?.unwrap_or(false);
    let closed = state
        .accounts
        .deactivate_by(&request.sender, &user_id, erase)
        .await?;
    state.accounts.begin_work(&state.rooms, closed.user).await?;
    Ok(Json(json!({ "id_server_unbind_result": "success" })))
}

/// `POST /_synapse/admin/v1/reset_password/{user_id}`.
async fn reset_password(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let user_id = user_id.parse()?;
    let password = request
        .text("new_password")?
        .ok_or_else(|| ApiError::missing_param("Missing parameter: new_password"))?;
    let password = Zeroizing::new(password.to_owned());
    let logout = request.boolean("logout_devices")?.unwrap_or(true);
    state
        .accounts
        .reset_password_by(&request.sender, &user_id, &password, logout)
        .await?;
    Ok(Json(json!({})))
}
