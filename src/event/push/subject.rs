//! What rules are asked about: an event, and who would read it. The content is parsed once.

use std::cell::OnceCell;

use ruma::UserId;
use serde_json::Value;

use super::condition::Key;
use crate::event::{Pdu, PowerLevels};

/// An event, as rules look at it.
#[derive(Debug)]
pub struct Subject<'a> {
    pdu: &'a Pdu,
    levels: &'a PowerLevels,
    member_count: u64,
    content: OnceCell<Value>,
    whole: OnceCell<Value>,
}

/// Who would be notified.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader<'a> {
    /// The name that the reader has in the room.
    pub display_name: Option<&'a str>,
    /// Whether the reader has subscribed to the thread of the event; `None` for an event that is in
    /// no thread, and where subscriptions say nothing (see [`super::Defaults`]).
    pub subscribed: Option<bool>,
}

impl<'a> Subject<'a> {
    /// An event in a room with these power levels and so many joined members.
    pub fn new(pdu: &'a Pdu, levels: &'a PowerLevels, member_count: usize) -> Self {
        Self {
            pdu,
            levels,
            member_count: u64::try_from(member_count).unwrap_or(u64::MAX),
            content: OnceCell::new(),
            whole: OnceCell::new(),
        }
    }

    pub(super) fn member_count(&self) -> u64 {
        self.member_count
    }

    /// Whether the sender may notify the room in the way of this name.
    pub(super) fn sender_may_notify(&self, name: &str) -> bool {
        let sender: &UserId = self.pdu.sender();
        self.levels.user(sender) >= self.levels.notify(name)
    }

    /// Calls `test` with the text at a place, if there is one.
    pub(super) fn text(&self, key: &Key, test: impl FnOnce(&str) -> bool) -> bool {
        match key {
            Key::Type => test(&self.pdu.event_type().to_string()),
            Key::RoomId => test(self.pdu.room_id().as_str()),
            Key::Sender => test(self.pdu.sender().as_str()),
            Key::OfState => self.pdu.state_key().is_some_and(test),
            Key::EventId => test(self.pdu.event_id().as_str()),
            Key::Body => self
                .content()
                .get("body")
                .and_then(Value::as_str)
                .is_some_and(test),
            Key::Content(_) | Key::Whole(_) => {
                self.value(key).and_then(Value::as_str).is_some_and(test)
            }
        }
    }

    /// The value at a place in the content, or of a field that is seldom looked at.
    pub(super) fn value(&self, key: &Key) -> Option<&Value> {
        let (root, path) = match key {
            Key::Body => return self.content().get("body"),
            Key::Content(path) => (self.content(), path),
            Key::Whole(path) => (self.whole(), path),
            Key::Type | Key::RoomId | Key::Sender | Key::OfState | Key::EventId => return None,
        };
        let mut at = root;
        for name in path {
            at = at.as_object()?.get(name)?;
        }
        Some(at)
    }

    fn content(&self) -> &Value {
        self.content
            .get_or_init(|| self.pdu.content_as().unwrap_or_default())
    }

    fn whole(&self) -> &Value {
        self.whole
            .get_or_init(|| serde_json::from_str(self.pdu.json()).unwrap_or_default())
    }
}
