//! Pushers, and how far each has told.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::{DeviceNid, RoomNid, StoreError, StreamPosition, UserNid};

/// The kind of an HTTP pusher.
pub const HTTP: i16 = 1;
/// The kind of an e-mail pusher.
pub const EMAIL: i16 = 2;

/// A pusher.
#[derive(Clone, Debug)]
pub struct Pusher {
    /// Its number.
    pub id: i64,
    /// Whose notifications it tells.
    pub user: UserNid,
    /// [`HTTP`] or [`EMAIL`].
    pub kind: i16,
    /// The application.
    pub app_id: String,
    /// Where the gateway sends to; for e-mail, the address.
    pub pushkey: String,
    /// What people call the application.
    pub app_display_name: String,
    /// What people call the device.
    pub device_display_name: String,
    /// A name that the client gave its rules.
    pub profile_tag: Option<String>,
    /// The language.
    pub lang: String,
    /// A JSON object.
    pub data: String,
    /// When it was last set, in milliseconds since the epoch.
    pub set_ms: i64,
    /// While its gateway fails, the position after which nothing was told.
    pub stalled_at: Option<StreamPosition>,
    /// Since when its gateway fails, in milliseconds since the epoch.
    pub stalled_ms: Option<i64>,
    /// How often in a row its gateway failed.
    pub attempts: i32,
}

/// A pusher to set.
#[derive(Clone, Copy, Debug)]
pub struct NewPusher<'a> {
    /// Whose.
    pub user: UserNid,
    /// The device that sets it; `None` if it does not go with its device.
    pub device: Option<DeviceNid>,
    /// [`HTTP`] or [`EMAIL`].
    pub kind: i16,
    /// The application.
    pub app_id: &'a str,
    /// Where the gateway sends to.
    pub pushkey: &'a str,
    /// What people call the application.
    pub app_display_name: &'a str,
    /// What people call the device.
    pub device_display_name: &'a str,
    /// A name that the client gave its rules.
    pub profile_tag: Option<&'a str>,
    /// The language.
    pub lang: &'a str,
    /// A JSON object.
    pub data: &'a str,
    /// Now.
    pub set_ms: i64,
}

/// The pushers of users.
pub async fn list(conn: &mut PgConnection, users: &[UserNid]) -> Result<Vec<Pusher>, StoreError> {
    let pushers = sqlx::query_as!(
        Pusher,
        r#"
        SELECT pusher_id AS id,
            user_nid AS "user: UserNid",
            kind,
            app_id,
            pushkey,
            app_display_name,
            device_display_name,
            profile_tag,
            lang,
            data,
            set_ms,
            stalled_at AS "stalled_at: StreamPosition",
            stalled_ms,
            attempts
        FROM pushers
        WHERE user_nid = ANY($1)
        ORDER BY pusher_id
        "#,
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(pushers)
}

/// Sets a pusher, unless its user has `most` others already: then the answer is `false`. One that
/// was there begins anew.
pub async fn upsert(
    conn: &mut PgConnection,
    new: NewPusher<'_>,
    most: i64,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO pushers
            (user_nid, device_nid, kind, app_id, pushkey, app_display_name, device_display_name,
             profile_tag, lang, data, set_ms, next_attempt_ms)
        SELECT $1, $2, $3::SMALLINT, $4, $5, $6, $7, $8, $9, $10, $11::BIGINT,
            CASE WHEN $3::SMALLINT = 2 THEN $11::BIGINT END
        WHERE (
            SELECT COUNT(*)
            FROM pushers
            WHERE user_nid = $1
                AND NOT (app_id = $4 AND pushkey = $5)
        ) < $12
        ON CONFLICT (user_nid, app_id, pushkey) DO UPDATE
        SET device_nid = EXCLUDED.device_nid,
            kind = EXCLUDED.kind,
            app_display_name = EXCLUDED.app_display_name,
            device_display_name = EXCLUDED.device_display_name,
            profile_tag = EXCLUDED.profile_tag,
            lang = EXCLUDED.lang,
            data = EXCLUDED.data,
            set_ms = EXCLUDED.set_ms,
            stalled_at = NULL,
            stalled_ms = NULL,
            attempts = 0,
            next_attempt_ms = EXCLUDED.next_attempt_ms
        "#,
        new.user as UserNid,
        new.device as Option<DeviceNid>,
        new.kind,
        new.app_id,
        new.pushkey,
        new.app_display_name,
        new.device_display_name,
        new.profile_tag,
        new.lang,
        new.data,
        new.set_ms,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Removes a user's pusher.
pub async fn delete(
    conn: &mut PgConnection,
    user: UserNid,
    app_id: &str,
    pushkey: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM pushers
        WHERE user_nid = $1
            AND app_id = $2
            AND pushkey = $3
        "#,
        user as UserNid,
        app_id,
        pushkey,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes the same pusher of all other users.
pub async fn delete_of_others(
    conn: &mut PgConnection,
    user: UserNid,
    app_id: &str,
    pushkey: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM pushers
        WHERE pushkey = $3
            AND app_id = $2
            AND user_nid <> $1
        "#,
        user as UserNid,
        app_id,
        pushkey,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes pushers that their gateway rejected.
pub async fn delete_rejected(conn: &mut PgConnection, ids: &[i64]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM pushers
        WHERE pusher_id = ANY($1)
        "#,
        ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Who has HTTP pushers, of those who are in these rooms and of these users.
#[derive(Clone, Debug, Default)]
pub struct Recipients {
    /// By room.
    pub in_rooms: Vec<(RoomNid, UserNid)>,
    /// Of the users that were asked for.
    pub others: HashSet<UserNid>,
}

/// Who is told of what happens in rooms and to users. Accounts that are closed, locked or, where
/// accounts expire, expired are left out (tchap.md, AV-05). `expiry`: accounts expire, but for those
/// whose user id contains one of these.
pub async fn recipients(
    conn: &mut PgConnection,
    rooms: &[RoomNid],
    users: &[UserNid],
    expiry: Option<&[String]>,
    now_ms: i64,
) -> Result<Recipients, StoreError> {
    let rows = sqlx::query!(
        r#"
        WITH open AS MATERIALIZED (
            SELECT DISTINCT p.user_nid
            FROM pushers p
            JOIN accounts a ON a.user_nid = p.user_nid
            LEFT JOIN account_holds h ON h.user_nid = p.user_nid
            LEFT JOIN account_validity v ON v.user_nid = p.user_nid
            WHERE p.kind = 1
                AND a.deactivated_ms IS NULL
                AND h.locked_ms IS NULL
                AND (
                    NOT $3
                    OR v.expires_ms IS NULL
                    OR v.expires_ms > $4
                    OR EXISTS (
                        SELECT 1
                        FROM UNNEST($5::TEXT[]) AS x (part)
                        JOIN users u ON u.user_nid = p.user_nid
                        WHERE POSITION(x.part IN u.user_id) > 0
                    )
                )
                AND (
                    p.user_nid = ANY($2)
                    OR EXISTS (
                        SELECT 1
                        FROM memberships m
                        WHERE m.user_nid = p.user_nid
                            AND m.room_nid = ANY($1)
                            AND m.membership = 2
                    )
                )
        )
        SELECT m.room_nid AS "room?: RoomNid", -- one half has none
            o.user_nid AS "user!: UserNid"
        FROM open o
        JOIN memberships m ON m.user_nid = o.user_nid
            AND m.room_nid = ANY($1)
            AND m.membership = 2
        UNION ALL
        SELECT NULL, o.user_nid
        FROM open o
        WHERE o.user_nid = ANY($2)
        "#,
        &rooms.iter().map(|room| room.0).collect::<Vec<_>>(),
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
        expiry.is_some(),
        now_ms,
        expiry.unwrap_or_default(),
    )
    .fetch_all(conn)
    .await?;
    let mut recipients = Recipients::default();
    for row in rows {
        match row.room {
            Some(room) => recipients.in_rooms.push((room, row.user)),
            None => {
                recipients.others.insert(row.user);
            }
        }
    }
    Ok(recipients)
}
