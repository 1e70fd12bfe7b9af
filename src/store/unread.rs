//! Unread messages of threads. Those of the main timeline are a subtraction, see
//! [`super::live::NotifyCount`].

use std::collections::HashMap;

use ruma::{EventId, OwnedEventId};
use sqlx::PgConnection;

use super::{RoomNid, RoomPosition, Store, StoreError, UserNid};

/// The most events of threads that are looked at in one room, from the newest back.
const MAX_THREAD_EVENTS: i64 = 10_000;

/// A room whose threads have unread messages.
#[derive(Clone, Copy, Debug)]
pub struct ThreadsOf {
    /// The room.
    pub room: RoomNid,
    /// How far its reader has read all threads.
    pub after: RoomPosition,
    /// The last event that counts.
    pub until: RoomPosition,
}

/// A room whose threads somebody has read, all of them.
#[derive(Clone, Copy, Debug)]
pub struct ThreadsRead {
    /// The reader.
    pub user: UserNid,
    /// The room.
    pub room: RoomNid,
    /// How far.
    pub position: RoomPosition,
    /// The count of unread messages up to there.
    pub notify_count: i64,
}

/// A reader, and a room whose threads have unread messages.
#[derive(Clone, Copy, Debug)]
pub struct UnreadThreads {
    /// The reader.
    pub user: UserNid,
    /// The room.
    pub of: ThreadsOf,
    /// Whether only threads count that the reader has subscribed to, and in them what came later.
    pub by_subscription: bool,
}

/// The unread messages of a thread.
#[derive(Clone, Debug)]
pub struct UnreadOfThread {
    /// The root.
    pub thread: OwnedEventId,
    /// How many there are.
    pub unread: i64,
    /// The newest position in the room when the reader subscribed; 0 if that is not asked.
    pub since: RoomPosition,
}

/// Unread messages of threads, for a reader in a room.
type CountsOfThreads = HashMap<(UserNid, RoomNid), Vec<UnreadOfThread>>;

/// How many unread messages each thread of these rooms has for their readers: those after the reader's
/// receipt for the thread and after what the reader has written in it. Threads without any are left
/// out.
pub async fn count_threads(
    conn: &mut PgConnection,
    rooms: &[UnreadThreads],
) -> Result<CountsOfThreads, StoreError> {
    let by_subscription: Vec<_> = rooms.iter().map(|by| by.by_subscription).collect();
    let rows = sqlx::query!(
        r#"
        WITH recent AS MATERIALIZED (
            SELECT q.user_nid, q.room_nid, q.by_subscription,
                e.position, e.thread_id, e.sender_nid, e.notifies, e.for_subscribers
            FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BOOLEAN[])
                AS q (user_nid, room_nid, after, until, by_subscription)
            CROSS JOIN LATERAL (
                SELECT position, thread_id, sender_nid, notifies, for_subscribers
                FROM thread_events
                WHERE room_nid = q.room_nid
                    AND position > q.after
                    AND position <= q.until
                ORDER BY position DESC
                LIMIT $6
            ) e
        ), thread AS (
            SELECT t.user_nid, t.room_nid, t.thread_id,
                GREATEST(
                    COALESCE(t.written, 0),
                    COALESCE((
                        SELECT MAX(c.position)
                        FROM receipts c
                        WHERE c.room_nid = t.room_nid
                            AND c.user_nid = t.user_nid
                            AND c.thread_id = t.thread_id
                    ), 0)
                ) AS read,
                CASE WHEN t.by_subscription THEN (
                    SELECT s.room_position
                    FROM thread_subscriptions s
                    WHERE s.user_nid = t.user_nid
                        AND s.room_nid = t.room_nid
                        AND s.thread_id = t.thread_id
                        AND s.state > 0
                ) ELSE 0 END AS since
            FROM (
                SELECT user_nid, room_nid, thread_id,
                    BOOL_OR(by_subscription) AS by_subscription,
                    MAX(position) FILTER (WHERE sender_nid = user_nid) AS written
                FROM recent
                GROUP BY user_nid, room_nid, thread_id
            ) t
        )
        SELECT r.user_nid AS "user!: UserNid", -- a materialized query
            r.room_nid AS "room!: RoomNid",
            r.thread_id AS "thread_id!",
            MAX(t.since) AS "since!: RoomPosition", -- what counts is later than some position
            COUNT(*) AS "unread!" -- an aggregate is never null
        FROM recent r
        JOIN thread t ON t.user_nid = r.user_nid
            AND t.room_nid = r.room_nid
            AND t.thread_id = r.thread_id
        WHERE (
                r.notifies
                OR (
                    r.for_subscribers
                    AND r.by_subscription
                    -- Mentions are counted apart, where they are not among what notifies everybody.
                    AND NOT EXISTS (
                        SELECT 1
                        FROM highlights h
                        WHERE h.user_nid = r.user_nid
                            AND h.room_nid = r.room_nid
                            AND h.position = r.position
                    )
                )
            )
            AND r.sender_nid <> r.user_nid
            AND r.position > t.read
            AND r.position > t.since -- null for a thread that is not subscribed to
        GROUP BY r.user_nid, r.room_nid, r.thread_id
        "#,
        &rooms.iter().map(|by| by.user.0).collect::<Vec<_>>(),
        &rooms.iter().map(|by| by.of.room.0).collect::<Vec<_>>(),
        &rooms.iter().map(|by| by.of.after.0).collect::<Vec<_>>(),
        &rooms.iter().map(|by| by.of.until.0).collect::<Vec<_>>(),
        &by_subscription,
        MAX_THREAD_EVENTS,
    )
    .fetch_all(conn)
    .await?;
    let mut counts = CountsOfThreads::new();
    for row in rows {
        // What is no id is no thread that anybody could name.
        if let Ok(thread) = EventId::parse(&row.thread_id) {
            counts
                .entry((row.user, row.room))
                .or_default()
                .push(UnreadOfThread {
                    thread,
                    unread: row.unread,
                    since: row.since,
                });
        }
    }
    Ok(counts)
}

/// The threads of these rooms' events after positions.
pub async fn threads_of_events(
    conn: &mut PgConnection,
    rooms: &[ThreadsOf],
) -> Result<HashMap<(RoomNid, RoomPosition), OwnedEventId>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT q.room_nid AS "room!: RoomNid", -- an unnested array without nulls
            e.position AS "position: RoomPosition",
            e.thread_id
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[]) AS q (room_nid, after, until)
        JOIN thread_events e ON e.room_nid = q.room_nid
            AND e.position > q.after
            AND e.position <= q.until
        "#,
        &rooms.iter().map(|of| of.room.0).collect::<Vec<_>>(),
        &rooms.iter().map(|of| of.after.0).collect::<Vec<_>>(),
        &rooms.iter().map(|of| of.until.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    let parsed = rows.into_iter().filter_map(|row| {
        let thread = EventId::parse(&row.thread_id).ok()?;
        Some(((row.room, row.position), thread))
    });
    Ok(parsed.collect())
}

/// The thread that an event of a room is in.
pub async fn find_thread(
    conn: &mut PgConnection,
    room: RoomNid,
    event_id: &EventId,
) -> Result<Option<OwnedEventId>, StoreError> {
    let thread = sqlx::query_scalar!(
        r#"
        SELECT t.thread_id
        FROM events e
        JOIN thread_events t ON t.room_nid = e.room_nid AND t.position = e.position
        WHERE e.event_id = $2
            AND e.room_nid = $1
        "#,
        room as RoomNid,
        event_id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(thread.and_then(|thread| EventId::parse(thread).ok()))
}

/// Notes how far users have read all threads of rooms, where that is known to be so. A row that
/// somebody else is writing is left for the next time.
async fn update_threads_read(
    conn: &mut PgConnection,
    read: &[ThreadsRead],
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        WITH new AS (
            SELECT m.user_nid, m.room_nid, n.position, n.notify_count
            FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[])
                AS n (user_nid, room_nid, position, notify_count)
            JOIN memberships m ON m.user_nid = n.user_nid
                AND m.room_nid = n.room_nid
                AND m.threads_position < n.position
            FOR UPDATE OF m SKIP LOCKED
        )
        UPDATE memberships m
        SET threads_position = n.position,
            threads_notify_count = n.notify_count
        FROM new n
        WHERE m.user_nid = n.user_nid
            AND m.room_nid = n.room_nid
        "#,
        &read.iter().map(|read| read.user.0).collect::<Vec<_>>(),
        &read.iter().map(|read| read.room.0).collect::<Vec<_>>(),
        &read.iter().map(|read| read.position.0).collect::<Vec<_>>(),
        &read
            .iter()
            .map(|read| read.notify_count)
            .collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

impl Store {
    /// Notes how far users have read all threads of rooms, where each of them was seen to be read:
    /// what comes before is not looked at again.
    pub async fn note_threads_read(&self, read: &[ThreadsRead]) -> Result<(), StoreError> {
        if read.is_empty() {
            return Ok(());
        }
        update_threads_read(&mut *self.conn().await?, read).await?;
        self.live().note_threads_read(read);
        Ok(())
    }
}
