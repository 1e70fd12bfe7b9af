//! The members of a room in the order in which they came, so that counts, lists of members and
//! heroes never walk over the whole state.

use std::sync::Arc;

use imbl::OrdSet;
use ruma::{UserId, events::room::member::MembershipState};

use super::room::StateEvent;

/// How many heroes a summary names.
const HEROES: usize = 5;

/// Users by the room position of their member event.
type Ordered = OrdSet<(i64, Arc<str>)>;

/// The members by membership. Users who knock are in none of the sets.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    joined: Ordered,
    invited: Ordered,
    /// Who left or was banned.
    gone: Ordered,
}

impl Members {
    /// Replaces a user's member event by another.
    pub(super) fn replace(&mut self, key: &Arc<str>, old: Option<&StateEvent>, new: &StateEvent) {
        if let Some(old) = old
            && let Some(set) = self.set_of(old)
        {
            set.remove(&(old.position, Arc::clone(key)));
        }
        if UserId::parse(key).is_ok()
            && let Some(set) = self.set_of(new)
        {
            set.insert((new.position, Arc::clone(key)));
        }
    }

    fn set_of(&mut self, event: &StateEvent) -> Option<&mut Ordered> {
        match event.pdu.membership()? {
            MembershipState::Join => Some(&mut self.joined),
            MembershipState::Invite => Some(&mut self.invited),
            MembershipState::Leave | MembershipState::Ban => Some(&mut self.gone),
            _ => None,
        }
    }

    pub(super) fn joined(&self) -> impl Iterator<Item = &UserId> {
        self.joined.iter().filter_map(user)
    }

    pub(super) fn invited(&self) -> impl Iterator<Item = &UserId> {
        self.invited.iter().filter_map(user)
    }

    pub(super) fn joined_count(&self) -> usize {
        self.joined.len()
    }

    pub(super) fn invited_count(&self) -> usize {
        self.invited.len()
    }

    /// The first members but `not`, joined or invited, in order; if there are none, the first who
    /// left or were banned.
    pub(super) fn heroes(&self, not: &UserId) -> Vec<&UserId> {
        let others = |set| first_but(set, not);
        let mut present: Vec<_> = others(&self.joined).chain(others(&self.invited)).collect();
        present.sort_unstable();
        if present.is_empty() {
            present.extend(others(&self.gone));
        }
        present.truncate(HEROES);
        present.into_iter().filter_map(user).collect()
    }
}

fn first_but<'a>(
    set: &'a Ordered,
    not: &UserId,
) -> impl Iterator<Item = &'a (i64, Arc<str>)> + use<'a> {
    // One more than needed, as one of them may be `not`.
    let mut first: Vec<_> = set.iter().take(HEROES + 1).collect();
    first.retain(|(_, user)| **user != *not.as_str());
    first.into_iter()
}

fn user((_, user_id): &(i64, Arc<str>)) -> Option<&UserId> {
    <&UserId>::try_from(&**user_id).ok()
}
