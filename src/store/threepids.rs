//! The e-mail addresses of accounts, and the mails that prove who reads an address.
//!
//! Addresses are in canonical form everywhere in this file.

use sqlx::PgConnection;

use super::{StoreError, UserNid, access_tokens::TokenHash};

/// An address of an account.
#[derive(Clone)]
pub struct Threepid {
    /// The address.
    pub address: String,
    /// When it was proved, in milliseconds since the epoch.
    pub validated_ms: i64,
    /// When it was added to the account, in milliseconds since the epoch.
    pub added_ms: i64,
}

/// Adds an address to an account, and its hashes to those that the identity service looks up.
/// `false`: somebody has it already.
pub async fn insert(
    conn: &mut PgConnection,
    user: UserNid,
    address: &str,
    validated_ms: i64,
    added_ms: i64,
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
        INSERT INTO threepids (
            address,
            user_nid,
            validated_ms,
            added_ms
        )
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (address) DO NOTHING
        "#,
        address,
        user as UserNid,
        validated_ms,
        added_ms,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Whose address this is.
pub async fn find_user(
    conn: &mut PgConnection,
    address: &str,
) -> Result<Option<UserNid>, StoreError> {
    let user = sqlx::query_scalar!(
        r#"
        SELECT user_nid AS "user: UserNid"
        FROM threepids
        WHERE address = $1
        "#,
        address,
    )
    .fetch_optional(conn)
    .await?;
    Ok(user)
}

/// The addresses of an account, oldest first.
pub async fn list(conn: &mut PgConnection, user: UserNid) -> Result<Vec<Threepid>, StoreError> {
    let rows = sqlx::query_as!(
        Threepid,
        r#"
        SELECT
            address,
            validated_ms,
            added_ms
        FROM threepids
        WHERE user_nid = $1
        ORDER BY
            added_ms,
            address
        "#,
        user as UserNid,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Takes all addresses from an account. They come back.
pub async fn delete_all(conn: &mut PgConnection, user: UserNid) -> Result<Vec<String>, StoreError> {
    let addresses = sqlx::query_scalar!(
        r#"
        DELETE FROM threepids
        WHERE user_nid = $1
        RETURNING address
        "#,
        user as UserNid,
    )
    .fetch_all(conn)
    .await?;
    Ok(addresses)
}

/// Takes all addresses but these from an account.
pub async fn delete_all_but(
    conn: &mut PgConnection,
    user: UserNid,
    kept: &[String],
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM threepids
        WHERE user_nid = $1
            AND NOT address = ANY($2)
        "#,
        user as UserNid,
        kept,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes one address from an account. `false`: it is not one of the account's.
pub async fn delete(
    conn: &mut PgConnection,
    user: UserNid,
    address: &str,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        DELETE FROM threepids
        WHERE address = $1
            AND user_nid = $2
        "#,
        address,
        user as UserNid,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// What a proof of an address is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Making an account.
    Registration,
    /// Setting a new password.
    Password,
    /// Binding an address at the identity service.
    Identity,
    /// Adding an address to an account.
    Address,
}

impl Purpose {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::Registration,
            Self::Password,
            Self::Identity,
            Self::Address,
        ];
        all.into_iter().find(|purpose| purpose.as_str() == name)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Password => "password",
            Self::Identity => "identity",
            Self::Address => "address",
        }
    }
}

/// A mail to be sent.
pub struct NewValidation<'a> {
    /// The session id to use if there is no session yet.
    pub sid: &'a str,
    /// What the proof is for.
    pub purpose: Purpose,
    /// The address.
    pub address: &'a str,
    /// The hash of the client's secret.
    pub client_secret: TokenHash,
    /// The client's count of tries.
    pub send_attempt: i64,
    /// The hash of the token in the link.
    pub token: TokenHash,
    /// Where the browser goes after the link.
    pub next_link: Option<&'a str>,
    /// Now, in milliseconds since the epoch.
    pub created_ms: i64,
    /// When link and proof stop being good, in milliseconds since the epoch.
    pub expires_ms: i64,
}

/// Begins a validation, or begins it again if the client's count has grown. `None`: the count has
/// not grown, so no mail is to be sent, and [`find_validation_sid`] knows the session.
pub async fn upsert_validation(
    conn: &mut PgConnection,
    new: &NewValidation<'_>,
) -> Result<Option<String>, StoreError> {
    let sid = sqlx::query_scalar!(
        r#"
        INSERT INTO email_validations (
            sid,
            purpose,
            address,
            client_secret_hash,
            send_attempt,
            token_hash,
            next_link,
            created_ms,
            expires_ms
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (purpose, address, client_secret_hash) DO UPDATE
        SET
            send_attempt = EXCLUDED.send_attempt,
            token_hash = EXCLUDED.token_hash,
            next_link = EXCLUDED.next_link,
            created_ms = EXCLUDED.created_ms,
            expires_ms = EXCLUDED.expires_ms,
            validated_ms = CASE
                WHEN email_validations.expires_ms > EXCLUDED.created_ms
                THEN email_validations.validated_ms
            END
        WHERE email_validations.send_attempt < EXCLUDED.send_attempt
            OR email_validations.expires_ms <= EXCLUDED.created_ms
        RETURNING sid
        "#,
        new.sid,
        new.purpose.as_str(),
        new.address,
        new.client_secret.as_bytes(),
        new.send_attempt,
        new.token.as_bytes(),
        new.next_link,
        new.created_ms,
        new.expires_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(sid)
}

/// The session of a client and an address, if the client's count has not grown since its last
/// mail.
pub async fn find_validation_sid(
    conn: &mut PgConnection,
    purpose: Purpose,
    address: &str,
    client_secret: TokenHash,
    now_ms: i64,
) -> Result<Option<(String, i64)>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            sid,
            send_attempt
        FROM email_validations
        WHERE purpose = $1
            AND address = $2
            AND client_secret_hash = $3
            AND expires_ms > $4
        "#,
        purpose.as_str(),
        address,
        client_secret.as_bytes(),
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.sid, row.send_attempt)))
}

/// Forgets a validation whose mail could not be sent, so that the same try can be made again.
pub async fn delete_validation(conn: &mut PgConnection, sid: &str) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM email_validations
        WHERE sid = $1
        "#,
        sid,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A link that was opened.
#[derive(Clone, Debug)]
pub struct OpenedLink {
    /// Where the browser goes now.
    pub next_link: Option<String>,
}

/// Whether a link is good, without using it.
pub async fn is_link_good(
    conn: &mut PgConnection,
    purpose: Purpose,
    sid: &str,
    secrets: (TokenHash, TokenHash),
    now_ms: i64,
) -> Result<bool, StoreError> {
    let (client_secret, token) = secrets;
    let found = sqlx::query_scalar!(
        r#"
        SELECT sid
        FROM email_validations
        WHERE sid = $1
            AND purpose = $2
            AND client_secret_hash = $3
            AND token_hash = $4
            AND expires_ms > $5
        "#,
        sid,
        purpose.as_str(),
        client_secret.as_bytes(),
        token.as_bytes(),
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Marks a validation as proved. `secrets` are the hashes of the client's secret and of the
/// link's token. Opening the link again changes nothing. `None`: something does not fit.
pub async fn open_link(
    conn: &mut PgConnection,
    purpose: Purpose,
    sid: &str,
    secrets: (TokenHash, TokenHash),
    now_ms: i64,
) -> Result<Option<OpenedLink>, StoreError> {
    let (client_secret, token) = secrets;
    let row = sqlx::query_as!(
        OpenedLink,
        r#"
        UPDATE email_validations
        SET validated_ms = COALESCE(validated_ms, $5)
        WHERE sid = $1
            AND purpose = $2
            AND client_secret_hash = $3
            AND token_hash = $4
            AND expires_ms > $5
        RETURNING next_link
        "#,
        sid,
        purpose.as_str(),
        client_secret.as_bytes(),
        token.as_bytes(),
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// The address that a session proved. `None`: there is no such session, its secret is another
/// one, or its link was not opened.
pub async fn find_validated(
    conn: &mut PgConnection,
    purpose: Purpose,
    sid: &str,
    client_secret: TokenHash,
    now_ms: i64,
) -> Result<Option<String>, StoreError> {
    let address = sqlx::query_scalar!(
        r#"
        SELECT address
        FROM email_validations
        WHERE sid = $1
            AND purpose = $2
            AND client_secret_hash = $3
            AND validated_ms IS NOT NULL
            AND expires_ms > $4
        "#,
        sid,
        purpose.as_str(),
        client_secret.as_bytes(),
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(address)
}

/// How far a session of a client has come.
#[derive(Clone, Debug)]
pub struct ValidationState {
    /// The address.
    pub address: String,
    /// When the link was opened; `None`: not yet.
    pub validated_ms: Option<i64>,
    /// When link and proof stop being good.
    pub expires_ms: i64,
    /// SHA-256 of the token in the link.
    pub token: Vec<u8>,
}

/// The session with this id and secret, also one that is over but not forgotten. `None`: there is
/// no such session.
pub async fn find_validation(
    conn: &mut PgConnection,
    purpose: Purpose,
    sid: &str,
    client_secret: TokenHash,
) -> Result<Option<ValidationState>, StoreError> {
    let row = sqlx::query_as!(
        ValidationState,
        r#"
        SELECT
            address,
            validated_ms,
            expires_ms,
            token_hash AS token
        FROM email_validations
        WHERE sid = $1
            AND purpose = $2
            AND client_secret_hash = $3
        "#,
        sid,
        purpose.as_str(),
        client_secret.as_bytes(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Forgets the proofs of an address for a purpose, now that one was used.
pub async fn delete_validations_of(
    conn: &mut PgConnection,
    purpose: Purpose,
    address: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM email_validations
        WHERE purpose = $1
            AND address = $2
        "#,
        purpose.as_str(),
        address,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the validations that are over.
pub async fn delete_expired_validations(
    conn: &mut PgConnection,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM email_validations
        WHERE expires_ms < $1
        "#,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}
