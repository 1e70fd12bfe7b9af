//! Events that are sent later, and for a while what became of them.
//!
//! Nobody restarts or cancels an event while a process is sending it: see
//! [`delayed_sending`](super::delayed_sending).

use ruma::{OwnedRoomId, RoomId};
use sqlx::PgConnection;

use super::{DeviceNid, RoomNid, StoreError, UserNid};

/// How many of a user's events that are done are remembered.
const REMEMBERED: i64 = 100;

/// An event to be sent later.
#[derive(Clone, Copy, Debug)]
pub struct NewDelayedEvent<'a> {
    /// The secret that names it.
    pub delay_id: &'a str,
    /// Who sends it.
    pub user: UserNid,
    /// The device that asks for it.
    pub device: Option<DeviceNid>,
    /// What its transaction id stands for, if it has one.
    pub transaction_key: Option<[u8; 16]>,
    /// The room.
    pub room: RoomNid,
    /// Its type.
    pub event_type: &'a str,
    /// Its state key, if it is state.
    pub state_key: Option<&'a str>,
    /// Its content.
    pub content: &'a str,
    /// How long to wait, in milliseconds.
    pub delay_ms: i64,
    /// Now, in milliseconds since the epoch.
    pub now_ms: i64,
    /// How many the user may have at once.
    pub most: i64,
}

/// An event that is or was to be sent later, as its sender sees it.
#[derive(Clone, Debug)]
pub struct DelayedEvent {
    /// The secret that names it.
    pub delay_id: String,
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its type.
    pub event_type: String,
    /// Its state key, if it is state.
    pub state_key: Option<String>,
    /// Its content.
    pub content: String,
    /// How long it waits, in milliseconds.
    pub delay_ms: i64,
    /// Since when, in milliseconds since the epoch.
    pub running_since_ms: i64,
    /// When it was sent, canceled or given up; `None`: it is still to be sent.
    pub finalized_ms: Option<i64>,
    /// The event that it became.
    pub event_id: Option<String>,
    /// Why it could not be sent: an error code, and words.
    pub error: Option<(String, String)>,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is still to be sent.
    Scheduled,
    /// Somebody is sending it just now.
    UnderWay,
    /// It was sent.
    Sent,
    /// It was canceled, or could not be sent.
    Canceled,
}

/// Adds an event, and forgets the oldest of the user's that are done. `false`: the user has too
/// many already, or the transaction id was used before.
pub async fn insert(
    conn: &mut PgConnection,
    new: &NewDelayedEvent<'_>,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        WITH forgotten AS (
            DELETE FROM delayed_events
            WHERE delay_id IN (
                SELECT delay_id
                FROM delayed_events
                WHERE user_nid = $2
                    AND finalized_ms IS NOT NULL
                ORDER BY finalized_ms DESC
                OFFSET $12::BIGINT
            )
        )
        INSERT INTO delayed_events (
            delay_id,
            user_nid,
            device_nid,
            transaction_key,
            room_nid,
            event_type,
            state_key,
            content,
            delay_ms,
            running_since_ms,
            next_attempt_ms
        )
        SELECT
            $1::TEXT,
            $2::BIGINT,
            $3::BIGINT,
            $4::BYTEA,
            $5::BIGINT,
            $6::TEXT,
            $7::TEXT,
            $8::TEXT,
            $9::BIGINT,
            $10::BIGINT,
            $10::BIGINT + $9::BIGINT
        WHERE (
            SELECT COUNT(*)
            FROM delayed_events
            WHERE user_nid = $2
                AND finalized_ms IS NULL
        ) < $11::BIGINT
        ON CONFLICT DO NOTHING
        "#,
        new.delay_id,
        new.user as UserNid,
        new.device as Option<DeviceNid>,
        new.transaction_key.as_ref().map(<[u8; 16]>::as_slice),
        new.room as RoomNid,
        new.event_type,
        new.state_key,
        new.content,
        new.delay_ms,
        new.now_ms,
        new.most,
        REMEMBERED,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// The event that a transaction id stands for.
pub async fn find_by_transaction(
    conn: &mut PgConnection,
    device: DeviceNid,
    key: &[u8; 16],
) -> Result<Option<String>, StoreError> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT delay_id
        FROM delayed_events
        WHERE device_nid = $1
            AND transaction_key = $2
        "#,
        device as DeviceNid,
        key.as_slice(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(found)
}

/// The events that a user has still to send, in the order in which they are due.
pub async fn list_scheduled(
    conn: &mut PgConnection,
    user: UserNid,
) -> Result<Vec<DelayedEvent>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT
            delayed_events.delay_id,
            rooms.room_id,
            delayed_events.event_type,
            delayed_events.state_key,
            delayed_events.content,
            delayed_events.delay_ms,
            delayed_events.running_since_ms,
            delayed_events.finalized_ms,
            delayed_events.event_id,
            delayed_events.errcode,
            delayed_events.error
        FROM delayed_events
        JOIN rooms ON rooms.room_nid = delayed_events.room_nid
        WHERE delayed_events.user_nid = $1
            AND delayed_events.finalized_ms IS NULL
        ORDER BY delayed_events.running_since_ms + delayed_events.delay_ms
        "#,
        user as UserNid,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::into_event).collect()
}

/// One event of a user, whether it is still to be sent or not.
pub async fn find(
    conn: &mut PgConnection,
    user: UserNid,
    delay_id: &str,
) -> Result<Option<DelayedEvent>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT
            delayed_events.delay_id,
            rooms.room_id,
            delayed_events.event_type,
            delayed_events.state_key,
            delayed_events.content,
            delayed_events.delay_ms,
            delayed_events.running_since_ms,
            delayed_events.finalized_ms,
            delayed_events.event_id,
            delayed_events.errcode,
            delayed_events.error
        FROM delayed_events
        JOIN rooms ON rooms.room_nid = delayed_events.room_nid
        WHERE delayed_events.user_nid = $1
            AND delayed_events.delay_id = $2
        "#,
        user as UserNid,
        delay_id,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::into_event).transpose()
}

/// When the first of a user's events is due.
pub async fn first_due_of(
    conn: &mut PgConnection,
    user: UserNid,
) -> Result<Option<i64>, StoreError> {
    let due = sqlx::query_scalar!(
        r#"
        SELECT MIN(running_since_ms + delay_ms)
        FROM delayed_events
        WHERE user_nid = $1
            AND finalized_ms IS NULL
        "#,
        user as UserNid,
    )
    .fetch_one(conn)
    .await?;
    Ok(due)
}

/// Where an event stands at `now_ms`; `None`: there is none.
pub async fn standing(
    conn: &mut PgConnection,
    delay_id: &str,
    now_ms: i64,
) -> Result<Option<Standing>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            finalized_ms,
            event_id,
            lease_ends_ms
        FROM delayed_events
        WHERE delay_id = $1
        "#,
        delay_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| match (row.finalized_ms, row.event_id) {
        (Some(_), Some(_)) => Standing::Sent,
        (Some(_), None) => Standing::Canceled,
        (None, _) if row.lease_ends_ms.is_some_and(|end| end > now_ms) => Standing::UnderWay,
        (None, _) => Standing::Scheduled,
    }))
}

/// Lets an event wait anew. Gives when it is due then; `None`: it is taken, done, or not there.
pub async fn restart(
    conn: &mut PgConnection,
    delay_id: &str,
    now_ms: i64,
) -> Result<Option<i64>, StoreError> {
    let due = sqlx::query_scalar!(
        r#"
        UPDATE delayed_events
        SET
            running_since_ms = $2,
            next_attempt_ms = $2::BIGINT + delay_ms,
            lease_ends_ms = NULL
        WHERE delay_id = $1
            AND finalized_ms IS NULL
            AND (lease_ends_ms IS NULL OR lease_ends_ms <= $2)
        RETURNING next_attempt_ms
        "#,
        delay_id,
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(due)
}

/// Cancels an event. `false`: it is taken, done, or not there.
pub async fn cancel(
    conn: &mut PgConnection,
    delay_id: &str,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        UPDATE delayed_events
        SET finalized_ms = $2
        WHERE delay_id = $1
            AND finalized_ms IS NULL
            AND (lease_ends_ms IS NULL OR lease_ends_ms <= $2)
        "#,
        delay_id,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Cancels all that a user has still to send.
pub async fn cancel_all(
    conn: &mut PgConnection,
    user: UserNid,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE delayed_events
        SET finalized_ms = $2
        WHERE user_nid = $1
            AND finalized_ms IS NULL
        "#,
        user as UserNid,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets at most `limit` events that were done before `before_ms`, and says how many.
pub async fn delete_old(
    conn: &mut PgConnection,
    before_ms: i64,
    limit: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM delayed_events
        WHERE delay_id IN (
            SELECT delay_id
            FROM delayed_events
            WHERE finalized_ms < $1
            LIMIT $2
        )
        "#,
        before_ms,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

struct Row {
    delay_id: String,
    room_id: String,
    event_type: String,
    state_key: Option<String>,
    content: String,
    delay_ms: i64,
    running_since_ms: i64,
    finalized_ms: Option<i64>,
    event_id: Option<String>,
    errcode: Option<String>,
    error: Option<String>,
}

impl Row {
    fn into_event(self) -> Result<DelayedEvent, StoreError> {
        Ok(DelayedEvent {
            delay_id: self.delay_id,
            room_id: room_id(&self.room_id)?,
            event_type: self.event_type,
            state_key: self.state_key,
            content: self.content,
            delay_ms: self.delay_ms,
            running_since_ms: self.running_since_ms,
            finalized_ms: self.finalized_ms,
            event_id: self.event_id,
            error: self.errcode.zip(self.error),
        })
    }
}

pub(super) fn room_id(text: &str) -> Result<OwnedRoomId, StoreError> {
    RoomId::parse(text).map_err(|_| StoreError::inconsistent("rooms", "room_id", text))
}
