//! `[presence]`: who is there.

use serde::{Deserialize, Serialize};

use super::Profile;

/// `[presence]`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// Whether people see who of those with whom they share a room is there. `None`: with the
    /// profile open only.
    pub enabled: Option<bool>,
}

impl Presence {
    /// Whether people see it, with this profile.
    pub fn is_on(self, profile: Profile) -> bool {
        self.enabled.unwrap_or(profile == Profile::Open)
    }
}
