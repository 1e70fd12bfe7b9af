//! How refusals of the places where devices meet look to clients.

use std::time::Duration;

use http::StatusCode;

use super::ApiError;
use crate::rendezvous::Error;

/// When somebody may try again to open a place where there are too many.
const TOO_MANY: Duration = Duration::from_secs(30);

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::NotFound => Self::not_found(message),
            Error::Changed(_) => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "M_CONCURRENT_WRITE",
                message,
            ),
            Error::TooLarge(_) => Self::too_large(message),
            Error::TooMany => Self::limit_exceeded(TOO_MANY),
            Error::Store(error) => error.into(),
        }
    }
}
