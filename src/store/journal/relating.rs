//! The statements of a commit for events that relate to others.

use super::{RelationWrite, batch::Batch};
use crate::store::{Conn, StoreError, relations, search};

/// The relations of the new events, and the threads that they are in.
pub(super) async fn insert_relations(conn: &mut Conn, batch: &Batch<'_>) -> Result<(), StoreError> {
    let rows: Vec<&RelationWrite> = batch.rooms().flat_map(|room| &room.relations).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = rows
        .iter()
        .map(|row| row.annotation_key.map(|key| key.to_vec()))
        .collect();
    sqlx::query!(
        r#"
        WITH new AS (
            SELECT *
            FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::SMALLINT[], $5::TEXT[],
                    $6::TEXT[], $7::BIGINT[], $8::BIGINT[], $9::TEXT[], $10::BYTEA[])
                AS n (room_nid, position, parent, kind, rel_type, event_type, sender_nid, ts,
                    event_id, annotation_key)
        ), threaded AS (
            INSERT INTO threads (room_nid, root, latest)
            SELECT room_nid, parent, MAX(position)
            FROM new
            WHERE kind = 2
            GROUP BY room_nid, parent
            ON CONFLICT (room_nid, root) DO UPDATE
            SET latest = GREATEST(threads.latest, EXCLUDED.latest)
        )
        INSERT INTO relations
            (room_nid, position, parent, kind, rel_type, event_type, sender_nid, ts, event_id,
            annotation_key)
        SELECT room_nid, position, parent, kind, rel_type, event_type, sender_nid, ts, event_id,
            annotation_key
        FROM new
        "#,
        &rows.iter().map(|row| row.event.room.0).collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|row| row.event.position.0)
            .collect::<Vec<_>>(),
        &rows.iter().map(|row| row.parent.0).collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|row| relations::kind(row.aggregation))
            .collect::<Vec<_>>(),
        &rows.iter().map(|row| row.rel_type()).collect::<Vec<_>>() as &[&str],
        &rows
            .iter()
            .map(|row| row.event.pdu.event_type().to_string())
            .collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|row| row.event.sender.0)
            .collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|row| i64::from(row.event.pdu.origin_server_ts().get()))
            .collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|row| row.event.pdu.event_id().as_str())
            .collect::<Vec<_>>() as &[&str],
        &keys as &[Option<Vec<u8>>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What was redacted relates to nothing any more, and is not found. A thread whose newest event it was ends with the
/// one before; one without events is none.
pub(super) async fn delete_relations(conn: &mut Conn, batch: &Batch<'_>) -> Result<(), StoreError> {
    let rows = batch.redacted();
    if rows.is_empty() {
        return Ok(());
    }
    let places: Vec<_> = rows
        .iter()
        .map(|event| (event.room, event.position))
        .collect();
    search::delete(conn, &places).await?;
    sqlx::query!(
        r#"
        WITH gone AS (
            DELETE FROM relations r
            USING UNNEST($1::BIGINT[], $2::BIGINT[]) AS n (room_nid, position)
            WHERE r.room_nid = n.room_nid
                AND r.position = n.position
            RETURNING r.room_nid, r.position, r.parent, r.kind
        ), changed AS (
            SELECT g.room_nid,
                g.parent,
                (
                    SELECT MAX(r.position)
                    FROM relations r
                    WHERE r.room_nid = g.room_nid
                        AND r.parent = g.parent
                        AND r.kind = 2
                        -- The statement still sees the rows that it deletes.
                        AND (r.room_nid, r.position) NOT IN (SELECT room_nid, position FROM gone)
                ) AS latest
            FROM gone g
            WHERE g.kind = 2
            GROUP BY g.room_nid, g.parent
        ), ended AS (
            DELETE FROM threads t
            USING changed c
            WHERE t.room_nid = c.room_nid
                AND t.root = c.parent
                AND c.latest IS NULL
        )
        UPDATE threads t
        SET latest = c.latest
        FROM changed c
        WHERE t.room_nid = c.room_nid
            AND t.root = c.parent
            AND c.latest IS NOT NULL
        "#,
        &rows.iter().map(|event| event.room.0).collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|event| event.position.0)
            .collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
