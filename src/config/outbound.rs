//! `[outbound]`: requests to servers elsewhere.

use std::{fs, path::PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Problem;

/// `[outbound]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// Private networks that may be reached all the same.
    pub allow_networks: Vec<IpNet>,
    /// A PEM file of certificate authorities to trust beside those of the machine.
    pub certificate_authorities: Option<PathBuf>,
}

impl Outbound {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let file = self.certificate_authorities.as_ref();
        let error = file.and_then(|file| fs::metadata(file).err());
        let problem = |error| {
            let message = format!("cannot be read: {error}");
            Problem::new("outbound.certificate_authorities", message)
        };
        error.map(problem).into_iter().collect()
    }
}
