//! `[policy]`: the switches and lists of the Tchap rules.

use std::collections::BTreeMap;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};
use ruma::ServerName;
use serde::{Deserialize, Serialize};

use crate::config::{
    Problem, Profile,
    room_policy::{Restrictions, RoomPolicy, check_servers, check_users},
};

/// The longest password that is accepted, in characters (tchap.md, PW-06).
pub const MAX_PASSWORD_LENGTH: usize = 512;

/// The longest pattern for addresses, in bytes.
const MAX_PATTERN_LENGTH: usize = 4096;

/// How much memory one compiled pattern may take, in bytes.
const PATTERN_SIZE_LIMIT: usize = 1 << 20;

/// The longest time for which an invitation by e-mail may stay open, in days.
const MAX_VALIDITY_DAYS: u32 = 3650;

/// The section `[policy]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The servers whose users are externals (tchap.md, 3). All servers of a federation need the
    /// same list (FE-04).
    pub external_servers: Vec<String>,
    /// The users for whom no rule of rooms holds, such as bots (RO-16).
    pub bypass_users: Vec<String>,
    /// Which server an e-mail address belongs to.
    pub addresses: Addresses,
    /// What a password must contain.
    pub passwords: Passwords,
    /// How people are named.
    pub display_names: DisplayNames,
    /// Who sees whose profile.
    pub profiles: Profiles,
    /// Invitations by e-mail.
    pub invites: Invites,
    /// What rooms may be like.
    pub rooms: RoomPolicy,
    /// What the users of this server may not do beyond the rules of Tchap.
    pub restrictions: Restrictions,
    /// The identity service.
    pub identity: Identity,
}

/// The section `[policy.addresses]`: exact entries go first, then the first pattern that matches.
/// An address that neither names may not register.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Addresses {
    /// Single addresses.
    pub entries: Vec<AddressEntry>,
    /// Patterns, in order.
    pub patterns: Vec<AddressPattern>,
    /// The networks whose callers learn both the server and its public twin. Callers from elsewhere
    /// see the public twin only. Empty: everybody sees both.
    pub nonshadow_networks: Vec<IpNet>,
    /// Whether people may add and remove addresses of their account.
    pub allow_change: bool,
}

/// The server of one address.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct AddressEntry {
    /// The address.
    pub address: String,
    /// Where it registers. `None`: on this server.
    pub server: Option<String>,
    /// The public twin of that server.
    pub shadow_server: Option<String>,
    /// Whether it may only register with a pending invitation. Such a person is an external.
    pub requires_invite: bool,
    /// Whether the person is an external even without `requires_invite`.
    pub external: bool,
}

/// The server of all addresses that match a pattern.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct AddressPattern {
    /// A regular expression for the whole address, without regard to case. See [`pattern_source`]
    /// for what a dot means. Patterns of the forms `.*`, `.*@domain` and `.*@(.*\.|)domain` are the
    /// fastest.
    pub pattern: String,
    /// Where these addresses register. `None`: on this server.
    pub server: Option<String>,
    /// The public twin of that server.
    pub shadow_server: Option<String>,
    /// Whether they may only register with a pending invitation. Such people are externals.
    pub requires_invite: bool,
    /// Whether these people are externals even without `requires_invite`.
    pub external: bool,
}

/// The section `[policy.passwords]` (tchap.md, 2.6; MSC2000).
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration file"
)]
pub struct Passwords {
    /// Whether the rules below apply.
    pub enforce: Enforce,
    /// In characters.
    pub minimum_length: usize,
    /// Whether it must contain one of `0-9`.
    pub require_digit: bool,
    /// Whether it must contain a character outside `a-zA-Z0-9`.
    pub require_symbol: bool,
    /// Whether it must contain one of `a-z`.
    pub require_lowercase: bool,
    /// Whether it must contain one of `A-Z`.
    pub require_uppercase: bool,
    /// Whether the other devices of somebody who changes their password stay logged in, where the
    /// client does not say (R-11). The Matrix specification logs them out.
    pub keep_devices: Enforce,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            enforce: Enforce::default(),
            minimum_length: 12,
            require_digit: true,
            require_symbol: true,
            require_lowercase: true,
            require_uppercase: true,
            keep_devices: Enforce::default(),
        }
    }
}

/// When a group of rules applies.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforce {
    /// With the profile `tchap`, but not with `open`.
    #[default]
    ByProfile,
    /// With either profile.
    Always,
    /// With neither.
    Never,
}

impl Enforce {
    /// Whether it applies with this profile.
    pub fn applies(self, profile: Profile) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::ByProfile => profile == Profile::Tchap,
        }
    }
}

/// The section `[policy.display_names]` (tchap.md, 2.5).
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct DisplayNames {
    /// The organisation shown for a domain and those below it, where it shall not be derived.
    pub organisations: BTreeMap<String, String>,
    /// Whether externals are shown by their address.
    pub use_address_for_external: bool,
    /// Whether people may change their display name.
    pub allow_change: bool,
    /// Whether people may change their avatar.
    pub allow_avatar_change: bool,
}

impl Default for DisplayNames {
    fn default() -> Self {
        Self {
            organisations: BTreeMap::new(),
            use_address_for_external: false,
            allow_change: false,
            allow_avatar_change: true,
        }
    }
}

/// The section `[policy.profiles]` (tchap.md, 2.5).
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Profiles {
    /// Whether a profile is shown only to people who share a room with its owner.
    pub known_users_only: bool,
}

/// The section `[policy.invites]`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Invites {
    /// For how many days an invitation by e-mail lets somebody register.
    pub validity_days: u32,
    /// How many letters of the part before the at sign rooms see of an invited address.
    pub reveal_local: u32,
    /// How many letters of the domain they see.
    pub reveal_domain: u32,
}

impl Default for Invites {
    fn default() -> Self {
        Self {
            validity_days: 30,
            reveal_local: 3,
            reveal_domain: 3,
        }
    }
}

/// The section `[policy.identity]` (tchap.md, 5.5).
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// More names by which clients may know the identity service of this server. No other identity
    /// service is ever asked.
    pub trusted_servers: Vec<String>,
    /// How many addresses one look-up may ask for.
    pub lookup_limit: u32,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            trusted_servers: Vec::new(),
            lookup_limit: 10_000,
        }
    }
}

impl Policy {
    /// Everything that cannot stand in this section. Whether the addresses of the entries are
    /// well formed is left to the policy, which has the parser.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let key = "policy.external_servers";
        check_servers(key, &self.external_servers, &mut problems);
        check_users("policy.bypass_users", &self.bypass_users, &mut problems);
        self.rooms.validate(&mut problems);
        self.restrictions.validate(&mut problems);
        self.addresses.validate(&mut problems);
        self.display_names.validate(&mut problems);
        if self.passwords.minimum_length > MAX_PASSWORD_LENGTH {
            problems.push(Problem::new(
                "policy.passwords.minimum_length",
                format!("must be at most {MAX_PASSWORD_LENGTH}"),
            ));
        }
        if !(1..=MAX_VALIDITY_DAYS).contains(&self.invites.validity_days) {
            problems.push(Problem::new(
                "policy.invites.validity_days",
                format!("must be between 1 and {MAX_VALIDITY_DAYS}"),
            ));
        }
        if self.identity.lookup_limit == 0 {
            problems.push(Problem::new(
                "policy.identity.lookup_limit",
                "found 0, expected 1 or more",
            ));
        }
        problems
    }
}

impl Addresses {
    fn validate(&self, problems: &mut Vec<Problem>) {
        for (at, entry) in self.entries.iter().enumerate() {
            let key = format!("policy.addresses.entries[{at}]");
            check_server(&key, "server", entry.server.as_deref(), problems);
            check_server(
                &key,
                "shadow_server",
                entry.shadow_server.as_deref(),
                problems,
            );
        }
        for (at, pattern) in self.patterns.iter().enumerate() {
            let key = format!("policy.addresses.patterns[{at}]");
            if let Err(reason) = CompiledPattern::compile(&pattern.pattern) {
                problems.push(Problem::new(format!("{key}.pattern"), reason));
            }
            check_server(&key, "server", pattern.server.as_deref(), problems);
            check_server(
                &key,
                "shadow_server",
                pattern.shadow_server.as_deref(),
                problems,
            );
        }
    }
}

impl DisplayNames {
    fn validate(&self, problems: &mut Vec<Problem>) {
        for (domain, organisation) in &self.organisations {
            let key = format!("policy.display_names.organisations.{domain:?}");
            if ServerName::parse(domain).is_err() || !domain.contains('.') {
                problems.push(Problem::new(key.clone(), "is not a domain name"));
            }
            // Brackets separate the name from the organisation.
            let unfit = |c: char| c.is_control() || matches!(c, '[' | ']');
            if organisation.trim().is_empty() || organisation.contains(unfit) {
                let message = "must be a name without brackets or control characters";
                problems.push(Problem::new(key, message));
            }
        }
    }
}

fn check_server(key: &str, field: &str, server: Option<&str>, problems: &mut Vec<Problem>) {
    if let Some(Err(error)) = server.map(ServerName::parse) {
        problems.push(Problem::new(format!("{key}.{field}"), error));
    }
}

/// A pattern for addresses, ready to match.
#[derive(Clone, Debug)]
pub enum CompiledPattern {
    /// `.*`.
    Everything,
    /// `.*@domain`. The domain is in lower case.
    Domain(String),
    /// `.*@(.*\.|)domain`. The domain is in lower case.
    DomainAndBelow(String),
    /// Any other: a regular expression that is anchored at both ends.
    Other(Regex),
}

impl CompiledPattern {
    /// Compiles a pattern. The error is for the operator.
    pub fn compile(pattern: &str) -> Result<Self, String> {
        if pattern.is_empty() {
            return Err("must not be empty".to_owned());
        }
        if pattern.len() > MAX_PATTERN_LENGTH {
            return Err(format!("must be at most {MAX_PATTERN_LENGTH} bytes long"));
        }
        if let Some(simple) = Self::simple(pattern) {
            return Ok(simple);
        }
        // A pattern such as `a)|(b` is whole only inside the group that anchors it, and would not
        // be anchored; so it must compile alone first.
        compile_regex(pattern)?;
        compile_regex(&pattern_source(pattern)).map(Self::Other)
    }

    /// Recognizes the patterns that need no regular expression.
    fn simple(pattern: &str) -> Option<Self> {
        if pattern == ".*" {
            return Some(Self::Everything);
        }
        let domain = pattern.strip_prefix(".*@")?;
        let below = [r"(.*\.|)", r"(|.*\.)", r"(.*\.)?"]
            .iter()
            .find_map(|prefix| domain.strip_prefix(prefix));
        // With or without a backslash, a dot that no quantifier follows is a dot.
        let name = below.unwrap_or(domain).replace(r"\.", ".");
        let is_domain = name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
        let name = name.to_ascii_lowercase();
        match (is_domain, below) {
            (false, _) => None,
            (true, None) => Some(Self::Domain(name)),
            (true, Some(_)) => Some(Self::DomainAndBelow(name)),
        }
    }
}

fn compile_regex(source: &str) -> Result<Regex, String> {
    RegexBuilder::new(source)
        .case_insensitive(true)
        .size_limit(PATTERN_SIZE_LIMIT)
        .build()
        .map_err(|error| error.to_string())
}

/// A pattern for addresses as a regular expression: anchored at both ends, and with each dot that no
/// quantifier follows taken as a dot. With the usual meaning, `.*@interieur.gouv.fr` would make
/// agents of whoever buys the domain `interieur-gouv.fr`.
pub fn pattern_source(pattern: &str) -> String {
    let mut source = String::with_capacity(pattern.len() + 8);
    source.push_str(r"\A(?:");
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        let quantified = matches!(rest.peek(), Some('*' | '+' | '?' | '{'));
        if c == '.' && !quantified {
            source.push('\\');
        }
        source.push(c);
        if c == '\\' {
            source.extend(rest.next());
        }
    }
    source.push_str(r")\z");
    source
}
