//! What requests for media name.

use std::{collections::HashMap, convert::Infallible};

use axum::extract::{FromRequestParts, Path};
use http::{Uri, request::Parts};

/// The media of a path. What is no mxc: URI is refused by the service.
pub(super) struct MediaPath {
    pub(super) server_name: String,
    pub(super) media_id: String,
    pub(super) file_name: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for MediaPath {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        // A path that is not UTF-8 names nothing.
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let mut path = path.map(|Path(path)| path).unwrap_or_default();
        Ok(Self {
            server_name: path.remove("server_name").unwrap_or_default(),
            media_id: path.remove("media_id").unwrap_or_default(),
            file_name: path.remove("file_name"),
        })
    }
}

/// An argument of the query.
pub(super) fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut found = pairs.filter(|(key, _)| key == name);
    found.next().map(|(_, value)| value.into_owned())
}
