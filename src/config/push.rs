//! `[push]`: telling devices what notifies their users, and mails about unread messages.

use serde::{Deserialize, Serialize};

use super::{Problem, units::HumanDuration};

/// `[push]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Push {
    /// Whether push gateways may be reached without TLS.
    pub allow_http: bool,
    /// Whether every message makes a sound by the predefined rules.
    pub noisy: bool,
    /// Whether messages in threads notify whoever has subscribed to the thread, and of others only
    /// whom they mention (MSC4306).
    pub thread_subscriptions: bool,
    /// How long messages wait unread before a mail tells of them.
    pub mail_delay: HumanDuration,
}

impl Default for Push {
    fn default() -> Self {
        Self {
            allow_http: false,
            noisy: false,
            thread_subscriptions: false,
            mail_delay: HumanDuration::from_secs(72 * 60 * 60),
        }
    }
}

impl Push {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let is_good = !self.mail_delay.is_zero();
        let problem = Problem::new("push.mail_delay", "expected more than 0s");
        (!is_good).then_some(problem).into_iter().collect()
    }
}
