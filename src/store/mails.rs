//! Mails that wait for the mail server.
//!
//! A process takes a mail by moving the time on at which it is due: if the process dies, the mail
//! is due again by then. A mail may so arrive twice, and is never lost.

use sqlx::PgConnection;

use super::StoreError;

/// A mail to be sent.
#[derive(Clone, Copy)]
pub struct NewMail<'a> {
    /// What it is about, for logs.
    pub kind: &'a str,
    /// The address that it goes to.
    pub recipient: &'a str,
    /// The whole message (RFC 5322).
    pub message: &'a [u8],
    /// When it was written, in milliseconds since the epoch. It is due at once.
    pub created_ms: i64,
    /// When it stops being of use, in milliseconds since the epoch.
    pub valid_until_ms: Option<i64>,
}

/// A mail that this process took.
pub struct TakenMail {
    /// Its number.
    pub id: i64,
    /// What it is about, for logs.
    pub kind: String,
    /// The address that it goes to.
    pub recipient: String,
    /// The whole message (RFC 5322).
    pub message: Vec<u8>,
    /// How often it was taken, with this time.
    pub attempts: i32,
    /// When it was written, in milliseconds since the epoch.
    pub created_ms: i64,
    /// When it stops being of use, in milliseconds since the epoch.
    pub valid_until_ms: Option<i64>,
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many mails there are, with those under way.
    pub count: i64,
    /// When the oldest was written, in milliseconds since the epoch.
    pub oldest_ms: Option<i64>,
    /// When the next is due, in milliseconds since the epoch.
    pub next_attempt_ms: Option<i64>,
}

/// Adds a mail.
pub async fn insert(conn: &mut PgConnection, mail: NewMail<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO mails (
            kind,
            recipient,
            message,
            next_attempt_ms,
            created_ms,
            valid_until_ms
        )
        VALUES ($1, $2, $3, $4, $4, $5)
        "#,
        mail.kind,
        mail.recipient,
        mail.message,
        mail.created_ms,
        mail.valid_until_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes at most `limit` mails that are due, oldest first. They are due again at `lease_ends_ms`.
pub async fn take_due(
    conn: &mut PgConnection,
    now_ms: i64,
    lease_ends_ms: i64,
    limit: i64,
) -> Result<Vec<TakenMail>, StoreError> {
    let mails = sqlx::query_as!(
        TakenMail,
        r#"
        WITH due AS MATERIALIZED (
            SELECT mail_id
            FROM mails
            WHERE next_attempt_ms <= $1
            ORDER BY next_attempt_ms
            LIMIT $3
            FOR UPDATE SKIP LOCKED
        )
        UPDATE mails
        SET
            attempts = attempts + 1,
            next_attempt_ms = $2
        FROM due
        WHERE mails.mail_id = due.mail_id
        RETURNING
            mails.mail_id AS id,
            kind,
            recipient,
            message,
            attempts,
            created_ms,
            valid_until_ms
        "#,
        now_ms,
        lease_ends_ms,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(mails)
}

/// Forgets a mail.
pub async fn delete(conn: &mut PgConnection, id: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM mails
        WHERE mail_id = $1
        "#,
        id,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Says when a mail is due again, unless somebody else took it meanwhile: `attempts` is what it
/// was taken with.
pub async fn postpone(
    conn: &mut PgConnection,
    id: i64,
    attempts: i32,
    next_attempt_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE mails
        SET next_attempt_ms = $3
        WHERE mail_id = $1
            AND attempts = $2
        "#,
        id,
        attempts,
        next_attempt_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What waits.
pub async fn backlog(conn: &mut PgConnection) -> Result<Backlog, StoreError> {
    let backlog = sqlx::query_as!(
        Backlog,
        r#"
        SELECT
            COUNT(*) AS "count!", -- an aggregate is never null
            MIN(created_ms) AS oldest_ms,
            MIN(next_attempt_ms) AS next_attempt_ms
        FROM mails
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(backlog)
}
