//! What the antivirus said of contents, for all processes.

use sqlx::PgConnection;

use super::StoreError;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is free of viruses.
    pub is_clean: bool,
    /// The type that its decrypted bytes tell.
    pub mime_type: String,
}

/// A verdict that still counts at `now_ms`.
pub async fn find(
    conn: &mut PgConnection,
    content_hash: &[u8],
    now_ms: i64,
) -> Result<Option<Verdict>, StoreError> {
    let verdict = sqlx::query_as!(
        Verdict,
        r#"
        SELECT is_clean,
            mime_type
        FROM media_verdicts
        WHERE content_hash = $1
            AND expires_ms > $2
        "#,
        content_hash,
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(verdict)
}

/// Remembers a verdict.
pub async fn upsert(
    conn: &mut PgConnection,
    content_hash: &[u8],
    verdict: &Verdict,
    expires_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO media_verdicts (
            content_hash,
            is_clean,
            mime_type,
            expires_ms
        )
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (content_hash) DO UPDATE
        SET is_clean = EXCLUDED.is_clean,
            mime_type = EXCLUDED.mime_type,
            expires_ms = EXCLUDED.expires_ms
        "#,
        content_hash,
        verdict.is_clean,
        verdict.mime_type,
        expires_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets verdicts that count no more.
pub async fn delete_expired(conn: &mut PgConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM media_verdicts
        WHERE expires_ms <= $1
        "#,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}
