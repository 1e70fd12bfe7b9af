//! How refusals of pushers look to clients.

use http::StatusCode;

use super::ApiError;
use crate::push::Error;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(message) => Self::invalid_param(message),
            Error::UnknownAddress => Self::new(
                StatusCode::BAD_REQUEST,
                "M_THREEPID_NOT_FOUND",
                "The address does not belong to this account",
            ),
            Error::Rooms(error) => error.into(),
            Error::Store(error) => error.into(),
        }
    }
}
