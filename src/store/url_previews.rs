//! What web pages said of themselves, for all processes.

use sqlx::PgConnection;

use super::StoreError;

/// A preview that still counts at `now_ms`, as JSON.
pub async fn find(
    conn: &mut PgConnection,
    url_hash: &[u8],
    now_ms: i64,
) -> Result<Option<String>, StoreError> {
    let preview = sqlx::query_scalar!(
        r#"
        SELECT preview
        FROM url_previews
        WHERE url_hash = $1
            AND expires_ms > $2
        ORDER BY expires_ms DESC
        LIMIT 1
        "#,
        url_hash,
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(preview)
}

/// Remembers a preview and its picture.
pub async fn insert(
    conn: &mut PgConnection,
    url_hash: &[u8],
    preview: &str,
    media_id: Option<&str>,
    expires_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO url_previews (
            url_hash,
            preview,
            media_id,
            expires_ms
        )
        VALUES ($1, $2, $3, $4)
        "#,
        url_hash,
        preview,
        media_id,
        expires_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets up to `limit` previews that ended before a moment. Gives how many, and their pictures.
pub async fn delete_old(
    conn: &mut PgConnection,
    before_ms: i64,
    limit: i64,
) -> Result<(usize, Vec<String>), StoreError> {
    let media = sqlx::query_scalar!(
        r#"
        DELETE FROM url_previews
        WHERE preview_nid IN (
            SELECT preview_nid
            FROM url_previews
            WHERE expires_ms < $1
            ORDER BY expires_ms
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        )
        RETURNING media_id
        "#,
        before_ms,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let count = media.len();
    Ok((count, media.into_iter().flatten().collect()))
}
