//! The sending of events whose time has come.
//!
//! A process takes an event by moving the time on at which it may be taken: if the process dies,
//! another takes it then. Nobody restarts or cancels an event that is taken.

use ruma::{OwnedRoomId, OwnedUserId, UserId};
use sqlx::PgConnection;

use super::{DeviceNid, StoreError, Tx, UserNid, delayed_events::room_id};

/// The advisory lock of those who take events that are due.
const TAKING: i64 = 0x6475_6500;

/// An event that this process has taken for sending.
#[derive(Clone, Debug)]
pub struct TakenEvent {
    /// The secret that names it.
    pub delay_id: String,
    /// Who sends it.
    pub user: UserNid,
    /// Who sends it.
    pub user_id: OwnedUserId,
    /// The device that asked for it.
    pub device: Option<DeviceNid>,
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its type.
    pub event_type: String,
    /// Its state key, if it is state.
    pub state_key: Option<String>,
    /// Its content.
    pub content: String,
    /// When it is due, in milliseconds since the epoch.
    pub due_ms: i64,
    /// How often it was taken, with this time.
    pub attempts: i32,
    /// Whether the account is closed.
    pub is_deactivated: bool,
    /// Whether an administrator holds the account back.
    pub is_held: bool,
}

/// Takes one event for sending, whether it is due or not. `None`: it is taken, done, or not there.
pub async fn take(
    conn: &mut PgConnection,
    delay_id: &str,
    now_ms: i64,
    lease_ends_ms: i64,
) -> Result<Option<TakenEvent>, StoreError> {
    let row = sqlx::query_as!(
        TakenRow,
        r#"
        UPDATE delayed_events
        SET
            attempts = attempts + 1,
            next_attempt_ms = $3,
            lease_ends_ms = $3
        FROM
            users,
            accounts
            LEFT JOIN account_holds ON account_holds.user_nid = accounts.user_nid,
            rooms
        WHERE delayed_events.delay_id = $1
            AND delayed_events.finalized_ms IS NULL
            AND (delayed_events.lease_ends_ms IS NULL OR delayed_events.lease_ends_ms <= $2)
            AND users.user_nid = delayed_events.user_nid
            AND accounts.user_nid = delayed_events.user_nid
            AND rooms.room_nid = delayed_events.room_nid
        RETURNING
            delayed_events.delay_id,
            delayed_events.user_nid AS "user: UserNid",
            users.user_id,
            delayed_events.device_nid AS "device: DeviceNid",
            rooms.room_id,
            delayed_events.event_type,
            delayed_events.state_key,
            delayed_events.content,
            -- a sum of columns that are never null
            delayed_events.running_since_ms + delayed_events.delay_ms AS "due_ms!",
            delayed_events.attempts,
            accounts.deactivated_ms,
            account_holds.locked_ms AS "locked_ms?", -- from a left join
            account_holds.suspended_ms AS "suspended_ms?" -- from a left join
        "#,
        delay_id,
        now_ms,
        lease_ends_ms,
    )
    .fetch_optional(conn)
    .await?;
    row.map(TakenRow::into_event).transpose()
}

/// Takes at most `limit` events that are due, in the order in which they are.
///
/// What somebody sends into a room is left alone while something else of theirs for that room is
/// taken, so that no two processes send it side by side and in another order. One process after the
/// other takes; the transaction should end at once.
pub async fn take_due(
    tx: &mut Tx,
    now_ms: i64,
    lease_ends_ms: i64,
    limit: i64,
) -> Result<Vec<TakenEvent>, StoreError> {
    // In a statement of its own: the next one must see what the last process took.
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", TAKING)
        .execute(&mut **tx)
        .await?;
    let rows = sqlx::query_as!(
        TakenRow,
        r#"
        WITH due AS MATERIALIZED (
            SELECT delay_id
            FROM delayed_events
            WHERE finalized_ms IS NULL
                AND next_attempt_ms <= $1
                AND NOT EXISTS (
                    SELECT
                    FROM delayed_events AS taken
                    WHERE taken.user_nid = delayed_events.user_nid
                        AND taken.finalized_ms IS NULL
                        AND taken.room_nid = delayed_events.room_nid
                        AND taken.lease_ends_ms > $1
                )
            ORDER BY next_attempt_ms
            LIMIT $3
            FOR UPDATE SKIP LOCKED
        )
        UPDATE delayed_events
        SET
            attempts = attempts + 1,
            next_attempt_ms = $2,
            lease_ends_ms = $2
        FROM
            due,
            users,
            accounts
            LEFT JOIN account_holds ON account_holds.user_nid = accounts.user_nid,
            rooms
        WHERE delayed_events.delay_id = due.delay_id
            AND users.user_nid = delayed_events.user_nid
            AND accounts.user_nid = delayed_events.user_nid
            AND rooms.room_nid = delayed_events.room_nid
        RETURNING
            delayed_events.delay_id,
            delayed_events.user_nid AS "user: UserNid",
            users.user_id,
            delayed_events.device_nid AS "device: DeviceNid",
            rooms.room_id,
            delayed_events.event_type,
            delayed_events.state_key,
            delayed_events.content,
            -- a sum of columns that are never null
            delayed_events.running_since_ms + delayed_events.delay_ms AS "due_ms!",
            delayed_events.attempts,
            accounts.deactivated_ms,
            account_holds.locked_ms AS "locked_ms?", -- from a left join
            account_holds.suspended_ms AS "suspended_ms?" -- from a left join
        "#,
        now_ms,
        lease_ends_ms,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    let taken: Result<Vec<_>, _> = rows.into_iter().map(TakenRow::into_event).collect();
    let mut taken = taken?;
    taken.sort_by_key(|event| event.due_ms);
    Ok(taken)
}

/// When the next event may be taken, in milliseconds since the epoch.
pub async fn next_attempt(conn: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    let next = sqlx::query_scalar!(
        r#"
        SELECT MIN(next_attempt_ms)
        FROM delayed_events
        WHERE finalized_ms IS NULL
        "#,
    )
    .fetch_one(conn)
    .await?;
    Ok(next)
}

/// What became of an event that was taken.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// It became this event.
    Sent(&'a str),
    /// It could not be sent: an error code, and words.
    Failed(&'a str, &'a str),
}

/// Notes what became of an event, unless somebody else has taken it meanwhile.
pub async fn finish(
    conn: &mut PgConnection,
    taken: &TakenEvent,
    now_ms: i64,
    outcome: Outcome<'_>,
) -> Result<(), StoreError> {
    let (event_id, errcode, error) = match outcome {
        Outcome::Sent(event_id) => (Some(event_id), None, None),
        Outcome::Failed(errcode, error) => (None, Some(errcode), Some(error)),
    };
    sqlx::query!(
        r#"
        UPDATE delayed_events
        SET
            finalized_ms = $3,
            event_id = $4,
            errcode = $5,
            error = $6,
            lease_ends_ms = NULL
        WHERE delay_id = $1
            AND attempts = $2
            AND finalized_ms IS NULL
        "#,
        taken.delay_id,
        taken.attempts,
        now_ms,
        event_id,
        errcode,
        error,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives an event back that was not sent, to be taken again at `next_attempt_ms`.
pub async fn release(
    conn: &mut PgConnection,
    taken: &TakenEvent,
    next_attempt_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE delayed_events
        SET
            next_attempt_ms = $3,
            lease_ends_ms = NULL
        WHERE delay_id = $1
            AND attempts = $2
            AND finalized_ms IS NULL
        "#,
        taken.delay_id,
        taken.attempts,
        next_attempt_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct TakenRow {
    delay_id: String,
    user: UserNid,
    user_id: String,
    device: Option<DeviceNid>,
    room_id: String,
    event_type: String,
    state_key: Option<String>,
    content: String,
    due_ms: i64,
    attempts: i32,
    deactivated_ms: Option<i64>,
    locked_ms: Option<i64>,
    suspended_ms: Option<i64>,
}

impl TakenRow {
    fn into_event(self) -> Result<TakenEvent, StoreError> {
        let user_id = UserId::parse(&self.user_id)
            .map_err(|_| StoreError::inconsistent("users", "user_id", self.user))?;
        Ok(TakenEvent {
            delay_id: self.delay_id,
            user: self.user,
            user_id,
            device: self.device,
            room_id: room_id(&self.room_id)?,
            event_type: self.event_type,
            state_key: self.state_key,
            content: self.content,
            due_ms: self.due_ms,
            attempts: self.attempts,
            is_deactivated: self.deactivated_ms.is_some(),
            is_held: self.locked_ms.is_some() || self.suspended_ms.is_some(),
        })
    }
}
