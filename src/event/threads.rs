//! Which thread an event says that it is in.
//!
//! Client-server API v1.19, "Threading" and "Threaded read receipts".

use ruma::{EventId, OwnedEventId};
use serde::Deserialize;
use serde_json::Value;

use super::Pdu;

/// The id of the main timeline, where threads are told apart.
pub const MAIN: &str = "main";

/// What an event is related to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is in the thread of this root.
    Thread(OwnedEventId),
    /// It is where this event is.
    Other(OwnedEventId),
}

/// The relation of an event, if it has one. A reply alone is none.
pub fn relation(pdu: &Pdu) -> Option<Relation> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relates_to: Value,
    }
    // Most events have none, and need no parse.
    if !pdu.content_str().contains("rel_type") {
        return None;
    }
    let relates_to = pdu.content_as::<Content>()?.relates_to;
    let rel_type = relates_to.get("rel_type")?.as_str()?;
    let event_id = EventId::parse(relates_to.get("event_id")?.as_str()?).ok()?;
    Some(if rel_type == "m.thread" {
        Relation::Thread(event_id)
    } else {
        Relation::Other(event_id)
    })
}

/// The root of the thread that an event is plainly in.
pub fn thread_root(pdu: &Pdu) -> Option<OwnedEventId> {
    match relation(pdu)? {
        Relation::Thread(root) => Some(root),
        Relation::Other(_) => None,
    }
}
