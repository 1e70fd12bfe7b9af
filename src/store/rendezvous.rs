//! Places where two devices leave each other notes.

use sqlx::PgConnection;

use super::StoreError;

/// A place as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RendezvousSession {
    /// What was left there last.
    pub payload: Vec<u8>,
    /// Names this payload.
    pub etag: String,
    /// When it was written.
    pub changed_ms: i64,
    /// When the place is closed.
    pub expires_ms: i64,
}

/// Makes a place, unless there are `most` open ones already. `false`: there are.
pub async fn insert(
    conn: &mut PgConnection,
    session_id: &str,
    session: &RendezvousSession,
    most: i64,
) -> Result<bool, StoreError> {
    let made = sqlx::query!(
        r#"
        INSERT INTO rendezvous_sessions (
            session_id,
            payload,
            etag,
            changed_ms,
            expires_ms
        )
        SELECT $1, $2, $3, $4, $5
        WHERE (
            SELECT COUNT(*)
            FROM rendezvous_sessions
            WHERE expires_ms > $4
        ) < $6
        "#,
        session_id,
        session.payload,
        session.etag,
        session.changed_ms,
        session.expires_ms,
        most,
    )
    .execute(conn)
    .await?;
    Ok(made.rows_affected() == 1)
}

/// A place that is open at `now_ms`.
pub async fn find(
    conn: &mut PgConnection,
    session_id: &str,
    now_ms: i64,
) -> Result<Option<RendezvousSession>, StoreError> {
    let found = sqlx::query_as!(
        RendezvousSession,
        r#"
        SELECT payload,
            etag,
            changed_ms,
            expires_ms
        FROM rendezvous_sessions
        WHERE session_id = $1
            AND expires_ms > $2
        "#,
        session_id,
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(found)
}

/// Leaves something at a place that still has what `known` names; when it is closed stays as it was.
/// `false`: it has something else, or is closed.
pub async fn update(
    conn: &mut PgConnection,
    session_id: &str,
    known: &str,
    new: &RendezvousSession,
) -> Result<bool, StoreError> {
    let written = sqlx::query!(
        r#"
        UPDATE rendezvous_sessions
        SET payload = $3,
            etag = $4,
            changed_ms = $5
        WHERE session_id = $1
            AND etag = $2
            AND expires_ms > $5
        "#,
        session_id,
        known,
        new.payload,
        new.etag,
        new.changed_ms,
    )
    .execute(conn)
    .await?;
    Ok(written.rows_affected() == 1)
}

/// Closes a place. `false`: it was closed.
pub async fn delete(
    conn: &mut PgConnection,
    session_id: &str,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM rendezvous_sessions
        WHERE session_id = $1
            AND expires_ms > $2
        "#,
        session_id,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected() == 1)
}

/// Forgets the places that are closed.
pub async fn delete_expired(conn: &mut PgConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM rendezvous_sessions
        WHERE expires_ms <= $1
        "#,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}
