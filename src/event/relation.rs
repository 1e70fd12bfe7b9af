//! What an event says that it relates to, and which of these relations are told with their parent.
//!
//! Client-server API v1.19, "Forming relationships between events" and "Aggregations of child
//! events".

use ruma::{EventId, OwnedEventId, events::TimelineEventType};
use serde::Deserialize;

use super::Pdu;

/// The longest relation type, in bytes; longer ones relate to nothing.
const MAX_TYPE: usize = 255;

/// The relation of an event to its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelatesTo {
    /// How it relates.
    pub rel_type: Box<str>,
    /// The parent.
    pub event_id: OwnedEventId,
    /// What an annotation says.
    pub key: Option<Box<str>>,
}

/// A relation that the parent is shown with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aggregation {
    /// A valid edit (`m.replace`).
    Edit,
    /// An event of the thread that begins with the parent (`m.thread`).
    Thread,
    /// A reference (`m.reference`).
    Reference,
}

impl RelatesTo {
    /// What the content of an event says. `None` where it relates to nothing, or says it in a way
    /// that is none.
    pub(super) fn in_content(content: &str) -> Option<Box<Self>> {
        #[derive(Deserialize)]
        struct Inner {
            rel_type: Option<Box<str>>,
            event_id: Option<String>,
            key: Option<serde_json::Value>,
        }
        #[derive(Deserialize)]
        struct Content {
            #[serde(rename = "m.relates_to")]
            relates_to: Inner,
        }
        // Most events do not have the word, and need no parse.
        if !content.contains("m.relates_to") {
            return None;
        }
        let inner = serde_json::from_str::<Content>(content).ok()?.relates_to;
        let rel_type = inner.rel_type?;
        if rel_type.is_empty() || rel_type.len() > MAX_TYPE || rel_type.contains('\0') {
            return None;
        }
        let event_id = EventId::parse(inner.event_id?).ok()?;
        if event_id.as_str().contains('\0') {
            return None;
        }
        let key = match inner.key {
            Some(serde_json::Value::String(key)) => Some(key.into()),
            _ => None,
        };
        Some(Box::new(Self {
            rel_type,
            event_id,
            key,
        }))
    }

    /// Whether this is a reaction, or something like it.
    pub fn is_annotation(&self) -> bool {
        &*self.rel_type == "m.annotation"
    }

    /// Whether this puts the event into a thread.
    pub fn is_thread(&self) -> bool {
        &*self.rel_type == "m.thread"
    }
}

/// How a parent is shown with an event that relates to it. `None` for an event that does not, for
/// relations that are not aggregated, and for those that break the rules of their type.
pub fn aggregation(parent: &Pdu, child: &Pdu) -> Option<Aggregation> {
    let relation = child.relates_to()?;
    // State events do not receive aggregations.
    if relation.event_id != parent.event_id() || parent.is_state() {
        return None;
    }
    match &*relation.rel_type {
        "m.replace" => is_valid_edit(parent, child).then_some(Aggregation::Edit),
        // A thread does not begin with an event that relates to another one.
        "m.thread" => parent.relates_to().is_none().then_some(Aggregation::Thread),
        "m.reference" => Some(Aggregation::Reference),
        _ => None,
    }
}

/// Client-server API v1.19, "Validity of replacement events".
fn is_valid_edit(parent: &Pdu, child: &Pdu) -> bool {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.new_content")]
        _new_content: serde_json::Map<String, serde_json::Value>,
    }
    // They have the same sender and type, and neither is state.
    parent.sender() == child.sender()
        && parent.event_type() == child.event_type()
        && !child.is_state()
        // The original is not an edit itself.
        && parent.relates_to().is_none_or(|relation| &*relation.rel_type != "m.replace")
        // There is a new content, which in encrypted events nobody can see.
        && (*child.event_type() == TimelineEventType::RoomEncrypted
            || child.content_as::<Content>().is_some())
}
