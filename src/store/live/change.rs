//! What the stream holds: an entry is a change with its position.

use std::sync::Arc;

use ruma::{EventId, OwnedEventId};
use serde_json::value::RawValue;

use super::TimelineEvent;
use crate::{
    event::threads::thread_root,
    store::{DeviceNid, Membership, RoomNid, RoomPosition, StreamPosition, UserNid},
};

/// A change at its place in the stream.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The place.
    pub position: StreamPosition,
    /// The change.
    pub change: Change,
}

/// Something that a sync can show.
#[derive(Clone, Debug)]
pub enum Change {
    /// An event in a room.
    Event(Arc<TimelineEvent>),
    /// A user has read up to an event.
    Receipt {
        /// The room.
        room: RoomNid,
        /// The user.
        user: UserNid,
        /// Whether nobody else sees it.
        private: bool,
        /// The thread, `main`, or empty.
        thread: Arc<str>,
        /// The event's position.
        position: RoomPosition,
        /// The count of unread messages up to there.
        notify_count: i64,
        /// The event.
        event_id: OwnedEventId,
        /// When, in milliseconds.
        at: i64,
    },
    /// A user's account data.
    AccountData {
        /// The user.
        user: UserNid,
        /// The room, unless it is global.
        room: Option<RoomNid>,
        /// The type.
        event_type: Arc<str>,
        /// The content.
        content: Arc<RawValue>,
    },
    /// A user's devices or their keys changed.
    DeviceList {
        /// Whose.
        user: UserNid,
        /// The one user who is told; otherwise everybody who shares a room.
        viewer: Option<UserNid>,
        /// The rooms in which the user was joined about then.
        rooms: Arc<[RoomNid]>,
    },
    /// There are messages for devices, sent by one request.
    ToDevice {
        /// The devices with their users: those of one user next to each other.
        to: Arc<[(UserNid, DeviceNid)]>,
    },
    /// One-time keys or fallback keys of a user's devices came or went.
    OneTimeKeys {
        /// The user.
        user: UserNid,
        /// The devices.
        devices: Arc<[DeviceNid]>,
    },
    /// A user has subscribed to a thread, or does so no more.
    ThreadSubscription {
        /// The user.
        user: UserNid,
        /// The room.
        room: RoomNid,
        /// The event that the thread begins with.
        thread: OwnedEventId,
    },
    /// A row that shows nothing: what it pointed at has been replaced, or makes no sense.
    Nothing,
}

/// A change as a row of the stream table.
#[derive(Debug)]
pub(in crate::store) struct ChangeRow {
    pub(in crate::store) kind: i16,
    pub(in crate::store) room: Option<RoomNid>,
    pub(in crate::store) room_position: Option<RoomPosition>,
    pub(in crate::store) user: Option<UserNid>,
    pub(in crate::store) detail: Option<String>,
}

/// The kinds of rows.
pub(in crate::store) mod kind {
    /// An event.
    pub(in crate::store) const EVENT: i16 = 1;
    /// A membership event.
    pub(in crate::store) const MEMBER: i16 = 2;
    /// A receipt.
    pub(in crate::store) const RECEIPT: i16 = 3;
    /// Account data.
    pub(in crate::store) const ACCOUNT_DATA: i16 = 4;
    /// A device list.
    pub(in crate::store) const DEVICE_LIST: i16 = 5;
    /// Messages to devices.
    pub(in crate::store) const TO_DEVICE: i16 = 6;
    /// One-time keys.
    pub(in crate::store) const ONE_TIME_KEYS: i16 = 7;
    /// A subscription to a thread.
    pub(in crate::store) const THREAD_SUBSCRIPTION: i16 = 8;
}

impl Change {
    /// The room, unless it is a user's affair.
    pub fn room(&self) -> Option<RoomNid> {
        match self {
            Self::Event(event) => Some(event.room),
            Self::Receipt { room, .. } => Some(*room),
            Self::AccountData { .. }
            | Self::DeviceList { .. }
            | Self::ToDevice { .. }
            | Self::OneTimeKeys { .. }
            | Self::ThreadSubscription { .. }
            | Self::Nothing => None,
        }
    }

    /// The users whom it is about, each once: the target of a membership event, the owner of
    /// account data, of a device list, of devices or of a subscription; for what one user alone is
    /// told, that one.
    pub fn users(&self) -> impl Iterator<Item = UserNid> + '_ {
        let (one, many) = match self {
            Self::Event(event) => (event.member.map(|change| change.user), None),
            Self::Receipt { .. } | Self::Nothing => (None, None),
            Self::AccountData { user, .. }
            | Self::OneTimeKeys { user, .. }
            | Self::ThreadSubscription { user, .. } => (Some(*user), None),
            Self::DeviceList { user, viewer, .. } => (Some(viewer.unwrap_or(*user)), None),
            Self::ToDevice { to } => (None, Some(to)),
        };
        let many = many.into_iter().flat_map(|to| to.iter());
        let mut last = None;
        let many = many.map(|(user, _)| *user);
        let many = many.filter(move |user| last.replace(*user) != Some(*user));
        one.into_iter().chain(many)
    }

    /// About how much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        match self {
            Self::Event(event) => event.weight(),
            Self::Receipt { .. } | Self::ThreadSubscription { .. } | Self::Nothing => 256,
            Self::AccountData { content, .. } => 256 + content.get().len(),
            Self::DeviceList { rooms, .. } => 256 + 8 * rooms.len(),
            // Each user has a list of entries, in which it stands.
            Self::ToDevice { to } => 256 + 24 * to.len(),
            Self::OneTimeKeys { devices, .. } => 256 + 8 * devices.len(),
        }
    }

    pub(in crate::store) fn to_row(&self) -> ChangeRow {
        match self {
            Self::Event(event) => ChangeRow {
                kind: if event.member.is_some() {
                    kind::MEMBER
                } else {
                    kind::EVENT
                },
                room: Some(event.room),
                room_position: Some(event.position),
                user: event.member.map(|change| change.user),
                detail: event
                    .member
                    .map(|change| change.before.to_sql().to_string())
                    .or_else(|| event_detail(event)),
            },
            Self::Receipt {
                room,
                user,
                private,
                thread,
                position,
                ..
            } => ChangeRow {
                kind: kind::RECEIPT,
                room: Some(*room),
                room_position: Some(*position),
                user: Some(*user),
                detail: Some(receipt_detail(*private, thread)),
            },
            Self::AccountData {
                user,
                room,
                event_type,
                ..
            } => ChangeRow {
                kind: kind::ACCOUNT_DATA,
                room: *room,
                room_position: None,
                user: Some(*user),
                detail: Some((**event_type).to_owned()),
            },
            Self::DeviceList { user, viewer, .. } => {
                let viewer = viewer.map(|viewer| viewer.to_string());
                ChangeRow::of_user(kind::DEVICE_LIST, *user, viewer)
            }
            Self::ToDevice { to } => ChangeRow {
                kind: kind::TO_DEVICE,
                room: None,
                room_position: None,
                user: None,
                detail: Some(recipients_detail(to)),
            },
            Self::OneTimeKeys { user, devices } => {
                let devices = devices_detail(devices);
                ChangeRow::of_user(kind::ONE_TIME_KEYS, *user, Some(devices))
            }
            Self::ThreadSubscription { user, room, thread } => ChangeRow {
                room: Some(*room),
                ..ChangeRow::of_user(kind::THREAD_SUBSCRIPTION, *user, Some(thread.to_string()))
            },
            Self::Nothing => ChangeRow {
                kind: 0,
                room: None,
                room_position: None,
                user: None,
                detail: None,
            },
        }
    }
}

impl ChangeRow {
    fn of_user(kind: i16, user: UserNid, detail: Option<String>) -> Self {
        Self {
            kind,
            room: None,
            room_position: None,
            user: Some(user),
            detail,
        }
    }
}

/// How devices stand in a row.
fn devices_detail(devices: &[DeviceNid]) -> String {
    let numbers: Vec<_> = devices.iter().map(ToString::to_string).collect();
    numbers.join(",")
}

/// How devices with their users stand in a row.
fn recipients_detail(to: &[(UserNid, DeviceNid)]) -> String {
    let numbers = to.iter().map(|(user, device)| format!("{user}:{device}"));
    numbers.collect::<Vec<_>>().join(",")
}

/// The devices of a row with their users. A row of `user` names the devices alone.
pub(in crate::store) fn parse_recipients_detail(
    user: Option<UserNid>,
    detail: &str,
) -> Arc<[(UserNid, DeviceNid)]> {
    if let Some(user) = user {
        let devices = parse_devices_detail(detail);
        return devices.iter().map(|device| (user, *device)).collect();
    }
    let parse = |pair: &str| {
        let (user, device) = pair.split_once(':')?;
        Some((UserNid(user.parse().ok()?), DeviceNid(device.parse().ok()?)))
    };
    detail.split(',').filter_map(parse).collect()
}

/// The devices of a row.
pub(in crate::store) fn parse_devices_detail(detail: &str) -> Arc<[DeviceNid]> {
    let numbers = detail.split(',');
    numbers
        .filter_map(|number| number.parse().ok().map(DeviceNid))
        .collect()
}

/// How a receipt's type and thread stand in a row.
pub(in crate::store) fn receipt_detail(private: bool, thread: &str) -> String {
    format!("{}{thread}", if private { 'p' } else { 'r' })
}

/// The type (private or not) and thread of a receipt's row.
pub(in crate::store) fn parse_receipt_detail(detail: &str) -> (bool, &str) {
    match detail.strip_prefix('p') {
        Some(thread) => (true, thread),
        None => (false, detail.strip_prefix('r').unwrap_or(detail)),
    }
}

/// The membership before a membership event, from its row.
pub(in crate::store) fn parse_member_detail(detail: Option<&str>) -> Membership {
    let number = detail.and_then(|detail| detail.parse().ok()).unwrap_or(0);
    Membership::from_sql(number)
}

/// Who is mentioned, as it stands in an event's row; after a semicolon the thread, where the event
/// itself does not tell.
fn event_detail(event: &TimelineEvent) -> Option<String> {
    let told = thread_root(&event.pdu);
    let thread = event.thread.as_ref().filter(|_| event.thread != told);
    if event.mentions.is_empty() && thread.is_none() {
        return None;
    }
    let numbers: Vec<_> = event.mentions.iter().map(ToString::to_string).collect();
    let numbers = numbers.join(",");
    Some(match thread {
        Some(thread) => format!("{numbers};{thread}"),
        None => numbers,
    })
}

/// Who is mentioned, and the thread if it is told, from an event's row.
pub(in crate::store) fn parse_event_detail(
    detail: Option<&str>,
) -> (Vec<UserNid>, Option<OwnedEventId>) {
    let detail = detail.unwrap_or_default();
    let (numbers, thread) = match detail.split_once(';') {
        Some((numbers, thread)) => (numbers, EventId::parse(thread).ok()),
        None => (detail, None),
    };
    let numbers = numbers.split(',');
    let mentions = numbers.filter_map(|number| number.parse().ok().map(UserNid));
    (mentions.collect(), thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_read_as_they_were_written() {
        let pair = |user, device| (UserNid(user), DeviceNid(device));
        let to = [pair(1, 10), pair(1, 11), pair(2, 20)];
        let change = Change::ToDevice { to: to.into() };
        let row = change.to_row();
        assert_eq!(row.user, None);
        let detail = row.detail.unwrap();
        assert_eq!(detail, "1:10,1:11,2:20");
        assert_eq!(*parse_recipients_detail(None, &detail), to);
        let users: Vec<_> = change.users().collect();
        assert_eq!(users, [UserNid(1), UserNid(2)]);
        // A row of the time when each user had one.
        assert_eq!(
            *parse_recipients_detail(Some(UserNid(1)), "10,11"),
            [pair(1, 10), pair(1, 11)]
        );
    }
}
