//! The statement of a commit of nothing but messages to devices.
//!
//! There are many of these, a few for each message in an encrypted room of people with many
//! devices, and the statements for everything else would cost more than they do.

use std::collections::HashSet;

use super::{SendWrite, batch::Batch};
use crate::store::{Conn, DeviceNid, StoreError, StreamPosition};

/// Writes the transaction ids that are new, and for those the entries and the messages. Gives the
/// position of the last entry. The batch leaves out what was sent before.
pub(super) async fn append_sends(
    conn: &mut Conn,
    batch: &mut Batch<'_>,
) -> Result<StreamPosition, StoreError> {
    let columns = Columns::new(batch);
    let row = sqlx::query!(
        r#"
        WITH send AS (
            SELECT s.device_nid, s.transaction_key, s.created_at, s.detail, s.nth
            FROM UNNEST($1::BIGINT[], $2::BYTEA[], $3::BIGINT[], $4::TEXT[]) WITH ORDINALITY
                AS s (device_nid, transaction_key, created_at, detail, nth)
        ), known AS (
            -- In the order of the keys, so that two processes with the same ones wait for each
            -- other in one direction only.
            INSERT INTO client_transactions (device_nid, transaction_key, event_id, created_at)
            SELECT s.device_nid, s.transaction_key, '', s.created_at
            FROM send s
            WHERE s.device_nid IS NOT NULL
            ORDER BY s.device_nid, s.transaction_key
            ON CONFLICT DO NOTHING
            RETURNING device_nid, transaction_key
        ), kept AS (
            SELECT s.nth, s.detail, ROW_NUMBER() OVER (ORDER BY s.nth) AS place
            FROM send s
            LEFT JOIN known k ON k.device_nid = s.device_nid
                AND k.transaction_key = s.transaction_key
            -- One without recipients has no entry.
            WHERE s.detail IS NOT NULL
                AND (s.device_nid IS NULL OR k.device_nid IS NOT NULL)
        ), counter AS (
            -- The count of what comes before makes the counter the last row to be locked.
            UPDATE stream_counter
            SET position = position + (SELECT COUNT(*) FROM kept)
            RETURNING position
        ), placed AS (
            SELECT k.nth, k.detail, c.position - (SELECT COUNT(*) FROM kept) + k.place AS position
            FROM kept k
            CROSS JOIN counter c
        ), logged AS (
            INSERT INTO stream (position, kind, detail)
            SELECT p.position, $5, p.detail
            FROM placed p
        ), sent AS (
            INSERT INTO to_device (device_nid, position, json)
            SELECT m.device_nid, p.position, m.json
            FROM UNNEST($6::BIGINT[], $7::BIGINT[], $8::TEXT[]) AS m (send, device_nid, json)
            JOIN placed p ON p.nth = m.send
        )
        SELECT c.position AS "last!: StreamPosition", -- there is one counter
            COALESCE((SELECT ARRAY_AGG(k.device_nid ORDER BY k.device_nid, k.transaction_key)
                FROM known k), '{}') AS "devices!: Vec<DeviceNid>",
            COALESCE((SELECT ARRAY_AGG(k.transaction_key ORDER BY k.device_nid, k.transaction_key)
                FROM known k), '{}') AS "keys!: Vec<Vec<u8>>",
            pg_notify('chappe_stream', c.position::TEXT)::TEXT AS notified
        FROM counter c
        "#,
        &columns.transaction_devices as &[Option<i64>],
        &columns.keys as &[Option<Vec<u8>>],
        &columns.at as &[Option<i64>],
        &columns.details as &[Option<String>],
        columns.kind,
        &columns.sends,
        &columns.devices,
        &columns.json as &[&str],
    )
    .fetch_one(conn)
    .await?;
    let keys = row
        .keys
        .into_iter()
        .map(|key| <[u8; 16]>::try_from(key).ok());
    let known = row.devices.into_iter().zip(keys);
    let known = known.filter_map(|(device, key)| Some((device, key?)));
    batch.keep_sends(&known.collect::<HashSet<(DeviceNid, [u8; 16])>>());
    Ok(row.last)
}

/// The messages, as columns.
#[derive(Default)]
struct Columns<'a> {
    transaction_devices: Vec<Option<i64>>,
    keys: Vec<Option<Vec<u8>>>,
    at: Vec<Option<i64>>,
    details: Vec<Option<String>>,
    kind: i16,
    /// For each message the number of its send, from 1.
    sends: Vec<i64>,
    devices: Vec<i64>,
    json: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn new(batch: &Batch<'a>) -> Self {
        let mut columns = Self::default();
        let mut seen = HashSet::new();
        for send in batch.sends() {
            let key = send.transaction.as_ref().map(|new| (new.device, new.key));
            // What repeats another of this batch is left out.
            if key.is_none_or(|key| seen.insert(key)) {
                columns.add(send);
            }
        }
        columns
    }

    fn add(&mut self, send: &'a SendWrite) {
        let transaction = send.transaction.as_ref();
        self.transaction_devices
            .push(transaction.map(|new| new.device.0));
        self.keys.push(transaction.map(|new| new.key.to_vec()));
        self.at.push(transaction.map(|new| new.at));
        let row = send.change().map(|change| change.to_row());
        self.kind = row.as_ref().map_or(self.kind, |row| row.kind);
        self.details.push(row.and_then(|row| row.detail));
        for (device, json) in send.recipients.iter().flat_map(|to| &to.messages) {
            self.sends.push(number(self.keys.len()));
            self.devices.push(device.0);
            self.json.push(json);
        }
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
