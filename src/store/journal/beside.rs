//! The statements of a commit for what stands beside events and state: the directory, receipts,
//! account data, aliases, redactions and mentions.

use std::collections::BTreeMap;

use super::{RoomSummary, batch::Batch};
use crate::store::{Conn, StoreError, directory};

/// What the directory shows of the rooms.
pub(super) async fn upsert_summaries(conn: &mut Conn, batch: &Batch<'_>) -> Result<(), StoreError> {
    let newest: BTreeMap<_, _> = batch
        .rooms()
        .filter_map(|room| Some((room.room.0, &**room.summary.as_ref()?)))
        .collect();
    if !newest.is_empty() {
        write_summaries(conn, &newest).await?;
    }
    let published: BTreeMap<_, _> = batch.writes().filter_map(|write| write.publish).collect();
    if !published.is_empty() {
        let published: Vec<_> = published.into_iter().collect();
        directory::set_published(conn, &published).await?;
    }
    Ok(())
}

async fn write_summaries(
    conn: &mut Conn,
    newest: &BTreeMap<i64, &RoomSummary>,
) -> Result<(), StoreError> {
    fn column<'a, T>(
        newest: &BTreeMap<i64, &'a RoomSummary>,
        field: impl Fn(&'a RoomSummary) -> T,
    ) -> Vec<T> {
        newest.values().map(|summary| field(summary)).collect()
    }
    sqlx::query!(
        r#"
        INSERT INTO room_summaries
            (room_nid, joined_count, name, topic, canonical_alias, avatar_url, join_rule,
             room_type, world_readable, guest_can_join)
        SELECT n.room_nid, n.joined_count, n.name, n.topic, n.canonical_alias, n.avatar_url,
            n.join_rule, n.room_type, n.world_readable, n.guest_can_join
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::TEXT[],
                $7::TEXT[], $8::TEXT[], $9::BOOLEAN[], $10::BOOLEAN[])
            AS n (room_nid, joined_count, name, topic, canonical_alias, avatar_url, join_rule,
                room_type, world_readable, guest_can_join)
        ON CONFLICT (room_nid) DO UPDATE
        SET joined_count = EXCLUDED.joined_count,
            name = EXCLUDED.name,
            topic = EXCLUDED.topic,
            canonical_alias = EXCLUDED.canonical_alias,
            avatar_url = EXCLUDED.avatar_url,
            join_rule = EXCLUDED.join_rule,
            room_type = EXCLUDED.room_type,
            world_readable = EXCLUDED.world_readable,
            guest_can_join = EXCLUDED.guest_can_join
        "#,
        &newest.keys().copied().collect::<Vec<_>>(),
        &column(newest, |summary| summary.joined_count),
        &column(newest, |summary| summary.name.as_deref()) as &[Option<&str>],
        &column(newest, |summary| summary.topic.as_deref()) as &[Option<&str>],
        &column(newest, |summary| summary.canonical_alias.as_deref()) as &[Option<&str>],
        &column(newest, |summary| summary.avatar_url.as_deref()) as &[Option<&str>],
        &column(newest, |summary| summary.join_rule.as_deref()) as &[Option<&str>],
        &column(newest, |summary| summary.room_type.as_deref()) as &[Option<&str>],
        &column(newest, |summary| summary.world_readable),
        &column(newest, |summary| summary.guest_can_join),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Receipts, and how far their users have read: never backwards.
pub(super) async fn upsert_receipts(conn: &mut Conn, batch: &Batch<'_>) -> Result<(), StoreError> {
    let mut newest = BTreeMap::new();
    for receipt in batch.writes().flat_map(|write| &write.receipts) {
        let key = (
            receipt.user,
            receipt.room,
            receipt.private,
            receipt.thread.as_str(),
        );
        newest.insert(key, receipt);
    }
    if newest.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = newest.into_values().collect();
    sqlx::query!(
        r#"
        WITH new AS (
            SELECT *
            FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::SMALLINT[], $4::TEXT[], $5::BIGINT[],
                    $6::TEXT[], $7::BIGINT[], $8::BIGINT[])
                AS n (room_nid, user_nid, receipt_type, thread_id, position, event_id,
                    received_at, notify_count)
        ), marked AS (
            UPDATE memberships m
            SET read_position = GREATEST(m.read_position, n.main_position),
                read_notify_count = CASE
                    WHEN m.read_position < n.main_position THEN n.main_count
                    ELSE m.read_notify_count
                END,
                threads_position = GREATEST(m.threads_position, n.threads_position),
                threads_notify_count = CASE
                    WHEN m.threads_position < n.threads_position THEN n.threads_count
                    ELSE m.threads_notify_count
                END
            FROM (
                SELECT room_nid, user_nid,
                    COALESCE(MAX(position) FILTER (WHERE thread_id IN ('', 'main')), 0)
                        AS main_position,
                    COALESCE(MAX(notify_count) FILTER (WHERE thread_id IN ('', 'main')), 0)
                        AS main_count,
                    COALESCE(MAX(position) FILTER (WHERE thread_id = ''), 0) AS threads_position,
                    COALESCE(MAX(notify_count) FILTER (WHERE thread_id = ''), 0) AS threads_count
                FROM new
                GROUP BY room_nid, user_nid
            ) n
            WHERE m.room_nid = n.room_nid
                AND m.user_nid = n.user_nid
                AND (
                    m.read_position < n.main_position
                    OR m.threads_position < n.threads_position
                )
        ), seen AS (
            DELETE FROM highlights h
            USING new n
            WHERE h.user_nid = n.user_nid
                AND h.room_nid = n.room_nid
                AND h.position <= n.position
                AND n.thread_id IN ('', h.thread_id)
        )
        INSERT INTO receipts
            (room_nid, user_nid, receipt_type, thread_id, position, event_id, received_at)
        SELECT room_nid, user_nid, receipt_type, thread_id, position, event_id, received_at
        FROM new
        ON CONFLICT (room_nid, user_nid, receipt_type, thread_id) DO UPDATE
        SET position = EXCLUDED.position,
            event_id = EXCLUDED.event_id,
            received_at = EXCLUDED.received_at
        -- Another process may have marked more in between.
        WHERE receipts.position < EXCLUDED.position
        "#,
        &rows.iter().map(|row| row.room.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.user.0).collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|row| if row.private { 2 } else { 1 })
            .collect::<Vec<i16>>(),
        &rows
            .iter()
            .map(|row| row.thread.as_str())
            .collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.position.0).collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|row| row.event_id.as_str())
            .collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.notify_count).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Account data; the newest content of each type.
pub(super) async fn upsert_account_data(
    conn: &mut Conn,
    batch: &Batch<'_>,
) -> Result<(), StoreError> {
    let mut newest = BTreeMap::new();
    for data in batch.writes().flat_map(|write| &write.account_data) {
        let room = data.room.map_or(0, |room| room.0);
        newest.insert(
            (data.user.0, room, data.event_type.as_str()),
            data.content.get(),
        );
    }
    if newest.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO account_data (user_nid, room_nid, event_type, content)
        SELECT n.user_nid, n.room_nid, n.event_type, n.content
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::TEXT[], $4::TEXT[])
            AS n (user_nid, room_nid, event_type, content)
        ON CONFLICT (user_nid, room_nid, event_type) DO UPDATE
        SET content = EXCLUDED.content
        "#,
        &newest.keys().map(|key| key.0).collect::<Vec<_>>(),
        &newest.keys().map(|key| key.1).collect::<Vec<_>>(),
        &newest.keys().map(|key| key.2).collect::<Vec<_>>() as &[&str],
        &newest.values().copied().collect::<Vec<_>>() as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Aliases that must be free.
pub(super) async fn insert_aliases(conn: &mut Conn, batch: &Batch<'_>) -> Result<(), StoreError> {
    let rows: Vec<_> = batch.writes().flat_map(|write| &write.aliases).collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO aliases (alias, room_nid, creator_nid)
        SELECT n.alias, n.room_nid, n.creator_nid
        FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::BIGINT[]) AS n (alias, room_nid, creator_nid)
        "#,
        &rows.iter().map(|row| row.0.as_str()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.1.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.2.0).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Events that lose their content.
pub(super) async fn update_redacted(conn: &mut Conn, batch: &Batch<'_>) -> Result<(), StoreError> {
    let rows = batch.redacted();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        WITH new AS (
            SELECT *
            FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[])
                AS n (room_nid, position, json, redacted_by)
        ), unmarked AS (
            DELETE FROM highlights h
            USING new n
            WHERE h.room_nid = n.room_nid
                AND h.position = n.position
        )
        UPDATE events e
        SET json = n.json,
            redacted_by = n.redacted_by
        FROM new n
        WHERE e.room_nid = n.room_nid
            AND e.position = n.position
        "#,
        &rows.iter().map(|event| event.room.0).collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|event| event.position.0)
            .collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|event| event.pdu.json())
            .collect::<Vec<_>>() as &[&str],
        &rows
            .iter()
            .map(|event| event.redacted_by.map(|at| at.0))
            .collect::<Vec<_>>() as &[Option<i64>],
    )
    .execute(conn)
    .await?;
    Ok(())
}
