//! What can go wrong with the private cluster. Each message is one line that says what to do.

use std::{io, path::PathBuf};

/// Why there is no private cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The machine has no PostgreSQL server.
    #[error(
        "no PostgreSQL server is installed: install it (Debian, Ubuntu: apt-get install \
         postgresql), or name an existing server with database.url"
    )]
    NoBinaries,
    /// The machine's PostgreSQL is older than what the schema needs.
    #[error(
        "PostgreSQL {found} is too old: install version {oldest} or newer, or name an existing \
         server with database.url"
    )]
    TooOld {
        /// The newest major version that was found.
        found: u32,
        /// The oldest major version that will do.
        oldest: u32,
    },
    /// The cluster was made by a major version whose binaries are not there.
    #[error(
        "{folder} was made by PostgreSQL {needed}, and only version {found} is installed: install \
         that one (Debian, Ubuntu: apt-get install postgresql-{needed}), or move the data with \
         pg_upgrade"
    )]
    OtherVersion {
        /// The folder of the data.
        folder: PathBuf,
        /// The major version that made it.
        needed: u32,
        /// The major versions that were found.
        found: String,
    },
    /// Another process looks after the cluster.
    #[error("the database in {folder} is in use by another chappe process")]
    InUse {
        /// The folder of the cluster.
        folder: PathBuf,
    },
    /// Root starts the cluster, and there is nobody to run it as.
    #[error(
        "PostgreSQL refuses to run as root, and /etc/passwd has neither a user postgres nor nobody"
    )]
    NoAccount,
    /// The data belong to somebody whom we cannot act for.
    #[error("{folder} belongs to user {owner}, who must run chappe or be given its data")]
    OtherOwner {
        /// The folder of the data.
        folder: PathBuf,
        /// The numeric id of its owner.
        owner: u32,
    },
    /// The user that runs PostgreSQL cannot get to the cluster.
    #[error(
        "the user {account}, who runs PostgreSQL, cannot enter {closed}: allow it (chmod o+x), or \
         put the data elsewhere than in {folder}"
    )]
    Closed {
        /// The folder that is closed.
        closed: PathBuf,
        /// The folder of the cluster.
        folder: PathBuf,
        /// The name of the user.
        account: String,
    },
    /// The folder for the socket is not ours alone.
    #[error("{folder}, which is to hold the database's socket, is not private: remove it")]
    OpenSocketFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// A setting's name or value cannot be written down.
    #[error("the PostgreSQL setting {name:?} has a malformed name or value")]
    Setting {
        /// Its name.
        name: String,
    },
    /// A PostgreSQL program failed.
    #[error("{program} failed: {reason}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What it said.
        reason: String,
    },
    /// The server ended instead of starting.
    #[error("PostgreSQL did not start: {reason} (its log is in {log})")]
    Start {
        /// What it said last.
        reason: String,
        /// The folder of its log.
        log: PathBuf,
    },
    /// The server runs, and does not answer.
    #[error("PostgreSQL did not answer within {seconds} seconds")]
    NoAnswer {
        /// How long it was waited for.
        seconds: u64,
    },
    /// An earlier server cannot be stopped.
    #[error("an earlier PostgreSQL server in {folder} does not stop")]
    LeftBehind {
        /// The folder of the data.
        folder: PathBuf,
    },
    /// The operating system refused something.
    #[error("could not {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}
