//! What is to be done for invitations by e-mail: the invites that they become, and their mails.
//!
//! Whoever does something takes it first, for a while: nobody else does it meanwhile, and if the
//! process ends, somebody does it afterwards. Times are in milliseconds since the epoch.

use ruma::{OwnedRoomId, OwnedUserId, RoomId};
use sqlx::PgConnection;
use zeroize::Zeroizing;

use super::{
    StoreError, UserNid,
    invitations::{State, user_id},
};

/// An invitation whose invite is due.
pub struct Due {
    /// The state key of its event.
    pub token: String,
    /// The room.
    pub room_id: OwnedRoomId,
    /// Who invites.
    pub inviter: UserNid,
    /// Who invites.
    pub inviter_id: OwnedUserId,
    /// Who is invited.
    pub user: UserNid,
    /// Who is invited.
    pub user_id: OwnedUserId,
    /// The address as the room sees it.
    pub display_name: String,
    /// The private half of the invitation's own key.
    pub ephemeral_seed: Zeroizing<Vec<u8>>,
    /// How often it was tried before.
    pub attempts: i32,
}

/// Takes invitations whose invites are due, at most `limit`, of one user or of all: nobody else
/// takes them before `lease_ms`.
pub async fn claim_due(
    conn: &mut PgConnection,
    user: Option<UserNid>,
    now_ms: i64,
    lease_ms: i64,
    limit: i64,
) -> Result<Vec<Due>, StoreError> {
    let rows = sqlx::query!(
        r#"
        WITH due AS (
            SELECT token
            FROM third_party_invitations
            WHERE state = 'bound'
                AND next_try_ms <= $2
                AND ($1::BIGINT IS NULL OR user_nid = $1)
            ORDER BY next_try_ms
            LIMIT $4
            FOR UPDATE SKIP LOCKED
        ), taken AS (
            UPDATE third_party_invitations i
            SET next_try_ms = $3,
                attempts = i.attempts + 1
            FROM due
            WHERE i.token = due.token
            RETURNING i.*
        )
        SELECT
            taken.token AS "token!",
            rooms.room_id,
            taken.inviter_nid AS "inviter!: UserNid",
            inviters.user_id AS inviter_id,
            taken.user_nid AS "user!: UserNid", -- state is 'bound'
            users.user_id,
            taken.display_name AS "display_name!",
            taken.ephemeral_seed AS "ephemeral_seed!",
            taken.attempts AS "attempts!"
        FROM taken
        JOIN rooms ON rooms.room_nid = taken.room_nid
        JOIN users inviters ON inviters.user_nid = taken.inviter_nid
        JOIN users ON users.user_nid = taken.user_nid
        "#,
        user as Option<UserNid>,
        now_ms,
        lease_ms,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Due {
                room_id: RoomId::parse(&row.room_id)
                    .map_err(|_| StoreError::inconsistent("rooms", "room_id", &row.room_id))?,
                inviter: row.inviter,
                inviter_id: user_id(&row.inviter_id)?,
                user: row.user,
                user_id: user_id(&row.user_id)?,
                token: row.token,
                display_name: row.display_name,
                ephemeral_seed: Zeroizing::new(row.ephemeral_seed),
                attempts: row.attempts,
            })
        })
        .collect()
}

/// Writes down what became of an invitation whose invite was due.
pub async fn settle(conn: &mut PgConnection, token: &str, state: State) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE third_party_invitations
        SET state = $2
        WHERE token = $1
            AND state = 'bound'
        "#,
        token,
        state.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts an invite off.
pub async fn postpone(
    conn: &mut PgConnection,
    token: &str,
    next_try_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE third_party_invitations
        SET next_try_ms = $2
        WHERE token = $1
            AND state = 'bound'
        "#,
        token,
        next_try_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An invitation whose mail is due.
pub struct DueMail {
    /// The state key of its event.
    pub token: String,
    /// Who is invited.
    pub address: String,
    /// What the mail calls the inviter.
    pub inviter_name: String,
    /// What the mail calls the room.
    pub room_name: Option<String>,
    /// Until when it lets somebody register.
    pub expires_ms: i64,
}

/// Takes invitations whose mails are due, at most `limit`, those of `tokens` or all: nobody else
/// takes them before `lease_ms`.
pub async fn claim_mails(
    conn: &mut PgConnection,
    tokens: Option<&[String]>,
    now_ms: i64,
    lease_ms: i64,
    limit: i64,
) -> Result<Vec<DueMail>, StoreError> {
    let rows = sqlx::query_as!(
        DueMail,
        r#"
        WITH due AS (
            SELECT token
            FROM third_party_invitations
            WHERE mail_due_ms <= $2
                AND state = 'pending'
                AND ($1::TEXT[] IS NULL OR token = ANY($1))
            ORDER BY mail_due_ms
            LIMIT $4
            FOR UPDATE SKIP LOCKED
        )
        UPDATE third_party_invitations i
        SET mail_due_ms = $3
        FROM due
        WHERE i.token = due.token
        RETURNING
            i.token,
            i.address,
            i.inviter_name,
            i.room_name,
            i.expires_ms
        "#,
        tokens,
        now_ms,
        lease_ms,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Writes down that mails were handed over, or never will be.
pub async fn mails_done(conn: &mut PgConnection, tokens: &[String]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE third_party_invitations
        SET mail_due_ms = NULL
        WHERE token = ANY($1)
        "#,
        tokens,
    )
    .execute(conn)
    .await?;
    Ok(())
}
