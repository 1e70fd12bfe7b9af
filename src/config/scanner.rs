//! `[scanner]`: the antivirus that files pass before people get them (tchap.md, 7).

use std::{path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    Problem,
    secret::Secret,
    units::{HumanDuration, HumanSize},
};

/// `[scanner]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scanner {
    /// Where `ClamAV` listens: `unix:/path` or `tcp:host:port`. Files are scanned where this or
    /// `command` is set.
    pub clamd: Option<Clamd>,
    /// A program with its arguments, which gets each file on its standard input, and ends with 0
    /// for a clean one and with 1 for an infected one.
    pub command: Vec<String>,
    /// Whether files that were not scanned can be had in no other way either.
    pub required: bool,
    /// Whether files pass that could not be scanned.
    pub pass_unscanned: bool,
    /// The largest file that is scanned.
    pub max_bytes: HumanSize,
    /// How long a scan may take.
    pub timeout: HumanDuration,
    /// How many files are scanned at once.
    pub max_scans: u32,
    /// For how long a verdict counts.
    pub verdict_lifetime: HumanDuration,
    /// The types that may pass, as their bytes tell them; all if empty.
    pub allowed_types: Vec<String>,
    /// The types that may not pass.
    pub blocked_types: Vec<String>,
    /// What people are told of infected files.
    pub infected_info: String,
    /// The private key to which clients encrypt the keys of files, as base64. Made at the first
    /// start and kept in the database if not set.
    pub private_key: Option<Secret>,
    /// A file that holds the key.
    pub private_key_file: Option<PathBuf>,
}

/// Where `ClamAV` listens.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Clamd {
    /// A socket of this machine.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
}

impl FromStr for Clamd {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) if address.contains(':') => Ok(Self::Tcp(address.to_owned())),
            _ => Err("expected unix:/path or tcp:host:port"),
        }
    }
}

impl TryFrom<String> for Clamd {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Clamd> for String {
    fn from(clamd: Clamd) -> Self {
        match clamd {
            Clamd::Unix(path) => format!("unix:{}", path.display()),
            Clamd::Tcp(address) => format!("tcp:{address}"),
        }
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            clamd: None,
            command: Vec::new(),
            required: false,
            pass_unscanned: false,
            max_bytes: HumanSize::from_bytes(100 * 1024 * 1024),
            timeout: HumanDuration::from_secs(60),
            max_scans: 16,
            verdict_lifetime: HumanDuration::from_secs(7 * 24 * 60 * 60),
            allowed_types: Vec::new(),
            blocked_types: Vec::new(),
            infected_info: "***VIRUS DETECTED***".to_owned(),
            private_key: None,
            private_key_file: None,
        }
    }
}

impl Scanner {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut hold = |is_right: bool, key: &str, message: &'static str| {
            if !is_right {
                problems.push(Problem::new(format!("scanner.{key}"), message));
            }
        };
        let has_engine = self.clamd.is_some() || !self.command.is_empty();
        hold(
            self.clamd.is_none() || self.command.is_empty(),
            "command",
            "contradicts `scanner.clamd`: give one of the two",
        );
        hold(
            has_engine || !self.required,
            "required",
            "needs `scanner.clamd` or `scanner.command`",
        );
        hold(
            self.allowed_types.is_empty() || self.blocked_types.is_empty(),
            "blocked_types",
            "contradicts `scanner.allowed_types`: give one of the two",
        );
        hold(
            self.max_scans > 0,
            "max_scans",
            "found 0, expected 1 or more",
        );
        hold(
            !self.timeout.is_zero(),
            "timeout",
            "found 0s, expected a longer time",
        );
        problems
    }
}
