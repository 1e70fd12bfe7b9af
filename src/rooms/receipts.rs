//! How far people have read: receipts, and the marker that only its owner sees.
//!
//! Client-server API v1.19, "Receipts" and "Read and unread markers".

use ruma::{EventId, OwnedEventId, RoomId};
use serde::Deserialize;
use serde_json::value::to_raw_value;

use super::{Actor, Error, Rooms};
use crate::{
    event::Pdu,
    store::{
        RoomPosition, StoreError, account_data, events,
        journal::{AccountDataWrite, ReceiptWrite, Write},
        live::LiveRoom,
        receipts,
    },
};

/// The type of the account data that holds the marker.
pub(super) const FULLY_READ: &str = "m.fully_read";

/// What is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptKind {
    /// `m.read`: everybody in the room sees it.
    Read,
    /// `m.read.private`: nobody else sees it.
    ReadPrivate,
    /// `m.fully_read`: the marker.
    FullyRead,
}

/// Several marks at once (`POST /rooms/{roomId}/read_markers`).
#[derive(Clone, Debug, Default)]
pub struct ReadMarkers {
    /// The event up to which everything has been read.
    pub fully_read: Option<OwnedEventId>,
    /// The event of a receipt.
    pub read: Option<OwnedEventId>,
    /// The event of a private receipt.
    pub read_private: Option<OwnedEventId>,
}

/// One mark.
struct Mark<'a> {
    kind: ReceiptKind,
    event_id: &'a EventId,
    thread: &'a str,
}

/// `fully_read` as account data.
#[derive(Deserialize, serde::Serialize)]
struct FullyRead {
    event_id: OwnedEventId,
}

impl Rooms {
    /// Marks an event as read (`POST /rooms/{roomId}/receipt/{receiptType}/{eventId}`). A mark
    /// never goes back: an older event changes nothing. `thread` is the id of a thread's root,
    /// `main`, or nothing for the whole room.
    ///
    /// # Errors
    /// [`Error::NotJoined`], and [`Error::Invalid`] for an event that the reader may not see or that
    /// does not belong to the thread.
    pub async fn mark_read(
        &self,
        reader: &Actor,
        room_id: &RoomId,
        kind: ReceiptKind,
        event_id: &EventId,
        thread: Option<&str>,
    ) -> Result<(), Error> {
        if kind == ReceiptKind::FullyRead && thread.is_some() {
            return Err(Error::Invalid("m.fully_read has no threads".into()));
        }
        if thread.is_some_and(|thread| thread != "main" && EventId::parse(thread).is_err()) {
            return Err(Error::Invalid(
                "thread_id is neither an event nor main".into(),
            ));
        }
        let mark = Mark {
            kind,
            event_id,
            thread: thread.unwrap_or_default(),
        };
        self.mark(reader, room_id, &[mark]).await
    }

    /// Marks events as read (`POST /rooms/{roomId}/read_markers`).
    ///
    /// # Errors
    /// As [`Self::mark_read`].
    pub async fn set_read_markers(
        &self,
        reader: &Actor,
        room_id: &RoomId,
        markers: &ReadMarkers,
    ) -> Result<(), Error> {
        let marks: Vec<_> = [
            (ReceiptKind::FullyRead, &markers.fully_read),
            (ReceiptKind::Read, &markers.read),
            (ReceiptKind::ReadPrivate, &markers.read_private),
        ]
        .into_iter()
        .filter_map(|(kind, event_id)| {
            let event_id = event_id.as_deref()?;
            Some(Mark {
                kind,
                event_id,
                thread: "",
            })
        })
        .collect();
        self.mark(reader, room_id, &marks).await
    }

    async fn mark(
        &self,
        reader: &Actor,
        room_id: &RoomId,
        marks: &[Mark<'_>],
    ) -> Result<(), Error> {
        let room = self.joined_room(room_id, &reader.user_id).await?;
        let mut viewer = self.viewer(&room, reader).await?;
        let event_ids: Vec<&EventId> = marks.iter().map(|mark| mark.event_id).collect();
        let events = self.find_events(&room, &event_ids).await?;
        let _turn = self.0.locks.turn(reader.user, Some(room.nid())).await;
        let mut write = Write::default();
        for mark in marks {
            let unknown = || Error::Invalid("the room has no such event".into());
            let event = events.get(mark.event_id).ok_or_else(unknown)?;
            viewer.reach(&self.0.store, event.position).await?;
            if !viewer.may_see(event.position) {
                return Err(unknown());
            }
            if !is_in_thread(&event.pdu, mark.thread) {
                return Err(Error::Invalid("the event is not in the thread".into()));
            }
            let before = self.marked_position(reader, &room, mark).await?;
            if before.is_some_and(|before| before >= event.position) {
                continue;
            }
            match mark.kind {
                ReceiptKind::FullyRead => write.account_data.push(AccountDataWrite {
                    user: reader.user,
                    room: Some(room.nid()),
                    event_type: FULLY_READ.to_owned(),
                    content: to_raw_value(&FullyRead {
                        event_id: mark.event_id.to_owned(),
                    })
                    .map_err(|error| Error::Invalid(error.to_string()))?,
                }),
                ReceiptKind::Read | ReceiptKind::ReadPrivate => {
                    write.receipts.push(ReceiptWrite {
                        room: room.nid(),
                        user: reader.user,
                        private: mark.kind == ReceiptKind::ReadPrivate,
                        thread: mark.thread.to_owned(),
                        position: event.position,
                        notify_count: event.notify_count,
                        event_id: mark.event_id.to_owned(),
                        at: self.0.clock.now_i64(),
                    });
                }
            }
        }
        if !write.receipts.is_empty() || !write.account_data.is_empty() {
            self.0.store.journal().write(write).await?;
        }
        Ok(())
    }

    /// How far a mark of this kind and thread stands.
    async fn marked_position(
        &self,
        reader: &Actor,
        room: &LiveRoom,
        mark: &Mark<'_>,
    ) -> Result<Option<RoomPosition>, StoreError> {
        let mut conn = self.0.store.conn().await?;
        let (nid, user) = (room.nid(), reader.user);
        if mark.kind != ReceiptKind::FullyRead {
            let private = mark.kind == ReceiptKind::ReadPrivate;
            let found = receipts::find_position(&mut conn, nid, user, private, mark.thread).await?;
            return Ok(found.map(RoomPosition));
        }
        let content = account_data::find(&mut conn, user, Some(nid), FULLY_READ).await?;
        let content = content.as_ref().map(|content| content.get());
        let Some(now) = content.and_then(|now| serde_json::from_str::<FullyRead>(now).ok()) else {
            return Ok(None);
        };
        let places = events::places(&mut conn, &[(nid, now.event_id)]).await?;
        Ok(places.first().map(|(_, position)| *position))
    }
}

/// Whether an event may carry a receipt for a thread: it is the root, or related to something of
/// which only its client knows where it belongs, or plainly in the thread.
fn is_in_thread(pdu: &Pdu, thread: &str) -> bool {
    #[derive(Deserialize)]
    struct Relation {
        rel_type: Option<String>,
        event_id: Option<String>,
    }
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relates_to: Option<Relation>,
    }
    if thread.is_empty() || pdu.event_id().as_str() == thread {
        return true;
    }
    let relation = pdu
        .content_as::<Content>()
        .and_then(|content| content.relates_to);
    let is_thread = |relation: &Relation| relation.rel_type.as_deref() == Some("m.thread");
    match relation {
        Some(relation) if is_thread(&relation) => relation.event_id.as_deref() == Some(thread),
        Some(_) => true,
        None => thread == "main",
    }
}
