//! What memory knows of devices: whether there are messages for them, what became of their
//! one-time keys, and whose device lists changed.
//!
//! The services keep what they know of a device together with the position of the stream that it
//! is from. As long as the window reaches back to there, it is still true if no entry says
//! otherwise.

use std::sync::Arc;

use super::{Change, Entry, Live};
use crate::store::{DeviceNid, RoomNid, StreamPosition, UserNid, addressees::Remembered};

/// What happened to a device since a position.
#[derive(Clone, Copy, Debug)]
pub struct DeviceNews {
    /// The newest position.
    pub now: StreamPosition,
    /// Whether messages for it have come.
    pub has_messages: bool,
    /// Whether one-time keys or fallback keys of it came or went.
    pub has_keys: bool,
}

/// What a user's device lists may have to say since a position: whose keys changed, and who came
/// and went in the user's rooms.
#[derive(Debug, Default)]
pub struct ListNews {
    /// The users whose device lists changed: those that everybody is told, and those that this
    /// user alone is.
    pub changed: Vec<UserNid>,
    /// The membership events in the rooms that the user is in, or has left since.
    pub members: Vec<(RoomNid, Vec<Arc<Entry>>)>,
}

impl Live {
    /// What happened to a device after a position. [`None`] if memory does not reach back so far.
    pub fn device_news(
        &self,
        user: UserNid,
        device: DeviceNid,
        since: StreamPosition,
    ) -> Option<DeviceNews> {
        let inner = self.read();
        let window = &inner.window;
        if !window.covers(since) {
            return None;
        }
        let is_message = |change: &Change| matches!(change, Change::ToDevice { to } if to.contains(&(user, device)));
        let is_key = |change: &Change| matches!(change, Change::OneTimeKeys { devices, .. } if devices.contains(&device));
        Some(DeviceNews {
            now: window.last(),
            has_messages: window.has_own_after(since, user, is_message),
            has_keys: window.has_own_after(since, user, is_key),
        })
    }

    /// Those devices of which what was read is still true: their users' device lists have not
    /// changed since, as far as memory reaches back.
    pub(in crate::store) fn retain_unchanged(
        &self,
        mut devices: Vec<Option<Remembered>>,
    ) -> Vec<Option<Remembered>> {
        let inner = self.read();
        let window = &inner.window;
        for one in &mut devices {
            *one = one.filter(|one| {
                window.covers(one.at) && !window.has_device_list_after(one.at, one.user)
            });
        }
        devices
    }

    /// What may concern a user's device lists after a position and up to another. [`None`] if
    /// memory does not reach back so far, or the user's view is not in memory.
    pub fn list_news(
        &self,
        user: UserNid,
        since: StreamPosition,
        until: StreamPosition,
    ) -> Option<ListNews> {
        let inner = self.read();
        let rooms = inner.users.get(&user)?.rooms();
        if !inner.window.covers(since) {
            return None;
        }
        let mut changed = Vec::new();
        for entry in inner.window.device_lists_after(since) {
            if let Change::DeviceList {
                user: owner,
                rooms: shared,
                ..
            } = &entry.change
                && entry.position <= until
                && (*owner == user || shared.iter().any(|room| rooms.get(*room).is_some()))
            {
                changed.push(*owner);
            }
        }
        for entry in inner.window.own_after(since, user) {
            if let Change::DeviceList {
                user: owner,
                viewer: Some(_),
                ..
            } = &entry.change
                && entry.position <= until
            {
                changed.push(*owner);
            }
        }
        let is_member = |entry: &Arc<Entry>| {
            entry.position <= until
                && matches!(&entry.change, Change::Event(event) if event.member.is_some())
        };
        let members = inner.window.rooms_after(since, rooms).into_iter();
        let members = members.filter_map(|(room, mut entries)| {
            entries.retain(is_member);
            (!entries.is_empty()).then_some((room, entries))
        });
        Some(ListNews {
            changed,
            members: members.collect(),
        })
    }
}
