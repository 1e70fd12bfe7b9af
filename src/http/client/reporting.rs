//! Reports to the administrators.
//!
//! Specification v1.19, client-server API, "Reporting content".

use axum::{Router, extract::State};
use ruma::api::client::{
    reporting::report_user,
    room::{report_content, report_room},
};

use crate::{
    audit::{self, Entry, action},
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::Actor,
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint(event).endpoint(room).endpoint(user)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}`.
async fn event(
    State(state): State<AppState>,
    request: Ruma<report_content::v3::Request>,
) -> Result<report_content::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let reason = body.reason.unwrap_or_default();
    let rooms = &state.rooms;
    rooms
        .report_event(&actor, &body.room_id, &body.event_id, &reason)
        .await?;
    note(
        &state,
        &actor,
        format!("{} {}", body.room_id, body.event_id),
    );
    Ok(report_content::v3::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report`.
async fn room(
    State(state): State<AppState>,
    request: Ruma<report_room::v3::Request>,
) -> Result<report_room::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let rooms = &state.rooms;
    rooms
        .report_room(&actor, &body.room_id, &body.reason)
        .await?;
    note(&state, &actor, body.room_id.to_string());
    Ok(report_room::v3::Response::new())
}

/// `POST /_matrix/client/v3/users/{userId}/report`.
async fn user(
    State(state): State<AppState>,
    request: Ruma<report_user::v3::Request>,
) -> Result<report_user::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let rooms = &state.rooms;
    rooms
        .report_user(&actor, &body.user_id, &body.reason)
        .await?;
    note(&state, &actor, body.user_id.to_string());
    Ok(report_user::v3::Response::new())
}

/// The security centre hears of each report, without its words.
fn note(state: &AppState, actor: &Actor, object: String) {
    state.audit.record(Entry {
        action: action::REPORTED,
        actor: audit::Actor::User(actor.user_id.clone()),
        object: Some(object),
        ..Entry::default()
    });
}
