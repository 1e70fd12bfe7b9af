//! `/rooms/{roomId}/state` and the members of rooms.
//!
//! Specification v1.19, client-server API, "Getting events for a room".

use axum::{Router, extract::State, response::Response};
use ruma::api::client::{
    membership::{get_member_events, joined_members, joined_rooms},
    state::{
        get_state_event_for_key::{self, v3::StateEventFormat},
        get_state_events,
    },
};

use super::raw;
use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::{Actor, MembersQuery, Rooms, StateFormat},
};

/// The paths of a state event with an empty key.
const EMPTY_KEY: &[&str] = &[
    "/_matrix/client/r0/rooms/{room_id}/state/{event_type}",
    "/_matrix/client/r0/rooms/{room_id}/state/{event_type}/",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}/",
];

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint_raw(&[], state)
        .endpoint_raw(EMPTY_KEY, state_event)
        .endpoint_raw(&[], members)
        .endpoint_raw(&[], get_joined_members)
        .endpoint(get_joined_rooms)
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state`.
async fn state(
    State(rooms): State<Rooms>,
    request: Ruma<get_state_events::v3::Request>,
) -> Result<Response, ApiError> {
    let reader = Actor::from(&*request.sender);
    let state = rooms.state(&reader, &request.body.room_id).await?;
    Ok(raw::json(raw::array(&state)))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`.
async fn state_event(
    State(rooms): State<Rooms>,
    request: Ruma<get_state_event_for_key::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let reader = Actor::from(&*request.sender);
    let format = match body.format {
        StateEventFormat::Event => StateFormat::Event,
        _ => StateFormat::Content,
    };
    let found = rooms
        .state_event(
            &reader,
            &body.room_id,
            &body.event_type,
            &body.state_key,
            format,
        )
        .await?;
    Ok(raw::json(found))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/members`.
async fn members(
    State(rooms): State<Rooms>,
    request: Ruma<get_member_events::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let reader = Actor::from(&*request.sender);
    let query = MembersQuery {
        at: body.at,
        membership: body.membership,
        not_membership: body.not_membership,
    };
    let members = rooms.members(&reader, &body.room_id, &query).await?;
    let arrays: [(&str, &[String]); 1] = [("chunk", &members)];
    Ok(raw::json(raw::object("{".to_owned(), &arrays)))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/joined_members`.
async fn get_joined_members(
    State(rooms): State<Rooms>,
    request: Ruma<joined_members::v3::Request>,
) -> Result<Response, ApiError> {
    let reader = Actor::from(&*request.sender);
    let members = rooms.joined_members(&reader, &request.body.room_id).await?;
    Ok(raw::json(members))
}

/// `GET /_matrix/client/v3/joined_rooms`.
async fn get_joined_rooms(
    State(rooms): State<Rooms>,
    request: Ruma<joined_rooms::v3::Request>,
) -> Result<joined_rooms::v3::Response, ApiError> {
    let reader = Actor::from(&*request.sender);
    let joined = rooms.joined_room_ids(&reader).await?;
    Ok(joined_rooms::v3::Response::new(joined))
}
