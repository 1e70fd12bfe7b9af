//! What accounts show of themselves.

use std::collections::{BTreeMap, HashMap};

use ruma::OwnedMxcUri;
use sqlx::PgConnection;

use super::{StoreError, UserNid, user_directory};

/// A profile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// The name that people see.
    pub display_name: Option<String>,
    /// The picture.
    pub avatar_url: Option<OwnedMxcUri>,
    /// Every other field, by its name.
    pub fields: BTreeMap<String, serde_json::Value>,
}

/// The profile of a user of this server; empty if nothing was ever set.
pub async fn find(conn: &mut PgConnection, user: UserNid) -> Result<Profile, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            display_name,
            avatar_url,
            fields::TEXT AS "fields!" -- a cast of a column that is never null
        FROM profiles
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(Profile::default());
    };
    let fields = serde_json::from_str(&row.fields)
        .map_err(|_| StoreError::inconsistent("profiles", "fields", user))?;
    Ok(Profile {
        display_name: row.display_name,
        avatar_url: row.avatar_url.map(OwnedMxcUri::from),
        fields,
    })
}

/// What rooms copy of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The name that people see.
    pub display_name: Option<String>,
    /// The picture.
    pub avatar_url: Option<String>,
}

/// What rooms copy of the profiles of these users; nothing for users who never set anything.
pub async fn list_shown(
    conn: &mut PgConnection,
    users: &[UserNid],
) -> Result<HashMap<UserNid, Shown>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT
            user_nid AS "user: UserNid",
            display_name,
            avatar_url
        FROM profiles
        WHERE user_nid = ANY($1)
        "#,
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    let shown = rows.into_iter().map(|row| {
        let shown = Shown {
            display_name: row.display_name,
            avatar_url: row.avatar_url,
        };
        (row.user, shown)
    });
    Ok(shown.collect())
}

/// Sets or removes the display name. The user directory follows.
pub async fn update_display_name(
    conn: &mut PgConnection,
    user: UserNid,
    display_name: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO profiles (
            user_nid,
            display_name
        )
        VALUES ($1, $2)
        ON CONFLICT (user_nid) DO UPDATE
        SET display_name = EXCLUDED.display_name
        "#,
        user as UserNid,
        display_name,
    )
    .execute(&mut *conn)
    .await?;
    user_directory::refresh(conn, &[user]).await?;
    Ok(())
}

/// Sets or removes the picture.
pub async fn update_avatar_url(
    conn: &mut PgConnection,
    user: UserNid,
    avatar_url: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO profiles (
            user_nid,
            avatar_url
        )
        VALUES ($1, $2)
        ON CONFLICT (user_nid) DO UPDATE
        SET avatar_url = EXCLUDED.avatar_url
        "#,
        user as UserNid,
        avatar_url,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets another field. `false`: all other fields together would be longer than `max_bytes`.
pub async fn update_field(
    conn: &mut PgConnection,
    user: UserNid,
    field: &str,
    value: &serde_json::Value,
    max_bytes: i32,
) -> Result<bool, StoreError> {
    let value = value.to_string();
    let result = sqlx::query!(
        r#"
        INSERT INTO profiles (
            user_nid,
            fields
        )
        VALUES ($1, JSONB_BUILD_OBJECT($2::TEXT, $3::TEXT::JSONB))
        ON CONFLICT (user_nid) DO UPDATE
        SET fields = profiles.fields || EXCLUDED.fields
        WHERE OCTET_LENGTH((profiles.fields || EXCLUDED.fields)::TEXT) <= $4
        "#,
        user as UserNid,
        field,
        value,
        max_bytes,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Removes another field.
pub async fn delete_field(
    conn: &mut PgConnection,
    user: UserNid,
    field: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE profiles
        SET fields = fields - $2::TEXT
        WHERE user_nid = $1
        "#,
        user as UserNid,
        field,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes the whole profile.
pub async fn delete(conn: &mut PgConnection, user: UserNid) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM profiles
        WHERE user_nid = $1
        "#,
        user as UserNid,
    )
    .execute(conn)
    .await?;
    Ok(())
}
