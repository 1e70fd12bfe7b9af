//! Why an operation on keys was refused.

use crate::store::StoreError;

/// Why an operation on keys was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The JSON has another shape than it must have.
    #[error("{0}")]
    BadJson(&'static str),
    /// Something has a value that it may not have.
    #[error("{0}")]
    Invalid(&'static str),
    /// Something is needed and not there.
    #[error("{0}")]
    Missing(&'static str),
    /// A signature is missing, or is not one.
    #[error("{0}")]
    Signature(&'static str),
    /// More than is taken at once, or kept.
    #[error("{0}")]
    TooLarge(&'static str),
    /// It may not be.
    #[error("{0}")]
    Forbidden(&'static str),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(&'static str),
    /// The backup is not the one that takes keys.
    #[error("this is not the current backup")]
    WrongBackup {
        /// The version of the one that does.
        current: i64,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
