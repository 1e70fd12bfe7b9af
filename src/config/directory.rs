//! `[directory]`: finding people by name.

use serde::{Deserialize, Serialize};

use super::{Problem, Profile};

/// The longest of the shortest terms: nobody would find a name of four letters.
const MAX_MIN_TERM_LENGTH: u32 = 8;

/// `[directory]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Directory {
    /// Whether people find everybody who is not hidden. Otherwise they find those with whom they
    /// share a room, and those in public rooms. `None`: with the profile tchap only.
    pub search_all: Option<bool>,
    /// How many letters a word of a search must have, one at least; shorter searches find nobody.
    pub min_term_length: u32,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            search_all: None,
            min_term_length: 2,
        }
    }
}

impl Directory {
    /// Whether people find everybody, with this profile.
    pub fn search_all(&self, profile: Profile) -> bool {
        self.search_all.unwrap_or(profile == Profile::Tchap)
    }

    pub(super) fn validate(&self) -> Vec<Problem> {
        let length = self.min_term_length;
        let is_good = (1..=MAX_MIN_TERM_LENGTH).contains(&length);
        let message = format!("found {length}, expected 1 to {MAX_MIN_TERM_LENGTH}");
        let problem = Problem::new("directory.min_term_length", message);
        (!is_good).then_some(problem).into_iter().collect()
    }
}
