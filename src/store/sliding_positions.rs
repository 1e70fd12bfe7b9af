//! What the clients of sliding sync know of which rooms.

use sqlx::PgConnection;

use super::{DeviceNid, StoreError};

/// The most connections of a device; with more, the one that was written longest ago goes.
const MAX_CONNECTIONS: i64 = 10;
/// The most rows of a connection: the one that its client has acknowledged, and newer ones.
const MAX_ROWS: i64 = 4;

/// A row to write.
#[derive(Clone, Debug)]
pub struct NewPosition<'a> {
    /// The device.
    pub device: DeviceNid,
    /// The connection.
    pub conn_id: &'a str,
    /// The row's own number.
    pub snapshot_id: i64,
    /// The row that the client has acknowledged.
    pub acknowledged: Option<i64>,
    /// Now, in milliseconds.
    pub now_ms: i64,
    /// The content.
    pub content: &'a str,
}

/// The connection and the content of a row.
pub async fn find(
    conn: &mut PgConnection,
    device: DeviceNid,
    snapshot_id: i64,
) -> Result<Option<(String, String)>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT conn_id,
            content
        FROM sliding_positions
        WHERE device_nid = $1
            AND snapshot_id = $2
        "#,
        device as DeviceNid,
        snapshot_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.conn_id, row.content)))
}

/// Writes a row, and removes those that are too many.
pub async fn insert(conn: &mut PgConnection, new: &NewPosition<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        WITH known AS (
            SELECT snapshot_id,
                conn_id,
                ROW_NUMBER() OVER (
                    PARTITION BY conn_id
                    ORDER BY (snapshot_id = $4) DESC, created_ms DESC, snapshot_id
                ) AS nth,
                MAX(created_ms) OVER (PARTITION BY conn_id) AS newest
            FROM sliding_positions
            WHERE device_nid = $1
        ), ranked AS (
            SELECT snapshot_id,
                DENSE_RANK() OVER (ORDER BY newest DESC, conn_id) AS nth
            FROM known
            WHERE conn_id <> $2
        ), gone AS (
            DELETE FROM sliding_positions p
            USING (
                SELECT snapshot_id
                FROM known
                WHERE conn_id = $2
                    AND nth >= $7
                UNION ALL
                SELECT snapshot_id
                FROM ranked
                WHERE nth >= $8
            ) g
            WHERE p.device_nid = $1
                AND p.snapshot_id = g.snapshot_id
        )
        INSERT INTO sliding_positions (device_nid, snapshot_id, conn_id, created_ms, content)
        VALUES ($1, $3, $2, $5, $6)
        "#,
        new.device as DeviceNid,
        new.conn_id,
        new.snapshot_id,
        new.acknowledged.unwrap_or_default(),
        new.now_ms,
        new.content,
        MAX_ROWS,
        MAX_CONNECTIONS,
    )
    .execute(conn)
    .await?;
    Ok(())
}
