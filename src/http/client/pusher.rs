//! `/pushers` and `/notifications`.
//!
//! Specification v1.19, client-server API, "Push Notifications".

use axum::{Router, extract::State};
use ruma::{
    UInt,
    api::client::push::{
        get_notifications, get_pushers,
        set_pusher::{self, v3::PusherAction},
    },
};

use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    push::Push,
    rooms::{Actor, Rooms},
};

/// How many notifications there are in an answer if the client does not say.
const DEFAULT_LIMIT: u32 = 20;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(list)
        .endpoint(set)
        .endpoint(notifications)
}

/// `GET /_matrix/client/v3/pushers`.
async fn list(
    State(push): State<Push>,
    request: Ruma<get_pushers::v3::Request>,
) -> Result<get_pushers::v3::Response, ApiError> {
    let pushers = push.pushers(&Actor::from(&*request.sender)).await?;
    Ok(get_pushers::v3::Response::new(pushers))
}

/// `POST /_matrix/client/v3/pushers/set`.
async fn set(
    State(push): State<Push>,
    request: Ruma<set_pusher::v3::Request>,
) -> Result<set_pusher::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    match &request.body.action {
        PusherAction::Post(post) => push.set_pusher(&actor, post).await?,
        PusherAction::Delete(ids) => push.delete_pusher(&actor, ids).await?,
        _ => return Err(ApiError::invalid_param("there is no such action")),
    }
    Ok(set_pusher::v3::Response::new())
}

/// `GET /_matrix/client/v3/notifications`.
async fn notifications(
    State(rooms): State<Rooms>,
    request: Ruma<get_notifications::v3::Request>,
) -> Result<get_notifications::v3::Response, ApiError> {
    let body = &request.body;
    let limit = body.limit.unwrap_or(UInt::from(DEFAULT_LIMIT));
    let limit = usize::try_from(u64::from(limit)).unwrap_or(usize::MAX);
    let only_highlights = body.only.as_deref() == Some("highlight");
    let actor = Actor::from(&*request.sender);
    let page = rooms
        .notifications(&actor, body.from.as_deref(), limit, only_highlights)
        .await?;
    let mut response = get_notifications::v3::Response::new(page.notifications);
    response.next_token = page.next;
    Ok(response)
}
