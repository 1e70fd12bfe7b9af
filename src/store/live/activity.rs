//! What lists of rooms are ordered and filtered by, kept for each room as events come in, so that
//! no list reads a room.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use ruma::events::{StateEventType, TimelineEventType};
use serde::Deserialize;

use super::TimelineEvent;
use crate::{
    event::Pdu,
    store::{RoomPosition, StreamPosition},
};

/// What is known of a room at one moment.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// The position of its newest event.
    pub position: RoomPosition,
    /// The place of that event in the stream.
    pub last: StreamPosition,
    /// When somebody last said something, in milliseconds since the epoch.
    pub bumped_ms: i64,
    /// The position from which it is encrypted; 0 if it is not.
    pub encrypted_at: RoomPosition,
    /// Its type, such as `m.space`.
    pub room_type: Option<Arc<str>>,
}

/// The same, as it changes. All values grow only.
#[derive(Debug, Default)]
pub(super) struct LiveActivity {
    position: AtomicI64,
    last: AtomicI64,
    bumped_ms: AtomicI64,
    encrypted_at: AtomicI64,
    room_type: Option<Arc<str>>,
}

impl LiveActivity {
    pub(super) fn new(activity: &Activity) -> Self {
        Self {
            position: activity.position.0.into(),
            last: activity.last.0.into(),
            bumped_ms: activity.bumped_ms.into(),
            encrypted_at: activity.encrypted_at.0.into(),
            room_type: activity.room_type.clone(),
        }
    }

    /// That of a room that begins with this event.
    pub(super) fn begin(event: &TimelineEvent) -> Self {
        Self {
            room_type: room_type(&event.pdu),
            ..Self::default()
        }
    }

    /// Takes an event in; twice is as good as once.
    pub(super) fn apply(&self, event: &TimelineEvent, at: StreamPosition) {
        self.position.fetch_max(event.position.0, Ordering::Relaxed);
        self.last.fetch_max(at.0, Ordering::Relaxed);
        if let Some(ms) = bump(&event.pdu) {
            self.bumped_ms.fetch_max(ms, Ordering::Relaxed);
        }
        if event.slot.is_some()
            && event.pdu.state_key() == Some("")
            && event.pdu.event_type().to_string() == StateEventType::RoomEncryption.to_string()
        {
            // The first one counts; the order in which events come in is that of the room.
            let at = event.position.0;
            let _ = self
                .encrypted_at
                .compare_exchange(0, at, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub(super) fn now(&self) -> Activity {
        Activity {
            position: RoomPosition(self.position.load(Ordering::Relaxed)),
            last: StreamPosition(self.last.load(Ordering::Relaxed)),
            bumped_ms: self.bumped_ms.load(Ordering::Relaxed),
            encrypted_at: RoomPosition(self.encrypted_at.load(Ordering::Relaxed)),
            room_type: self.room_type.clone(),
        }
    }
}

/// The time of an event with which somebody says something; others do not lift a room in the
/// lists that people see (MSC4186, `bump_stamp`).
pub(in crate::store) fn bump(pdu: &Pdu) -> Option<i64> {
    let says = match pdu.event_type() {
        TimelineEventType::RoomMessage
        | TimelineEventType::RoomEncrypted
        | TimelineEventType::RoomCreate
        | TimelineEventType::Sticker
        | TimelineEventType::CallInvite => true,
        other => matches!(
            other.to_string().as_str(),
            "m.poll.start"
                | "org.matrix.msc3381.poll.start"
                | "m.beacon_info"
                | "org.matrix.msc3672.beacon_info"
        ),
    };
    says.then(|| i64::from(pdu.origin_server_ts().0))
}

fn room_type(create: &Pdu) -> Option<Arc<str>> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "type")]
        room_type: Option<String>,
    }
    let content = create.content_as::<Content>()?;
    content.room_type.map(Into::into)
}
