//! `/user/{userId}/account_data` and `/user/{userId}/rooms/{roomId}/account_data`.
//!
//! Specification v1.19, client-server API, "Client Config".

use axum::{Router, extract::State, response::Response};
use ruma::api::client::config::{
    get_global_account_data, get_room_account_data, set_global_account_data, set_room_account_data,
};

use super::raw::{self, require_self};
use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::{Actor, Rooms},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint_raw(&[], get_global)
        .endpoint(set_global)
        .endpoint_raw(&[], get_of_room)
        .endpoint(set_of_room)
}

/// `GET /_matrix/client/v3/user/{userId}/account_data/{type}`.
async fn get_global(
    State(rooms): State<Rooms>,
    request: Ruma<get_global_account_data::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    require_self(&request.sender, &body.user_id)?;
    let actor = Actor::from(&*request.sender);
    let event_type = body.event_type.to_string();
    let content = rooms.account_data(&actor, None, &event_type).await?;
    Ok(raw::json(content.get().to_owned()))
}

/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`.
async fn set_global(
    State(rooms): State<Rooms>,
    request: Ruma<set_global_account_data::v3::Request>,
) -> Result<set_global_account_data::v3::Response, ApiError> {
    let body = request.body;
    require_self(&request.sender, &body.user_id)?;
    let actor = Actor::from(&*request.sender);
    let event_type = body.event_type.to_string();
    rooms
        .set_account_data(&actor, None, &event_type, body.data.json())
        .await?;
    Ok(set_global_account_data::v3::Response::new())
}

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`.
async fn get_of_room(
    State(rooms): State<Rooms>,
    request: Ruma<get_room_account_data::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    require_self(&request.sender, &body.user_id)?;
    let actor = Actor::from(&*request.sender);
    let event_type = body.event_type.to_string();
    let content = rooms
        .account_data(&actor, Some(&body.room_id), &event_type)
        .await?;
    Ok(raw::json(content.get().to_owned()))
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`.
async fn set_of_room(
    State(rooms): State<Rooms>,
    request: Ruma<set_room_account_data::v3::Request>,
) -> Result<set_room_account_data::v3::Response, ApiError> {
    let body = request.body;
    require_self(&request.sender, &body.user_id)?;
    let actor = Actor::from(&*request.sender);
    let event_type = body.event_type.to_string();
    rooms
        .set_account_data(&actor, Some(&body.room_id), &event_type, body.data.json())
        .await?;
    Ok(set_room_account_data::v3::Response::new())
}
