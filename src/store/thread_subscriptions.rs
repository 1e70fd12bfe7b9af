//! Which threads users have subscribed to. The journal writes it.

use std::collections::HashMap;

use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId};
use sqlx::PgConnection;

use super::{RoomNid, RoomPosition, StoreError, StreamPosition, UserNid};

/// How a thread was subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// By the user.
    Manual,
    /// By one of the user's clients.
    Automatic,
}

impl Subscription {
    /// As the database has it.
    pub(super) fn to_sql(subscription: Option<Self>) -> i16 {
        match subscription {
            None => 0,
            Some(Self::Manual) => 1,
            Some(Self::Automatic) => 2,
        }
    }

    fn from_sql(state: i16) -> Option<Self> {
        match state {
            1 => Some(Self::Manual),
            2 => Some(Self::Automatic),
            _ => None,
        }
    }
}

/// What is known of a user and a thread.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The subscription, if there still is one.
    pub subscription: Option<Subscription>,
    /// The newest position in the room when the subscription last began or ended.
    pub since: RoomPosition,
}

/// A subscription that came, changed or went.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The event that the thread begins with.
    pub thread: OwnedEventId,
    /// What it is now; `None` where it has ended.
    pub subscription: Option<Subscription>,
    /// The position of the change in the stream.
    pub at: StreamPosition,
}

/// What is known of a user and a thread.
pub async fn find(
    conn: &mut PgConnection,
    user: UserNid,
    room: RoomNid,
    thread: &EventId,
) -> Result<Option<Found>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT state,
            room_position AS "since: RoomPosition"
        FROM thread_subscriptions
        WHERE user_nid = $1
            AND room_nid = $2
            AND thread_id = $3
        "#,
        user as UserNid,
        room as RoomNid,
        thread.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Found {
        subscription: Subscription::from_sql(row.state),
        since: row.since,
    }))
}

/// The subscriptions of users to threads of rooms, by the newest position in the room when they
/// began: what comes later is told to the subscriber.
pub type Since = HashMap<(UserNid, RoomNid), HashMap<OwnedEventId, RoomPosition>>;

/// Which of some users are subscribed to which of some threads, and since when.
pub async fn since(
    conn: &mut PgConnection,
    users: &[UserNid],
    threads: &[(RoomNid, OwnedEventId)],
) -> Result<Since, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT s.user_nid AS "user: UserNid",
            s.room_nid AS "room: RoomNid",
            s.thread_id,
            s.room_position AS "since: RoomPosition"
        FROM UNNEST($1::BIGINT[], $2::TEXT[]) AS t (room_nid, thread_id)
        JOIN thread_subscriptions s ON s.room_nid = t.room_nid
            AND s.thread_id = t.thread_id
            AND s.state > 0
        WHERE s.user_nid = ANY($3)
        "#,
        &threads.iter().map(|(room, _)| room.0).collect::<Vec<_>>(),
        &threads
            .iter()
            .map(|(_, thread)| thread.as_str())
            .collect::<Vec<_>>() as &[&str],
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    let mut since = Since::new();
    for row in rows {
        let thread = EventId::parse(&row.thread_id)
            .map_err(|_| StoreError::inconsistent("thread_subscriptions", "thread_id", row.user))?;
        let of_user = since.entry((row.user, row.room)).or_default();
        of_user.insert(thread, row.since);
    }
    Ok(since)
}

/// What of a user's subscriptions has last changed after a position of the stream and no later than
/// another, newest first.
pub async fn changes(
    conn: &mut PgConnection,
    user: UserNid,
    after: StreamPosition,
    until: StreamPosition,
    limit: i64,
) -> Result<Vec<Changed>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT r.room_id,
            s.thread_id,
            s.state,
            s.changed_at AS "changed_at: StreamPosition"
        FROM thread_subscriptions s
        JOIN rooms r ON r.room_nid = s.room_nid
        WHERE s.user_nid = $1
            AND s.changed_at > $2
            AND s.changed_at <= $3
        ORDER BY s.changed_at DESC
        LIMIT $4
        "#,
        user as UserNid,
        after as StreamPosition,
        until as StreamPosition,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let inconsistent = |column| StoreError::inconsistent("thread_subscriptions", column, user);
    rows.into_iter()
        .map(|row| {
            Ok(Changed {
                room_id: RoomId::parse(&row.room_id).map_err(|_| inconsistent("room_nid"))?,
                thread: EventId::parse(&row.thread_id).map_err(|_| inconsistent("thread_id"))?,
                subscription: Subscription::from_sql(row.state),
                at: row.changed_at,
            })
        })
        .collect()
}
