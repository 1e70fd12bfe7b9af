//! What jobs do with media: objects that belong to nothing, ids that nobody used, media that nobody
//! downloads; and thumbnails.

use sqlx::PgConnection;

use super::{StoreError, media::settle_object};

/// A thumbnail that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Thumbnail {
    /// Its type.
    pub content_type: String,
    /// How many bytes it has.
    pub size: i64,
    /// Where they are.
    pub object_key: String,
}

/// What a thumbnail was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThumbnailKey {
    /// The image.
    pub file: i64,
    /// The width asked for.
    pub width: i32,
    /// The height asked for.
    pub height: i32,
    /// `crop` or `scale`.
    pub method: &'static str,
    /// Whether it may move.
    pub is_animated: bool,
}

/// A thumbnail, if it was made.
pub async fn find_thumbnail(
    conn: &mut PgConnection,
    key: ThumbnailKey,
) -> Result<Option<Thumbnail>, StoreError> {
    let thumbnail = sqlx::query_as!(
        Thumbnail,
        r#"
        SELECT content_type,
            size,
            object_key
        FROM media_thumbnails
        WHERE file_nid = $1
            AND width = $2
            AND height = $3
            AND method = $4
            AND is_animated = $5
        "#,
        key.file,
        key.width,
        key.height,
        key.method,
        key.is_animated,
    )
    .fetch_optional(conn)
    .await?;
    Ok(thumbnail)
}

/// Keeps a thumbnail, unless the image has `most` already or is gone. In a transaction.
pub async fn insert_thumbnail(
    conn: &mut PgConnection,
    key: ThumbnailKey,
    thumbnail: &Thumbnail,
    most: i64,
    now_ms: i64,
) -> Result<(), StoreError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO media_thumbnails (
            file_nid,
            width,
            height,
            method,
            is_animated,
            content_type,
            size,
            object_key
        )
        SELECT f.file_nid,
            $2,
            $3,
            $4,
            $5,
            $6,
            $7,
            $8
        FROM media_files f
        WHERE f.file_nid = $1
            AND (SELECT COUNT(*) FROM media_thumbnails t WHERE t.file_nid = $1) < $9
        FOR KEY SHARE OF f
        ON CONFLICT DO NOTHING
        "#,
        key.file,
        key.width,
        key.height,
        key.method,
        key.is_animated,
        thumbnail.content_type,
        thumbnail.size,
        thumbnail.object_key,
        most,
    )
    .execute(&mut *conn)
    .await?;
    let is_kept = done.rows_affected() > 0;
    settle_object(conn, &thumbnail.object_key, is_kept, now_ms).await
}

/// Takes up to `limit` objects that are to be deleted; nobody else takes them before `until_ms`.
pub async fn take_objects(
    conn: &mut PgConnection,
    now_ms: i64,
    until_ms: i64,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let keys = sqlx::query_scalar!(
        r#"
        UPDATE media_objects o
        SET due_ms = $2
        FROM (
            SELECT object_key
            FROM media_objects
            WHERE due_ms <= $1
            ORDER BY due_ms
            LIMIT $3
            FOR UPDATE SKIP LOCKED
        ) due
        WHERE o.object_key = due.object_key
        RETURNING o.object_key
        "#,
        now_ms,
        until_ms,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(keys)
}

/// Forgets objects that were deleted.
pub async fn delete_objects(conn: &mut PgConnection, keys: &[String]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM media_objects
        WHERE object_key = ANY($1)
        "#,
        keys,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Says when objects are tried again that could not be deleted.
pub async fn postpone_objects(
    conn: &mut PgConnection,
    keys: &[String],
    due_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE media_objects
        SET due_ms = $2
        WHERE object_key = ANY($1)
        "#,
        keys,
        due_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets up to `limit` ids whose bytes did not come in time. Gives how many.
pub async fn delete_unused(
    conn: &mut PgConnection,
    now_ms: i64,
    limit: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM media
        WHERE media_id IN (
            SELECT media_id
            FROM media
            WHERE file_nid IS NULL
                AND unused_expires_ms <= $1
            ORDER BY unused_expires_ms
            LIMIT $2
        )
            AND file_nid IS NULL
        "#,
        now_ms,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
