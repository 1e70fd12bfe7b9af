//! Until when accounts are good, and the mails that remind their owners (tchap.md 2.8).
//!
//! Times are in milliseconds since the epoch. `exclude` holds texts: an account whose user id
//! contains one of them is passed over (AV-16).

use ruma::{OwnedUserId, UserId};
use sqlx::PgConnection;

use super::{StoreError, UserNid, access_tokens::TokenHash};

/// Until when an account is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// When it expires.
    pub expires_ms: i64,
    /// When the newest mail about this date was sent, if one was.
    pub mailed_ms: Option<i64>,
}

/// The date of an account, if it has one.
pub async fn find(conn: &mut PgConnection, user: UserNid) -> Result<Option<Validity>, StoreError> {
    let found = sqlx::query_as!(
        Validity,
        r#"
        SELECT
            expires_ms,
            mailed_ms
        FROM account_validity
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .fetch_optional(conn)
    .await?;
    Ok(found)
}

/// Which of these accounts have expired at `now_ms`.
pub async fn list_expired(
    conn: &mut PgConnection,
    users: &[UserNid],
    now_ms: i64,
) -> Result<Vec<UserNid>, StoreError> {
    let expired = sqlx::query_scalar!(
        r#"
        SELECT user_nid AS "user: UserNid"
        FROM account_validity
        WHERE user_nid = ANY($1)
            AND expires_ms <= $2
        "#,
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
        now_ms,
    )
    .fetch_all(conn)
    .await?;
    Ok(expired)
}

/// Gives accounts that have no date these dates, in the order of `users`. Those that have one
/// keep it.
pub async fn insert(
    conn: &mut PgConnection,
    users: &[UserNid],
    expires_ms: &[i64],
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO account_validity (
            user_nid,
            expires_ms
        )
        SELECT
            user_nid,
            expires_ms
        FROM UNNEST($1::BIGINT[], $2::BIGINT[]) AS new (user_nid, expires_ms)
        ON CONFLICT (user_nid) DO NOTHING
        "#,
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
        expires_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets the date of an account: mails begin anew, and links that were sent stop working.
/// `sends_mails`: whether reminders are sent from now on; `None`: as before.
pub async fn upsert(
    conn: &mut PgConnection,
    user: UserNid,
    expires_ms: i64,
    sends_mails: Option<bool>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO account_validity (
            user_nid,
            expires_ms,
            sends_mails
        )
        VALUES ($1, $2, COALESCE($3, TRUE))
        ON CONFLICT (user_nid) DO UPDATE
        SET
            expires_ms = EXCLUDED.expires_ms,
            sends_mails = COALESCE($3, account_validity.sends_mails),
            mailed_ms = NULL,
            token_hash = NULL
        "#,
        user as UserNid,
        expires_ms,
        sends_mails,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the date from an account.
pub async fn delete(conn: &mut PgConnection, user: UserNid) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM account_validity
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets the date of the account that a token was mailed to, and uses the token up. `None`: it is
/// no account's newest token.
pub async fn renew(
    conn: &mut PgConnection,
    token: TokenHash,
    expires_ms: i64,
) -> Result<Option<UserNid>, StoreError> {
    let renewed = sqlx::query_scalar!(
        r#"
        UPDATE account_validity
        SET
            expires_ms = $2,
            mailed_ms = NULL,
            token_hash = NULL,
            used_token_hash = token_hash
        WHERE token_hash = $1
        RETURNING user_nid AS "user: UserNid"
        "#,
        token.as_bytes(),
        expires_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(renewed)
}

/// Whether a token was the last one that renewed some account (AV-09).
pub async fn is_used(conn: &mut PgConnection, token: TokenHash) -> Result<bool, StoreError> {
    let used = sqlx::query_scalar!(
        r#"
        SELECT user_nid
        FROM account_validity
        WHERE used_token_hash = $1
        "#,
        token.as_bytes(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(used.is_some())
}

/// Open accounts that have no date yet.
pub async fn list_missing(
    conn: &mut PgConnection,
    exclude: &[String],
    limit: i64,
) -> Result<Vec<UserNid>, StoreError> {
    let users = sqlx::query_scalar!(
        r#"
        SELECT accounts.user_nid AS "user: UserNid"
        FROM accounts
        JOIN users ON users.user_nid = accounts.user_nid
        WHERE accounts.deactivated_ms IS NULL
            AND NOT EXISTS (
                SELECT user_nid
                FROM account_validity
                WHERE account_validity.user_nid = accounts.user_nid
            )
            AND NOT EXISTS (
                SELECT part
                FROM UNNEST($1::TEXT[]) AS part
                WHERE STRPOS(users.user_id, part) > 0
            )
        LIMIT $2
        "#,
        exclude,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(users)
}

/// A mail to be sent.
pub struct DueMail {
    /// To whom.
    pub user: UserNid,
    /// To whom.
    pub user_id: OwnedUserId,
    /// The account's first address.
    pub address: String,
    /// The name that people see.
    pub display_name: Option<String>,
    /// When the account expires.
    pub expires_ms: i64,
}

/// The mails that are due at `now_ms`, the most urgent first: for each of `delays_ms` before the
/// date one (AV-03), and none for what was mailed since the delay began. Accounts without an
/// address get none.
pub async fn list_due_mails(
    conn: &mut PgConnection,
    delays_ms: &[i64],
    exclude: &[String],
    now_ms: i64,
    limit: i64,
) -> Result<Vec<DueMail>, StoreError> {
    let rows = sqlx::query_as!(
        DueRow,
        r#"
        SELECT
            users.user_nid AS "user: UserNid",
            users.user_id,
            address.address,
            profiles.display_name AS "display_name?", -- from a left join
            validity.expires_ms
        FROM account_validity AS validity
        JOIN users ON users.user_nid = validity.user_nid
        JOIN LATERAL (
            SELECT threepids.address
            FROM threepids
            WHERE threepids.user_nid = validity.user_nid
            ORDER BY
                threepids.added_ms,
                threepids.address
            LIMIT 1
        ) AS address ON TRUE
        LEFT JOIN profiles ON profiles.user_nid = validity.user_nid
        WHERE validity.sends_mails
            AND validity.expires_ms <= $2 + (SELECT MAX(delay) FROM UNNEST($1::BIGINT[]) AS delay)
            AND COALESCE(validity.mailed_ms, 0) < validity.expires_ms - (
                SELECT MIN(delay)
                FROM UNNEST($1::BIGINT[]) AS delay
                WHERE validity.expires_ms - delay <= $2
            )
            AND NOT EXISTS (
                SELECT part
                FROM UNNEST($3::TEXT[]) AS part
                WHERE STRPOS(users.user_id, part) > 0
            )
        ORDER BY validity.expires_ms
        LIMIT $4
        "#,
        delays_ms,
        now_ms,
        exclude,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(DueRow::into_mail).collect()
}

/// What a mail to one account says; `None`: it has no date, or no address.
pub async fn find_mail(
    conn: &mut PgConnection,
    user: UserNid,
) -> Result<Option<DueMail>, StoreError> {
    let row = sqlx::query_as!(
        DueRow,
        r#"
        SELECT
            users.user_nid AS "user: UserNid",
            users.user_id,
            threepids.address,
            profiles.display_name AS "display_name?", -- from a left join
            validity.expires_ms
        FROM account_validity AS validity
        JOIN users ON users.user_nid = validity.user_nid
        JOIN threepids ON threepids.user_nid = validity.user_nid
        LEFT JOIN profiles ON profiles.user_nid = validity.user_nid
        WHERE validity.user_nid = $1
        ORDER BY
            threepids.added_ms,
            threepids.address
        LIMIT 1
        "#,
        user as UserNid,
    )
    .fetch_optional(conn)
    .await?;
    row.map(DueRow::into_mail).transpose()
}

/// Replaces the tokens of accounts, in the order of `users`: earlier mails' links stop working.
pub async fn update_tokens(
    conn: &mut PgConnection,
    users: &[UserNid],
    tokens: &[TokenHash],
) -> Result<(), StoreError> {
    let tokens: Vec<&[u8]> = tokens.iter().map(TokenHash::as_bytes).collect();
    sqlx::query!(
        r#"
        UPDATE account_validity
        SET token_hash = new.token_hash
        FROM UNNEST($1::BIGINT[], $2::BYTEA[]) AS new (user_nid, token_hash)
        WHERE account_validity.user_nid = new.user_nid
        "#,
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
        &tokens as &[&[u8]],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that mails about these accounts' dates were sent at `now_ms`.
pub async fn update_mailed(
    conn: &mut PgConnection,
    users: &[UserNid],
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE account_validity
        SET mailed_ms = $2
        WHERE user_nid = ANY($1)
        "#,
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Accounts that expired at or before `before_ms`, the earliest first.
pub async fn list_long_expired(
    conn: &mut PgConnection,
    exclude: &[String],
    before_ms: i64,
    limit: i64,
) -> Result<Vec<(UserNid, OwnedUserId)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT
            users.user_nid AS "user: UserNid",
            users.user_id
        FROM account_validity AS validity
        JOIN users ON users.user_nid = validity.user_nid
        WHERE validity.expires_ms <= $2
            AND NOT EXISTS (
                SELECT part
                FROM UNNEST($1::TEXT[]) AS part
                WHERE STRPOS(users.user_id, part) > 0
            )
        ORDER BY validity.expires_ms
        LIMIT $3
        "#,
        exclude,
        before_ms,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.user, parse_user_id(&row.user_id, row.user)?)))
        .collect()
}

/// Accounts that have expired at `now_ms` and can be found in the user directory. `None`: accounts
/// do not expire.
pub async fn list_to_hide(
    conn: &mut PgConnection,
    exclude: &[String],
    now_ms: Option<i64>,
    limit: i64,
) -> Result<Vec<UserNid>, StoreError> {
    let users = sqlx::query_scalar!(
        r#"
        SELECT validity.user_nid AS "user: UserNid"
        FROM account_validity AS validity
        JOIN users ON users.user_nid = validity.user_nid
        JOIN user_directory ON user_directory.user_nid = validity.user_nid
        WHERE validity.expires_ms <= $2
            AND NOT user_directory.hidden_by_expiry
            AND NOT EXISTS (
                SELECT part
                FROM UNNEST($1::TEXT[]) AS part
                WHERE STRPOS(users.user_id, part) > 0
            )
        LIMIT $3
        "#,
        exclude,
        now_ms,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(users)
}

/// Accounts that are hidden because they expired, and have not expired at `now_ms`.
pub async fn list_to_show(
    conn: &mut PgConnection,
    exclude: &[String],
    now_ms: Option<i64>,
    limit: i64,
) -> Result<Vec<UserNid>, StoreError> {
    let users = sqlx::query_scalar!(
        r#"
        SELECT user_directory.user_nid AS "user: UserNid"
        FROM user_directory
        JOIN users ON users.user_nid = user_directory.user_nid
        WHERE user_directory.hidden_by_expiry
            AND (
                NOT EXISTS (
                    SELECT user_nid
                    FROM account_validity
                    WHERE account_validity.user_nid = user_directory.user_nid
                        AND account_validity.expires_ms <= $2
                )
                OR EXISTS (
                    SELECT part
                    FROM UNNEST($1::TEXT[]) AS part
                    WHERE STRPOS(users.user_id, part) > 0
                )
            )
        LIMIT $3
        "#,
        exclude,
        now_ms,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(users)
}

struct DueRow {
    user: UserNid,
    user_id: String,
    address: String,
    display_name: Option<String>,
    expires_ms: i64,
}

impl DueRow {
    fn into_mail(self) -> Result<DueMail, StoreError> {
        Ok(DueMail {
            user: self.user,
            user_id: parse_user_id(&self.user_id, self.user)?,
            address: self.address,
            display_name: self.display_name,
            expires_ms: self.expires_ms,
        })
    }
}

fn parse_user_id(user_id: &str, user: UserNid) -> Result<OwnedUserId, StoreError> {
    UserId::parse(user_id).map_err(|_| StoreError::inconsistent("users", "user_id", user))
}
