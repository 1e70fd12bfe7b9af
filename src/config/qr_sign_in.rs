//! `[qr_sign_in]`: signing in on another device by a QR code.

use serde::{Deserialize, Serialize};

use super::{
    Problem,
    units::{HumanDuration, HumanSize},
};

/// The longest that two devices may take.
const MAX_LIFETIME_SECONDS: u64 = 3_600;
/// The most that they may say at once.
const MAX_PAYLOAD: u64 = 65_536;

/// `[qr_sign_in]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QrSignIn {
    /// Whether the server passes on what two devices say to each other (MSC4108).
    pub enabled: bool,
    /// How long they may take.
    pub lifetime: HumanDuration,
    /// The most that one of them may say at once.
    pub max_payload: HumanSize,
    /// How many pairs of devices may do so at once.
    pub max_sessions: u32,
}

impl Default for QrSignIn {
    fn default() -> Self {
        Self {
            enabled: false,
            lifetime: HumanDuration::from_secs(120),
            max_payload: HumanSize::from_bytes(4096),
            max_sessions: 1000,
        }
    }
}

impl QrSignIn {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let seconds = self.lifetime.get().as_secs();
        if !(10..=MAX_LIFETIME_SECONDS).contains(&seconds) {
            let message = "is between 10 seconds and an hour";
            problems.push(Problem::new("qr_sign_in.lifetime", message));
        }
        if !(1..=MAX_PAYLOAD).contains(&self.max_payload.bytes()) {
            let message = "is between one byte and 64 KiB";
            problems.push(Problem::new("qr_sign_in.max_payload", message));
        }
        if self.max_sessions == 0 {
            let message = "is at least 1; `enabled = false` allows none";
            problems.push(Problem::new("qr_sign_in.max_sessions", message));
        }
        problems
    }
}
