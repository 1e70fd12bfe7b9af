//! What clients see when something goes wrong.
//!
//! Each service's error becomes an [`ApiError`] in one file of this folder, by a `match` without a
//! `_` arm. Causes that are not the client's business are logged here, once, and clients see
//! `M_UNKNOWN`.
//!
//! Specification v1.19, client-server API, "Standard error response" and "Rate limiting".

mod accounts;
mod identity;
mod keys;
mod media;
mod notices;
mod previews;
mod push;
mod rendezvous;
mod rooms;
mod scanner;
mod store;
mod sync;

use std::{borrow::Cow, error::Error, fmt, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use ruma::api::error::ErrorCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::audit::Note;

/// The type of all JSON answers.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How long a client waits before it tries again when the server is short of something.
const RETRY_SOON: Duration = Duration::from_secs(2);

/// An answer that says what went wrong.
pub struct ApiError(Box<Inner>);

struct Inner {
    status: StatusCode,
    body: Body,
    retry_after: Option<Duration>,
    note: Option<Note>,
}

enum Body {
    Standard(Standard),
    /// The next step of user-interactive authentication.
    Interactive(Value),
}

#[derive(Serialize)]
struct Standard {
    errcode: Cow<'static, str>,
    error: Cow<'static, str>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl ApiError {
    /// An error with a code of the specification, or any other code as a string.
    pub fn new(
        status: StatusCode,
        errcode: impl Into<ErrorCode>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::with_errcode(
            status,
            Cow::Owned(errcode.into().as_str().to_owned()),
            message.into(),
        )
    }

    fn with_errcode(
        status: StatusCode,
        errcode: Cow<'static, str>,
        error: Cow<'static, str>,
    ) -> Self {
        Self(Box::new(Inner {
            status,
            body: Body::Standard(Standard {
                errcode,
                error,
                fields: Map::new(),
            }),
            retry_after: None,
            note: None,
        }))
    }

    /// 401 with the flows, the session and the parameters of user-interactive authentication.
    ///
    /// Specification v1.19, client-server API, "User-interactive authentication API".
    pub fn interactive(body: Value) -> Self {
        Self(Box::new(Inner {
            status: StatusCode::UNAUTHORIZED,
            body: Body::Interactive(body),
            retry_after: None,
            note: None,
        }))
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message)
    }

    /// 403 `M_GUEST_ACCESS_FORBIDDEN`: guest accounts may not do this.
    pub fn guest_access_forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            ErrorCode::GuestAccessForbidden,
            "Guests may not do this",
        )
    }

    /// 400 `M_EXCLUSIVE`: a name belongs to an application service, or not to the one that asks.
    pub fn exclusive() -> Self {
        let message = "This name belongs to an application service, or not to this one";
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::Exclusive, message)
    }

    /// 404 `M_NOT_FOUND`: the endpoint is there, what it was asked for is not.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
    }

    /// 404 `M_UNRECOGNIZED`: there is no such endpoint.
    pub fn no_such_endpoint() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            ErrorCode::Unrecognized,
            "Unrecognized request",
        )
    }

    /// 405 `M_UNRECOGNIZED`: there is such an endpoint, with other methods.
    pub fn method_not_allowed() -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, ErrorCode::Unrecognized, "Method not allowed")
    }

    /// 400 `M_NOT_JSON`: the body is no JSON.
    pub fn not_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::NotJson, message)
    }

    /// 400 `M_BAD_JSON`: the body is JSON of another shape than the endpoint takes.
    pub fn bad_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadJson, message)
    }

    /// 400 `M_INVALID_PARAM`: a parameter that makes no sense.
    pub fn invalid_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidParam, message)
    }

    /// 400 `M_MISSING_PARAM`: a parameter that is not there.
    pub fn missing_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::MissingParam, message)
    }

    /// 400 `M_UNKNOWN`: the request cannot be followed, for a reason without a code of its own.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::Unknown, message)
    }

    /// 413 `M_TOO_LARGE`.
    pub fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, message)
    }

    /// 401 `M_MISSING_TOKEN`.
    pub fn missing_token() -> Self {
        let status = StatusCode::UNAUTHORIZED;
        Self::new(status, ErrorCode::MissingToken, "Missing access token")
    }

    /// 401 `M_UNKNOWN_TOKEN`; with `soft_logout` the client keeps its keys and logs in again.
    pub fn unknown_token(soft_logout: bool) -> Self {
        let status = StatusCode::UNAUTHORIZED;
        Self::new(status, ErrorCode::UnknownToken, "Unknown access token")
            .with("soft_logout", soft_logout)
    }

    /// 429 `M_LIMIT_EXCEEDED`, with `retry_after_ms` and `Retry-After`.
    pub fn limit_exceeded(retry_after: Duration) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let milliseconds = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        Self::new(status, ErrorCode::LimitExceeded, "Too many requests")
            .with("retry_after_ms", milliseconds)
            .retry_after(retry_after)
    }

    /// 503 `M_UNKNOWN`: the server is busy, or something it needs is away for now.
    pub fn unavailable() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(
            status,
            ErrorCode::Unknown,
            "The server is busy, try again soon",
        )
        .retry_after(RETRY_SOON)
    }

    /// 500 `M_UNKNOWN`. The cause is logged here, with the errors behind it.
    pub fn internal(cause: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = %Chain(cause), "request failed");
        Self::unknown()
    }

    /// 500 `M_UNKNOWN`, for a cause that was logged already.
    pub(super) fn unknown() -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, ErrorCode::Unknown, "Internal server error")
    }

    /// Adds a field beside `errcode` and `error`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        match &mut self.0.body {
            Body::Standard(body) => drop(body.fields.insert(name.to_owned(), value.into())),
            Body::Interactive(Value::Object(body)) => {
                drop(body.insert(name.to_owned(), value.into()));
            }
            Body::Interactive(_) => (),
        }
        self
    }

    /// Adds a `Retry-After` header, in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Adds why it was refused, for the audit log.
    #[must_use]
    pub(super) fn noted(mut self, note: Note) -> Self {
        self.0.note = Some(note);
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The `errcode`; none for a step of user-interactive authentication.
    pub fn errcode(&self) -> Option<&str> {
        match &self.0.body {
            Body::Standard(body) => Some(&body.errcode),
            Body::Interactive(body) => body.get("errcode").and_then(Value::as_str),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = match &self.0.body {
            Body::Standard(body) => serde_json::to_vec(body),
            Body::Interactive(body) => serde_json::to_vec(body),
        };
        // Strings and JSON values always serialize.
        let mut response = Response::new(body.unwrap_or_default().into());
        *response.status_mut() = self.0.status;
        response.headers_mut().insert(CONTENT_TYPE, JSON);
        if let Some(note) = self.0.note {
            response.extensions_mut().insert(note);
        }
        if let Some(delay) = self.0.retry_after {
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiError")
            .field("status", &self.0.status)
            .field("errcode", &self.errcode())
            .finish_non_exhaustive()
    }
}

/// An error and the errors that caused it, in one line.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut said = self.0.to_string();
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Many errors repeat their cause in their own words.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            next = cause.source();
        }
        Ok(())
    }
}
