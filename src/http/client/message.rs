//! `/rooms/{roomId}/messages`, `/context` and `/event`: what was said in a room.
//!
//! Specification v1.19, client-server API, "Getting events for a room".

use axum::{Router, extract::State, response::Response};
use ruma::{
    UInt,
    api::{
        Direction,
        client::{context::get_context, message::get_message_events, room::get_room_event},
    },
};

use super::raw;
use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::{Actor, MessagesQuery, Rooms},
    store::events,
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint_raw(&[], messages)
        .endpoint_raw(&[], context)
        .endpoint_raw(&[], event)
}

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`.
async fn messages(
    State(rooms): State<Rooms>,
    request: Ruma<get_message_events::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let query = MessagesQuery {
        from: body.from,
        to: body.to,
        direction: match body.dir {
            Direction::Backward => events::Direction::Backward,
            Direction::Forward => events::Direction::Forward,
        },
        limit: count(body.limit),
        filter: body.filter,
    };
    let reader = Actor::from(&*request.sender);
    let page = rooms.messages(&reader, &body.room_id, &query).await?;
    let end = page.end.map(|end| format!(",\"end\":\"{end}\""));
    let end = end.unwrap_or_default();
    let out = format!("{{\"start\":\"{}\"{end}", page.start);
    let arrays: [(&str, &[String]); 2] = [("chunk", &page.chunk), ("state", &page.state)];
    Ok(raw::json(raw::object(out, &arrays)))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`.
async fn context(
    State(rooms): State<Rooms>,
    request: Ruma<get_context::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let reader = Actor::from(&*request.sender);
    let limit = count(body.limit);
    let context = rooms
        .context(&reader, &body.room_id, &body.event_id, limit, &body.filter)
        .await?;
    let out = format!(
        "{{\"start\":\"{}\",\"end\":\"{}\",\"event\":{}",
        context.start, context.end, context.event
    );
    let arrays: [(&str, &[String]); 3] = [
        ("events_before", &context.before),
        ("events_after", &context.after),
        ("state", &context.state),
    ];
    Ok(raw::json(raw::object(out, &arrays)))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`.
async fn event(
    State(rooms): State<Rooms>,
    request: Ruma<get_room_event::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let reader = Actor::from(&*request.sender);
    let event = rooms.event(&reader, &body.room_id, &body.event_id).await?;
    Ok(raw::json(event))
}

/// A limit; the service has its own bound.
fn count(limit: UInt) -> usize {
    usize::try_from(u64::from(limit)).unwrap_or(usize::MAX)
}
