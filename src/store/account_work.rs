//! What is still to be done in the rooms of an account, a few rooms at a time.
//!
//! Whoever takes work up moves its time into the future: if that process dies, another takes it up
//! then, and goes on after the last room that is known to be done.

use ruma::{OwnedUserId, UserId};
use sqlx::PgConnection;

use super::{RoomNid, StoreError, UserNid};

/// What is to be done in a user's rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkKind {
    /// Leaving them, because the account was closed.
    LeaveRooms,
    /// Showing the new name or avatar.
    ShowProfile,
}

impl WorkKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::LeaveRooms => "leave_rooms",
            Self::ShowProfile => "show_profile",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::LeaveRooms, Self::ShowProfile]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// Work that this process has taken up.
#[derive(Clone, Debug)]
pub struct Work {
    /// Whose rooms.
    pub user: UserNid,
    /// Whose rooms.
    pub user_id: OwnedUserId,
    /// What is to be done.
    pub kind: WorkKind,
    /// Tells whether it was asked for again since.
    pub version: i64,
    /// The last room that was done in this round; 0 at its beginning.
    pub after: RoomNid,
    /// How many rooms of this round failed.
    pub failed: i64,
    /// How many rounds ended with a failure.
    pub attempts: i64,
    /// Whether the account is closed.
    pub is_deactivated: bool,
}

/// Asks for work, from the first room on. It can be taken up at `due_ms`; if somebody may be at it
/// already, when they are done, and no later than at `latest_ms`: two at once would write what one of
/// them has read before the change.
pub async fn upsert(
    conn: &mut PgConnection,
    user: UserNid,
    kind: WorkKind,
    due_ms: i64,
    latest_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO account_work (
            user_nid,
            kind,
            due_ms
        )
        VALUES ($1, $2, $3)
        ON CONFLICT (user_nid, kind) DO UPDATE
        SET
            version = account_work.version + 1,
            cursor = 0,
            failed = 0,
            attempts = 0,
            due_ms = LEAST(account_work.due_ms, $4)
        "#,
        user as UserNid,
        kind.as_str(),
        due_ms,
        latest_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes up the work that has been due for the longest time at `now_ms`, of one user or of all.
/// Nobody else takes it up before `until_ms`.
pub async fn take(
    conn: &mut PgConnection,
    user: Option<UserNid>,
    now_ms: i64,
    until_ms: i64,
) -> Result<Option<Work>, StoreError> {
    let row = sqlx::query!(
        r#"
        WITH next AS (
            SELECT
                user_nid,
                kind
            FROM account_work
            WHERE due_ms <= $2
                AND ($1::BIGINT IS NULL OR user_nid = $1)
            ORDER BY due_ms
            LIMIT 1
            FOR UPDATE SKIP LOCKED
        )
        UPDATE account_work
        SET due_ms = $3
        FROM
            next,
            users,
            accounts
        WHERE account_work.user_nid = next.user_nid
            AND account_work.kind = next.kind
            AND users.user_nid = next.user_nid
            AND accounts.user_nid = next.user_nid
        RETURNING
            account_work.user_nid AS "user: UserNid",
            users.user_id,
            account_work.kind,
            account_work.version,
            account_work.cursor AS "after: RoomNid",
            account_work.failed,
            account_work.attempts,
            accounts.deactivated_ms
        "#,
        user as Option<UserNid>,
        now_ms,
        until_ms,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let inconsistent = |column| StoreError::inconsistent("account_work", column, row.user);
    Ok(Some(Work {
        user_id: UserId::parse(&row.user_id).map_err(|_| inconsistent("user_nid"))?,
        kind: WorkKind::parse(&row.kind).ok_or_else(|| inconsistent("kind"))?,
        user: row.user,
        version: row.version,
        after: row.after,
        failed: row.failed,
        attempts: row.attempts,
        is_deactivated: row.deactivated_ms.is_some(),
    }))
}

/// Where a piece of work stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The last room that was done.
    pub after: RoomNid,
    /// How many rooms of this round failed.
    pub failed: i64,
    /// How many rounds ended with a failure.
    pub attempts: i64,
    /// When the rest may be taken up.
    pub due_ms: i64,
}

/// Notes where the work stands, unless it was asked for again meanwhile: then it begins anew, at
/// once.
pub async fn update(
    conn: &mut PgConnection,
    work: &Work,
    progress: Progress,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE account_work
        SET
            cursor = CASE WHEN version = $3 THEN $4 ELSE cursor END,
            failed = CASE WHEN version = $3 THEN $5 ELSE failed END,
            attempts = CASE WHEN version = $3 THEN $6 ELSE attempts END,
            due_ms = CASE WHEN version = $3 THEN $7::BIGINT ELSE 0 END
        WHERE user_nid = $1
            AND kind = $2
        "#,
        work.user as UserNid,
        work.kind.as_str(),
        work.version,
        progress.after as RoomNid,
        progress.failed,
        progress.attempts,
        progress.due_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Strikes work off. `false`: it was asked for again meanwhile, and stays.
pub async fn delete_done(conn: &mut PgConnection, work: &Work) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        DELETE FROM account_work
        WHERE user_nid = $1
            AND kind = $2
            AND version = $3
        "#,
        work.user as UserNid,
        work.kind.as_str(),
        work.version,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Strikes work off that is no longer wanted.
pub async fn delete(
    conn: &mut PgConnection,
    user: UserNid,
    kind: WorkKind,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM account_work
        WHERE user_nid = $1
            AND kind = $2
        "#,
        user as UserNid,
        kind.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
