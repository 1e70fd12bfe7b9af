//! `[registration]`: who may make an account, and what they agree to.

use std::{collections::BTreeSet, path::PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{Problem, secret::Secret, units::HumanDuration};

/// `[registration]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration file"
)]
pub struct Registration {
    /// Whether accounts can be made by people themselves.
    pub enabled: bool,
    /// Whether neither a validated e-mail address nor a token is asked for. Only with the open
    /// profile.
    pub open: bool,
    /// Whether a registration token is asked for.
    ///
    /// Specification v1.19, client-server API, "Token-authenticated registration".
    pub requires_token: bool,
    /// Whether there are guest accounts: made without a password, for rooms that let guests in. Only
    /// with the open profile.
    ///
    /// Specification v1.19, client-server API, "Guest Access".
    pub guests: bool,
    /// The secret of Synapse's `/_synapse/admin/v1/register`; that way is closed if not set.
    pub shared_secret: Option<Secret>,
    /// A file that holds the secret.
    pub shared_secret_file: Option<PathBuf>,
    /// What people agree to.
    ///
    /// Specification v1.19, client-server API, "Terms of service at registration".
    pub terms: Vec<Terms>,
    /// Whether people who have an account must agree to a new version before they go on.
    pub require_acceptance: bool,
    /// How long the link in a validation mail works.
    pub validation_lifetime: HumanDuration,
}

/// A document that people agree to when they make an account.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The name of the document, which stays the same over its versions.
    pub name: String,
    /// The version of its text.
    pub version: String,
    /// The document in French.
    pub url_fr: Url,
    /// The document in English.
    pub url_en: Url,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            enabled: true,
            open: false,
            requires_token: false,
            guests: false,
            shared_secret: None,
            shared_secret_file: None,
            terms: Vec::new(),
            require_acceptance: false,
            validation_lifetime: HumanDuration::from_secs(3 * 24 * 60 * 60),
        }
    }
}

impl Registration {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.open && self.requires_token {
            let message = "contradicts `registration.open`, which asks for no token";
            problems.push(Problem::new("registration.requires_token", message));
        }
        if !self.enabled {
            for (key, set) in [("open", self.open), ("requires_token", self.requires_token)] {
                let message = "contradicts `registration.enabled = false`";
                let problem = Problem::new(format!("registration.{key}"), message);
                problems.extend(set.then_some(problem));
            }
        }
        if self.validation_lifetime.is_zero() {
            let message = "found 0s, expected a longer time";
            problems.push(Problem::new("registration.validation_lifetime", message));
        }
        let mut names = BTreeSet::new();
        for (at, terms) in self.terms.iter().enumerate() {
            if !names.insert(&terms.name) {
                let message = format!("`{}` is the name of other terms already", terms.name);
                problems.push(Problem::new(
                    format!("registration.terms[{at}].name"),
                    message,
                ));
            }
        }
        problems
    }
}
