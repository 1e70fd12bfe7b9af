//! How far application services were told what happened, and the rooms that they publish.

use ruma::{OwnedUserId, UserId};
use sqlx::PgConnection;

use super::{
    RoomNid, StoreError, StreamPosition, UserNid,
    directory::{DirectoryCursor, PublishedRoom, PublishedRow},
};

/// Where an application service is in the stream.
#[derive(Clone, Debug)]
pub struct ServiceStream {
    /// Everything up to here was told.
    pub position: StreamPosition,
    /// The transaction that is being sent.
    pub pending: Option<PendingTransaction>,
}

/// A transaction that is being sent.
#[derive(Clone, Debug)]
pub struct PendingTransaction {
    /// Its id.
    pub id: String,
    /// How far the service is once it was taken.
    pub position: StreamPosition,
    /// The body.
    pub body: String,
    /// How often in a row it was not taken.
    pub failures: i32,
    /// When it is sent again; `None`: now.
    pub retry_at_ms: Option<i64>,
}

/// Where a service is. One that is new begins at the end of the stream.
pub async fn begin(conn: &mut PgConnection, service_id: &str) -> Result<ServiceStream, StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO appservice_streams (
            service_id,
            position
        )
        SELECT $1, position
        FROM stream_counter
        ON CONFLICT (service_id) DO NOTHING
        "#,
        service_id,
    )
    .execute(&mut *conn)
    .await?;
    let row = sqlx::query!(
        r#"
        SELECT
            position AS "position: StreamPosition",
            pending_id,
            pending_position AS "pending_position: StreamPosition",
            pending_body,
            failures,
            retry_at_ms
        FROM appservice_streams
        WHERE service_id = $1
        "#,
        service_id,
    )
    .fetch_one(conn)
    .await?;
    let pending = match (row.pending_id, row.pending_position, row.pending_body) {
        (Some(id), Some(position), Some(body)) => Some(PendingTransaction {
            id,
            position,
            body,
            failures: row.failures,
            retry_at_ms: row.retry_at_ms,
        }),
        _ => None,
    };
    Ok(ServiceStream {
        position: row.position,
        pending,
    })
}

/// Moves a service on past what does not concern it. `false`: another process has moved it.
pub async fn advance(
    conn: &mut PgConnection,
    service_id: &str,
    from: StreamPosition,
    to: StreamPosition,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        UPDATE appservice_streams
        SET position = $3
        WHERE service_id = $1
            AND position = $2
            AND pending_id IS NULL
        "#,
        service_id,
        from as StreamPosition,
        to as StreamPosition,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Keeps a transaction before it is sent for the first time. `false`: another process has moved the
/// service.
pub async fn set_pending(
    conn: &mut PgConnection,
    service_id: &str,
    from: StreamPosition,
    pending: &PendingTransaction,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        UPDATE appservice_streams
        SET
            pending_id = $3,
            pending_position = $4,
            pending_body = $5,
            failures = 0,
            retry_at_ms = NULL
        WHERE service_id = $1
            AND position = $2
            AND pending_id IS NULL
        "#,
        service_id,
        from as StreamPosition,
        pending.id,
        pending.position as StreamPosition,
        pending.body,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Forgets a transaction that was taken, and moves the service on. `false`: that was done already.
pub async fn finish_pending(
    conn: &mut PgConnection,
    service_id: &str,
    transaction_id: &str,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        UPDATE appservice_streams
        SET
            position = GREATEST(position, pending_position),
            pending_id = NULL,
            pending_position = NULL,
            pending_body = NULL,
            failures = 0,
            retry_at_ms = NULL
        WHERE service_id = $1
            AND pending_id = $2
        "#,
        service_id,
        transaction_id,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Notes that a transaction was not taken, and when it is sent again. `false`: it is there no more.
pub async fn postpone(
    conn: &mut PgConnection,
    service_id: &str,
    transaction_id: &str,
    retry_at_ms: i64,
) -> Result<bool, StoreError> {
    let result = sqlx::query!(
        r#"
        UPDATE appservice_streams
        SET
            failures = failures + 1,
            retry_at_ms = $3
        WHERE service_id = $1
            AND pending_id = $2
        "#,
        service_id,
        transaction_id,
        retry_at_ms,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// The members of rooms who belong to this server.
pub async fn list_local_members(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
    server_name: &str,
) -> Result<Vec<(RoomNid, UserNid, OwnedUserId)>, StoreError> {
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let rows = sqlx::query!(
        r#"
        SELECT
            memberships.room_nid AS "room: RoomNid",
            users.user_nid AS "user: UserNid",
            users.user_id
        FROM memberships
        JOIN users ON users.user_nid = memberships.user_nid
        WHERE memberships.room_nid = ANY($1)
            AND memberships.membership = 2
            AND RIGHT(users.user_id, LENGTH($2) + 1) = ':' || $2
        "#,
        &rooms,
        server_name,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let user_id = UserId::parse(&row.user_id)
                .map_err(|_| StoreError::inconsistent("users", "user_id", row.user))?;
            Ok((row.room, row.user, user_id))
        })
        .collect()
}

/// Publishes a room in the directory of a network, or takes it out.
pub async fn set_published(
    conn: &mut PgConnection,
    service_id: &str,
    network_id: &str,
    room: RoomNid,
    is_published: bool,
) -> Result<(), StoreError> {
    if is_published {
        sqlx::query!(
            r#"
            INSERT INTO appservice_directory (
                service_id,
                network_id,
                room_nid
            )
            VALUES ($1, $2, $3)
            ON CONFLICT (network_id, room_nid, service_id) DO NOTHING
            "#,
            service_id,
            network_id,
            room as RoomNid,
        )
        .execute(conn)
        .await?;
    } else {
        sqlx::query!(
            r#"
            DELETE FROM appservice_directory
            WHERE service_id = $1
                AND network_id = $2
                AND room_nid = $3
            "#,
            service_id,
            network_id,
            room as RoomNid,
        )
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// A page of the rooms that services publish for a network, largest first: those of `service_id`,
/// or of all; without a network, those of all networks and of the server's own directory.
pub async fn list_published(
    conn: &mut PgConnection,
    service_id: Option<&str>,
    network_id: Option<&str>,
    cursor: DirectoryCursor,
    pattern: Option<&str>,
    limit: i64,
) -> Result<Vec<PublishedRoom>, StoreError> {
    let rows = sqlx::query_as!(
        PublishedRow,
        r#"
        SELECT
            s.room_nid AS "room_nid: RoomNid",
            o.room_id,
            s.joined_count,
            s.name,
            s.topic,
            s.canonical_alias,
            s.avatar_url,
            s.join_rule,
            s.room_type,
            s.world_readable,
            s.guest_can_join
        FROM (
            SELECT room_nid
            FROM appservice_directory
            WHERE ($1::TEXT IS NULL OR service_id = $1)
                AND ($2::TEXT IS NULL OR network_id = $2)
            UNION
            SELECT room_nid
            FROM room_summaries
            WHERE published
                AND $2::TEXT IS NULL
        ) d
        JOIN room_summaries s ON s.room_nid = d.room_nid
        JOIN rooms o ON o.room_nid = d.room_nid
        WHERE (s.joined_count < $3 OR (s.joined_count = $3 AND s.room_nid > $4))
            AND ($5::TEXT IS NULL OR LOWER(CONCAT_WS(E'\n', s.name, s.topic, s.canonical_alias)) LIKE $5)
        ORDER BY s.joined_count DESC, s.room_nid
        LIMIT $6
        "#,
        service_id,
        network_id,
        cursor.joined_count,
        cursor.room as RoomNid,
        pattern,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PublishedRow::into_room).collect()
}
