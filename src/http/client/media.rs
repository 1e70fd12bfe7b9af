//! `/_matrix/media` and `/_matrix/client/v1/media`: uploading. For downloads see `media_download`.
//!
//! The bytes are streamed, so that nothing here goes through ruma's types, which hold whole bodies.
//!
//! Specification v1.19, client-server API, "Content repository".

use std::{pin::pin, time::Duration};

use axum::{
    Json, Router,
    body::{Body, BodyDataStream},
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::{get, post, put},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{
    HeaderMap,
    header::{ACCEPT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE},
};
use serde_json::json;

use super::{
    media_request::{MediaPath, query},
    raw,
};
use crate::{
    accounts::Reach,
    http::{
        ApiError, AppState, Kind,
        body::drain,
        plain::{self, Plain},
    },
    media::{self, NewUpload, Target},
};

/// How long a whole upload may take.
const MAX_UPLOAD_TIME: Duration = Duration::from_hours(2);
/// The longest file name that is kept, in bytes.
const MAX_FILE_NAME: usize = 1024;
/// The longest type that is kept, in bytes.
const MAX_CONTENT_TYPE: usize = 255;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/_matrix/media/v3/upload", post(upload))
        .route("/_matrix/media/r0/upload", post(upload))
        .route("/_matrix/media/v1/upload", post(upload))
        .route("/_matrix/media/v1/create", post(create))
        .route(
            "/_matrix/media/v3/upload/{server_name}/{media_id}",
            put(upload_to),
        )
        .route("/_matrix/client/v1/media/preview_url", get(preview))
        .route("/_matrix/media/v3/preview_url", get(preview))
        .route("/_matrix/media/r0/preview_url", get(preview))
        .route("/_matrix/media/v1/preview_url", get(preview))
        .route("/_matrix/client/v1/media/config", get(config))
        .route("/_matrix/media/v3/config", get(config))
        .route("/_matrix/media/r0/config", get(config))
        .route("/_matrix/media/v1/config", get(config))
}

/// `GET /_matrix/client/v1/media/config`.
async fn config(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    plain::sender(&state, request, Reach::Private).await?;
    Ok(Json(json!({ "m.upload.size": state.media.max_upload() })).into_response())
}

/// `GET /_matrix/client/v1/media/preview_url`.
async fn preview(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let uri = request.uri().clone();
    let language = request.headers().get(ACCEPT_LANGUAGE).cloned();
    let sender = plain::sender(&state, request, Reach::Private).await?;
    state.limits.check_user(Kind::UrlPreview, sender.user())?;
    let url =
        query(&uri, "url").ok_or_else(|| ApiError::missing_param("Missing parameter: url"))?;
    let preview = state.previews.preview(&url, language.as_ref()).await?;
    Ok(raw::json(preview))
}

/// `POST /_matrix/media/v1/create`.
async fn create(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let request = Plain::read(&state, request, Reach::Public).await?;
    let user = request.sender.user();
    state.limits.check_user(Kind::MediaUpload, user)?;
    let (media_id, expires_ms) = state.media.create(user).await?;
    let body = json!({
        "content_uri": state.media.uri(&media_id),
        "unused_expires_at": expires_ms,
    });
    Ok(Json(body).into_response())
}

/// `POST /_matrix/media/v3/upload`.
async fn upload(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let media_id = take_in(&state, request, Target::New).await?;
    let body = json!({ "content_uri": state.media.uri(&media_id) });
    Ok(Json(body).into_response())
}

/// `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`.
async fn upload_to(
    State(state): State<AppState>,
    path: MediaPath,
    request: Request,
) -> Result<Response, ApiError> {
    let target = Target::Pending {
        server_name: &path.server_name,
        media_id: &path.media_id,
    };
    take_in(&state, request, target).await?;
    Ok(Json(json!({})).into_response())
}

async fn take_in(
    state: &AppState,
    request: Request,
    target: Target<'_>,
) -> Result<String, ApiError> {
    let (parts, body) = request.into_parts();
    let head = http::Request::from_parts(parts, ());
    let mut body = body.into_data_stream();
    let done = receive(state, &head, &mut body, target).await;
    if done.is_err() {
        drain(Body::new(body), state.settings.body_timeout).await;
    }
    done
}

async fn receive(
    state: &AppState,
    head: &http::Request<()>,
    body: &mut BodyDataStream,
    target: Target<'_>,
) -> Result<String, ApiError> {
    let sender = plain::admit(state, head, Reach::Public).await?;
    let user = sender.user();
    state.limits.check_user(Kind::MediaUpload, user)?;
    let file_name = query(head.uri(), "filename");
    let upload = NewUpload {
        user: Some(user),
        target,
        content_type: content_type(head.headers())?,
        file_name: file_name.as_deref().map(checked_name).transpose()?,
        announced: announced(head.headers()),
    };
    state.media.check_upload(upload).await?;
    let stream = pin!(chunks(body, state.settings.body_timeout));
    let taking = state.media.upload(upload, stream);
    match tokio::time::timeout(MAX_UPLOAD_TIME, taking).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(media::Error::TooSlow.into()),
    }
}

/// The bytes of a body; each piece must come in time.
fn chunks(
    body: &mut BodyDataStream,
    patience: Duration,
) -> impl Stream<Item = Result<Bytes, media::Error>> + Send {
    stream::unfold(body, move |body| async move {
        let next = tokio::time::timeout(patience, body.next()).await;
        let chunk = match next {
            Ok(Some(Ok(chunk))) => Ok(chunk),
            Ok(Some(Err(_))) => Err(media::Error::BrokenOff),
            Ok(None) => return None,
            Err(_) => Err(media::Error::TooSlow),
        };
        Some((chunk, body))
    })
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The type that the client gives.
fn content_type(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(given) = headers.get(CONTENT_TYPE) else {
        return Ok(None);
    };
    match given.to_str() {
        Ok(text) if text.len() <= MAX_CONTENT_TYPE => {
            Ok(Some(text).filter(|text| !text.is_empty()))
        }
        _ => Err(ApiError::invalid_param("The Content-Type cannot be used")),
    }
}

fn checked_name(name: &str) -> Result<&str, ApiError> {
    if name.len() > MAX_FILE_NAME || name.chars().any(char::is_control) {
        return Err(ApiError::invalid_param("The file name cannot be used"));
    }
    Ok(name)
}
