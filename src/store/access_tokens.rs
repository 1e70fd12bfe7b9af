//! Access and refresh tokens, by hash.
//!
//! Deleting a device deletes its tokens, and deleting a refresh token deletes the access token
//! that was given out with it. A refresh token stays beside its successor until the successor,
//! or the successor's access token, is used for the first time.

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::{DeviceNid, StoreError, UserNid};

/// The channel on which processes tell each other whose sessions they have to load again.
pub const SESSIONS_CHANNEL: &str = "chappe_sessions";

/// SHA-256 of a secret that somebody else keeps. Two of them may be compared in any way: knowing
/// how far they agree does not help to find the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a secret.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// The bytes, as the database has them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn from_column(bytes: &[u8], column: &'static str) -> Result<Self, StoreError> {
        let bytes = bytes
            .try_into()
            .map_err(|_| StoreError::inconsistent("refresh_tokens", column, bytes.len()))?;
        Ok(Self(bytes))
    }
}

/// What an access token stands for.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, as the tables have it"
)]
pub struct Session {
    /// The user's number.
    pub user: UserNid,
    /// The user's id.
    pub user_id: OwnedUserId,
    /// The device's number; `None`: an application service acts for the user without a device.
    pub device: Option<DeviceNid>,
    /// The device's id.
    pub device_id: Option<OwnedDeviceId>,
    /// Whether the user may administer the server.
    pub is_admin: bool,
    /// Whether the user is an external guest.
    pub is_external: bool,
    /// Whether it is a guest account of the specification.
    pub is_guest: bool,
    /// Whether the account is closed.
    pub is_deactivated: bool,
    /// Whether the account is locked.
    pub is_locked: bool,
    /// Whether the account is suspended.
    pub is_suspended: bool,
    /// When the account expires, in milliseconds since the epoch; `None`: it has no date. Says
    /// nothing where accounts do not expire.
    pub account_expires_ms: Option<i64>,
    /// When the token stops working, in milliseconds since the epoch; `None`: at logout.
    pub expires_ms: Option<i64>,
    /// Whether the client has a refresh token.
    pub can_refresh: bool,
    /// The refresh token to forget now that this access token is used.
    pub replaced: Option<TokenHash>,
}

/// What a refresh token stands for.
#[derive(Clone, Debug)]
pub struct Refreshable {
    /// The user's number.
    pub user: UserNid,
    /// The user's id.
    pub user_id: OwnedUserId,
    /// The device's number.
    pub device: DeviceNid,
    /// The device's id.
    pub device_id: OwnedDeviceId,
    /// Whether the account is closed.
    pub is_deactivated: bool,
    /// Whether the account is locked.
    pub is_locked: bool,
    /// When the token stops working, in milliseconds since the epoch; `None`: at logout.
    pub expires_ms: Option<i64>,
    /// The refresh token to forget now that this one is used.
    pub replaced: Option<TokenHash>,
}

/// What an access token stands for.
pub async fn find(
    conn: &mut PgConnection,
    token: TokenHash,
) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            users.user_nid AS "user: UserNid",
            users.user_id,
            devices.device_nid AS "device: DeviceNid",
            devices.device_id,
            accounts.is_admin,
            accounts.is_external,
            accounts.is_guest,
            accounts.deactivated_ms,
            account_holds.locked_ms AS "locked_ms?", -- from a left join
            account_holds.suspended_ms AS "suspended_ms?", -- from a left join
            account_validity.expires_ms AS "account_expires_ms?", -- from a left join
            access_tokens.expires_ms,
            access_tokens.refresh_hash,
            refresh_tokens.replaces AS "replaces?" -- from a left join
        FROM access_tokens
        JOIN devices ON devices.device_nid = access_tokens.device_nid
        JOIN accounts ON accounts.user_nid = devices.user_nid
        JOIN users ON users.user_nid = devices.user_nid
        LEFT JOIN account_holds ON account_holds.user_nid = devices.user_nid
        LEFT JOIN account_validity ON account_validity.user_nid = devices.user_nid
        LEFT JOIN refresh_tokens ON refresh_tokens.token_hash = access_tokens.refresh_hash
        WHERE access_tokens.token_hash = $1
        "#,
        token.as_bytes(),
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Session {
        user: row.user,
        user_id: parse_user_id(&row.user_id, row.user)?,
        device: Some(row.device),
        device_id: Some(row.device_id.into()),
        is_admin: row.is_admin,
        is_external: row.is_external,
        is_guest: row.is_guest,
        is_deactivated: row.deactivated_ms.is_some(),
        is_locked: row.locked_ms.is_some(),
        is_suspended: row.suspended_ms.is_some(),
        account_expires_ms: row.account_expires_ms,
        expires_ms: row.expires_ms,
        can_refresh: row.refresh_hash.is_some(),
        replaced: parse_replaces(row.replaces.as_deref())?,
    }))
}

/// What an application service stands for that acts for a user, with one of the user's devices or
/// without. `None`: there is no such user. `Session::device` is `None` if there is no such device.
pub async fn find_of_user(
    conn: &mut PgConnection,
    user_id: &UserId,
    device_id: Option<&DeviceId>,
) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            users.user_nid AS "user: UserNid",
            users.user_id,
            devices.device_nid AS "device?: DeviceNid", -- from a left join
            devices.device_id AS "device_id?", -- from a left join
            accounts.is_admin,
            accounts.is_external,
            accounts.deactivated_ms,
            account_holds.locked_ms AS "locked_ms?", -- from a left join
            account_holds.suspended_ms AS "suspended_ms?" -- from a left join
        FROM users
        JOIN accounts ON accounts.user_nid = users.user_nid
        LEFT JOIN devices ON devices.user_nid = users.user_nid
            AND devices.device_id = $2
        LEFT JOIN account_holds ON account_holds.user_nid = users.user_nid
        WHERE users.user_id = $1
        "#,
        user_id.as_str(),
        device_id.map(DeviceId::as_str),
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Session {
        user: row.user,
        user_id: parse_user_id(&row.user_id, row.user)?,
        device: row.device,
        device_id: row.device_id.map(Into::into),
        is_admin: row.is_admin,
        is_external: row.is_external,
        // An application service's users are no guests.
        is_guest: false,
        is_deactivated: row.deactivated_ms.is_some(),
        is_locked: row.locked_ms.is_some(),
        is_suspended: row.suspended_ms.is_some(),
        account_expires_ms: None,
        expires_ms: None,
        can_refresh: false,
        replaced: None,
    }))
}

/// What a refresh token stands for. The row stays locked until the transaction ends, so that one
/// token cannot be traded twice at the same time.
pub async fn find_refresh(
    conn: &mut PgConnection,
    token: TokenHash,
) -> Result<Option<Refreshable>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            users.user_nid AS "user: UserNid",
            users.user_id,
            devices.device_nid AS "device: DeviceNid",
            devices.device_id,
            accounts.deactivated_ms,
            account_holds.locked_ms AS "locked_ms?", -- from a left join
            refresh_tokens.expires_ms,
            refresh_tokens.replaces
        FROM refresh_tokens
        JOIN devices ON devices.device_nid = refresh_tokens.device_nid
        JOIN accounts ON accounts.user_nid = devices.user_nid
        JOIN users ON users.user_nid = devices.user_nid
        LEFT JOIN account_holds ON account_holds.user_nid = devices.user_nid
        WHERE refresh_tokens.token_hash = $1
        FOR UPDATE OF refresh_tokens
        "#,
        token.as_bytes(),
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Refreshable {
        user: row.user,
        user_id: parse_user_id(&row.user_id, row.user)?,
        device: row.device,
        device_id: row.device_id.into(),
        is_deactivated: row.deactivated_ms.is_some(),
        is_locked: row.locked_ms.is_some(),
        expires_ms: row.expires_ms,
        replaced: parse_replaces(row.replaces.as_deref())?,
    }))
}

/// A token to be kept.
#[derive(Clone, Copy, Debug)]
pub struct NewToken {
    /// Its hash.
    pub token: TokenHash,
    /// The device that it is for.
    pub device: DeviceNid,
    /// Now, in milliseconds since the epoch.
    pub created_ms: i64,
    /// When it stops working, in milliseconds since the epoch; `None`: at logout.
    pub expires_ms: Option<i64>,
}

/// Keeps an access token, with the refresh token that goes with it.
pub async fn insert(
    conn: &mut PgConnection,
    new: &NewToken,
    refresh: Option<TokenHash>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO access_tokens (
            token_hash,
            device_nid,
            refresh_hash,
            created_ms,
            expires_ms
        )
        VALUES ($1, $2, $3, $4, $5)
        "#,
        new.token.as_bytes(),
        new.device as DeviceNid,
        refresh.as_ref().map(TokenHash::as_bytes),
        new.created_ms,
        new.expires_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps a refresh token. If it replaces one, earlier successors of that one stop working.
pub async fn insert_refresh(
    conn: &mut PgConnection,
    new: &NewToken,
    replaces: Option<TokenHash>,
) -> Result<(), StoreError> {
    if let Some(replaces) = replaces {
        sqlx::query!(
            r#"
            DELETE FROM refresh_tokens
            WHERE replaces = $1
            "#,
            replaces.as_bytes(),
        )
        .execute(&mut *conn)
        .await?;
    }
    sqlx::query!(
        r#"
        INSERT INTO refresh_tokens (
            token_hash,
            device_nid,
            replaces,
            created_ms,
            expires_ms
        )
        VALUES ($1, $2, $3, $4, $5)
        "#,
        new.token.as_bytes(),
        new.device as DeviceNid,
        replaces.as_ref().map(TokenHash::as_bytes),
        new.created_ms,
        new.expires_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets a refresh token, with its access token.
pub async fn delete_refresh(conn: &mut PgConnection, token: TokenHash) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM refresh_tokens
        WHERE token_hash = $1
        "#,
        token.as_bytes(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the tokens of a device, which stays.
pub async fn delete_of_device(
    conn: &mut PgConnection,
    device: DeviceNid,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        WITH access AS (
            DELETE FROM access_tokens
            WHERE device_nid = $1
                AND refresh_hash IS NULL
        )
        DELETE FROM refresh_tokens
        WHERE device_nid = $1
        "#,
        device as DeviceNid,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the tokens that have stopped working. An expired access token of a client that can
/// refresh it stays with its refresh token, so that the client is told to do so.
pub async fn delete_expired(conn: &mut PgConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM access_tokens
        WHERE expires_ms < $1
            AND refresh_hash IS NULL
        "#,
        now_ms,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        DELETE FROM refresh_tokens
        WHERE expires_ms < $1
        "#,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Tells every process, when the transaction commits, to forget what it remembers of the user's
/// sessions.
pub async fn notify_changed(conn: &mut PgConnection, user: UserNid) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        SELECT PG_NOTIFY($1, $2)
        "#,
        SESSIONS_CHANNEL,
        user.to_string(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn parse_user_id(user_id: &str, user: UserNid) -> Result<OwnedUserId, StoreError> {
    UserId::parse(user_id).map_err(|_| StoreError::inconsistent("users", "user_id", user))
}

fn parse_replaces(bytes: Option<&[u8]>) -> Result<Option<TokenHash>, StoreError> {
    bytes
        .map(|bytes| TokenHash::from_column(bytes, "replaces"))
        .transpose()
}
