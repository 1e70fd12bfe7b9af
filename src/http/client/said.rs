//! Requests of which more is wanted than ruma's types keep: whether something was said at all, where
//! they have a default in its place, or fields that they do not know.

use ruma::api::{IncomingRequest, Metadata, error::DeserializationError};
use serde::de::DeserializeOwned;

/// A request, with what else its body says.
pub(super) struct Said<R, S> {
    /// The request itself.
    pub(super) body: R,
    /// What else is wanted of the body.
    pub(super) said: S,
}

impl<R: Metadata, S> Metadata for Said<R, S> {
    const METHOD: http::Method = R::METHOD;
    const RATE_LIMITED: bool = R::RATE_LIMITED;
    type Authentication = R::Authentication;
    type PathBuilder = R::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = R::PATH_BUILDER;
}

impl<R: IncomingRequest, S: DeserializeOwned> IncomingRequest for Said<R, S> {
    type EndpointError = R::EndpointError;
    type OutgoingResponse = R::OutgoingResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path: &[&str],
    ) -> Result<Self, DeserializationError> {
        let said = serde_json::from_slice(request.body())?;
        let body = R::try_from_http_request_inner(request, path)?;
        Ok(Self { body, said })
    }
}
