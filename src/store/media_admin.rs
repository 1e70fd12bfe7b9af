//! What administrators do with media, and what is found by who uploaded it or which events name it.

use sqlx::PgConnection;

use super::{
    RoomNid, Store, StoreError, UserNid,
    media::{Media, Row},
};

/// Which media to go through.
#[derive(Clone, Debug)]
pub struct Page {
    /// Uploaded before this one: where the last page ended.
    pub before_ms: i64,
    /// The id of that one.
    pub before_id: String,
    /// How many at most.
    pub limit: i64,
}

/// The media of a user that have their bytes, newest first.
pub async fn list_of_user(
    conn: &mut PgConnection,
    user: UserNid,
    page: &Page,
) -> Result<Vec<Media>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT m.media_id,
            m.user_nid AS "user_nid: UserNid",
            m.content_type,
            m.file_name,
            m.created_ms,
            m.unused_expires_ms,
            m.used_ms,
            m.is_open,
            m.is_protected,
            m.file_nid,
            f.sha256 AS "sha256?",
            f.object_key AS "object_key?",
            f.size AS "size?",
            f.detected_type,
            f.quarantined_ms,
            f.quarantined_by
        FROM media m
        JOIN media_files f ON f.file_nid = m.file_nid
        WHERE m.user_nid = $1
            AND (m.created_ms, m.media_id) < ($2, $3 COLLATE "C")
        ORDER BY m.created_ms DESC, m.media_id DESC
        LIMIT $4
        "#,
        user as UserNid,
        page.before_ms,
        page.before_id,
        page.limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Media::from).collect())
}

/// Media of the server that were last downloaded before a moment and are larger than `size`, least
/// recently first, from after a place on, and whether each may go: protected and withdrawn ones may
/// not, nor those that profiles and the state of rooms show, if `profiles` has what stands before
/// the id in their mxc: URIs.
pub async fn list_unused(
    conn: &mut PgConnection,
    after: (i64, &str),
    before_ms: i64,
    size: i64,
    profiles: Option<&str>,
    limit: i64,
) -> Result<Vec<(i64, String, bool)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT m.media_id,
            m.used_ms,
            f.size > $4
                AND NOT m.is_protected
                AND f.quarantined_ms IS NULL
                AND NOT (
                    $5::TEXT IS NOT NULL
                    AND (
                        EXISTS (
                            SELECT
                            FROM profiles p
                            WHERE p.avatar_url = $5 || m.media_id
                        )
                        OR EXISTS (
                            SELECT
                            FROM events e
                            JOIN room_state s ON s.room_nid = e.room_nid
                                AND s.position = e.position
                                AND s.until IS NULL
                            WHERE STRPOS(e.json, 'mxc://') > 0
                                AND chappe_media_ids(e.json) @> ARRAY[m.media_id]
                        )
                    )
                ) AS "is_due!"
        FROM media m
        JOIN media_files f ON f.file_nid = m.file_nid
        WHERE (m.used_ms, m.media_id) > ($1, $2 COLLATE "C")
            AND m.used_ms < $3
        ORDER BY m.used_ms, m.media_id
        LIMIT $6
        "#,
        after.0,
        after.1,
        before_ms,
        size,
        profiles,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter();
    Ok(rows
        .map(|row| (row.used_ms, row.media_id, row.is_due))
        .collect())
}

/// The ids of media that events of a room name.
pub async fn list_of_room(
    conn: &mut PgConnection,
    room: RoomNid,
) -> Result<Vec<String>, StoreError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT id AS "id!"
        FROM events e
        CROSS JOIN LATERAL UNNEST(chappe_media_ids(e.json)) AS id
        WHERE e.room_nid = $1
            AND STRPOS(e.json, 'mxc://') > 0
        ORDER BY 1
        "#,
        room as RoomNid,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Where it is told that contents were withdrawn, given back or deleted.
pub(super) const CHANGED_CHANNEL: &str = "chappe_media_changed";

/// Has all processes forget what they know of media, once the transaction ends.
async fn announce_change(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        SELECT pg_notify($1, '')::TEXT AS told
        "#,
        CHANGED_CHANNEL,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Withdraws contents, or gives them back, and tells all processes (`chappe_media_changed`).
/// Contents of which all media are protected stay, unless `even_protected`. Gives how many changed.
/// In a transaction.
pub async fn quarantine(
    conn: &mut PgConnection,
    media_ids: &[String],
    by: Option<&str>,
    even_protected: bool,
    now_ms: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE media_files f
        SET quarantined_ms = CASE WHEN $2::TEXT IS NULL THEN NULL ELSE $4::BIGINT END,
            quarantined_by = $2
        WHERE f.file_nid IN (
            SELECT m.file_nid
            FROM media m
            WHERE m.media_id = ANY($1)
                AND (NOT m.is_protected OR $3)
        )
            AND (f.quarantined_ms IS NULL) = ($2::TEXT IS NOT NULL)
        "#,
        media_ids,
        by,
        even_protected,
        now_ms,
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() > 0 {
        announce_change(conn).await?;
    }
    Ok(done.rows_affected())
}

/// Withdraws all contents that a user uploaded, but for protected ones, and tells all processes.
/// Gives how many changed. In a transaction.
pub async fn quarantine_of_user(
    conn: &mut PgConnection,
    user: UserNid,
    by: &str,
    now_ms: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE media_files f
        SET quarantined_ms = $3,
            quarantined_by = $2
        WHERE f.file_nid IN (
            SELECT m.file_nid
            FROM media m
            WHERE m.user_nid = $1
                AND NOT m.is_protected
        )
            AND f.quarantined_ms IS NULL
        "#,
        user as UserNid,
        by,
        now_ms,
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() > 0 {
        announce_change(conn).await?;
    }
    Ok(done.rows_affected())
}

/// Has quarantines of rooms and users leave media alone, or not. `false`: there are no such media.
pub async fn update_protected(
    conn: &mut PgConnection,
    media_id: &str,
    is_protected: bool,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE media
        SET is_protected = $2
        WHERE media_id = $1
        "#,
        media_id,
        is_protected,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Takes up to `limit` media that deleted messages named, and says which of them nothing names any
/// more: no event, no profile, no account data of their owner. `before` stands before the id in
/// mxc: URIs. In a transaction, with which they are forgotten.
pub async fn take_purges(
    conn: &mut PgConnection,
    before: &str,
    limit: i64,
) -> Result<(usize, Vec<String>), StoreError> {
    let rows = sqlx::query!(
        r#"
        WITH taken AS (
            DELETE FROM media_purges
            WHERE media_id IN (
                SELECT media_id
                FROM media_purges
                ORDER BY media_id
                LIMIT $2
                FOR UPDATE SKIP LOCKED
            )
            RETURNING media_id, sender_nid
        )
        SELECT t.media_id AS "media_id!",
            NOT EXISTS (
                SELECT
                FROM events e
                WHERE STRPOS(e.json, 'mxc://') > 0
                    AND chappe_media_ids(e.json) @> ARRAY[t.media_id]
            )
            AND NOT EXISTS (
                SELECT
                FROM profiles p
                WHERE p.avatar_url = $1 || t.media_id
            )
            AND NOT EXISTS (
                SELECT
                FROM account_data a
                WHERE a.user_nid = t.sender_nid
                    AND STRPOS(a.content::TEXT, $1 || t.media_id) > 0
            ) AS "is_unused!"
        FROM taken t
        "#,
        before,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let count = rows.len();
    let unused = rows.into_iter().filter(|row| row.is_unused);
    Ok((count, unused.map(|row| row.media_id).collect()))
}

/// Deletes media, and gives the ids of those that there were. Contents that nobody has any more go
/// with their thumbnails; their objects are deleted soon. All processes are told.
pub async fn delete(
    store: &Store,
    media_ids: &[&str],
    now_ms: i64,
) -> Result<Vec<String>, StoreError> {
    let mut tx = store.begin().await?;
    let gone = sqlx::query!(
        r#"
        WITH gone AS (
            DELETE FROM media
            WHERE media_id = ANY($1)
            RETURNING media_id, user_nid, file_nid
        ), freed AS (
            SELECT g.user_nid,
                COUNT(*) AS files,
                SUM(f.size)::BIGINT AS bytes
            FROM gone g
            JOIN media_files f ON f.file_nid = g.file_nid
            WHERE g.user_nid IS NOT NULL
            GROUP BY g.user_nid
        ), counted AS (
            UPDATE media_usage u
            SET files = u.files - f.files,
                bytes = u.bytes - f.bytes
            FROM freed f
            WHERE u.user_nid = f.user_nid
        )
        SELECT media_id AS "media_id!",
            file_nid
        FROM gone
        "#,
        media_ids as &[&str],
    )
    .fetch_all(&mut *tx)
    .await?;
    let files: Vec<i64> = gone.iter().filter_map(|media| media.file_nid).collect();
    // Whoever takes one of them up at this moment is waited for, and then seen.
    sqlx::query!(
        r#"
        SELECT file_nid
        FROM media_files
        WHERE file_nid = ANY($1)
        ORDER BY file_nid
        FOR UPDATE
        "#,
        &files,
    )
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query!(
        r#"
        WITH unused AS (
            SELECT f.file_nid
            FROM media_files f
            WHERE f.file_nid = ANY($1)
                AND NOT EXISTS (
                    SELECT
                    FROM media m
                    WHERE m.file_nid = f.file_nid
                )
        ), thumbnails AS (
            DELETE FROM media_thumbnails t
            USING unused u
            WHERE t.file_nid = u.file_nid
            RETURNING t.object_key
        ), files AS (
            DELETE FROM media_files f
            USING unused u
            WHERE f.file_nid = u.file_nid
            RETURNING f.object_key
        )
        INSERT INTO media_objects (object_key, due_ms)
        SELECT object_key, $2::BIGINT
        FROM thumbnails
        UNION -- an image may be its own thumbnail
        SELECT object_key, $2::BIGINT
        FROM files
        ON CONFLICT (object_key) DO NOTHING
        "#,
        &files,
        now_ms,
    )
    .execute(&mut *tx)
    .await?;
    if !gone.is_empty() {
        announce_change(&mut tx).await?;
    }
    Store::commit(tx).await?;
    Ok(gone.into_iter().map(|media| media.media_id).collect())
}
