//! Who agreed to which version of which document.

use sqlx::PgConnection;

use super::{StoreError, UserNid};

/// Notes that a user agreed to these versions, named in the same order. What was noted before
/// keeps its time.
pub async fn insert(
    conn: &mut PgConnection,
    user: UserNid,
    names: &[String],
    versions: &[String],
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO accepted_terms (
            user_nid,
            name,
            version,
            accepted_ms
        )
        SELECT
            $1,
            name,
            version,
            $4
        FROM UNNEST($2::TEXT[], $3::TEXT[]) AS new (name, version)
        ON CONFLICT (user_nid, name, version) DO NOTHING
        "#,
        user as UserNid,
        names,
        versions,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether a user agreed to all these versions, named in the same order.
pub async fn has_all(
    conn: &mut PgConnection,
    user: UserNid,
    names: &[String],
    versions: &[String],
) -> Result<bool, StoreError> {
    let has_all = sqlx::query_scalar!(
        r#"
        SELECT NOT EXISTS (
            SELECT wanted.name
            FROM UNNEST($2::TEXT[], $3::TEXT[]) AS wanted (name, version)
            WHERE NOT EXISTS (
                SELECT user_nid
                FROM accepted_terms
                WHERE user_nid = $1
                    AND accepted_terms.name = wanted.name
                    AND accepted_terms.version = wanted.version
            )
        ) AS "has_all!" -- EXISTS is never null
        "#,
        user as UserNid,
        names,
        versions,
    )
    .fetch_one(conn)
    .await?;
    Ok(has_all)
}
