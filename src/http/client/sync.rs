//! `/sync`.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::header::CONTENT_TYPE;
use ruma::api::client::sync::sync_events;

use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma, error::JSON},
    sync::{Request, Sync},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint_raw(&[], sync)
}

/// `GET /_matrix/client/v3/sync`
async fn sync(
    State(sync): State<Sync>,
    request: Ruma<sync_events::v3::Request>,
) -> Result<Response, ApiError> {
    let Ruma { sender, body, .. } = request;
    let since = body.since.as_deref().map(str::parse).transpose();
    let since = since.map_err(|_| ApiError::invalid_param("Not a sync token"))?;
    let filter = sync.filter(sender.user(), body.filter).await?;
    let text = sync
        .sync(Request {
            actor: (&*sender).into(),
            since,
            filter,
            full_state: body.full_state,
            state_after: body.use_state_after,
            timeout: body.timeout.unwrap_or(Duration::ZERO),
        })
        .await?;
    Ok(([(CONTENT_TYPE, JSON)], text).into_response())
}
