//! `PUT /rooms/{roomId}/typing/{userId}`.
//!
//! Specification v1.19, client-server API, "Typing notifications".

use axum::{Router, extract::State};
use ruma::api::client::typing::create_typing_event::{self, v3::Typing};

use super::raw::require_self;
use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::{Actor, Rooms},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint(set)
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`.
async fn set(
    State(rooms): State<Rooms>,
    request: Ruma<create_typing_event::v3::Request>,
) -> Result<create_typing_event::v3::Response, ApiError> {
    let body = request.body;
    require_self(&request.sender, &body.user_id)?;
    let timeout = match body.state {
        Typing::Yes(info) => Some(info.timeout),
        Typing::No => None,
    };
    let actor = Actor::from(&*request.sender);
    rooms.set_typing(&actor, &body.room_id, timeout).await?;
    Ok(create_typing_event::v3::Response::new())
}
