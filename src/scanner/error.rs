//! Why a file does not pass.

use crate::{media, store::StoreError};

/// Why a file does not pass. Each variant notes its row, status and reason.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// CS-01, 400 `MCS_MALFORMED_JSON`.
    #[error("{0}")]
    Malformed(&'static str),
    /// CS-02, 403 `MCS_BAD_DECRYPTION`: the client asks for the public key again.
    #[error("the body cannot be decrypted")]
    BadDecryption,
    /// CS-03, 400 `MCS_MEDIA_FAILED_TO_DECRYPT`.
    #[error("the file cannot be decrypted")]
    Undecryptable,
    /// CS-07 and CS-08, 403 `MCS_MEDIA_NOT_CLEAN`.
    #[error("{0}")]
    Infected(String),
    /// CS-09, 403 `MCS_MIME_TYPE_FORBIDDEN`.
    #[error("files of the type {0} are not allowed")]
    ForbiddenType(String),
    /// CS-10, 502 `MCS_MEDIA_REQUEST_FAILED`: nobody could look at it.
    #[error("the file could not be scanned")]
    Unscanned,
    /// CS-11, 403 `MCS_MEDIA_NOT_CLEAN`.
    #[error("Malformed media ID")]
    MalformedId,
    /// The file must be asked for with its key.
    #[error("this file can be had through the content scanner only")]
    Opaque,
    /// CS-05 and others: the file cannot be found or read.
    #[error(transparent)]
    Media(#[from] media::Error),
    /// CS-12: the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
