//! Who can be found by name.
//!
//! The two tables follow from accounts, profiles and the account data `im.vector.hide_profile`,
//! which alone say what is true: [`refresh`] reads them and writes what differs. It is called by
//! the store functions that change a name or close an account, and by whoever changes anything
//! else of it. What was made before the tables, or by an older folding, is found by
//! [`list_outdated`].
//!
//! tchap.md 6.1 (UD) and 6.2 (RL).

mod fold;
mod search;

use std::collections::BTreeSet;

use ruma::UserId;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use self::fold::Words;
pub(super) use self::fold::fold;
pub use self::{
    fold::words,
    search::{Found, Search, search},
};
use super::{StoreError, UserNid};
use crate::policy;

/// The account data by which people say whether they can be found: `{"hide_profile": true}`.
pub const HIDE_PROFILE: &str = "im.vector.hide_profile";

/// What the directory says of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Whether it can be found by name.
    pub is_listed: bool,
    /// Whether its owner is on the red list, or is an external who never asked to be found.
    pub hidden_by_choice: bool,
    /// Whether it is hidden because it expired.
    pub hidden_by_expiry: bool,
}

/// What the directory says of an account; `None` before it was looked at.
pub async fn find(conn: &mut PgConnection, user: UserNid) -> Result<Option<Listing>, StoreError> {
    let listing = sqlx::query_as!(
        Listing,
        r#"
        SELECT is_listed,
            hidden_by_choice,
            hidden_by_expiry
        FROM user_directory
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .fetch_optional(conn)
    .await?;
    Ok(listing)
}

/// Brings the directory up to date with these accounts, in one transaction. Gives those whose
/// entry changed; doing it twice changes nothing the second time (RL-10). Users without an account
/// are passed over.
pub async fn refresh(
    conn: &mut PgConnection,
    users: &[UserNid],
) -> Result<Vec<UserNid>, StoreError> {
    update(conn, users, None).await
}

/// Hides accounts because they expired, or shows them again unless their owners hid them
/// (RL-05 to RL-07, RL-09). Gives those whose entry changed.
pub async fn set_expired(
    conn: &mut PgConnection,
    users: &[UserNid],
    expired: bool,
) -> Result<Vec<UserNid>, StoreError> {
    update(conn, users, Some(expired)).await
}

/// Accounts after `after`, in order, that the directory does not have or that an older folding
/// made.
pub async fn list_outdated(
    conn: &mut PgConnection,
    after: UserNid,
    limit: i64,
) -> Result<Vec<UserNid>, StoreError> {
    let users = sqlx::query_scalar!(
        r#"
        SELECT a.user_nid AS "user: UserNid"
        FROM accounts a
        LEFT JOIN user_directory d ON d.user_nid = a.user_nid
        WHERE a.user_nid > $1
            AND (d.user_nid IS NULL OR d.fold_version < $2)
        ORDER BY a.user_nid
        LIMIT $3
        "#,
        after as UserNid,
        fold::VERSION,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(users)
}

async fn update(
    conn: &mut PgConnection,
    users: &[UserNid],
    expired: Option<bool>,
) -> Result<Vec<UserNid>, StoreError> {
    let users: Vec<i64> = users.iter().map(|user| user.0).collect();
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = conn.begin().await?;
    lock(&mut tx, &users).await?;
    let rows = list_facts(&mut tx, &users).await?;
    let mut changed = Vec::new();
    for facts in rows {
        let entry = facts.entry(expired)?;
        if !entry.is_as_before {
            changed.push(entry);
        }
    }
    if !changed.is_empty() {
        write(&mut tx, &changed).await?;
    }
    tx.commit().await?;
    Ok(changed.into_iter().map(|entry| entry.user).collect())
}

/// Makes the rows that are missing, and takes all of them in order: two who change the same
/// accounts come one after the other, and the second sees what the first wrote.
async fn lock(conn: &mut PgConnection, users: &[i64]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO user_directory (user_nid, name, is_listed, hidden_by_choice, fold_version)
        SELECT a.user_nid, '', FALSE, FALSE, 0
        FROM accounts a
        WHERE a.user_nid = ANY($1)
        ORDER BY a.user_nid
        ON CONFLICT DO NOTHING
        "#,
        users,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"
        SELECT user_nid
        FROM user_directory
        WHERE user_nid = ANY($1)
        ORDER BY user_nid
        FOR UPDATE
        "#,
        users,
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

/// What an entry follows from, and what it is.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a column of the database"
)]
struct Facts {
    user: UserNid,
    user_id: String,
    is_external: bool,
    is_open: bool,
    display_name: Option<String>,
    content: Option<String>,
    name: String,
    is_listed: bool,
    hidden_by_choice: bool,
    hidden_by_expiry: bool,
    fold_version: i16,
}

async fn list_facts(conn: &mut PgConnection, users: &[i64]) -> Result<Vec<Facts>, StoreError> {
    let facts = sqlx::query_as!(
        Facts,
        r#"
        SELECT d.user_nid AS "user: UserNid",
            u.user_id,
            a.is_external,
            a.deactivated_ms IS NULL AS "is_open!", -- IS NULL is never null
            p.display_name AS "display_name?", -- a left join
            c.content AS "content?", -- a left join
            d.name,
            d.is_listed,
            d.hidden_by_choice,
            d.hidden_by_expiry,
            d.fold_version
        FROM user_directory d
        JOIN accounts a ON a.user_nid = d.user_nid
        JOIN users u ON u.user_nid = d.user_nid
        LEFT JOIN profiles p ON p.user_nid = d.user_nid
        LEFT JOIN account_data c ON c.user_nid = d.user_nid
            AND c.room_nid = 0
            AND c.event_type = $2
        WHERE d.user_nid = ANY($1)
        "#,
        users,
        HIDE_PROFILE,
    )
    .fetch_all(conn)
    .await?;
    Ok(facts)
}

/// What stands in the directory.
struct Entry {
    user: UserNid,
    name: String,
    words: BTreeSet<String>,
    listing: Listing,
    is_as_before: bool,
}

impl Facts {
    fn entry(&self, expired: Option<bool>) -> Result<Entry, StoreError> {
        let user_id = <&UserId>::try_from(self.user_id.as_str())
            .map_err(|_| StoreError::inconsistent("users", "user_id", self.user))?;
        let Words { all, line: name } =
            Words::of(self.display_name.as_deref(), user_id.localpart());
        let content: Option<Value> = self
            .content
            .as_deref()
            .and_then(|content| serde_json::from_str(content).ok());
        let hidden_by_choice = policy::hides_profile(content.as_ref(), self.is_external);
        let hidden_by_expiry = expired.unwrap_or(self.hidden_by_expiry);
        let is_listed = policy::is_listed(self.is_open, hidden_by_choice, hidden_by_expiry);
        let listing = Listing {
            is_listed,
            hidden_by_choice,
            hidden_by_expiry,
        };
        let before = Listing {
            is_listed: self.is_listed,
            hidden_by_choice: self.hidden_by_choice,
            hidden_by_expiry: self.hidden_by_expiry,
        };
        let words = if is_listed { all } else { BTreeSet::new() };
        Ok(Entry {
            user: self.user,
            is_as_before: before == listing
                && self.name == name
                && self.fold_version == fold::VERSION,
            name,
            words,
            listing,
        })
    }
}

async fn write(conn: &mut PgConnection, entries: &[Entry]) -> Result<(), StoreError> {
    let users: Vec<i64> = entries.iter().map(|entry| entry.user.0).collect();
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let column = |field: fn(&Listing) -> bool| -> Vec<bool> {
        entries.iter().map(|entry| field(&entry.listing)).collect()
    };
    sqlx::query!(
        r#"
        UPDATE user_directory d
        SET name = n.name,
            is_listed = n.is_listed,
            hidden_by_choice = n.hidden_by_choice,
            hidden_by_expiry = n.hidden_by_expiry,
            fold_version = $6
        FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::BOOLEAN[], $4::BOOLEAN[], $5::BOOLEAN[])
            AS n (user_nid, name, is_listed, hidden_by_choice, hidden_by_expiry)
        WHERE d.user_nid = n.user_nid
        "#,
        &users,
        &names as &[&str],
        &column(|listing| listing.is_listed),
        &column(|listing| listing.hidden_by_choice),
        &column(|listing| listing.hidden_by_expiry),
        fold::VERSION,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        DELETE FROM user_directory_words
        WHERE user_nid = ANY($1)
        "#,
        &users,
    )
    .execute(&mut *conn)
    .await?;
    let rows = || {
        let each = |entry| words_of(entry).map(move |word| (entry, word));
        entries.iter().flat_map(each)
    };
    let users: Vec<i64> = rows().map(|(entry, _)| entry.user.0).collect();
    let words: Vec<&str> = rows().map(|(_, word)| word).collect();
    let names: Vec<&str> = rows().map(|(entry, _)| entry.name.as_str()).collect();
    sqlx::query!(
        r#"
        INSERT INTO user_directory_words (user_nid, word, name)
        SELECT n.user_nid, n.word, n.name
        FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::TEXT[]) AS n (user_nid, word, name)
        "#,
        &users,
        &words as &[&str],
        &names as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn words_of(entry: &Entry) -> impl Iterator<Item = &str> {
    entry.words.iter().map(String::as_str)
}
