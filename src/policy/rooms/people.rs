//! Who somebody is to the rules of rooms.

use std::collections::HashMap;

use ruma::{OwnedUserId, UserId};

/// Who somebody is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// An agent, or anybody else whom no rule holds back.
    Agent,
    /// An external guest: of an external server, or flagged at registration.
    External,
    /// An administrator of the server, or a user of `policy.bypass_users`: no rule holds (RO-16).
    Exempt,
}

/// The users whom a decision is about.
#[derive(Clone, Debug, Default)]
pub struct People(HashMap<OwnedUserId, Standing>);

impl People {
    /// Who somebody is. Somebody whom nobody asked for is taken for an external: a fact that is
    /// missing must not open a door.
    pub fn standing(&self, user_id: &UserId) -> Standing {
        self.0.get(user_id).copied().unwrap_or(Standing::External)
    }

    pub(super) fn is_external(&self, user_id: &UserId) -> bool {
        self.standing(user_id) == Standing::External
    }

    pub(super) fn is_exempt(&self, user_id: &UserId) -> bool {
        self.standing(user_id) == Standing::Exempt
    }
}

impl FromIterator<(OwnedUserId, Standing)> for People {
    fn from_iter<I: IntoIterator<Item = (OwnedUserId, Standing)>>(people: I) -> Self {
        Self(people.into_iter().collect())
    }
}
