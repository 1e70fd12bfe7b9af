//! `/users/info`: whether accounts are expired, closed, or those of external guests.
//!
//! Tchap's own endpoint (tchap.md 6.3): clients grey out people who cannot read them. What is not
//! known here is left out, so that one unknown user does not spoil the answer about the others.

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::{get, post},
};
use ruma::OwnedUserId;
use serde_json::{Map, Value, json};

use crate::{
    accounts::{Reach, UserInfo},
    http::{
        ApiError, AppState,
        plain::{self, Plain, UserIdOfPath},
    },
};

/// The most users of one request.
const MAX_USERS: usize = 1000;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/_matrix/client/unstable/users/info", post(several))
        .route("/_matrix/client/r0/user/{user_id}/info", get(one))
}

/// `POST /_matrix/client/unstable/users/info`.
async fn several(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    let request = Plain::read(&state, request, Reach::Private).await?;
    let user_ids = request.required("user_ids")?;
    let user_ids = user_ids
        .as_array()
        .ok_or_else(|| ApiError::invalid_param("user_ids is not a list"))?;
    if user_ids.len() > MAX_USERS {
        return Err(ApiError::invalid_param("user_ids is too long"));
    }
    let user_ids: Vec<OwnedUserId> = user_ids
        .iter()
        .map(|one| plain::user_id(one.as_str().unwrap_or_default()))
        .collect::<Result<_, _>>()?;
    let found = state.accounts.users_info(&user_ids).await?;
    let answer: Map<String, Value> = found
        .iter()
        .map(|info| (info.user_id.to_string(), flags(info)))
        .collect();
    Ok(Json(answer.into()))
}

/// `GET /_matrix/client/r0/user/{userId}/info`, which older clients ask.
async fn one(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    plain::sender(&state, request, Reach::Private).await?;
    let user_id = user_id.parse()?;
    let found = state.accounts.users_info(&[user_id]).await?;
    match found.first() {
        Some(info) => Ok(Json(flags(info))),
        None => Err(ApiError::not_found("No such user")),
    }
}

fn flags(info: &UserInfo) -> Value {
    json!({
        "expired": info.is_expired,
        "deactivated": info.is_deactivated,
        "external": info.is_external,
    })
}
