//! How refusals of the media service look to clients.

use std::time::Duration;

use http::StatusCode;
use ruma::api::error::ErrorCode;

use super::ApiError;
use crate::media::Error;

/// When somebody with too many pending uploads may try again.
const PENDING: Duration = Duration::from_mins(1);

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound => Self::not_found("Media not found"),
            Error::Invalid(message) => Self::invalid_param(message),
            Error::NotYetUploaded => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                ErrorCode::NotYetUploaded,
                "Content has not yet been uploaded",
            ),
            Error::TooLarge(_) | Error::ImageTooLarge => Self::too_large(text),
            Error::Quota | Error::NotYours | Error::BadAvatar(_) => Self::forbidden(text),
            Error::Uploaded => Self::new(
                StatusCode::CONFLICT,
                ErrorCode::CannotOverwriteMedia,
                "Media already uploaded",
            ),
            Error::TooManyPending => Self::limit_exceeded(PENDING),
            Error::NoThumbnail => {
                Self::bad_request("Cannot generate thumbnails for the requested content")
            }
            Error::BrokenOff => Self::bad_request("The body broke off"),
            Error::TooSlow => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                ErrorCode::Unknown,
                "The body did not come in time",
            ),
            Error::Busy => Self::unavailable(),
            Error::Depot(_) | Error::Local(..) => Self::internal(&error),
            Error::Store(error) => error.into(),
        }
    }
}
