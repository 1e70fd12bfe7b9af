//! What the jobs that tell push gateways and write mails have left to do: gateways that failed, mails
//! that are due, and how far all others have been told.

use sqlx::PgConnection;

use super::{StoreError, StreamPosition, UserNid, pushers::Pusher};

/// A gateway that failed.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    /// The pusher.
    pub id: i64,
    /// The position after which nothing was told.
    pub at: StreamPosition,
    /// When it is tried again.
    pub next_attempt_ms: i64,
}

/// Notes that gateways failed.
pub async fn stall(
    conn: &mut PgConnection,
    stalls: &[Stall],
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE pushers p
        SET stalled_at = n.position,
            stalled_ms = COALESCE(p.stalled_ms, $4),
            attempts = p.attempts + 1,
            next_attempt_ms = n.next_attempt_ms
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[])
            AS n (pusher_id, position, next_attempt_ms)
        WHERE p.pusher_id = n.pusher_id
        "#,
        &stalls.iter().map(|stall| stall.id).collect::<Vec<_>>(),
        &stalls.iter().map(|stall| stall.at.0).collect::<Vec<_>>(),
        &stalls
            .iter()
            .map(|stall| stall.next_attempt_ms)
            .collect::<Vec<_>>(),
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a gateway answers again and has been told up to a position. If the others are further by
/// now, there is more to tell, and it is tried once more, now.
pub async fn recover(
    conn: &mut PgConnection,
    id: i64,
    at: StreamPosition,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE pushers p
        SET stalled_at = CASE WHEN c.upto <= $2 THEN NULL ELSE $2 END,
            stalled_ms = CASE WHEN c.upto <= $2 THEN NULL ELSE p.stalled_ms END,
            attempts = 0,
            next_attempt_ms = CASE WHEN c.upto <= $2 THEN NULL ELSE $3::BIGINT END
        FROM (
            -- Whoever tells the others moves this row before looking for pushers.
            SELECT upto
            FROM push_cursor
            FOR SHARE
        ) c
        WHERE p.pusher_id = $1
        "#,
        id,
        at as StreamPosition,
        now_ms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes failing gateways that are to be tried again, until `lease_ends_ms`.
pub async fn take_stalled(
    conn: &mut PgConnection,
    now_ms: i64,
    lease_ends_ms: i64,
    limit: i64,
) -> Result<Vec<Pusher>, StoreError> {
    let pushers = sqlx::query_as!(
        Pusher,
        r#"
        WITH due AS MATERIALIZED (
            SELECT pusher_id
            FROM pushers
            WHERE next_attempt_ms <= $1
                AND kind = 1
            ORDER BY next_attempt_ms
            LIMIT $3
            FOR UPDATE SKIP LOCKED
        )
        UPDATE pushers p
        SET next_attempt_ms = $2
        FROM due
        WHERE p.pusher_id = due.pusher_id
        RETURNING p.pusher_id AS id,
            p.user_nid AS "user: UserNid",
            p.kind,
            p.app_id,
            p.pushkey,
            p.app_display_name,
            p.device_display_name,
            p.profile_tag,
            p.lang,
            p.data,
            p.set_ms,
            p.stalled_at AS "stalled_at: StreamPosition",
            p.stalled_ms,
            p.attempts
        "#,
        now_ms,
        lease_ends_ms,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(pushers)
}

/// An e-mail pusher that is to be looked at.
#[derive(Clone, Debug)]
pub struct MailDue {
    /// Its number.
    pub id: i64,
    /// Whose it is.
    pub user: UserNid,
    /// The address.
    pub address: String,
    /// The language.
    pub lang: String,
    /// Up to where in the stream a mail has told.
    pub mailed_at: Option<StreamPosition>,
    /// The name of the user.
    pub display_name: Option<String>,
}

/// Takes e-mail pushers that are to be looked at; they are again at `next_ms`. Left out are those of
/// accounts that are closed, locked or expired, and those of addresses that are the user's no more.
pub async fn take_mails_due(
    conn: &mut PgConnection,
    now_ms: i64,
    next_ms: i64,
    expiry: Option<&[String]>,
    limit: i64,
) -> Result<(usize, Vec<MailDue>), StoreError> {
    let rows = sqlx::query!(
        r#"
        WITH due AS MATERIALIZED (
            SELECT pusher_id
            FROM pushers
            WHERE next_attempt_ms <= $1
                AND kind = 2
            ORDER BY next_attempt_ms
            LIMIT $3
            FOR UPDATE SKIP LOCKED
        ), taken AS (
            UPDATE pushers p
            SET next_attempt_ms = $2
            FROM due
            WHERE p.pusher_id = due.pusher_id
            RETURNING p.*
        )
        SELECT t.pusher_id AS id,
            t.user_nid AS "user: UserNid",
            t.pushkey AS address,
            t.lang,
            t.mailed_at AS "mailed_at: StreamPosition",
            f.display_name AS "display_name?", -- a left join
            (
                a.deactivated_ms IS NULL
                AND h.locked_ms IS NULL
                AND o.user_nid IS NOT NULL
                AND (
                    NOT $4
                    OR v.expires_ms IS NULL
                    OR v.expires_ms > $1
                    OR EXISTS (
                        SELECT 1
                        FROM UNNEST($5::TEXT[]) AS x (part)
                        JOIN users u ON u.user_nid = t.user_nid
                        WHERE POSITION(x.part IN u.user_id) > 0
                    )
                )
            ) AS "is_open!" -- no part is null
        FROM taken t
        JOIN accounts a ON a.user_nid = t.user_nid
        LEFT JOIN account_holds h ON h.user_nid = t.user_nid
        LEFT JOIN account_validity v ON v.user_nid = t.user_nid
        LEFT JOIN profiles f ON f.user_nid = t.user_nid
        LEFT JOIN threepids o ON o.address = LOWER(t.pushkey) AND o.user_nid = t.user_nid
        "#,
        now_ms,
        next_ms,
        limit,
        expiry.is_some(),
        expiry.unwrap_or_default(),
    )
    .fetch_all(conn)
    .await?;
    let count = rows.len();
    let open = rows.into_iter().filter(|row| row.is_open);
    let due = open.map(|row| MailDue {
        id: row.id,
        user: row.user,
        address: row.address,
        lang: row.lang,
        mailed_at: row.mailed_at,
        display_name: row.display_name,
    });
    Ok((count, due.collect()))
}

/// Notes up to where in the stream a mail has told.
pub async fn update_mailed(
    conn: &mut PgConnection,
    id: i64,
    mailed_at: StreamPosition,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE pushers
        SET mailed_at = $2
        WHERE pusher_id = $1
        "#,
        id,
        mailed_at as StreamPosition,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How far push gateways have been told.
pub async fn cursor(conn: &mut PgConnection) -> Result<StreamPosition, StoreError> {
    let position = sqlx::query_scalar!(
        r#"
        SELECT position AS "position: StreamPosition"
        FROM push_cursor
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(position)
}

/// Says up to where they are about to be told.
pub async fn update_upto(
    conn: &mut PgConnection,
    position: StreamPosition,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE push_cursor
        SET upto = $1
        WHERE upto < $1
        "#,
        position as StreamPosition,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes how far they have been told. Never goes back.
pub async fn update_cursor(
    conn: &mut PgConnection,
    position: StreamPosition,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE push_cursor
        SET position = $1
        WHERE position < $1
        "#,
        position as StreamPosition,
    )
    .execute(conn)
    .await?;
    Ok(())
}
