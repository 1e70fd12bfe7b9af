//! Requests whose whole body counts: beside the fields that ruma's type knows, the others.

use ruma::api::{IncomingRequest, Metadata, error::DeserializationError};
use serde_json::{Map, Value};

/// A request, and all fields of its body.
pub(super) struct WithFields<R> {
    /// What ruma makes of it.
    pub(super) body: R,
    /// Every field of the body.
    pub(super) fields: Map<String, Value>,
}

impl<R: Metadata> Metadata for WithFields<R> {
    const METHOD: http::Method = R::METHOD;
    const RATE_LIMITED: bool = R::RATE_LIMITED;
    type Authentication = R::Authentication;
    type PathBuilder = R::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = R::PATH_BUILDER;
}

impl<R: IncomingRequest> IncomingRequest for WithFields<R> {
    type EndpointError = R::EndpointError;
    type OutgoingResponse = R::OutgoingResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path: &[&str],
    ) -> Result<Self, DeserializationError> {
        let fields = serde_json::from_slice(request.body())?;
        let body = R::try_from_http_request_inner(request, path)?;
        Ok(Self { body, fields })
    }
}
