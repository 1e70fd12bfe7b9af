//! Whether a user may see an event, given memberships and the history visibility.
//!
//! See the client-server API v1.19, "Room history visibility", server behavior.

use ruma::events::room::{history_visibility::HistoryVisibility, member::MembershipState};

/// Whether a user may see an event. `visibility` and `membership` are those of the state at the
/// event; `joined_after` says whether the user joined at any point after it (a user who is joined
/// now, and was not at the event, did).
pub fn may_see(
    visibility: &HistoryVisibility,
    membership: &MembershipState,
    joined_after: bool,
) -> bool {
    // 1. If the history_visibility was set to world_readable, allow.
    // 2. If the user's membership was join, allow.
    if *visibility == HistoryVisibility::WorldReadable || *membership == MembershipState::Join {
        return true;
    }
    match visibility {
        // 4. If the user's membership was invite, and the history_visibility was set to invited,
        //    allow.
        HistoryVisibility::Invited => *membership == MembershipState::Invite,
        HistoryVisibility::Joined => false,
        // 3. If history_visibility was set to shared, and the user joined the room at any point
        //    after the event was sent, allow. A value that is not understood is taken as shared.
        _ => joined_after,
    }
}

/// The state around an event, before and after it.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a, T> {
    /// Before the event.
    pub before: &'a T,
    /// After the event.
    pub after: &'a T,
}

impl<'a, T> Change<'a, T> {
    /// An event that does not change this.
    pub fn none(value: &'a T) -> Self {
        Self {
            before: value,
            after: value,
        }
    }
}

/// The same for any event: a change of the visibility, or of the user's own membership, can be
/// seen if the state before or the state after allows it.
pub fn may_see_change(
    visibility: &Change<'_, HistoryVisibility>,
    membership: &Change<'_, MembershipState>,
    joined_after: bool,
) -> bool {
    [visibility.before, visibility.after]
        .into_iter()
        .any(|visibility| {
            may_see(visibility, membership.before, joined_after)
                || may_see(visibility, membership.after, joined_after)
        })
}
