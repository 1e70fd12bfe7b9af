//! `/rooms/{roomId}/relations`: the events that relate to one.
//!
//! Specification v1.19, client-server API, "Event relationships".

use std::fmt::Write as _;

use axum::{Router, extract::State, response::Response};
use ruma::{
    EventId, RoomId, UInt,
    api::{
        Direction,
        client::relations::{
            get_relating_events, get_relating_events_with_rel_type,
            get_relating_events_with_rel_type_and_event_type,
        },
    },
};

use super::{message::limit_history, raw};
use crate::{
    accounts::Requester,
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::{Actor, RelationsQuery},
    store::events,
};

/// How many events are counted where the request does not say.
const DEFAULT_EVENTS: usize = 50;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint_raw(&[], relations)
        .endpoint_raw(&[], relations_of_type)
        .endpoint_raw(&[], relations_of_types)
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`.
async fn relations(
    State(state): State<AppState>,
    request: Ruma<get_relating_events::v1::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let query = RelationsQuery {
        rel_type: None,
        event_type: None,
        from: body.from,
        to: body.to,
        direction: direction(body.dir),
        limit: body.limit.map(count),
        recurse: body.recurse,
    };
    answer(
        &state,
        &request.sender,
        &body.room_id,
        &body.event_id,
        query,
    )
    .await
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}`.
async fn relations_of_type(
    State(state): State<AppState>,
    request: Ruma<get_relating_events_with_rel_type::v1::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let query = RelationsQuery {
        rel_type: Some(body.rel_type.to_string()),
        event_type: None,
        from: body.from,
        to: body.to,
        direction: direction(body.dir),
        limit: body.limit.map(count),
        recurse: body.recurse,
    };
    answer(
        &state,
        &request.sender,
        &body.room_id,
        &body.event_id,
        query,
    )
    .await
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}`.
async fn relations_of_types(
    State(state): State<AppState>,
    request: Ruma<get_relating_events_with_rel_type_and_event_type::v1::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let query = RelationsQuery {
        rel_type: Some(body.rel_type.to_string()),
        event_type: Some(body.event_type.to_string()),
        from: body.from,
        to: body.to,
        direction: direction(body.dir),
        limit: body.limit.map(count),
        recurse: body.recurse,
    };
    answer(
        &state,
        &request.sender,
        &body.room_id,
        &body.event_id,
        query,
    )
    .await
}

async fn answer(
    state: &AppState,
    sender: &Requester,
    room_id: &RoomId,
    event_id: &EventId,
    query: RelationsQuery,
) -> Result<Response, ApiError> {
    limit_history(
        state,
        sender,
        room_id,
        query.limit.unwrap_or(DEFAULT_EVENTS),
    )
    .await?;
    let reader = Actor::from(sender);
    let page = state
        .rooms
        .relations(&reader, room_id, event_id, &query)
        .await?;
    let arrays: [(&str, &[String]); 1] = [("chunk", &page.chunk)];
    let mut out = raw::object("{".to_owned(), &arrays);
    out.pop();
    let tokens = [
        ("next_batch", page.next_batch),
        ("prev_batch", page.prev_batch),
    ];
    for (key, token) in tokens {
        if let Some(token) = token {
            // Writing to a string cannot fail.
            let _ = write!(out, ",\"{key}\":\"{token}\"");
        }
    }
    if let Some(depth) = page.recursion_depth {
        let _ = write!(out, ",\"recursion_depth\":{depth}");
    }
    out.push('}');
    Ok(raw::json(out))
}

fn direction(direction: Direction) -> events::Direction {
    match direction {
        Direction::Backward => events::Direction::Backward,
        Direction::Forward => events::Direction::Forward,
    }
}

fn count(limit: UInt) -> usize {
    usize::try_from(u64::from(limit)).unwrap_or(usize::MAX)
}
