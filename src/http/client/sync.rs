//! `/sync`.

use std::{pin::Pin, time::Duration};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::header::CONTENT_TYPE;
use ruma::api::client::sync::sync_events;

use super::raw;
use crate::{
    accounts::{Reach, Requester},
    http::{ApiError, AppState, RouterExt as _, Ruma, error::JSON},
    rooms::filter::RelationFilters,
    sync::{Error, Request},
};

/// The least time between two looks at whether an account has expired, in milliseconds.
const LEAST_PAUSE_MS: u64 = 100;

pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint_raw(&[], sync)
}

/// `GET /_matrix/client/v3/sync`. One that waits ends when its session does, or when the account
/// may read no more.
async fn sync(
    State(state): State<AppState>,
    request: Ruma<sync_events::v3::Request>,
) -> Result<Response, ApiError> {
    let Ruma {
        sender,
        body,
        client,
    } = request;
    let since = body.since.as_deref().map(str::parse).transpose();
    let since = since.map_err(|_| ApiError::invalid_param("Not a sync token"))?;
    let relations = match &body.filter {
        Some(sync_events::v3::Filter::FilterDefinition(_)) => raw::filter_of(client.query())?,
        _ => RelationFilters::default(),
    };
    let filter = state.sync.filter(sender.user(), body.filter, relations);
    let filter = Box::pin(filter).await?;
    let timeout = body.timeout.unwrap_or(Duration::ZERO);
    let waits = since.is_some() && !timeout.is_zero();
    let service = state.sync.clone();
    let request = Request {
        actor: (&*sender).into(),
        since,
        filter,
        full_state: body.full_state,
        state_after: body.use_state_after,
        timeout,
    };
    let presence = state.sync.presence();
    let syncing = presence.begin_sync(&request.actor, body.set_presence);
    let answer = Box::pin(async move {
        let answer = service.sync(request).await;
        drop(syncing);
        answer
    });
    let text = if waits {
        while_allowed(&state, &sender, answer).await?
    } else {
        answer.await?
    };
    Ok(([(CONTENT_TYPE, JSON)], text).into_response())
}

/// Waits for an answer as long as the session lasts. Thousands wait at once: what they do before
/// is on the heap only while it lasts, here and in what they wait for.
pub(super) async fn while_allowed(
    state: &AppState,
    sender: &Requester,
    mut answer: Pin<Box<dyn Future<Output = Result<String, Error>> + Send>>,
) -> Result<String, ApiError> {
    let accounts = &state.accounts;
    let watch = accounts.watch_sessions(sender);
    loop {
        // Listened to before looking: what changes after the look wakes this.
        let changed = watch.changed();
        Box::pin(accounts.may_go_on(sender, Reach::Private)).await?;
        let expired = async {
            match accounts.ms_to_expiry(sender) {
                Some(left) => {
                    let left = u64::try_from(left).unwrap_or(0).max(LEAST_PAUSE_MS);
                    tokio::time::sleep(Duration::from_millis(left)).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = &mut answer => return Ok(answer?),
            () = changed => {}
            () = expired => {}
        }
    }
}
