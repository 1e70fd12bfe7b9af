//! `[policy.rooms]` and `[policy.restrictions]`: the switches of the rules for rooms.

use std::collections::BTreeMap;

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::{Deserialize, Serialize};

use super::Problem;

/// The longest retention of public rooms, in days.
const MAX_RETENTION_DAYS: u32 = 3650;

/// The section `[policy.rooms]` (tchap.md, 4).
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct RoomPolicy {
    /// For how many days public rooms keep messages at most (RT-01 to RT-05).
    pub public_retention_days: u32,
    /// Whether the visibility in the access rules of a room may change (AR-28): for a migration.
    pub allow_visibility_change: bool,
    /// Whether moderators lead a room whose last administrator leaves, before all agents do
    /// (LA-03, LA-05).
    pub promote_moderators: bool,
}

impl Default for RoomPolicy {
    fn default() -> Self {
        Self {
            public_retention_days: 90,
            allow_visibility_change: false,
            promote_moderators: true,
        }
    }
}

/// The section `[policy.restrictions]`: what the users of this server may not do beyond the rules
/// of Tchap. Meant for a server of externals (tchap.md, 3, DRC rows).
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration file"
)]
pub struct Restrictions {
    /// For a server, the servers whose users its users may invite (DRC-01, DRC-02). Empty: all.
    pub invite_servers: BTreeMap<String, Vec<String>>,
    /// Whether users of a server that `invite_servers` does not name may invite (DRC-03).
    pub invite_if_unlisted: bool,
    /// Whether rooms are joined by invite only (DRC-04 to DRC-06).
    pub join_by_invite_only: bool,
    /// Whether people are invited while a room is made only (DRC-07, DRC-08).
    pub invite_at_creation_only: bool,
    /// Whether people may be invited by e-mail (DRC-09).
    pub invite_by_email: bool,
    /// The servers whose users are not invited to rooms of the directory (DRC-10, DRC-11).
    pub unpublished_only_servers: Vec<String>,
    /// Whether only rooms with exactly one invited person are made (DRC-12).
    pub create_one_to_one_only: bool,
}

impl Default for Restrictions {
    fn default() -> Self {
        Self {
            invite_servers: BTreeMap::new(),
            invite_if_unlisted: true,
            join_by_invite_only: false,
            invite_at_creation_only: false,
            invite_by_email: true,
            unpublished_only_servers: Vec::new(),
            create_one_to_one_only: false,
        }
    }
}

impl RoomPolicy {
    pub(super) fn validate(&self, problems: &mut Vec<Problem>) {
        if !(1..=MAX_RETENTION_DAYS).contains(&self.public_retention_days) {
            problems.push(Problem::new(
                "policy.rooms.public_retention_days",
                format!("must be between 1 and {MAX_RETENTION_DAYS}"),
            ));
        }
    }
}

impl Restrictions {
    pub(super) fn validate(&self, problems: &mut Vec<Problem>) {
        let key = "policy.restrictions.invite_servers";
        let lists = self.invite_servers.values().flatten();
        check_servers(key, self.invite_servers.keys().chain(lists), problems);
        let key = "policy.restrictions.unpublished_only_servers";
        check_servers(key, &self.unpublished_only_servers, problems);
    }
}

/// Checks that each of these is the name of a server.
pub(super) fn check_servers<'a>(
    key: &str,
    names: impl IntoIterator<Item = &'a String>,
    problems: &mut Vec<Problem>,
) {
    for name in names {
        if let Err(error) = ServerName::parse(name) {
            problems.push(Problem::new(key.to_owned(), format!("{name:?}: {error}")));
        }
    }
}

/// Checks that each of these is a user id.
pub(super) fn check_users<'a>(
    key: &str,
    ids: impl IntoIterator<Item = &'a String>,
    problems: &mut Vec<Problem>,
) {
    for id in ids {
        if let Err(error) = UserId::parse(id) {
            problems.push(Problem::new(key.to_owned(), format!("{id:?}: {error}")));
        }
    }
}

/// The names that are names of servers, as validation left them: in lower case, as servers are
/// compared without regard to case.
pub fn servers<C: FromIterator<OwnedServerName>>(names: &[String]) -> C {
    let names = names.iter().map(|name| name.to_ascii_lowercase());
    names
        .filter_map(|name| ServerName::parse(name).ok())
        .collect()
}

/// The ids that are ids of users.
pub fn users<C: FromIterator<OwnedUserId>>(ids: &[String]) -> C {
    ids.iter().filter_map(|id| UserId::parse(id).ok()).collect()
}
