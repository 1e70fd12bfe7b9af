//! What requests of this API have in common: a token of its own, and parameters in JSON or, as
//! drafts of the specification had it, as a form.

use axum::extract::Request;
use http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE};
use ruma::{OwnedUserId, UserId, api::auth_scheme::extract_bearer_or_query_token};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::{
    http::{
        ApiError, AppState, Kind,
        body::{drain, read_json},
        peer::ClientAddress,
    },
    identity::Holder,
};

/// The media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";

/// The longest text of a parameter, in bytes.
const MAX_TEXT: usize = 4096;

/// Who sends a request, which comes back for its body.
///
/// # Errors
/// 401 `M_UNAUTHORIZED`; 429.
pub(super) async fn holder(
    state: &AppState,
    request: Request,
) -> Result<(Holder, Request), ApiError> {
    let token = token(&request);
    let found = async {
        let holder = state.identity.authenticate(&token?).await?;
        state.limits.check_user(Kind::Read, holder.user)?;
        Ok(holder)
    };
    admitted(state, found.await, request).await
}

/// The token of a request.
pub(super) fn token(request: &Request) -> Result<String, ApiError> {
    let found = extract_bearer_or_query_token(request).ok().flatten();
    found
        .filter(|token| !token.is_empty())
        .ok_or_else(ApiError::identity_unauthorized)
}

/// Counts a request that nobody signs, which comes back for its body.
pub(super) async fn limited(state: &AppState, request: Request) -> Result<Request, ApiError> {
    let client = ClientAddress::of(request.extensions());
    let checked = state.limits.check_address(Kind::Read, client);
    let ((), request) = admitted(state, checked, request).await?;
    Ok(request)
}

/// Whoever is turned away hears it after having sent the body.
pub(in crate::http) async fn admitted<T>(
    state: &AppState,
    outcome: Result<T, ApiError>,
    request: Request,
) -> Result<(T, Request), ApiError> {
    match outcome {
        Ok(value) => Ok((value, request)),
        Err(error) => {
            drain(request.into_body(), state.settings.body_timeout).await;
            Err(error)
        }
    }
}

/// The parameters of a body.
pub(in crate::http) struct Parameters(Map<String, Value>);

impl Parameters {
    /// Reads them.
    pub(in crate::http) async fn read(
        state: &AppState,
        request: Request,
    ) -> Result<Self, ApiError> {
        let is_form = is_form(request.headers());
        let settings = &state.settings;
        let (limit, time) = (settings.max_body_bytes, settings.body_timeout);
        let bytes = read_json(request.into_body(), limit, time).await?;
        if is_form {
            let pairs = form_urlencoded::parse(&bytes);
            let fields =
                pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into())));
            return Ok(Self(fields.collect()));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::bad_json("Bad JSON: expected an object")),
            Err(error) => Err(ApiError::not_json(format!("Not JSON: {error}"))),
        }
    }

    /// Those of a query; of a name that stands twice the last one counts.
    pub(in crate::http) fn of_query(uri: &Uri) -> Self {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let fields = pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into())));
        Self(fields.collect())
    }

    /// A text that has to be there.
    pub(in crate::http) fn text(&self, name: &str) -> Result<&str, ApiError> {
        self.optional(name)?.ok_or_else(|| missing(name))
    }

    /// A text that may be there.
    pub(in crate::http) fn optional(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() <= MAX_TEXT && !text.contains('\0') => {
                Ok(Some(text))
            }
            Some(_) => Err(invalid(name)),
        }
    }

    /// A count, which a form has as a text.
    pub(super) fn count(&self, name: &str) -> Result<u64, ApiError> {
        let value = self.0.get(name).ok_or_else(|| missing(name))?;
        let parsed = match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        parsed.ok_or_else(|| invalid(name))
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, ApiError> {
        let value = self.0.get(name).ok_or_else(|| missing(name))?;
        let list = value.as_array().ok_or_else(|| invalid(name))?;
        list.iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| invalid(name))
    }

    /// A list of anything.
    pub(in crate::http) fn list(&self, name: &str) -> Result<&[Value], ApiError> {
        let value = self.0.get(name).ok_or_else(|| missing(name))?;
        value
            .as_array()
            .map(Vec::as_slice)
            .ok_or_else(|| invalid(name))
    }

    /// A user id.
    pub(super) fn user_id(&self, name: &str) -> Result<OwnedUserId, ApiError> {
        UserId::parse(self.text(name)?).map_err(|_| invalid(name))
    }

    /// An object inside.
    pub(super) fn object(&self, name: &str) -> Result<Self, ApiError> {
        let value = self.0.get(name).ok_or_else(|| missing(name))?;
        let fields = value.as_object().cloned();
        fields.map(Self).ok_or_else(|| invalid(name))
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with(FORM))
}

/// 400 `M_MISSING_PARAMS`, as this API calls it.
fn missing(name: &str) -> ApiError {
    let message = format!("Missing parameter: {name}");
    ApiError::new(StatusCode::BAD_REQUEST, "M_MISSING_PARAMS", message)
}

fn invalid(name: &str) -> ApiError {
    ApiError::invalid_param(format!("Not valid: {name}"))
}
