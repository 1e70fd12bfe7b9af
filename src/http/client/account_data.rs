//! `/user/{userId}/account_data` and `/user/{userId}/rooms/{roomId}/account_data`.
//!
//! Specification v1.19, client-server API, "Client Config"; MSC3391 for deleting.

use axum::{
    Json, Router,
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
    routing::delete,
};
use ruma::{
    RoomId,
    api::client::config::{
        get_global_account_data, get_room_account_data, set_global_account_data,
        set_room_account_data,
    },
};
use serde_json::{Value, json};

use super::raw::{self, require_self};
use crate::{
    accounts::Reach,
    http::{ApiError, AppState, RouterExt as _, Ruma, plain},
    rooms::{Actor, Rooms},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint_raw(&[], get_global)
        .endpoint(set_global)
        .endpoint_raw(&[], get_of_room)
        .endpoint(set_of_room)
        .route(GLOBAL, delete(delete_global))
        .route(OF_ROOM, delete(delete_of_room))
}

/// Where account data is deleted (MSC3391).
const GLOBAL: &str =
    "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}/account_data/{event_type}";
/// The same for that of a room.
const OF_ROOM: &str = "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}/rooms/{room_id}/account_data/{event_type}";

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

/// `DELETE …/user/{userId}/account_data/{type}`.
async fn delete_global(
    State(state): State<AppState>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let sender = plain::sender(&state, request, Reach::Private).await?;
    let Path((user_id, event_type)) = path.map_err(|_| bad_path())?;
    require_self(&sender, &plain::user_id(&user_id)?)?;
    let actor = Actor::from(&*sender);
    let rooms = &state.rooms;
    rooms.delete_account_data(&actor, None, &event_type).await?;
    Ok(Json(json!({})))
}

/// `DELETE …/user/{userId}/rooms/{roomId}/account_data/{type}`.
async fn delete_of_room(
    State(state): State<AppState>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let sender = plain::sender(&state, request, Reach::Private).await?;
    let Path((user_id, room_id, event_type)) = path.map_err(|_| bad_path())?;
    require_self(&sender, &plain::user_id(&user_id)?)?;
    let room_id = RoomId::parse(&room_id).map_err(|_| ApiError::invalid_param("Not a room id"))?;
    let actor = Actor::from(&*sender);
    let rooms = &state.rooms;
    rooms
        .delete_account_data(&actor, Some(&room_id), &event_type)
        .await?;
    Ok(Json(json!({})))
}

fn bad_path() -> ApiError {
    ApiError::invalid_param("The path is not UTF-8")
}
