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
            SELECT s.device_nid, s.transaction_key, s.created_at, s.nth
            FROM UNNEST($1::BIGINT[], $2::BYTEA[], $3::BIGINT[]) WITH ORDINALITY
                AS s (device_nid, transaction_key, created_at, nth)
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
        ), recipient AS (
            SELECT r.user_nid, r.detail, r.at, ROW_NUMBER() OVER (ORDER BY r.at) AS nth
            FROM UNNEST($4::BIGINT[], $5::BIGINT[], $6::TEXT[]) WITH ORDINALITY
                AS r (send, user_nid, detail, at)
            WHERE r.send IN (
                SELECT s.nth
                FROM send s
                LEFT JOIN known k ON k.device_nid = s.device_nid
                    AND k.transaction_key = s.transaction_key
                WHERE s.device_nid IS NULL
                    OR k.device_nid IS NOT NULL
            )
        ), counter AS (
            -- The count of what comes before makes the counter the last row to be locked.
            UPDATE stream_counter
            SET position = position + (SELECT COUNT(*) FROM recipient)
            RETURNING position
        ), placed AS (
            SELECT r.user_nid, r.detail, r.at,
                c.position - (SELECT COUNT(*) FROM recipient) + r.nth AS position
            FROM recipient r
            CROSS JOIN counter c
        ), logged AS (
            INSERT INTO stream (position, kind, user_nid, detail)
            SELECT p.position, $7, p.user_nid, p.detail
            FROM placed p
        ), sent AS (
            INSERT INTO to_device (device_nid, position, json)
            SELECT m.device_nid, p.position, m.json
            FROM UNNEST($8::BIGINT[], $9::BIGINT[], $10::TEXT[]) AS m (recipient, device_nid, json)
            JOIN placed p ON p.at = m.recipient
            -- A device may have been deleted since it was looked for.
            JOIN devices d ON d.device_nid = m.device_nid
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
        &columns.sends,
        &columns.users,
        &columns.details as &[Option<String>],
        columns.kind,
        &columns.recipients,
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
    /// For each recipient the number of its send, from 1.
    sends: Vec<i64>,
    users: Vec<i64>,
    details: Vec<Option<String>>,
    kind: i16,
    /// For each message the number of its recipient, from 1.
    recipients: Vec<i64>,
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
        for to in &send.recipients {
            let row = to.change().to_row();
            self.kind = row.kind;
            self.sends.push(number(self.keys.len()));
            self.users.push(to.user.0);
            self.details.push(row.detail);
            for (device, json) in &to.messages {
                self.recipients.push(number(self.users.len()));
                self.devices.push(device.0);
                self.json.push(json);
            }
        }
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
