//! The public halves of the keys that sign for this server.

use sqlx::PgConnection;

use super::StoreError;

/// The public half of a key, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The name, such as `ed25519:a_key`.
    pub key_id: String,
    /// The public half, in unpadded base64.
    pub public_key: String,
}

/// The constraint that a name breaks which another key had.
pub const KEY_ID_UNIQUE: &str = "signing_keys_pkey";

/// The current key; `new` becomes it if there was none yet.
pub async fn find_or_insert(
    conn: &mut PgConnection,
    new: &PublicKey,
    now_ms: i64,
) -> Result<PublicKey, StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO signing_keys (key_id, public_key, since_ms)
        SELECT $1, $2, $3
        WHERE NOT EXISTS (SELECT FROM signing_keys WHERE retired_ms IS NULL)
        ON CONFLICT DO NOTHING
        "#,
        new.key_id,
        new.public_key,
        now_ms,
    )
    .execute(&mut *conn)
    .await?;
    let current = sqlx::query_as!(
        PublicKey,
        r#"
        SELECT key_id,
            public_key
        FROM signing_keys
        WHERE retired_ms IS NULL
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(current)
}

/// Puts `new` in the place of the current key. A name that another key had breaks
/// [`KEY_ID_UNIQUE`]. To be called in a transaction.
pub async fn replace(
    conn: &mut PgConnection,
    new: &PublicKey,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE signing_keys
        SET retired_ms = $1
        WHERE retired_ms IS NULL
        "#,
        now_ms,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO signing_keys (key_id, public_key, since_ms)
        VALUES ($1, $2, $3)
        "#,
        new.key_id,
        new.public_key,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}
