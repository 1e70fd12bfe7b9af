//! `[accounts]`: how long accounts are good.

use serde::{Deserialize, Serialize};

use super::{Problem, units::HumanDuration};

/// The longest time for which an account is good.
const MAX_PERIOD: HumanDuration = HumanDuration::from_secs(100 * 365 * 24 * 60 * 60);

/// The shortest part of a user id that excludes accounts.
const MIN_EXCLUDED: usize = 3;

/// `[accounts]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounts {
    /// `[accounts.validity]`.
    pub validity: Validity,
}

/// `[accounts.validity]` (tchap.md, 2.8).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Validity {
    /// For how long an account is good, from its making or its renewal; for ever if not set.
    pub period: Option<HumanDuration>,
    /// How long before the end its owner is reminded, once for each of these.
    pub reminders: Vec<HumanDuration>,
    /// Accounts whose user id contains one of these never expire.
    pub exclude: Vec<String>,
    /// Whether mails carry a link that renews. If not, they carry a code for a client.
    pub send_links: bool,
    /// How long after its end an account is closed; never if not set.
    pub deactivate_after: Option<HumanDuration>,
}

impl Default for Validity {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            period: None,
            reminders: [60, 30, 5]
                .map(|days| HumanDuration::from_secs(days * DAY))
                .to_vec(),
            exclude: Vec::new(),
            send_links: true,
            deactivate_after: None,
        }
    }
}

impl Accounts {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let Validity {
            period,
            reminders,
            exclude,
            deactivate_after,
            ..
        } = &self.validity;
        let mut problems = Vec::new();
        if let Some(period) = period {
            if period.is_zero() || *period > MAX_PERIOD {
                let message = format!("found {period}, expected more than 0s and up to 36500d");
                problems.push(Problem::new("accounts.validity.period", message));
            }
            for (at, reminder) in reminders.iter().enumerate() {
                let key = format!("accounts.validity.reminders[{at}]");
                if reminder.is_zero() || reminder >= period {
                    let message = format!(
                        "found {reminder}, expected more than 0s and less than \
                         `accounts.validity.period`, which is {period}"
                    );
                    problems.push(Problem::new(key, message));
                }
            }
        }
        for (at, part) in exclude.iter().enumerate() {
            // An empty part would exclude everybody.
            if part.trim().len() < MIN_EXCLUDED || part.contains('\0') {
                let message = format!("expected a text of {MIN_EXCLUDED} letters or more");
                let key = format!("accounts.validity.exclude[{at}]");
                problems.push(Problem::new(key, message));
            }
        }
        if deactivate_after.is_some_and(|after| after > MAX_PERIOD) {
            let message = "expected at most 36500d";
            problems.push(Problem::new("accounts.validity.deactivate_after", message));
        }
        problems
    }
}
