//! Invitations that other programs want to be stored, and signing for those who accept one.
//!
//! Specification v1.19, identity service API, "Invitation storage" and "Ephemeral invitation
//! signing"; tchap.md 5.2.

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::post,
};
use ruma::{CanonicalJsonObject, RoomId};
use serde_json::{Value, json};

use super::request::{Parameters, holder};
use crate::{
    http::{ApiError, AppState, Kind},
    identity::StoreInvite,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/_matrix/identity/v2/store-invite", post(store_invite))
        .route("/_matrix/identity/api/v1/store-invite", post(store_invite))
        .route("/_matrix/identity/v2/sign-ed25519", post(sign))
}

/// `POST /_matrix/identity/v2/store-invite`. What the request says of room and sender beside their
/// ids is not believed: it is known here.
async fn store_invite(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let (holder, request) = holder(&state, request).await?;
    state
        .limits
        .check_user(Kind::ThirdPartyInvite, holder.user)?;
    let body = Parameters::read(&state, request).await?;
    let room_id = RoomId::parse(body.text("room_id")?)
        .map_err(|_| ApiError::invalid_param("Not valid: room_id"))?;
    let stored = state
        .identity
        .store_invite(
            &holder,
            &StoreInvite {
                medium: body.text("medium")?,
                address: body.text("address")?,
                room_id: &room_id,
                sender: &body.user_id("sender")?,
            },
        )
        .await?;
    let [(server_key, server_url), (key, url)] = stored.public_keys;
    Ok(Json(json!({
        "token": stored.token,
        "public_key": key,
        "public_keys": [
            { "public_key": server_key, "key_validity_url": server_url },
            { "public_key": key, "key_validity_url": url },
        ],
        "display_name": stored.display_name,
    })))
}

/// `POST /_matrix/identity/v2/sign-ed25519`.
async fn sign(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<CanonicalJsonObject>, ApiError> {
    let (_, request) = holder(&state, request).await?;
    let body = Parameters::read(&state, request).await?;
    let user_id = body.user_id("mxid")?;
    let (token, key) = (body.text("token")?, body.text("private_key")?);
    let signed = state.identity.sign_invitation(&user_id, token, key).await?;
    Ok(Json(signed))
}
