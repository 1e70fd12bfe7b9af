//! What people uploaded: names, contents, and how much each user has.
//!
//! Each content is kept once (`media_files`); media are the names under which it can be had. Bytes
//! are in an object store. An object is noted (`media_objects`) before it is written, and the note
//! goes when something refers to it, so that what a crash leaves behind is found and deleted.

use sqlx::PgConnection;

use super::{StoreError, UserNid};

/// Media of this server.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// The last part of the mxc: URI.
    pub media_id: String,
    /// Who uploaded it; `None`: the server.
    pub user: Option<UserNid>,
    /// The type that the client gave.
    pub content_type: Option<String>,
    /// The file name that the client gave.
    pub file_name: Option<String>,
    /// When the id was given out, in milliseconds since the epoch.
    pub created_ms: i64,
    /// Until when the bytes can be uploaded.
    pub unused_expires_ms: Option<i64>,
    /// About when it was last downloaded.
    pub used_ms: i64,
    /// Whether it can be downloaded without an access token.
    pub is_open: bool,
    /// Whether quarantines of whole rooms and users leave it alone.
    pub is_protected: bool,
    /// Its bytes; `None`: they are still to be uploaded.
    pub file: Option<File>,
}

/// A content.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Its number.
    pub file: i64,
    /// Its hash.
    pub sha256: Vec<u8>,
    /// Where the bytes are.
    pub object_key: String,
    /// How many there are.
    pub size: i64,
    /// The type that the first bytes tell.
    pub detected_type: Option<String>,
    /// When it was withdrawn.
    pub quarantined_ms: Option<i64>,
    /// Who withdrew it.
    pub quarantined_by: Option<String>,
}

/// A content that was written, and not yet told to the database.
#[derive(Clone, Copy, Debug)]
pub struct NewFile<'a> {
    /// Its hash.
    pub sha256: &'a [u8],
    /// Where the bytes are.
    pub object_key: &'a str,
    /// How many there are.
    pub size: i64,
    /// The type that the first bytes tell.
    pub detected_type: Option<&'a str>,
}

/// A new name.
#[derive(Clone, Copy, Debug)]
pub struct NewMedia<'a> {
    /// The last part of the mxc: URI.
    pub media_id: &'a str,
    /// Who uploads it; `None`: the server.
    pub user: Option<UserNid>,
    /// The type that the client gave.
    pub content_type: Option<&'a str>,
    /// The file name that the client gave.
    pub file_name: Option<&'a str>,
    /// When.
    pub now_ms: i64,
    /// Whether it can be downloaded without an access token.
    pub is_open: bool,
}

/// How much somebody has uploaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many media.
    pub files: i64,
    /// How many bytes.
    pub bytes: i64,
}

pub(super) struct Row {
    pub(super) media_id: String,
    pub(super) user_nid: Option<UserNid>,
    pub(super) content_type: Option<String>,
    pub(super) file_name: Option<String>,
    pub(super) created_ms: i64,
    pub(super) unused_expires_ms: Option<i64>,
    pub(super) used_ms: i64,
    pub(super) is_open: bool,
    pub(super) is_protected: bool,
    pub(super) file_nid: Option<i64>,
    pub(super) sha256: Option<Vec<u8>>,
    pub(super) object_key: Option<String>,
    pub(super) size: Option<i64>,
    pub(super) detected_type: Option<String>,
    pub(super) quarantined_ms: Option<i64>,
    pub(super) quarantined_by: Option<String>,
}

impl From<Row> for Media {
    fn from(row: Row) -> Self {
        let file = match (row.file_nid, row.sha256, row.object_key, row.size) {
            (Some(file), Some(sha256), Some(object_key), Some(size)) => Some(File {
                file,
                sha256,
                object_key,
                size,
                detected_type: row.detected_type,
                quarantined_ms: row.quarantined_ms,
                quarantined_by: row.quarantined_by,
            }),
            _ => None,
        };
        Self {
            media_id: row.media_id,
            user: row.user_nid,
            content_type: row.content_type,
            file_name: row.file_name,
            created_ms: row.created_ms,
            unused_expires_ms: row.unused_expires_ms,
            used_ms: row.used_ms,
            is_open: row.is_open,
            is_protected: row.is_protected,
            file,
        }
    }
}

/// Media by their ids. Those that do not exist are left out.
pub async fn find(conn: &mut PgConnection, media_ids: &[&str]) -> Result<Vec<Media>, StoreError> {
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
            f.sha256 AS "sha256?", -- a left join
            f.object_key AS "object_key?",
            f.size AS "size?",
            f.detected_type,
            f.quarantined_ms,
            f.quarantined_by
        FROM media m
        LEFT JOIN media_files f ON f.file_nid = m.file_nid
        WHERE m.media_id = ANY($1)
        ORDER BY m.media_id
        "#,
        media_ids as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Media::from).collect())
}

/// Gives an id out whose bytes come later. `false`: the user has `most` such ids already.
pub async fn insert_pending(
    conn: &mut PgConnection,
    media: NewMedia<'_>,
    expires_ms: i64,
    most: i64,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO media (
            media_id,
            user_nid,
            created_ms,
            unused_expires_ms,
            used_ms,
            is_open
        )
        SELECT $1,
            $2,
            $3,
            $4,
            $3,
            $5
        WHERE (
            SELECT COUNT(*)
            FROM media p
            WHERE p.user_nid = $2
                AND p.file_nid IS NULL
                AND p.unused_expires_ms > $3
        ) < $6
        "#,
        media.media_id,
        media.user as Option<UserNid>,
        media.now_ms,
        expires_ms,
        media.is_open,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes an object before it is written: it is deleted at `due_ms`, unless something refers to it
/// by then.
pub async fn insert_object(
    conn: &mut PgConnection,
    object_key: &str,
    due_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO media_objects (
            object_key,
            due_ms
        )
        VALUES ($1, $2)
        "#,
        object_key,
        due_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a content in, and gives its number and whether it is new. Where there is the same already,
/// the new object is deleted soon. In a transaction.
pub async fn insert_file(
    conn: &mut PgConnection,
    file: NewFile<'_>,
    now_ms: i64,
) -> Result<(i64, bool), StoreError> {
    let kept = sqlx::query!(
        r#"
        INSERT INTO media_files (
            sha256,
            object_key,
            size,
            detected_type
        )
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (sha256) DO UPDATE
        SET sha256 = EXCLUDED.sha256 -- locks the row: nobody deletes it before the commit
        RETURNING file_nid,
            object_key
        "#,
        file.sha256,
        file.object_key,
        file.size,
        file.detected_type,
    )
    .fetch_one(&mut *conn)
    .await?;
    let is_new = kept.object_key == file.object_key;
    settle_object(conn, file.object_key, is_new, now_ms).await?;
    Ok((kept.file_nid, is_new))
}

/// Lets the job delete an object that nothing refers to.
pub async fn discard_object(
    conn: &mut PgConnection,
    object_key: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    settle_object(conn, object_key, false, now_ms).await
}

/// Something refers to an object now; or it is deleted soon.
pub(super) async fn settle_object(
    conn: &mut PgConnection,
    object_key: &str,
    is_kept: bool,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        WITH kept AS (
            DELETE FROM media_objects
            WHERE object_key = $1
                AND $2
        )
        UPDATE media_objects
        SET due_ms = $3
        WHERE object_key = $1
            AND NOT $2
        "#,
        object_key,
        is_kept,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a content a new name.
pub async fn insert(
    conn: &mut PgConnection,
    media: NewMedia<'_>,
    file: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO media (
            media_id,
            user_nid,
            file_nid,
            content_type,
            file_name,
            created_ms,
            used_ms,
            is_open
        )
        VALUES ($1, $2, $3, $4, $5, $6, $6, $7)
        "#,
        media.media_id,
        media.user as Option<UserNid>,
        file,
        media.content_type,
        media.file_name,
        media.now_ms,
        media.is_open,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a content to an id that waits for it, and tells everybody who waits too
/// (`chappe_media`). `false`: the id does not wait any more.
pub async fn complete(
    conn: &mut PgConnection,
    media: NewMedia<'_>,
    file: i64,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        WITH done AS (
            UPDATE media
            SET file_nid = $3,
                content_type = $4,
                file_name = $5
            WHERE media_id = $1
                AND user_nid = $2
                AND file_nid IS NULL
                AND unused_expires_ms > $6
            RETURNING media_id
        )
        SELECT pg_notify('chappe_media', media_id)::TEXT AS told
        FROM done
        "#,
        media.media_id,
        media.user as Option<UserNid>,
        file,
        media.content_type,
        media.file_name,
        media.now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(done.is_some())
}

/// How much a user has uploaded.
pub async fn find_usage(conn: &mut PgConnection, user: UserNid) -> Result<Usage, StoreError> {
    let usage = sqlx::query_as!(
        Usage,
        r#"
        SELECT files,
            bytes
        FROM media_usage
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .fetch_optional(conn)
    .await?;
    Ok(usage.unwrap_or_default())
}

/// Counts an upload. `false`: the user would have more bytes than `quota`.
pub async fn add_usage(
    conn: &mut PgConnection,
    user: UserNid,
    bytes: i64,
    quota: i64,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO media_usage AS u (
            user_nid,
            files,
            bytes
        )
        SELECT $1,
            1,
            $2::BIGINT
        WHERE $2 <= $3::BIGINT
        ON CONFLICT (user_nid) DO UPDATE
        SET files = u.files + 1,
            bytes = u.bytes + EXCLUDED.bytes
        WHERE u.bytes + EXCLUDED.bytes <= $3
        "#,
        user as UserNid,
        bytes,
        quota,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes that media were downloaded, if that was last noted before `before_ms`.
pub async fn note_used(
    conn: &mut PgConnection,
    media_id: &str,
    now_ms: i64,
    before_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE media
        SET used_ms = $2
        WHERE media_id = $1
            AND used_ms < $3
        "#,
        media_id,
        now_ms,
        before_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}
