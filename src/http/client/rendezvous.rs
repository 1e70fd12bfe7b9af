//! Where two devices leave each other notes while one of them signs in by a QR code.
//!
//! MSC4108, "Insecure rendezvous session": nobody is asked who they are, since whoever knows the address
//! of such a place may use it, and what stands there is encrypted. The places are here only where the
//! configuration has them on.

use std::time::{Duration, UNIX_EPOCH};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, EXPIRES, IF_MATCH, IF_NONE_MATCH,
        LAST_MODIFIED, PRAGMA,
    },
};
use ruma::http_headers::system_time_to_http_date;
use serde_json::json;

use crate::{
    http::{ApiError, AppState, Kind, body, peer::ClientAddress},
    rendezvous::Error,
    store::rendezvous::RendezvousSession,
};

/// Where they are.
pub(in crate::http) const RENDEZVOUS: &str =
    "/_matrix/client/unstable/org.matrix.msc4108/rendezvous";

/// Every endpoint of this file, where they are wanted.
pub(super) fn routes(state: &AppState) -> Router<AppState> {
    if !state.rendezvous.is_on() {
        return Router::new();
    }
    let session = format!("{RENDEZVOUS}/{{session_id}}");
    let session_methods = get(read).put(write).delete(close);
    Router::new()
        .route(RENDEZVOUS, post(create))
        .route(&session, session_methods)
}

/// `POST /_matrix/client/unstable/org.matrix.msc4108/rendezvous`.
async fn create(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    // A sign-in begins with it.
    limit(&state, Kind::Login, &request)?;
    let payload = payload(&state, request).await?;
    let (session_id, session) = state.rendezvous.create(payload).await?;
    let server = state.home.homeserver_url.as_str().trim_end_matches('/');
    let body = Json(json!({ "url": format!("{server}{RENDEZVOUS}/{session_id}") }));
    let answer = (StatusCode::CREATED, body).into_response();
    with_headers(answer, &session)
}

/// `GET /_matrix/client/unstable/org.matrix.msc4108/rendezvous/{sessionId}`.
async fn read(
    State(state): State<AppState>,
    session_id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    limit(&state, Kind::Read, &request)?;
    let session = state.rendezvous.read(&id(session_id)?).await?;
    let known = tag(request.headers(), IF_NONE_MATCH)?;
    if known.as_ref() == Some(&session.etag) {
        return with_headers(StatusCode::NOT_MODIFIED.into_response(), &session);
    }
    let headers = [(CONTENT_TYPE, "text/plain")];
    let answer = (headers, session.payload.clone()).into_response();
    with_headers(answer, &session)
}

/// `PUT /_matrix/client/unstable/org.matrix.msc4108/rendezvous/{sessionId}`.
async fn write(
    State(state): State<AppState>,
    session_id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    limit(&state, Kind::Read, &request)?;
    let known = tag(request.headers(), IF_MATCH);
    let payload = payload(&state, request).await?;
    let known = known?.ok_or_else(|| ApiError::missing_param("Missing header: If-Match"))?;
    let session_id = id(session_id)?;
    match state.rendezvous.write(&session_id, &known, payload).await {
        Ok(session) => with_headers(StatusCode::ACCEPTED.into_response(), &session),
        Err(Error::Changed(session)) => {
            let error = ApiError::from(Error::Changed(session.clone()));
            with_headers(error.into_response(), &session)
        }
        Err(error) => Err(error.into()),
    }
}

/// `DELETE /_matrix/client/unstable/org.matrix.msc4108/rendezvous/{sessionId}`.
async fn close(
    State(state): State<AppState>,
    session_id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    limit(&state, Kind::Read, &request)?;
    state.rendezvous.delete(&id(session_id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn limit(state: &AppState, kind: Kind, request: &Request) -> Result<(), ApiError> {
    let address = ClientAddress::of(request.extensions());
    state.limits.check_address(kind, address)
}

fn id(path: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    let Path(session_id) = path.map_err(|_| Error::NotFound)?;
    Ok(session_id)
}

/// What a request leaves: plain text, as its headers must say.
async fn payload(state: &AppState, request: Request) -> Result<Vec<u8>, ApiError> {
    let (parts, body) = request.into_parts();
    let time = state.settings.body_timeout;
    if let Err(error) = check(&parts.headers) {
        body::drain(body, time).await;
        return Err(error);
    }
    let limit = state.rendezvous.max_bytes();
    let bytes = body::read(body, limit, time).await?;
    Ok(bytes.into())
}

fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    for (name, text) in [
        (CONTENT_LENGTH, "Content-Length"),
        (CONTENT_TYPE, "Content-Type"),
    ] {
        if !headers.contains_key(&name) {
            return Err(ApiError::missing_param(format!("Missing header: {text}")));
        }
    }
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default();
    if kind.trim().eq_ignore_ascii_case("text/plain") {
        Ok(())
    } else {
        Err(ApiError::invalid_param(
            "The Content-Type must be text/plain",
        ))
    }
}

/// The tag that a condition names: one, and a strong one. The quotes around it may be missing, as in
/// the proposal's examples.
fn tag(headers: &HeaderMap, name: HeaderName) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let text = quoted.unwrap_or(text);
    let is_tag = |byte: u8| byte.is_ascii_graphic() && !b"\",*".contains(&byte);
    let is_weak = text.starts_with("W/");
    if values.next().is_some() || is_weak || text.is_empty() || !text.bytes().all(is_tag) {
        return Err(ApiError::invalid_param("Not one strong ETag"));
    }
    Ok(Some(text.to_owned()))
}

/// The headers by which devices know what they have seen, and until when there is more.
fn with_headers(
    mut response: Response<Body>,
    session: &RendezvousSession,
) -> Result<Response, ApiError> {
    let time = |ms: i64| {
        let ms = u64::try_from(ms).unwrap_or_default();
        let time = UNIX_EPOCH + Duration::from_millis(ms);
        system_time_to_http_date(&time).map_err(|error| ApiError::internal(&error))
    };
    let etag = HeaderValue::try_from(format!("\"{}\"", session.etag));
    let etag = etag.map_err(|error| ApiError::internal(&error))?;
    let headers = response.headers_mut();
    headers.insert(ETAG, etag);
    headers.insert(EXPIRES, time(session.expires_ms)?);
    headers.insert(LAST_MODIFIED, time(session.changed_ms)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}
