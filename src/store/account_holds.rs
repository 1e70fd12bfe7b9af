//! Accounts that an administrator holds back.

use sqlx::PgConnection;

use super::{StoreError, UserNid};

/// What holds an account back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// It can do nothing but log out.
    pub is_locked: bool,
    /// It can read, and not write.
    pub is_suspended: bool,
}

/// What holds an account back.
pub async fn find(conn: &mut PgConnection, user: UserNid) -> Result<Holds, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            locked_ms,
            suspended_ms
        FROM account_holds
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map_or_else(Holds::default, |row| Holds {
        is_locked: row.locked_ms.is_some(),
        is_suspended: row.suspended_ms.is_some(),
    }))
}

/// Locks an account, or unlocks it. Since when a locked one is locked does not change.
pub async fn update_locked(
    conn: &mut PgConnection,
    user: UserNid,
    is_locked: bool,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO account_holds (
            user_nid,
            locked_ms
        )
        VALUES ($1, CASE WHEN $2 THEN $3::BIGINT END)
        ON CONFLICT (user_nid) DO UPDATE
        SET locked_ms = CASE
            WHEN $2 THEN COALESCE(account_holds.locked_ms, EXCLUDED.locked_ms)
        END
        "#,
        user as UserNid,
        is_locked,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Suspends an account, or ends that. Since when a suspended one is suspended does not change.
pub async fn update_suspended(
    conn: &mut PgConnection,
    user: UserNid,
    is_suspended: bool,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO account_holds (
            user_nid,
            suspended_ms
        )
        VALUES ($1, CASE WHEN $2 THEN $3::BIGINT END)
        ON CONFLICT (user_nid) DO UPDATE
        SET suspended_ms = CASE
            WHEN $2 THEN COALESCE(account_holds.suspended_ms, EXCLUDED.suspended_ms)
        END
        "#,
        user as UserNid,
        is_suspended,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}
