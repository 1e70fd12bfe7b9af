//! Which server an e-mail address belongs to, and whether it may register here.
//!
//! The rules of the identity service's `info` and `internal-info` (tchap.md, 2.1), and of the
//! homeserver that asks it (2.2).

use std::{collections::HashMap, net::IpAddr};

use ipnet::IpNet;
use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};

use super::{
    address::EmailAddress,
    decision::{Decision, Message, Violation, ViolationKind},
    patterns::Patterns,
};
use crate::config::{
    Problem,
    policy::{Addresses, CompiledPattern},
};

/// The rules of `[policy.addresses]`, compiled.
#[derive(Clone, Debug)]
pub struct AddressRules {
    this_server: OwnedServerName,
    entries: HashMap<EmailAddress, Target>,
    patterns: Patterns,
    /// The targets of `patterns`, in the same order.
    targets: Vec<Target>,
    nonshadow_networks: Vec<IpNet>,
}

/// Where an address belongs.
#[derive(Clone, Debug)]
struct Target {
    server: OwnedServerName,
    shadow_server: Option<OwnedServerName>,
    requires_invite: bool,
    external: bool,
}

/// What is known of an address. It can be read from the JSON of `internal-info`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct AddressInfo {
    /// The server where the address has an account or must register. `None`: no rule matches.
    pub hs: Option<OwnedServerName>,
    /// The public twin of that server.
    pub shadow_hs: Option<OwnedServerName>,
    /// Where the rules now put an address that has its account elsewhere.
    pub new_hs: Option<OwnedServerName>,
    /// Whether the address may register with a pending invitation only.
    pub requires_invite: bool,
    /// Whether there is such an invitation.
    pub invited: bool,
}

/// The answer of `info`, for clients. It is `{}` where no rule matches.
#[derive(Clone, Debug, Serialize)]
pub struct PublicInfo<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    hs: Option<&'a ServerName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_hs: Option<&'a ServerName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_hs: Option<&'a ServerName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invited: Option<bool>,
}

/// The answer of `internal-info`, for servers. It is `{}` where no rule matches.
#[derive(Clone, Debug, Serialize)]
pub struct InternalInfo<'a> {
    #[serde(flatten)]
    public: PublicInfo<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires_invite: Option<bool>,
}

impl AddressInfo {
    /// As clients see it.
    pub fn public(&self) -> PublicInfo<'_> {
        PublicInfo {
            hs: self.hs.as_deref(),
            shadow_hs: self.shadow_hs.as_deref(),
            new_hs: self.new_hs.as_deref(),
            invited: self.hs.is_some().then_some(self.invited),
        }
    }

    /// As other servers see it. It must not be shown to the Internet.
    pub fn internal(&self) -> InternalInfo<'_> {
        InternalInfo {
            public: self.public(),
            requires_invite: self.hs.is_some().then_some(self.requires_invite),
        }
    }
}

impl AddressRules {
    /// Compiles the rules. An address that names no server belongs to `this_server`.
    pub fn compile(settings: &Addresses, this_server: &ServerName) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut entries = HashMap::with_capacity(settings.entries.len());
        for (at, entry) in settings.entries.iter().enumerate() {
            let key = format!("policy.addresses.entries[{at}]");
            let fields = (entry.server.as_deref(), entry.shadow_server.as_deref());
            let flags = (entry.requires_invite, entry.external);
            let target = Target::compile(&key, fields, flags, this_server);
            let address = EmailAddress::parse(&entry.address)
                .map_err(|error| Problem::new(format!("{key}.address"), error));
            match (address, target) {
                (Ok(address), Ok(target)) => {
                    if entries.insert(address, target).is_some() {
                        let message = "is the address of an earlier entry";
                        problems.push(Problem::new(format!("{key}.address"), message));
                    }
                }
                (address, target) => problems.extend(address.err().into_iter().chain(target.err())),
            }
        }
        let mut patterns = Patterns::default();
        let mut targets = Vec::with_capacity(settings.patterns.len());
        for (at, pattern) in settings.patterns.iter().enumerate() {
            let key = format!("policy.addresses.patterns[{at}]");
            let fields = (pattern.server.as_deref(), pattern.shadow_server.as_deref());
            let flags = (pattern.requires_invite, pattern.external);
            match Target::compile(&key, fields, flags, this_server) {
                Ok(target) => targets.push(target),
                Err(problem) => problems.push(problem),
            }
            match CompiledPattern::compile(&pattern.pattern) {
                Ok(pattern) => patterns.push(at, pattern),
                Err(error) => problems.push(Problem::new(format!("{key}.pattern"), error)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            this_server: this_server.to_owned(),
            entries,
            patterns,
            targets,
            nonshadow_networks: settings.nonshadow_networks.clone(),
        })
    }

    /// What is known of an address (tchap.md, 2.1, steps 2 to 5).
    ///
    /// `caller_ip` is the caller of `info`, and `None` for `internal-info`, to which the rule of
    /// the public twins does not apply. `bound_server` is the server of the account to which the
    /// address is bound, and `invited` whether a pending invitation waits for it.
    pub fn info(
        &self,
        address: &EmailAddress,
        caller_ip: Option<IpAddr>,
        bound_server: Option<&ServerName>,
        invited: bool,
    ) -> AddressInfo {
        let Some(target) = self.find(address) else {
            return AddressInfo::default();
        };
        let mut hs = target.server.clone();
        let mut shadow_hs = target.shadow_server.clone();
        if caller_ip.is_some_and(|ip| self.is_outside(ip))
            && let Some(public) = shadow_hs.take()
        {
            hs = public;
        }
        let mut new_hs = None;
        if let Some(bound) = bound_server
            && bound != hs
        {
            new_hs = Some(std::mem::replace(&mut hs, bound.to_owned()));
        }
        AddressInfo {
            hs: Some(hs),
            shadow_hs,
            new_hs,
            requires_invite: target.requires_invite,
            invited,
        }
    }

    /// Whether the address makes an external of its owner: its rule says so or asks for an
    /// invitation, or there is no rule.
    pub fn is_external(&self, address: &EmailAddress) -> bool {
        self.find(address)
            .is_none_or(|target| target.external || target.requires_invite)
    }

    /// Whether an address of which `info` is known may register on this server, or be added to an
    /// account of it (tchap.md, 2.2). Asked twice: before the mail, and when the registration
    /// completes. The identity service is this program: where it cannot answer (CK-07), the request
    /// fails before anything is asked here.
    ///
    /// - CK-01: an address without a server may not.
    /// - CK-02: an address of this server may;
    /// - CK-03: not without an invitation, if it needs one;
    /// - CK-04: with one, it may.
    /// - CK-05: that this server is the public twin of the address's is not enough.
    /// - CK-06: an address of another server may not.
    pub fn may_register(&self, info: &AddressInfo) -> Decision {
        if info.hs.as_ref() == Some(&self.this_server) {
            return match (info.requires_invite, info.invited) {
                (false, _) => Decision::Allow { rule: "CK-02" },
                (true, true) => Decision::Allow { rule: "CK-04" },
                (true, false) => {
                    Decision::Deny(denied("CK-03", "invitation_missing", INVITATION_MISSING))
                }
            };
        }
        Decision::Deny(if info.shadow_hs.as_ref() == Some(&self.this_server) {
            denied("CK-05", "wrong_server", WRONG_SERVER)
        } else if info.hs.is_some() || info.shadow_hs.is_some() {
            denied("CK-06", "wrong_server", WRONG_SERVER)
        } else {
            denied("CK-01", "address_not_allowed", NOT_ALLOWED)
        })
    }

    /// The entry or pattern that fits an address, by its key in the configuration.
    pub fn matched(&self, address: &EmailAddress) -> Option<String> {
        if self.entries.contains_key(address) {
            return Some("policy.addresses.entries".to_owned());
        }
        let at = self.patterns.first(address)?;
        Some(format!("policy.addresses.patterns[{at}]"))
    }

    fn find(&self, address: &EmailAddress) -> Option<&Target> {
        let entry = self.entries.get(address);
        entry.or_else(|| self.targets.get(self.patterns.first(address)?))
    }

    fn is_outside(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let networks = &self.nonshadow_networks;
        !networks.is_empty() && !networks.iter().any(|network| network.contains(&ip))
    }
}

impl Target {
    fn compile(
        key: &str,
        (server, shadow_server): (Option<&str>, Option<&str>),
        (requires_invite, external): (bool, bool),
        this_server: &ServerName,
    ) -> Result<Self, Problem> {
        let parse = |field: &str, name: &str| {
            ServerName::parse(name).map_err(|error| Problem::new(format!("{key}.{field}"), error))
        };
        Ok(Self {
            server: match server {
                Some(name) => parse("server", name)?,
                None => this_server.to_owned(),
            },
            shadow_server: shadow_server
                .map(|name| parse("shadow_server", name))
                .transpose()?,
            requires_invite,
            external,
        })
    }
}

const fn denied(rule: &'static str, reason: &'static str, message: Message) -> Violation {
    Violation::new(rule, ViolationKind::ThreepidDenied, reason, message)
}

const INVITATION_MISSING: Message = Message::fixed(
    "Il faut une invitation pour s’inscrire avec cette adresse.",
    "An invitation is needed to register with this address.",
);
const WRONG_SERVER: Message = Message::fixed(
    "Cette adresse doit être inscrite sur un autre serveur.",
    "This address must register on another server.",
);
const NOT_ALLOWED: Message = Message::fixed(
    "Cette adresse ne permet pas de s’inscrire.",
    "This address cannot be used to register.",
);
