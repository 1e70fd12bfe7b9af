//! Subscriptions to threads (MSC4306), and the list of those that have changed (MSC4308).

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State, rejection::PathRejection, rejection::QueryRejection},
    routing::get,
};
use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    accounts::Reach,
    http::{
        ApiError, AppState,
        plain::{self, Plain},
    },
    rooms::{Actor, SubscriptionsPage},
    store::{StreamPosition, thread_subscriptions::Subscription},
    sync::sliding,
};

/// The room and the thread of a path.
type Names = Result<Path<(String, String)>, PathRejection>;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    const BASE: &str = "/_matrix/client/unstable";
    let one = "io.element.msc4306/rooms/{room_id}/thread/{event_id}/subscription";
    let changes = "io.element.msc4308/thread_subscriptions";
    Router::new()
        .route(
            &format!("{BASE}/{one}"),
            get(find).put(subscribe).delete(unsubscribe),
        )
        .route(&format!("{BASE}/{changes}"), get(list))
}

/// `PUT …/rooms/{roomId}/thread/{eventId}/subscription`.
async fn subscribe(
    State(state): State<AppState>,
    names: Names,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read(&state, request, Reach::Private).await?;
    let (room_id, root) = of_path(names)?;
    let cause = request.text("automatic")?.map(event_id).transpose()?;
    let actor = Actor::from(&*request.sender);
    let rooms = &state.rooms;
    rooms
        .subscribe_to_thread(&actor, &room_id, &root, cause.as_deref())
        .await?;
    Ok(Json(json!({})))
}

/// `DELETE …/rooms/{roomId}/thread/{eventId}/subscription`.
async fn unsubscribe(
    State(state): State<AppState>,
    names: Names,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let sender = plain::sender(&state, request, Reach::Private).await?;
    let (room_id, root) = of_path(names)?;
    let actor = Actor::from(&*sender);
    let rooms = &state.rooms;
    rooms
        .unsubscribe_from_thread(&actor, &room_id, &root)
        .await?;
    Ok(Json(json!({})))
}

/// `GET …/rooms/{roomId}/thread/{eventId}/subscription`.
async fn find(
    State(state): State<AppState>,
    names: Names,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let sender = plain::sender(&state, request, Reach::Private).await?;
    let (room_id, root) = of_path(names)?;
    let actor = Actor::from(&*sender);
    let found = state.rooms.thread_subscription(&actor, &room_id, &root);
    let automatic = found.await? == Subscription::Automatic;
    Ok(Json(json!({ "automatic": automatic })))
}

/// The query of the list.
#[derive(Deserialize)]
struct Parameters {
    dir: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u64>,
}

/// `GET …/thread_subscriptions`.
async fn list(
    State(state): State<AppState>,
    query: Result<Query<Parameters>, QueryRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let sender = plain::sender(&state, request, Reach::Private).await?;
    let Query(query) = query.map_err(|error| ApiError::invalid_param(error.body_text()))?;
    match query.dir.as_deref() {
        None => return Err(ApiError::missing_param("Missing parameter: dir")),
        Some("b") => {}
        Some(_) => return Err(ApiError::invalid_param("dir can be b only")),
    }
    if query.limit == Some(0) {
        return Err(ApiError::invalid_param("limit has to be more than 0"));
    }
    let until = match query.from.as_deref() {
        None => StreamPosition(i64::MAX),
        Some(from) => SubscriptionsPage::parse_next(from)
            .ok_or_else(|| ApiError::invalid_param("from is not a token of this list"))?,
    };
    let after = match query.to.as_deref().map(str::parse::<sliding::Position>) {
        None => StreamPosition(0),
        Some(Ok(pos)) => pos.token.position,
        Some(Err(_)) => return Err(ApiError::invalid_param("to is not a position of a sync")),
    };
    let rooms = &state.rooms;
    let page = rooms
        .thread_subscription_changes(sender.user(), after, until, query.limit)
        .await?;
    Ok(Json(page.shown("end")))
}

/// The arguments of a path.
fn of_path(names: Names) -> Result<(OwnedRoomId, OwnedEventId), ApiError> {
    let Ok(Path((room_id, root))) = names else {
        return Err(ApiError::invalid_param("The path is not UTF-8"));
    };
    let room_id = RoomId::parse(&room_id).map_err(|_| ApiError::invalid_param("Not a room id"))?;
    Ok((room_id, event_id(&root)?))
}

fn event_id(text: &str) -> Result<OwnedEventId, ApiError> {
    EventId::parse(text).map_err(|_| ApiError::invalid_param("Not an event id"))
}
