//! `/initialSync` and `/events`: how clients synced before `/sync`, and how rooms are peeked into.
//!
//! Specification v1.19, client-server API, "Room previews", and the endpoints that are deprecated
//! since r0.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{
        Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
    response::Response,
    routing::get,
};
use ruma::{EventId, OwnedRoomId, api::client::peeking::get_current_state};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::{message::limit_history, raw, sync::while_allowed};
use crate::{
    accounts::{Reach, Requester},
    http::{ApiError, AppState, RouterExt as _, Ruma, auth},
    rooms::Actor,
    sync::{Listening, MAX_EVENTS},
};

/// How many events of a room are counted where nobody says how many are wanted.
const USUAL_EVENTS: usize = 10;

/// Every endpoint of this file. Those that ruma has no type for are written out.
pub(super) fn routes() -> Router<AppState> {
    let mut router = Router::new().endpoint_raw(&[], room_initial_sync);
    for [initial_sync_path, events_path, event_path] in [
        [
            "/_matrix/client/v3/initialSync",
            "/_matrix/client/v3/events",
            "/_matrix/client/v3/events/{event_id}",
        ],
        [
            "/_matrix/client/r0/initialSync",
            "/_matrix/client/r0/events",
            "/_matrix/client/r0/events/{event_id}",
        ],
    ] {
        router = router
            .route(initial_sync_path, get(initial_sync))
            .route(events_path, get(events))
            .route(event_path, get(event));
    }
    router
}

/// Who sends a request without a body.
async fn sender(state: &AppState, request: Request) -> Result<Arc<Requester>, ApiError> {
    let head = http::Request::from_parts(request.into_parts().0, ());
    auth::sender(&head, state, Reach::Private).await
}

fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    let query = query.map_err(|error| ApiError::invalid_param(error.body_text()))?;
    Ok(query.0)
}

#[derive(Deserialize)]
struct InitialSync {
    limit: Option<u32>,
    #[serde(default)]
    archived: bool,
}

/// `GET /_matrix/client/v3/initialSync`.
async fn initial_sync(
    State(state): State<AppState>,
    asked: Result<Query<InitialSync>, QueryRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let sender = sender(&state, request).await?;
    let asked = query(asked)?;
    let actor = Actor::from(&*sender);
    let answer = state.sync.initial_sync(&actor, asked.limit, asked.archived);
    Ok(Json(answer.await?))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/initialSync`.
async fn room_initial_sync(
    State(state): State<AppState>,
    request: Ruma<get_current_state::v3::Request>,
) -> Result<Response, ApiError> {
    let asked = request.client.query().unwrap_or_default().as_bytes();
    let limit = form_urlencoded::parse(asked).find(|(name, _)| name == "limit");
    let limit = limit.map(|(_, limit)| limit.parse::<u32>()).transpose();
    let limit = limit.map_err(|_| ApiError::invalid_param("`limit` is no number"))?;
    let room_id = &request.body.room_id;
    let events = limit.and_then(|limit| usize::try_from(limit).ok());
    limit_history(
        &state,
        &request.sender,
        room_id,
        events.unwrap_or(USUAL_EVENTS),
    )
    .await?;
    let actor = Actor::from(&*request.sender);
    let answer = state.sync.room_initial_sync(&actor, room_id, limit).await?;
    Ok(raw::json(answer.to_string()))
}

#[derive(Deserialize)]
struct Events {
    from: Option<String>,
    timeout: Option<u64>,
    room_id: Option<String>,
}

/// `GET /_matrix/client/v3/events`. One that waits ends when its session does, or when the account
/// may read no more.
async fn events(
    State(state): State<AppState>,
    asked: Result<Query<Events>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = sender(&state, request).await?;
    let asked = query(asked)?;
    let room = asked.room_id.map(OwnedRoomId::try_from).transpose();
    let room = room.map_err(|_| ApiError::invalid_param("Not a room id"))?;
    if let Some(room_id) = &room {
        limit_history(&state, &sender, room_id, MAX_EVENTS).await?;
    }
    let asked = Listening {
        from: asked.from,
        room,
        timeout: Duration::from_millis(asked.timeout.unwrap_or(0)),
    };
    let (service, actor) = (state.sync.clone(), Actor::from(&*sender));
    let answer = async move { service.events(&actor, &asked).await };
    let text = while_allowed(&state, &sender, Box::pin(answer)).await?;
    Ok(raw::json(text))
}

/// `GET /_matrix/client/v3/events/{eventId}`.
async fn event(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = sender(&state, request).await?;
    let Path(event_id) = path.map_err(|_| ApiError::invalid_param("The path is not UTF-8"))?;
    let event_id = EventId::parse(event_id.as_str());
    let event_id = event_id.map_err(|_| ApiError::invalid_param("Not an event id"))?;
    let actor = Actor::from(&*sender);
    let room_id = state.rooms.room_of_event(&actor, &event_id).await?;
    limit_history(&state, &sender, &room_id, 1).await?;
    let event = state.rooms.event(&actor, &room_id, &event_id).await?;
    Ok(raw::json(event))
}
