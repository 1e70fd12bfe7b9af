//! `[audit]`: where it is written who changed what.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[audit]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Where the lines go.
    pub target: AuditTarget,
    /// The file, with the target `file`. `None`: `audit.log` in the data folder.
    pub file: Option<PathBuf>,
}

/// Where the lines of the audit log go.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditTarget {
    /// To a file.
    #[default]
    File,
    /// To the standard output, where journald takes them.
    Stdout,
    /// Nowhere.
    Off,
}
