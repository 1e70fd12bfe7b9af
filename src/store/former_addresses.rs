//! Which addresses closed accounts had. Addresses are in canonical form.

use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::{
    StoreError, UserNid,
    accounts::{Account, ClosedBy},
};

/// Keeps the addresses of an account that was closed at `closed_ms`.
pub async fn insert(
    conn: &mut PgConnection,
    user: UserNid,
    addresses: &[String],
    closed_ms: i64,
) -> Result<(), StoreError> {
    let hashes: Vec<Vec<u8>> = addresses.iter().map(|address| hash(address)).collect();
    sqlx::query!(
        r#"
        INSERT INTO former_addresses (
            address_hash,
            user_nid,
            closed_ms
        )
        SELECT
            address_hash,
            $1,
            $3
        FROM UNNEST($2::BYTEA[]) AS new (address_hash)
        ON CONFLICT (address_hash, user_nid) DO UPDATE
        SET closed_ms = EXCLUDED.closed_ms
        "#,
        user as UserNid,
        &hashes,
        closed_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The account that was closed last, by one of these, with this address. The row of the account
/// stays locked until the transaction ends, so that it comes back once.
pub async fn find_closed(
    conn: &mut PgConnection,
    address: &str,
    closed_by: &[ClosedBy],
) -> Result<Option<Account>, StoreError> {
    let closed_by: Vec<String> = closed_by.iter().map(|by| by.as_str().to_owned()).collect();
    let found = sqlx::query_scalar!(
        r#"
        SELECT accounts.user_nid AS "user: UserNid"
        FROM former_addresses
        JOIN accounts ON accounts.user_nid = former_addresses.user_nid
        WHERE former_addresses.address_hash = $1
            AND accounts.deactivated_ms IS NOT NULL
            AND NOT accounts.is_erased
            AND accounts.closed_by = ANY($2)
        ORDER BY former_addresses.closed_ms DESC
        LIMIT 1
        FOR UPDATE OF accounts
        "#,
        hash(address),
        &closed_by,
    )
    .fetch_optional(&mut *conn)
    .await?;
    match found {
        Some(user) => super::accounts::find_by_number(conn, user).await,
        None => Ok(None),
    }
}

/// Forgets which addresses an account had.
pub async fn delete(conn: &mut PgConnection, user: UserNid) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM former_addresses
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn hash(address: &str) -> Vec<u8> {
    Sha256::digest(address.as_bytes()).to_vec()
}
