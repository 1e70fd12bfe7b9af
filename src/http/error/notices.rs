//! How refusals of server notices look to clients.

use http::StatusCode;

use super::ApiError;
use crate::notices::Error;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Off => Self::new(
                StatusCode::BAD_REQUEST,
                "M_UNKNOWN",
                "Server notices are not enabled on this server",
            ),
            Error::UnknownUser => Self::not_found("User not found"),
            Error::Rooms(error) => error.into(),
            Error::Accounts(error) => error.into(),
            Error::Store(error) => error.into(),
        }
    }
}
