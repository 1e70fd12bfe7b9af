//! The statements of a commit.
//!
//! A batch of plain messages is one statement, and so is one of messages to devices. Anything else comes before that statement in one
//! transaction: first the rooms are locked and their positions compared, in the order of their
//! numbers; the counter of the stream is taken last, so that its lock is held for one statement
//! and the commit.

use std::collections::HashMap;

use sqlx::{Acquire as _, PgConnection};

use super::{
    batch::Batch,
    beside::{
        insert_aliases, update_redacted, upsert_account_data, upsert_receipts, upsert_summaries,
    },
    devices::{delete_work, insert_at_positions, insert_transactions},
    relating::{delete_relations, insert_relations},
    sends::append_sends,
    subscriptions::upsert_subscriptions,
    third_party::write_invitations,
    unread::{insert_highlights, insert_thread_events},
};
use crate::store::{
    Conn, RoomNid, RoomPosition, StoreError, StreamPosition,
    live::{Change, RoomHead},
};

/// Writes a batch, and gives the position of its last entry. Writes that lost their race are
/// left out: the batch knows them afterwards. `after` is where the stream is known to stand.
pub(super) async fn commit(
    conn: &mut PgConnection,
    batch: &mut Batch<'_>,
    after: StreamPosition,
) -> Result<StreamPosition, StoreError> {
    if batch.is_sends() {
        return append_sends(conn, batch).await;
    }
    let expected = batch.expectations();
    if batch.is_plain() {
        let (last, won) = append(conn, batch, &expected).await?;
        batch.keep(&won);
        return Ok(last);
    }
    let mut tx = conn.begin().await?;
    insert_rooms(&mut tx, batch).await?;
    let won = lock_rooms(&mut tx, &expected).await?;
    batch.keep(&won);
    insert_state(&mut tx, batch).await?;
    upsert_memberships(&mut tx, batch, after).await?;
    update_redacted(&mut tx, batch).await?;
    delete_relations(&mut tx, batch).await?;
    insert_relations(&mut tx, batch).await?;
    insert_highlights(&mut tx, batch).await?;
    insert_thread_events(&mut tx, batch).await?;
    upsert_summaries(&mut tx, batch).await?;
    upsert_receipts(&mut tx, batch).await?;
    upsert_account_data(&mut tx, batch).await?;
    insert_aliases(&mut tx, batch).await?;
    write_invitations(&mut tx, batch).await?;
    insert_transactions(&mut tx, batch).await?;
    delete_work(&mut tx, batch).await?;
    let expected: Vec<_> = expected
        .into_iter()
        .filter(|(room, _)| won.contains(room))
        .collect();
    let (last, _) = append(&mut tx, batch, &expected).await?;
    insert_at_positions(&mut tx, batch, last).await?;
    upsert_subscriptions(&mut tx, batch, last).await?;
    tx.commit().await?;
    Ok(last)
}

/// The last statement: moves the heads of the rooms, inserts the events and the transaction ids,
/// marks what the senders have read, takes the counter, and logs the entries.
#[expect(clippy::too_many_lines, reason = "one statement, and its arguments")]
async fn append(
    conn: &mut Conn,
    batch: &Batch<'_>,
    expected: &[(RoomNid, RoomPosition)],
) -> Result<(StreamPosition, Vec<RoomNid>), StoreError> {
    let heads = batch.heads();
    let guard = Guard::new(expected, &heads, &batch.bumps());
    let events = Events::new(batch);
    let entries = Entries::new(batch);
    let transactions: Vec<_> = batch
        .rooms()
        .filter_map(|room| Some((room.room, room.transaction.as_ref()?)))
        .collect();
    let reads = batch.reads();
    let row = sqlx::query!(
        r#"
        WITH guard AS (
            SELECT g.room_nid, g.position, g.depth, g.notify_count, g.bumped_ms
            FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[],
                    $31::BIGINT[])
                AS g (room_nid, expected, position, depth, notify_count, bumped_ms)
            JOIN rooms r ON r.room_nid = g.room_nid AND r.position = g.expected
            ORDER BY g.room_nid
            FOR UPDATE OF r
        ), moved AS (
            UPDATE rooms r
            SET position = g.position,
                depth = g.depth,
                extremities = ARRAY[g.position],
                notify_count = g.notify_count,
                bumped_ms = GREATEST(r.bumped_ms, g.bumped_ms)
            FROM guard g
            WHERE r.room_nid = g.room_nid
            RETURNING r.room_nid
        ), inserted AS (
            INSERT INTO events
                (room_nid, position, event_id, sender_nid, slot_nid, replaces, notify_count,
                device_nid, transaction_id, json)
            SELECT e.room_nid, e.position, e.event_id, e.sender_nid, e.slot_nid, e.replaces,
                e.notify_count, e.device_nid, e.transaction_id, e.json
            FROM UNNEST($6::BIGINT[], $7::BIGINT[], $8::TEXT[], $9::BIGINT[], $10::BIGINT[],
                    $11::BIGINT[], $12::BIGINT[], $13::BIGINT[], $14::TEXT[], $15::TEXT[])
                AS e (room_nid, position, event_id, sender_nid, slot_nid, replaces, notify_count,
                    device_nid, transaction_id, json)
            JOIN moved USING (room_nid)
            RETURNING 1
        ), known AS (
            INSERT INTO client_transactions (device_nid, transaction_key, event_id, created_at)
            SELECT t.device_nid, t.transaction_key, t.event_id, t.created_at
            FROM UNNEST($16::BIGINT[], $17::BIGINT[], $18::BYTEA[], $19::TEXT[], $20::BIGINT[])
                AS t (room_nid, device_nid, transaction_key, event_id, created_at)
            JOIN moved USING (room_nid)
            RETURNING 1
        ), marked AS (
            UPDATE memberships m
            SET read_position = w.position,
                read_notify_count = w.notify_count
            FROM UNNEST($21::BIGINT[], $22::BIGINT[], $23::BIGINT[], $24::BIGINT[])
                AS w (user_nid, room_nid, position, notify_count)
            JOIN moved USING (room_nid)
            WHERE m.user_nid = w.user_nid
                AND m.room_nid = w.room_nid
            RETURNING 1
        ), entry AS (
            SELECT s.*, ROW_NUMBER() OVER (ORDER BY s.at) AS nth
            FROM UNNEST($25::SMALLINT[], $26::BIGINT[], $27::BIGINT[], $28::BIGINT[],
                    $29::BIGINT[], $30::TEXT[])
                WITH ORDINALITY
                AS s (kind, guard_nid, room_nid, room_position, user_nid, detail, at)
            WHERE s.guard_nid IS NULL
                OR s.guard_nid IN (SELECT room_nid FROM moved)
        ), counter AS (
            -- The counts of what comes before make the counter the last row to be locked.
            UPDATE stream_counter
            SET position = position + (SELECT COUNT(*) FROM entry)
                + 0 * (SELECT COUNT(*) FROM inserted)
                + 0 * (SELECT COUNT(*) FROM known)
                + 0 * (SELECT COUNT(*) FROM marked)
            RETURNING position
        ), logged AS (
            INSERT INTO stream (position, kind, room_nid, room_position, user_nid, detail)
            SELECT c.position - (SELECT COUNT(*) FROM entry) + e.nth, e.kind, e.room_nid,
                e.room_position, e.user_nid, e.detail
            FROM entry e
            CROSS JOIN counter c
        )
        SELECT c.position AS "last!: StreamPosition", -- there is one counter
            COALESCE((SELECT ARRAY_AGG(room_nid) FROM moved), '{}') AS "won!: Vec<RoomNid>",
            pg_notify('chappe_stream', c.position::TEXT)::TEXT AS notified
        FROM counter c
        "#,
        &guard.rooms,
        &guard.expected,
        &guard.positions,
        &guard.depths,
        &guard.notify_counts,
        &events.rooms,
        &events.positions,
        &events.event_ids as &[&str],
        &events.senders,
        &events.slots as &[Option<i64>],
        &events.replaces as &[Option<i64>],
        &events.notify_counts,
        &events.devices as &[Option<i64>],
        &events.transaction_ids as &[Option<&str>],
        &events.json as &[&str],
        &transactions
            .iter()
            .map(|(room, _)| room.0)
            .collect::<Vec<_>>(),
        &transactions
            .iter()
            .map(|(_, t)| t.device.0)
            .collect::<Vec<_>>(),
        &transactions
            .iter()
            .map(|(_, t)| t.key.to_vec())
            .collect::<Vec<_>>(),
        &transactions
            .iter()
            .map(|(_, t)| t.event_id.as_str())
            .collect::<Vec<_>>() as &[&str],
        &transactions.iter().map(|(_, t)| t.at).collect::<Vec<_>>(),
        &reads.iter().map(|event| event.sender.0).collect::<Vec<_>>(),
        &reads.iter().map(|event| event.room.0).collect::<Vec<_>>(),
        &reads
            .iter()
            .map(|event| event.position.0)
            .collect::<Vec<_>>(),
        &reads
            .iter()
            .map(|event| event.notify_count)
            .collect::<Vec<_>>(),
        &entries.kinds,
        &entries.guards as &[Option<i64>],
        &entries.rooms as &[Option<i64>],
        &entries.room_positions as &[Option<i64>],
        &entries.users as &[Option<i64>],
        &entries.details as &[Option<String>],
        &guard.bumps,
    )
    .fetch_one(conn)
    .await?;
    Ok((row.last, row.won))
}

/// The heads that move, as columns.
struct Guard {
    rooms: Vec<i64>,
    expected: Vec<i64>,
    positions: Vec<i64>,
    depths: Vec<i64>,
    notify_counts: Vec<i64>,
    bumps: Vec<i64>,
}

impl Guard {
    fn new(
        expected: &[(RoomNid, RoomPosition)],
        heads: &[(RoomNid, std::sync::Arc<RoomHead>)],
        bumps: &HashMap<RoomNid, i64>,
    ) -> Self {
        // Both are in the order of the rooms' numbers, and of the same rooms.
        let pairs = || {
            expected
                .iter()
                .zip(heads)
                .filter(|((room, _), (head, _))| room == head)
        };
        Self {
            rooms: pairs().map(|((room, _), _)| room.0).collect(),
            expected: pairs().map(|((_, position), _)| position.0).collect(),
            positions: pairs().map(|(_, (_, head))| head.position().0).collect(),
            depths: pairs().map(|(_, (_, head))| head.room().depth()).collect(),
            notify_counts: pairs().map(|(_, (_, head))| head.notify_count()).collect(),
            bumps: pairs()
                .map(|((room, _), _)| bumps.get(room).copied().unwrap_or_default())
                .collect(),
        }
    }
}

/// The events, as columns.
struct Events<'a> {
    rooms: Vec<i64>,
    positions: Vec<i64>,
    event_ids: Vec<&'a str>,
    senders: Vec<i64>,
    slots: Vec<Option<i64>>,
    replaces: Vec<Option<i64>>,
    notify_counts: Vec<i64>,
    devices: Vec<Option<i64>>,
    transaction_ids: Vec<Option<&'a str>>,
    json: Vec<&'a str>,
}

impl<'a> Events<'a> {
    fn new(batch: &Batch<'a>) -> Self {
        let events: Vec<_> = batch.events().collect();
        Self {
            rooms: events.iter().map(|event| event.room.0).collect(),
            positions: events.iter().map(|event| event.position.0).collect(),
            event_ids: events
                .iter()
                .map(|event| event.pdu.event_id().as_str())
                .collect(),
            senders: events.iter().map(|event| event.sender.0).collect(),
            slots: events
                .iter()
                .map(|event| event.slot.map(|slot| slot.0))
                .collect(),
            replaces: events
                .iter()
                .map(|event| event.replaces.map(|at| at.0))
                .collect(),
            notify_counts: events.iter().map(|event| event.notify_count).collect(),
            devices: events
                .iter()
                .map(|event| Some(event.transaction.as_ref()?.device.0))
                .collect(),
            transaction_ids: events
                .iter()
                .map(|event| Some(&*event.transaction.as_ref()?.id))
                // PostgreSQL's texts hold no NUL.
                .map(|id| id.filter(|id: &&str| !id.contains('\0')))
                .collect(),
            json: events.iter().map(|event| event.pdu.json()).collect(),
        }
    }
}

/// The stream entries, as columns.
#[derive(Default)]
struct Entries {
    kinds: Vec<i16>,
    guards: Vec<Option<i64>>,
    rooms: Vec<Option<i64>>,
    room_positions: Vec<Option<i64>>,
    users: Vec<Option<i64>>,
    details: Vec<Option<String>>,
}

impl Entries {
    fn new(batch: &Batch<'_>) -> Self {
        let mut entries = Self::default();
        for change in batch.changes() {
            let row = change.to_row();
            entries.kinds.push(row.kind);
            entries.guards.push(match &change {
                Change::Event(event) => Some(event.room.0),
                _ => None,
            });
            entries.rooms.push(row.room.map(|room| room.0));
            entries
                .room_positions
                .push(row.room_position.map(|position| position.0));
            entries.users.push(row.user.map(|user| user.0));
            entries.details.push(row.detail);
        }
        entries
    }
}

/// New rooms, before their first event.
async fn insert_rooms(conn: &mut Conn, batch: &Batch<'_>) -> Result<(), StoreError> {
    let rooms: Vec<_> = batch
        .rooms()
        .filter_map(|room| Some((room.room.0, room.created.as_ref()?)))
        .collect();
    if rooms.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO rooms (room_nid, room_id, room_version, position, depth, extremities, notify_count)
        SELECT n.room_nid, n.room_id, n.room_version, 0, 0, '{}', 0
        FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::TEXT[]) AS n (room_nid, room_id, room_version)
        "#,
        &rooms.iter().map(|(nid, _)| *nid).collect::<Vec<_>>(),
        &rooms.iter().map(|(_, room)| room.room_id.as_str()).collect::<Vec<_>>() as &[&str],
        &rooms.iter().map(|(_, room)| room.room_version.as_str()).collect::<Vec<_>>() as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the rooms that are where they are expected, in the order of their numbers.
async fn lock_rooms(
    conn: &mut Conn,
    expected: &[(RoomNid, RoomPosition)],
) -> Result<Vec<RoomNid>, StoreError> {
    if expected.is_empty() {
        return Ok(Vec::new());
    }
    let won = sqlx::query_scalar!(
        r#"
        SELECT r.room_nid AS "room_nid: RoomNid"
        FROM UNNEST($1::BIGINT[], $2::BIGINT[]) AS g (room_nid, expected)
        JOIN rooms r ON r.room_nid = g.room_nid AND r.position = g.expected
        ORDER BY r.room_nid
        FOR UPDATE OF r
        "#,
        &expected.iter().map(|(room, _)| room.0).collect::<Vec<_>>(),
        &expected
            .iter()
            .map(|(_, position)| position.0)
            .collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(won)
}

/// State events: closes what they replace, and opens their own rows.
async fn insert_state(conn: &mut Conn, batch: &Batch<'_>) -> Result<(), StoreError> {
    let rows = batch.state();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        WITH new AS (
            SELECT *
            FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[])
                AS n (room_nid, slot_nid, position, until)
        ), closed AS (
            UPDATE room_state s
            SET until = n.position
            FROM (
                SELECT room_nid, slot_nid, MIN(position) AS position
                FROM new
                GROUP BY room_nid, slot_nid
            ) n
            WHERE s.room_nid = n.room_nid
                AND s.slot_nid = n.slot_nid
                AND s.until IS NULL
        )
        INSERT INTO room_state (room_nid, slot_nid, position, until)
        SELECT room_nid, slot_nid, position, until
        FROM new
        "#,
        &rows.iter().map(|row| row.room.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.slot).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.position.0).collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|row| row.until.map(|until| until.0))
            .collect::<Vec<_>>() as &[Option<i64>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Memberships after the batch.
async fn upsert_memberships(
    conn: &mut Conn,
    batch: &Batch<'_>,
    after: StreamPosition,
) -> Result<(), StoreError> {
    let rows = batch.memberships();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        WITH new AS (
            SELECT *
            FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::SMALLINT[], $4::BIGINT[], $5::BOOLEAN[],
                    $6::BOOLEAN[], $8::BIGINT[], $9::BIGINT[])
                AS n (user_nid, room_nid, membership, position, removed, stays_removed, joined_at,
                    notify_count)
        )
        INSERT INTO memberships
            (user_nid, room_nid, membership, position, changed_after, removed, threads_position,
             threads_notify_count)
        SELECT n.user_nid, n.room_nid, n.membership, n.position, $7,
            n.removed OR (n.stays_removed AND COALESCE(m.removed, FALSE)),
            n.joined_at, n.notify_count
        FROM new n
        LEFT JOIN memberships m ON m.user_nid = n.user_nid AND m.room_nid = n.room_nid
        ON CONFLICT (user_nid, room_nid) DO UPDATE
        SET membership = EXCLUDED.membership,
            position = EXCLUDED.position,
            changed_after = EXCLUDED.changed_after,
            removed = EXCLUDED.removed,
            forgotten = FALSE,
            -- Who joins has read what was said in threads before.
            threads_position = GREATEST(memberships.threads_position, EXCLUDED.threads_position),
            threads_notify_count =
                GREATEST(memberships.threads_notify_count, EXCLUDED.threads_notify_count)
        "#,
        &rows.iter().map(|row| row.user.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.room.0).collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|row| row.membership.to_sql())
            .collect::<Vec<_>>(),
        &rows.iter().map(|row| row.position.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.removed).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.stays_removed).collect::<Vec<_>>(),
        after as StreamPosition,
        &rows.iter().map(|row| row.joined_at.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.notify_count).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
