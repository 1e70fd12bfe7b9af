//! `[logging]`: what is logged, and in which form.

use serde::{Deserialize, Serialize};

use crate::telemetry::{self, LogFormat};

use super::Problem;

/// `[logging]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// A level, and levels of single modules, as `tracing_subscriber::EnvFilter` reads them.
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: "info,ruma_state_res=warn".to_owned(),
            format: LogFormat::default(),
        }
    }
}

impl Logging {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let fault = telemetry::check_level(&self.level).err();
        let problem = |error| {
            let message = format!(
                "found \"{}\", expected levels such as \"info,chappe=debug\": {error}",
                self.level
            );
            Problem::new("logging.level", message)
        };
        fault.map(problem).into_iter().collect()
    }
}
