//! The accounts of this server: passwords, roles, and whether they are open.

use std::collections::HashMap;

use ruma::{OwnedUserId, UserId};
use sqlx::PgConnection;
use zeroize::Zeroizing;

use super::{StoreError, UserNid, user_directory};

/// An account, open or closed.
#[derive(Clone)]
pub struct Account {
    /// The user's number.
    pub user: UserNid,
    /// The user's id.
    pub user_id: OwnedUserId,
    /// Argon2id in the PHC format; `None`: there is no password.
    pub password_hash: Option<Zeroizing<String>>,
    /// Whether the account may administer the server.
    pub is_admin: bool,
    /// Whether the person is an external guest.
    pub is_external: bool,
    /// Whether the account was closed.
    pub is_deactivated: bool,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("user_id", &self.user_id)
            .field("is_admin", &self.is_admin)
            .field("is_external", &self.is_external)
            .field("is_deactivated", &self.is_deactivated)
            .finish_non_exhaustive()
    }
}

/// Who closed an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// Its owner.
    User,
    /// An administrator or operator.
    Admin,
    /// Nobody renewed it for a long time.
    Expiry,
}

impl ClosedBy {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
            Self::Expiry => "expiry",
        }
    }
}

/// An account to be made.
pub struct NewAccount<'a> {
    /// The user's number.
    pub user: UserNid,
    /// Argon2id in the PHC format, if there is a password.
    pub password_hash: Option<&'a str>,
    /// Whether it may administer the server.
    pub is_admin: bool,
    /// Whether the person is an external guest.
    pub is_external: bool,
    /// Whether it is a guest account of the specification.
    pub is_guest: bool,
    /// What a shared-secret registration says about it.
    pub user_type: Option<&'a str>,
    /// Now.
    pub created_ms: i64,
}

/// Makes an account. `false`: the user has one already, perhaps a closed one.
pub async fn insert(conn: &mut PgConnection, new: &NewAccount<'_>) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        INSERT INTO accounts (
            user_nid,
            password_hash,
            is_admin,
            is_external,
            user_type,
            created_ms,
            is_guest
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (user_nid) DO NOTHING
        "#,
        new.user as UserNid,
        new.password_hash,
        new.is_admin,
        new.is_external,
        new.user_type,
        new.created_ms,
        new.is_guest,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// The account of a user id.
pub async fn find(
    conn: &mut PgConnection,
    user_id: &UserId,
) -> Result<Option<Account>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT
            users.user_nid AS "user: UserNid",
            users.user_id,
            accounts.password_hash,
            accounts.is_admin,
            accounts.is_external,
            accounts.deactivated_ms
        FROM users
        JOIN accounts ON accounts.user_nid = users.user_nid
        WHERE users.user_id = $1
        "#,
        user_id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::into_account).transpose()
}

/// The account of a user's number.
pub async fn find_by_number(
    conn: &mut PgConnection,
    user: UserNid,
) -> Result<Option<Account>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT
            users.user_nid AS "user: UserNid",
            users.user_id,
            accounts.password_hash,
            accounts.is_admin,
            accounts.is_external,
            accounts.deactivated_ms
        FROM accounts
        JOIN users ON users.user_nid = accounts.user_nid
        WHERE accounts.user_nid = $1
        "#,
        user as UserNid,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::into_account).transpose()
}

/// The account that an e-mail address, in canonical form, belongs to.
pub async fn find_by_address(
    conn: &mut PgConnection,
    address: &str,
) -> Result<Option<Account>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT
            users.user_nid AS "user: UserNid",
            users.user_id,
            accounts.password_hash,
            accounts.is_admin,
            accounts.is_external,
            accounts.deactivated_ms
        FROM threepids
        JOIN accounts ON accounts.user_nid = threepids.user_nid
        JOIN users ON users.user_nid = accounts.user_nid
        WHERE threepids.address = $1
        "#,
        address,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::into_account).transpose()
}

/// Which of these user ids have an account, open or closed.
pub async fn list_existing(
    conn: &mut PgConnection,
    user_ids: &[OwnedUserId],
) -> Result<Vec<OwnedUserId>, StoreError> {
    let user_ids: Vec<String> = user_ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_scalar!(
        r#"
        SELECT users.user_id
        FROM users
        JOIN accounts ON accounts.user_nid = users.user_nid
        WHERE users.user_id = ANY($1)
        "#,
        &user_ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|id| UserId::parse(&id).map_err(|_| StoreError::inconsistent("users", "user_id", &id)))
        .collect()
}

/// What an account is to the rules of rooms and profiles.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AccountFlags {
    /// Whether the account may administer the server.
    pub is_admin: bool,
    /// Whether the person is an external guest.
    pub is_external: bool,
    /// Whether the account was closed.
    pub is_deactivated: bool,
}

/// The flags of those of these users who have an account, open or closed.
pub async fn list_flags(
    conn: &mut PgConnection,
    user_ids: &[OwnedUserId],
) -> Result<HashMap<OwnedUserId, AccountFlags>, StoreError> {
    let user_ids: Vec<&str> = user_ids.iter().map(|user_id| user_id.as_str()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT
            users.user_id,
            accounts.is_admin,
            accounts.is_external,
            accounts.deactivated_ms
        FROM users
        JOIN accounts ON accounts.user_nid = users.user_nid
        WHERE users.user_id = ANY($1)
        "#,
        &user_ids as &[&str],
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let user_id = UserId::parse(&row.user_id)
                .map_err(|_| StoreError::inconsistent("users", "user_id", &row.user_id))?;
            let flags = AccountFlags {
                is_admin: row.is_admin,
                is_external: row.is_external,
                is_deactivated: row.deactivated_ms.is_some(),
            };
            Ok((user_id, flags))
        })
        .collect()
}

/// Replaces the password. `false`: there is no such open account.
pub async fn update_password(
    conn: &mut PgConnection,
    user: UserNid,
    password_hash: Option<&str>,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        UPDATE accounts
        SET password_hash = $2
        WHERE user_nid = $1
            AND deactivated_ms IS NULL
        "#,
        user as UserNid,
        password_hash,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Makes the account an administrator, or an ordinary one.
pub async fn update_admin(
    conn: &mut PgConnection,
    user: UserNid,
    is_admin: bool,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE accounts
        SET is_admin = $2
        WHERE user_nid = $1
        "#,
        user as UserNid,
        is_admin,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Closes the account and forgets its password. `false`: it was closed before, and only an
/// erasure was added, if one was asked for. An administrator who closes a closed account makes
/// sure that it does not come back by itself. The user directory follows.
pub async fn deactivate(
    conn: &mut PgConnection,
    user: UserNid,
    now_ms: i64,
    erase: bool,
    by: ClosedBy,
) -> Result<bool, StoreError> {
    let was_open = sqlx::query_scalar!(
        r#"
        WITH before AS (
            SELECT
                user_nid,
                deactivated_ms IS NULL AS was_open
            FROM accounts
            WHERE user_nid = $1
            FOR UPDATE
        )
        UPDATE accounts
        SET
            password_hash = NULL,
            is_admin = FALSE,
            deactivated_ms = COALESCE(accounts.deactivated_ms, $2),
            closed_by = CASE
                WHEN before.was_open OR $4 = 'admin'
                THEN $4
                ELSE accounts.closed_by
            END,
            is_erased = accounts.is_erased OR $3
        FROM before
        WHERE accounts.user_nid = before.user_nid
        RETURNING before.was_open AS "was_open!" -- IS NULL is never null
        "#,
        user as UserNid,
        now_ms,
        erase,
        by.as_str(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    user_directory::refresh(conn, &[user]).await?;
    Ok(was_open == Some(true))
}

/// Opens a closed account again, with a password if there is one. `false`: it is not closed.
pub async fn reactivate(
    conn: &mut PgConnection,
    user: UserNid,
    password_hash: Option<&str>,
    is_external: bool,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        UPDATE accounts
        SET
            password_hash = $2,
            is_external = $3,
            deactivated_ms = NULL,
            closed_by = NULL,
            is_erased = FALSE
        WHERE user_nid = $1
            AND deactivated_ms IS NOT NULL
        "#,
        user as UserNid,
        password_hash,
        is_external,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Whether there is any account at all, so that a first run can be told from a later one.
pub async fn any(conn: &mut PgConnection) -> Result<bool, StoreError> {
    let any = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT user_nid
            FROM accounts
        ) AS "any!" -- EXISTS is never null
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(any)
}

struct Row {
    user: UserNid,
    user_id: String,
    password_hash: Option<String>,
    is_admin: bool,
    is_external: bool,
    deactivated_ms: Option<i64>,
}

impl Row {
    fn into_account(self) -> Result<Account, StoreError> {
        let user_id = UserId::parse(&self.user_id)
            .map_err(|_| StoreError::inconsistent("users", "user_id", self.user))?;
        Ok(Account {
            user: self.user,
            user_id,
            password_hash: self.password_hash.map(Zeroizing::new),
            is_admin: self.is_admin,
            is_external: self.is_external,
            is_deactivated: self.deactivated_ms.is_some(),
        })
    }
}
