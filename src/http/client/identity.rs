//! What clients need for the identity service: a token that names them to it, and the look-ups of
//! old clients.
//!
//! Specification v1.19, client-server API, "OpenID"; tchap.md 5.3.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::{get, post},
};
use ruma::{
    api::{auth_scheme::AccessToken, client::account::request_openid_token},
    authentication::TokenType,
};
use serde_json::{Value, json};

use super::raw::require_self;
use crate::{
    accounts::Requester,
    http::{
        ApiError, AppState, Authenticate as _, Kind, RouterExt as _, Ruma,
        identity::request::{Parameters, admitted},
    },
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(openid_token)
        .route("/_matrix/client/unstable/account/3pid/lookup", get(look_up))
        .route(
            "/_matrix/client/unstable/account/3pid/bulk_lookup",
            post(look_up_many),
        )
}

/// `POST /_matrix/client/v3/user/{userId}/openid/request_token`.
async fn openid_token(
    State(state): State<AppState>,
    request: Ruma<request_openid_token::v3::Request>,
) -> Result<request_openid_token::v3::Response, ApiError> {
    require_self(&request.sender, &request.body.user_id)?;
    let token = state.identity.openid_token(&request.sender).await?;
    Ok(request_openid_token::v3::Response::new(
        token.token.to_string(),
        TokenType::Bearer,
        state.rooms.server_name().to_owned(),
        token.expires_in,
    ))
}

/// `GET /_matrix/client/unstable/account/3pid/lookup`.
async fn look_up(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    let wanted = Parameters::of_query(request.uri());
    let (requester, _) = admit(&state, request).await?;
    let (medium, address) = (wanted.text("medium")?, wanted.text("address")?);
    if medium != "email" {
        return Ok(Json(json!({})));
    }
    state.limits.check_lookup(requester.user(), 1)?;
    let identity = &state.identity;
    let found = identity.look_up_addresses(&requester, &[address]).await?;
    Ok(Json(match found.into_values().next() {
        Some(user_id) => json!({ "mxid": user_id }),
        None => json!({}),
    }))
}

/// `POST /_matrix/client/unstable/account/3pid/bulk_lookup`.
async fn look_up_many(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let (requester, request) = admit(&state, request).await?;
    let body = Parameters::read(&state, request).await?;
    let pairs = body.list("threepids")?.iter().map(|pair| {
        let medium = pair.get(0).and_then(Value::as_str);
        medium.zip(pair.get(1).and_then(Value::as_str))
    });
    let pairs: Option<Vec<(&str, &str)>> = pairs.collect();
    let pairs = pairs.ok_or_else(|| ApiError::invalid_param("Not valid: threepids"))?;
    let wanted: Vec<&str> = pairs
        .iter()
        .filter(|(medium, _)| *medium == "email")
        .map(|(_, address)| *address)
        .collect();
    state.limits.check_lookup(requester.user(), wanted.len())?;
    let identity = &state.identity;
    let found = identity.look_up_addresses(&requester, &wanted).await?;
    let threepids: Vec<Value> = wanted
        .iter()
        .filter_map(|address| Some(json!(["email", address, found.get(*address)?])))
        .collect();
    Ok(Json(json!({ "threepids": threepids })))
}

/// Lets users of this server look up, a few times. The request comes back for its body.
async fn admit(state: &AppState, request: Request) -> Result<(Arc<Requester>, Request), ApiError> {
    let (parts, body) = request.into_parts();
    let head = http::Request::from_parts(parts, ());
    let found = async {
        let requester = AccessToken::authenticate(&head, state).await?;
        let user = requester.user();
        state.limits.check_user(Kind::AddressLookup, user)?;
        Ok::<_, ApiError>(requester)
    };
    let found = found.await;
    let (parts, ()) = head.into_parts();
    let request = Request::from_parts(parts, body);
    admitted(state, found, request).await
}
