//! Tokens with which a user who has a session logs in another client.

use sqlx::PgConnection;

use super::{StoreError, UserNid, access_tokens::TokenHash};

/// Keeps a token.
pub async fn insert(
    conn: &mut PgConnection,
    token: TokenHash,
    user: UserNid,
    expires_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO login_tokens (
            token_hash,
            user_nid,
            expires_ms
        )
        VALUES ($1, $2, $3)
        "#,
        token.as_bytes(),
        user as UserNid,
        expires_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Uses a token up, and says whose it was. `None`: nobody has it, or it stopped working before
/// `now_ms`.
pub async fn take(
    conn: &mut PgConnection,
    token: TokenHash,
    now_ms: i64,
) -> Result<Option<UserNid>, StoreError> {
    let user = sqlx::query_scalar!(
        r#"
        DELETE FROM login_tokens
        WHERE token_hash = $1
            AND expires_ms > $2
        RETURNING user_nid AS "user: UserNid"
        "#,
        token.as_bytes(),
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(user)
}

/// Forgets the tokens of a user.
pub async fn delete_all(conn: &mut PgConnection, user: UserNid) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM login_tokens
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the tokens that have stopped working.
pub async fn delete_expired(conn: &mut PgConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM login_tokens
        WHERE expires_ms <= $1
        "#,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}
