//! Why an operation of the identity service failed.

use ruma::OwnedUserId;

use crate::{accounts, mail::MailError, policy::Violation, rooms, store::StoreError};

/// Why an operation of the identity service failed. Each variant notes Matrix's status and error
/// code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 401 `M_UNAUTHORIZED`: the token is missing, unknown, or works no more.
    #[error("unauthorized")]
    Unauthorized,
    /// 403 `M_UNAUTHORIZED`: the token's owner may not do this.
    #[error("{0}")]
    NotYours(&'static str),
    /// 403 `M_SERVER_NOT_TRUSTED`: a client named an identity server that is not this one.
    #[error("this server does not use that identity server")]
    UntrustedServer,
    /// 400 `M_UNRECOGNIZED`: a medium that is not e-mail.
    #[error("only e-mail addresses are known here")]
    UnknownMedium,
    /// 400 `M_INVALID_PARAM`.
    #[error("{0}")]
    InvalidParam(&'static str),
    /// 400 `M_INVALID_PEPPER`: the pepper is not in use any more.
    #[error("unknown or invalid pepper")]
    InvalidPepper,
    /// 400 `M_TOO_LARGE`: a look-up of too many addresses.
    #[error("too many addresses")]
    TooManyAddresses,
    /// 400 `M_THREEPID_IN_USE`: the address is somebody's.
    #[error("the address belongs to somebody already")]
    InUse {
        /// Whose it is.
        owner: OwnedUserId,
    },
    /// 404 `M_NO_VALID_SESSION`: there is no session with this id and secret.
    #[error("no session has this id and secret")]
    NoSession,
    /// 400 `M_SESSION_EXPIRED`.
    #[error("the session is over")]
    SessionExpired,
    /// 400 `M_SESSION_NOT_VALIDATED`: nobody opened the link yet.
    #[error("the session was not validated")]
    NotValidated,
    /// 400 `M_TOKEN_INCORRECT`.
    #[error("the token is incorrect")]
    WrongToken,
    /// 404 `M_UNRECOGNIZED`: no open invitation has this token.
    #[error("no open invitation has this token")]
    UnknownInvitation,
    /// 404 `M_NOT_FOUND`: there is no such binding, or no such key.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The status and code that the violation names.
    #[error(transparent)]
    Denied(#[from] Violation),
    /// Something could not be signed. Cannot happen for what is built here.
    #[error("cannot be signed: {0}")]
    Signing(String),
    /// A room says no.
    #[error(transparent)]
    Rooms(#[from] rooms::Error),
    /// Accounts say no.
    #[error(transparent)]
    Accounts(#[from] accounts::Error),
    /// A mail could not be handed over.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// 503 if transient, else 500.
    #[error(transparent)]
    Store(#[from] StoreError),
}
