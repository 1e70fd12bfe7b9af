//! How the accounts service's refusals look to clients.

use http::StatusCode;
use ruma::api::error::ErrorCode;

use super::{ApiError, Note};
use crate::{
    accounts::Error,
    mail::MailError,
    policy::{Message, Violation},
};

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        const BAD_REQUEST: StatusCode = StatusCode::BAD_REQUEST;
        const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
        match error {
            Error::MissingParam(field) => {
                Self::missing_param(format!("Missing parameter: {field}"))
            }
            Error::InvalidParam(message) => Self::invalid_param(message),
            Error::UnknownLoginType => Self::bad_request("This kind of login is not offered"),
            Error::UnknownToken { soft_logout } => Self::unknown_token(soft_logout),
            Error::InteractiveAuth(info) => match serde_json::to_value(info) {
                Ok(body) => Self::interactive(body),
                Err(error) => Self::internal(&error),
            },
            Error::Forbidden(message) => Self::forbidden(message),
            Error::Deactivated => Self::new(
                FORBIDDEN,
                ErrorCode::UserDeactivated,
                "The account is deactivated",
            ),
            Error::Locked => Self::new(
                StatusCode::UNAUTHORIZED,
                ErrorCode::UserLocked,
                "This account has been locked",
            )
            .with("soft_logout", true),
            Error::Suspended => Self::new(
                FORBIDDEN,
                ErrorCode::UserSuspended,
                "You cannot perform this action while suspended",
            ),
            Error::Expired => Self::new(
                FORBIDDEN,
                "ORG_MATRIX_EXPIRED_ACCOUNT",
                "The account has expired: ask for the mail to renew it",
            ),
            Error::NoExpiry => Self::bad_request("This account never expires"),
            Error::ConsentNotGiven(page) => Self::new(
                FORBIDDEN,
                "M_CONSENT_NOT_GIVEN",
                format!("There are new terms to agree to: {page}"),
            )
            .with("consent_uri", page.as_str()),
            Error::ThreepidAuthFailed => Self::new(
                BAD_REQUEST,
                ErrorCode::ThreepidAuthFailed,
                "The link in the mail was not opened",
            ),
            Error::ServerNotTrusted => Self::new(
                FORBIDDEN,
                ErrorCode::ServerNotTrusted,
                "This identity server is not trusted",
            ),
            Error::Denied(violation) => violation.into(),
            Error::Exclusive => Self::exclusive(),
            Error::InvalidUsername => Self::new(
                BAD_REQUEST,
                ErrorCode::InvalidUsername,
                "The user name cannot be used",
            ),
            Error::UnknownDevice => Self::new(
                BAD_REQUEST,
                ErrorCode::UnknownDevice,
                "The user has no such device",
            ),
            Error::MissingServiceToken => Self::missing_token(),
            Error::UserInUse => {
                Self::new(BAD_REQUEST, ErrorCode::UserInUse, "The user name is taken")
            }
            Error::ThreepidInUse => Self::new(
                BAD_REQUEST,
                ErrorCode::ThreepidInUse,
                "The address belongs to an account already",
            ),
            Error::ThreepidNotFound => Self::new(
                BAD_REQUEST,
                ErrorCode::ThreepidNotFound,
                "No account has this address",
            ),
            Error::NotFound(message) => Self::not_found(message),
            Error::ProfileTooLarge => Self::new(
                BAD_REQUEST,
                "M_PROFILE_TOO_LARGE",
                "The profile would be too large",
            ),
            Error::KeyTooLarge => Self::new(
                BAD_REQUEST,
                "M_KEY_TOO_LARGE",
                "The name of the field is too long",
            ),
            Error::LimitExceeded { retry_after } => Self::limit_exceeded(retry_after),
            Error::Hashing(_) => Self::internal(&error),
            Error::Store(error) => error.into(),
            Error::Mail(error) => error.into(),
        }
    }
}

/// The two sentences go along, since clients show them.
impl From<Violation> for ApiError {
    fn from(violation: Violation) -> Self {
        let Violation {
            rule,
            kind,
            reason,
            message,
        } = violation;
        let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::FORBIDDEN);
        let Message { fr, en } = message;
        Self::new(status, kind.errcode(), en)
            .with("fr.gouv.tchap.reason", reason)
            .with("fr.gouv.tchap.message", fr.into_owned())
            .noted(Note::Denied { rule, reason })
    }
}

impl From<MailError> for ApiError {
    fn from(error: MailError) -> Self {
        match error {
            MailError::Store(error) => error.into(),
            MailError::Invalid(_) | MailError::Outbox(_) => Self::internal(&error),
        }
    }
}
