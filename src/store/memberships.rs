//! Current memberships, and how far users have read.

use std::{collections::HashMap, sync::Arc};

use ruma::{EventId, OwnedRoomId, RoomId, UserId};
use serde_json::value::RawValue;
use sqlx::PgConnection;

use super::{
    Membership, RoomNid, RoomPosition, StoreError, StreamPosition, UserNid, account_data,
    live::{Highlight, Labels, RoomOfUser, UserRooms},
};

/// A user's view of their rooms, and the stream position that it is at least as new as.
pub(super) async fn load_user(
    conn: &mut PgConnection,
    user: UserNid,
) -> Result<(StreamPosition, UserRooms), StoreError> {
    // The position is read first: what is committed in between is applied a second time from the
    // window, which changes nothing.
    let position = super::stream::position(conn).await?;
    let mut views = load_views(conn, &[user], Wanted::All).await?;
    Ok((position, views.remove(&user).unwrap_or_default()))
}

/// Which rooms of a view are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of them.
    All,
    /// Those that the user is in, and where something may be unread.
    Unread,
}

/// The views of users, as they are now.
pub async fn load_views(
    conn: &mut PgConnection,
    users: &[UserNid],
    wanted: Wanted,
) -> Result<HashMap<UserNid, UserRooms>, StoreError> {
    let nids: Vec<i64> = users.iter().map(|user| user.0).collect();
    let mut rooms = rooms_of(conn, &nids, wanted).await?;
    add_thread_reads(conn, &nids, &mut rooms).await?;
    add_highlights(conn, &nids, &mut rooms).await?;
    let mut labels = match wanted {
        Wanted::All => load_labels(conn, &nids).await?,
        Wanted::Unread => HashMap::new(),
    };
    let owners = account_data::own_rules(conn, users).await?;
    let mut views = HashMap::with_capacity(owners.len());
    for (user, (user_id, own)) in owners {
        let of_user = rooms.remove(&user).unwrap_or_default();
        let view = UserRooms::new(of_user, labels.remove(&user).unwrap_or_default())
            .with_rules(user_id, own);
        views.insert(user, view);
    }
    Ok(views)
}

type Rooms = HashMap<UserNid, HashMap<RoomNid, RoomOfUser>>;

async fn rooms_of(
    conn: &mut PgConnection,
    users: &[i64],
    wanted: Wanted,
) -> Result<Rooms, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT m.user_nid AS "user: UserNid",
            m.room_nid AS "room_nid: RoomNid",
            m.membership,
            m.position AS "position: RoomPosition",
            m.changed_after AS "changed_after: StreamPosition",
            m.removed,
            m.forgotten,
            m.read_position AS "read_position: RoomPosition",
            m.read_notify_count,
            m.threads_position AS "threads_position: RoomPosition",
            m.threads_notify_count
        FROM memberships m
        JOIN rooms r ON r.room_nid = m.room_nid
        WHERE m.user_nid = ANY($1)
            AND (
                NOT $2
                OR (
                    m.membership = 2
                    AND (
                        r.position > m.read_position
                        OR r.notify_count >> 32 > m.threads_notify_count >> 32
                    )
                )
            )
        "#,
        users,
        wanted == Wanted::Unread,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut rooms = Rooms::new();
    for row in rows {
        let room = RoomOfUser {
            membership: Membership::from_sql(row.membership),
            position: row.position,
            changed_at: row.changed_after,
            removed: row.removed,
            forgotten: row.forgotten,
            read_position: row.read_position,
            read_notify_count: row.read_notify_count,
            threads_position: row.threads_position,
            threads_notify_count: row.threads_notify_count,
            ..RoomOfUser::default()
        };
        let of_user = rooms.entry(row.user).or_default();
        of_user.insert(row.room_nid, room);
    }
    Ok(rooms)
}

/// How far single threads have been read.
async fn add_thread_reads(
    conn: &mut PgConnection,
    users: &[i64],
    rooms: &mut Rooms,
) -> Result<(), StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT m.user_nid AS "user: UserNid",
            m.room_nid AS "room: RoomNid",
            c.thread_id,
            MAX(c.position) AS "position!: RoomPosition" -- a group has a row
        FROM memberships m
        JOIN receipts c ON c.room_nid = m.room_nid
            AND c.user_nid = m.user_nid
            AND c.thread_id NOT IN ('', 'main')
            AND c.position > m.threads_position
        WHERE m.user_nid = ANY($1)
            AND m.membership = 2
        GROUP BY m.user_nid, m.room_nid, c.thread_id
        "#,
        users,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let of_user = rooms.get_mut(&row.user);
        if let Some(room) = of_user.and_then(|rooms| rooms.get_mut(&row.room))
            && let Ok(thread) = EventId::parse(&row.thread_id)
        {
            Arc::make_mut(&mut room.thread_reads).insert(thread, row.position);
        }
    }
    Ok(())
}

/// The unread events that mention their users, oldest first.
async fn add_highlights(
    conn: &mut PgConnection,
    users: &[i64],
    rooms: &mut Rooms,
) -> Result<(), StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT m.user_nid AS "user: UserNid",
            m.room_nid AS "room: RoomNid",
            h.position AS "position!: RoomPosition",
            h.thread_id AS "thread_id!",
            h.extra AS "extra!"
        FROM memberships m
        CROSS JOIN LATERAL (
            SELECT h.position, h.thread_id, h.extra
            FROM highlights h
            WHERE h.user_nid IN (m.user_nid, 0)
                AND h.room_nid = m.room_nid
                AND h.position > LEAST(m.read_position, m.threads_position)
                AND h.sender_nid <> m.user_nid
                AND h.position > CASE
                    WHEN h.thread_id = 'main' THEN m.read_position
                    ELSE m.threads_position
                END
                -- Who writes in a thread has read it.
                AND NOT EXISTS (
                    SELECT 1
                    FROM thread_events t
                    WHERE t.room_nid = h.room_nid
                        AND t.sender_nid = m.user_nid
                        AND t.thread_id = h.thread_id
                        AND t.position > h.position
                )
            ORDER BY h.position
            LIMIT 200
        ) h
        WHERE m.user_nid = ANY($1)
            AND m.membership = 2
        ORDER BY h.position
        "#,
        users,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let of_user = rooms.get_mut(&row.user);
        if let Some(room) = of_user.and_then(|rooms| rooms.get_mut(&row.room)) {
            room.add_highlight(Highlight {
                position: row.position,
                thread: EventId::parse(&row.thread_id).ok(),
                is_extra: row.extra,
            });
        }
    }
    Ok(())
}

/// How a user has sorted their rooms.
async fn load_labels(
    conn: &mut PgConnection,
    users: &[i64],
) -> Result<HashMap<UserNid, Labels>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT user_nid AS "user: UserNid",
            room_nid AS "room: RoomNid",
            event_type,
            content
        FROM account_data
        WHERE user_nid = ANY($1)
            AND event_type IN ('m.direct', 'm.tag', 'm.invite_permission_config')
        "#,
        users,
    )
    .fetch_all(conn)
    .await?;
    let mut labels: HashMap<UserNid, Labels> = HashMap::new();
    for row in rows {
        let room = Some(row.room).filter(|room| room.0 != 0);
        if let Ok(content) = RawValue::from_string(row.content) {
            let of_user = labels.entry(row.user).or_default();
            of_user.apply(room, &row.event_type, &content);
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

/// What an account could read in a room: when it came and went, and how much there was.
#[derive(Clone, Debug)]
pub struct Exposure {
    /// The room.
    pub room: RoomNid,
    /// The room.
    pub room_id: String,
    /// The position of the newest event.
    pub newest: RoomPosition,
    /// How far the user has read.
    pub read: RoomPosition,
    /// Whether the room is in the directory.
    pub is_published: bool,
    /// Whether messages are encrypted.
    pub is_encrypted: bool,
    /// The positions of the user's member events, in order, at most a hundred.
    pub positions: Vec<RoomPosition>,
    /// These events.
    pub events: Vec<String>,
}

/// What an account could read, in the order of the rooms' numbers after `after`; at most `limit`
/// rooms.
pub async fn list_exposure(
    conn: &mut PgConnection,
    user: UserNid,
    after: RoomNid,
    limit: i64,
) -> Result<Vec<Exposure>, StoreError> {
    let rooms = sqlx::query_as!(
        Exposure,
        r#"
        SELECT m.room_nid AS "room: RoomNid",
            r.room_id,
            r.position AS "newest: RoomPosition",
            m.read_position AS "read: RoomPosition",
            COALESCE(s.published, FALSE) AS "is_published!", -- COALESCE is never null
            EXISTS (
                SELECT 1
                FROM room_state e
                WHERE e.room_nid = m.room_nid
                    AND e.slot_nid = (
                        SELECT slot_nid
                        FROM state_slots
                        WHERE event_type = 'm.room.encryption'
                            AND state_key = ''
                    )
            ) AS "is_encrypted!", -- EXISTS is never null
            ARRAY(
                SELECT c.position
                FROM room_state c
                WHERE c.room_nid = m.room_nid
                    AND c.slot_nid = i.slot_nid
                ORDER BY c.position
                LIMIT 100
            ) AS "positions!: Vec<RoomPosition>", -- an array is never null
            ARRAY(
                SELECT e.json
                FROM room_state c
                JOIN events e ON e.room_nid = c.room_nid AND e.position = c.position
                WHERE c.room_nid = m.room_nid
                    AND c.slot_nid = i.slot_nid
                ORDER BY c.position
                LIMIT 100
            ) AS "events!: Vec<String>" -- an array is never null
        FROM memberships m
        JOIN rooms r ON r.room_nid = m.room_nid
        JOIN users u ON u.user_nid = m.user_nid
        JOIN state_slots i ON i.event_type = 'm.room.member' AND i.state_key = u.user_id
        LEFT JOIN room_summaries s ON s.room_nid = m.room_nid
        WHERE m.user_nid = $1
            AND m.room_nid > $2
        ORDER BY m.room_nid
        LIMIT $3
        "#,
        user as UserNid,
        after as RoomNid,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rooms)
}
