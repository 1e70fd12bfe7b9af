//! Why a pusher is refused.

use crate::{rooms, store::StoreError};

/// Why an operation on pushers failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something of it cannot be used.
    #[error("{0}")]
    Invalid(&'static str),
    /// The address is not one of the user's.
    #[error("the address does not belong to the user")]
    UnknownAddress,
    /// A room could not be read.
    #[error(transparent)]
    Rooms(#[from] rooms::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
