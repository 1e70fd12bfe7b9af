//! Deleting messages that are older than their room keeps them.
//!
//! Events have no column for their age: positions are in the order of time, so that it is enough to
//! know how far the stream was at some moments (`stream_times`). A run goes through all rooms in
//! batches; where it stands is kept in the database, so that any process goes on where another was
//! stopped. State events stay, and so do the events that the next one is built on.

use sqlx::PgConnection;

use super::{RoomNid, RoomPosition, SlotNid, StoreError};

/// A batch of a run, held by its transaction.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// When the run began, in milliseconds since the epoch.
    pub started_ms: i64,
    /// The first room that is still to be done; `None`: the run is over.
    pub next_room: Option<RoomNid>,
}

/// A room, and the current event that says how long it keeps messages.
#[derive(Clone, Debug)]
pub struct RoomRetention {
    /// The room.
    pub room: RoomNid,
    /// The `m.room.retention` event as JSON, where the room has one.
    pub event: Option<String>,
}

/// Messages of a room that were deleted.
#[derive(Clone, Copy, Debug)]
pub struct Purged {
    /// The room.
    pub room: RoomNid,
    /// Its messages are gone up to here.
    pub position: RoomPosition,
    /// How many were deleted by this batch.
    pub deleted: i64,
    /// Whether there are more to delete.
    pub has_more: bool,
}

/// Takes the run for the rest of the transaction; `None`: another process has it.
pub async fn lock_run(conn: &mut PgConnection) -> Result<Option<Run>, StoreError> {
    let run = sqlx::query_as!(
        Run,
        r#"
        SELECT started_ms,
            next_room AS "next_room: RoomNid"
        FROM retention_run
        FOR UPDATE SKIP LOCKED
        "#,
    )
    .fetch_optional(conn)
    .await?;
    Ok(run)
}

/// Says where the run stands.
pub async fn update_run(conn: &mut PgConnection, run: Run) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE retention_run
        SET started_ms = $1,
            next_room = $2
        "#,
        run.started_ms,
        run.next_room as Option<RoomNid>,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes how far the stream is at `now_ms`, and forgets what was noted before `oldest_ms`, except
/// for the newest of it.
pub async fn note_time(
    conn: &mut PgConnection,
    now_ms: i64,
    oldest_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        WITH old AS (
            DELETE FROM stream_times
            WHERE at_ms < (
                SELECT MAX(at_ms)
                FROM stream_times
                WHERE at_ms <= $2
            )
        )
        INSERT INTO stream_times (at_ms, position)
        SELECT $1, position
        FROM stream_counter
        ON CONFLICT (at_ms) DO UPDATE
        SET position = EXCLUDED.position
        "#,
        now_ms,
        oldest_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` rooms from a number on, in order, with how long they keep messages. `slot` is that
/// of `m.room.retention`.
pub async fn list_rooms(
    conn: &mut PgConnection,
    from: RoomNid,
    slot: SlotNid,
    limit: i64,
) -> Result<Vec<RoomRetention>, StoreError> {
    let rooms = sqlx::query_as!(
        RoomRetention,
        r#"
        SELECT r.room_nid AS "room: RoomNid",
            e.json AS "event?" -- a left join
        FROM rooms r
        LEFT JOIN room_state s ON s.room_nid = r.room_nid
            AND s.slot_nid = $2
            AND s.until IS NULL
        LEFT JOIN events e ON e.room_nid = s.room_nid AND e.position = s.position
        WHERE r.room_nid >= $1
        ORDER BY r.room_nid
        LIMIT $3
        "#,
        from as RoomNid,
        slot as SlotNid,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rooms)
}

/// Deletes messages that are older than a moment, for each of these rooms those of at most `limit`
/// positions, and tells every process (`chappe_purged`). Rooms in which nothing was left to do are
/// not in the answer. Media that the deleted messages named are noted (`media_purges`).
#[expect(clippy::too_many_lines, reason = "one statement, and its arguments")]
pub async fn purge(
    conn: &mut PgConnection,
    rooms: &[(RoomNid, i64)],
    limit: i64,
) -> Result<Vec<Purged>, StoreError> {
    let nids: Vec<_> = rooms.iter().map(|(room, _)| room.0).collect();
    let before: Vec<_> = rooms.iter().map(|(_, before)| *before).collect();
    let purged = sqlx::query_as!(
        Purged,
        r#"
        WITH due AS MATERIALIZED (
            SELECT d.room_nid,
                COALESCE(p.position, 0) AS done,
                LEAST(o.position, COALESCE(p.position, 0) + $3) AS upto,
                o.position AS last,
                r.extremities
            FROM UNNEST($1::BIGINT[], $2::BIGINT[]) AS d (room_nid, before_ms)
            JOIN rooms r ON r.room_nid = d.room_nid
            LEFT JOIN purged_rooms p ON p.room_nid = d.room_nid
            CROSS JOIN LATERAL (
                SELECT t.position
                FROM stream_times t
                WHERE t.at_ms <= d.before_ms
                ORDER BY t.at_ms DESC
                LIMIT 1
            ) t
            CROSS JOIN LATERAL (
                SELECT s.room_position AS position
                FROM stream s
                WHERE s.room_nid = d.room_nid
                    AND s.position <= t.position
                    AND s.kind IN (1, 2)
                ORDER BY s.position DESC
                LIMIT 1
            ) o
            WHERE o.position > COALESCE(p.position, 0)
        ), deleted AS (
            DELETE FROM events e
            USING due d
            WHERE e.room_nid = d.room_nid
                AND e.position > d.done
                AND e.position <= d.upto
                AND e.slot_nid IS NULL
                AND e.position <> ALL (d.extremities)
            RETURNING e.room_nid, e.position, e.sender_nid, e.json
        ), unfound AS (
            DELETE FROM search_entries s
            USING deleted x
            WHERE s.room_nid = x.room_nid
                AND s.position = x.position
        ), unrelated AS (
            DELETE FROM relations r
            USING deleted x
            WHERE r.room_nid = x.room_nid
                AND r.position = x.position
        ), ended AS (
            -- The root is older than the events of its thread.
            DELETE FROM threads t
            USING deleted x
            WHERE t.room_nid = x.room_nid
                AND t.root = x.position
        ), named AS (
            -- Nobody has the media of others deleted by naming them.
            INSERT INTO media_purges (media_id, sender_nid)
            SELECT DISTINCT m.media_id, m.user_nid
            FROM deleted x
            CROSS JOIN LATERAL UNNEST(chappe_media_ids(x.json)) AS id
            JOIN media m ON m.media_id = id AND m.user_nid = x.sender_nid
            WHERE STRPOS(x.json, 'mxc://') > 0
            ON CONFLICT (media_id) DO NOTHING
        ), unmarked AS (
            DELETE FROM highlights h
            USING due d
            WHERE h.room_nid = d.room_nid
                AND h.position > d.done
                AND h.position <= d.upto
        ), unthreaded AS (
            DELETE FROM thread_events t
            USING due d
            WHERE t.room_nid = d.room_nid
                AND t.position > d.done
                AND t.position <= d.upto
        ), noted AS (
            INSERT INTO purged_rooms (room_nid, position)
            SELECT room_nid, upto
            FROM due
            ON CONFLICT (room_nid) DO UPDATE
            SET position = EXCLUDED.position
        ), told AS (
            SELECT pg_notify('chappe_purged', d.room_nid || ' ' || d.upto)
            FROM due d
        )
        SELECT d.room_nid AS "room!: RoomNid",
            d.upto AS "position!: RoomPosition",
            d.upto < d.last AS "has_more!",
            (SELECT COUNT(*) FROM deleted x WHERE x.room_nid = d.room_nid) AS "deleted!"
        FROM due d
        WHERE (SELECT COUNT(*) FROM told) >= 0 -- or nobody would be told
        "#,
        &nids,
        &before,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(purged)
}
