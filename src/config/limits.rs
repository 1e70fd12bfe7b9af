//! `[limits]`: how often things may be done, and how much is worked on at once.

use std::{num::NonZeroUsize, thread};

use serde::{Deserialize, Serialize};

use super::{
    Problem,
    units::{HumanDuration, HumanSize},
};

/// `[limits]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Whether the rates below apply. The sizes always do.
    pub enabled: bool,
    /// Tries to log in, per IP address.
    pub login: Rate,
    /// Failed tries to log in, per account.
    pub login_failed: Rate,
    /// New accounts, per IP address.
    pub registration: Rate,
    /// Mails asked for, per e-mail address.
    pub mail_per_address: Rate,
    /// Events sent, per user.
    pub message: Rate,
    /// Rooms joined, per user.
    pub join: Rate,
    /// Everything that only reads, such as sync, per user.
    pub read: Rate,
    /// Searches for people and rooms, per user.
    pub directory_search: Rate,
    /// The same searches in the long run, per user: what a person never reaches who looks for
    /// people, and a program soon does that lists them (tchap.md, R-03).
    pub directory_search_daily: Rate,
    /// Public rooms joined without an invitation, per user.
    pub public_join: Rate,
    /// Events of public rooms read from their history, per user.
    pub public_history: Rate,
    /// Files uploaded, per user.
    pub media_upload: Rate,
    /// Files downloaded, per user; small thumbnails do not count.
    pub media_download: Rate,
    /// Previews of web pages asked for, per user.
    pub url_preview: Rate,
    /// E-mail addresses looked up, per user.
    pub address_lookup: Rate,
    /// Invitations by e-mail, per user.
    pub third_party_invite: Rate,
    /// The largest JSON body.
    pub max_body_bytes: HumanSize,
    /// How many connections are open at once; more wait in the system's queue.
    pub max_connections: u32,
    /// How many requests are worked on at once; more are answered 503. A sync that waits for
    /// news does not count.
    pub max_requests_in_flight: u32,
    /// How many passwords are hashed at once; as many as there are processors if not set.
    pub max_password_hashes: Option<NonZeroUsize>,
    /// How long a request may take, a sync's waiting apart.
    pub request_timeout: HumanDuration,
}

/// How often something may be done: a bucket that holds `burst` and refills all the time.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many per second, in the long run.
    pub per_second: f64,
    /// How many at once.
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            enabled: true,
            login: Rate::new(0.5, 20),
            login_failed: Rate::new(0.17, 3),
            registration: Rate::new(0.17, 10),
            mail_per_address: Rate::new(0.002, 3),
            message: Rate::new(2.0, 15),
            join: Rate::new(0.2, 10),
            read: Rate::new(50.0, 500),
            directory_search: Rate::new(1.0, 20),
            directory_search_daily: Rate::new(0.01, 500),
            public_join: Rate::new(0.005, 30),
            public_history: Rate::new(0.5, 10_000),
            media_upload: Rate::new(1.0, 50),
            media_download: Rate::new(5.0, 500),
            url_preview: Rate::new(0.5, 30),
            address_lookup: Rate::new(1.0, 20),
            third_party_invite: Rate::new(0.2, 10),
            max_body_bytes: HumanSize::from_bytes(1024 * 1024),
            max_connections: 20_000,
            max_requests_in_flight: 1024,
            max_password_hashes: None,
            request_timeout: HumanDuration::from_secs(60),
        }
    }
}

impl Rate {
    const fn new(per_second: f64, burst: u32) -> Self {
        Self { per_second, burst }
    }
}

impl Limits {
    /// How many passwords are hashed at once.
    pub fn max_password_hashes(&self) -> NonZeroUsize {
        let processors = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.max_password_hashes.unwrap_or_else(processors)
    }

    /// The rates by their key.
    pub fn rates(&self) -> [(&'static str, Rate); 16] {
        [
            ("login", self.login),
            ("login_failed", self.login_failed),
            ("registration", self.registration),
            ("mail_per_address", self.mail_per_address),
            ("message", self.message),
            ("join", self.join),
            ("read", self.read),
            ("directory_search", self.directory_search),
            ("directory_search_daily", self.directory_search_daily),
            ("public_join", self.public_join),
            ("public_history", self.public_history),
            ("media_upload", self.media_upload),
            ("media_download", self.media_download),
            ("url_preview", self.url_preview),
            ("address_lookup", self.address_lookup),
            ("third_party_invite", self.third_party_invite),
        ]
    }

    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, rate) in self.rates() {
            if !(rate.per_second.is_finite() && rate.per_second > 0.0) {
                let message = format!("found {}, expected a number above 0", rate.per_second);
                problems.push(Problem::new(format!("limits.{key}.per_second"), message));
            }
            if rate.burst == 0 {
                let message = "found 0, expected 1 or more";
                problems.push(Problem::new(format!("limits.{key}.burst"), message));
            }
        }
        // An event may have 65,536 bytes; less than that would refuse what the specification
        // allows.
        if self.max_body_bytes < HumanSize::from_bytes(64 * 1024) {
            let message = format!("found {}, expected 64KiB or more", self.max_body_bytes);
            problems.push(Problem::new("limits.max_body_bytes", message));
        }
        let counts = [
            ("limits.max_connections", self.max_connections),
            ("limits.max_requests_in_flight", self.max_requests_in_flight),
        ];
        let zeros = counts.into_iter().filter(|(_, count)| *count == 0);
        problems.extend(zeros.map(|(key, _)| Problem::new(key, "found 0, expected 1 or more")));
        if self.request_timeout.is_zero() {
            let message = "found 0s, expected a longer time";
            problems.push(Problem::new("limits.request_timeout", message));
        }
        problems
    }
}
