//! Messages to devices that wait for their devices. They are written by the journal.

use ruma::UserId;
use sqlx::PgConnection;

use super::{DeviceNid, StoreError, StreamPosition, UserNid};

/// A device that messages are sent to.
#[derive(Clone, Debug)]
pub struct Addressee {
    /// Which of the addresses it was found by.
    pub nth: i64,
    /// Its user.
    pub user: UserNid,
    /// Its number.
    pub device: DeviceNid,
}

/// The devices at some addresses, each a user and the id of a device, or `*` for all of them.
pub async fn find_devices(
    conn: &mut PgConnection,
    addresses: &[(&UserId, &str)],
) -> Result<Vec<Addressee>, StoreError> {
    let found = sqlx::query_as!(
        Addressee,
        r#"
        SELECT q.nth AS "nth!", -- an ordinality is never null
            d.user_nid AS "user: UserNid",
            d.device_nid AS "device: DeviceNid"
        FROM UNNEST($1::TEXT[], $2::TEXT[]) WITH ORDINALITY AS q (user_id, device_id, nth)
        JOIN users u ON u.user_id = q.user_id
        JOIN devices d ON d.user_nid = u.user_nid
            AND (q.device_id = '*' OR d.device_id = q.device_id)
        "#,
        &addresses
            .iter()
            .map(|(user_id, _)| user_id.as_str())
            .collect::<Vec<_>>() as &[&str],
        &addresses
            .iter()
            .map(|(_, device_id)| *device_id)
            .collect::<Vec<_>>() as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(found)
}

/// The messages for a device after a position and up to another, oldest first, with their
/// positions.
pub async fn list(
    conn: &mut PgConnection,
    device: DeviceNid,
    after: StreamPosition,
    until: StreamPosition,
    limit: i64,
) -> Result<Vec<(StreamPosition, String)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT position AS "position: StreamPosition",
            json
        FROM to_device
        WHERE device_nid = $1
            AND position > $2
            AND position <= $3
        ORDER BY position
        LIMIT $4
        "#,
        device as DeviceNid,
        after as StreamPosition,
        until as StreamPosition,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.position, row.json))
        .collect())
}

/// Deletes the messages of a device up to a position: the device has them.
pub async fn delete_confirmed(
    conn: &mut PgConnection,
    device: DeviceNid,
    until: StreamPosition,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM to_device
        WHERE device_nid = $1
            AND position <= $2
        "#,
        device as DeviceNid,
        until as StreamPosition,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes messages whose device has gone while they were written, after `device`. Gives where to
/// go on; [`None`] at the end.
pub async fn delete_orphans(
    conn: &mut PgConnection,
    after: DeviceNid,
    limit: i64,
) -> Result<Option<DeviceNid>, StoreError> {
    // Jumps from device to device along the primary key.
    let last = sqlx::query_scalar!(
        r#"
        WITH RECURSIVE seen AS (
            SELECT (
                SELECT MIN(device_nid) FROM to_device WHERE device_nid > $1
            ) AS device_nid, 1 AS nth
            UNION ALL
            SELECT (
                SELECT MIN(t.device_nid) FROM to_device t WHERE t.device_nid > s.device_nid
            ), s.nth + 1
            FROM seen s
            WHERE s.device_nid IS NOT NULL
                AND s.nth < $2
        ), gone AS (
            DELETE FROM to_device
            WHERE device_nid IN (
                SELECT s.device_nid
                FROM seen s
                WHERE s.device_nid IS NOT NULL
                    AND NOT EXISTS (SELECT 1 FROM devices d WHERE d.device_nid = s.device_nid)
            )
        )
        SELECT device_nid AS "device: DeviceNid"
        FROM seen
        WHERE nth = $2
        "#,
        after as DeviceNid,
        i32::try_from(limit).unwrap_or(i32::MAX),
    )
    .fetch_optional(conn)
    .await?;
    Ok(last.flatten())
}
