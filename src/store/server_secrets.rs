//! Secrets that the processes of this server share.

use sqlx::PgConnection;

use super::StoreError;

/// The secret of this name; `new` becomes it if there is none yet.
pub async fn find_or_insert(
    conn: &mut PgConnection,
    name: &str,
    new: &[u8],
    now_ms: i64,
) -> Result<Vec<u8>, StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO server_secrets (
            name,
            secret,
            created_ms
        )
        VALUES ($1, $2, $3)
        ON CONFLICT (name) DO NOTHING
        "#,
        name,
        new,
        now_ms,
    )
    .execute(&mut *conn)
    .await?;
    let secret = sqlx::query_scalar!(
        r#"
        SELECT secret
        FROM server_secrets
        WHERE name = $1
        "#,
        name,
    )
    .fetch_one(conn)
    .await?;
    Ok(secret)
}
