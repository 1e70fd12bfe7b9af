//! `/user/{userId}/rooms/{roomId}/tags`.
//!
//! Specification v1.19, client-server API, "Room Tagging".

use axum::{Router, extract::State, response::Response};
use ruma::api::client::tag::{create_tag, delete_tag, get_tags};
use serde_json::json;

use super::raw::{self, require_self};
use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::{Actor, Rooms},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint_raw(&[], list)
        .endpoint(create)
        .endpoint(delete)
}

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`.
async fn list(
    State(rooms): State<Rooms>,
    request: Ruma<get_tags::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    require_self(&request.sender, &body.user_id)?;
    let actor = Actor::from(&*request.sender);
    let tags = rooms.tags(&actor, &body.room_id).await?;
    Ok(raw::json(json!({ "tags": tags }).to_string()))
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`.
async fn create(
    State(rooms): State<Rooms>,
    request: Ruma<create_tag::v3::Request>,
) -> Result<create_tag::v3::Response, ApiError> {
    let body = request.body;
    require_self(&request.sender, &body.user_id)?;
    let actor = Actor::from(&*request.sender);
    let info = serde_json::to_value(&body.tag_info);
    let info = info.map_err(|error| ApiError::bad_json(error.to_string()))?;
    rooms
        .set_tag(&actor, &body.room_id, &body.tag, info)
        .await?;
    Ok(create_tag::v3::Response::new())
}

/// `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`.
async fn delete(
    State(rooms): State<Rooms>,
    request: Ruma<delete_tag::v3::Request>,
) -> Result<delete_tag::v3::Response, ApiError> {
    let body = request.body;
    require_self(&request.sender, &body.user_id)?;
    let actor = Actor::from(&*request.sender);
    rooms.delete_tag(&actor, &body.room_id, &body.tag).await?;
    Ok(delete_tag::v3::Response::new())
}
