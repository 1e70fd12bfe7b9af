//! What lists of rooms are ordered and filtered by, as the database has it.

use sqlx::PgConnection;

use super::{RoomNid, RoomPosition, StoreError, StreamPosition, live::Activity};

/// The activity of rooms. Rooms that do not exist are left out.
pub(super) async fn list(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
) -> Result<Vec<(RoomNid, Activity)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT r.room_nid AS "room_nid!: RoomNid", -- not null in rooms
            r.position AS "position!: RoomPosition", -- not null in rooms
            r.bumped_ms AS "bumped_ms!", -- not null in rooms
            COALESCE((
                SELECT s.position
                FROM stream s
                WHERE s.room_nid = r.room_nid
                    AND s.kind IN (1, 2)
                ORDER BY s.position DESC
                LIMIT 1
            ), 0) AS "last!: StreamPosition", -- of a coalesced value
            COALESCE((
                SELECT MIN(s.position)
                FROM room_state s
                WHERE s.room_nid = r.room_nid
                    AND s.slot_nid = (
                        SELECT slot_nid
                        FROM state_slots
                        WHERE event_type = 'm.room.encryption'
                            AND state_key = ''
                    )
            ), 0) AS "encrypted_at!: RoomPosition", -- of a coalesced value
            m.room_type AS "room_type?" -- a left join
        FROM rooms r
        LEFT JOIN room_summaries m ON m.room_nid = r.room_nid
        WHERE r.room_nid = ANY($1)
        "#,
        &rooms.iter().map(|room| room.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| {
        let activity = Activity {
            position: row.position,
            last: row.last,
            bumped_ms: row.bumped_ms,
            encrypted_at: row.encrypted_at,
            room_type: row.room_type.map(Into::into),
        };
        (row.room_nid, activity)
    });
    Ok(rows.collect())
}
