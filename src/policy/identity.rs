//! What the identity service may say and do: whose names it answers to, how much it looks up at
//! once, and how an invited address is shown.

use std::collections::BTreeSet;

use ruma::ServerName;
use url::Url;

use super::{Decision, EmailAddress, Message, Policy, Violation, ViolationKind};
use crate::config::policy::{Identity, Invites};

/// The rules of `[policy.identity]`, and what `[policy.invites]` says of showing addresses.
#[derive(Clone, Debug)]
pub(super) struct IdentityRules {
    /// Names that mean this identity service, in lower case.
    trusted: BTreeSet<String>,
    lookup_limit: usize,
    reveal_local: usize,
    reveal_domain: usize,
}

impl IdentityRules {
    pub(super) fn new(identity: &Identity, invites: &Invites) -> Self {
        let trusted = identity.trusted_servers.iter();
        Self {
            trusted: trusted.map(|name| host(name)).collect(),
            lookup_limit: usize::try_from(identity.lookup_limit).unwrap_or(usize::MAX),
            reveal_local: usize::try_from(invites.reveal_local).unwrap_or(usize::MAX),
            reveal_domain: usize::try_from(invites.reveal_domain).unwrap_or(usize::MAX),
        }
    }
}

impl Policy {
    /// Whether `id_server`, as a client sends it with an invitation by e-mail, is this program: by
    /// the server's name, by its public address, or by a name that the configuration adds. No other
    /// identity service is ever asked.
    pub fn is_own_identity_server(
        &self,
        id_server: &str,
        server_name: &ServerName,
        public_url: &Url,
    ) -> bool {
        let name = host(id_server);
        let public = public_url.host_str().map(str::to_ascii_lowercase);
        let with_port = public_url.port().zip(public.as_ref());
        let with_port = with_port.map(|(port, host)| format!("{host}:{port}"));
        name == server_name.as_str().to_ascii_lowercase()
            || Some(&name) == public.as_ref()
            || Some(&name) == with_port.as_ref()
            || self.identity.trusted.contains(&name)
    }

    /// Whether an address may be bound to users of `server`, where a server of the deployment asks
    /// (tchap.md, 2.3): to those of the server that it belongs to, and of its public twin.
    pub fn may_be_bound(&self, address: &EmailAddress, server: &ServerName) -> Decision {
        const RULE: &str = "2.3";
        let info = self.address_info(address, None, None, false);
        let belongs = [info.hs, info.shadow_hs]
            .iter()
            .flatten()
            .any(|known| known == server);
        if belongs {
            return Decision::Allow { rule: RULE };
        }
        Decision::Deny(Violation::new(
            RULE,
            ViolationKind::Forbidden,
            "wrong_server",
            const {
                Message::fixed(
                    "Cette adresse appartient à un autre serveur.",
                    "This address belongs to another server.",
                )
            },
        ))
    }

    /// How many addresses one look-up may ask for (tchap.md, 5.5).
    pub fn lookup_limit(&self) -> usize {
        self.identity.lookup_limit
    }

    /// An invited address as rooms see it: the beginnings of its two halves, such as
    /// `ker...@exa...` (tchap.md, 5.2).
    pub fn shown_address(&self, address: &EmailAddress) -> String {
        let IdentityRules {
            reveal_local,
            reveal_domain,
            ..
        } = self.identity;
        let local = shown(address.local(), reveal_local);
        let domain = shown(address.domain(), reveal_domain);
        format!("{local}@{domain}")
    }
}

/// The first `letters` of a text; of a text that is no longer than that, all but the last.
fn shown(text: &str, letters: usize) -> String {
    let length = text.chars().count();
    let letters = letters.min(length.saturating_sub(1));
    let mut shown: String = text.chars().take(letters).collect();
    shown.push_str("...");
    shown
}

/// The host of a name that may be written as a web address, in lower case.
fn host(name: &str) -> String {
    let name = name.trim();
    let name = name.strip_prefix("https://").unwrap_or(name);
    name.trim_end_matches('/').to_ascii_lowercase()
}
