//! `[application_services]`: the bridges and bots that act for many users.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Problem, units::HumanDuration};

/// `[application_services]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApplicationServices {
    /// Registration files, and folders that hold such files (`*.yaml`, `*.yml`).
    pub registrations: Vec<PathBuf>,
    /// How long an application service may take to answer.
    pub timeout: HumanDuration,
}

impl Default for ApplicationServices {
    fn default() -> Self {
        Self {
            registrations: Vec::new(),
            timeout: HumanDuration::from_secs(30),
        }
    }
}

impl ApplicationServices {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.timeout.is_zero() {
            let message = "found 0s, expected a longer time";
            problems.push(Problem::new("application_services.timeout", message));
        }
        problems
    }
}
