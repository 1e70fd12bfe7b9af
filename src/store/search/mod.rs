//! The words of messages: filling the index from the stream, and asking it.
//!
//! One GIN index holds the words and the rooms that they are in, as words of their own (`#5`): what
//! is in all rooms of the server need not be looked at to find what is in a few.

mod find;

use std::sync::Arc;

use ruma::RoomId;
use sqlx::PgConnection;

pub use self::find::{Findings, Found, Search, find};
use super::{
    RoomNid, RoomPosition, StoreError, StreamPosition, UserNid, events, user_directory::fold,
};
use crate::event::Pdu;

/// The most of a text that is looked at, in bytes.
const MAX_TEXT: usize = 16 << 10;

/// What words were found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The body of a message.
    Body,
    /// The name of a room.
    Name,
    /// The topic of a room.
    Topic,
}

impl Key {
    fn to_sql(self) -> i16 {
        match self {
            Self::Body => 1,
            Self::Name => 2,
            Self::Topic => 3,
        }
    }
}

/// An event with something to find.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the stream.
    pub at: StreamPosition,
    /// The room.
    pub room: RoomNid,
    /// The position there.
    pub position: RoomPosition,
    /// The sender.
    pub sender: UserNid,
    /// What the text is.
    pub key: Key,
    /// The text.
    pub text: String,
}

/// An event of the stream that may have something to find.
#[derive(Clone, Debug)]
pub struct Unread {
    /// Its place in the stream.
    pub at: StreamPosition,
    /// The event; `None` for what is no event, or is gone.
    pub event: Option<UnreadEvent>,
}

/// The event of an [`Unread`].
#[derive(Clone, Debug)]
pub struct UnreadEvent {
    /// The room.
    pub room: RoomNid,
    /// The position there.
    pub position: RoomPosition,
    /// The sender.
    pub sender: UserNid,
    /// The event.
    pub pdu: Arc<Pdu>,
}

/// How far the stream was read.
pub async fn progress(conn: &mut PgConnection) -> Result<StreamPosition, StoreError> {
    let position = sqlx::query_scalar!(
        r#"
        SELECT stream_position AS "position: StreamPosition"
        FROM search_progress
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(position)
}

/// The same, and holds the row for the rest of the transaction.
pub async fn lock_progress(conn: &mut PgConnection) -> Result<StreamPosition, StoreError> {
    let position = sqlx::query_scalar!(
        r#"
        SELECT stream_position AS "position: StreamPosition"
        FROM search_progress
        FOR UPDATE
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(position)
}

/// Says how far the stream was read.
pub async fn update_progress(
    conn: &mut PgConnection,
    position: StreamPosition,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE search_progress
        SET stream_position = $1
        "#,
        position as StreamPosition,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What stands in the stream after a position, at most `limit` entries. An event that makes no
/// sense is logged and passed over.
pub async fn unread(
    conn: &mut PgConnection,
    after: StreamPosition,
    limit: i64,
) -> Result<Vec<Unread>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT s.position AS "at: StreamPosition",
            s.room_nid AS "room: RoomNid",
            s.room_position AS "position: RoomPosition",
            o.room_id AS "room_id?", -- a left join
            e.event_id AS "event_id?", -- a left join
            e.sender_nid AS "sender?: UserNid", -- a left join
            e.json AS "json?" -- a left join
        FROM stream s
        LEFT JOIN rooms o ON s.kind = 1 AND o.room_nid = s.room_nid
        LEFT JOIN events e ON s.kind = 1
            AND e.room_nid = s.room_nid
            AND e.position = s.room_position
        WHERE s.position > $1
        ORDER BY s.position
        LIMIT $2
        "#,
        after as StreamPosition,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let event = |room, position, sender, room_id: &str, event_id: &str, json| {
        let room_id = RoomId::parse(room_id)
            .map_err(|_| StoreError::inconsistent("rooms", "room_id", room_id))?;
        let pdu = Arc::new(events::parse(event_id, &room_id, json)?);
        Ok::<_, StoreError>(UnreadEvent {
            room,
            position,
            sender,
            pdu,
        })
    };
    let unread = rows.into_iter().map(|row| {
        let found = row.room.zip(row.position).zip(row.sender);
        let texts = row.room_id.zip(row.event_id).zip(row.json);
        let found = found.zip(texts);
        let found = found.map(
            |(((room, position), sender), ((room_id, event_id), json))| {
                event(room, position, sender, &room_id, &event_id, json)
            },
        );
        let event = found.and_then(|found| {
            found
                .inspect_err(|error| tracing::error!(%error, "an event cannot be searched"))
                .ok()
        });
        Unread { at: row.at, event }
    });
    Ok(unread.collect())
}

/// Adds entries; those that are there stay.
pub async fn insert(conn: &mut PgConnection, entries: &[Entry]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let texts: Vec<_> = entries.iter().map(|entry| cut(&entry.text)).collect();
    let folded: Vec<_> = texts.iter().map(|text| fold(text)).collect();
    let rooms: Vec<_> = entries.iter().map(|entry| room_word(entry.room)).collect();
    sqlx::query!(
        r#"
        INSERT INTO search_entries
            (stream_position, room_nid, position, sender_nid, key, words)
        SELECT n.stream_position, n.room_nid, n.position, n.sender_nid, n.key,
            TO_TSVECTOR('french', n.text)
                || TO_TSVECTOR('french', n.folded)
                || TO_TSVECTOR('english', n.text)
                || TO_TSVECTOR('simple', n.folded)
                || ARRAY_TO_TSVECTOR(ARRAY[n.room])
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::SMALLINT[],
                $6::TEXT[], $7::TEXT[], $8::TEXT[])
            AS n (stream_position, room_nid, position, sender_nid, key, text, folded, room)
        ON CONFLICT DO NOTHING
        "#,
        &entries.iter().map(|entry| entry.at.0).collect::<Vec<_>>(),
        &entries.iter().map(|entry| entry.room.0).collect::<Vec<_>>(),
        &entries
            .iter()
            .map(|entry| entry.position.0)
            .collect::<Vec<_>>(),
        &entries
            .iter()
            .map(|entry| entry.sender.0)
            .collect::<Vec<_>>(),
        &entries
            .iter()
            .map(|entry| entry.key.to_sql())
            .collect::<Vec<_>>(),
        &texts,
        &folded,
        &rooms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the entries of events away.
pub async fn delete(
    conn: &mut PgConnection,
    places: &[(RoomNid, RoomPosition)],
) -> Result<(), StoreError> {
    if places.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        DELETE FROM search_entries s
        USING UNNEST($1::BIGINT[], $2::BIGINT[]) AS n (room_nid, position)
        WHERE s.room_nid = n.room_nid
            AND s.position = n.position
        "#,
        &places.iter().map(|(room, _)| room.0).collect::<Vec<_>>(),
        &places
            .iter()
            .map(|(_, position)| position.0)
            .collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The word for a room: no text has it.
fn room_word(room: RoomNid) -> String {
    format!("#{room}")
}

/// The beginning of a text; PostgreSQL's texts hold no NUL.
fn cut(text: &str) -> String {
    let text = text.get(..text.floor_char_boundary(MAX_TEXT));
    text.unwrap_or_default().replace('\0', " ")
}
