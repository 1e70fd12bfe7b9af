//! The words of messages: filling the index from the stream, and asking it.
//!
//! One GIN index holds the words and the rooms that they are in, as words of their own (`#5`): what
//! is in all rooms of the server need not be looked at to find what is in those of one user.

use std::sync::Arc;

use ruma::RoomId;
use sqlx::PgConnection;

use super::{
    RoomNid, RoomPosition, StoreError, StreamPosition, UserNid, events, user_directory::fold,
};
use crate::event::Pdu;

/// The most of a text that is looked at, in bytes.
const MAX_TEXT: usize = 16 << 10;
/// The most rooms that are named in a search of the index; with more, all are searched, and those
/// of others are left out of what is found.
const MAX_ROOM_WORDS: usize = 2_000;

/// How many places of the stream are looked at to learn how frequent something is.
const SAMPLE: i64 = 2_000;

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

/// What is searched for.
#[derive(Clone, Debug)]
pub struct Search {
    /// The words, as people wrote them.
    pub term: String,
    /// The rooms, each up to a position.
    pub rooms: Vec<(RoomNid, RoomPosition)>,
    /// Only in these.
    pub keys: Vec<Key>,
    /// Only of these senders.
    pub senders: Option<Vec<String>>,
    /// Not of these senders.
    pub not_senders: Vec<String>,
    /// Only what stands before this place of the stream.
    pub before: StreamPosition,
    /// The most that is found, the newest first.
    pub limit: i64,
}

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Its place in the stream.
    pub at: StreamPosition,
    /// The room.
    pub room: RoomNid,
    /// The position there.
    pub position: RoomPosition,
    /// The sender.
    pub sender: UserNid,
    /// How well it fits.
    pub rank: f32,
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

/// What is found, the newest first. A term without words finds nothing. To be called in a
/// transaction, and nothing else after it there.
///
/// The newest entries are looked at one by one. How much is found among them says how to look for
/// the rest: what is frequent one by one as well, until there is enough of it, and what is rare by
/// the index of words. PostgreSQL's own guess, which knows the frequency of the commonest words
/// only, was wrong by the factor of a hundred.
pub async fn find(conn: &mut PgConnection, search: &Search) -> Result<Vec<Found>, StoreError> {
    let newest = progress(conn).await?;
    let end = search.before.0.min(newest.0.saturating_add(1));
    let middle = end.saturating_sub(SAMPLE).max(0);
    let mut found = find_between(conn, search, OneByOne(true), (middle, end)).await?;
    let hits = i64::try_from(found.len()).unwrap_or(i64::MAX);
    if middle > 0 && hits < search.limit {
        let one_by_one = OneByOne(is_frequent(hits, end, search.limit));
        found.extend(find_between(conn, search, one_by_one, (0, middle)).await?);
        found.truncate(usize::try_from(search.limit).unwrap_or(usize::MAX));
    }
    Ok(found)
}

/// How the rows of a search are come by.
struct OneByOne(bool);

/// Whether what was found `hits` times in the sample is found sooner by looking at entries one by
/// one, of which `limit / frequency` are needed, than by the index, which gives
/// `entries * frequency` to look at.
fn is_frequent(hits: i64, entries: i64, limit: i64) -> bool {
    let product = |square: i64, number: i64| {
        let square = i128::from(square) * i128::from(square);
        square.saturating_mul(i128::from(number))
    };
    product(hits, entries) > product(SAMPLE, limit)
}

/// What is found at or after a place of the stream and before another.
async fn find_between(
    conn: &mut PgConnection,
    search: &Search,
    OneByOne(one_by_one): OneByOne,
    (from, before): (i64, i64),
) -> Result<Vec<Found>, StoreError> {
    let term = cut(&search.term);
    let folded = fold(&term);
    let rooms: Vec<_> = search.rooms.iter().map(|(room, _)| room.0).collect();
    let until: Vec<_> = search.rooms.iter().map(|(_, until)| until.0).collect();
    let keys: Vec<_> = search.keys.iter().map(|key| key.to_sql()).collect();
    // The words of rooms serve the index; elsewhere the join says the same for less.
    let has_room_words = !one_by_one && search.rooms.len() <= MAX_ROOM_WORDS;
    let words = has_room_words.then(|| {
        let words = search.rooms.iter().map(|(room, _)| room_word(*room));
        words
            .map(|word| format!("'{word}'"))
            .collect::<Vec<_>>()
            .join("|")
    });
    let on = |is_on| if is_on { "on" } else { "off" };
    // A join by nested loops would compare each row with each room.
    sqlx::query!(
        r#"
        SELECT SET_CONFIG('plan_cache_mode', 'force_custom_plan', TRUE) AS plans,
            SET_CONFIG('enable_nestloop', 'off', TRUE) AS loops,
            SET_CONFIG('enable_indexscan', $1, TRUE) AS one_by_one,
            SET_CONFIG('enable_bitmapscan', $2, TRUE) AS by_words
        "#,
        on(one_by_one),
        on(!one_by_one),
    )
    .fetch_one(&mut *conn)
    .await?;
    let found = sqlx::query_as!(
        Found,
        r#"
        SELECT s.stream_position AS "at: StreamPosition",
            s.room_nid AS "room: RoomNid",
            s.position AS "position: RoomPosition",
            s.sender_nid AS "sender: UserNid",
            TS_RANK(
                s.words,
                PLAINTO_TSQUERY('french', $1)
                    || PLAINTO_TSQUERY('french', $2)
                    || PLAINTO_TSQUERY('english', $1)
                    || PLAINTO_TSQUERY('simple', $2)
            ) AS "rank!" -- not null for what is not null
        FROM search_entries s
        JOIN UNNEST($4::BIGINT[], $5::BIGINT[]) AS r (room_nid, until)
            ON r.room_nid = s.room_nid
        WHERE s.words @@ (
                PLAINTO_TSQUERY('french', $1)
                || PLAINTO_TSQUERY('french', $2)
                || PLAINTO_TSQUERY('english', $1)
                || PLAINTO_TSQUERY('simple', $2)
            )
            AND ($3::TEXT IS NULL OR s.words @@ $3::TEXT::TSQUERY)
            AND s.position <= r.until
            AND s.key = ANY ($6)
            AND (
                $7::TEXT[] IS NULL
                OR s.sender_nid IN (SELECT user_nid FROM users WHERE user_id = ANY ($7))
            )
            AND s.sender_nid NOT IN (SELECT user_nid FROM users WHERE user_id = ANY ($8))
            AND s.stream_position >= $9
            AND s.stream_position < $10
        ORDER BY s.stream_position DESC
        LIMIT $11
        "#,
        term,
        folded,
        words,
        &rooms,
        &until,
        &keys,
        search.senders.as_deref(),
        &search.not_senders,
        from,
        before,
        search.limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(found)
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

#[cfg(test)]
mod tests {
    use super::is_frequent;

    #[test]
    fn the_sample_says_which_way_is_shorter() {
        // In a million entries a thousand are found among 31,600 if one of 31.6 is one of them:
        // as many as the index would give.
        assert!(is_frequent(64, 1_000_000, 1_000));
        assert!(!is_frequent(63, 1_000_000, 1_000));
        // With few entries, or for few results, the limit shifts.
        assert!(!is_frequent(64, 900_000, 1_000));
        assert!(is_frequent(21, 1_000_000, 100));
        assert!(!is_frequent(0, i64::MAX, 1));
        assert!(is_frequent(i64::MAX, i64::MAX, 1));
        assert!(is_frequent(i64::MAX, 1, i64::MAX));
    }
}
