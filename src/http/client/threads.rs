//! `/rooms/{roomId}/threads`: the threads of a room.
//!
//! Specification v1.19, client-server API, "Querying threads in a room".

use axum::{Router, extract::State, response::Response};
use ruma::api::client::threads::get_threads::{self, v1::IncludeThreads};

use super::{message::limit_history, raw};
use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::{Actor, ThreadsQuery},
};

/// How many threads are counted where the request does not say.
const DEFAULT_THREADS: usize = 50;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint_raw(&[], threads)
}

/// `GET /_matrix/client/v1/rooms/{roomId}/threads`.
async fn threads(
    State(state): State<AppState>,
    request: Ruma<get_threads::v1::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    let participated = match body.include {
        IncludeThreads::All => false,
        IncludeThreads::Participated => true,
        _ => {
            return Err(ApiError::invalid_param(
                "unknown value of `include`".to_owned(),
            ));
        }
    };
    let limit = body.limit.map(u64::from);
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    limit_history(
        &state,
        &request.sender,
        &body.room_id,
        limit.unwrap_or(DEFAULT_THREADS),
    )
    .await?;
    let query = ThreadsQuery {
        from: body.from,
        participated,
        limit,
    };
    let reader = Actor::from(&*request.sender);
    let page = state.rooms.threads(&reader, &body.room_id, &query).await?;
    let next = page
        .next_batch
        .map(|next| format!("\"next_batch\":\"{next}\""));
    let out = format!("{{{}", next.unwrap_or_default());
    let arrays: [(&str, &[String]); 1] = [("chunk", &page.chunk)];
    Ok(raw::json(raw::object(out, &arrays)))
}
