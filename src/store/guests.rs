//! Guest accounts of the specification (client-server API, "Guest Access").

use ruma::{OwnedUserId, UserId};
use sqlx::PgConnection;

use super::{Membership, RoomNid, StoreError, UserNid};

/// Makes a guest account a usual one. `false`: it is none, or it is closed.
pub async fn promote_guest(
    conn: &mut PgConnection,
    user: UserNid,
    password_hash: &str,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        UPDATE accounts
        SET
            is_guest = FALSE,
            password_hash = $2
        WHERE user_nid = $1
            AND is_guest
            AND deactivated_ms IS NULL
        "#,
        user as UserNid,
        password_hash,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Guests who are joined in rooms that do not let guests in, with the rooms, by room.
pub async fn list_unwanted(
    conn: &mut PgConnection,
    limit: i64,
) -> Result<Vec<(RoomNid, OwnedUserId)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT
            memberships.room_nid AS "room: RoomNid",
            users.user_nid AS "user: UserNid",
            users.user_id
        FROM accounts
        JOIN memberships ON memberships.user_nid = accounts.user_nid
        JOIN room_summaries ON room_summaries.room_nid = memberships.room_nid
        JOIN users ON users.user_nid = accounts.user_nid
        WHERE accounts.is_guest
            AND memberships.membership = $2
            AND NOT room_summaries.guest_can_join
        ORDER BY memberships.room_nid, users.user_nid
        LIMIT $1
        "#,
        limit,
        Membership::Join.to_sql(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let user_id = UserId::parse(&row.user_id)
                .map_err(|_| StoreError::inconsistent("users", "user_id", row.user))?;
            Ok((row.room, user_id))
        })
        .collect()
}
