//! What the accounts service must know of the configuration.

use std::{num::NonZeroUsize, ops::Range, time::Duration};

use ruma::{OwnedServerName, UserId};
use url::Url;
use zeroize::Zeroizing;

use crate::appservice::SharedRegistry;

use super::{limits::Rate, user_directory::DirectorySettings};

/// What the accounts service must know of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server's name in user ids.
    pub server_name: OwnedServerName,
    /// Where clients reach this server: what links in mails begin with.
    pub public_url: Url,
    /// Where people use the service in a browser, if there is such a place.
    pub web_client_url: Option<Url>,
    /// How people make accounts.
    pub registration: RegistrationSettings,
    /// How people log in.
    pub sessions: SessionSettings,
    /// Until when accounts are good; `None`: for ever.
    pub validity: Option<ValiditySettings>,
    /// How long the link in a mail, and the proof that it gives, are good.
    pub validation_lifetime: Duration,
    /// The hosts that `next_link` may lead to, besides that of `public_url`.
    pub next_link_domains: Vec<String>,
    /// How long an answer about an address waits, in milliseconds, where clients must not learn
    /// which addresses have an account (REG-06).
    pub pause_ms: Range<u64>,
    /// How people are found.
    pub directory: DirectorySettings,
    /// How often people may try.
    pub limits: Limits,
    /// How many passwords are hashed at once.
    pub max_password_hashes: NonZeroUsize,
    /// How much work the hash of a password is.
    pub hash_cost: HashCost,
    /// The application services, with the users that are theirs.
    pub services: SharedRegistry,
}

/// How much work the hash of a password is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashCost {
    /// What OWASP recommends: 19 MiB, two passes, one lane.
    #[default]
    Recommended,
    /// As little as the algorithm allows, which protects nobody. For tests.
    Least,
}

/// How people make accounts.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct RegistrationSettings {
    /// Whether people make their accounts themselves.
    pub enabled: bool,
    /// Whether neither an address nor a token is asked for, where the policy lets that be.
    pub open: bool,
    /// Whether a registration token is asked for.
    pub requires_token: bool,
    /// Whether there are guest accounts of the specification.
    pub guests: bool,
    /// The secret of [`register_shared_secret`](super::Accounts::register_shared_secret).
    pub shared_secret: Option<SharedSecret>,
    /// What people agree to.
    pub terms: Vec<Terms>,
    /// Whether people who have an account must agree to new versions too.
    pub require_acceptance: bool,
}

/// Until when accounts are good (tchap.md 2.8).
#[derive(Clone, Debug)]
pub struct ValiditySettings {
    /// For how long, from the making or the renewal.
    pub period: Duration,
    /// How long before the end a mail is sent, one for each.
    pub reminders: Vec<Duration>,
    /// Accounts whose user id contains one of these never expire (AV-16).
    pub exclude: Vec<String>,
    /// Whether mails carry a link, or a code.
    pub send_links: bool,
    /// How long after the end an account is closed; `None`: never.
    pub deactivate_after: Option<Duration>,
    /// How long people wait before they can ask for the mail again (AV-19).
    pub resend_delay: Duration,
}

impl ValiditySettings {
    pub(super) fn excludes(&self, user_id: &UserId) -> bool {
        let mut parts = self.exclude.iter();
        parts.any(|part| user_id.as_str().contains(part.as_str()))
    }
}

/// A secret that `Debug` does not show.
#[derive(Clone)]
pub struct SharedSecret(pub(super) Zeroizing<String>);

impl SharedSecret {
    /// Keeps `secret`.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedSecret")
    }
}

/// A document that people agree to.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Its name, which stays the same over its versions.
    pub name: String,
    /// The version of its text.
    pub version: String,
    /// The document in French.
    pub url_fr: Url,
    /// The document in English.
    pub url_en: Url,
}

/// How people log in, and how long tokens live.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// Whether people may log in with a password.
    pub password_login: bool,
    /// Whether people who have a session may let another client log in with a token.
    pub login_tokens: bool,
    /// How long an access token lives for a client that can refresh it.
    pub access_token_lifetime: Duration,
    /// How long a refresh token lives; `None`: until logout.
    pub refresh_token_lifetime: Option<Duration>,
    /// How long an access token lives for a client that cannot refresh it; `None`: until logout.
    pub nonrefreshable_access_token_lifetime: Option<Duration>,
}

/// How often people may try; `None`: as often as they like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Wrong passwords, per account and client address.
    pub login_failed: Option<Rate>,
    /// Registrations begun, per client address.
    pub registration: Option<Rate>,
    /// Mails asked for, per e-mail address.
    pub mail_per_address: Option<Rate>,
}
