//! Requests to endpoints that no type of ruma's describes: Tchap's own, and those of Synapse that
//! tools use.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequestParts, Path, Request},
};
use bytes::Bytes;
use http::request::Parts;
use ruma::{OwnedUserId, UserId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, error::Category};

use super::{AppState, Kind, auth, body, error::ApiError};
use crate::accounts::{Reach, Requester};

/// An authenticated request.
pub(super) struct Plain {
    /// Who sent it.
    pub(super) sender: Arc<Requester>,
    /// The fields of its body; none if there is no body.
    pub(super) body: Map<String, Value>,
}

impl Plain {
    /// Reads a request of somebody whose account may do this.
    pub(super) async fn read(
        state: &AppState,
        request: Request,
        reach: Reach,
    ) -> Result<Self, ApiError> {
        let (sender, bytes) = Self::read_bytes(state, request, reach).await?;
        let body = fields(&bytes)?;
        Ok(Self { sender, body })
    }

    /// Reads a request whose body is of a type; none is as good as an empty one.
    pub(super) async fn read_typed<T: DeserializeOwned>(
        state: &AppState,
        request: Request,
        reach: Reach,
    ) -> Result<(Arc<Requester>, T), ApiError> {
        let (sender, bytes) = Self::read_bytes(state, request, reach).await?;
        let body = serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
            Category::Data => ApiError::bad_json(format!("Bad JSON: {error}")),
            _ => ApiError::not_json(format!("Not JSON: {error}")),
        })?;
        Ok((sender, body))
    }

    async fn read_bytes(
        state: &AppState,
        request: Request,
        reach: Reach,
    ) -> Result<(Arc<Requester>, Bytes), ApiError> {
        let (parts, body) = request.into_parts();
        let head = http::Request::from_parts(parts, ());
        match admit(state, &head, reach).await {
            Ok(sender) => Ok((sender, read(state, body).await?)),
            Err(error) => {
                body::drain(body, state.settings.body_timeout).await;
                Err(error)
            }
        }
    }

    /// Reads a request of an administrator.
    pub(super) async fn read_of_admin(
        state: &AppState,
        request: Request,
    ) -> Result<Self, ApiError> {
        let plain = Self::read(state, request, Reach::Public).await?;
        if plain.sender.is_admin() {
            Ok(plain)
        } else {
            Err(ApiError::forbidden("Only administrators may do this"))
        }
    }

    /// A field that must be there.
    pub(super) fn required(&self, name: &'static str) -> Result<&Value, ApiError> {
        self.optional(name)
            .ok_or_else(|| ApiError::missing_param(format!("Missing parameter: {name}")))
    }

    /// A field; null is as good as none.
    pub(super) fn optional(&self, name: &str) -> Option<&Value> {
        self.body.get(name).filter(|value| !value.is_null())
    }

    /// A field with a text.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, ApiError> {
        self.typed(name, Value::is_string, Value::as_str)
    }

    /// A field with true or false.
    pub(super) fn boolean(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        self.typed(name, Value::is_boolean, Value::as_bool)
    }

    /// A field with a whole number.
    pub(super) fn integer(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        self.typed(name, Value::is_i64, Value::as_i64)
    }

    fn typed<'a, T>(
        &'a self,
        name: &'static str,
        fits: impl Fn(&Value) -> bool,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        match self.optional(name) {
            None => Ok(None),
            Some(value) if fits(value) => Ok(read(value)),
            Some(_) => Err(ApiError::invalid_param(format!(
                "{name} has the wrong type"
            ))),
        }
    }
}

/// A request without its body, which nobody reads.
pub(super) fn head(request: Request) -> http::Request<()> {
    http::Request::from_parts(request.into_parts().0, ())
}

/// The sender of a request whose body nobody reads.
pub(super) async fn sender(
    state: &AppState,
    request: Request,
    reach: Reach,
) -> Result<Arc<Requester>, ApiError> {
    admit(state, &head(request), reach).await
}

/// Who sends a request, if their account may do this now.
pub(super) async fn admit(
    state: &AppState,
    head: &http::Request<()>,
    reach: Reach,
) -> Result<Arc<Requester>, ApiError> {
    let sender = auth::sender(head, state, reach).await?;
    state.limits.check_user(Kind::Read, sender.user())?;
    Ok(sender)
}

async fn read(state: &AppState, body: Body) -> Result<Bytes, ApiError> {
    let settings = &state.settings;
    body::read_json(body, settings.max_body_bytes, settings.body_timeout).await
}

fn fields(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(ApiError::bad_json("Expected an object")),
        Err(error) => Err(ApiError::not_json(format!("Not JSON: {error}"))),
    }
}

/// A user id of a path or a body.
pub(super) fn user_id(text: &str) -> Result<OwnedUserId, ApiError> {
    // The database keeps no NUL.
    UserId::parse(text)
        .ok()
        .filter(|user_id| !user_id.as_str().chars().any(char::is_control))
        .ok_or_else(|| ApiError::invalid_param("Not a user id"))
}

/// The user id of a path with one argument. It is looked at once the body was read, so that a
/// wrong one is answered after the client has sent everything.
pub(super) struct UserIdOfPath(Option<String>);

impl UserIdOfPath {
    /// The user id, if it is one.
    pub(super) fn parse(&self) -> Result<OwnedUserId, ApiError> {
        match &self.0 {
            Some(text) => user_id(text),
            None => Err(ApiError::invalid_param("The path is not UTF-8")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for UserIdOfPath {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(path.ok().map(|Path(text)| text)))
    }
}
