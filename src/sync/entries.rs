//! What entries of the stream say.

use std::{collections::HashMap, sync::Arc};

use crate::store::{
    Membership, RoomNid, UserNid,
    live::{Change, Entry, TimelineEvent},
};

/// What happened to a user's own membership in a room.
#[derive(Clone, Copy)]
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
        change.joined |= member.after == Membership::Join && member.before != Membership::Join;
    }
    changes
}
