//! What clients' transaction ids stand for.

use ruma::{EventId, OwnedEventId, RoomId};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::{DeviceNid, StoreError};

/// The constraint that a repeated transaction id breaks.
pub const UNIQUE: &str = "client_transactions_pkey";

/// What a transaction id is unique for, digested: room and event type, as the same id may be used
/// on another path (client-server API v1.19, "Transaction identifiers").
pub fn key(room_id: &RoomId, event_type: &str, transaction_id: &str) -> [u8; 16] {
    let mut digest = Sha256::new();
    for part in [room_id.as_str(), event_type, transaction_id] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let digest = digest.finalize();
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(digest) {
        *to = from;
    }
    key
}

/// The event that a transaction id made.
pub async fn find(
    conn: &mut PgConnection,
    device: DeviceNid,
    key: &[u8; 16],
) -> Result<Option<OwnedEventId>, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        SELECT event_id
        FROM client_transactions
        WHERE device_nid = $1
            AND transaction_key = $2
        "#,
        device as DeviceNid,
        key.as_slice(),
    )
    .fetch_optional(conn)
    .await?;
    id.map(|id| {
        EventId::parse(&id)
            .map_err(|_| StoreError::inconsistent("client_transactions", "event_id", device))
    })
    .transpose()
}

/// Forgets at most `limit` transactions older than `before`, and says how many.
pub async fn delete_old(
    conn: &mut PgConnection,
    before: i64,
    limit: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM client_transactions
        WHERE ctid = ANY(ARRAY(
            SELECT ctid
            FROM client_transactions
            WHERE created_at < $1
            LIMIT $2
        ))
        "#,
        before,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
