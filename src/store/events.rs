//! Reads events. There is no way to ask for an event without naming its room.

use std::sync::Arc;

use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId};
use sqlx::PgConnection;

use super::{
    DeviceNid, RoomNid, RoomPosition, SlotNid, StoreError, UserNid,
    live::{MemberChange, SenderTransaction, TimelineEvent},
};
use crate::event::{
    Pdu,
    client_format::{self, Unsigned},
    threads::thread_root,
};

/// A row of events, with the state event that it replaced and the redaction that took its
/// content.
pub(super) struct EventRow {
    pub(super) room_nid: RoomNid,
    pub(super) room_id: String,
    pub(super) position: RoomPosition,
    pub(super) event_id: String,
    pub(super) sender_nid: UserNid,
    pub(super) slot_nid: Option<SlotNid>,
    pub(super) replaces: Option<RoomPosition>,
    pub(super) notify_count: i64,
    pub(super) redacted_by: Option<RoomPosition>,
    pub(super) device_nid: Option<DeviceNid>,
    pub(super) transaction_id: Option<String>,
    pub(super) json: String,
    pub(super) replaced_id: Option<String>,
    pub(super) replaced_json: Option<String>,
    pub(super) redaction_id: Option<String>,
    pub(super) redaction_json: Option<String>,
}

/// Which way to page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From older to newer.
    Forward,
    /// From newer to older.
    Backward,
}

/// A part of a room's line.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The room.
    pub room: RoomNid,
    /// The first position.
    pub first: RoomPosition,
    /// The last position.
    pub last: RoomPosition,
}

/// At most `limit` events of each range, from its end if `direction` is backward. The events of a
/// room come in the order of their positions, oldest first, whatever the direction.
pub async fn list(
    conn: &mut PgConnection,
    ranges: &[Range],
    direction: Direction,
    limit: u32,
) -> Result<Vec<Arc<TimelineEvent>>, StoreError> {
    let rows = sqlx::query_as!(
        EventRow,
        r#"
        SELECT e.room_nid AS "room_nid!: RoomNid",
            o.room_id AS "room_id!",
            e.position AS "position!: RoomPosition",
            e.event_id AS "event_id!",
            e.sender_nid AS "sender_nid!: UserNid",
            e.slot_nid AS "slot_nid: SlotNid",
            e.replaces AS "replaces: RoomPosition",
            e.notify_count AS "notify_count!",
            e.redacted_by AS "redacted_by: RoomPosition",
            e.device_nid AS "device_nid: DeviceNid",
            e.transaction_id,
            e.json AS "json!",
            p.event_id AS "replaced_id?", -- a left join
            p.json AS "replaced_json?", -- a left join
            r.event_id AS "redaction_id?", -- a left join
            r.json AS "redaction_json?" -- a left join
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[]) AS q (room_nid, first, last)
        CROSS JOIN LATERAL (
            (
                SELECT *
                FROM events
                WHERE $4
                    AND room_nid = q.room_nid
                    AND position BETWEEN q.first AND q.last
                ORDER BY position DESC
                LIMIT $5
            )
            UNION ALL
            (
                SELECT *
                FROM events
                WHERE NOT $4
                    AND room_nid = q.room_nid
                    AND position BETWEEN q.first AND q.last
                ORDER BY position
                LIMIT $5
            )
        ) e
        JOIN rooms o ON o.room_nid = e.room_nid
        LEFT JOIN events p ON p.room_nid = e.room_nid AND p.position = e.replaces
        LEFT JOIN events r ON r.room_nid = e.room_nid AND r.position = e.redacted_by
        ORDER BY e.room_nid, e.position
        "#,
        &ranges.iter().map(|range| range.room.0).collect::<Vec<_>>(),
        &ranges.iter().map(|range| range.first.0).collect::<Vec<_>>(),
        &ranges.iter().map(|range| range.last.0).collect::<Vec<_>>(),
        direction == Direction::Backward,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| row.into_event(None).map(Arc::new))
        .collect()
}

/// The events at these places, in no order. What is not there is left out.
pub async fn at(
    conn: &mut PgConnection,
    places: &[(RoomNid, RoomPosition)],
) -> Result<Vec<Arc<TimelineEvent>>, StoreError> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        EventRow,
        r#"
        SELECT e.room_nid AS "room_nid!: RoomNid",
            o.room_id AS "room_id!",
            e.position AS "position!: RoomPosition",
            e.event_id AS "event_id!",
            e.sender_nid AS "sender_nid!: UserNid",
            e.slot_nid AS "slot_nid: SlotNid",
            e.replaces AS "replaces: RoomPosition",
            e.notify_count AS "notify_count!",
            e.redacted_by AS "redacted_by: RoomPosition",
            e.device_nid AS "device_nid: DeviceNid",
            e.transaction_id,
            e.json AS "json!",
            p.event_id AS "replaced_id?", -- a left join
            p.json AS "replaced_json?", -- a left join
            r.event_id AS "redaction_id?", -- a left join
            r.json AS "redaction_json?" -- a left join
        FROM UNNEST($1::BIGINT[], $2::BIGINT[]) AS q (room_nid, position)
        JOIN events e ON e.room_nid = q.room_nid AND e.position = q.position
        JOIN rooms o ON o.room_nid = e.room_nid
        LEFT JOIN events p ON p.room_nid = e.room_nid AND p.position = e.replaces
        LEFT JOIN events r ON r.room_nid = e.room_nid AND r.position = e.redacted_by
        "#,
        &places.iter().map(|(room, _)| room.0).collect::<Vec<_>>(),
        &places
            .iter()
            .map(|(_, position)| position.0)
            .collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| row.into_event(None).map(Arc::new))
        .collect()
}

/// The first position of a room whose event, and all after it, were sent at a time or later: found by
/// halving, since positions are in the order of time but for the clocks of servers.
pub async fn at_time(
    conn: &mut PgConnection,
    room: RoomNid,
    newest: RoomPosition,
    time: i64,
) -> Result<RoomPosition, StoreError> {
    let position = sqlx::query_scalar!(
        r#"
        WITH RECURSIVE part AS (
            SELECT 1::BIGINT AS low, $2::BIGINT + 1 AS high
            UNION ALL
            SELECT CASE WHEN m.sent < $3 THEN m.position + 1 ELSE p.low END,
                CASE WHEN m.sent < $3 THEN p.high ELSE (p.low + p.high) / 2 END
            FROM part p
            LEFT JOIN LATERAL (
                -- Old messages may be gone: the next one tells.
                SELECT e.position,
                    -- The content comes before it, and what comes after it has no such key.
                    SUBSTRING(e.json FROM '.*"origin_server_ts":(\d+)')::BIGINT AS sent
                FROM events e
                WHERE e.room_nid = $1
                    AND e.position >= (p.low + p.high) / 2
                    AND e.position < p.high
                ORDER BY e.position
                LIMIT 1
            ) m ON TRUE
            WHERE p.low < p.high
        )
        SELECT low AS "position!: RoomPosition" -- there is one row at least
        FROM part
        WHERE low >= high
        "#,
        room as RoomNid,
        newest as RoomPosition,
        time,
    )
    .fetch_one(conn)
    .await?;
    Ok(position)
}

/// The places of events, each named with its room. What is not there is left out.
pub async fn places(
    conn: &mut PgConnection,
    event_ids: &[(RoomNid, OwnedEventId)],
) -> Result<Vec<(RoomNid, RoomPosition)>, StoreError> {
    if event_ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"
        SELECT e.room_nid AS "room: RoomNid",
            e.position AS "position: RoomPosition"
        FROM UNNEST($1::BIGINT[], $2::TEXT[]) AS q (room_nid, event_id)
        JOIN events e ON e.event_id = q.event_id AND e.room_nid = q.room_nid
        "#,
        &event_ids.iter().map(|(room, _)| room.0).collect::<Vec<_>>(),
        &event_ids
            .iter()
            .map(|(_, id)| id.as_str())
            .collect::<Vec<_>>() as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.room, row.position))
        .collect())
}

/// One event of a room by its id.
pub async fn find(
    conn: &mut PgConnection,
    room: RoomNid,
    id: &EventId,
) -> Result<Option<Arc<TimelineEvent>>, StoreError> {
    let place = places(conn, &[(room, id.to_owned())]).await?;
    let events = at(conn, &place).await?;
    Ok(events.into_iter().next())
}

impl EventRow {
    /// The event. `member` is known where the stream tells it.
    pub(super) fn into_event(
        self,
        member: Option<MemberChange>,
    ) -> Result<TimelineEvent, StoreError> {
        let room_id = RoomId::parse(&self.room_id)
            .map_err(|_| StoreError::inconsistent("rooms", "room_id", self.room_nid))?;
        let pdu = parse(&self.event_id, &room_id, self.json)?;
        let replaced = match (self.replaced_id, self.replaced_json) {
            (Some(id), Some(json)) => Some(parse(&id, &room_id, json)?),
            _ => None,
        };
        let redaction = match (self.redaction_id, self.redaction_json) {
            (Some(id), Some(json)) => Some(parse(&id, &room_id, json)?),
            _ => None,
        };
        let because = redaction
            .map(|redaction| client_format::client_text(&redaction, &Unsigned::default(), false));
        let unsigned = Unsigned {
            prev_content: replaced.as_ref().map(Pdu::content),
            prev_sender: replaced.as_ref().map(Pdu::sender),
            replaces_state: replaced.as_ref().map(Pdu::event_id),
            redacted_because: because.as_deref(),
            ..Unsigned::default()
        };
        Ok(TimelineEvent {
            room: self.room_nid,
            position: self.position,
            sender: self.sender_nid,
            client: client_format::client_text(&pdu, &unsigned, false).into(),
            slot: self.slot_nid,
            replaces: self.replaces,
            notify_count: self.notify_count,
            thread: thread_root(&pdu),
            member,
            mentions: Vec::new(),
            redacted_by: self.redacted_by,
            transaction: self
                .device_nid
                .zip(self.transaction_id)
                .map(|(device, id)| SenderTransaction {
                    device,
                    id: id.into(),
                }),
            pdu: Arc::new(pdu),
        })
    }
}

/// A PDU as the table holds it.
pub(super) fn parse(id: &str, room_id: &OwnedRoomId, json: String) -> Result<Pdu, StoreError> {
    Pdu::from_stored(event_id(id)?, room_id.clone(), json)
        .map_err(|_| StoreError::inconsistent("events", "json", id))
}

fn event_id(id: &str) -> Result<OwnedEventId, StoreError> {
    EventId::parse(id).map_err(|_| StoreError::inconsistent("events", "event_id", id))
}
