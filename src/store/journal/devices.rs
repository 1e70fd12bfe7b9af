//! The statements of a commit for device lists and messages to devices.

use std::collections::{BTreeMap, HashSet};

use super::batch::Batch;
use crate::store::{
    Conn, DeviceNid, StoreError, StreamPosition,
    live::{Change, Entry},
};

/// The transaction ids of messages to devices. The batch leaves those out that were used before.
pub(super) async fn insert_transactions(
    conn: &mut Conn,
    batch: &mut Batch<'_>,
) -> Result<(), StoreError> {
    let rows: BTreeMap<_, _> = batch
        .sends()
        .filter_map(|send| send.transaction.as_ref())
        .map(|transaction| ((transaction.device.0, transaction.key), transaction.at))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    // In the order of the keys, so that two processes with the same ones wait for each other in
    // one direction only.
    let new = sqlx::query!(
        r#"
        INSERT INTO client_transactions (device_nid, transaction_key, event_id, created_at)
        SELECT n.device_nid, n.transaction_key, '', n.created_at
        FROM UNNEST($1::BIGINT[], $2::BYTEA[], $3::BIGINT[])
            AS n (device_nid, transaction_key, created_at)
        ON CONFLICT DO NOTHING
        RETURNING device_nid AS "device: DeviceNid", transaction_key
        "#,
        &rows.keys().map(|key| key.0).collect::<Vec<_>>(),
        &rows.keys().map(|key| key.1.to_vec()).collect::<Vec<_>>(),
        &rows.values().copied().collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    let new = new.into_iter().filter_map(|row| {
        let key = row.transaction_key.try_into().ok()?;
        Some((row.device, key))
    });
    batch.keep_sends(&new.collect::<HashSet<(DeviceNid, [u8; 16])>>());
    Ok(())
}

/// What is written once the positions are known: the messages, and when device lists changed. The
/// work that asked for the entries is done with that.
pub(super) async fn insert_at_positions(
    conn: &mut Conn,
    batch: &Batch<'_>,
    last: StreamPosition,
) -> Result<(), StoreError> {
    if !batch.concerns_devices() {
        return Ok(());
    }
    let entries = batch.entries(last);
    insert_messages(conn, batch, &entries).await?;
    upsert_changes(conn, &entries).await
}

async fn insert_messages(
    conn: &mut Conn,
    batch: &Batch<'_>,
    entries: &[Entry],
) -> Result<(), StoreError> {
    let positions = entries.iter().filter_map(|entry| match entry.change {
        Change::ToDevice { .. } => Some(entry.position.0),
        _ => None,
    });
    // Those without recipients have no entries.
    let sends = batch.sends().filter(|send| send.has_messages());
    let (mut devices, mut at, mut json) = (Vec::new(), Vec::new(), Vec::new());
    for (position, send) in positions.zip(sends) {
        for (device, text) in send.recipients.iter().flat_map(|to| &to.messages) {
            devices.push(device.0);
            at.push(position);
            json.push(&**text);
        }
    }
    if devices.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO to_device (device_nid, position, json)
        SELECT n.device_nid, n.position, n.json
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::TEXT[]) AS n (device_nid, position, json)
        "#,
        &devices,
        &at,
        &json as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn upsert_changes(conn: &mut Conn, entries: &[Entry]) -> Result<(), StoreError> {
    let newest: BTreeMap<_, _> = entries
        .iter()
        .filter_map(|entry| match &entry.change {
            Change::DeviceList { user, viewer, .. } => {
                let viewer = viewer.map_or(0, |viewer| viewer.0);
                Some(((user.0, viewer), entry.position.0))
            }
            _ => None,
        })
        .collect();
    if newest.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO device_list_changes (user_nid, viewer_nid, position)
        SELECT n.user_nid, n.viewer_nid, n.position
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[]) AS n (user_nid, viewer_nid, position)
        ON CONFLICT (user_nid, viewer_nid) DO UPDATE
        SET position = EXCLUDED.position
        "#,
        &newest.keys().map(|key| key.0).collect::<Vec<_>>(),
        &newest.keys().map(|key| key.1).collect::<Vec<_>>(),
        &newest.values().copied().collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the work that asked for the batch's changes of device lists. Before the counter is taken:
/// whoever changes a device list while this is under way waits for it, and asks anew.
pub(super) async fn delete_work(conn: &mut Conn, batch: &Batch<'_>) -> Result<(), StoreError> {
    let users: Vec<i64> = batch
        .writes()
        .flat_map(|write| &write.device_lists)
        .filter(|list| list.viewer.is_none())
        .map(|list| list.user.0)
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        DELETE FROM device_list_work
        WHERE user_nid IN (
            SELECT user_nid
            FROM device_list_work
            WHERE user_nid = ANY($1)
            -- Somebody else who has a row locked writes an entry as well.
            FOR UPDATE SKIP LOCKED
        )
        "#,
        &users,
    )
    .execute(conn)
    .await?;
    Ok(())
}
