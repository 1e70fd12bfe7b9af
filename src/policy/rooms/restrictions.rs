//! What `[policy.restrictions]` adds to the rules (tchap.md, 3, DRC rows).

use std::collections::BTreeMap;

use ruma::{OwnedServerName, ServerName, UserId};

use super::refusal::{Answer, INVITES_RESTRICTED};
use crate::config::{policy::Policy as Settings, room_policy};

/// The switches and lists, parsed.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration file"
)]
pub(in crate::policy) struct Restrictions {
    invite_servers: BTreeMap<OwnedServerName, Vec<OwnedServerName>>,
    invite_if_unlisted: bool,
    unpublished_only_servers: Vec<OwnedServerName>,
    pub(super) join_by_invite_only: bool,
    pub(super) invite_at_creation_only: bool,
    pub(super) invite_by_email: bool,
    pub(super) create_one_to_one_only: bool,
}

impl Restrictions {
    pub(super) fn new(settings: &Settings) -> Self {
        let settings = &settings.restrictions;
        let mapping = settings.invite_servers.iter();
        let mapping = mapping.filter_map(|(server, invited)| {
            let server = ServerName::parse(server.to_ascii_lowercase()).ok()?;
            Some((server, room_policy::servers(invited)))
        });
        Self {
            invite_servers: mapping.collect(),
            invite_if_unlisted: settings.invite_if_unlisted,
            unpublished_only_servers: room_policy::servers(&settings.unpublished_only_servers),
            join_by_invite_only: settings.join_by_invite_only,
            invite_at_creation_only: settings.invite_at_creation_only,
            invite_by_email: settings.invite_by_email,
            create_one_to_one_only: settings.create_one_to_one_only,
        }
    }

    /// Whether users of the sender's server may invite users of the target's (DRC-01 to DRC-03),
    /// here or on another server (DRC-13).
    pub(super) fn may_invite(&self, sender: &UserId, target: &UserId) -> Answer {
        if self.invite_servers.is_empty() {
            return Ok("DRC-01");
        }
        match self.invite_servers.get(sender.server_name()) {
            Some(servers) if is_of(target, servers) => Ok("DRC-01"),
            Some(_) => Err(INVITES_RESTRICTED.forbids("DRC-02")),
            None if self.invite_if_unlisted => Ok("DRC-01"),
            None => Err(INVITES_RESTRICTED.forbids("DRC-03")),
        }
    }

    /// Whether a user is not invited to rooms of the directory (DRC-10).
    pub(super) fn keeps_unpublished(&self, target: &UserId) -> bool {
        is_of(target, &self.unpublished_only_servers)
    }
}

/// Whether a user belongs to one of these servers.
pub(in crate::policy) fn is_of(user_id: &UserId, servers: &[OwnedServerName]) -> bool {
    let name = user_id.server_name().as_str();
    servers
        .iter()
        .any(|server| server.as_str().eq_ignore_ascii_case(name))
}
