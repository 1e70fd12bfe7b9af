//! Operations that wait for more proofs of who asks.

use ruma::OwnedDeviceId;
use sqlx::PgConnection;
use zeroize::Zeroizing;

use super::{StoreError, UserNid, access_tokens::TokenHash, threepids::Purpose};

/// A session of user-interactive authentication.
#[derive(Clone)]
pub struct InteractiveAuthSession {
    /// What the session is good for.
    pub binding: Vec<u8>,
    /// The stages that were passed.
    pub completed: Vec<String>,
    /// What was learned so far.
    pub results: Results,
}

/// What a session has learned: results of stages and of checks, never a password.
#[derive(Clone, Default)]
pub struct Results {
    /// The local part that a registration asks for.
    pub username: Option<String>,
    /// Argon2id of the new password.
    pub password_hash: Option<Zeroizing<String>>,
    /// The device id that a registration asks for.
    pub device_id: Option<OwnedDeviceId>,
    /// The name of the device that registers.
    pub device_name: Option<String>,
    /// The address that the e-mail stage proved, in canonical form.
    pub address: Option<String>,
    /// The registration token that was accepted.
    pub registration_token: Option<String>,
}

/// A session to begin.
pub struct NewAuthSession<'a> {
    /// Its id, hashed.
    pub session: TokenHash,
    /// What it is good for.
    pub binding: &'a [u8],
    /// The stages that may be passed on a page in a browser.
    pub offered: &'a [&'a str],
    /// Whose account it is about, if that is known.
    pub user: Option<UserNid>,
    /// What a proof of an address must have been asked for.
    pub purpose: Purpose,
    /// Now.
    pub created_ms: i64,
    /// When it ends.
    pub expires_ms: i64,
}

/// What a page in a browser is told of a session.
#[derive(Clone, Debug)]
pub struct BrowserSession {
    /// The stages that may be passed there.
    pub offered: Vec<String>,
    /// The stages that were passed.
    pub completed: Vec<String>,
    /// Whose account it is about, if that is known.
    pub user: Option<UserNid>,
    /// What a proof of an address must have been asked for.
    pub purpose: Option<Purpose>,
}

/// Begins a session.
pub async fn insert(conn: &mut PgConnection, new: &NewAuthSession<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO interactive_auth_sessions (
            session_hash,
            binding,
            offered,
            user_nid,
            purpose,
            created_ms,
            expires_ms
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
        new.session.as_bytes(),
        new.binding,
        new.offered as &[&str],
        new.user as Option<UserNid>,
        new.purpose.as_str(),
        new.created_ms,
        new.expires_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A session that is not over.
pub async fn find(
    conn: &mut PgConnection,
    session: TokenHash,
    now_ms: i64,
) -> Result<Option<InteractiveAuthSession>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT
            binding,
            completed,
            username,
            password_hash,
            device_id,
            device_name,
            address,
            registration_token
        FROM interactive_auth_sessions
        WHERE session_hash = $1
            AND expires_ms > $2
        "#,
        session.as_bytes(),
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Row::into_session))
}

/// The same for a page in a browser, which knows the id alone.
pub async fn find_for_browser(
    conn: &mut PgConnection,
    session: TokenHash,
    now_ms: i64,
) -> Result<Option<BrowserSession>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            offered,
            completed,
            user_nid AS "user: UserNid",
            purpose
        FROM interactive_auth_sessions
        WHERE session_hash = $1
            AND expires_ms > $2
        "#,
        session.as_bytes(),
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| BrowserSession {
        offered: row.offered,
        completed: row.completed,
        user: row.user,
        purpose: row.purpose.as_deref().and_then(Purpose::parse),
    }))
}

/// Adds what was learned, and a stage that was passed. What the session knew before stays.
/// `None`: the session is gone, perhaps because another request has just used it.
pub async fn update(
    conn: &mut PgConnection,
    session: TokenHash,
    stage: Option<&str>,
    learned: &Results,
) -> Result<Option<InteractiveAuthSession>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        UPDATE interactive_auth_sessions
        SET
            completed = CASE
                WHEN $2::TEXT IS NULL OR $2 = ANY(completed) THEN completed
                ELSE ARRAY_APPEND(completed, $2)
            END,
            username = COALESCE(username, $3),
            password_hash = COALESCE(password_hash, $4),
            device_id = COALESCE(device_id, $5),
            device_name = COALESCE(device_name, $6),
            address = COALESCE(address, $7),
            registration_token = COALESCE(registration_token, $8)
        WHERE session_hash = $1
        RETURNING
            binding,
            completed,
            username,
            password_hash,
            device_id,
            device_name,
            address,
            registration_token
        "#,
        session.as_bytes(),
        stage,
        learned.username,
        learned.password_hash.as_ref().map(|hash| hash.as_str()),
        learned.device_id.as_ref().map(|id| id.as_str()),
        learned.device_name,
        learned.address,
        learned.registration_token,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Row::into_session))
}

/// Ends a session, in the transaction of the operation that it was for. `false`: another request
/// has ended it.
pub async fn delete(conn: &mut PgConnection, session: TokenHash) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        DELETE FROM interactive_auth_sessions
        WHERE session_hash = $1
        "#,
        session.as_bytes(),
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Forgets the sessions that are over.
pub async fn delete_expired(conn: &mut PgConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM interactive_auth_sessions
        WHERE expires_ms < $1
        "#,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct Row {
    binding: Vec<u8>,
    completed: Vec<String>,
    username: Option<String>,
    password_hash: Option<String>,
    device_id: Option<String>,
    device_name: Option<String>,
    address: Option<String>,
    registration_token: Option<String>,
}

impl Row {
    fn into_session(self) -> InteractiveAuthSession {
        InteractiveAuthSession {
            binding: self.binding,
            completed: self.completed,
            results: Results {
                username: self.username,
                password_hash: self.password_hash.map(Zeroizing::new),
                device_id: self.device_id.map(OwnedDeviceId::from),
                device_name: self.device_name,
                address: self.address,
                registration_token: self.registration_token,
            },
        }
    }
}
