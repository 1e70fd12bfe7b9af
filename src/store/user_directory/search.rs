//! Finding people by the beginnings of the words of their names.

use ruma::{OwnedUserId, UserId};
use sqlx::PgConnection;

use crate::store::{StoreError, UserNid};

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// Folded words, as [`words`](super::words) makes them. All of them must be the beginning of a
    /// word of whoever is found. Without any, nobody is.
    pub words: &'a [String],
    /// Who searches, and so is not found.
    pub searcher: UserNid,
    /// Whether everybody who is listed can be found; otherwise those who share a room with the
    /// searcher, or are in a public room.
    pub everybody: bool,
    /// How many are found at most.
    pub limit: i64,
}

/// Somebody who was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The user.
    pub user: UserNid,
    /// The user's id.
    pub user_id: OwnedUserId,
    /// The name that people see.
    pub display_name: Option<String>,
    /// The picture.
    pub avatar_url: Option<String>,
}

/// Finds people: first those one of whose words is exactly what was searched for, then by that
/// word, the name, and the age of the account.
///
/// The rarest of the words is looked up in an index which gives the users in the order of the
/// results and has all their words, until there are enough.
pub async fn search(
    conn: &mut PgConnection,
    search: &Search<'_>,
) -> Result<Vec<Found>, StoreError> {
    let low: Vec<&str> = search.words.iter().map(String::as_str).collect();
    // No letter comes after this one.
    let high: Vec<String> = low.iter().map(|word| format!("{word}\u{10FFFF}")).collect();
    // Folded words have letters and digits only, and so nothing that has a meaning in a pattern.
    let patterns: Vec<String> = low.iter().map(|word| format!("% {word}%")).collect();
    let rows = sqlx::query!(
        r#"
        WITH terms AS MATERIALIZED (
            SELECT t.n,
                t.low COLLATE "C" AS low,
                t.high COLLATE "C" AS high
            FROM UNNEST($1::TEXT[], $2::TEXT[]) WITH ORDINALITY AS t (low, high, n)
        ), rarest AS MATERIALIZED (
            SELECT t.n, t.low, t.high
            FROM terms t
            ORDER BY (
                SELECT COUNT(*)
                FROM (
                    SELECT
                    FROM user_directory_words c
                    WHERE c.word >= t.low
                        AND c.word < t.high
                    LIMIT 4000
                ) AS few
            ), LENGTH(t.low) DESC, t.n
            LIMIT 1
        ), found AS (
            SELECT w.user_nid, w.word, w.name
            FROM user_directory_words w
            WHERE w.word >= (SELECT r.low FROM rarest r)
                AND w.word < (SELECT r.high FROM rarest r)
                AND w.user_nid <> $3
                AND (
                    SELECT MIN(o.word)
                    FROM user_directory_words o
                    WHERE o.user_nid = w.user_nid
                        AND o.word >= (SELECT r.low FROM rarest r)
                ) = w.word
                AND w.name LIKE ALL ($6::TEXT[])
                AND (
                    $4
                    OR COALESCE((
                        SELECT TRUE
                        FROM memberships m
                        JOIN memberships s ON s.room_nid = m.room_nid
                        WHERE m.user_nid = w.user_nid
                            AND m.membership = 2
                            AND s.user_nid = $3
                            AND s.membership = 2
                        LIMIT 1
                    ), FALSE)
                    OR COALESCE((
                        SELECT TRUE
                        FROM memberships m
                        JOIN room_summaries s ON s.room_nid = m.room_nid
                        WHERE m.user_nid = w.user_nid
                            AND m.membership = 2
                            AND (s.join_rule = 'public' OR s.world_readable)
                        LIMIT 1
                    ), FALSE)
                )
            ORDER BY w.word, w.name, w.user_nid
            LIMIT $5
        )
        SELECT f.user_nid AS "user!: UserNid", -- not null in user_directory_words
            u.user_id AS "user_id!", -- not null in users
            p.display_name AS "display_name?", -- a left join
            p.avatar_url AS "avatar_url?" -- a left join
        FROM found f
        JOIN users u ON u.user_nid = f.user_nid
        LEFT JOIN profiles p ON p.user_nid = f.user_nid
        ORDER BY f.word, f.name, f.user_nid
        "#,
        &low as &[&str],
        &high,
        search.searcher as UserNid,
        search.everybody,
        search.limit,
        &patterns,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let user_id = UserId::parse(&row.user_id)
                .map_err(|_| StoreError::inconsistent("users", "user_id", row.user))?;
            Ok(Found {
                user: row.user,
                user_id,
                display_name: row.display_name,
                avatar_url: row.avatar_url,
            })
        })
        .collect()
}
