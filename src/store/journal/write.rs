//! What services ask the journal to write.

use std::sync::Arc;

use ruma::{OwnedEventId, OwnedRoomAliasId, OwnedRoomId, RoomVersionId};
use serde_json::value::RawValue;

use crate::event::relation::Aggregation;
use crate::store::{
    DeviceNid, RoomNid, RoomPosition, StreamPosition, UserNid,
    invitations::NewInvitation,
    live::{Change, RoomHead, TimelineEvent},
    thread_subscriptions::Subscription,
};

/// What is written in one piece: all of it or nothing.
#[derive(Debug, Default)]
pub struct Write {
    /// Events of one room.
    pub room: Option<RoomWrite>,
    /// Read receipts.
    pub receipts: Vec<ReceiptWrite>,
    /// Account data.
    pub account_data: Vec<AccountDataWrite>,
    /// Aliases that must be free. Taken ones refuse the write with `aliases_pkey`.
    pub aliases: Vec<(OwnedRoomAliasId, RoomNid, UserNid)>,
    /// Whether the room is published in the directory from now on.
    pub publish: Option<(RoomNid, bool)>,
    /// Device lists that have changed.
    pub device_lists: Vec<DeviceListWrite>,
    /// Messages to devices.
    pub to_device: Option<SendWrite>,
    /// Devices of which one-time keys or fallback keys came or went.
    pub one_time_keys: Vec<(UserNid, Arc<[DeviceNid]>)>,
    /// Threads that users have subscribed to, or do so no more.
    pub thread_subscriptions: Vec<ThreadSubscriptionWrite>,
}

/// A user's subscription to a thread.
#[derive(Clone, Debug)]
pub struct ThreadSubscriptionWrite {
    /// Whose.
    pub user: UserNid,
    /// The room.
    pub room: RoomNid,
    /// The event that the thread begins with.
    pub thread: OwnedEventId,
    /// What it is from now on; `None` where it ends.
    pub subscription: Option<Subscription>,
}

/// A user's devices or their keys have changed.
#[derive(Clone, Debug)]
pub struct DeviceListWrite {
    /// Whose.
    pub user: UserNid,
    /// The one user who is told; otherwise everybody who shares a room.
    pub viewer: Option<UserNid>,
    /// The rooms in which the user is joined.
    pub rooms: Arc<[RoomNid]>,
}

/// Messages to devices, sent by one request.
#[derive(Clone, Debug)]
pub struct SendWrite {
    /// The client's transaction id. A repeated one writes nothing, and is a success.
    pub transaction: Option<SendTransaction>,
    /// To whom.
    pub recipients: Vec<ToDeviceRecipient>,
}

/// The transaction id of messages to devices.
#[derive(Clone, Copy, Debug)]
pub struct SendTransaction {
    /// The number of the device that sends.
    pub device: DeviceNid,
    /// The event type and the transaction id, digested.
    pub key: [u8; 16],
    /// Now, in milliseconds.
    pub at: i64,
}

/// What is sent to the devices of one user.
#[derive(Clone, Debug)]
pub struct ToDeviceRecipient {
    /// The user.
    pub user: UserNid,
    /// What each device gets, as JSON: one message for each.
    pub messages: Vec<(DeviceNid, Arc<str>)>,
}

/// New events on the line of a room.
#[derive(Debug)]
pub struct RoomWrite {
    /// The room.
    pub room: RoomNid,
    /// For a room that does not exist yet.
    pub created: Option<NewRoom>,
    /// The position that the first event was built on. Where the room has moved on, the write is
    /// refused with [`crate::store::StoreError::Conflict`].
    pub expected: RoomPosition,
    /// The events, each on top of the one before.
    pub events: Vec<Arc<TimelineEvent>>,
    /// Older events that these events redact.
    pub redactions: Vec<Redaction>,
    /// What these events relate to.
    pub relations: Vec<RelationWrite>,
    /// The room after the last event.
    pub head: Arc<RoomHead>,
    /// What the room directory shows, where these events change it.
    pub summary: Option<Box<RoomSummary>>,
    /// What a client's transaction id stands for.
    pub transaction: Option<TransactionWrite>,
    /// The invitations by e-mail that belong to these events.
    pub invitations: Vec<Arc<NewInvitation>>,
}

/// A room to make.
#[derive(Debug)]
pub struct NewRoom {
    /// Its id.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub room_version: RoomVersionId,
}

/// An event that loses its content.
#[derive(Debug)]
pub struct Redaction {
    /// The event as it is from now on.
    pub event: Arc<TimelineEvent>,
}

/// A new event that relates to an older one of its room.
#[derive(Clone, Debug)]
pub struct RelationWrite {
    /// The new event.
    pub event: Arc<TimelineEvent>,
    /// The position of the older one.
    pub parent: RoomPosition,
    /// How the older one is shown with it.
    pub aggregation: Option<Aggregation>,
    /// For an annotation, its key, digested: a second one by the same user refuses the write with
    /// [`crate::store::relations::UNIQUE_ANNOTATION`].
    pub annotation_key: Option<[u8; 16]>,
}

impl RelationWrite {
    pub(super) fn rel_type(&self) -> &str {
        let relation = self.event.pdu.relates_to();
        relation.map_or("", |relation| &relation.rel_type)
    }
}

/// What the room directory shows of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomSummary {
    /// How many members have joined.
    pub joined_count: i64,
    /// The name.
    pub name: Option<String>,
    /// The topic.
    pub topic: Option<String>,
    /// The canonical alias.
    pub canonical_alias: Option<String>,
    /// The avatar.
    pub avatar_url: Option<String>,
    /// The join rule.
    pub join_rule: Option<String>,
    /// The room type.
    pub room_type: Option<String>,
    /// Whether the history is world-readable.
    pub world_readable: bool,
    /// Whether guest accounts may join.
    pub guest_can_join: bool,
}

/// A client's transaction id, and the event that it made.
#[derive(Clone, Debug)]
pub struct TransactionWrite {
    /// The number of the device.
    pub device: DeviceNid,
    /// Room, event type and transaction id, digested: see
    /// [`crate::store::transactions::key`].
    pub key: [u8; 16],
    /// The event.
    pub event_id: OwnedEventId,
    /// Now, in milliseconds.
    pub at: i64,
}

/// A read receipt.
#[derive(Clone, Debug)]
pub struct ReceiptWrite {
    /// The room.
    pub room: RoomNid,
    /// Who has read.
    pub user: UserNid,
    /// Whether only the reader sees it (`m.read.private`).
    pub private: bool,
    /// The thread, `main`, or empty.
    pub thread: String,
    /// The event's position.
    pub position: RoomPosition,
    /// How many events up to there count as unread messages.
    pub notify_count: i64,
    /// The event's id.
    pub event_id: OwnedEventId,
    /// When, in milliseconds.
    pub at: i64,
}

/// Account data of a user.
#[derive(Clone, Debug)]
pub struct AccountDataWrite {
    /// Whose.
    pub user: UserNid,
    /// Which room's; `None` for global account data.
    pub room: Option<RoomNid>,
    /// The type.
    pub event_type: String,
    /// The content, a JSON object.
    pub content: Box<RawValue>,
}

impl Write {
    /// Whether there is nothing but messages to devices.
    pub(super) fn is_send(&self) -> bool {
        let Self {
            room: None,
            receipts,
            account_data,
            aliases,
            publish: None,
            device_lists,
            to_device: Some(_),
            one_time_keys,
            thread_subscriptions,
        } = self
        else {
            return false;
        };
        receipts.is_empty()
            && account_data.is_empty()
            && aliases.is_empty()
            && device_lists.is_empty()
            && one_time_keys.is_empty()
            && thread_subscriptions.is_empty()
    }

    /// About how much memory the write holds while it waits, in bytes.
    pub fn weight(&self) -> usize {
        let events = self.room.iter().flat_map(|room| &room.events);
        let account_data = self
            .account_data
            .iter()
            .map(|data| data.content.get().len());
        1024 + events
            .map(|event| event.pdu.json().len() * 2)
            .sum::<usize>()
            + account_data.sum::<usize>()
            + self.to_device.as_ref().map_or(0, SendWrite::weight)
    }
}

impl SendWrite {
    /// Whether there is anything to say in the stream.
    pub(super) fn has_messages(&self) -> bool {
        self.recipients.iter().any(|to| !to.messages.is_empty())
    }

    /// What the stream says of it, if there is anything.
    pub(super) fn change(&self) -> Option<Change> {
        self.has_messages().then(|| {
            let to = self.recipients.iter();
            let to = to.flat_map(|to| to.messages.iter().map(|(device, _)| (to.user, *device)));
            Change::ToDevice { to: to.collect() }
        })
    }

    fn weight(&self) -> usize {
        let messages = self.recipients.iter().flat_map(|to| &to.messages);
        messages.map(|(_, json)| 64 + json.len()).sum()
    }
}

/// Where a write stands in the stream.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    /// The position of its last entry.
    pub position: StreamPosition,
}
