//! The endpoint of Synapse's admin API that tools of other projects begin with:
//! `/_synapse/admin/v1/register`.

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{AppState, Kind, body::read_json, error::ApiError, peer::ClientAddress};
use crate::accounts::{Accounts, SharedSecretRegistration};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/_synapse/admin/v1/register", get(nonce).post(register))
}

#[derive(Deserialize)]
struct Registration {
    nonce: String,
    username: String,
    password: Zeroizing<String>,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    user_type: Option<String>,
    #[serde(default)]
    displayname: Option<String>,
    mac: String,
}

#[derive(Serialize)]
struct Registered {
    user_id: String,
    home_server: String,
    access_token: Zeroizing<String>,
    device_id: String,
}

/// `GET /_synapse/admin/v1/register`.
async fn nonce(State(accounts): State<Accounts>) -> Result<Json<Value>, ApiError> {
    let nonce = accounts.registration_nonce()?;
    Ok(Json(json!({ "nonce": nonce })))
}

/// `POST /_synapse/admin/v1/register`.
async fn register(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Registered>, ApiError> {
    let client = ClientAddress::of(request.extensions());
    state.limits.check_address(Kind::Read, client)?;
    let settings = &state.settings;
    let body = read_json(
        request.into_body(),
        settings.max_body_bytes,
        settings.body_timeout,
    )
    .await?;
    let request: Registration = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_json(format!("Bad JSON: {error}")))?;
    let session = state
        .accounts
        .register_shared_secret(SharedSecretRegistration {
            nonce: request.nonce,
            username: request.username,
            password: request.password,
            is_admin: request.admin,
            user_type: request.user_type,
            display_name: request.displayname,
            mac: request.mac,
        })
        .await?;
    Ok(Json(Registered {
        home_server: session.user_id.server_name().to_string(),
        user_id: session.user_id.to_string(),
        access_token: session.access_token,
        device_id: session.device_id.to_string(),
    }))
}
