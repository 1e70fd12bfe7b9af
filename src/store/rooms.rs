//! Rooms: their numbers, and their heads as the database has them.

use std::{collections::HashMap, sync::Arc};

use ruma::{EventId, OwnedRoomId, RoomId, RoomVersionId};
use sqlx::PgConnection;

use super::{RoomNid, RoomPosition, StoreError, live::RoomHead, state};
use crate::event::{Room, StateEvent};

/// How many numbers a process takes at once: the increment of the sequence.
pub(super) const NUMBERS: i64 = 64;

/// The first number of a new block.
pub(super) async fn take_numbers(conn: &mut PgConnection) -> Result<i64, StoreError> {
    let first = sqlx::query_scalar!(
        r#"
        SELECT NEXTVAL('room_nids') AS "first!" -- a sequence gives a number
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(first)
}

/// The number of a room.
pub async fn find(
    conn: &mut PgConnection,
    room_id: &RoomId,
) -> Result<Option<RoomNid>, StoreError> {
    let nid = sqlx::query_scalar!(
        r#"
        SELECT room_nid AS "room_nid: RoomNid"
        FROM rooms
        WHERE room_id = $1
        "#,
        room_id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(nid)
}

/// The numbers of rooms. Rooms that do not exist are left out.
pub(super) async fn find_all(
    conn: &mut PgConnection,
    room_ids: &[&RoomId],
) -> Result<Vec<(RoomNid, OwnedRoomId)>, StoreError> {
    let room_ids: Vec<&str> = room_ids.iter().map(|room_id| room_id.as_str()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT room_nid AS "room_nid: RoomNid",
            room_id
        FROM rooms
        WHERE room_id = ANY($1)
        "#,
        &room_ids as &[&str],
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.room_nid, parse_id(row.room_nid, &row.room_id)?)))
        .collect()
}

/// The ids of rooms.
pub async fn ids(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
) -> Result<HashMap<RoomNid, OwnedRoomId>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT room_nid AS "room_nid: RoomNid",
            room_id
        FROM rooms
        WHERE room_nid = ANY($1)
        "#,
        &rooms.iter().map(|room| room.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.room_nid, parse_id(row.room_nid, &row.room_id)?)))
        .collect()
}

/// The heads of rooms with their whole current state.
pub(super) async fn load(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
) -> Result<Vec<(RoomNid, Arc<RoomHead>)>, StoreError> {
    let heads = sqlx::query!(
        r#"
        SELECT r.room_nid AS "room_nid: RoomNid",
            r.room_id,
            r.room_version,
            r.position AS "position: RoomPosition",
            r.depth,
            r.notify_count,
            ARRAY(
                SELECT e.event_id
                FROM events e
                WHERE e.room_nid = r.room_nid
                    AND e.position = ANY(r.extremities)
            ) AS "extremities!" -- an array is never null
        FROM rooms r
        WHERE r.room_nid = ANY($1)
        "#,
        &rooms.iter().map(|room| room.0).collect::<Vec<_>>(),
    )
    .fetch_all(&mut *conn)
    .await?;
    // The state is asked for as it was at these heads: rooms may have moved on meanwhile.
    let places: Vec<_> = heads
        .iter()
        .map(|head| (head.room_nid, head.position))
        .collect();
    let mut states: HashMap<RoomNid, Vec<StateEvent>> = HashMap::new();
    for row in state::list_at(conn, &places).await? {
        states.entry(row.room).or_default().push(StateEvent {
            pdu: row.pdu,
            position: row.position.0,
            replaces: None,
        });
    }
    let mut loaded = Vec::with_capacity(heads.len());
    for head in heads {
        let nid = head.room_nid;
        let extremities = head
            .extremities
            .iter()
            .map(EventId::parse)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| StoreError::inconsistent("rooms", "extremities", nid))?;
        let version = RoomVersionId::try_from(head.room_version)
            .map_err(|_| StoreError::inconsistent("rooms", "room_version", nid))?;
        let room = Room::from_parts(
            parse_id(nid, &head.room_id)?,
            version,
            head.position.0,
            head.depth,
            extremities,
            states.remove(&nid).unwrap_or_default(),
        )
        .map_err(|_| StoreError::inconsistent("room_state", "position", nid))?;
        loaded.push((nid, Arc::new(RoomHead::new(room, head.notify_count))));
    }
    Ok(loaded)
}

fn parse_id(room: RoomNid, id: &str) -> Result<OwnedRoomId, StoreError> {
    RoomId::parse(id).map_err(|_| StoreError::inconsistent("rooms", "room_id", room))
}
