//! How the rooms service's refusals look to clients.

use http::StatusCode;
use ruma::api::error::ErrorCode;

use super::ApiError;
use crate::{
    event::{BuildError, EventError},
    rooms::Error,
};

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::UnknownRoom
            | Error::UnknownEvent
            | Error::UnknownState
            | Error::UnknownAlias
            | Error::UnknownUser
            | Error::NotFound(_)
            | Error::Unreachable => Self::not_found(message),
            Error::GuestAccess => Self::new(
                StatusCode::FORBIDDEN,
                ErrorCode::GuestAccessForbidden,
                message,
            ),
            Error::NotJoined | Error::Forbidden(_) | Error::SearchDisabled => {
                Self::forbidden(message)
            }
            Error::InviteBlocked => {
                Self::new(StatusCode::FORBIDDEN, ErrorCode::InviteBlocked, message)
            }
            Error::Denied(violation) => violation.into(),
            Error::Event(error) => event(&error),
            Error::TooLarge(_) => Self::too_large(message),
            Error::ServerManaged => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadJson, message)
            }
            Error::Invalid(_) => Self::invalid_param(message),
            Error::BadJson(_) | Error::BadContent(_) => Self::bad_json(message),
            Error::InvalidRoomState(_) => Self::new(
                StatusCode::BAD_REQUEST,
                ErrorCode::InvalidRoomState,
                message,
            ),
            Error::NoticesRoom => Self::new(
                StatusCode::FORBIDDEN,
                "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM",
                message,
            ),
            Error::NotLeft | Error::NestedThread => Self::bad_request(message),
            Error::UnsupportedVersion(_) => Self::new(
                StatusCode::BAD_REQUEST,
                ErrorCode::UnsupportedRoomVersion,
                message,
            ),
            Error::AliasExclusive => Self::exclusive(),
            Error::AliasTaken => Self::new(StatusCode::BAD_REQUEST, ErrorCode::RoomInUse, message),
            Error::BadAlias(_) => Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadAlias, message),
            Error::DelayTooLong(most) => {
                let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
                Self::forbidden(message)
                    .with("org.matrix.msc4140.errcode", "M_MAX_DELAY_EXCEEDED")
                    .with("org.matrix.msc4140.max_delay", most)
            }
            Error::TooManyDelayed { retry_after } => Self::limit_exceeded(retry_after).with(
                "org.matrix.msc4140.errcode",
                "M_MAX_DELAYED_EVENTS_EXCEEDED",
            ),
            Error::DelayedDone => Self::new(StatusCode::CONFLICT, ErrorCode::Unknown, message),
            Error::HeldBack => Self::new(StatusCode::FORBIDDEN, ErrorCode::UserSuspended, message),
            Error::DuplicateAnnotation => Self::new(
                StatusCode::BAD_REQUEST,
                ErrorCode::DuplicateAnnotation,
                message,
            ),
            Error::NotInThread => Self::new(
                StatusCode::BAD_REQUEST,
                "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD",
                message,
            ),
            Error::Unsubscribed => Self::new(
                StatusCode::CONFLICT,
                "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION",
                message,
            ),
            Error::Busy => Self::unavailable(),
            Error::Store(error) => error.into(),
        }
    }
}

fn event(error: &EventError) -> ApiError {
    let message = error.to_string();
    match error {
        EventError::Refused(_) => ApiError::forbidden(message),
        EventError::Build(BuildError::TooLarge(_) | BuildError::FieldTooLong(_)) => {
            ApiError::too_large(message)
        }
        EventError::Build(_) => ApiError::bad_json(message),
    }
}
