//! `[sessions]`: how people log in, and how long tokens live.

use serde::{Deserialize, Serialize};

use super::{Problem, units::HumanDuration};

/// `[sessions]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sessions {
    /// How long an access token lives for a client that said it can refresh it.
    ///
    /// Specification v1.19, client-server API, "Refreshing access tokens".
    pub access_token_lifetime: HumanDuration,
    /// How long a refresh token lives; for ever if not set.
    pub refresh_token_lifetime: Option<HumanDuration>,
    /// How long an access token lives for a client that cannot refresh it; until it logs out if
    /// not set.
    pub nonrefreshable_access_token_lifetime: Option<HumanDuration>,
    /// Whether people may log in with a password.
    pub password_login: bool,
    /// Whether people who have a session may let another client log in with a token.
    pub login_tokens: bool,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            access_token_lifetime: HumanDuration::from_secs(5 * 60),
            refresh_token_lifetime: None,
            nonrefreshable_access_token_lifetime: None,
            password_login: true,
            login_tokens: true,
        }
    }
}

impl Sessions {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let lifetimes = [
            ("access_token_lifetime", Some(self.access_token_lifetime)),
            ("refresh_token_lifetime", self.refresh_token_lifetime),
            (
                "nonrefreshable_access_token_lifetime",
                self.nonrefreshable_access_token_lifetime,
            ),
        ];
        for (key, lifetime) in lifetimes {
            if lifetime.is_some_and(|lifetime| lifetime < HumanDuration::from_secs(1)) {
                let message = "expected a second or more";
                problems.push(Problem::new(format!("sessions.{key}"), message));
            }
        }
        if let Some(refresh) = self.refresh_token_lifetime
            && refresh < self.access_token_lifetime
        {
            let message = format!(
                "found {refresh}, expected at least `sessions.access_token_lifetime`, which is {}",
                self.access_token_lifetime
            );
            problems.push(Problem::new("sessions.refresh_token_lifetime", message));
        }
        problems
    }
}
