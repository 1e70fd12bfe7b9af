//! The devices of accounts, and when they were last seen.

use ruma::{DeviceId, OwnedDeviceId};
use sqlx::PgConnection;

use super::{DeviceNid, StoreError, UserNid};

/// A device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its number.
    pub device: DeviceNid,
    /// Its Matrix id.
    pub device_id: OwnedDeviceId,
    /// What its owner calls it.
    pub display_name: Option<String>,
    /// When it was last seen, in milliseconds since the epoch.
    pub last_seen_ms: Option<i64>,
    /// Where it was last seen.
    pub last_seen_ip: Option<String>,
    /// What the program called itself.
    pub last_seen_user_agent: Option<String>,
}

/// A device that sent a request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The device.
    pub device: DeviceNid,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// From where.
    pub ip: Option<String>,
    /// With which program.
    pub user_agent: Option<String>,
}

/// The device with this id, made if the user has none. A name that it has already stays.
pub async fn upsert(
    conn: &mut PgConnection,
    user: UserNid,
    device_id: &DeviceId,
    display_name: Option<&str>,
    now_ms: i64,
) -> Result<DeviceNid, StoreError> {
    let device = sqlx::query_scalar!(
        r#"
        INSERT INTO devices (
            user_nid,
            device_id,
            display_name,
            created_ms,
            last_seen_ms
        )
        VALUES ($1, $2, $3, $4, $4)
        ON CONFLICT (user_nid, device_id) DO UPDATE
        SET display_name = COALESCE(devices.display_name, EXCLUDED.display_name),
            last_seen_ms = EXCLUDED.last_seen_ms
        RETURNING device_nid AS "device: DeviceNid"
        "#,
        user as UserNid,
        device_id.as_str(),
        display_name,
        now_ms,
    )
    .fetch_one(conn)
    .await?;
    Ok(device)
}

/// The devices of a user, oldest first.
pub async fn list(conn: &mut PgConnection, user: UserNid) -> Result<Vec<Device>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT
            device_nid AS "device: DeviceNid",
            device_id,
            display_name,
            last_seen_ms,
            last_seen_ip,
            last_seen_user_agent
        FROM devices
        WHERE user_nid = $1
        ORDER BY device_nid
        "#,
        user as UserNid,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Row::into_device).collect())
}

/// One device of a user.
pub async fn find(
    conn: &mut PgConnection,
    user: UserNid,
    device_id: &DeviceId,
) -> Result<Option<Device>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT
            device_nid AS "device: DeviceNid",
            device_id,
            display_name,
            last_seen_ms,
            last_seen_ip,
            last_seen_user_agent
        FROM devices
        WHERE user_nid = $1
            AND device_id = $2
        "#,
        user as UserNid,
        device_id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Row::into_device))
}

/// How many devices a user has.
pub async fn count(conn: &mut PgConnection, user: UserNid) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"
        SELECT COUNT(*) AS "count!" -- an aggregate is never null
        FROM devices
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// Renames a device. `false`: there is none with this id. If the device has keys, others see its
/// name: see [`super::device_lists`].
pub async fn update_display_name(
    conn: &mut PgConnection,
    user: UserNid,
    device_id: &DeviceId,
    display_name: Option<&str>,
) -> Result<bool, StoreError> {
    let renamed = sqlx::query_scalar!(
        r#"
        WITH renamed AS (
            UPDATE devices
            SET display_name = $3
            WHERE user_nid = $1
                AND device_id = $2
            RETURNING device_nid
        ), work AS (
            INSERT INTO device_list_work (user_nid)
            SELECT k.user_nid
            FROM device_keys k
            JOIN renamed USING (device_nid)
            ON CONFLICT DO NOTHING
        )
        SELECT device_nid
        FROM renamed
        "#,
        user as UserNid,
        device_id.as_str(),
        display_name,
    )
    .fetch_optional(conn)
    .await?;
    Ok(renamed.is_some())
}

/// Deletes the devices of a user that have one of these ids, with their tokens, their keys and
/// the messages to them. The ids that there were come back. If any had keys, others are to be
/// told: see [`super::device_lists`].
pub async fn delete(
    conn: &mut PgConnection,
    user: UserNid,
    device_ids: &[OwnedDeviceId],
) -> Result<Vec<OwnedDeviceId>, StoreError> {
    let device_ids: Vec<String> = device_ids.iter().map(ToString::to_string).collect();
    let doomed = sqlx::query_scalar!(
        r#"
        SELECT device_nid AS "device: DeviceNid"
        FROM devices
        WHERE user_nid = $1
            AND device_id = ANY($2)
        ORDER BY device_nid
        FOR UPDATE
        "#,
        user as UserNid,
        &device_ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    delete_these(conn, user, &doomed).await
}

/// Deletes all devices of a user but one, as [`delete`] does. The deleted ids come back.
pub async fn delete_all_but(
    conn: &mut PgConnection,
    user: UserNid,
    kept: Option<DeviceNid>,
) -> Result<Vec<OwnedDeviceId>, StoreError> {
    let doomed = sqlx::query_scalar!(
        r#"
        SELECT device_nid AS "device: DeviceNid"
        FROM devices
        WHERE user_nid = $1
            AND device_nid IS DISTINCT FROM $2
        ORDER BY device_nid
        FOR UPDATE
        "#,
        user as UserNid,
        kept as Option<DeviceNid>,
    )
    .fetch_all(&mut *conn)
    .await?;
    delete_these(conn, user, &doomed).await
}

/// Deletes devices that are locked, with all that is theirs.
pub(super) async fn delete_these(
    conn: &mut PgConnection,
    user: UserNid,
    doomed: &[DeviceNid],
) -> Result<Vec<OwnedDeviceId>, StoreError> {
    if doomed.is_empty() {
        return Ok(Vec::new());
    }
    // Keys and tokens go by their foreign keys; what other statements of this one see is from
    // before that.
    let deleted = sqlx::query_scalar!(
        r#"
        WITH work AS (
            INSERT INTO device_list_work (user_nid)
            SELECT DISTINCT user_nid
            FROM device_keys
            WHERE device_nid = ANY($2)
            ON CONFLICT DO NOTHING
        ), messages AS (
            DELETE FROM to_device
            WHERE device_nid = ANY($2)
        ), signed AS (
            DELETE FROM key_signatures s
            USING devices d
            WHERE d.device_nid = ANY($2)
                AND s.owner_nid = $1
                AND (s.target = d.device_id
                    OR (s.signer_nid = $1 AND s.key_id = 'ed25519:' || d.device_id))
        ), settings AS (
            -- how the device notifies, which other clients set too (MSC3890)
            DELETE FROM account_data a
            USING devices d
            WHERE d.device_nid = ANY($2)
                AND a.user_nid = $1
                AND a.room_nid = 0
                AND a.event_type IN (
                    'm.local_notification_settings.' || d.device_id,
                    'org.matrix.msc3890.local_notification_settings.' || d.device_id
                )
        )
        DELETE FROM devices
        WHERE user_nid = $1
            AND device_nid = ANY($2)
        RETURNING device_id
        "#,
        user as UserNid,
        &doomed.iter().map(|device| device.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(deleted.into_iter().map(OwnedDeviceId::from).collect())
}

/// Remembers when and where devices were seen. Later news from another process is kept.
pub async fn update_last_seen(conn: &mut PgConnection, seen: &[Seen]) -> Result<(), StoreError> {
    let devices: Vec<i64> = seen.iter().map(|seen| seen.device.0).collect();
    let times: Vec<i64> = seen.iter().map(|seen| seen.at_ms).collect();
    let ips: Vec<Option<String>> = seen.iter().map(|seen| seen.ip.clone()).collect();
    let agents: Vec<Option<String>> = seen.iter().map(|seen| seen.user_agent.clone()).collect();
    sqlx::query!(
        r#"
        UPDATE devices
        SET
            last_seen_ms = seen.at_ms,
            last_seen_ip = COALESCE(seen.ip, devices.last_seen_ip),
            last_seen_user_agent = COALESCE(seen.user_agent, devices.last_seen_user_agent)
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::TEXT[], $4::TEXT[])
            AS seen (device_nid, at_ms, ip, user_agent)
        WHERE devices.device_nid = seen.device_nid
            AND COALESCE(devices.last_seen_ms, 0) <= seen.at_ms
        "#,
        &devices,
        &times,
        &ips as &[Option<String>],
        &agents as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct Row {
    device: DeviceNid,
    device_id: String,
    display_name: Option<String>,
    last_seen_ms: Option<i64>,
    last_seen_ip: Option<String>,
    last_seen_user_agent: Option<String>,
}

impl Row {
    fn into_device(self) -> Device {
        Device {
            device: self.device,
            device_id: self.device_id.into(),
            display_name: self.display_name,
            last_seen_ms: self.last_seen_ms,
            last_seen_ip: self.last_seen_ip,
            last_seen_user_agent: self.last_seen_user_agent,
        }
    }
}
