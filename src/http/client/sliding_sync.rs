//! Simplified sliding sync.
//!
//! MSC4186, under the path that clients use today.

use std::time::Duration;

use axum::{
    Router,
    extract::{Query, Request, State, rejection::QueryRejection},
    response::Response,
    routing::post,
};
use ruma::presence::PresenceState;
use serde::Deserialize;

use super::{raw, sync::while_allowed};
use crate::{
    accounts::Reach,
    http::{ApiError, AppState, plain::Plain},
    sync::{Error, sliding},
};

pub(super) fn routes() -> Router<AppState> {
    let path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
    Router::new().route(path, post(sync))
}

/// The query.
#[derive(Deserialize)]
struct Parameters {
    pos: Option<String>,
    timeout: Option<u64>,
    set_presence: Option<String>,
}

/// `POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync`.
async fn sync(
    State(state): State<AppState>,
    query: Result<Query<Parameters>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let read = Plain::read_typed::<sliding::Body>(&state, request, Reach::Private);
    let (sender, mut body) = Box::pin(read).await?;
    let Query(query) = query.map_err(|error| ApiError::invalid_param(error.body_text()))?;
    // The proposal has moved these into the body; clients have them in the query.
    let pos = query.pos.or(body.pos.take());
    let timeout = query.timeout.or(body.timeout).unwrap_or(0);
    let set_presence = query.set_presence.or(body.set_presence.take());
    let set_presence = state_of(set_presence.as_deref())?;
    // What was never a position is as unknown as one that is forgotten.
    let pos = pos.as_deref().map(str::parse).transpose();
    let pos = pos.map_err(|_| Error::UnknownPosition)?;
    let timeout = Duration::from_millis(timeout);
    let waits = pos.is_some() && !timeout.is_zero();
    let request = sliding::Request::new((&*sender).into(), pos, timeout, body)?;
    let service = state.sync.clone();
    let presence = state.sync.presence();
    let syncing = presence.begin_sync(request.actor(), set_presence);
    let answer = Box::pin(async move {
        let answer = service.sliding(request).await;
        drop(syncing);
        answer
    });
    let text = if waits {
        while_allowed(&state, &sender, answer).await?
    } else {
        answer.await?
    };
    Ok(raw::json(text))
}

/// Whether the client's user is there.
fn state_of(text: Option<&str>) -> Result<PresenceState, ApiError> {
    match text {
        None | Some("online") => Ok(PresenceState::Online),
        Some("unavailable") => Ok(PresenceState::Unavailable),
        Some("offline") => Ok(PresenceState::Offline),
        Some(_) => Err(ApiError::invalid_param("Unknown value of set_presence")),
    }
}
