//! Device lists: whose changed, and telling those who share a room with them.
//!
//! Whatever changes a device list writes a row of work in its transaction, and asks
//! [`Store::announce_device_lists`] for the entry in the stream after the commit. What a process
//! that ended in between has left, [`list_work`] finds.

use std::sync::Arc;

use sqlx::PgConnection;

use super::{
    RoomNid, Store, StoreError, StreamPosition, UserNid,
    journal::{DeviceListWrite, Write},
    memberships,
};

impl Store {
    /// Tells that the device lists of these users have changed, where they have: an entry in the
    /// stream for each.
    pub async fn announce_device_lists(&self, users: &[UserNid]) -> Result<(), StoreError> {
        let mut conn = self.conn().await?;
        let due = list_due(&mut conn, users).await?;
        if due.is_empty() {
            return Ok(());
        }
        let rooms = memberships::joined_rooms(&mut conn, &due).await?;
        drop(conn);
        let device_lists = rooms.into_iter().map(|(user, rooms)| DeviceListWrite {
            user,
            viewer: None,
            rooms,
        });
        self.write_device_lists(device_lists.collect()).await
    }

    /// The same after a change that has been committed already: what fails now is done later.
    pub async fn try_announce_device_list(&self, user: UserNid) {
        if let Err(error) = self.announce_device_lists(&[user]).await {
            tracing::warn!(%error, "the change of a device list will be told later");
        }
    }

    /// Tells one user that somebody's keys have changed for them alone.
    pub async fn announce_signatures(
        &self,
        owners: &[UserNid],
        viewer: UserNid,
    ) -> Result<(), StoreError> {
        let device_lists = owners.iter().map(|owner| DeviceListWrite {
            user: *owner,
            viewer: Some(viewer),
            rooms: Arc::from(Vec::<RoomNid>::new()),
        });
        self.write_device_lists(device_lists.collect()).await
    }

    async fn write_device_lists(
        &self,
        device_lists: Vec<DeviceListWrite>,
    ) -> Result<(), StoreError> {
        let write = Write {
            device_lists,
            ..Write::default()
        };
        self.journal().write(write).await?;
        Ok(())
    }
}

/// Notes that a user's device list has changed.
pub async fn insert_work(conn: &mut PgConnection, user: UserNid) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO device_list_work (user_nid)
        VALUES ($1)
        ON CONFLICT DO NOTHING
        "#,
        user as UserNid,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Those of some users whose device lists have changed and were not told of.
async fn list_due(conn: &mut PgConnection, users: &[UserNid]) -> Result<Vec<UserNid>, StoreError> {
    let due = sqlx::query_scalar!(
        r#"
        SELECT user_nid AS "user: UserNid"
        FROM device_list_work
        WHERE user_nid = ANY($1)
        "#,
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(due)
}

/// Some users whose device lists have changed and were not told of.
pub async fn list_work(conn: &mut PgConnection, limit: i64) -> Result<Vec<UserNid>, StoreError> {
    let due = sqlx::query_scalar!(
        r#"
        SELECT user_nid AS "user: UserNid"
        FROM device_list_work
        LIMIT $1
        "#,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(due)
}

/// The users whose device lists changed after a position and up to another, and who share a room
/// with this one; the user's own changes, and what the user alone is told, are among them.
pub async fn list_changed(
    conn: &mut PgConnection,
    user: UserNid,
    after: StreamPosition,
    until: StreamPosition,
) -> Result<Vec<UserNid>, StoreError> {
    let changed = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT c.user_nid AS "user: UserNid"
        FROM device_list_changes c
        WHERE c.position > $2
            AND c.position <= $3
            AND (
                c.viewer_nid = $1
                OR c.viewer_nid = 0 AND (
                    c.user_nid = $1
                    OR EXISTS (
                        SELECT 1
                        FROM memberships a
                        JOIN memberships b ON b.room_nid = a.room_nid AND b.user_nid = c.user_nid
                        WHERE a.user_nid = $1
                            AND a.membership = 2
                            AND b.membership = 2
                    )
                )
            )
        "#,
        user as UserNid,
        after as StreamPosition,
        until as StreamPosition,
    )
    .fetch_all(conn)
    .await?;
    Ok(changed)
}

/// A membership that changed.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// The room.
    pub room: RoomNid,
    /// The user.
    pub user: UserNid,
    /// Whether the user was joined before.
    pub was_joined: bool,
    /// Whether the user was not joined before one of the changes.
    pub was_away: bool,
}

/// The memberships of some rooms that changed after a position and up to another.
pub async fn list_moved(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
    after: StreamPosition,
    until: StreamPosition,
) -> Result<Vec<Moved>, StoreError> {
    // The detail of these entries is the membership before: 2 is joined.
    let moved = sqlx::query_as!(
        Moved,
        r#"
        SELECT room_nid AS "room!: RoomNid", -- kind 2 has it
            user_nid AS "user!: UserNid", -- kind 2 has it
            (ARRAY_AGG(detail ORDER BY position))[1] = '2' AS "was_joined!", -- kind 2 has it
            BOOL_OR(detail <> '2') AS "was_away!" -- kind 2 has it
        FROM stream
        WHERE room_nid = ANY($1)
            AND position > $2
            AND position <= $3
            AND kind = 2
        GROUP BY room_nid, user_nid
        "#,
        &rooms.iter().map(|room| room.0).collect::<Vec<_>>(),
        after as StreamPosition,
        until as StreamPosition,
    )
    .fetch_all(conn)
    .await?;
    Ok(moved)
}
