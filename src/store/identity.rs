//! What the identity service remembers: tokens, accepted terms, bindings, and hashed addresses.
//!
//! Addresses are in canonical form everywhere in this file, and times in milliseconds since the
//! epoch.

use ruma::{OwnedUserId, UserId};
use sqlx::PgConnection;

use super::{StoreError, UserNid, access_tokens::TokenHash};

/// Writes a token that proves who somebody is.
pub async fn insert_openid_token(
    conn: &mut PgConnection,
    token: TokenHash,
    user: UserNid,
    expires_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO openid_tokens (
            token_hash,
            user_nid,
            expires_ms
        )
        VALUES ($1, $2, $3)
        "#,
        token.as_bytes(),
        user as UserNid,
        expires_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whom such a token names, if the account is open.
pub async fn find_openid_user(
    conn: &mut PgConnection,
    token: TokenHash,
    now_ms: i64,
) -> Result<Option<(UserNid, OwnedUserId)>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            users.user_nid AS "user: UserNid",
            users.user_id
        FROM openid_tokens
        JOIN accounts ON accounts.user_nid = openid_tokens.user_nid
        JOIN users ON users.user_nid = accounts.user_nid
        WHERE openid_tokens.token_hash = $1
            AND openid_tokens.expires_ms > $2
            AND accounts.deactivated_ms IS NULL
        "#,
        token.as_bytes(),
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| Ok((row.user, user_id(&row.user_id)?)))
        .transpose()
}

/// Writes an access token of the identity service. Of a user's tokens the newest `keep` stay.
pub async fn insert_token(
    conn: &mut PgConnection,
    token: TokenHash,
    user: UserNid,
    created_ms: i64,
    expires_ms: i64,
    keep: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        WITH old AS (
            DELETE FROM identity_tokens
            WHERE token_hash IN (
                SELECT token_hash
                FROM identity_tokens
                WHERE user_nid = $2
                ORDER BY created_ms DESC
                OFFSET $5
            )
        )
        INSERT INTO identity_tokens (
            token_hash,
            user_nid,
            created_ms,
            expires_ms
        )
        VALUES ($1, $2, $3, $4)
        "#,
        token.as_bytes(),
        user as UserNid,
        created_ms,
        expires_ms,
        keep,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whose access token of the identity service this is, if the account is open.
pub async fn find_token_user(
    conn: &mut PgConnection,
    token: TokenHash,
    now_ms: i64,
) -> Result<Option<(UserNid, OwnedUserId)>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            users.user_nid AS "user: UserNid",
            users.user_id
        FROM identity_tokens
        JOIN accounts ON accounts.user_nid = identity_tokens.user_nid
        JOIN users ON users.user_nid = accounts.user_nid
        WHERE identity_tokens.token_hash = $1
            AND identity_tokens.expires_ms > $2
            AND accounts.deactivated_ms IS NULL
        "#,
        token.as_bytes(),
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| Ok((row.user, user_id(&row.user_id)?)))
        .transpose()
}

/// Ends an access token of the identity service.
pub async fn delete_token(conn: &mut PgConnection, token: TokenHash) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM identity_tokens
        WHERE token_hash = $1
        "#,
        token.as_bytes(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets tokens that work no more.
pub async fn delete_expired(conn: &mut PgConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        WITH openid AS (
            DELETE FROM openid_tokens
            WHERE expires_ms < $1
        )
        DELETE FROM identity_tokens
        WHERE expires_ms < $1
        "#,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down which documents somebody accepted; those of before stay.
pub async fn insert_terms(
    conn: &mut PgConnection,
    user: UserNid,
    urls: &[String],
    accepted_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO identity_terms (
            user_nid,
            url,
            accepted_ms
        )
        SELECT DISTINCT $1::BIGINT, n.url, $3::BIGINT
        FROM UNNEST($2::TEXT[]) AS n (url)
        ON CONFLICT (user_nid, url) DO NOTHING
        "#,
        user as UserNid,
        urls,
        accepted_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whose address this is: an account of this server's, or whoever bound it here.
pub async fn find_bound(
    conn: &mut PgConnection,
    address: &str,
) -> Result<Option<OwnedUserId>, StoreError> {
    let addresses = [address.to_owned()];
    let mut found = list_bound(conn, &addresses).await?;
    Ok(found.pop().map(|(_, user_id)| user_id))
}

/// Whose addresses these are; those that are nobody's are left out.
pub async fn list_bound(
    conn: &mut PgConnection,
    addresses: &[String],
) -> Result<Vec<(String, OwnedUserId)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT
            n.address AS "address!", -- comes from the list
            COALESCE(users.user_id, b.user_id) AS "user_id!" -- see the condition
        FROM UNNEST($1::TEXT[]) AS n (address)
        LEFT JOIN threepids t ON t.address = n.address
        LEFT JOIN users ON users.user_nid = t.user_nid
        LEFT JOIN identity_bindings b ON b.address = n.address
        WHERE t.user_nid IS NOT NULL
            OR b.user_id IS NOT NULL
        "#,
        addresses,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.address, user_id(&row.user_id)?)))
        .collect()
}

/// Binds an address to a user of any server, or binds it again. `false`: it is somebody else's.
pub async fn bind(
    conn: &mut PgConnection,
    address: &str,
    user_id: &UserId,
    bound_ms: i64,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        WITH hashed AS (
            INSERT INTO address_hashes (
                pepper_nid,
                hash,
                address
            )
            SELECT
                p.pepper_nid,
                SHA256(CONVERT_TO($1 || ' email ' || p.pepper, 'UTF8')),
                $1
            FROM lookup_peppers p
            ON CONFLICT DO NOTHING
        )
        INSERT INTO identity_bindings (
            address,
            user_id,
            bound_ms
        )
        SELECT $1, $2, $3
        WHERE NOT EXISTS (
            SELECT 1
            FROM threepids t
            JOIN users ON users.user_nid = t.user_nid
            WHERE t.address = $1
                AND users.user_id <> $2
        )
        ON CONFLICT (address) DO UPDATE
        SET bound_ms = EXCLUDED.bound_ms
        WHERE identity_bindings.user_id = EXCLUDED.user_id
        "#,
        address,
        user_id.as_str(),
        bound_ms,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Takes a binding away. The address of an account is not touched. `false`: there is no such
/// binding.
pub async fn unbind(
    conn: &mut PgConnection,
    address: &str,
    user_id: &UserId,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        DELETE FROM identity_bindings
        WHERE address = $1
            AND user_id = $2
        "#,
        address,
        user_id.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Takes all bindings of a user away, as the end of the account asks.
pub async fn unbind_all(conn: &mut PgConnection, user_id: &UserId) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM identity_bindings
        WHERE user_id = $1
        "#,
        user_id.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What addresses are hashed with.
pub struct Pepper {
    /// Its number.
    pub number: i64,
    /// As clients learn it.
    pub pepper: String,
    /// When it was made.
    pub created_ms: i64,
    /// Whether all addresses were hashed with it.
    pub is_ready: bool,
}

/// The peppers, newest first.
pub async fn peppers(conn: &mut PgConnection) -> Result<Vec<Pepper>, StoreError> {
    let rows = sqlx::query_as!(
        Pepper,
        r#"
        SELECT
            pepper_nid AS number,
            pepper,
            created_ms,
            is_ready
        FROM lookup_peppers
        ORDER BY pepper_nid DESC
        "#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Writes a pepper, with which new addresses are hashed from now on.
pub async fn insert_pepper(
    conn: &mut PgConnection,
    pepper: &str,
    created_ms: i64,
) -> Result<i64, StoreError> {
    let number = sqlx::query_scalar!(
        r#"
        INSERT INTO lookup_peppers (
            pepper,
            created_ms,
            is_ready
        )
        VALUES ($1, $2, FALSE)
        RETURNING pepper_nid
        "#,
        pepper,
        created_ms,
    )
    .fetch_one(conn)
    .await?;
    Ok(number)
}

/// Hashes up to `limit` addresses after `after`, in alphabetical order, with a pepper. Gives the
/// last of them; `None`: there are no more.
pub async fn hash_addresses(
    conn: &mut PgConnection,
    pepper: i64,
    after: &str,
    limit: i64,
) -> Result<Option<String>, StoreError> {
    let last = sqlx::query_scalar!(
        r#"
        WITH chosen AS (
            SELECT address
            FROM (
                (
                    SELECT address
                    FROM threepids
                    WHERE address > $2
                    ORDER BY address
                    LIMIT $3
                )
                UNION
                (
                    SELECT address
                    FROM identity_bindings
                    WHERE address > $2
                    ORDER BY address
                    LIMIT $3
                )
            ) both_kinds
            ORDER BY address
            LIMIT $3
        ), hashed AS (
            INSERT INTO address_hashes (
                pepper_nid,
                hash,
                address
            )
            SELECT
                p.pepper_nid,
                SHA256(CONVERT_TO(chosen.address || ' email ' || p.pepper, 'UTF8')),
                chosen.address
            FROM chosen
            JOIN lookup_peppers p ON p.pepper_nid = $1
            ON CONFLICT DO NOTHING
        )
        SELECT MAX(address)
        FROM chosen
        "#,
        pepper,
        after,
        limit,
    )
    .fetch_one(conn)
    .await?;
    Ok(last)
}

/// Lets clients use a pepper.
pub async fn set_pepper_ready(conn: &mut PgConnection, pepper: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE lookup_peppers
        SET is_ready = TRUE
        WHERE pepper_nid = $1
        "#,
        pepper,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the peppers before one, with all hashes.
pub async fn delete_peppers_before(conn: &mut PgConnection, pepper: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM lookup_peppers
        WHERE pepper_nid < $1
        "#,
        pepper,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The users behind hashes of a pepper; unknown hashes are left out.
pub async fn look_up(
    conn: &mut PgConnection,
    pepper: i64,
    hashes: &[Vec<u8>],
) -> Result<Vec<(Vec<u8>, String)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT
            h.hash,
            COALESCE(users.user_id, b.user_id) AS "user_id!" -- see the condition
        FROM address_hashes h
        LEFT JOIN threepids t ON t.address = h.address
        LEFT JOIN users ON users.user_nid = t.user_nid
        LEFT JOIN identity_bindings b ON b.address = h.address
        WHERE h.pepper_nid = $1
            AND h.hash = ANY($2)
            AND (t.user_nid IS NOT NULL OR b.user_id IS NOT NULL)
        "#,
        pepper,
        hashes,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.hash, row.user_id))
        .collect())
}

fn user_id(text: &str) -> Result<OwnedUserId, StoreError> {
    UserId::parse(text).map_err(|_| StoreError::inconsistent("users", "user_id", text))
}
