//! Why an operation on accounts failed.

use std::time::Duration;

use ruma::api::client::uiaa::UiaaInfo;
use url::Url;

use crate::{
    mail::MailError,
    policy::{LocalpartError, PasswordProblem, Violation},
    store::StoreError,
};

/// Why an operation on accounts failed. Each variant notes Matrix's status and error code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 400 `M_MISSING_PARAM`: a field is needed and not there.
    #[error("missing parameter: {0}")]
    MissingParam(&'static str),
    /// 400 `M_INVALID_PARAM`: a field has a value that cannot be used.
    #[error("{0}")]
    InvalidParam(&'static str),
    /// 400 `M_UNKNOWN`: a kind of login that this server does not offer.
    #[error("this kind of login is not offered")]
    UnknownLoginType,
    /// 401 `M_UNKNOWN_TOKEN`: the token is nobody's, or works no more.
    #[error("unknown token")]
    UnknownToken {
        /// Whether the client may keep its keys and log in, or refresh its token.
        soft_logout: bool,
    },
    /// 401 with the body of user-interactive authentication: more proofs are needed.
    #[error("more authentication is needed")]
    InteractiveAuth(Box<UiaaInfo>),
    /// 403 `M_FORBIDDEN`.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 403 `M_USER_DEACTIVATED`: the credentials are right, and the account is closed.
    #[error("the account is deactivated")]
    Deactivated,
    /// 401 `M_USER_LOCKED`: an administrator has locked the account.
    #[error("the account is locked")]
    Locked,
    /// 403 `M_USER_SUSPENDED`: an administrator has suspended the account.
    #[error("the account is suspended")]
    Suspended,
    /// 403 `ORG_MATRIX_EXPIRED_ACCOUNT`: the account was not renewed in time (AV-04).
    #[error("the account has expired")]
    Expired,
    /// 400 `M_UNKNOWN`: the account never expires (AV-07).
    #[error("the account never expires")]
    NoExpiry,
    /// 403 `M_CONSENT_NOT_GIVEN`: there are terms to agree to, on the page with this address.
    #[error("there are terms to agree to")]
    ConsentNotGiven(Box<Url>),
    /// 400 `M_THREEPID_AUTH_FAILED`: nobody has shown that the address is theirs.
    #[error("the address was not proved")]
    ThreepidAuthFailed,
    /// 403 `M_SERVER_NOT_TRUSTED`: an identity server that is not this one.
    #[error("this identity server is not trusted")]
    ServerNotTrusted,
    /// The status and code that the violation names: a rule of this server says no.
    #[error(transparent)]
    Denied(Violation),
    /// 400 `M_EXCLUSIVE`: the name is an application service's, or is not the one's that asks.
    #[error("the name belongs to an application service, or not to this one")]
    Exclusive,
    /// 400 `M_INVALID_USERNAME`: the name is none that a user id can have.
    #[error("the user name cannot be used")]
    InvalidUsername,
    /// 400 `M_UNKNOWN_DEVICE`: the user has no such device.
    #[error("the user has no such device")]
    UnknownDevice,
    /// 401 `M_MISSING_TOKEN`: the request needs the token of an application service.
    #[error("the token of an application service is missing")]
    MissingServiceToken,
    /// 400 `M_USER_IN_USE`.
    #[error("the user name is taken")]
    UserInUse,
    /// 400 `M_THREEPID_IN_USE`.
    #[error("the address belongs to an account already")]
    ThreepidInUse,
    /// 400 `M_THREEPID_NOT_FOUND`.
    #[error("no account has this address")]
    ThreepidNotFound,
    /// 404 `M_NOT_FOUND`.
    #[error("{0}")]
    NotFound(&'static str),
    /// 400 `M_PROFILE_TOO_LARGE`: the fields of a profile are too long together.
    #[error("the profile would be too large")]
    ProfileTooLarge,
    /// 400 `M_KEY_TOO_LARGE`: the name of a profile's field is too long.
    #[error("the name of the field is too long")]
    KeyTooLarge,
    /// 429 `M_LIMIT_EXCEEDED`.
    #[error("too many requests")]
    LimitExceeded {
        /// When to try again.
        retry_after: Duration,
    },
    /// 500: a password could not be hashed.
    #[error("passwords cannot be hashed: {0}")]
    Hashing(String),
    /// 503 if transient, else 500.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A mail was not queued: 503 if the database is away, else 500.
    #[error(transparent)]
    Mail(#[from] MailError),
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Denied(violation)
    }
}

impl From<PasswordProblem> for Error {
    fn from(problem: PasswordProblem) -> Self {
        Self::Denied(problem.into())
    }
}

impl From<LocalpartError> for Error {
    fn from(error: LocalpartError) -> Self {
        Self::Denied(error.into())
    }
}
