//! `/thirdparty`: what application services know of other networks.
//!
//! Specification v1.19, client-server API, "Third-party Networks".

use axum::{Router, extract::State, response::Response};
use ruma::api::client::thirdparty::{
    get_location_for_protocol, get_location_for_room_alias, get_protocol, get_protocols,
    get_user_for_protocol, get_user_for_user_id,
};
use serde_json::Value;

use super::raw;
use crate::{
    bridges::{Bridges, ThirdParty},
    http::{ApiError, AppState, RouterExt as _, Ruma},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint_raw(&[], protocols)
        .endpoint_raw(&[], protocol)
        .endpoint_raw(&[], location_in)
        .endpoint_raw(&[], user_in)
        .endpoint_raw(&[], location_of)
        .endpoint_raw(&[], user_of)
}

/// `GET /_matrix/client/v3/thirdparty/protocols`.
async fn protocols(
    State(bridges): State<Bridges>,
    _: Ruma<get_protocols::v3::Request>,
) -> Result<Response, ApiError> {
    let protocols = bridges.protocols().await;
    Ok(raw::json(Value::Object(protocols).to_string()))
}

/// `GET /_matrix/client/v3/thirdparty/protocol/{protocol}`.
async fn protocol(
    State(bridges): State<Bridges>,
    request: Ruma<get_protocol::v3::Request>,
) -> Result<Response, ApiError> {
    let found = bridges.protocol(&request.body.protocol).await;
    Ok(raw::json(found.ok_or_else(unknown)?.to_string()))
}

/// `GET /_matrix/client/v3/thirdparty/location/{protocol}`.
async fn location_in(
    State(bridges): State<Bridges>,
    request: Ruma<get_location_for_protocol::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let found = bridges.look_up_in(ThirdParty::Location, &body.protocol, &body.fields);
    Ok(list(found.await.ok_or_else(unknown)?))
}

/// `GET /_matrix/client/v3/thirdparty/user/{protocol}`.
async fn user_in(
    State(bridges): State<Bridges>,
    request: Ruma<get_user_for_protocol::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let found = bridges.look_up_in(ThirdParty::User, &body.protocol, &body.fields);
    Ok(list(found.await.ok_or_else(unknown)?))
}

/// `GET /_matrix/client/v3/thirdparty/location`.
async fn location_of(
    State(bridges): State<Bridges>,
    request: Ruma<get_location_for_room_alias::v3::Request>,
) -> Result<Response, ApiError> {
    let alias = request.body.alias.as_str();
    let found = bridges.look_up_matrix_id(ThirdParty::Location, alias);
    Ok(list(found.await))
}

/// `GET /_matrix/client/v3/thirdparty/user`.
async fn user_of(
    State(bridges): State<Bridges>,
    request: Ruma<get_user_for_user_id::v3::Request>,
) -> Result<Response, ApiError> {
    let user_id = request.body.userid.as_str();
    let found = bridges.look_up_matrix_id(ThirdParty::User, user_id);
    Ok(list(found.await))
}

fn list(results: Vec<Value>) -> Response {
    raw::json(Value::Array(results).to_string())
}

fn unknown() -> ApiError {
    ApiError::not_found("There is no such network")
}
