//! Users as the rest of the database knows them: a number for each user id.

use ruma::{OwnedUserId, UserId};
use sqlx::PgConnection;

use super::{StoreError, UserNid};

/// The number of a user, given out if the user is new.
pub async fn intern(conn: &mut PgConnection, user_id: &UserId) -> Result<UserNid, StoreError> {
    let found = intern_all(conn, &[user_id]).await?;
    let user = found.into_iter().next().map(|(_, user)| user);
    user.ok_or_else(|| StoreError::inconsistent("users", "user_id", "new"))
}

/// The numbers of users, given out to those that are new.
pub async fn intern_all(
    conn: &mut PgConnection,
    user_ids: &[&UserId],
) -> Result<Vec<(OwnedUserId, UserNid)>, StoreError> {
    let ids: Vec<_> = user_ids.iter().map(|id| id.as_str()).collect();
    let found = find_all(conn, &ids).await?;
    if found.len() == user_ids.len() {
        return Ok(found);
    }
    sqlx::query!(
        r#"
        INSERT INTO users (user_id)
        SELECT DISTINCT n.user_id
        FROM UNNEST($1::TEXT[]) AS n (user_id)
        ORDER BY n.user_id
        ON CONFLICT DO NOTHING
        "#,
        &ids as &[&str],
    )
    .execute(&mut *conn)
    .await?;
    find_all(conn, &ids).await
}

/// The numbers of those of some users that are known.
pub async fn find_all(
    conn: &mut PgConnection,
    ids: &[&str],
) -> Result<Vec<(OwnedUserId, UserNid)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT user_nid AS "user_nid: UserNid",
            user_id
        FROM users
        WHERE user_id = ANY($1)
        "#,
        ids as &[&str],
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((parse(row.user_nid, &row.user_id)?, row.user_nid)))
        .collect()
}

/// The ids behind numbers.
pub async fn ids(
    conn: &mut PgConnection,
    users: &[UserNid],
) -> Result<Vec<(UserNid, OwnedUserId)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT user_nid AS "user_nid: UserNid",
            user_id
        FROM users
        WHERE user_nid = ANY($1)
        "#,
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.user_nid, parse(row.user_nid, &row.user_id)?)))
        .collect()
}

fn parse(user: UserNid, user_id: &str) -> Result<OwnedUserId, StoreError> {
    UserId::parse(user_id).map_err(|_| StoreError::inconsistent("users", "user_id", user))
}

/// The number of a known user.
pub async fn find(
    conn: &mut PgConnection,
    user_id: &UserId,
) -> Result<Option<UserNid>, StoreError> {
    let nid = sqlx::query_scalar!(
        r#"
        SELECT user_nid AS "user_nid: UserNid"
        FROM users
        WHERE user_id = $1
        "#,
        user_id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(nid)
}

/// The user id behind a number.
pub async fn user_id(conn: &mut PgConnection, user: UserNid) -> Result<OwnedUserId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        SELECT user_id
        FROM users
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .fetch_one(conn)
    .await?;
    parse(user, &id)
}
