//! Aliases, and the public room directory.

use ruma::{OwnedRoomAliasId, OwnedRoomId, RoomAliasId, RoomId};
use sqlx::PgConnection;

use super::{RoomNid, StoreError, UserNid, journal::RoomSummary};

/// The constraint that a taken alias breaks.
pub const ALIAS_UNIQUE: &str = "aliases_pkey";

/// A room of the directory.
#[derive(Clone, Debug)]
pub struct PublishedRoom {
    /// The room.
    pub room: RoomNid,
    /// Its id.
    pub room_id: OwnedRoomId,
    /// What is shown of it.
    pub summary: RoomSummary,
}

/// Where a page of the directory begins: after this member count and room.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryCursor {
    /// The joined members of the last room of the page before.
    pub joined_count: i64,
    /// Its number.
    pub room: RoomNid,
}

impl DirectoryCursor {
    /// Before the first page.
    pub const START: Self = Self {
        joined_count: i64::MAX,
        room: RoomNid(0),
    };
}

/// An alias: its room, and who made it.
pub async fn find_alias(
    conn: &mut PgConnection,
    alias: &RoomAliasId,
) -> Result<Option<(RoomNid, UserNid)>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT room_nid AS "room: RoomNid",
            creator_nid AS "creator: UserNid"
        FROM aliases
        WHERE alias = $1
        "#,
        alias.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.room, row.creator)))
}

/// The rooms of those of these aliases that exist.
pub async fn find_aliases(
    conn: &mut PgConnection,
    aliases: &[OwnedRoomAliasId],
) -> Result<Vec<(OwnedRoomAliasId, RoomNid)>, StoreError> {
    let wanted: Vec<_> = aliases.iter().map(|alias| alias.as_str()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT alias,
            room_nid AS "room: RoomNid"
        FROM aliases
        WHERE alias = ANY($1)
        "#,
        &wanted as &[&str],
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((parse_alias(&row.alias)?, row.room)))
        .collect()
}

/// The aliases of a room, in order.
pub async fn list_aliases(
    conn: &mut PgConnection,
    room: RoomNid,
) -> Result<Vec<OwnedRoomAliasId>, StoreError> {
    let rows = sqlx::query_scalar!(
        r#"
        SELECT alias
        FROM aliases
        WHERE room_nid = $1
        ORDER BY alias
        "#,
        room as RoomNid,
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|alias| parse_alias(alias)).collect()
}

/// The aliases of rooms.
pub async fn list_aliases_of(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
) -> Result<Vec<(RoomNid, OwnedRoomAliasId)>, StoreError> {
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let rows = sqlx::query!(
        r#"
        SELECT room_nid AS "room: RoomNid",
            alias
        FROM aliases
        WHERE room_nid = ANY($1)
        "#,
        &rooms,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.room, parse_alias(&row.alias)?)))
        .collect()
}

fn parse_alias(alias: &str) -> Result<OwnedRoomAliasId, StoreError> {
    RoomAliasId::parse(alias).map_err(|_| StoreError::inconsistent("aliases", "alias", alias))
}

/// Adds an alias. A taken one breaks [`ALIAS_UNIQUE`].
pub async fn insert_alias(
    conn: &mut PgConnection,
    alias: &RoomAliasId,
    room: RoomNid,
    creator: UserNid,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO aliases (alias, room_nid, creator_nid)
        VALUES ($1, $2, $3)
        "#,
        alias.as_str(),
        room as RoomNid,
        creator as UserNid,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Points the aliases of one room to another.
pub async fn move_aliases(
    conn: &mut PgConnection,
    from: RoomNid,
    to: RoomNid,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE aliases
        SET room_nid = $2
        WHERE room_nid = $1
        "#,
        from as RoomNid,
        to as RoomNid,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes an alias.
pub async fn delete_alias(conn: &mut PgConnection, alias: &RoomAliasId) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM aliases
        WHERE alias = $1
        "#,
        alias.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts rooms into the directory, or takes them out. Each room stands in the list once.
pub async fn set_published(
    conn: &mut PgConnection,
    rooms: &[(RoomNid, bool)],
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE room_summaries s
        SET published = n.published
        FROM UNNEST($1::BIGINT[], $2::BOOLEAN[]) AS n (room_nid, published)
        WHERE s.room_nid = n.room_nid
        "#,
        &rooms.iter().map(|(room, _)| room.0).collect::<Vec<_>>(),
        &rooms
            .iter()
            .map(|(_, published)| *published)
            .collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether a room is in the directory.
pub async fn is_published(conn: &mut PgConnection, room: RoomNid) -> Result<bool, StoreError> {
    let published = sqlx::query_scalar!(
        r#"
        SELECT published
        FROM room_summaries
        WHERE room_nid = $1
        "#,
        room as RoomNid,
    )
    .fetch_optional(conn)
    .await?;
    Ok(published.unwrap_or_default())
}

/// Those of some rooms that are in the directory.
pub async fn published_among(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
) -> Result<Vec<RoomNid>, StoreError> {
    let published = sqlx::query_scalar!(
        r#"
        SELECT room_nid AS "room: RoomNid"
        FROM room_summaries
        WHERE room_nid = ANY($1)
            AND published
        "#,
        rooms as &[RoomNid],
    )
    .fetch_all(conn)
    .await?;
    Ok(published)
}

/// A page of the directory, largest rooms first.
///
/// `pattern` is a `LIKE` pattern in lower case for name, topic and alias; `room_types`, where it is
/// given, holds the wanted types, the empty string for rooms without one. Backward pages come in
/// reverse order.
pub async fn list_published(
    conn: &mut PgConnection,
    cursor: Option<DirectoryCursor>,
    backward: bool,
    pattern: Option<&str>,
    room_types: Option<&[String]>,
    limit: i64,
) -> Result<Vec<PublishedRoom>, StoreError> {
    let start = cursor.unwrap_or(if backward {
        DirectoryCursor {
            joined_count: -1,
            room: RoomNid(i64::MAX),
        }
    } else {
        DirectoryCursor::START
    });
    let rows = sqlx::query_as!(
        PublishedRow,
        r#"
        SELECT s.room_nid AS "room_nid!: RoomNid", -- not null in room_summaries
            o.room_id AS "room_id!", -- not null in rooms
            s.joined_count AS "joined_count!", -- not null in room_summaries
            s.name,
            s.topic,
            s.canonical_alias,
            s.avatar_url,
            s.join_rule,
            s.room_type,
            s.world_readable AS "world_readable!", -- not null in room_summaries
            s.guest_can_join AS "guest_can_join!" -- not null in room_summaries
        FROM (
            (
                SELECT *
                FROM room_summaries
                WHERE published
                    AND NOT $3
                    AND (joined_count < $1 OR (joined_count = $1 AND room_nid > $2))
                    AND ($4::TEXT IS NULL OR LOWER(CONCAT_WS(E'\n', name, topic, canonical_alias)) LIKE $4)
                    AND ($5::TEXT[] IS NULL OR COALESCE(room_type, '') = ANY($5))
                ORDER BY joined_count DESC, room_nid
                LIMIT $6
            )
            UNION ALL
            (
                SELECT *
                FROM room_summaries
                WHERE published
                    AND $3
                    AND (joined_count > $1 OR (joined_count = $1 AND room_nid < $2))
                    AND ($4::TEXT IS NULL OR LOWER(CONCAT_WS(E'\n', name, topic, canonical_alias)) LIKE $4)
                    AND ($5::TEXT[] IS NULL OR COALESCE(room_type, '') = ANY($5))
                ORDER BY joined_count, room_nid DESC
                LIMIT $6
            )
        ) s
        JOIN rooms o ON o.room_nid = s.room_nid
        ORDER BY s.joined_count DESC, s.room_nid
        "#,
        start.joined_count,
        start.room as RoomNid,
        backward,
        pattern,
        room_types,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PublishedRow::into_room).collect()
}

/// A room of the directory, as the database has it.
pub(super) struct PublishedRow {
    pub(super) room_nid: RoomNid,
    pub(super) room_id: String,
    pub(super) joined_count: i64,
    pub(super) name: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) canonical_alias: Option<String>,
    pub(super) avatar_url: Option<String>,
    pub(super) join_rule: Option<String>,
    pub(super) room_type: Option<String>,
    pub(super) world_readable: bool,
    pub(super) guest_can_join: bool,
}

impl PublishedRow {
    pub(super) fn into_room(self) -> Result<PublishedRoom, StoreError> {
        let room_id = RoomId::parse(self.room_id)
            .map_err(|_| StoreError::inconsistent("rooms", "room_id", self.room_nid))?;
        Ok(PublishedRoom {
            room: self.room_nid,
            room_id,
            summary: RoomSummary {
                joined_count: self.joined_count,
                name: self.name,
                topic: self.topic,
                canonical_alias: self.canonical_alias,
                avatar_url: self.avatar_url,
                join_rule: self.join_rule,
                room_type: self.room_type,
                world_readable: self.world_readable,
                guest_can_join: self.guest_can_join,
            },
        })
    }
}

/// How many rooms are in the directory.
pub async fn count_published(conn: &mut PgConnection) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"
        SELECT COUNT(*) AS "count!" -- an aggregate is never null
        FROM room_summaries
        WHERE published
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(count)
}
