//! The body of a transaction, put together from texts that are JSON already.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::{Map, Value, json};

use super::devices::DeviceNews;
use crate::store::live::TimelineEvent;

/// How many events one transaction has at most, and how large it is at most, but for its last event.
const MAX_EVENTS: usize = 100;
const MAX_BYTES: usize = 1 << 20;
/// How many receipts one transaction has at most.
const MAX_RECEIPTS: usize = 500;

/// A transaction that is put together.
#[derive(Default)]
pub(super) struct Body {
    events: Vec<String>,
    bytes: usize,
    receipts: BTreeMap<OwnedRoomId, Map<String, Value>>,
    receipt_count: usize,
    typing: Vec<Value>,
    presence: Vec<Value>,
    pub(super) devices: DeviceNews,
}

impl Body {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.receipts.is_empty()
            && self.typing.is_empty()
            && self.presence.is_empty()
            && self.devices.is_empty()
    }

    /// The messages to devices, and nothing else.
    pub(super) fn with_messages_alone(self) -> Self {
        Self {
            devices: self.devices.with_messages_alone(),
            ..Self::default()
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= MAX_EVENTS
            || self.bytes >= MAX_BYTES
            || self.receipt_count >= MAX_RECEIPTS
            || self.devices.is_full()
    }

    pub(super) fn push_event(&mut self, event: &TimelineEvent) {
        let text = event.for_reader(Some(event.pdu.room_id()), None, None);
        self.bytes += text.len();
        self.events.push(text);
    }

    pub(super) fn push_receipt(
        &mut self,
        room_id: &RoomId,
        event_id: &EventId,
        user_id: &UserId,
        receipt: &Receipt<'_>,
    ) {
        let mut said = json!({ "ts": receipt.at });
        if !receipt.thread.is_empty() {
            said["thread_id"] = receipt.thread.into();
        }
        let kind = if receipt.is_private {
            "m.read.private"
        } else {
            "m.read"
        };
        let of_room = self.receipts.entry(room_id.to_owned()).or_default();
        let of_event = of_room
            .entry(OwnedEventId::from(event_id).to_string())
            .or_insert_with(|| json!({}));
        of_event[kind][user_id.as_str()] = said;
        self.receipt_count += 1;
    }

    pub(super) fn push_typing(&mut self, room_id: &RoomId, user_ids: &[OwnedUserId]) {
        self.typing.push(json!({
            "type": "m.typing",
            "room_id": room_id,
            "content": { "user_ids": user_ids },
        }));
    }

    pub(super) fn push_presence(&mut self, event: Value) {
        self.presence.push(event);
    }

    /// The text. Who wants no ephemeral data has none.
    pub(super) fn text(&self) -> String {
        let mut out = String::with_capacity(self.bytes + 256);
        out.push_str("{\"events\":[");
        for (at, event) in self.events.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(event);
        }
        out.push(']');
        let receipts = self.receipts.iter().map(|(room_id, content)| {
            json!({ "type": "m.receipt", "room_id": room_id, "content": content })
        });
        let rest = self.typing.iter().chain(&self.presence);
        let ephemeral: Vec<Value> = receipts.chain(rest.cloned()).collect();
        if !ephemeral.is_empty() {
            let ephemeral = Value::Array(ephemeral).to_string();
            out.push_str(",\"ephemeral\":");
            out.push_str(&ephemeral);
            // Those that are older than the specification look here.
            out.push_str(",\"de.sorunome.msc2409.ephemeral\":");
            out.push_str(&ephemeral);
        }
        for (name, value) in self.devices.fields() {
            out.push_str(",\"");
            out.push_str(&name);
            out.push_str("\":");
            out.push_str(&value.to_string());
        }
        out.push('}');
        out
    }
}

/// What a receipt says.
pub(super) struct Receipt<'a> {
    pub(super) is_private: bool,
    pub(super) thread: &'a str,
    pub(super) at: i64,
}
