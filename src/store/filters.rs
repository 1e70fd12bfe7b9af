//! Uploaded sync filters.

use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::{StoreError, UserNid};

/// The most filters that a user may store.
const MAX_FILTERS: i64 = 1_000;

/// Stores a filter, once, and gives its number. `None` if the user has too many.
pub async fn insert(
    conn: &mut PgConnection,
    user: UserNid,
    json: &str,
) -> Result<Option<i64>, StoreError> {
    let digest = Sha256::digest(json.as_bytes());
    let id = sqlx::query_scalar!(
        r#"
        WITH known AS (
            SELECT filter_id
            FROM filters
            WHERE user_nid = $1
                AND digest = $2
        ), added AS (
            INSERT INTO filters (user_nid, filter_id, digest, json)
            SELECT $1, COALESCE(MAX(filter_id) + 1, 0), $2, $3
            FROM filters
            WHERE user_nid = $1
            HAVING NOT EXISTS (SELECT FROM known)
                AND COUNT(*) < $4
            ON CONFLICT DO NOTHING
            RETURNING filter_id
        )
        SELECT filter_id AS "filter_id!" -- not null in filters
        FROM known
        UNION ALL
        SELECT filter_id
        FROM added
        "#,
        user as UserNid,
        digest.as_slice(),
        json,
        MAX_FILTERS,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// A stored filter.
pub async fn find(
    conn: &mut PgConnection,
    user: UserNid,
    filter_id: i64,
) -> Result<Option<String>, StoreError> {
    let json = sqlx::query_scalar!(
        r#"
        SELECT json
        FROM filters
        WHERE user_nid = $1
            AND filter_id = $2
        "#,
        user as UserNid,
        filter_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(json)
}
