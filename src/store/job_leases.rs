//! Which process does a job that only one may do at a time.

use sqlx::PgConnection;

use super::StoreError;

/// Takes a job, or keeps it, until `until_ms`. `false`: another process has it at `now_ms`.
/// Both are in milliseconds since the epoch.
pub async fn take(
    conn: &mut PgConnection,
    job: &str,
    holder: &str,
    now_ms: i64,
    until_ms: i64,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        INSERT INTO job_leases (
            job,
            holder,
            until_ms
        )
        VALUES ($1, $2, $4)
        ON CONFLICT (job) DO UPDATE
        SET
            holder = EXCLUDED.holder,
            until_ms = EXCLUDED.until_ms
        WHERE job_leases.holder = EXCLUDED.holder
            OR job_leases.until_ms <= $3
        "#,
        job,
        holder,
        now_ms,
        until_ms,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Gives a job back.
pub async fn release(conn: &mut PgConnection, job: &str, holder: &str) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM job_leases
        WHERE job = $1
            AND holder = $2
        "#,
        job,
        holder,
    )
    .execute(conn)
    .await?;
    Ok(())
}
