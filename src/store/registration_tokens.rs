//! Tokens that let their holders make accounts, and nonces that were used to make one.

use sqlx::PgConnection;

use super::{StoreError, access_tokens::TokenHash};

/// A token that lets its holders make accounts.
#[derive(Clone)]
pub struct RegistrationToken {
    /// The token.
    pub token: String,
    /// How many accounts it is good for; `None`: any number.
    pub uses_allowed: Option<i64>,
    /// How many accounts were made with it.
    pub completed: i64,
    /// When it stops working, in milliseconds since the epoch; `None`: never.
    pub expires_ms: Option<i64>,
}

/// Adds a token. `false`: there is one with this text.
pub async fn insert(
    conn: &mut PgConnection,
    token: &str,
    uses_allowed: Option<i64>,
    created_ms: i64,
    expires_ms: Option<i64>,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        INSERT INTO registration_tokens (
            token,
            uses_allowed,
            created_ms,
            expires_ms
        )
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (token) DO NOTHING
        "#,
        token,
        uses_allowed,
        created_ms,
        expires_ms,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// A token, whether it still works or not.
pub async fn find(
    conn: &mut PgConnection,
    token: &str,
) -> Result<Option<RegistrationToken>, StoreError> {
    let row = sqlx::query_as!(
        RegistrationToken,
        r#"
        SELECT
            token,
            uses_allowed,
            completed,
            expires_ms
        FROM registration_tokens
        WHERE token = $1
        "#,
        token,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// How many tokens one list has at most.
const MOST: i64 = 10_000;

/// The tokens; with `is_valid`, only those that work at `now_ms`, or only the others.
pub async fn list(
    conn: &mut PgConnection,
    is_valid: Option<bool>,
    now_ms: i64,
) -> Result<Vec<RegistrationToken>, StoreError> {
    let tokens = sqlx::query_as!(
        RegistrationToken,
        r#"
        SELECT
            token,
            uses_allowed,
            completed,
            expires_ms
        FROM registration_tokens
        WHERE $1::BOOLEAN IS NULL
            OR $1 = (
                (uses_allowed IS NULL OR completed < uses_allowed)
                AND (expires_ms IS NULL OR expires_ms > $2)
            )
        ORDER BY
            created_ms,
            token
        LIMIT $3
        "#,
        is_valid,
        now_ms,
        MOST,
    )
    .fetch_all(conn)
    .await?;
    Ok(tokens)
}

/// What is changed of a token: in each the outer `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// How many accounts it is good for; `None`: any number.
    pub uses_allowed: Option<Option<i64>>,
    /// When it stops working; `None`: never.
    pub expires_ms: Option<Option<i64>>,
}

/// Changes a token, and gives it as it is then. `None`: there is no such token.
pub async fn update(
    conn: &mut PgConnection,
    token: &str,
    change: Change,
) -> Result<Option<RegistrationToken>, StoreError> {
    let row = sqlx::query_as!(
        RegistrationToken,
        r#"
        UPDATE registration_tokens
        SET
            uses_allowed = CASE WHEN $2 THEN $3::BIGINT ELSE uses_allowed END,
            expires_ms = CASE WHEN $4 THEN $5::BIGINT ELSE expires_ms END
        WHERE token = $1
        RETURNING
            token,
            uses_allowed,
            completed,
            expires_ms
        "#,
        token,
        change.uses_allowed.is_some(),
        change.uses_allowed.flatten(),
        change.expires_ms.is_some(),
        change.expires_ms.flatten(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Removes a token. `false`: there is no such token.
pub async fn delete(conn: &mut PgConnection, token: &str) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        DELETE FROM registration_tokens
        WHERE token = $1
        "#,
        token,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Counts one more account made with a token. `false`: the token does not work any more.
pub async fn use_once(
    conn: &mut PgConnection,
    token: &str,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        UPDATE registration_tokens
        SET completed = completed + 1
        WHERE token = $1
            AND (uses_allowed IS NULL OR completed < uses_allowed)
            AND (expires_ms IS NULL OR expires_ms > $2)
        "#,
        token,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Marks a nonce as used. `false`: it was used before.
pub async fn insert_nonce(
    conn: &mut PgConnection,
    nonce: TokenHash,
    expires_ms: i64,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        INSERT INTO used_nonces (
            nonce_hash,
            expires_ms
        )
        VALUES ($1, $2)
        ON CONFLICT (nonce_hash) DO NOTHING
        "#,
        nonce.as_bytes(),
        expires_ms,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Forgets the nonces that would not be good any more.
pub async fn delete_expired_nonces(conn: &mut PgConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM used_nonces
        WHERE expires_ms < $1
        "#,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}
