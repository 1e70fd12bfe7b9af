//! What can go wrong between the program and its database.

/// A failed database operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// PostgreSQL refused, was not there, or did not answer in time.
    #[error("database: {0}")]
    Driver(#[source] sqlx::Error),
    /// A migration failed, or the database is newer than the program.
    #[error("migration: {0}")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// A row that makes no sense.
    #[error("inconsistent row in {table}.{column}, key {key}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What names the row.
        key: String,
    },
    /// The room got another event first: build on its new head and try again.
    #[error("the room has moved on")]
    Conflict,
    /// The journal takes no more writes for now.
    #[error("the journal is full")]
    Overloaded,
    /// The connection broke: nobody knows whether the write held.
    #[error("the database went away")]
    Unavailable,
    /// The process is shutting down.
    #[error("the journal has stopped")]
    Stopped,
}

impl StoreError {
    /// A row that does not parse.
    pub fn inconsistent(
        table: &'static str,
        column: &'static str,
        key: impl std::fmt::Display,
    ) -> Self {
        Self::Inconsistent {
            table,
            column,
            key: key.to_string(),
        }
    }

    /// The name of the unique constraint that refused a row, if that is what happened.
    pub fn unique(&self) -> Option<&str> {
        match self {
            Self::Driver(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                error.constraint()
            }
            _ => None,
        }
    }

    /// Whether the connection broke during the operation, so that its outcome is unknown.
    pub fn is_connection_lost(&self) -> bool {
        match self {
            Self::Driver(error) => match error {
                sqlx::Error::Database(error) => error
                    .code()
                    .is_some_and(|code| code.starts_with("08") || code.starts_with("57P")),
                sqlx::Error::Io(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::Tls(_)
                | sqlx::Error::WorkerCrashed => true,
                _ => false,
            },
            Self::Unavailable => true,
            _ => false,
        }
    }

    /// Whether the same operation may succeed later: the database restarts or is overloaded.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Overloaded | Self::Conflict | Self::Unavailable => true,
            Self::Driver(error) => match error {
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
                // Class 08: connection; 57P: shutdown; 40: rollback; 53: resources; 55P03: lock.
                sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                    code.starts_with("08")
                        || code.starts_with("57P")
                        || code.starts_with("40")
                        || code.starts_with("53")
                        || code == "55P03"
                }),
                _ => false,
            },
            _ => false,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}
