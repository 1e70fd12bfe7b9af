//! Messages to devices that wait for their devices. They are written by the journal.

use ruma::UserId;
use sqlx::PgConnection;

use super::{DeviceNid, StoreError, StreamPosition, UserNid};

/// Where a message goes: a user, and the id of a device or `*` for all of them.
pub type Address<'a> = (&'a UserId, &'a str);

/// A device that messages are sent to.
#[derive(Clone, Copy, Debug)]
pub struct Addressee {
    /// Which of the addresses it was found by, from zero on.
    pub nth: usize,
    /// Its user.
    pub user: UserNid,
    /// Its number.
    pub device: DeviceNid,
}

/// A device at an address.
#[derive(Clone, Debug)]
pub(super) struct DeviceAt {
    /// Which of the addresses, from one on.
    pub(super) nth: i64,
    /// Its user.
    pub(super) user: UserNid,
    /// Its number.
    pub(super) device: DeviceNid,
    /// Whether it has published keys.
    pub(super) has_keys: bool,
}

/// The devices at some addresses.
pub(super) async fn find_devices(
    conn: &mut PgConnection,
    addresses: &[Address<'_>],
) -> Result<Vec<DeviceAt>, StoreError> {
    let found = sqlx::query_as!(
        DeviceAt,
        r#"
        SELECT q.nth AS "nth!", -- an ordinality is never null
            d.user_nid AS "user: UserNid",
            d.device_nid AS "device: DeviceNid",
            EXISTS (
                SELECT 1 FROM device_keys k WHERE k.device_nid = d.device_nid
            ) AS "has_keys!" -- never null
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

/// A message with whom it is for.
#[derive(Clone, Debug)]
pub struct WaitingMessage {
    /// The user.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// Its number.
    pub device: DeviceNid,
    /// Its place.
    pub position: StreamPosition,
    /// The event.
    pub json: String,
}

/// The oldest messages for some devices up to a position, in order.
pub async fn list_waiting(
    conn: &mut PgConnection,
    devices: &[DeviceNid],
    until: StreamPosition,
    limit: i64,
) -> Result<Vec<WaitingMessage>, StoreError> {
    let messages = sqlx::query_as!(
        WaitingMessage,
        r#"
        SELECT users.user_id,
            devices.device_id,
            to_device.device_nid AS "device: DeviceNid",
            to_device.position AS "position: StreamPosition",
            to_device.json
        FROM to_device
        JOIN devices USING (device_nid)
        JOIN users USING (user_nid)
        WHERE to_device.device_nid = ANY($1)
            AND to_device.position <= $2
        ORDER BY to_device.position, to_device.device_nid
        LIMIT $3
        "#,
        devices as &[DeviceNid],
        until as StreamPosition,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(messages)
}

/// Deletes messages that an application service is told: these and no others.
pub async fn delete_told(
    conn: &mut PgConnection,
    messages: &[WaitingMessage],
) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let devices: Vec<_> = messages.iter().map(|message| message.device).collect();
    let positions: Vec<_> = messages.iter().map(|message| message.position).collect();
    sqlx::query!(
        r#"
        DELETE FROM to_device
        USING UNNEST($1::BIGINT[], $2::BIGINT[]) AS told (device_nid, position)
        WHERE to_device.device_nid = told.device_nid
            AND to_device.position = told.position
        "#,
        &devices as &[DeviceNid],
        &positions as &[StreamPosition],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes the messages of a device after a position and up to another: the device has them. Up to
/// the first they were deleted before, and are not looked for among what deleted rows leave behind.
pub async fn delete_confirmed(
    conn: &mut PgConnection,
    device: DeviceNid,
    after: StreamPosition,
    until: StreamPosition,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM to_device
        WHERE device_nid = $1
            AND position > $2
            AND position <= $3
        "#,
        device as DeviceNid,
        after as StreamPosition,
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
