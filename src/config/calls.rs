//! `[calls]`: what clients need to call each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{Problem, secret::Secret, units::HumanDuration};

/// `[calls]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calls {
    /// The addresses of TURN servers (specification v1.19, client-server API, "Voice over IP").
    pub turn_uris: Vec<String>,
    /// The secret that these servers share with this one; without one they are not told.
    pub turn_secret: Option<Secret>,
    /// A file that holds the secret.
    pub turn_secret_file: Option<PathBuf>,
    /// How long the credentials for a call are good.
    pub turn_lifetime: HumanDuration,
    /// The services that give out places on `LiveKit` servers, for calls of several people
    /// (MSC4143, MSC4195).
    pub livekit_service_urls: Vec<Url>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            turn_uris: Vec::new(),
            turn_secret: None,
            turn_secret_file: None,
            turn_lifetime: HumanDuration::from_secs(86_400),
            livekit_service_urls: Vec::new(),
        }
    }
}

impl Calls {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let is_turn = |uri: &&String| {
            let place = uri.strip_prefix("turns:").or(uri.strip_prefix("turn:"));
            place.is_none_or(|place| place.is_empty() || place.starts_with('/'))
        };
        if let Some(uri) = self.turn_uris.iter().find(is_turn) {
            let message =
                format!("{uri:?} is not an address such as \"turn:turn.example.org:3478\"");
            problems.push(Problem::new("calls.turn_uris", message));
        }
        if !self.turn_uris.is_empty()
            && self.turn_secret.is_none()
            && self.turn_secret_file.is_none()
        {
            let message = "needs the secret of these servers: `turn_secret` or `turn_secret_file`";
            problems.push(Problem::new("calls.turn_uris", message));
        }
        let is_web = |url: &&Url| !matches!(url.scheme(), "https" | "http");
        if let Some(url) = self.livekit_service_urls.iter().find(is_web) {
            let message = format!("{url} is not an https address");
            problems.push(Problem::new("calls.livekit_service_urls", message));
        }
        problems
    }
}
