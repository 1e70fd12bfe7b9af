//! `[database]`: where PostgreSQL is, and how many connections to hold.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Problem, secret::Secret};

/// `[database]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// The address of the database, which may hold a password. If not set, the server looks
    /// after a private cluster in its data folder.
    pub url: Option<Secret>,
    /// A file that holds the address.
    pub url_file: Option<PathBuf>,
    /// How many connections this process holds at most.
    pub max_connections: u32,
    /// How long PostgreSQL lets one statement run, in milliseconds; 0 for no limit.
    pub statement_timeout_ms: u64,
    /// How long a request waits for a free connection, in milliseconds.
    pub acquire_timeout_ms: u64,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            max_connections: 16,
            statement_timeout_ms: 30_000,
            acquire_timeout_ms: 10_000,
        }
    }
}

impl Database {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let key = if self.url_file.is_some() {
            "database.url_file"
        } else {
            "database.url"
        };
        let is_postgres = |url: &Secret| {
            let url = url.expose();
            url.starts_with("postgres://") || url.starts_with("postgresql://")
        };
        if self.url.as_ref().is_some_and(|url| !is_postgres(url)) {
            // Not quoted: it may hold a password.
            problems.push(Problem::new(
                key,
                "expected an address that begins postgres://",
            ));
        }
        // One for the journal, one to listen, and one to answer with.
        if self.max_connections < 3 {
            let found = self.max_connections;
            let message = format!("found {found}, expected 3 or more");
            problems.push(Problem::new("database.max_connections", message));
        }
        if self.acquire_timeout_ms == 0 {
            let message = "found 0, expected 1 or more";
            problems.push(Problem::new("database.acquire_timeout_ms", message));
        }
        problems
    }
}
