//! `/_matrix/client/v1/media/download` and `/thumbnail`, and the old paths without access tokens.
//!
//! Specification v1.19, client-server API, "Content repository".

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request, State},
    response::Response,
    routing::get,
};
use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE},
};

use super::{
    media_headers::{self, Disposition, Span, span},
    media_request::{MediaPath, query},
};
use crate::{
    accounts::Reach,
    http::{ApiError, AppState, Kind, peer::ClientAddress, plain},
    media::{Access, Item, Method, Thumbnail, Wanted, depot::Content, hex},
};

/// How long somebody waits for bytes that are still to come, where they do not say.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest that somebody waits.
const MOST_PATIENCE: Duration = Duration::from_mins(1);
/// Thumbnails with longer sides count as downloads.
const SMALL: u32 = 320;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    let mut router = Router::new();
    for prefix in [
        "/_matrix/client/v1/media",
        "/_matrix/media/v3",
        "/_matrix/media/r0",
        "/_matrix/media/v1",
    ] {
        router = router
            .route(
                &format!("{prefix}/download/{{server_name}}/{{media_id}}"),
                get(download),
            )
            .route(
                &format!("{prefix}/download/{{server_name}}/{{media_id}}/{{file_name}}"),
                get(download),
            )
            .route(
                &format!("{prefix}/thumbnail/{{server_name}}/{{media_id}}"),
                get(thumbnail),
            );
    }
    router
}

/// `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}` and `…/{fileName}`.
async fn download(
    State(state): State<AppState>,
    path: MediaPath,
    request: Request,
) -> Result<Response, ApiError> {
    let head = plain::head(request);
    let access = admit(&state, &head, Cost::Whole).await?;
    let patience = patience(head.uri())?;
    let item = state
        .media
        .find(&path.server_name, &path.media_id, access, patience)
        .await?;
    state.scanner.check_elsewhere(&item).await?;
    whole(&state, head.headers(), &item, path.file_name.as_deref()).await
}

/// `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`.
async fn thumbnail(
    State(state): State<AppState>,
    path: MediaPath,
    request: Request,
) -> Result<Response, ApiError> {
    let head = plain::head(request);
    // Wrong arguments are told to whoever may ask at all.
    let wanted = wanted(head.uri());
    let is_small = |wanted: &Wanted| wanted.width.max(wanted.height) <= SMALL;
    let cost = match &wanted {
        Ok(wanted) if !is_small(wanted) => Cost::Whole,
        _ => Cost::Little,
    };
    let access = admit(&state, &head, cost).await?;
    let (wanted, patience) = (wanted?, patience(head.uri())?);
    let item = state
        .media
        .find(&path.server_name, &path.media_id, access, patience)
        .await?;
    state.scanner.check_elsewhere(&item).await?;
    small(&state, head.headers(), &item, wanted).await
}

/// A thumbnail.
pub(super) async fn small(
    state: &AppState,
    headers: &HeaderMap,
    item: &Item,
    wanted: Wanted,
) -> Result<Response, ApiError> {
    let etag = etag(item, Some(wanted))?;
    if is_known(headers, &etag) {
        return Ok(not_modified(etag));
    }
    let thumbnail = state.media.thumbnail(&item.file, wanted).await?;
    Ok(shown(thumbnail, etag))
}

/// What a request takes from its sender's limits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    Whole,
    Little,
}

/// Lets somebody with a session through; on the old paths anybody.
async fn admit(state: &AppState, head: &http::Request<()>, cost: Cost) -> Result<Access, ApiError> {
    let route = head.extensions().get::<MatchedPath>();
    let is_old = route.is_none_or(|route| !route.as_str().starts_with("/_matrix/client/"));
    if is_old {
        let address = ClientAddress::of(head.extensions());
        state.limits.check_address(Kind::Read, address)?;
        if cost == Cost::Whole {
            state.limits.check_address(Kind::MediaDownload, address)?;
        }
        return Ok(Access::Anybody);
    }
    let sender = plain::admit(state, head, Reach::Private).await?;
    if cost == Cost::Whole {
        state
            .limits
            .check_user(Kind::MediaDownload, sender.user())?;
    }
    Ok(Access::Session)
}

fn patience(uri: &Uri) -> Result<Duration, ApiError> {
    let Some(text) = query(uri, "timeout_ms") else {
        return Ok(PATIENCE);
    };
    let asked: u64 = text
        .parse()
        .map_err(|_| ApiError::invalid_param("timeout_ms is not a number"))?;
    Ok(Duration::from_millis(asked).min(MOST_PATIENCE))
}

/// What thumbnail a query asks for.
pub(super) fn wanted(uri: &Uri) -> Result<Wanted, ApiError> {
    let size = |name: &'static str| -> Result<u32, ApiError> {
        let text = query(uri, name)
            .ok_or_else(|| ApiError::missing_param(format!("Missing parameter: {name}")))?;
        text.parse()
            .map_err(|_| ApiError::invalid_param(format!("{name} is not a size")))
    };
    Ok(Wanted {
        width: size("width")?,
        height: size("height")?,
        method: match query(uri, "method").as_deref() {
            None | Some("scale") => Method::Scale,
            Some("crop") => Method::Crop,
            Some(_) => return Err(ApiError::invalid_param("method is neither crop nor scale")),
        },
        is_animated: match query(uri, "animated").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                return Err(ApiError::invalid_param(
                    "animated is neither true nor false",
                ));
            }
        },
    })
}

/// A content, or the part of it that is asked for.
pub(super) async fn whole(
    state: &AppState,
    headers: &HeaderMap,
    item: &Item,
    file_name: Option<&str>,
) -> Result<Response, ApiError> {
    let etag = etag(item, None)?;
    if is_known(headers, &etag) {
        return Ok(not_modified(etag));
    }
    let size = item.size();
    // A part of another content is of no use.
    let is_same = headers.get(IF_RANGE).is_none_or(|known| *known == etag);
    let range = headers.get(RANGE).filter(|_| is_same);
    let (status, range) = match range.map_or(Span::Whole, |range| span(range, size)) {
        Span::Whole => (StatusCode::OK, 0..size),
        Span::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Span::Nothing => return Ok(no_such_part(size)),
    };
    let bytes = state
        .media
        .read(&item.file.object_key, range.clone())
        .await?;
    let mut response = Response::new(body(bytes));
    *response.status_mut() = status;
    let out = response.headers_mut();
    let content_type = item.media.content_type.as_deref();
    let file_name = file_name.or(item.media.file_name.as_deref());
    media_headers::describe(out, content_type, Disposition::ByType(file_name));
    out.insert(ETAG, etag);
    out.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(CONTENT_LENGTH, (range.end - range.start).into());
    if status == StatusCode::PARTIAL_CONTENT {
        let last = range.end.saturating_sub(1);
        let text = format!("bytes {}-{last}/{size}", range.start);
        insert_text(out, &text);
    }
    Ok(response)
}

fn body(content: Content) -> Body {
    match content {
        Content::Kept(bytes) => Body::from(bytes),
        Content::Streamed(stream) => Body::from_stream(stream),
    }
}

fn shown(thumbnail: Thumbnail, etag: HeaderValue) -> Response {
    let ending = thumbnail.content_type.strip_prefix("image/");
    let name = format!("thumbnail.{}", ending.unwrap_or("bin"));
    let mut response = Response::new(body(thumbnail.bytes));
    let out = response.headers_mut();
    let shown = Disposition::Inline(&name);
    media_headers::describe(out, Some(&thumbnail.content_type), shown);
    out.insert(ETAG, etag);
    out.insert(CONTENT_LENGTH, thumbnail.size.into());
    response
}

fn no_such_part(size: u64) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    insert_text(response.headers_mut(), &format!("bytes */{size}"));
    response
}

fn insert_text(headers: &mut HeaderMap, content_range: &str) {
    if let Ok(value) = HeaderValue::from_str(content_range) {
        headers.insert(CONTENT_RANGE, value);
    }
}

fn not_modified(etag: HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    media_headers::protect(response.headers_mut());
    response.headers_mut().insert(ETAG, etag);
    response
}

/// The hash of the content, and what of it is given.
fn etag(item: &Item, wanted: Option<Wanted>) -> Result<HeaderValue, ApiError> {
    let hash = item.file.sha256.get(..16).unwrap_or_default();
    let part = wanted.map(|wanted| {
        let method = if wanted.method == Method::Crop {
            'c'
        } else {
            's'
        };
        let moves = if wanted.is_animated { "a" } else { "" };
        format!("-{}-{}-{method}{moves}", wanted.width, wanted.height)
    });
    let text = format!("\"{}{}\"", hex(hash), part.unwrap_or_default());
    HeaderValue::try_from(text).map_err(|error| ApiError::internal(&error))
}

fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok());
    let Ok(etag) = etag.to_str() else {
        return false;
    };
    known.is_some_and(|known| {
        let mut tags = known.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
    })
}
