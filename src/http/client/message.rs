//! `/rooms/{roomId}/messages`, `/context` and `/event`: what was said in a room.
//!
//! Specification v1.19, client-server API, "Getting events for a room".

use axum::{Router, extract::State, response::Response};
use ruma::{
    RoomId, UInt,
    api::{
        Direction,
        client::{
            context::get_context,
            message::get_message_events,
            room::{get_event_by_timestamp, get_room_event},
        },
    },
};

use super::raw;
use crate::{
    accounts::Requester,
    http::{ApiError, AppState, Kind, RouterExt as _, Ruma},
    rooms::{Actor, MessagesQuery, filter::Wanted},
    store::events,
};

/// The most events of one answer: a page has no more, whatever is asked for.
const MOST_EVENTS: usize = 1000;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint_raw(&[], messages)
        .endpoint_raw(&[], context)
        .endpoint_raw(&[], event)
        .endpoint(event_at_time)
}

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`.
async fn messages(
    State(state): State<AppState>,
    request: Ruma<get_message_events::v3::Request>,
) -> Result<Response, ApiError> {
    let relations = raw::filter_of(request.client.query())?;
    let body = request.body;
    let limit = count(body.limit);
    limit_history(&state, &request.sender, &body.room_id, limit).await?;
    let query = MessagesQuery {
        from: body.from,
        to: body.to,
        direction: match body.dir {
            Direction::Backward => events::Direction::Backward,
            Direction::Forward => events::Direction::Forward,
        },
        limit,
        filter: Wanted {
            events: body.filter,
            relations,
        },
    };
    let reader = Actor::from(&*request.sender);
    let page = state.rooms.messages(&reader, &body.room_id, &query).await?;
    let end = page.end.map(|end| format!(",\"end\":\"{end}\""));
    let end = end.unwrap_or_default();
    let out = format!("{{\"start\":\"{}\"{end}", page.start);
    let arrays: [(&str, &[String]); 2] = [("chunk", &page.chunk), ("state", &page.state)];
    Ok(raw::json(raw::object(out, &arrays)))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`.
async fn context(
    State(state): State<AppState>,
    request: Ruma<get_context::v3::Request>,
) -> Result<Response, ApiError> {
    let relations = raw::filter_of(request.client.query())?;
    let body = request.body;
    let reader = Actor::from(&*request.sender);
    let limit = count(body.limit);
    limit_history(&state, &request.sender, &body.room_id, limit).await?;
    let filter = Wanted {
        events: body.filter,
        relations,
    };
    let context = state
        .rooms
        .context(&reader, &body.room_id, &body.event_id, limit, &filter)
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
    State(state): State<AppState>,
    request: Ruma<get_room_event::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let reader = Actor::from(&*request.sender);
    limit_history(&state, &request.sender, &body.room_id, 1).await?;
    let event = state
        .rooms
        .event(&reader, &body.room_id, &body.event_id)
        .await?;
    Ok(raw::json(event))
}

/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`.
async fn event_at_time(
    State(state): State<AppState>,
    request: Ruma<get_event_by_timestamp::v1::Request>,
) -> Result<get_event_by_timestamp::v1::Response, ApiError> {
    let body = request.body;
    let reader = Actor::from(&*request.sender);
    limit_history(&state, &request.sender, &body.room_id, 1).await?;
    let direction = match body.dir {
        Direction::Backward => events::Direction::Backward,
        Direction::Forward => events::Direction::Forward,
    };
    let (event_id, sent) = state
        .rooms
        .event_at_time(&reader, &body.room_id, body.ts, direction)
        .await?;
    Ok(get_event_by_timestamp::v1::Response::new(event_id, sent))
}

/// What is read of the history of public rooms is counted by events, as many as are asked for: a
/// person reads a few pages, a program all of it (tchap.md, R-03).
pub(super) async fn limit_history(
    state: &AppState,
    sender: &Requester,
    room_id: &RoomId,
    events: usize,
) -> Result<(), ApiError> {
    if !state.rooms.is_public(room_id).await? {
        return Ok(());
    }
    let events = u32::try_from(events.min(MOST_EVENTS)).unwrap_or(u32::MAX);
    let limits = &state.limits;
    limits.check_user_for(Kind::PublicHistory, sender.user(), events)
}

/// A limit; the service has its own bound.
fn count(limit: UInt) -> usize {
    usize::try_from(u64::from(limit)).unwrap_or(usize::MAX)
}
