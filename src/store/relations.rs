//! Which events relate to which: reading it.

use ruma::{EventId, OwnedEventId};
use sqlx::PgConnection;

use super::{RoomNid, RoomPosition, StoreError, UserNid, events::Direction};
use crate::event::relation::Aggregation;

/// The constraint that a second annotation of the same kind breaks.
pub const UNIQUE_ANNOTATION: &str = "relations_annotation_key";
/// The most references that are told with their parent.
const MAX_REFERENCES: i32 = 100;

/// An event whose relations are wanted, and the part of its room that the reader may see.
#[derive(Clone, Debug)]
pub struct Parent {
    /// The room.
    pub room: RoomNid,
    /// The position of the event.
    pub position: RoomPosition,
    /// The visible part, see [`visible`].
    pub visible: std::sync::Arc<str>,
}

/// Who reads, and whom they ignore.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The reader.
    pub user: UserNid,
    /// Whose events are left out.
    pub ignored: Vec<String>,
}

/// All events of one kind that relate to one event.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The room.
    pub room: RoomNid,
    /// The parent.
    pub parent: RoomPosition,
    /// The kind.
    pub aggregation: Aggregation,
    /// How many there are.
    pub count: i64,
    /// Whether one of them is the reader's.
    pub by_reader: bool,
    /// The one that counts: the newest edit, or the newest event of a thread.
    pub latest: RoomPosition,
    /// For references, the ids of the first ones.
    pub references: Vec<OwnedEventId>,
}

/// Which children of an event are wanted.
#[derive(Clone, Debug)]
pub struct ChildrenQuery {
    /// The parent.
    pub parent: Parent,
    /// Only this type of relation.
    pub rel_type: Option<String>,
    /// Only this type of events.
    pub event_type: Option<String>,
    /// Only those after this position.
    pub after: RoomPosition,
    /// Only those up to this position.
    pub until: RoomPosition,
    /// From the newest or from the oldest on.
    pub direction: Direction,
    /// The most of them.
    pub limit: i64,
}

/// How an aggregation stands in the table.
pub(super) fn kind(aggregation: Option<Aggregation>) -> i16 {
    match aggregation {
        None => 0,
        Some(Aggregation::Edit) => 1,
        Some(Aggregation::Thread) => 2,
        Some(Aggregation::Reference) => 3,
    }
}

fn parse_kind(kind: i16) -> Option<Aggregation> {
    match kind {
        1 => Some(Aggregation::Edit),
        2 => Some(Aggregation::Thread),
        3 => Some(Aggregation::Reference),
        _ => None,
    }
}

/// Parts of a room, each from its first to its last position, as the queries here take them.
pub fn visible(parts: impl IntoIterator<Item = (i64, i64)>) -> std::sync::Arc<str> {
    let parts: Vec<_> = parts
        .into_iter()
        .map(|(first, last)| format!("[{first},{last}]"))
        .collect();
    format!("{{{}}}", parts.join(",")).into()
}

/// What relates to these events, by kind. Events to which nothing relates are left out.
pub async fn summaries(
    conn: &mut PgConnection,
    parents: &[Parent],
    reader: &Reader,
) -> Result<Vec<Summary>, StoreError> {
    if parents.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"
        SELECT r.room_nid AS "room: RoomNid",
            r.parent AS "parent: RoomPosition",
            r.kind,
            COUNT(*) AS "count!", -- a count is never null
            BOOL_OR(r.sender_nid = $4) AS "by_reader!", -- there is one row at least
            COALESCE(
                (
                    ARRAY_AGG(r.position ORDER BY r.ts DESC, r.event_id DESC)
                        FILTER (WHERE r.kind = 1)
                )[1],
                MAX(r.position)
            ) AS "latest!: RoomPosition", -- there is one row at least
            (ARRAY_AGG(r.event_id ORDER BY r.position) FILTER (WHERE r.kind = 3))[1:$6]
                AS "references?: Vec<String>" -- null for the other kinds
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::TEXT[]) AS q (room_nid, parent, visible)
        JOIN relations r ON r.room_nid = q.room_nid
            AND r.parent = q.parent
        WHERE r.kind > 0
            AND r.sender_nid NOT IN (SELECT user_nid FROM users WHERE user_id = ANY ($5))
            AND r.position <@ q.visible::INT8MULTIRANGE
        GROUP BY r.room_nid, r.parent, r.kind
        "#,
        &parents
            .iter()
            .map(|parent| parent.room.0)
            .collect::<Vec<_>>(),
        &parents
            .iter()
            .map(|parent| parent.position.0)
            .collect::<Vec<_>>(),
        &parents
            .iter()
            .map(|parent| &*parent.visible)
            .collect::<Vec<_>>() as &[&str],
        reader.user as UserNid,
        &reader.ignored,
        MAX_REFERENCES,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let references = row.references.unwrap_or_default().into_iter();
            Some(Summary {
                room: row.room,
                parent: row.parent,
                aggregation: parse_kind(row.kind)?,
                count: row.count,
                by_reader: row.by_reader,
                latest: row.latest,
                references: references
                    .filter_map(|id| EventId::parse(id).ok())
                    .collect(),
            })
        })
        .collect())
}

/// The positions of the events that relate to one event directly, in the order of the query.
pub async fn children(
    conn: &mut PgConnection,
    query: &ChildrenQuery,
    ignored: &[String],
) -> Result<Vec<RoomPosition>, StoreError> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT c.position AS "position!: RoomPosition" -- not null in relations
        FROM (
            (
                SELECT position
                FROM relations
                WHERE $10
                    AND room_nid = $1
                    AND parent = $2
                    AND position > $3
                    AND position <= $4
                    AND ($5::TEXT IS NULL OR rel_type = $5)
                    AND ($6::TEXT IS NULL OR event_type = $6)
                    AND sender_nid NOT IN (SELECT user_nid FROM users WHERE user_id = ANY ($7))
                    AND position <@ $8::TEXT::INT8MULTIRANGE
                ORDER BY position DESC
                LIMIT $9
            )
            UNION ALL
            (
                SELECT position
                FROM relations
                WHERE NOT $10
                    AND room_nid = $1
                    AND parent = $2
                    AND position > $3
                    AND position <= $4
                    AND ($5::TEXT IS NULL OR rel_type = $5)
                    AND ($6::TEXT IS NULL OR event_type = $6)
                    AND sender_nid NOT IN (SELECT user_nid FROM users WHERE user_id = ANY ($7))
                    AND position <@ $8::TEXT::INT8MULTIRANGE
                ORDER BY position
                LIMIT $9
            )
        ) c
        "#,
        query.parent.room as RoomNid,
        query.parent.position as RoomPosition,
        query.after as RoomPosition,
        query.until as RoomPosition,
        query.rel_type,
        query.event_type,
        ignored,
        &*query.parent.visible,
        query.limit,
        query.direction == Direction::Backward,
    )
    .fetch_all(conn)
    .await?;
    Ok(in_order(found, query.direction))
}

/// The same, with the events that relate to these, and so on, down to a depth. Gives the greatest
/// depth that was found, too.
pub async fn descendants(
    conn: &mut PgConnection,
    query: &ChildrenQuery,
    ignored: &[String],
    depth: i32,
) -> Result<Vec<RoomPosition>, StoreError> {
    let found = sqlx::query_scalar!(
        r#"
        WITH RECURSIVE tree AS (
            SELECT position, rel_type, event_type, sender_nid, 1 AS depth
            FROM relations
            WHERE room_nid = $1
                AND parent = $2
            UNION ALL
            SELECT r.position, r.rel_type, r.event_type, r.sender_nid, t.depth + 1
            FROM tree t
            JOIN relations r ON r.room_nid = $1
                AND r.parent = t.position
            WHERE t.depth < $11
        )
        SELECT position AS "position!: RoomPosition" -- not null in relations
        FROM tree
        WHERE position > $3
            AND position <= $4
            AND ($5::TEXT IS NULL OR rel_type = $5)
            AND ($6::TEXT IS NULL OR event_type = $6)
            AND sender_nid NOT IN (SELECT user_nid FROM users WHERE user_id = ANY ($7))
            AND position <@ $8::TEXT::INT8MULTIRANGE
        ORDER BY CASE WHEN $10 THEN -position ELSE position END
        LIMIT $9
        "#,
        query.parent.room as RoomNid,
        query.parent.position as RoomPosition,
        query.after as RoomPosition,
        query.until as RoomPosition,
        query.rel_type,
        query.event_type,
        ignored,
        &*query.parent.visible,
        query.limit,
        query.direction == Direction::Backward,
        depth,
    )
    .fetch_all(conn)
    .await?;
    Ok(in_order(found, query.direction))
}

fn in_order(mut found: Vec<RoomPosition>, direction: Direction) -> Vec<RoomPosition> {
    found.sort_unstable();
    if direction == Direction::Backward {
        found.reverse();
    }
    found
}

/// The threads of a room whose newest event is at or before a position, those with the newest
/// events first: their roots, and the positions of these events.
pub async fn threads(
    conn: &mut PgConnection,
    room: &Parent,
    reader: Option<UserNid>,
    limit: i64,
) -> Result<Vec<(RoomPosition, RoomPosition)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT t.root AS "root: RoomPosition",
            t.latest AS "latest: RoomPosition"
        FROM threads t
        JOIN events e ON e.room_nid = t.room_nid AND e.position = t.root
        WHERE t.room_nid = $1
            AND t.latest <= $2
            AND t.root <@ $3::TEXT::INT8MULTIRANGE
            AND (
                $4::BIGINT IS NULL
                OR e.sender_nid = $4
                OR EXISTS (
                    SELECT 1
                    FROM relations r
                    WHERE r.room_nid = t.room_nid
                        AND r.parent = t.root
                        AND r.kind = 2
                        AND r.sender_nid = $4
                )
            )
        ORDER BY t.latest DESC
        LIMIT $5
        "#,
        room.room as RoomNid,
        room.position as RoomPosition,
        &*room.visible,
        reader as Option<UserNid>,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.root, row.latest)).collect())
}
