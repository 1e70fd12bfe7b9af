//! `[previews]`: what people see of web pages that somebody links to.

use serde::{Deserialize, Serialize};

use super::{
    Problem, Profile,
    units::{HumanDuration, HumanSize},
};

/// `[previews]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Previews {
    /// Whether the server fetches pages for previews. `None`: with the profile open only.
    pub enabled: Option<bool>,
    /// The largest page.
    pub max_page_bytes: HumanSize,
    /// The largest picture of a page.
    pub max_image_bytes: HumanSize,
    /// How long a page, and a picture, may take.
    pub timeout: HumanDuration,
    /// For how long a preview is given again.
    pub lifetime: HumanDuration,
    /// The languages that pages are asked for where the client names none, as in `Accept-Language`.
    pub languages: String,
}

impl Default for Previews {
    fn default() -> Self {
        Self {
            enabled: None,
            max_page_bytes: HumanSize::from_bytes(2 * 1024 * 1024),
            max_image_bytes: HumanSize::from_bytes(5 * 1024 * 1024),
            timeout: HumanDuration::from_secs(10),
            lifetime: HumanDuration::from_secs(60 * 60),
            languages: "fr, en;q=0.8, *;q=0.5".to_owned(),
        }
    }
}

impl Previews {
    /// Whether there are previews, with this profile.
    pub fn is_on(&self, profile: Profile) -> bool {
        self.enabled.unwrap_or(profile == Profile::Open)
    }

    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.timeout.is_zero() {
            let message = "found 0s, expected a longer time";
            problems.push(Problem::new("previews.timeout", message));
        }
        if !self
            .languages
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte))
        {
            let message = "expected what `Accept-Language` may hold";
            problems.push(Problem::new("previews.languages", message));
        }
        problems
    }
}
