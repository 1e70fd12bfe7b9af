//! `/createRoom`, and what is sent into rooms.
//!
//! Specification v1.19, client-server API, "Creation", "Sending events to a room", "Redactions" and
//! "Room Upgrades".

use axum::{Router, extract::State};
use ruma::{
    api::client::{
        message::send_message_event,
        redact::redact_event,
        room::{create_room, upgrade_room},
        state::send_state_event,
    },
    events::TimelineEventType,
};

use crate::{
    http::{ApiError, AppState, Kind, RouterExt as _, Ruma},
    identity::Inviter,
    rooms::Actor,
};

/// The paths of state events whose state key is empty and left out.
const WITHOUT_STATE_KEY: &[&str] = &[
    "/_matrix/client/r0/rooms/{room_id}/state/{event_type}",
    "/_matrix/client/r0/rooms/{room_id}/state/{event_type}/",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}/",
];

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(create)
        .endpoint(send_message)
        .endpoint_also(WITHOUT_STATE_KEY, send_state)
        .endpoint(redact)
        .endpoint(upgrade)
}

/// `POST /_matrix/client/v3/createRoom`.
async fn create(
    State(state): State<AppState>,
    request: Ruma<create_room::v3::Request>,
) -> Result<create_room::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let room_id = if request.body.invite_3pid.is_empty() {
        state.rooms.create(&actor, &request.body).await?
    } else {
        for _ in &request.body.invite_3pid {
            state
                .limits
                .check_user(Kind::ThirdPartyInvite, actor.user)?;
        }
        let inviter = Inviter::from(&*request.sender);
        state.identity.create_room(&inviter, request.body).await?
    };
    Ok(create_room::v3::Response::new(room_id))
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`.
async fn send_message(
    State(state): State<AppState>,
    request: Ruma<send_message_event::v3::Request>,
) -> Result<send_message_event::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let body = request.body;
    let event_type = TimelineEventType::from(body.event_type);
    let content = body.body.json();
    let event_id = state
        .rooms
        .send_message(&actor, &body.room_id, event_type, content, &body.txn_id)
        .await?;
    Ok(send_message_event::v3::Response::new(event_id))
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`.
async fn send_state(
    State(state): State<AppState>,
    request: Ruma<send_state_event::v3::Request>,
) -> Result<send_state_event::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let body = request.body;
    let (event_type, state_key) = (&body.event_type, &body.state_key);
    let event_id = state
        .rooms
        .send_state(
            &actor,
            &body.room_id,
            event_type,
            state_key,
            body.body.json(),
        )
        .await?;
    Ok(send_state_event::v3::Response::new(event_id))
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`.
async fn redact(
    State(state): State<AppState>,
    request: Ruma<redact_event::v3::Request>,
) -> Result<redact_event::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let body = request.body;
    let reason = body.reason.as_deref();
    let event_id = state
        .rooms
        .redact(&actor, &body.room_id, &body.event_id, reason, &body.txn_id)
        .await?;
    Ok(redact_event::v3::Response::new(event_id))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`.
async fn upgrade(
    State(state): State<AppState>,
    request: Ruma<upgrade_room::v3::Request>,
) -> Result<upgrade_room::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let body = request.body;
    let (version, creators) = (&body.new_version, &body.additional_creators);
    let room_id = state
        .rooms
        .upgrade(&actor, &body.room_id, version, creators)
        .await?;
    Ok(upgrade_room::v3::Response::new(room_id))
}
