//! `[notices]`: what the operator tells users.

use ruma::{MxcUri, OwnedMxcUri, UserId};
use serde::{Deserialize, Serialize};

use super::Problem;

/// `[notices]` (specification v1.19, client-server API, "Server Notices").
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notices {
    /// The local part of the user who writes the notices; none are sent if it is not set.
    pub local_part: Option<String>,
    /// The name that this user and the rooms have.
    pub display_name: String,
    /// The picture of this user and the rooms, as an mxc: address.
    pub avatar_url: Option<OwnedMxcUri>,
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            local_part: None,
            display_name: "Tchap Annonces".to_owned(),
            avatar_url: None,
        }
    }
}

impl Notices {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(local_part) = &self.local_part {
            let is_good = |user_id: &UserId| user_id.localpart() == local_part;
            let user_id = UserId::parse(format!("@{local_part}:server.example"));
            if !user_id.is_ok_and(|user_id| is_good(&user_id)) || local_part.is_empty() {
                let message = "expected the local part of a user id, such as \"annonces\"";
                problems.push(Problem::new("notices.local_part", message));
            }
        }
        if self.display_name.trim().is_empty() {
            problems.push(Problem::new("notices.display_name", "must not be empty"));
        }
        if let Some(url) = &self.avatar_url
            && !MxcUri::is_valid(url)
        {
            let message = "expected an address such as \"mxc://server/media\"";
            problems.push(Problem::new("notices.avatar_url", message));
        }
        problems
    }
}
