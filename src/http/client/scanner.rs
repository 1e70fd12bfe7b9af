//! `/_matrix/media_proxy/unstable`: files that the antivirus has seen (tchap.md, 7.1 and 7.2).
//!
//! Its refusals have a shape of their own, `{"reason", "info"}`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, header::AUTHORIZATION};
use serde_json::json;

use super::media_download;
use crate::{
    accounts::Reach,
    http::{ApiError, AppState, Kind, body::read_json, peer::ClientAddress, plain},
    media::{self, Access, Item, split_uri},
    scanner::{Error, FileKey},
};

/// How long somebody waits for bytes that are still to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every endpoint of this file.
pub(super) fn routes(state: &AppState) -> Router<AppState> {
    if !state.scanner.is_on() {
        return Router::new();
    }
    let mut router = Router::new();
    let base = "/_matrix/media_proxy/unstable";
    router = router
        .route(&format!("{base}/scan/{{*path}}"), get(scan))
        .route(&format!("{base}/download/{{*path}}"), get(download))
        .route(&format!("{base}/thumbnail/{{*path}}"), get(thumbnail));
    for slash in ["", "/"] {
        router = router
            .route(&format!("{base}/public_key{slash}"), get(public_key))
            .route(
                &format!("{base}/scan_encrypted{slash}"),
                post(scan_encrypted),
            )
            .route(
                &format!("{base}/download_encrypted{slash}"),
                post(download_encrypted),
            );
    }
    router
}

/// Why a request was refused.
enum Refusal {
    Scanner(Error),
    Http(ApiError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Scanner(error)
    }
}

impl From<media::Error> for Refusal {
    fn from(error: media::Error) -> Self {
        Self::Scanner(Error::Media(error))
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Http(error)
    }
}

/// `GET …/public_key`.
async fn public_key(State(state): State<AppState>, request: Request) -> Response {
    let address = ClientAddress::of(request.extensions());
    if let Err(error) = state.limits.check_address(Kind::Read, address) {
        return refused(Refusal::Http(error));
    }
    Json(json!({ "public_key": state.scanner.public_key() })).into_response()
}

/// `GET …/scan/{server}/{mediaId}`.
async fn scan(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let asked = Asked::of(&request);
    let checked = async {
        asked.admit(&state, Kind::Read).await?;
        let item = asked.find(&state, &text(path)).await?;
        Ok::<_, Refusal>(state.scanner.check(&item, None).await?)
    };
    verdict(checked.await)
}

/// `POST …/scan_encrypted`.
async fn scan_encrypted(State(state): State<AppState>, request: Request) -> Response {
    let asked = Asked::of(&request);
    let checked = async {
        let key = asked.open(&state, request, Kind::Read).await?;
        let item = asked.find(&state, path_of(&key)?).await?;
        Ok::<_, Refusal>(state.scanner.check(&item, Some(&key)).await?)
    };
    verdict(checked.await)
}

/// `GET …/download/{server}/{mediaId}`.
async fn download(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let asked = Asked::of(&request);
    let given = async {
        asked.admit(&state, Kind::MediaDownload).await?;
        let item = asked.find(&state, &text(path)).await?;
        state.scanner.check(&item, None).await?;
        Ok::<_, Refusal>(media_download::whole(&state, &asked.headers, &item, None).await?)
    };
    given.await.unwrap_or_else(refused)
}

/// `POST …/download_encrypted`: the bytes as they are kept. The client decrypts them.
async fn download_encrypted(State(state): State<AppState>, request: Request) -> Response {
    let asked = Asked::of(&request);
    let given = async {
        let key = asked.open(&state, request, Kind::MediaDownload).await?;
        let item = asked.find(&state, path_of(&key)?).await?;
        state.scanner.check(&item, Some(&key)).await?;
        Ok::<_, Refusal>(media_download::whole(&state, &asked.headers, &item, None).await?)
    };
    given.await.unwrap_or_else(refused)
}

/// `GET …/thumbnail/{server}/{mediaId}`.
async fn thumbnail(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let asked = Asked::of(&request);
    let given = async {
        asked.admit(&state, Kind::Read).await?;
        let wanted = media_download::wanted(&asked.uri)?;
        let item = asked.find(&state, &text(path)).await?;
        // The whole image is looked at, and not what is made of it.
        state.scanner.check(&item, None).await?;
        Ok::<_, Refusal>(media_download::small(&state, &asked.headers, &item, wanted).await?)
    };
    given.await.unwrap_or_else(refused)
}

/// A path that is not UTF-8 names nothing.
fn text(path: Result<Path<String>, PathRejection>) -> String {
    path.map(|Path(path)| path).unwrap_or_default()
}

/// What is needed of a request beside its body.
struct Asked {
    head: http::Request<()>,
    uri: Uri,
    headers: HeaderMap,
    has_token: bool,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let mut head = http::Request::new(());
        *head.uri_mut() = request.uri().clone();
        *head.method_mut() = Method::GET;
        *head.headers_mut() = request.headers().clone();
        *head.extensions_mut() = request.extensions().clone();
        let headers = request.headers().clone();
        Self {
            head,
            uri: request.uri().clone(),
            has_token: headers.contains_key(AUTHORIZATION),
            headers,
        }
    }

    /// Lets somebody through, each time anew (CS-15). Without a token only what can be had without
    /// one is found.
    async fn admit(&self, state: &AppState, kind: Kind) -> Result<(), Refusal> {
        if !self.has_token {
            let address = ClientAddress::of(self.head.extensions());
            state.limits.check_address(kind, address)?;
            return Ok(());
        }
        let sender = plain::admit(state, &self.head, Reach::Private).await?;
        if kind != Kind::Read {
            state.limits.check_user(kind, sender.user())?;
        }
        Ok(())
    }

    /// The file and its key that the body names.
    async fn open(
        &self,
        state: &AppState,
        request: Request,
        kind: Kind,
    ) -> Result<FileKey, Refusal> {
        let settings = &state.settings;
        let body = read_json(
            request.into_body(),
            settings.max_body_bytes,
            settings.body_timeout,
        );
        let body = body.await;
        self.admit(state, kind).await?;
        let body: Bytes = body.map_err(|error| match error.errcode() {
            Some("M_NOT_JSON" | "M_BAD_JSON") => {
                Refusal::Scanner(Error::Malformed("the body is not an object"))
            }
            _ => Refusal::Http(error),
        })?;
        Ok(state.scanner.open(&body)?)
    }

    async fn find(&self, state: &AppState, path: &str) -> Result<Arc<Item>, Refusal> {
        let path = path.trim_end_matches('/');
        let parts = path.split_once('/').filter(|(_, id)| !id.contains('/'));
        let (server_name, media_id) = parts.ok_or(Error::MalformedId)?;
        let access = if self.has_token {
            Access::Session
        } else {
            Access::Anybody
        };
        match state
            .media
            .find(server_name, media_id, access, PATIENCE)
            .await
        {
            Err(media::Error::Invalid(_)) => Err(Error::MalformedId.into()),
            Err(media::Error::NotFound) if !self.has_token => Err(ApiError::missing_token().into()),
            found => Ok(found?),
        }
    }
}

/// The server and the media id of a file's mxc: URI.
fn path_of(key: &FileKey) -> Result<&str, Refusal> {
    split_uri(&key.url).ok_or(Error::MalformedId)?;
    Ok(key.url.trim_start_matches("mxc://"))
}

/// The answer to a scan: that a file is infected is one (CS-08, CS-13).
fn verdict(checked: Result<(), Refusal>) -> Response {
    let (is_clean, info) = match checked {
        Ok(()) => (true, "File is clean".to_owned()),
        Err(Refusal::Scanner(Error::Infected(info))) => (false, info),
        Err(Refusal::Scanner(error @ Error::MalformedId)) => (false, error.to_string()),
        Err(refusal) => return refused(refusal),
    };
    Json(json!({ "clean": is_clean, "info": info })).into_response()
}

fn refused(refusal: Refusal) -> Response {
    let error = match refusal {
        Refusal::Http(error) => return in_own_shape(error),
        Refusal::Scanner(error) => error,
    };
    let info = error.to_string();
    let (status, reason) = match error {
        Error::Malformed(_) => (StatusCode::BAD_REQUEST, "MCS_MALFORMED_JSON"),
        Error::BadDecryption => (StatusCode::FORBIDDEN, "MCS_BAD_DECRYPTION"),
        Error::Undecryptable => (StatusCode::BAD_REQUEST, "MCS_MEDIA_FAILED_TO_DECRYPT"),
        Error::Infected(_) | Error::MalformedId => (StatusCode::FORBIDDEN, "MCS_MEDIA_NOT_CLEAN"),
        Error::ForbiddenType(_) => (StatusCode::FORBIDDEN, "MCS_MIME_TYPE_FORBIDDEN"),
        Error::Unscanned | Error::Media(media::Error::Depot(_) | media::Error::Local(..)) => {
            (StatusCode::BAD_GATEWAY, "MCS_MEDIA_REQUEST_FAILED")
        }
        Error::Opaque => (StatusCode::FORBIDDEN, "M_FORBIDDEN"),
        Error::Media(error) => return in_own_shape(error.into()),
        Error::Store(error) => return in_own_shape(error.into()),
    };
    answer(status, reason, &info)
}

/// An error of this server in the scanner's shape (CS-04, CS-05, CS-12).
fn in_own_shape(error: ApiError) -> Response {
    let status = error.status();
    let reason = error.errcode().unwrap_or("M_UNKNOWN").to_owned();
    let headers = error.into_response().headers().clone();
    let info = status.canonical_reason().unwrap_or("Error");
    let mut response = answer(status, &reason, info);
    for (name, value) in &headers {
        if !response.headers().contains_key(name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

fn answer(status: StatusCode, reason: &str, info: &str) -> Response {
    (status, Json(json!({ "reason": reason, "info": info }))).into_response()
}
