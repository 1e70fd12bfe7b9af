//! Current memberships, and how far users have read.

use std::{collections::HashMap, sync::Arc};

use ruma::{OwnedRoomId, RoomId, UserId};
use serde_json::value::RawValue;
use sqlx::PgConnection;

use super::{
    Membership, RoomNid, RoomPosition, StoreError, StreamPosition, UserNid,
    live::{Labels, RoomOfUser, UserRooms},
};

/// A user's view of their rooms, and the stream position that it is at least as new as.
pub(super) async fn load_user(
    conn: &mut PgConnection,
    user: UserNid,
) -> Result<(StreamPosition, UserRooms), StoreError> {
    // The position is read first: what is committed in between is applied a second time from the
    // window, which changes nothing.
    let position = super::stream::position(conn).await?;
    let rows = sqlx::query!(
        r#"
        SELECT m.room_nid AS "room_nid: RoomNid",
            m.membership,
            m.position AS "position: RoomPosition",
            m.changed_after AS "changed_after: StreamPosition",
            m.removed,
            m.forgotten,
            m.read_position AS "read_position: RoomPosition",
            m.read_notify_count,
            ARRAY(
                SELECT h.position
                FROM highlights h
                WHERE h.user_nid IN (m.user_nid, 0)
                    AND h.room_nid = m.room_nid
                    AND h.position > m.read_position
                ORDER BY h.position
                LIMIT 100
            ) AS "highlights!: Vec<RoomPosition>" -- an array is never null
        FROM memberships m
        WHERE m.user_nid = $1
        "#,
        user as UserNid,
    )
    .fetch_all(&mut *conn)
    .await?;
    let labels = load_labels(conn, user).await?;
    let rooms = rows.into_iter().map(|row| {
        let room = RoomOfUser {
            membership: Membership::from_sql(row.membership),
            position: row.position,
            changed_at: row.changed_after,
            removed: row.removed,
            forgotten: row.forgotten,
            read_position: row.read_position,
            read_notify_count: row.read_notify_count,
            highlights: Arc::new(row.highlights),
        };
        (row.room_nid, room)
    });
    Ok((position, UserRooms::new(rooms, labels)))
}

/// How a user has sorted their rooms, and whom they ignore.
async fn load_labels(conn: &mut PgConnection, user: UserNid) -> Result<Labels, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT room_nid AS "room: RoomNid",
            event_type,
            content
        FROM account_data
        WHERE user_nid = $1
            AND event_type IN ('m.direct', 'm.tag', 'm.ignored_user_list')
        "#,
        user as UserNid,
    )
    .fetch_all(conn)
    .await?;
    let mut labels = Labels::default();
    for row in rows {
        let room = Some(row.room).filter(|room| room.0 != 0);
        if let Ok(content) = RawValue::from_string(row.content) {
            labels.apply(room, &row.event_type, &content);
        }
    }
    Ok(labels)
}

/// Marks a room that the user has left as forgotten. `false` if the user has not left it.
pub(super) async fn forget(
    conn: &mut PgConnection,
    user: UserNid,
    room: RoomNid,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        WITH forgotten AS (
            UPDATE memberships
            SET forgotten = TRUE
            WHERE user_nid = $1
                AND room_nid = $2
                AND membership IN (0, 4)
            RETURNING user_nid
        )
        SELECT pg_notify('chappe_views', user_nid::TEXT)::TEXT AS notified
        FROM forgotten
        "#,
        user as UserNid,
        room as RoomNid,
    )
    .fetch_optional(conn)
    .await?;
    Ok(done.is_some())
}

/// The ids of the rooms in which two users are both joined, in order.
pub async fn list_mutual(
    conn: &mut PgConnection,
    user: UserNid,
    other: &UserId,
) -> Result<Vec<OwnedRoomId>, StoreError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT r.room_id
        FROM users u
        JOIN memberships b ON b.user_nid = u.user_nid AND b.membership = 2
        JOIN memberships a ON a.room_nid = b.room_nid
            AND a.user_nid = $1
            AND a.membership = 2
        JOIN rooms r ON r.room_nid = a.room_nid
        WHERE u.user_id = $2
        ORDER BY r.room_id
        "#,
        user as UserNid,
        other.as_str(),
    )
    .fetch_all(conn)
    .await?;
    let parse = |id: String| {
        RoomId::parse(&id).map_err(|_| StoreError::inconsistent("rooms", "room_id", id))
    };
    ids.into_iter().map(parse).collect()
}

/// How many joined members each of these rooms has.
pub async fn count_joined(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
) -> Result<HashMap<RoomNid, i64>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT room_nid AS "room_nid: RoomNid",
            COUNT(*) AS "count!" -- an aggregate is never null
        FROM memberships
        WHERE room_nid = ANY($1)
            AND membership = 2
        GROUP BY room_nid
        "#,
        &rooms.iter().map(|room| room.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.room_nid, row.count))
        .collect())
}

/// The rooms in which each of these users is joined.
pub async fn joined_rooms(
    conn: &mut PgConnection,
    users: &[UserNid],
) -> Result<Vec<(UserNid, Arc<[RoomNid]>)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT q.user_nid AS "user!: UserNid", -- an unnested array without nulls
            ARRAY(
                SELECT m.room_nid
                FROM memberships m
                WHERE m.user_nid = q.user_nid
                    AND m.membership = 2
            ) AS "rooms!: Vec<RoomNid>" -- an array is never null
        FROM UNNEST($1::BIGINT[]) AS q (user_nid)
        "#,
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.user, row.rooms.into()))
        .collect())
}

/// Those of some users whom a user knows: one of them has joined a room, and the other has too or
/// is invited.
pub async fn list_known(
    conn: &mut PgConnection,
    user: UserNid,
    others: &[UserNid],
) -> Result<Vec<UserNid>, StoreError> {
    let known = sqlx::query_scalar!(
        r#"
        SELECT q.user_nid AS "user!: UserNid" -- an unnested array without nulls
        FROM UNNEST($2::BIGINT[]) AS q (user_nid)
        WHERE EXISTS (
            SELECT 1
            FROM memberships a
            JOIN memberships b ON b.room_nid = a.room_nid AND b.user_nid = q.user_nid
            WHERE a.user_nid = $1
                AND a.membership IN (1, 2)
                AND b.membership IN (1, 2)
                AND (a.membership = 2 OR b.membership = 2)
        )
        "#,
        user as UserNid,
        &others.iter().map(|user| user.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(known)
}
