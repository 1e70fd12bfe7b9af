//! `/createRoom`, and what is sent into rooms.
//!
//! Specification v1.19, client-server API, "Creation", "Sending events to a room", "Redactions" and
//! "Room Upgrades".

use axum::{Router, extract::State, response::Response};
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, UserId,
    api::client::{
        message::send_message_event,
        redact::redact_event,
        room::{create_room, upgrade_room},
        state::send_state_event,
    },
    events::{StateEventType, TimelineEventType},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{
    delayed_event::{self, Delayable},
    raw,
    said::Said,
};
use crate::{
    accounts::{Error, Requester},
    http::{ApiError, AppState, Kind, RouterExt as _, Ruma},
    identity::Inviter,
    media::split_uri,
    rooms::{Actor, Delayed, How, Says},
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
        .endpoint_raw(&[], send_message)
        .endpoint_raw(WITHOUT_STATE_KEY, send_state)
        .endpoint(redact)
        .endpoint(upgrade)
}

/// Whether a request to make a room says its visibility: ruma's own type has a default in its place.
#[derive(Deserialize)]
struct Shown {
    visibility: Option<IgnoredAny>,
}

/// `POST /_matrix/client/v3/createRoom`.
async fn create(
    State(state): State<AppState>,
    request: Ruma<Said<create_room::v3::Request, Shown>>,
) -> Result<create_room::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let Said { body, said } = request.body;
    let says = match said.visibility {
        Some(_) => Says::Visibility,
        None => Says::NoVisibility,
    };
    let invited: Vec<&UserId> = body.invite.iter().map(|user_id| &**user_id).collect();
    state.bridges.prepare_users(&invited).await?;
    check_initial_avatar(&state, &body).await?;
    let room_id = if body.invite_3pid.is_empty() {
        let rooms = &state.rooms;
        rooms.create_inviting(&actor, &body, says, &[]).await?
    } else {
        for _ in &body.invite_3pid {
            state
                .limits
                .check_user(Kind::ThirdPartyInvite, actor.user)?;
        }
        let host = Inviter::from(&*request.sender);
        state.identity.create_room(&host, body, says).await?
    };
    Ok(create_room::v3::Response::new(room_id))
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`.
async fn send_message(
    State(state): State<AppState>,
    request: Ruma<Delayable<send_message_event::v3::Request>>,
) -> Result<Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let Delayable { body, delay } = request.body;
    let event_type = TimelineEventType::from(body.event_type);
    let content = body.body.json();
    if let Some(delay) = delay {
        let event = Delayed {
            room_id: &body.room_id,
            event_type: &event_type,
            state_key: None,
            content,
            delay,
            transaction_id: Some(&body.txn_id),
        };
        return delayed_event::answer(&state, &actor, &event).await;
    }
    let event_id = state
        .rooms
        .send_message_at(
            &actor,
            &body.room_id,
            event_type,
            content,
            &body.txn_id,
            said_time(&request.sender, body.timestamp),
        )
        .await?;
    state.sync.presence().act(&actor);
    Ok(sent(&event_id))
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`.
async fn send_state(
    State(state): State<AppState>,
    request: Ruma<Delayable<send_state_event::v3::Request>>,
) -> Result<Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let Delayable { body, delay } = request.body;
    let (event_type, state_key) = (&body.event_type, &body.state_key);
    // Guests join by the endpoint that asks the room whether they may.
    if request.sender.is_guest() && *event_type == StateEventType::RoomMember {
        return Err(ApiError::guest_access_forbidden());
    }
    let content = body.body.json();
    check_avatar(&state, &event_type.to_string(), content).await?;
    if let Some(delay) = delay {
        let event = Delayed {
            room_id: &body.room_id,
            event_type: &TimelineEventType::from(event_type.to_string()),
            state_key: Some(state_key),
            content,
            delay,
            transaction_id: None,
        };
        return delayed_event::answer(&state, &actor, &event).await;
    }
    let event_id = state
        .rooms
        .send_state_as(
            &actor,
            &body.room_id,
            event_type,
            state_key,
            content,
            How {
                sent_at: said_time(&request.sender, body.timestamp),
                ..How::default()
            },
        )
        .await?;
    Ok(sent(&event_id))
}

/// The picture that a new room begins with.
async fn check_initial_avatar(
    state: &AppState,
    body: &create_room::v3::Request,
) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "type")]
        event_type: String,
        #[serde(borrow)]
        content: &'a RawValue,
    }
    let events = body.initial_state.iter().rev();
    let mut events =
        events.filter_map(|raw| serde_json::from_str::<Event<'_>>(raw.json().get()).ok());
    match events.find(|event| event.event_type == "m.room.avatar") {
        Some(event) => check_avatar(state, &event.event_type, event.content).await,
        None => Ok(()),
    }
}

/// The picture of a room, or of a member as a client writes it, must be one that it may be.
async fn check_avatar(
    state: &AppState,
    event_type: &str,
    content: &RawValue,
) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Content {
        url: Option<String>,
        avatar_url: Option<String>,
    }
    if !matches!(event_type, "m.room.avatar" | "m.room.member") {
        return Ok(());
    }
    // A content of another shape shows no picture.
    let Ok(content) = serde_json::from_str::<Content>(content.get()) else {
        return Ok(());
    };
    let url = match event_type {
        "m.room.avatar" => content.url,
        _ => content.avatar_url,
    };
    match url.filter(|url| split_uri(url).is_some()) {
        Some(url) => Ok(state.media.check_avatar(&url).await?),
        None => Ok(()),
    }
}

/// The id of an event that was sent; it has no letter that JSON would write in another way.
fn sent(event_id: &EventId) -> Response {
    raw::json(format!("{{\"event_id\":\"{event_id}\"}}"))
}

/// When an event was sent: application services alone may say so (application service API,
/// "Timestamp massaging").
fn said_time(
    sender: &Requester,
    timestamp: Option<MilliSecondsSinceUnixEpoch>,
) -> Option<MilliSecondsSinceUnixEpoch> {
    timestamp.filter(|_| sender.service().is_some())
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`.
async fn redact(
    State(state): State<AppState>,
    request: Ruma<redact_event::v3::Request>,
) -> Result<redact_event::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let body = request.body;
    if request.sender.is_suspended() {
        let event = state.rooms.event(&actor, &body.room_id, &body.event_id);
        if !is_sent_by(&event.await?, request.sender.user_id()) {
            return Err(Error::Suspended.into());
        }
    }
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

/// Suspended people take back what they said themselves (v1.19, "Account suspension").
fn is_sent_by(event: &str, user_id: &UserId) -> bool {
    #[derive(serde::Deserialize)]
    struct Sent<'a> {
        sender: std::borrow::Cow<'a, str>,
    }
    serde_json::from_str::<Sent<'_>>(event).is_ok_and(|event| event.sender == user_id.as_str())
}
