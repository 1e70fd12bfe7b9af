//! What may change while the server runs, when it is told to read its configuration again.

use serde_json::Value;

use super::{Config, Limits, Logging, Policy, Problem, secret::Secret};

/// The settings that may change while the server runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// `[policy]`.
    pub policy: Policy,
    /// `[limits]`: the switch and the rates.
    pub limits: Limits,
    /// `[logging]`: the level.
    pub logging: Logging,
}

/// The keys, and the beginnings of keys, that may change while the server runs.
const LIVE: &[&str] = &[
    "policy.",
    "logging.level",
    "limits.enabled",
    "application_services.registrations",
];

impl Config {
    /// The settings that may change while the server runs.
    pub fn live(&self) -> Live {
        Live {
            policy: self.policy.clone(),
            limits: self.limits.clone(),
            logging: self.logging.clone(),
        }
    }

    /// Whether the server can go over from these settings to `new` while it runs.
    ///
    /// # Errors
    ///
    /// The keys that differ and need a restart.
    pub fn live_changes(&self, new: &Self) -> Result<(), Vec<Problem>> {
        let mut keys = Vec::new();
        match (serde_json::to_value(self), serde_json::to_value(new)) {
            (Ok(old), Ok(new)) => differing(&old, &new, "", &mut keys),
            (Err(error), _) | (_, Err(error)) => {
                return Err(vec![Problem::new(
                    "",
                    format!("cannot be compared: {error}"),
                )]);
            }
        }
        keys.retain(|key| !self.is_live(key));
        // Secrets are hidden above.
        let secrets = self.secrets().into_iter().zip(new.secrets());
        for ((key, old), (_, new)) in secrets {
            if old != new && !keys.iter().any(|named| named == key) {
                keys.push(key.to_owned());
            }
        }
        let problems: Vec<Problem> = keys
            .into_iter()
            .map(|key| Problem::new(key, "needs a restart to change"))
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn is_live(&self, key: &str) -> bool {
        let rates = self.limits.rates();
        let rate = key
            .strip_prefix("limits.")
            .and_then(|rest| rest.split('.').next());
        LIVE.iter().any(|live| key.starts_with(live))
            || rate.is_some_and(|rate| rates.iter().any(|(name, _)| *name == rate))
    }

    fn secrets(&self) -> [(&'static str, Option<&Secret>); 6] {
        [
            ("database.url", self.database.url.as_ref()),
            (
                "registration.shared_secret",
                self.registration.shared_secret.as_ref(),
            ),
            ("mail.password", self.mail.password.as_ref()),
            ("calls.turn_secret", self.calls.turn_secret.as_ref()),
            ("scanner.private_key", self.scanner.private_key.as_ref()),
            (
                "media.s3.secret_access_key",
                self.media.s3.secret_access_key.as_ref(),
            ),
        ]
    }
}

/// Collects the keys whose values differ. Lists differ as a whole.
fn differing(old: &Value, new: &Value, key: &str, keys: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                let dot = if key.is_empty() { "" } else { "." };
                let inner = format!("{key}{dot}{name}");
                differing(value, new.get(name).unwrap_or(&Value::Null), &inner, keys);
            }
        }
        _ if old != new => keys.push(key.to_owned()),
        _ => (),
    }
}
