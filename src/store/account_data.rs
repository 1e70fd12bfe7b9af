//! Account data: global, and of rooms.

use std::collections::HashMap;

use ruma::{OwnedUserId, UserId};
use serde_json::value::RawValue;
use sqlx::PgConnection;

use super::{RoomNid, StoreError, StreamPosition, UserNid, live::OwnRules};

/// One piece of account data.
#[derive(Clone, Debug)]
pub struct AccountData {
    /// The room; `None` for global account data.
    pub room: Option<RoomNid>,
    /// The type.
    pub event_type: String,
    /// The content.
    pub content: Box<RawValue>,
}

/// The content of account data that was deleted. The row stays, since incremental syncs tell of it
/// (MSC3391).
pub const DELETED: &str = "{}";

/// All account data of a user, also what was deleted.
pub async fn list(conn: &mut PgConnection, user: UserNid) -> Result<Vec<AccountData>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT room_nid AS "room: RoomNid",
            event_type,
            content
        FROM account_data
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(AccountData {
                room: Some(row.room).filter(|room| room.0 != 0),
                content: parse(user, row.content)?,
                event_type: row.event_type,
            })
        })
        .collect()
}

/// One content. There is none of what was deleted.
pub async fn find(
    conn: &mut PgConnection,
    user: UserNid,
    room: Option<RoomNid>,
    event_type: &str,
) -> Result<Option<Box<RawValue>>, StoreError> {
    let content = sqlx::query_scalar!(
        r#"
        SELECT content
        FROM account_data
        WHERE user_nid = $1
            AND room_nid = $2
            AND event_type = $3
            AND content <> '{}'
        "#,
        user as UserNid,
        room.unwrap_or_default() as RoomNid,
        event_type,
    )
    .fetch_optional(conn)
    .await?;
    content.map(|content| parse(user, content)).transpose()
}

/// The contents of one type that some users have. Users who have none are left out.
pub async fn list_of_users(
    conn: &mut PgConnection,
    user_ids: &[&UserId],
    event_type: &str,
) -> Result<Vec<String>, StoreError> {
    let ids: Vec<&str> = user_ids.iter().map(|user_id| user_id.as_str()).collect();
    let contents = sqlx::query_scalar!(
        r#"
        SELECT account_data.content
        FROM users
        JOIN account_data USING (user_nid)
        WHERE users.user_id = ANY($1)
            AND account_data.room_nid = 0
            AND account_data.event_type = $2
        "#,
        ids as Vec<&str>,
        event_type,
    )
    .fetch_all(conn)
    .await?;
    Ok(contents)
}

/// What users have said about being notified, and when last of threads.
pub async fn own_rules(
    conn: &mut PgConnection,
    users: &[UserNid],
) -> Result<HashMap<UserNid, (OwnedUserId, OwnRules)>, StoreError> {
    let owners = sqlx::query!(
        r#"
        SELECT u.user_nid AS "user: UserNid",
            u.user_id,
            r.content AS "rules?", -- a left join
            i.content AS "ignored?", -- a left join
            (
                SELECT MAX(s.changed_at)
                FROM thread_subscriptions s
                WHERE s.user_nid = u.user_nid
            ) AS "subscribed_at: StreamPosition"
        FROM users u
        LEFT JOIN account_data r ON r.user_nid = u.user_nid
            AND r.room_nid = 0
            AND r.event_type = 'm.push_rules'
        LEFT JOIN account_data i ON i.user_nid = u.user_nid
            AND i.room_nid = 0
            AND i.event_type = 'm.ignored_user_list'
        WHERE u.user_nid = ANY($1)
        "#,
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    let mut rules = HashMap::with_capacity(owners.len());
    for owner in owners {
        let user_id = UserId::parse(&owner.user_id)
            .map_err(|_| StoreError::inconsistent("users", "user_id", owner.user))?;
        let own = OwnRules {
            subscribed_at: owner.subscribed_at.unwrap_or_default(),
            ..OwnRules::new(&user_id, owner.rules.as_deref(), owner.ignored.as_deref())
        };
        rules.insert(owner.user, (user_id, own));
    }
    Ok(rules)
}

fn parse(user: UserNid, content: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(content)
        .map_err(|_| StoreError::inconsistent("account_data", "content", user))
}
