//! `/delayed_events`, and asking for events to be sent later (MSC4140).
//!
//! The proposal has changed while it was in use: clients ask with a query parameter of `/send` and
//! `/state`, or on a path of its own, and manage their events by an action in the path or in the
//! body. All of it is served. Whoever knows the secret that names an event may manage it, since a
//! media server does so for clients that are gone.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, RawPathParams, Request, State, rejection::RawPathParamsRejection},
    response::Response,
    routing::{get, post, put},
};
use ruma::{
    OwnedTransactionId, RoomId, TransactionId,
    api::{IncomingRequest, Metadata, error::DeserializationError},
    events::TimelineEventType,
};
use serde_json::{Value, json, value::RawValue};
use url::form_urlencoded;

use super::raw;
use crate::{
    accounts::Reach,
    http::{
        ApiError, AppState, Kind, body as bodies,
        peer::ClientAddress,
        plain::{self, Plain},
    },
    rooms::{Actor, Delayed, DelayedAction, Error},
    store::delayed_events::DelayedEvent,
};

/// The query parameter of `/send` and `/state`.
const DELAY: &str = "org.matrix.msc4140.delay";

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    const BASE: &str = "/_matrix/client/unstable/org.matrix.msc4140";
    Router::new()
        .route(&format!("{BASE}/delayed_events"), get(list))
        .route(
            &format!("{BASE}/delayed_events/{{delay_id}}"),
            get(one).post(manage_by_body),
        )
        .route(
            &format!("{BASE}/delayed_events/{{delay_id}}/{{action}}"),
            post(manage),
        )
        .route(
            &format!("{BASE}/rooms/{{room_id}}/delayed_event/{{event_type}}/{{txn_id}}"),
            put(schedule),
        )
}

/// A request of `/send` or `/state`, with the delay if there is one.
pub(super) struct Delayable<R> {
    /// The request itself.
    pub(super) body: R,
    /// How much later the event is to be sent.
    pub(super) delay: Option<Duration>,
}

impl<R: Metadata> Metadata for Delayable<R> {
    const METHOD: http::Method = R::METHOD;
    const RATE_LIMITED: bool = R::RATE_LIMITED;
    type Authentication = R::Authentication;
    type PathBuilder = R::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = R::PATH_BUILDER;
}

impl<R: IncomingRequest> IncomingRequest for Delayable<R> {
    type EndpointError = R::EndpointError;
    type OutgoingResponse = R::OutgoingResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path: &[&str],
    ) -> Result<Self, DeserializationError> {
        let delay = match request.uri().query() {
            Some(query) if query.contains(DELAY) => delay(query)?,
            _ => None,
        };
        let body = R::try_from_http_request_inner(request, path)?;
        Ok(Self { body, delay })
    }
}

fn delay(query: &str) -> Result<Option<Duration>, DeserializationError> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let Some((_, value)) = pairs.find(|(name, _)| name == DELAY) else {
        return Ok(None);
    };
    let wrong = |_| <serde::de::value::Error as serde::de::Error>::custom("the delay is no number");
    let milliseconds = value.parse().map_err(wrong)?;
    Ok(Some(Duration::from_millis(milliseconds)))
}

/// Schedules an event, and answers with what names it.
pub(super) async fn answer(
    state: &AppState,
    actor: &Actor,
    event: &Delayed<'_>,
) -> Result<Response, ApiError> {
    let scheduled = state.rooms.delay_event(actor, event).await;
    let delay_id = scheduled.map_err(|error| match error {
        // How clients of this form of the proposal learn of the bound.
        Error::DelayTooLong(most) => {
            let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
            ApiError::bad_request(error.to_string())
                .with("org.matrix.msc4140.errcode", "M_MAX_DELAY_EXCEEDED")
                .with("org.matrix.msc4140.max_delay", most)
        }
        error => error.into(),
    })?;
    Ok(raw::json(json!({ "delay_id": delay_id }).to_string()))
}

/// `PUT …/rooms/{roomId}/delayed_event/{eventType}/{txnId}`.
async fn schedule(
    State(state): State<AppState>,
    path: Result<Path<(String, String, String)>, axum::extract::rejection::PathRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read(&state, request, Reach::Public).await?;
    let Ok(Path((room_id, event_type, transaction_id))) = path else {
        return Err(ApiError::invalid_param("The path is not UTF-8"));
    };
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let room_id = RoomId::parse(&room_id).map_err(|_| ApiError::invalid_param("Not a room id"))?;
    // The name that the field had before.
    let delay = match request.integer("delay_ms")? {
        Some(delay) => Some(delay),
        None => request.integer("delay")?,
    };
    let delay = delay.ok_or_else(|| ApiError::missing_param("Missing parameter: delay_ms"))?;
    let delay =
        u64::try_from(delay).map_err(|_| ApiError::invalid_param("delay_ms is negative"))?;
    let content = request.required("content")?;
    let content = serde_json::value::to_raw_value(content);
    let content: Box<RawValue> = content.map_err(|error| ApiError::internal(&error))?;
    let transaction_id: OwnedTransactionId = transaction_id.into();
    let event = Delayed {
        room_id: &room_id,
        event_type: &TimelineEventType::from(event_type),
        state_key: request.text("state_key")?,
        content: &content,
        delay: Duration::from_millis(delay),
        transaction_id: Some(&*transaction_id as &TransactionId),
    };
    let delay_id = state.rooms.delay_event(&actor, &event).await?;
    Ok(Json(json!({ "delay_id": delay_id })))
}

/// `GET …/delayed_events`.
async fn list(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    let sender = plain::sender(&state, request, Reach::Private).await?;
    let events = state.rooms.delayed_events(&Actor::from(&*sender)).await?;
    let events: Vec<Value> = events.iter().map(shown).collect();
    Ok(Json(json!({ "delayed_events": events })))
}

/// `GET …/delayed_events/{delay_id}`.
async fn one(
    State(state): State<AppState>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let sender = plain::sender(&state, request, Reach::Private).await?;
    let [delay_id] = of_path(path.ok(), ["delay_id"])?;
    let actor = Actor::from(&*sender);
    let event = state.rooms.delayed_event(&actor, &delay_id).await?;
    Ok(Json(shown(&event)))
}

/// What its sender sees of it, with the names that the fields had before.
fn shown(event: &DelayedEvent) -> Value {
    let content: Value = serde_json::from_str(&event.content).unwrap_or_default();
    let mut shown = json!({
        "delay_id": event.delay_id,
        "room_id": event.room_id,
        "type": event.event_type,
        "delay": event.delay_ms,
        "delay_ms": event.delay_ms,
        "running_since": event.running_since_ms,
        "scheduled_at": event.running_since_ms,
        "content": content,
    });
    let mut add = |name: &str, value: Value| {
        if let Value::Object(shown) = &mut shown {
            shown.insert(name.to_owned(), value);
        }
    };
    if let Some(state_key) = &event.state_key {
        add("state_key", json!(state_key));
    }
    if let Some(at) = event.finalized_ms {
        add("finalised_ts", json!(at));
    }
    if let Some(event_id) = &event.event_id {
        add("event_id", json!(event_id));
    }
    if let Some((errcode, error)) = &event.error {
        add("error", json!({ "errcode": errcode, "error": error }));
    }
    shown
}

/// `POST …/delayed_events/{delay_id}/{action}`.
async fn manage(
    State(state): State<AppState>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    admit(&state, request).await?;
    let [delay_id, action] = of_path(path.ok(), ["delay_id", "action"])?;
    let action = parse(&action).ok_or_else(|| ApiError::not_found("There is no such action"))?;
    state.rooms.manage_delayed(&delay_id, action).await?;
    Ok(Json(json!({})))
}

/// `POST …/delayed_events/{delay_id}` with the action in its body.
async fn manage_by_body(
    State(state): State<AppState>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = admit(&state, request).await?;
    let [delay_id] = of_path(path.ok(), ["delay_id"])?;
    let action = match body.get("action") {
        None => return Err(ApiError::missing_param("Missing parameter: action")),
        Some(action) => action.as_str().and_then(parse),
    };
    let action = action.ok_or_else(|| ApiError::invalid_param("There is no such action"))?;
    state.rooms.manage_delayed(&delay_id, action).await?;
    Ok(Json(json!({})))
}

fn parse(action: &str) -> Option<DelayedAction> {
    match action {
        "restart" => Some(DelayedAction::Restart),
        "send" => Some(DelayedAction::Send),
        "cancel" => Some(DelayedAction::Cancel),
        _ => None,
    }
}

/// Reads a request that needs no session. Its address counts.
async fn admit(state: &AppState, request: Request<Body>) -> Result<Value, ApiError> {
    let client = ClientAddress::of(request.extensions());
    let body = request.into_body();
    let settings = &state.settings;
    if let Err(error) = state.limits.check_address(Kind::Read, client) {
        bodies::drain(body, settings.body_timeout).await;
        return Err(error);
    }
    let bytes = bodies::read_json(body, settings.max_body_bytes, settings.body_timeout).await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::not_json(format!("Not JSON: {error}")))
}

/// The arguments of a path.
fn of_path<const N: usize>(
    path: Option<RawPathParams>,
    names: [&str; N],
) -> Result<[String; N], ApiError> {
    let path = path.ok_or_else(|| ApiError::invalid_param("The path is not UTF-8"))?;
    let find = |wanted: &str| path.iter().find(|(name, _)| *name == wanted);
    Ok(names.map(|name| find(name).map_or_else(String::new, |(_, value)| value.to_owned())))
}
