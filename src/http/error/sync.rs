//! How the sync service's refusals look to clients.

use http::StatusCode;

use super::ApiError;
use crate::sync::Error;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownFilter => Self::invalid_param("Unknown filter"),
            Error::UnknownPosition => Self::new(
                StatusCode::BAD_REQUEST,
                "M_UNKNOWN_POS",
                "The connection is over, begin a new one",
            ),
            Error::Invalid(message) => Self::invalid_param(message),
            Error::InvalidToken(_) => Self::invalid_param("Not a sync token"),
            Error::Rooms(error) => error.into(),
            Error::Keys(error) => error.into(),
            Error::Store(error) => error.into(),
        }
    }
}
