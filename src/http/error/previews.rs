//! How refusals of previews look to clients.

use super::ApiError;
use crate::previews::Error;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Off => Self::no_such_endpoint(),
            Error::NotAUrl => Self::invalid_param(text),
            Error::Refused => Self::forbidden(text),
            Error::Unreachable => Self::not_found(text),
            Error::Store(error) => error.into(),
            Error::Media(error) => error.into(),
        }
    }
}
