//! Asking the index of words.

use sqlx::PgConnection;

use super::{Key, cut, progress, room_word};
use crate::store::{
    RoomNid, RoomPosition, StoreError, StreamPosition, UserNid, user_directory::fold,
};

/// The most rooms that are named in a search of the index; with more, all are searched, and those
/// of others are left out of what is found.
const MAX_ROOM_WORDS: usize = 32;

/// In how many parts of the stream it is looked at how frequent something is: what people talk about
/// changes from day to day.
const PARTS: i64 = 8;
/// How many places are looked at in each part.
const PLACES: i64 = 125;
/// How many are looked at in all.
const SAMPLE: i64 = PARTS * PLACES;

/// How much an entry costs that is come by through the index of rooms, and one through that of words,
/// where one costs 1 that is next to the one before it: such a one lies on the same page, and most
/// are put aside for their rooms. Measured with a million entries: 0.35, 4.5 and 2.2 µs.
const ROOMS_COST: i64 = 12;
const WORDS_COST: i64 = 6;

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

impl Search {
    /// Whether so many were found that there may be more, further back.
    pub fn is_reached_by(&self, found: usize) -> bool {
        i64::try_from(found).map_or(true, |found| found >= self.limit)
    }
}

/// What a search comes to.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The newest of what is found, in this order, up to the limit.
    pub newest: Vec<Found>,
    /// About how many there are in all: exact if the limit was not reached, else worked out from
    /// some of the entries.
    pub about: usize,
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

/// What is found. A term without words finds nothing. To be called in a transaction, and nothing
/// else after it there.
///
/// Of three ways the one is taken that costs the least: to look at all entries from the newest on until
/// there is enough; at all of those in the rooms; at all of those with the words. How frequent the words
/// are is seen in some of the entries. PostgreSQL's own guess, which knows the frequency of the commonest
/// words only, is wrong by the factor of a hundred.
pub async fn find(conn: &mut PgConnection, search: &Search) -> Result<Findings, StoreError> {
    let newest = progress(conn).await?;
    let end = search.before.0.min(newest.0.saturating_add(1));
    let terms = Terms::new(search);
    let frequency = sample(conn, search, &terms, end).await?;
    let way = frequency.way(search, end);
    plan_for(conn, way).await?;
    let newest = match way {
        Way::Newest => find_newest(conn, search, &terms, end).await?,
        Way::Rooms => find_in_rooms(conn, search, &terms, end).await?,
        Way::Words => find_by_words(conn, search, &terms, end).await?,
    };
    let mut about = newest.len();
    if search.is_reached_by(about) {
        about = about.max(usize::try_from(frequency.own_of(end)).unwrap_or(usize::MAX));
    }
    Ok(Findings { newest, about })
}

/// How the entries of a search are come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From the newest on, until there is enough.
    Newest,
    /// All those in the rooms.
    Rooms,
    /// All those with the words, by their index.
    Words,
}

/// How many of the entries that were looked at are found.
#[derive(Clone, Copy, Debug)]
struct Frequency {
    /// Those with the words.
    all: i64,
    /// Those of them that the searcher may find.
    own: i64,
    /// How many events the rooms have up to their positions.
    in_rooms: i64,
}

impl Frequency {
    /// About how many of `entries` the searcher may find.
    fn own_of(self, entries: i64) -> i64 {
        let own = i128::from(self.own) * i128::from(entries) / i128::from(SAMPLE);
        i64::try_from(own).unwrap_or(i64::MAX).min(self.in_rooms)
    }

    /// The way that costs the least, of about `entries`.
    fn way(self, search: &Search, entries: i64) -> Way {
        // No more of them are one's own than the rooms have a share in all.
        let all = i128::from(self.all) * i128::from(self.in_rooms.min(entries));
        let own = all / i128::from(entries.max(1));
        let own = self.own.min(i64::try_from(own).unwrap_or(i64::MAX));
        let newest = if own > 0 {
            entries.min(search.limit.saturating_mul(SAMPLE) / own)
        } else {
            entries
        };
        // Each room is a look at the index, too.
        let looks = i64::try_from(search.rooms.len()).unwrap_or(i64::MAX);
        let rooms = self.in_rooms.saturating_add(looks.saturating_mul(10));
        let words = self.all.max(1).saturating_mul(entries) / SAMPLE;
        [
            (words.saturating_mul(WORDS_COST), Way::Words),
            (rooms.saturating_mul(ROOMS_COST), Way::Rooms),
            (newest, Way::Newest),
        ]
        .into_iter()
        .min_by_key(|(cost, _)| *cost)
        .map_or(Way::Words, |(_, way)| way)
    }
}

/// What a search says in the words of PostgreSQL.
struct Terms {
    term: String,
    folded: String,
    rooms: Vec<i64>,
    until: Vec<i64>,
    keys: Vec<i16>,
}

impl Terms {
    fn new(search: &Search) -> Self {
        let term = cut(&search.term);
        Self {
            folded: fold(&term),
            term,
            rooms: search.rooms.iter().map(|(room, _)| room.0).collect(),
            until: search.rooms.iter().map(|(_, until)| until.0).collect(),
            keys: search.keys.iter().map(|key| key.to_sql()).collect(),
        }
    }
}

/// Looks at some of the entries before a place of the stream.
async fn sample(
    conn: &mut PgConnection,
    search: &Search,
    terms: &Terms,
    end: i64,
) -> Result<Frequency, StoreError> {
    let parts: Vec<_> = (0..PARTS)
        .map(|part| end - end / PARTS * part - PLACES)
        .collect();
    let frequency = sqlx::query_as!(
        Frequency,
        r#"
        SELECT COUNT(*) AS "all!", -- a count is never null
            COUNT(*) FILTER (
                WHERE s.room_nid = ANY ($3)
                    AND s.key = ANY ($4)
                    AND (
                        $5::TEXT[] IS NULL
                        OR s.sender_nid IN (SELECT user_nid FROM users WHERE user_id = ANY ($5))
                    )
                    AND s.sender_nid NOT IN (SELECT user_nid FROM users WHERE user_id = ANY ($6))
            ) AS "own!", -- a count is never null
            (
                SELECT COALESCE(SUM(LEAST(
                    (SELECT rooms.position FROM rooms WHERE rooms.room_nid = r.room_nid),
                    r.until
                )), 0)::BIGINT
                FROM UNNEST($3::BIGINT[], $9::BIGINT[]) AS r (room_nid, until)
            ) AS "in_rooms!" -- zero without rooms
        FROM UNNEST($7::BIGINT[]) AS part (first)
        CROSS JOIN LATERAL (
            SELECT room_nid, sender_nid, key, words
            FROM search_entries
            WHERE stream_position >= part.first
                AND stream_position < part.first + $8
            ORDER BY stream_position DESC
            -- No fewer than there can be: so that the words are looked at afterwards.
            LIMIT $8
        ) s
        WHERE s.words @@ (
                PLAINTO_TSQUERY('french', $1)
                || PLAINTO_TSQUERY('french', $2)
                || PLAINTO_TSQUERY('english', $1)
                || PLAINTO_TSQUERY('simple', $2)
            )
        "#,
        terms.term,
        terms.folded,
        &terms.rooms,
        &terms.keys,
        search.senders.as_deref(),
        &search.not_senders,
        &parts,
        PLACES,
        &terms.until,
    )
    .fetch_one(conn)
    .await?;
    Ok(frequency)
}

/// Leaves PostgreSQL one way only, until the end of the transaction.
async fn plan_for(conn: &mut PgConnection, way: Way) -> Result<(), StoreError> {
    let on = |is_on| if is_on { "on" } else { "off" };
    sqlx::query!(
        r#"
        SELECT SET_CONFIG('plan_cache_mode', 'force_custom_plan', TRUE) AS plans,
            -- Elsewhere they would compare each entry with each room.
            SET_CONFIG('enable_nestloop', $1, TRUE) AS rooms,
            SET_CONFIG('enable_indexscan', $2, TRUE) AS one_by_one,
            SET_CONFIG('enable_bitmapscan', $3, TRUE) AS words
        "#,
        on(way != Way::Words),
        on(way != Way::Words),
        on(way == Way::Words),
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Finds from the newest entry on, [`Way::Newest`].
async fn find_newest(
    conn: &mut PgConnection,
    search: &Search,
    terms: &Terms,
    end: i64,
) -> Result<Vec<Found>, StoreError> {
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
        WHERE s.stream_position < $8
            -- The room first, for which most are put aside: to look at the words costs more.
            AND CASE WHEN s.room_nid = ANY ($3) THEN
                s.words @@ (
                    PLAINTO_TSQUERY('french', $1)
                    || PLAINTO_TSQUERY('french', $2)
                    || PLAINTO_TSQUERY('english', $1)
                    || PLAINTO_TSQUERY('simple', $2)
                )
                AND s.position <= ($4::BIGINT[])[ARRAY_POSITION($3, s.room_nid)]
                AND s.key = ANY ($5)
                AND (
                    $6::TEXT[] IS NULL
                    OR s.sender_nid IN (SELECT user_nid FROM users WHERE user_id = ANY ($6))
                )
                AND s.sender_nid NOT IN (SELECT user_nid FROM users WHERE user_id = ANY ($7))
            ELSE FALSE END
        ORDER BY s.stream_position DESC
        LIMIT $9
        "#,
        terms.term,
        terms.folded,
        &terms.rooms,
        &terms.until,
        &terms.keys,
        search.senders.as_deref(),
        &search.not_senders,
        end,
        search.limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(found)
}

/// Finds all entries with the words before a place of the stream, [`Way::Words`].
async fn find_by_words(
    conn: &mut PgConnection,
    search: &Search,
    terms: &Terms,
    end: i64,
) -> Result<Vec<Found>, StoreError> {
    // The index compares each entry with each room: for many rooms the join does that for less.
    let has_room_words = search.rooms.len() <= MAX_ROOM_WORDS;
    let words = has_room_words.then(|| {
        let words = search.rooms.iter().map(|(room, _)| room_word(*room));
        words
            .map(|word| format!("'{word}'"))
            .collect::<Vec<_>>()
            .join("|")
    });
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
            AND s.stream_position < $9
        ORDER BY s.stream_position DESC
        LIMIT $10
        "#,
        terms.term,
        terms.folded,
        words,
        &terms.rooms,
        &terms.until,
        &terms.keys,
        search.senders.as_deref(),
        &search.not_senders,
        end,
        search.limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(found)
}

/// Finds in all entries of the rooms before a place of the stream.
async fn find_in_rooms(
    conn: &mut PgConnection,
    search: &Search,
    terms: &Terms,
    end: i64,
) -> Result<Vec<Found>, StoreError> {
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
        FROM UNNEST($3::BIGINT[], $4::BIGINT[]) AS r (room_nid, until)
        CROSS JOIN LATERAL (
            SELECT e.*
            FROM search_entries e
            WHERE e.room_nid = r.room_nid
                AND e.position <= r.until
                AND e.words @@ (
                    PLAINTO_TSQUERY('french', $1)
                    || PLAINTO_TSQUERY('french', $2)
                    || PLAINTO_TSQUERY('english', $1)
                    || PLAINTO_TSQUERY('simple', $2)
                )
                AND e.key = ANY ($5)
                AND (
                    $6::TEXT[] IS NULL
                    OR e.sender_nid IN (SELECT user_nid FROM users WHERE user_id = ANY ($6))
                )
                AND e.sender_nid NOT IN (SELECT user_nid FROM users WHERE user_id = ANY ($7))
                AND e.stream_position < $8
            -- In this order along the index of rooms, and not by any other.
            ORDER BY e.position DESC
            LIMIT $9
        ) s
        ORDER BY s.stream_position DESC
        LIMIT $9
        "#,
        terms.term,
        terms.folded,
        &terms.rooms,
        &terms.until,
        &terms.keys,
        search.senders.as_deref(),
        &search.not_senders,
        end,
        search.limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Frequency, Key, RoomNid, RoomPosition, Search, StreamPosition, Way};

    fn way(rooms: &[i64], all: i64, own: i64, entries: i64) -> Way {
        let in_rooms = rooms.iter().copied().fold(0, i64::saturating_add);
        let rooms = rooms.iter().zip(1..);
        let search = Search {
            term: "word".to_owned(),
            rooms: rooms
                .map(|(until, room)| (RoomNid(room), RoomPosition(*until)))
                .collect(),
            keys: vec![Key::Body],
            senders: None,
            not_senders: Vec::new(),
            before: StreamPosition(i64::MAX),
            limit: 1_000,
        };
        let frequency = Frequency { all, own, in_rooms };
        frequency.way(&search, entries)
    }

    #[test]
    fn a_search_goes_the_cheapest_way() {
        let much = [900_000];
        // Of a million, every tenth: enough of them among the newest 10,000.
        assert_eq!(way(&much, 100, 100, 1_000_000), Way::Newest);
        // One of a thousand, or none that was seen: by the index.
        assert_eq!(way(&much, 1, 1, 1_000_000), Way::Words);
        assert_eq!(way(&much, 0, 0, 1_000_000), Way::Words);
        // Every third elsewhere, but little is said in one's own rooms.
        assert_eq!(way(&[500, 2_000], 300, 0, 1_000_000), Way::Rooms);
        assert_eq!(way(&[0; 50], 300, 0, 1_000_000), Way::Rooms);
        // An entry of a room costs more than one of the newest, and one found by its words even more.
        assert_eq!(way(&[45_000], 100, 1, 1_000_000), Way::Rooms);
        // Many of one's own where it was looked at do not make many of small rooms.
        assert_eq!(way(&[20_000], 85, 40, 1_000_000), Way::Rooms);
        assert_eq!(way(&[100_000], 50, 4, 1_000_000), Way::Newest);
        assert_eq!(way(&[i64::MAX; 2], i64::MAX, 1, i64::MAX), Way::Newest);
    }
}
