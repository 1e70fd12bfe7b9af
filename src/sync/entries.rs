//! What entries of the stream say.

use std::{collections::HashMap, sync::Arc};

use crate::store::{
    Membership, RoomNid, RoomPosition, UserNid,
    live::{Change, Entry, TimelineEvent, UserRooms},
};

/// What happened to a user's own membership in a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnChange {
    /// What it was at first.
    pub(super) before: Membership,
    /// Whether the user joined anew.
    pub(super) joined: bool,
}

/// The events among entries.
pub(super) fn events_of(entries: &[Arc<Entry>]) -> Vec<Arc<TimelineEvent>> {
    entries
        .iter()
        .filter_map(|entry| match &entry.change {
            Change::Event(event) => Some(Arc::clone(event)),
            _ => None,
        })
        .collect()
}

/// Whose receipt, in which room.
pub(super) fn receipt_key(entry: &Arc<Entry>) -> Option<(RoomNid, UserNid)> {
    match &entry.change {
        Change::Receipt { room, user, .. } => Some((*room, *user)),
        _ => None,
    }
}

/// What happened to a user's own memberships.
pub(super) fn own_changes(user: UserNid, entries: &[Arc<Entry>]) -> HashMap<RoomNid, OwnChange> {
    let mut changes: HashMap<RoomNid, OwnChange> = HashMap::new();
    for entry in entries {
        let Change::Event(event) = &entry.change else {
            continue;
        };
        let Some(member) = event.member.filter(|member| member.user == user) else {
            continue;
        };
        let change = changes.entry(event.room).or_insert(OwnChange {
            before: member.before,
            joined: false,
        });
        change.joined |= member.joins();
    }
    changes
}

/// The same from the log: the changes with the membership before each, oldest first.
pub(super) fn logged_changes(
    changes: &[(RoomNid, Membership, RoomPosition)],
    rooms: &UserRooms,
) -> HashMap<RoomNid, OwnChange> {
    let mut own: HashMap<RoomNid, OwnChange> = HashMap::new();
    for (room, before, _) in changes {
        let (room, before) = (*room, *before);
        let joins = before != Membership::Join && rooms.membership(room) == Membership::Join;
        let change = own.entry(room).or_insert(OwnChange {
            before,
            joined: false,
        });
        // Who was joined before a change, and not before the first one, has joined since.
        change.joined |= joins || (before == Membership::Join && change.before != before);
    }
    own
}
