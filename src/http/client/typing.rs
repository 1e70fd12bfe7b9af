//! `PUT /rooms/{roomId}/typing/{userId}`.
//!
//! Specification v1.19, client-server API, "Typing notifications".

use axum::{Router, extract::State};
use ruma::api::{
    IncomingRequest, Metadata,
    client::typing::create_typing_event::v3::{self, Typing},
    error::DeserializationError,
};
use serde_json::{Map, Value};

use super::raw::require_self;
use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::{Actor, Rooms},
};

/// How long somebody types who does not say how long, in milliseconds.
const UNSAID: u64 = 30_000;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint(set)
}

/// The request as the specification has it: `timeout` may be left out. ruma's own type asks for it.
struct Request(v3::Request);

impl Metadata for Request {
    const METHOD: http::Method = v3::Request::METHOD;
    const RATE_LIMITED: bool = v3::Request::RATE_LIMITED;
    type Authentication = <v3::Request as Metadata>::Authentication;
    type PathBuilder = <v3::Request as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = v3::Request::PATH_BUILDER;
}

impl IncomingRequest for Request {
    type EndpointError = <v3::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = v3::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path: &[&str],
    ) -> Result<Self, DeserializationError> {
        let mut body: Map<String, Value> = serde_json::from_slice(request.body())?;
        body.entry("timeout").or_insert_with(|| UNSAID.into());
        let body = serde_json::to_vec(&body)?;
        let request = request.map(|_| &*body);
        v3::Request::try_from_http_request_inner(request, path).map(Self)
    }
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`.
async fn set(State(rooms): State<Rooms>, request: Ruma<Request>) -> Result<v3::Response, ApiError> {
    let Request(body) = request.body;
    require_self(&request.sender, &body.user_id)?;
    let timeout = match body.state {
        Typing::Yes(info) => Some(info.timeout),
        Typing::No => None,
    };
    let actor = Actor::from(&*request.sender);
    rooms.set_typing(&actor, &body.room_id, timeout).await?;
    Ok(v3::Response::new())
}
