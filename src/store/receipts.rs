//! Read receipts.

use ruma::{EventId, OwnedEventId, OwnedUserId, UserId};
use sqlx::PgConnection;

use super::{RoomNid, StoreError, UserNid};

/// The newest receipt of a user, type and thread.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The room.
    pub room: RoomNid,
    /// Who has read.
    pub user: UserNid,
    /// The same.
    pub user_id: OwnedUserId,
    /// Whether nobody else may see it.
    pub private: bool,
    /// The thread, `main`, or empty.
    pub thread: String,
    /// What was read.
    pub event_id: OwnedEventId,
    /// When, in milliseconds.
    pub at: i64,
}

struct ReceiptRow {
    room: RoomNid,
    user: UserNid,
    user_id: String,
    receipt_type: i16,
    thread_id: String,
    event_id: String,
    received_at: i64,
}

impl ReceiptRow {
    fn into_receipt(self) -> Result<Receipt, StoreError> {
        let inconsistent = |column| StoreError::inconsistent("receipts", column, self.user);
        Ok(Receipt {
            room: self.room,
            user: self.user,
            user_id: UserId::parse(&self.user_id).map_err(|_| inconsistent("user_nid"))?,
            private: self.receipt_type == 2,
            event_id: EventId::parse(&self.event_id).map_err(|_| inconsistent("event_id"))?,
            thread: self.thread_id,
            at: self.received_at,
        })
    }
}

/// The receipts of these rooms that `reader` may see: all public ones, and the reader's own. Where
/// `of` is given, only those of these (room, user) pairs.
pub async fn list(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
    reader: UserNid,
    of: Option<&[(RoomNid, UserNid)]>,
) -> Result<Vec<Receipt>, StoreError> {
    let of_rooms: Vec<_> = of
        .unwrap_or_default()
        .iter()
        .map(|(room, _)| room.0)
        .collect();
    let of_users: Vec<_> = of
        .unwrap_or_default()
        .iter()
        .map(|(_, user)| user.0)
        .collect();
    let rows = sqlx::query_as!(
        ReceiptRow,
        r#"
        SELECT c.room_nid AS "room: RoomNid",
            c.user_nid AS "user: UserNid",
            u.user_id,
            c.receipt_type,
            c.thread_id,
            c.event_id,
            c.received_at
        FROM receipts c
        JOIN users u ON u.user_nid = c.user_nid
        WHERE c.room_nid = ANY($1)
            AND (c.receipt_type = 1 OR c.user_nid = $2)
            AND (
                NOT $3
                OR (c.room_nid, c.user_nid) IN (
                    SELECT q.room_nid, q.user_nid
                    FROM UNNEST($4::BIGINT[], $5::BIGINT[]) AS q (room_nid, user_nid)
                )
            )
        "#,
        &rooms.iter().map(|room| room.0).collect::<Vec<_>>(),
        reader as UserNid,
        of.is_some(),
        &of_rooms,
        &of_users,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ReceiptRow::into_receipt).collect()
}

/// The receipts of these rooms that `reader` has left, and what others may see of who has read
/// these events.
pub async fn list_of_events(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
    reader: UserNid,
    event_ids: &[&str],
) -> Result<Vec<Receipt>, StoreError> {
    let rows = sqlx::query_as!(
        ReceiptRow,
        r#"
        SELECT c.room_nid AS "room: RoomNid",
            c.user_nid AS "user: UserNid",
            u.user_id,
            c.receipt_type,
            c.thread_id,
            c.event_id,
            c.received_at
        FROM receipts c
        JOIN users u ON u.user_nid = c.user_nid
        WHERE c.room_nid = ANY($1)
            AND (
                c.user_nid = $2
                OR (c.receipt_type = 1 AND c.event_id = ANY($3))
            )
        "#,
        &rooms.iter().map(|room| room.0).collect::<Vec<_>>(),
        reader as UserNid,
        event_ids as &[&str],
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ReceiptRow::into_receipt).collect()
}

/// How far a user has read with receipts of one type and thread.
pub async fn find_position(
    conn: &mut PgConnection,
    room: RoomNid,
    user: UserNid,
    private: bool,
    thread: &str,
) -> Result<Option<i64>, StoreError> {
    let position = sqlx::query_scalar!(
        r#"
        SELECT position
        FROM receipts
        WHERE room_nid = $1
            AND user_nid = $2
            AND receipt_type = $3
            AND thread_id = $4
        "#,
        room as RoomNid,
        user as UserNid,
        if private { 2_i16 } else { 1 },
        thread,
    )
    .fetch_optional(conn)
    .await?;
    Ok(position)
}
