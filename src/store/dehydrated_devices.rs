//! Dehydrated devices (MSC3814): devices without a session, which collect messages.

use ruma::OwnedDeviceId;
use sqlx::PgConnection;

use super::{DeviceNid, StoreError, UserNid, devices};

/// A dehydrated device.
#[derive(Clone, Debug)]
pub struct DehydratedDevice {
    /// The device.
    pub device: DeviceNid,
    /// Its id.
    pub device_id: OwnedDeviceId,
    /// Its private keys, encrypted by the client.
    pub device_data: String,
}

/// The dehydrated device of a user.
pub async fn find(
    conn: &mut PgConnection,
    user: UserNid,
) -> Result<Option<DehydratedDevice>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT h.device_nid AS "device: DeviceNid",
            d.device_id,
            h.device_data
        FROM dehydrated_devices h
        JOIN devices d ON d.device_nid = h.device_nid
        WHERE h.user_nid = $1
        "#,
        user as UserNid,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| DehydratedDevice {
        device: row.device,
        device_id: row.device_id.into(),
        device_data: row.device_data,
    }))
}

/// Makes a device the dehydrated one of its user. There must be none.
pub async fn insert(
    conn: &mut PgConnection,
    user: UserNid,
    device: DeviceNid,
    device_data: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO dehydrated_devices (user_nid, device_nid, device_data)
        VALUES ($1, $2, $3)
        "#,
        user as UserNid,
        device as DeviceNid,
        device_data,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes the dehydrated device of a user, with all that is its own. Gives its id.
pub async fn delete(
    conn: &mut PgConnection,
    user: UserNid,
) -> Result<Option<OwnedDeviceId>, StoreError> {
    let doomed = sqlx::query_scalar!(
        r#"
        SELECT d.device_nid AS "device: DeviceNid"
        FROM dehydrated_devices h
        JOIN devices d ON d.device_nid = h.device_nid
        WHERE h.user_nid = $1
        FOR UPDATE OF d
        "#,
        user as UserNid,
    )
    .fetch_all(&mut *conn)
    .await?;
    let deleted = devices::delete_these(conn, user, &doomed).await?;
    Ok(deleted.into_iter().next())
}
