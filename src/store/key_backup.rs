//! Backups of room keys: their versions, and the keys in them.

use sqlx::PgConnection;

use super::{StoreError, UserNid};

/// A backup.
#[derive(Clone, Debug)]
pub struct Backup {
    /// Its number.
    pub backup: i64,
    /// The version that clients know it by.
    pub version: i64,
    /// How its keys are encrypted.
    pub algorithm: String,
    /// What the algorithm needs to know.
    pub auth_data: String,
    /// Changes with the keys.
    pub etag: i64,
    /// How many keys there are.
    pub count: i64,
}

/// An encrypted room key.
#[derive(Clone, Debug)]
pub struct BackedUpKey {
    /// The room.
    pub room_id: String,
    /// The session.
    pub session_id: String,
    /// From which message on it is good.
    pub first_message_index: i64,
    /// How often it was handed on.
    pub forwarded_count: i64,
    /// Whether its source is trusted.
    pub is_verified: bool,
    /// The key.
    pub session_data: String,
}

/// Which keys of a backup are meant: all, those of a room, or one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// The room.
    pub room_id: Option<&'a str>,
    /// The session.
    pub session_id: Option<&'a str>,
}

/// Makes a backup. Gives its version.
pub async fn insert(
    conn: &mut PgConnection,
    user: UserNid,
    algorithm: &str,
    auth_data: &str,
) -> Result<i64, StoreError> {
    let version = sqlx::query_scalar!(
        r#"
        INSERT INTO key_backups (user_nid, version, algorithm, auth_data)
        SELECT $1, COALESCE(MAX(version), 0) + 1, $2, $3
        FROM key_backups
        WHERE user_nid = $1
        RETURNING version
        "#,
        user as UserNid,
        algorithm,
        auth_data,
    )
    .fetch_one(conn)
    .await?;
    Ok(version)
}

/// A backup that is not deleted: the one with this version, or the newest.
pub async fn find(
    conn: &mut PgConnection,
    user: UserNid,
    version: Option<i64>,
) -> Result<Option<Backup>, StoreError> {
    let found = sqlx::query_as!(
        Backup,
        r#"
        SELECT backup_nid AS backup,
            version,
            algorithm,
            auth_data,
            etag,
            key_count AS count
        FROM key_backups
        WHERE user_nid = $1
            AND ($2::BIGINT IS NULL OR version = $2)
            AND NOT is_deleted
        ORDER BY version DESC
        LIMIT 1
        "#,
        user as UserNid,
        version,
    )
    .fetch_optional(conn)
    .await?;
    Ok(found)
}

/// The same, locked until the transaction ends.
pub async fn lock(
    conn: &mut PgConnection,
    user: UserNid,
    version: Option<i64>,
) -> Result<Option<Backup>, StoreError> {
    let found = sqlx::query_as!(
        Backup,
        r#"
        SELECT backup_nid AS backup,
            version,
            algorithm,
            auth_data,
            etag,
            key_count AS count
        FROM key_backups
        WHERE user_nid = $1
            AND ($2::BIGINT IS NULL OR version = $2)
            AND NOT is_deleted
        ORDER BY version DESC
        LIMIT 1
        FOR UPDATE
        "#,
        user as UserNid,
        version,
    )
    .fetch_optional(conn)
    .await?;
    Ok(found)
}

/// Whether a version was ever given out.
pub async fn existed(
    conn: &mut PgConnection,
    user: UserNid,
    version: i64,
) -> Result<bool, StoreError> {
    let existed = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT 1
            FROM key_backups
            WHERE user_nid = $1
                AND version = $2
        ) AS "existed!" -- never null
        "#,
        user as UserNid,
        version,
    )
    .fetch_one(conn)
    .await?;
    Ok(existed)
}

/// Replaces what the algorithm needs to know.
pub async fn update_auth_data(
    conn: &mut PgConnection,
    backup: i64,
    auth_data: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE key_backups
        SET auth_data = $2
        WHERE backup_nid = $1
        "#,
        backup,
        auth_data,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a backup with its keys. Its version is not given out again.
pub async fn delete(conn: &mut PgConnection, backup: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        WITH gone AS (
            DELETE FROM backed_up_keys
            WHERE backup_nid = $1
        )
        UPDATE key_backups
        SET is_deleted = TRUE,
            auth_data = '{}',
            key_count = 0
        WHERE backup_nid = $1
        "#,
        backup,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes all backups of a user.
pub async fn delete_all(conn: &mut PgConnection, user: UserNid) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        WITH gone AS (
            DELETE FROM backed_up_keys
            WHERE backup_nid IN (SELECT backup_nid FROM key_backups WHERE user_nid = $1)
        )
        UPDATE key_backups
        SET is_deleted = TRUE,
            auth_data = '{}',
            key_count = 0
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts keys into a backup that is locked. A key that is there already is replaced by a better
/// one only (client-server API v1.19, "Server-side key backups"). Gives the new count and etag.
pub async fn upsert_keys(
    conn: &mut PgConnection,
    backup: i64,
    keys: &[BackedUpKey],
) -> Result<(i64, i64), StoreError> {
    let written = sqlx::query!(
        r#"
        WITH written AS (
            INSERT INTO backed_up_keys AS k (backup_nid, room_id, session_id,
                first_message_index, forwarded_count, is_verified, session_data)
            SELECT $1, n.room_id, n.session_id, n.first_message_index, n.forwarded_count,
                n.is_verified, n.session_data
            FROM UNNEST($2::TEXT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[], $6::BOOLEAN[],
                    $7::TEXT[])
                AS n (room_id, session_id, first_message_index, forwarded_count, is_verified,
                    session_data)
            ON CONFLICT (backup_nid, room_id, session_id) DO UPDATE
            SET first_message_index = EXCLUDED.first_message_index,
                forwarded_count = EXCLUDED.forwarded_count,
                is_verified = EXCLUDED.is_verified,
                session_data = EXCLUDED.session_data
            -- False before true: a verified key is better, then a lower index, then a lower count.
            WHERE (NOT EXCLUDED.is_verified, EXCLUDED.first_message_index, EXCLUDED.forwarded_count)
                < (NOT k.is_verified, k.first_message_index, k.forwarded_count)
            -- Only a new row has no earlier version.
            RETURNING (xmax = 0) AS is_new
        )
        SELECT COUNT(*) AS "written!", -- an aggregate is never null
            COUNT(*) FILTER (WHERE is_new) AS "new!" -- an aggregate is never null
        FROM written
        "#,
        backup,
        &keys
            .iter()
            .map(|key| key.room_id.as_str())
            .collect::<Vec<_>>() as &[&str],
        &keys
            .iter()
            .map(|key| key.session_id.as_str())
            .collect::<Vec<_>>() as &[&str],
        &keys
            .iter()
            .map(|key| key.first_message_index)
            .collect::<Vec<_>>(),
        &keys
            .iter()
            .map(|key| key.forwarded_count)
            .collect::<Vec<_>>(),
        &keys.iter().map(|key| key.is_verified).collect::<Vec<_>>(),
        &keys
            .iter()
            .map(|key| key.session_data.as_str())
            .collect::<Vec<_>>() as &[&str],
    )
    .fetch_one(&mut *conn)
    .await?;
    touch(conn, backup, written.written > 0, written.new).await
}

/// Deletes keys from a backup that is locked. Gives the new count and etag.
pub async fn delete_keys(
    conn: &mut PgConnection,
    backup: i64,
    which: Selection<'_>,
) -> Result<(i64, i64), StoreError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM backed_up_keys
        WHERE backup_nid = $1
            AND ($2::TEXT IS NULL OR room_id = $2)
            AND ($3::TEXT IS NULL OR session_id = $3)
        "#,
        backup,
        which.room_id,
        which.session_id,
    )
    .execute(&mut *conn)
    .await?;
    let gone = i64::try_from(done.rows_affected()).unwrap_or(i64::MAX);
    touch(conn, backup, gone > 0, -gone).await
}

async fn touch(
    conn: &mut PgConnection,
    backup: i64,
    is_changed: bool,
    more: i64,
) -> Result<(i64, i64), StoreError> {
    let row = sqlx::query!(
        r#"
        UPDATE key_backups
        SET etag = etag + $2,
            key_count = key_count + $3
        WHERE backup_nid = $1
        RETURNING key_count, etag
        "#,
        backup,
        i64::from(is_changed),
        more,
    )
    .fetch_one(conn)
    .await?;
    Ok((row.key_count, row.etag))
}

/// One key of a backup.
pub async fn find_key(
    conn: &mut PgConnection,
    backup: i64,
    room_id: &str,
    session_id: &str,
) -> Result<Option<BackedUpKey>, StoreError> {
    let key = sqlx::query_as!(
        BackedUpKey,
        r#"
        SELECT room_id,
            session_id,
            first_message_index,
            forwarded_count,
            is_verified,
            session_data
        FROM backed_up_keys
        WHERE backup_nid = $1
            AND room_id = $2
            AND session_id = $3
        "#,
        backup,
        room_id,
        session_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(key)
}

/// Keys of a backup, by room and session.
pub async fn list_keys(
    conn: &mut PgConnection,
    backup: i64,
    which: Selection<'_>,
) -> Result<Vec<BackedUpKey>, StoreError> {
    let keys = sqlx::query_as!(
        BackedUpKey,
        r#"
        SELECT room_id,
            session_id,
            first_message_index,
            forwarded_count,
            is_verified,
            session_data
        FROM backed_up_keys
        WHERE backup_nid = $1
            AND ($2::TEXT IS NULL OR room_id = $2)
            AND ($3::TEXT IS NULL OR session_id = $3)
        ORDER BY room_id, session_id
        "#,
        backup,
        which.room_id,
        which.session_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(keys)
}
