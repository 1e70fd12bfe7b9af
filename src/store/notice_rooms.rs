//! The rooms in which the server tells something to its users: one for each.

use ruma::{OwnedRoomId, RoomId};
use sqlx::PgConnection;

use super::{StoreError, UserNid};

/// Takes the row of a user for the rest of the transaction, and gives the room, if there is one.
pub async fn lock(
    conn: &mut PgConnection,
    user: UserNid,
) -> Result<Option<OwnedRoomId>, StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO notice_rooms (user_nid)
        VALUES ($1)
        ON CONFLICT DO NOTHING
        "#,
        user as UserNid,
    )
    .execute(&mut *conn)
    .await?;
    let room_id = sqlx::query_scalar!(
        r#"
        SELECT room_id
        FROM notice_rooms
        WHERE user_nid = $1
        FOR UPDATE
        "#,
        user as UserNid,
    )
    .fetch_one(conn)
    .await?;
    let parse = |room_id: String| {
        RoomId::parse(&room_id)
            .map_err(|_| StoreError::inconsistent("notice_rooms", "room_id", room_id))
    };
    room_id.map(parse).transpose()
}

/// Says which room a user's is.
pub async fn set(
    conn: &mut PgConnection,
    user: UserNid,
    room_id: &RoomId,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE notice_rooms
        SET room_id = $2
        WHERE user_nid = $1
        "#,
        user as UserNid,
        room_id.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
