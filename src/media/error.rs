//! Why something with media failed, in the words of the domain.

use crate::store::StoreError;

/// Why something with media failed. Each variant notes Matrix's status and error code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 404 `M_NOT_FOUND`: there are no such media, or nobody may have them.
    #[error("media not found")]
    NotFound,
    /// 400 `M_INVALID_PARAM`: a parameter makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// 504 `M_NOT_YET_UPLOADED`: the id was given out, and the bytes have not come yet.
    #[error("the content was not uploaded yet")]
    NotYetUploaded,
    /// 413 `M_TOO_LARGE`: more bytes than an upload may have.
    #[error("an upload may have {0} bytes at most")]
    TooLarge(u64),
    /// 403 `M_FORBIDDEN`: the user has uploaded as much as they may.
    #[error("you have uploaded as much as you may")]
    Quota,
    /// 403 `M_FORBIDDEN`: the id was given to somebody else.
    #[error("this id was given to somebody else")]
    NotYours,
    /// 403 `M_FORBIDDEN`: a picture that people and rooms cannot have.
    #[error("{0}")]
    BadAvatar(&'static str),
    /// 409 `M_CANNOT_OVERWRITE_MEDIA`: the id has its bytes already.
    #[error("the content was uploaded already")]
    Uploaded,
    /// 429 `M_LIMIT_EXCEEDED`: the user has too many ids whose bytes are still to come.
    #[error("too many uploads are pending")]
    TooManyPending,
    /// 400 `M_UNKNOWN`: no thumbnail can be made of this.
    #[error("no thumbnail can be made of this")]
    NoThumbnail,
    /// 413 `M_TOO_LARGE`: making a thumbnail would take more than it may.
    #[error("the image is too large for a thumbnail")]
    ImageTooLarge,
    /// 400 `M_UNKNOWN`: the upload broke off.
    #[error("the upload broke off")]
    BrokenOff,
    /// 408 `M_UNKNOWN`: the bytes of an upload come too slowly.
    #[error("the upload is too slow")]
    TooSlow,
    /// 503 `M_UNKNOWN`: as many thumbnails are made as can be.
    #[error("too many thumbnails are asked for")]
    Busy,
    /// 500 `M_UNKNOWN`: the bytes cannot be read or written.
    #[error("the object store failed")]
    Depot(#[source] object_store::Error),
    /// 500 `M_UNKNOWN`: something on this machine failed.
    #[error("{0}")]
    Local(&'static str, #[source] std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        Self::Depot(error)
    }
}
