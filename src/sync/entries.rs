//! What entries of the stream say.

use std::{collections::HashMap, sync::Arc};

use ruma::UserId;

use crate::store::{
    Membership, RoomNid, RoomPosition, UserNid,
    live::{Change, Entry, RoomHead, TimelineEvent, UserRooms},
};

/// What happened to a user's own membership in a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnChange {
    /// What it was at first.
    pub(super) before: Membership,
    /// Whether the user joined anew.
    pub(super) joined: bool,
    /// Where the user left last.
    pub(super) left: Option<RoomPosition>,
}

impl OwnChange {
    fn since(before: Membership) -> Self {
        Self {
            before,
            joined: false,
            left: None,
        }
    }
}

/// Whether a user is invited to a room, and is not to hear of it: from whom they ignore, or because
/// they refuse all invitations.
pub(super) fn hides_invite(
    rooms: &UserRooms,
    room: RoomNid,
    head: &RoomHead,
    user_id: &UserId,
) -> bool {
    let own = || head.room().member(user_id);
    rooms.membership(room) == Membership::Invite
        && (rooms.hides_invite(room)
            || own().is_some_and(|own| rooms.ignored().contains(own.pdu.sender())))
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
        let change = changes.entry(event.room);
        let change = change.or_insert(OwnChange::since(member.before));
        change.joined |= member.joins();
        if member.before == Membership::Join && member.after != Membership::Join {
            change.left = Some(event.position);
        }
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
        let change = own.entry(room).or_insert(OwnChange::since(before));
        // Who was joined before a change, and not before the first one, has joined since.
        change.joined |= joins || (before == Membership::Join && change.before != before);
    }
    let mut after: HashMap<RoomNid, Membership> = HashMap::new();
    for (room, before, position) in changes.iter().rev() {
        let after = after.insert(*room, *before);
        let after = after.unwrap_or_else(|| rooms.membership(*room));
        if let Some(change) = own.get_mut(room)
            && change.left.is_none()
            && *before == Membership::Join
            && after != Membership::Join
        {
            change.left = Some(*position);
        }
    }
    own
}
