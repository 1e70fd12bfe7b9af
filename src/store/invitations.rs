//! Invitations to rooms by e-mail (tchap.md, 5): who is invited, and what became of it.
//!
//! A row is written by the journal together with its `m.room.third_party_invite` event, and is
//! made void by the journal together with the event that withdraws it. Addresses are in canonical
//! form everywhere in this file, and times in milliseconds since the epoch.

use ruma::{OwnedUserId, UserId};
use sqlx::PgConnection;
use zeroize::Zeroizing;

use super::{RoomNid, StoreError, UserNid};

/// An invitation to be written.
#[derive(Clone)]
pub struct NewInvitation {
    /// The state key of its event.
    pub token: String,
    /// Who is invited.
    pub address: String,
    /// Who invites.
    pub inviter: UserNid,
    /// The address as rooms see it.
    pub display_name: String,
    /// The private half of the invitation's own key.
    pub ephemeral_seed: Zeroizing<[u8; 32]>,
    /// The public half, as the event has it.
    pub ephemeral_public_key: String,
    /// What the mail calls the inviter.
    pub inviter_name: String,
    /// What the mail calls the room.
    pub room_name: Option<String>,
    /// Now.
    pub created_ms: i64,
    /// Until when it lets somebody register.
    pub expires_ms: i64,
}

impl std::fmt::Debug for NewInvitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewInvitation")
            .field("inviter", &self.inviter)
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

/// What has become of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has the address yet.
    Pending,
    /// Somebody has it, and the invite is still to be sent.
    Bound,
    /// The invite was sent.
    Delivered,
    /// Withdrawn, or refused for good.
    Void,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Bound => "bound",
            Self::Delivered => "delivered",
            Self::Void => "void",
        }
    }
}

/// Writes invitations, each to its room. The mail of each is due at once. Where somebody has got
/// the address meanwhile (IN-09), the invite is due instead.
pub async fn insert_all(
    conn: &mut PgConnection,
    new: &[(RoomNid, &NewInvitation)],
) -> Result<(), StoreError> {
    fn texts<'a>(
        new: &[(RoomNid, &'a NewInvitation)],
        field: fn(&'a NewInvitation) -> &'a str,
    ) -> Vec<&'a str> {
        new.iter().map(|(_, new)| field(new)).collect()
    }
    let seeds: Vec<Vec<u8>> = new
        .iter()
        .map(|(_, new)| new.ephemeral_seed.to_vec())
        .collect();
    let room_names: Vec<Option<&str>> = new
        .iter()
        .map(|(_, new)| new.room_name.as_deref())
        .collect();
    sqlx::query!(
        r#"
        INSERT INTO third_party_invitations (
            token,
            address,
            room_nid,
            inviter_nid,
            display_name,
            ephemeral_seed,
            ephemeral_public_key,
            inviter_name,
            room_name,
            created_ms,
            expires_ms,
            state,
            user_nid,
            mail_due_ms
        )
        SELECT
            n.token,
            n.address,
            n.room_nid,
            n.inviter_nid,
            n.display_name,
            n.ephemeral_seed,
            n.ephemeral_public_key,
            n.inviter_name,
            n.room_name,
            n.created_ms,
            n.expires_ms,
            CASE WHEN t.user_nid IS NULL THEN 'pending' ELSE 'bound' END,
            t.user_nid,
            CASE WHEN t.user_nid IS NULL THEN n.created_ms END
        FROM UNNEST($1::TEXT[], $2::TEXT[], $3::BIGINT[], $4::BIGINT[], $5::TEXT[], $6::BYTEA[],
                $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::BIGINT[], $11::BIGINT[])
            AS n (token, address, room_nid, inviter_nid, display_name, ephemeral_seed,
                ephemeral_public_key, inviter_name, room_name, created_ms, expires_ms)
        LEFT JOIN threepids t ON t.address = n.address
        "#,
        &texts(new, |new| &new.token) as &[&str],
        &texts(new, |new| &new.address) as &[&str],
        &new.iter().map(|(room, _)| room.0).collect::<Vec<_>>(),
        &new.iter().map(|(_, new)| new.inviter.0).collect::<Vec<_>>(),
        &texts(new, |new| &new.display_name) as &[&str],
        &seeds,
        &texts(new, |new| &new.ephemeral_public_key) as &[&str],
        &texts(new, |new| &new.inviter_name) as &[&str],
        &room_names as &[Option<&str>],
        &new.iter()
            .map(|(_, new)| new.created_ms)
            .collect::<Vec<_>>(),
        &new.iter()
            .map(|(_, new)| new.expires_ms)
            .collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes invitations void whose events were withdrawn (IN-06).
pub async fn void(conn: &mut PgConnection, tokens: &[(RoomNid, &str)]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE third_party_invitations i
        SET state = 'void',
            mail_due_ms = NULL
        FROM UNNEST($1::BIGINT[], $2::TEXT[]) AS n (room_nid, token)
        WHERE i.token = n.token
            AND i.room_nid = n.room_nid
            AND i.state IN ('pending', 'bound')
        "#,
        &tokens.iter().map(|(room, _)| room.0).collect::<Vec<_>>(),
        &tokens.iter().map(|(_, token)| *token).collect::<Vec<_>>() as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes everything void that an inviter has open, as the end of their account asks (IN-08).
pub async fn void_by_inviter(conn: &mut PgConnection, inviter: UserNid) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE third_party_invitations
        SET state = 'void',
            mail_due_ms = NULL
        WHERE inviter_nid = $1
            AND state IN ('pending', 'bound')
        "#,
        inviter as UserNid,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether an invitation lets the address register at `now_ms` (LK-08, LK-09).
pub async fn exists_pending(
    conn: &mut PgConnection,
    address: &str,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let exists = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT 1
            FROM third_party_invitations
            WHERE address = $1
                AND state = 'pending'
                AND expires_ms > $2
        ) AS "exists!" -- EXISTS is never null
        "#,
        address,
        now_ms,
    )
    .fetch_one(conn)
    .await?;
    Ok(exists)
}

/// Gives all open invitations of an address to the user who has just got it. Their invites are due
/// at once. Gives how many there are.
pub async fn bind(
    conn: &mut PgConnection,
    address: &str,
    user: UserNid,
    now_ms: i64,
) -> Result<u64, StoreError> {
    let result = sqlx::query!(
        r#"
        UPDATE third_party_invitations
        SET state = 'bound',
            user_nid = $2,
            next_try_ms = $3,
            mail_due_ms = NULL
        WHERE address = $1
            AND state = 'pending'
            AND expires_ms > $3
        "#,
        address,
        user as UserNid,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// Finds open invitations to addresses that have an account, and makes their invites due: of an
/// invitation and a registration at the same moment neither sees the other.
pub async fn bind_overlooked(conn: &mut PgConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE third_party_invitations i
        SET state = 'bound',
            user_nid = t.user_nid,
            next_try_ms = $1,
            mail_due_ms = NULL
        FROM threepids t
        WHERE t.address = i.address
            AND i.state = 'pending'
            AND i.expires_ms > $1
        "#,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Who sent an invitation that is still open. `None`: there is none with this token.
pub async fn find_inviter(
    conn: &mut PgConnection,
    token: &str,
) -> Result<Option<OwnedUserId>, StoreError> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT users.user_id
        FROM third_party_invitations i
        JOIN users ON users.user_nid = i.inviter_nid
        WHERE i.token = $1
            AND i.state IN ('pending', 'bound')
        "#,
        token,
    )
    .fetch_optional(conn)
    .await?;
    found.as_deref().map(user_id).transpose()
}

/// Whether an invitation can still be accepted. One that this server does not remember is left to
/// its room.
pub async fn is_open(
    conn: &mut PgConnection,
    token: &str,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let is_open = sqlx::query_scalar!(
        r#"
        SELECT state IN ('pending', 'bound')
            AND expires_ms > $2 AS "is_open!" -- both columns are not null
        FROM third_party_invitations
        WHERE token = $1
        "#,
        token,
        now_ms,
    )
    .fetch_optional(conn)
    .await?;
    Ok(is_open.unwrap_or(true))
}

/// Whether a key belongs to an invitation that is still open.
pub async fn is_key_valid(
    conn: &mut PgConnection,
    public_key: &str,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let valid = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT 1
            FROM third_party_invitations
            WHERE ephemeral_public_key = $1
                AND (state = 'bound' OR (state = 'pending' AND expires_ms > $2))
        ) AS "valid!" -- EXISTS is never null
        "#,
        public_key,
        now_ms,
    )
    .fetch_one(conn)
    .await?;
    Ok(valid)
}

/// Forgets at most `limit` invitations that ended before `before_ms`. Gives how many.
pub async fn delete_old(
    conn: &mut PgConnection,
    before_ms: i64,
    limit: i64,
) -> Result<u64, StoreError> {
    let result = sqlx::query!(
        r#"
        DELETE FROM third_party_invitations
        WHERE token IN (
            SELECT token
            FROM third_party_invitations
            WHERE expires_ms < $1
                AND state <> 'bound'
            LIMIT $2
        )
        "#,
        before_ms,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

pub(super) fn user_id(text: &str) -> Result<OwnedUserId, StoreError> {
    UserId::parse(text).map_err(|_| StoreError::inconsistent("users", "user_id", text))
}
