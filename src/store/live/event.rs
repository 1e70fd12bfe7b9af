//! An event as memory holds it: parsed once, serialized for clients once, shared by everybody.

use std::sync::Arc;

use ruma::{OwnedEventId, RoomId, events::room::member::MembershipState};

use super::EVERYBODY;
use crate::{
    event::{
        Pdu,
        client_format::{self, Personal, Unsigned},
        push,
    },
    store::{DeviceNid, Membership, RoomNid, RoomPosition, SlotNid, UserNid},
};

/// What the transaction ids begin with of events that were sent later (MSC4140); the rest is the
/// secret that named the event until then. A client that makes such an id itself deceives itself.
pub const DELAYED: &str = "\u{1f}delayed:";

/// An event with its place in its room.
#[derive(Debug)]
pub struct TimelineEvent {
    /// The room.
    pub room: RoomNid,
    /// The place on the room's line.
    pub position: RoomPosition,
    /// The sender.
    pub sender: UserNid,
    /// The event.
    pub pdu: Arc<Pdu>,
    /// The client format without room id, see [`client_format::personalize`].
    pub client: Box<str>,
    /// For a state event, its slot.
    pub slot: Option<SlotNid>,
    /// For a state event, the position of the one it replaced.
    pub replaces: Option<RoomPosition>,
    /// How many events up to and with this one count as unread messages, see
    /// [`super::NotifyCount`].
    pub notify_count: i64,
    /// The root of the thread that it is in; `None` on the main timeline.
    pub thread: Option<OwnedEventId>,
    /// For a membership event, whose membership changed and how.
    pub member: Option<MemberChange>,
    /// Who is mentioned.
    pub mentions: Vec<UserNid>,
    /// The redaction that took its content.
    pub redacted_by: Option<RoomPosition>,
    /// The device of this server that sent it, with its transaction id.
    pub transaction: Option<SenderTransaction>,
}

/// What a membership event changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// Whose membership.
    pub user: UserNid,
    /// What it was.
    pub before: Membership,
    /// What it is.
    pub after: Membership,
}

impl MemberChange {
    /// Whether the user joins, and was not joined before.
    pub fn joins(&self) -> bool {
        self.after == Membership::Join && self.before != Membership::Join
    }
}

/// Which device sent an event, and under which transaction id.
#[derive(Clone, Debug)]
pub struct SenderTransaction {
    /// The number of the device.
    pub device: DeviceNid,
    /// The client's transaction id.
    pub id: Box<str>,
}

impl TimelineEvent {
    /// The event for one reader. `room_id` is given where the answer does not name the room.
    pub fn for_reader(
        &self,
        room_id: Option<&RoomId>,
        membership: Option<&MembershipState>,
        device: Option<DeviceNid>,
    ) -> String {
        self.for_reader_with(room_id, membership, device, None)
    }

    /// The same with bundled aggregations: the object under `m.relations`, as JSON.
    pub fn for_reader_with(
        &self,
        room_id: Option<&RoomId>,
        membership: Option<&MembershipState>,
        device: Option<DeviceNid>,
        relations: Option<&str>,
    ) -> String {
        let transaction = self.transaction.as_ref();
        let own = transaction.filter(|transaction| Some(transaction.device) == device);
        let own = own.map(|transaction| &*transaction.id);
        let delay_id = own.and_then(|id| id.strip_prefix(DELAYED));
        client_format::personalize(
            &self.client,
            &Personal {
                room_id,
                age: None,
                transaction_id: own.filter(|_| delay_id.is_none()),
                delay_id,
                relations,
                membership,
            },
        )
    }

    /// Whether sending this event means that the sender has read what came before: messages of the
    /// main timeline do, and so does joining; reactions do not, nor does what machinery sends.
    pub fn marks_read(&self) -> bool {
        match &self.member {
            Some(change) => change.user == self.sender && change.joins(),
            None => {
                self.thread.is_none()
                    && (!self.is_extra()
                        || (self.slot.is_none() && self.pdu.relates_to().is_none()))
            }
        }
    }

    /// Whether the event is in nobody's count but that of whom it mentions, and in a thread perhaps of
    /// who has subscribed to it.
    pub fn is_extra(&self) -> bool {
        !self.mentions.contains(&EVERYBODY) && !push::notifies_by_kind(&self.pdu)
    }

    /// Whether the event is an extra one that whoever has subscribed to its thread counts all the same
    /// (MSC4306): a sticker, for one.
    pub fn is_for_subscribers(&self) -> bool {
        self.thread.is_some() && self.is_extra() && push::notifies_subscribers(&self.pdu)
    }

    /// The same event after a redaction: `pdu` is what is left of it.
    #[must_use]
    pub fn redacted(&self, pdu: Arc<Pdu>, by: &Self) -> Self {
        let because = client_format::client_text(&by.pdu, &Unsigned::default(), false);
        let unsigned = Unsigned {
            redacted_because: Some(&because),
            ..Unsigned::default()
        };
        Self {
            room: self.room,
            position: self.position,
            sender: self.sender,
            client: client_format::client_text(&pdu, &unsigned, false).into(),
            pdu,
            slot: self.slot,
            replaces: self.replaces,
            notify_count: self.notify_count,
            thread: self.thread.clone(),
            member: self.member,
            mentions: Vec::new(),
            redacted_by: Some(by.position),
            transaction: self.transaction.clone(),
        }
    }

    /// The same state event after the one that it replaced lost its content: what it tells of that
    /// one is `replaced`.
    #[must_use]
    pub fn after(&self, replaced: &Self) -> Self {
        let unsigned = Unsigned {
            prev_content: Some(replaced.pdu.content()),
            prev_sender: Some(replaced.pdu.sender()),
            replaces_state: Some(replaced.pdu.event_id()),
            ..Unsigned::default()
        };
        Self {
            room: self.room,
            position: self.position,
            sender: self.sender,
            client: client_format::client_text(&self.pdu, &unsigned, false).into(),
            pdu: Arc::clone(&self.pdu),
            slot: self.slot,
            replaces: self.replaces,
            notify_count: self.notify_count,
            thread: self.thread.clone(),
            member: self.member,
            mentions: self.mentions.clone(),
            redacted_by: self.redacted_by,
            transaction: self.transaction.clone(),
        }
    }

    /// About how much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        512 + self.pdu.json().len() + self.client.len()
    }
}
