//! How the refusals of the keys service look to clients.

use http::StatusCode;
use ruma::api::error::ErrorCode;

use super::ApiError;
use crate::keys::Error;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::BadJson(_) => Self::bad_json(message),
            Error::Invalid(_) => Self::invalid_param(message),
            Error::Missing(_) => Self::missing_param(message),
            Error::Signature(_) => {
                Self::new(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", message)
            }
            Error::TooLarge(_) => Self::too_large(message),
            Error::Forbidden(_) => Self::forbidden(message),
            Error::NotFound(_) => Self::not_found(message),
            Error::WrongBackup { current } => Self::new(
                StatusCode::FORBIDDEN,
                ErrorCode::WrongRoomKeysVersion,
                message,
            )
            .with("current_version", current.to_string()),
            Error::Store(error) => error.into(),
        }
    }
}
