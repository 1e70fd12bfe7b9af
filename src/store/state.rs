//! The temporal state table: the state of a room at any point of its line.

use std::{collections::HashMap, sync::Arc};

use ruma::RoomId;
use sqlx::PgConnection;

use super::{RoomNid, RoomPosition, SlotNid, StoreError, events};
use crate::event::Pdu;

/// A state event, and the point from which it holds.
#[derive(Clone, Debug)]
pub struct StateRow {
    /// The room.
    pub room: RoomNid,
    /// The position of the event.
    pub position: RoomPosition,
    /// The event.
    pub pdu: Arc<Pdu>,
}

/// The numbers of these (type, state key) pairs, given out to those that are new.
pub async fn intern_slots(
    conn: &mut PgConnection,
    slots: &[(String, String)],
) -> Result<HashMap<(String, String), SlotNid>, StoreError> {
    let types: Vec<_> = slots
        .iter()
        .map(|(event_type, _)| event_type.as_str())
        .collect();
    let keys: Vec<_> = slots
        .iter()
        .map(|(_, state_key)| state_key.as_str())
        .collect();
    let found = find_slots(conn, &types, &keys).await?;
    if found.len() == slots.len() {
        return Ok(found);
    }
    sqlx::query!(
        r#"
        INSERT INTO state_slots (event_type, state_key)
        SELECT DISTINCT n.event_type, n.state_key
        FROM UNNEST($1::TEXT[], $2::TEXT[]) AS n (event_type, state_key)
        ORDER BY n.event_type, n.state_key
        ON CONFLICT DO NOTHING
        "#,
        &types as &[&str],
        &keys as &[&str],
    )
    .execute(&mut *conn)
    .await?;
    find_slots(conn, &types, &keys).await
}

async fn find_slots(
    conn: &mut PgConnection,
    types: &[&str],
    keys: &[&str],
) -> Result<HashMap<(String, String), SlotNid>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT s.slot_nid AS "slot_nid: SlotNid",
            s.event_type,
            s.state_key
        FROM UNNEST($1::TEXT[], $2::TEXT[]) AS q (event_type, state_key)
        JOIN state_slots s ON s.event_type = q.event_type AND s.state_key = q.state_key
        "#,
        types as &[&str],
        keys as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ((row.event_type, row.state_key), row.slot_nid))
        .collect())
}

/// The whole state of each of these rooms after the event at a position.
pub async fn list_at(
    conn: &mut PgConnection,
    places: &[(RoomNid, RoomPosition)],
) -> Result<Vec<StateRow>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT s.room_nid AS "room!: RoomNid", -- not null in room_state
            s.position AS "position!: RoomPosition", -- not null in room_state
            o.room_id,
            e.event_id,
            e.json
        FROM UNNEST($1::BIGINT[], $2::BIGINT[]) AS q (room_nid, position)
        CROSS JOIN LATERAL (
            SELECT room_nid, position
            FROM room_state
            WHERE room_nid = q.room_nid
                AND until IS NULL
                AND position <= q.position
            UNION ALL
            SELECT room_nid, position
            FROM room_state
            WHERE room_nid = q.room_nid
                AND until > q.position
                AND position <= q.position
        ) s
        JOIN rooms o ON o.room_nid = s.room_nid
        JOIN events e ON e.room_nid = s.room_nid AND e.position = s.position
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
        .map(|row| {
            state_row(
                row.room,
                row.position,
                &row.room_id,
                &row.event_id,
                row.json,
            )
        })
        .collect()
}

/// What some slots of rooms held after the event at a position; slots that were empty are left
/// out.
pub async fn slots_at(
    conn: &mut PgConnection,
    wanted: &[(RoomNid, SlotNid, RoomPosition)],
) -> Result<Vec<StateRow>, StoreError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"
        SELECT q.room_nid AS "room!: RoomNid", -- an unnested array without nulls
            s.position AS "position!: RoomPosition", -- not null in room_state
            o.room_id,
            e.event_id,
            e.json
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[]) AS q (room_nid, slot_nid, position)
        CROSS JOIN LATERAL (
            SELECT position
            FROM room_state
            WHERE room_nid = q.room_nid
                AND slot_nid = q.slot_nid
                AND position <= q.position
            ORDER BY position DESC
            LIMIT 1
        ) s
        JOIN rooms o ON o.room_nid = q.room_nid
        JOIN events e ON e.room_nid = q.room_nid AND e.position = s.position
        "#,
        &wanted.iter().map(|(room, _, _)| room.0).collect::<Vec<_>>(),
        &wanted.iter().map(|(_, slot, _)| slot.0).collect::<Vec<_>>(),
        &wanted
            .iter()
            .map(|(_, _, position)| position.0)
            .collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            state_row(
                row.room,
                row.position,
                &row.room_id,
                &row.event_id,
                row.json,
            )
        })
        .collect()
}

/// The state events that hold after the event at `until` and did not hold after that at `from`:
/// what a client that knows the state at `from` must hear. One range for each room.
pub async fn changes(
    conn: &mut PgConnection,
    ranges: &[(RoomNid, RoomPosition, RoomPosition)],
) -> Result<Vec<StateRow>, StoreError> {
    if ranges.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"
        SELECT s.room_nid AS "room!: RoomNid", -- not null in room_state
            s.position AS "position!: RoomPosition", -- not null in room_state
            o.room_id,
            e.event_id,
            e.json
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[]) AS q (room_nid, after, until)
        CROSS JOIN LATERAL (
            SELECT room_nid, position
            FROM room_state
            WHERE room_nid = q.room_nid
                AND until IS NULL
                AND position > q.after
                AND position <= q.until
            UNION ALL
            SELECT room_nid, position
            FROM room_state
            WHERE room_nid = q.room_nid
                AND until > q.until
                AND position > q.after
                AND position <= q.until
        ) s
        JOIN rooms o ON o.room_nid = s.room_nid
        JOIN events e ON e.room_nid = s.room_nid AND e.position = s.position
        "#,
        &ranges.iter().map(|(room, _, _)| room.0).collect::<Vec<_>>(),
        &ranges
            .iter()
            .map(|(_, after, _)| after.0)
            .collect::<Vec<_>>(),
        &ranges
            .iter()
            .map(|(_, _, until)| until.0)
            .collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            state_row(
                row.room,
                row.position,
                &row.room_id,
                &row.event_id,
                row.json,
            )
        })
        .collect()
}

/// Every value that these slots of rooms have held, oldest first: where each began. This is how a
/// reading path learns the history visibility and the reader's membership along the line.
pub async fn histories(
    conn: &mut PgConnection,
    slots: &[(RoomNid, SlotNid)],
) -> Result<Vec<(SlotNid, StateRow)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT s.room_nid AS "room: RoomNid",
            s.slot_nid AS "slot: SlotNid",
            s.position AS "position: RoomPosition",
            o.room_id,
            e.event_id,
            e.json
        FROM UNNEST($1::BIGINT[], $2::BIGINT[]) AS q (room_nid, slot_nid)
        JOIN room_state s ON s.room_nid = q.room_nid AND s.slot_nid = q.slot_nid
        JOIN rooms o ON o.room_nid = s.room_nid
        JOIN events e ON e.room_nid = s.room_nid AND e.position = s.position
        ORDER BY s.room_nid, s.position
        "#,
        &slots.iter().map(|(room, _)| room.0).collect::<Vec<_>>(),
        &slots.iter().map(|(_, slot)| slot.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let (room, position) = (row.room, row.position);
            let state = state_row(room, position, &row.room_id, &row.event_id, row.json)?;
            Ok((row.slot, state))
        })
        .collect()
}

fn state_row(
    room: RoomNid,
    position: RoomPosition,
    room_id: &str,
    event_id: &str,
    json: String,
) -> Result<StateRow, StoreError> {
    let room_id =
        RoomId::parse(room_id).map_err(|_| StoreError::inconsistent("rooms", "room_id", room))?;
    let pdu = Arc::new(events::parse(event_id, &room_id, json)?);
    Ok(StateRow {
        room,
        position,
        pdu,
    })
}
