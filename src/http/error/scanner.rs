//! How refusals of the content scanner look to those who did not ask it.

use super::ApiError;
use crate::scanner::Error;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Malformed(message) => Self::bad_json(message),
            Error::MalformedId => Self::invalid_param(text),
            Error::BadDecryption
            | Error::Undecryptable
            | Error::Infected(_)
            | Error::ForbiddenType(_)
            | Error::Opaque => Self::forbidden(text),
            Error::Unscanned => Self::unavailable(),
            Error::Media(error) => error.into(),
            Error::Store(error) => error.into(),
        }
    }
}
