//! Answers that are put together from texts which are JSON already.

use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use ruma::UserId;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::{
    accounts::Requester,
    http::{ApiError, error::JSON},
};

/// What the `filter` in a query says that ruma's types do not keep; nothing where there is none.
pub(super) fn filter_of<T: Default + DeserializeOwned>(query: Option<&str>) -> Result<T, ApiError> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let Some((_, filter)) = pairs.find(|(key, _)| key == "filter") else {
        return Ok(T::default());
    };
    serde_json::from_str(&filter).map_err(|error| ApiError::bad_json(error.to_string()))
}

/// An answer of JSON text.
pub(super) fn json(text: String) -> Response {
    ([(CONTENT_TYPE, JSON)], text).into_response()
}

/// A JSON array of texts.
pub(super) fn array(items: &[String]) -> String {
    let mut out = String::with_capacity(size(items));
    push_array(&mut out, items);
    out
}

/// A JSON object of arrays of texts, after `out`, which is the beginning of the object.
pub(super) fn object(mut out: String, arrays: &[(&str, &[String])]) -> String {
    let sizes = arrays
        .iter()
        .map(|(key, items)| key.len() + 4 + size(items));
    out.reserve(sizes.sum::<usize>() + 1);
    for (key, items) in arrays {
        if !out.ends_with('{') {
            out.push(',');
        }
        out.push('"');
        out.push_str(key);
        out.push_str("\":");
        push_array(&mut out, items);
    }
    out.push('}');
    out
}

fn push_array(out: &mut String, items: &[String]) {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(item);
    }
    out.push(']');
}

fn size(items: &[String]) -> usize {
    items.iter().map(|item| item.len() + 1).sum::<usize>() + 2
}

/// People look at and change what is theirs.
pub(super) fn require_self(sender: &Requester, user_id: &UserId) -> Result<(), ApiError> {
    if sender.user_id() == user_id {
        Ok(())
    } else {
        Err(ApiError::forbidden("This belongs to another user"))
    }
}
