//! The calls of Synapse's admin API on registration tokens: there is none in the specification.

use axum::{
    Json, Router,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    routing::{get, post},
};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{AppState, error::ApiError, plain::Plain};
use crate::{
    accounts::{NewToken, TokenChange},
    store::registration_tokens::RegistrationToken,
};

type Path = Result<RawPathParams, RawPathParamsRejection>;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    const TOKENS: &str = "/_synapse/admin/v1/registration_tokens";
    Router::new()
        .route(TOKENS, get(list))
        .route(&format!("{TOKENS}/new"), post(add))
        .route(
            &format!("{TOKENS}/{{token}}"),
            get(one).put(change).delete(remove),
        )
}

/// `GET /_synapse/admin/v1/registration_tokens`.
async fn list(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let request = Plain::read_of_admin(&state, request).await?;
    let mut query = form_urlencoded::parse(query.as_bytes());
    let is_valid = match query.find(|(name, _)| name == "valid") {
        None => None,
        Some((_, value)) => match &*value {
            "true" => Some(true),
            "false" => Some(false),
            _ => return Err(ApiError::invalid_param("valid is neither true nor false")),
        },
    };
    let tokens = state
        .accounts
        .registration_tokens(&request.sender, is_valid)
        .await?;
    let tokens: Vec<Value> = tokens.iter().map(shown).collect();
    Ok(Json(json!({ "registration_tokens": tokens })))
}

/// Nobody holds a token while they register: it counts when the account is made, so that none is
/// ever pending.
fn shown(token: &RegistrationToken) -> Value {
    json!({
        "token": token.token,
        "uses_allowed": token.uses_allowed,
        "pending": 0,
        "completed": token.completed,
        "expiry_time": token.expires_ms,
    })
}

/// `POST /_synapse/admin/v1/registration_tokens/new`.
async fn add(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let length = request.integer("length")?.map(usize::try_from).transpose();
    let new = NewToken {
        token: request.text("token")?.map(str::to_owned),
        length: length.map_err(|_| ApiError::invalid_param("length is negative"))?,
        uses_allowed: request.integer("uses_allowed")?,
        expires_ms: request.integer("expiry_time")?,
    };
    let accounts = &state.accounts;
    let token = accounts
        .add_registration_token(&request.sender, new)
        .await?;
    Ok(Json(shown(&token)))
}

/// `GET /_synapse/admin/v1/registration_tokens/{token}`.
async fn one(
    State(state): State<AppState>,
    path: Path,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let token = state
        .accounts
        .registration_token(&request.sender, &of_path(path)?)
        .await?;
    Ok(Json(shown(&token)))
}

/// `PUT /_synapse/admin/v1/registration_tokens/{token}`: what is null is without a bound.
async fn change(
    State(state): State<AppState>,
    path: Path,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let said = |name| -> Result<Option<Option<i64>>, ApiError> {
        let is_said = request.body.contains_key(name);
        is_said.then(|| request.integer(name)).transpose()
    };
    let change = TokenChange {
        uses_allowed: said("uses_allowed")?,
        expires_ms: said("expiry_time")?,
    };
    let token = state
        .accounts
        .change_registration_token(&request.sender, &of_path(path)?, change)
        .await?;
    Ok(Json(shown(&token)))
}

/// `DELETE /_synapse/admin/v1/registration_tokens/{token}`.
async fn remove(
    State(state): State<AppState>,
    path: Path,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    state
        .accounts
        .remove_registration_token(&request.sender, &of_path(path)?)
        .await?;
    Ok(Json(json!({})))
}

fn of_path(path: Path) -> Result<String, ApiError> {
    let path = path.map_err(|_| ApiError::invalid_param("The path is not UTF-8"))?;
    let token = path.iter().find(|(name, _)| *name == "token");
    Ok(token.map_or_else(String::new, |(_, value)| value.to_owned()))
}
