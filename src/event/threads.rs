//! Which thread an event says that it is in.
//!
//! Client-server API v1.19, "Threading" and "Threaded read receipts".

use ruma::OwnedEventId;

use super::Pdu;

/// The id of the main timeline, where threads are told apart.
pub const MAIN: &str = "main";

/// The root of the thread that an event is plainly in.
pub fn thread_root(pdu: &Pdu) -> Option<OwnedEventId> {
    let relation = pdu.relates_to().filter(|relation| relation.is_thread())?;
    Some(relation.event_id.clone())
}
