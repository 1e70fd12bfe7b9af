//! How the identity service's refusals look to clients.

use http::StatusCode;
use ruma::api::error::ErrorCode;

use super::ApiError;
use crate::identity::Error;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        const BAD_REQUEST: StatusCode = StatusCode::BAD_REQUEST;
        let message = error.to_string();
        match error {
            Error::Unauthorized => Self::identity_unauthorized(),
            Error::NotYours(_) => {
                Self::new(StatusCode::FORBIDDEN, ErrorCode::Unauthorized, message)
            }
            Error::UntrustedServer => {
                Self::new(StatusCode::FORBIDDEN, ErrorCode::ServerNotTrusted, message)
            }
            Error::UnknownMedium => Self::new(BAD_REQUEST, ErrorCode::Unrecognized, message),
            Error::InvalidParam(_) => Self::invalid_param(message),
            Error::InvalidPepper => Self::new(BAD_REQUEST, "M_INVALID_PEPPER", message),
            Error::TooManyAddresses => Self::new(BAD_REQUEST, ErrorCode::TooLarge, message),
            Error::InUse { owner } => Self::new(BAD_REQUEST, ErrorCode::ThreepidInUse, message)
                .with("mxid", owner.to_string()),
            Error::NoSession => Self::new(StatusCode::NOT_FOUND, "M_NO_VALID_SESSION", message),
            Error::SessionExpired => Self::new(BAD_REQUEST, "M_SESSION_EXPIRED", message),
            Error::NotValidated => Self::new(BAD_REQUEST, "M_SESSION_NOT_VALIDATED", message),
            Error::WrongToken => Self::new(BAD_REQUEST, "M_TOKEN_INCORRECT", message),
            Error::UnknownInvitation => {
                Self::new(StatusCode::NOT_FOUND, ErrorCode::Unrecognized, message)
            }
            Error::NotFound(_) => Self::not_found(message),
            Error::Signing(_) => Self::internal(&error),
            Error::Denied(violation) => violation.into(),
            Error::Rooms(error) => error.into(),
            Error::Accounts(error) => error.into(),
            Error::Mail(error) => error.into(),
            Error::Store(error) => error.into(),
        }
    }
}

impl ApiError {
    /// 401 `M_UNAUTHORIZED`: what the identity service says to a token that is missing or unknown.
    pub(in crate::http) fn identity_unauthorized() -> Self {
        let message = "Missing or unknown access token";
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
    }
}
