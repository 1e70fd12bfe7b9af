//! What administrators, and others, see of accounts.

use ruma::{OwnedUserId, UserId};
use sqlx::PgConnection;

use super::{StoreError, UserNid};

/// An account as administrators see it.
#[derive(Clone, Debug)]
pub struct Details {
    /// The user's number.
    pub user: UserNid,
    /// The user's id.
    pub user_id: OwnedUserId,
    /// Whether the account may administer the server.
    pub is_admin: bool,
    /// Whether the person is an external guest.
    pub is_external: bool,
    /// What a shared-secret registration said about it.
    pub user_type: Option<String>,
    /// When it was made, in milliseconds since the epoch.
    pub created_ms: i64,
    /// When it was closed, in milliseconds since the epoch; `None`: it is open.
    pub deactivated_ms: Option<i64>,
    /// Whether what the user wrote is to be forgotten.
    pub is_erased: bool,
}

/// An account as administrators see it.
pub async fn find_details(
    conn: &mut PgConnection,
    user_id: &UserId,
) -> Result<Option<Details>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            accounts.user_nid AS "user: UserNid",
            accounts.is_admin,
            accounts.is_external,
            accounts.user_type,
            accounts.created_ms,
            accounts.deactivated_ms,
            accounts.is_erased
        FROM users
        JOIN accounts ON accounts.user_nid = users.user_nid
        WHERE users.user_id = $1
        "#,
        user_id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Details {
        user: row.user,
        user_id: user_id.to_owned(),
        is_admin: row.is_admin,
        is_external: row.is_external,
        user_type: row.user_type,
        created_ms: row.created_ms,
        deactivated_ms: row.deactivated_ms,
        is_erased: row.is_erased,
    }))
}

/// What others may know of an account (tchap.md 6.3).
#[derive(Clone, Debug)]
pub struct Info {
    /// The user's id.
    pub user_id: OwnedUserId,
    /// Whether the person is an external guest.
    pub is_external: bool,
    /// Whether the account is closed.
    pub is_deactivated: bool,
    /// When it expires; `None`: it has no date.
    pub expires_ms: Option<i64>,
}

/// What others may know of the accounts of these user ids. Users without an account are left out.
pub async fn list_info(
    conn: &mut PgConnection,
    user_ids: &[OwnedUserId],
) -> Result<Vec<Info>, StoreError> {
    let user_ids: Vec<String> = user_ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"
        SELECT
            users.user_id,
            accounts.is_external,
            accounts.deactivated_ms,
            account_validity.expires_ms AS "expires_ms?" -- from a left join
        FROM users
        JOIN accounts ON accounts.user_nid = users.user_nid
        LEFT JOIN account_validity ON account_validity.user_nid = users.user_nid
        WHERE users.user_id = ANY($1)
        "#,
        &user_ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Info {
                user_id: UserId::parse(&row.user_id)
                    .map_err(|_| StoreError::inconsistent("users", "user_id", &row.user_id))?,
                is_external: row.is_external,
                is_deactivated: row.deactivated_ms.is_some(),
                expires_ms: row.expires_ms,
            })
        })
        .collect()
}
