//! `[rooms]`: what new rooms are like.

use ruma::RoomVersionId;
use serde::{Deserialize, Serialize};

use super::Problem;

/// `[rooms]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// The version of new rooms whose creator asks for none.
    pub default_version: RoomVersionId,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            default_version: RoomVersionId::V12,
        }
    }
}

impl Rooms {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let known = self.default_version.rules().is_some();
        let message = format!(
            "found \"{}\", expected a room version from 1 to 12",
            self.default_version
        );
        let problem = Problem::new("rooms.default_version", message);
        (!known).then_some(problem).into_iter().collect()
    }
}
