//! Reads the stream log: what other processes committed, and what happened before the window.

use std::{collections::HashMap, sync::Arc};

use ruma::{EventId, events::TimelineEventType};
use serde_json::value::RawValue;
use sqlx::PgConnection;

use super::{
    DeviceNid, Membership, RoomNid, RoomPosition, SlotNid, StoreError, StreamPosition, UserNid,
    events::{self, EventRow},
    live::{
        Change, Entry, MemberChange, TimelineEvent, kind, parse_devices_detail, parse_event_detail,
        parse_member_detail, parse_receipt_detail, parse_recipients_detail,
    },
    memberships,
};

/// The newest position that was given out.
pub async fn position(conn: &mut PgConnection) -> Result<StreamPosition, StoreError> {
    let position = sqlx::query_scalar!(
        r#"
        SELECT position AS "position: StreamPosition"
        FROM stream_counter
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(position)
}

/// What one read of the log gives.
pub(super) struct Page {
    /// The entries, without a gap, oldest first.
    pub(super) entries: Vec<Entry>,
    /// Events that redactions among the entries redact, as they are now.
    pub(super) redacted: Vec<Arc<TimelineEvent>>,
}

/// A row of the log with what it points at.
struct LogRow {
    stream_position: StreamPosition,
    kind: i16,
    stream_room: Option<RoomNid>,
    stream_room_position: Option<RoomPosition>,
    stream_user: Option<UserNid>,
    detail: Option<String>,
    room_id: Option<String>,
    event_id: Option<String>,
    sender_nid: Option<UserNid>,
    slot_nid: Option<SlotNid>,
    replaces: Option<RoomPosition>,
    notify_count: Option<i64>,
    redacted_by: Option<RoomPosition>,
    device_nid: Option<DeviceNid>,
    transaction_id: Option<String>,
    json: Option<String>,
    replaced_id: Option<String>,
    replaced_json: Option<String>,
    redaction_id: Option<String>,
    redaction_json: Option<String>,
    content: Option<String>,
    receipt_event_id: Option<String>,
    received_at: Option<i64>,
}

/// The entries after a position, at most `limit`.
///
/// A row that makes no sense is logged and passed over as an entry that shows nothing: one bad
/// row stops nobody's sync.
pub(super) async fn after(
    conn: &mut PgConnection,
    position: StreamPosition,
    limit: i64,
) -> Result<Page, StoreError> {
    let rows = sqlx::query_as!(
        LogRow,
        r#"
        SELECT s.position AS "stream_position: StreamPosition",
            s.kind,
            s.room_nid AS "stream_room: RoomNid",
            s.room_position AS "stream_room_position: RoomPosition",
            s.user_nid AS "stream_user: UserNid",
            s.detail,
            o.room_id AS "room_id?", -- a left join
            e.event_id AS "event_id?", -- a left join
            e.sender_nid AS "sender_nid?: UserNid", -- a left join
            e.slot_nid AS "slot_nid?: SlotNid", -- a left join
            e.replaces AS "replaces?: RoomPosition", -- a left join
            e.notify_count AS "notify_count?", -- a left join
            e.redacted_by AS "redacted_by?: RoomPosition", -- a left join
            e.device_nid AS "device_nid?: DeviceNid", -- a left join
            e.transaction_id AS "transaction_id?", -- a left join
            e.json AS "json?", -- a left join
            p.event_id AS "replaced_id?", -- a left join
            p.json AS "replaced_json?", -- a left join
            r.event_id AS "redaction_id?", -- a left join
            r.json AS "redaction_json?", -- a left join
            a.content AS "content?", -- a left join
            c.event_id AS "receipt_event_id?", -- a left join
            c.received_at AS "received_at?" -- a left join
        FROM stream s
        LEFT JOIN rooms o ON o.room_nid = s.room_nid
        LEFT JOIN events e ON e.room_nid = s.room_nid AND e.position = s.room_position
        LEFT JOIN events p ON p.room_nid = e.room_nid AND p.position = e.replaces
        LEFT JOIN events r ON r.room_nid = e.room_nid AND r.position = e.redacted_by
        LEFT JOIN account_data a ON s.kind = 4
            AND a.user_nid = s.user_nid
            AND a.room_nid = COALESCE(s.room_nid, 0)
            AND a.event_type = s.detail
        LEFT JOIN receipts c ON s.kind = 3
            AND c.room_nid = s.room_nid
            AND c.user_nid = s.user_nid
            AND c.receipt_type = CASE WHEN s.detail LIKE 'p%' THEN 2 ELSE 1 END
            AND c.thread_id = SUBSTRING(s.detail FROM 2)
        WHERE s.position > $1
        ORDER BY s.position
        LIMIT $2
        "#,
        position as StreamPosition,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut entries = Vec::with_capacity(rows.len());
    let mut targets = Vec::new();
    for row in rows {
        let position = row.stream_position;
        let change = row.into_change().unwrap_or_else(|error| {
            tracing::error!(%error, stream.position = %position, "a row of the stream makes no sense");
            Change::Nothing
        });
        if let Change::Event(event) = &change {
            targets.extend(redaction_target(event));
        }
        entries.push(Entry { position, change });
    }
    let places = events::places(conn, &targets).await?;
    let redacted = events::at(conn, &places).await?;
    add_rooms(conn, &mut entries).await?;
    Ok(Page { entries, redacted })
}

/// Adds to changed device lists the rooms of their users.
async fn add_rooms(conn: &mut PgConnection, entries: &mut [Entry]) -> Result<(), StoreError> {
    let users = entries.iter().filter_map(|entry| match entry.change {
        Change::DeviceList {
            user, viewer: None, ..
        } => Some(user),
        _ => None,
    });
    let users: Vec<_> = users.collect();
    if users.is_empty() {
        return Ok(());
    }
    let rooms: HashMap<_, _> = memberships::joined_rooms(conn, &users)
        .await?
        .into_iter()
        .collect();
    for entry in entries {
        if let Change::DeviceList {
            user,
            rooms: of_user,
            ..
        } = &mut entry.change
            && let Some(found) = rooms.get(user)
        {
            *of_user = Arc::clone(found);
        }
    }
    Ok(())
}

/// What a redaction redacts.
fn redaction_target(event: &TimelineEvent) -> Option<(RoomNid, ruma::OwnedEventId)> {
    if *event.pdu.event_type() != TimelineEventType::RoomRedaction {
        return None;
    }
    let target = event.pdu.any_redacts()?;
    Some((event.room, target.to_owned()))
}

impl LogRow {
    fn into_change(self) -> Result<Change, StoreError> {
        let position = self.stream_position;
        let missing = |column| StoreError::inconsistent("stream", column, position);
        match self.kind {
            // Messages are deleted when they are old.
            kind::EVENT if self.event_id.is_none() => Ok(Change::Nothing),
            kind::EVENT | kind::MEMBER => self.into_event(),
            kind::RECEIPT => {
                let detail = self.detail.as_deref().ok_or_else(|| missing("detail"))?;
                let (private, thread) = parse_receipt_detail(detail);
                // A receipt is replaced by a newer one, whose own entry follows.
                let (Some(event_id), Some(at)) = (&self.receipt_event_id, self.received_at) else {
                    return Ok(Change::Nothing);
                };
                Ok(Change::Receipt {
                    room: self.stream_room.ok_or_else(|| missing("room_nid"))?,
                    user: self.stream_user.ok_or_else(|| missing("user_nid"))?,
                    private,
                    thread: thread.into(),
                    position: self
                        .stream_room_position
                        .ok_or_else(|| missing("room_position"))?,
                    notify_count: self.notify_count.unwrap_or_default(),
                    event_id: EventId::parse(event_id).map_err(|_| missing("event_id"))?,
                    at,
                })
            }
            kind::ACCOUNT_DATA => {
                let Some(content) = self.content else {
                    return Ok(Change::Nothing);
                };
                let content = RawValue::from_string(content).map_err(|_| missing("content"))?;
                Ok(Change::AccountData {
                    user: self.stream_user.ok_or_else(|| missing("user_nid"))?,
                    room: self.stream_room,
                    event_type: self.detail.ok_or_else(|| missing("detail"))?.into(),
                    content: content.into(),
                })
            }
            kind::DEVICE_LIST => Ok(Change::DeviceList {
                user: self.stream_user.ok_or_else(|| missing("user_nid"))?,
                viewer: match self.detail {
                    None => None,
                    Some(text) => Some(UserNid(text.parse().map_err(|_| missing("detail"))?)),
                },
                rooms: Arc::default(),
            }),
            kind::TO_DEVICE => {
                let detail = self.detail.as_deref().unwrap_or_default();
                let to = parse_recipients_detail(self.stream_user, detail);
                Ok(Change::ToDevice { to })
            }
            kind::ONE_TIME_KEYS => Ok(Change::OneTimeKeys {
                user: self.stream_user.ok_or_else(|| missing("user_nid"))?,
                devices: parse_devices_detail(self.detail.as_deref().unwrap_or_default()),
            }),
            kind::THREAD_SUBSCRIPTION => {
                let thread = self
                    .detail
                    .as_deref()
                    .and_then(|id| EventId::parse(id).ok());
                Ok(Change::ThreadSubscription {
                    user: self.stream_user.ok_or_else(|| missing("user_nid"))?,
                    room: self.stream_room.ok_or_else(|| missing("room_nid"))?,
                    thread: thread.ok_or_else(|| missing("detail"))?,
                })
            }
            _ => Err(missing("kind")),
        }
    }

    fn into_event(self) -> Result<Change, StoreError> {
        let stream_position = self.stream_position;
        let missing = |column| StoreError::inconsistent("stream", column, stream_position);
        let detail = self.detail;
        let row = EventRow {
            room_nid: self.stream_room.ok_or_else(|| missing("room_nid"))?,
            room_id: self.room_id.ok_or_else(|| missing("room_id"))?,
            position: self
                .stream_room_position
                .ok_or_else(|| missing("room_position"))?,
            event_id: self.event_id.ok_or_else(|| missing("event_id"))?,
            sender_nid: self.sender_nid.ok_or_else(|| missing("sender_nid"))?,
            slot_nid: self.slot_nid,
            replaces: self.replaces,
            notify_count: self.notify_count.unwrap_or_default(),
            redacted_by: self.redacted_by,
            device_nid: self.device_nid,
            transaction_id: self.transaction_id,
            json: self.json.ok_or_else(|| missing("json"))?,
            replaced_id: self.replaced_id,
            replaced_json: self.replaced_json,
            redaction_id: self.redaction_id,
            redaction_json: self.redaction_json,
        };
        let mut event = row.into_event(None)?;
        if self.kind == kind::MEMBER {
            let user = self.stream_user.ok_or_else(|| missing("user_nid"))?;
            event.member = Some(MemberChange {
                user,
                before: parse_member_detail(detail.as_deref()),
                after: event
                    .pdu
                    .membership()
                    .map(Membership::from)
                    .unwrap_or_default(),
            });
        } else {
            let (mentions, thread) = parse_event_detail(detail.as_deref());
            event.mentions = mentions;
            event.thread = thread.or(event.thread);
        }
        Ok(Change::Event(Arc::new(event)))
    }
}

/// The membership changes of a user after a position and up to another, oldest first: room, what
/// the membership was before, and the position of the event in its room.
pub async fn membership_changes(
    conn: &mut PgConnection,
    user: UserNid,
    after: StreamPosition,
    until: StreamPosition,
) -> Result<Vec<(RoomNid, Membership, RoomPosition)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT room_nid AS "room!: RoomNid", -- kind 2 has it
            room_position AS "position!: RoomPosition", -- kind 2 has it
            detail
        FROM stream
        WHERE user_nid = $1
            AND position > $2
            AND position <= $3
            AND kind = 2
        ORDER BY position
        "#,
        user as UserNid,
        after as StreamPosition,
        until as StreamPosition,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            (
                row.room,
                parse_member_detail(row.detail.as_deref()),
                row.position,
            )
        })
        .collect())
}

/// The position of the newest event of each of these rooms at or before a place in the stream;
/// rooms that had none are left out.
pub async fn room_positions(
    conn: &mut PgConnection,
    places: &[(RoomNid, StreamPosition)],
) -> Result<Vec<(RoomNid, RoomPosition)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT q.room_nid AS "room!: RoomNid", -- an unnested array without nulls
            s.room_position AS "position!: RoomPosition" -- kinds 1 and 2 have it
        FROM UNNEST($1::BIGINT[], $2::BIGINT[]) AS q (room_nid, at)
        CROSS JOIN LATERAL (
            SELECT room_position
            FROM stream
            WHERE room_nid = q.room_nid
                AND position <= q.at
                AND kind IN (1, 2)
            ORDER BY position DESC
            LIMIT 1
        ) s
        "#,
        &places.iter().map(|(room, _)| room.0).collect::<Vec<_>>(),
        &places.iter().map(|(_, at)| at.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.room, row.position))
        .collect())
}

/// The types of global account data (`room` is `None`) and of rooms' account data that a user
/// changed after a position.
pub async fn account_data_changes(
    conn: &mut PgConnection,
    user: UserNid,
    after: StreamPosition,
    until: StreamPosition,
) -> Result<Vec<(Option<RoomNid>, String)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT room_nid AS "room: RoomNid",
            detail AS "event_type!" -- kind 4 has it
        FROM stream
        WHERE user_nid = $1
            AND position > $2
            AND position <= $3
            AND kind = 4
        "#,
        user as UserNid,
        after as StreamPosition,
        until as StreamPosition,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.room, row.event_type))
        .collect())
}

/// Which users' receipts changed in these rooms after a position.
pub async fn receipt_changes(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
    after: StreamPosition,
    until: StreamPosition,
) -> Result<Vec<(RoomNid, UserNid)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT room_nid AS "room!: RoomNid", -- kind 3 has it
            user_nid AS "user!: UserNid" -- kind 3 has it
        FROM stream
        WHERE room_nid = ANY($1)
            AND position > $2
            AND position <= $3
            AND kind = 3
        "#,
        &rooms.iter().map(|room| room.0).collect::<Vec<_>>(),
        after as StreamPosition,
        until as StreamPosition,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.room, row.user)).collect())
}

/// An event's place in the stream and in its room.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// The position in the stream.
    pub at: StreamPosition,
    /// The room.
    pub room: RoomNid,
    /// The position in the room.
    pub position: RoomPosition,
}

/// The newest events of these rooms before a position of the stream, newest first. Membership events
/// are left out.
pub async fn events_before(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
    before: StreamPosition,
    limit: i64,
) -> Result<Vec<Placed>, StoreError> {
    let rows = sqlx::query_as!(
        Placed,
        r#"
        SELECT s.position AS "at!: StreamPosition",
            s.room_nid AS "room!: RoomNid", -- kind 1 has it
            s.room_position AS "position!: RoomPosition" -- kind 1 has it
        FROM UNNEST($1::BIGINT[]) AS q (room_nid)
        CROSS JOIN LATERAL (
            SELECT position, room_nid, room_position
            FROM stream
            WHERE room_nid = q.room_nid
                AND position < $2
                AND kind = 1
            ORDER BY position DESC
            LIMIT $3
        ) s
        ORDER BY s.position DESC
        LIMIT $3
        "#,
        &rooms.iter().map(|room| room.0).collect::<Vec<_>>(),
        before as StreamPosition,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
