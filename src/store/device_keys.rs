//! The keys of devices: identity keys, one-time keys and fallback keys.

use ruma::{OwnedDeviceId, OwnedUserId};
use sqlx::PgConnection;

use super::{DeviceNid, StoreError, UserNid};

/// A key that is given out to open a session: its algorithm, its id, and itself as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey {
    /// The algorithm.
    pub algorithm: String,
    /// The id.
    pub key_id: String,
    /// The key.
    pub json: String,
}

/// What a device has published.
#[derive(Clone, Debug)]
pub struct DeviceKeys {
    /// Whose device it is.
    pub user: UserNid,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// Its public signing key; empty if there is none.
    pub ed25519: String,
    /// The keys.
    pub json: String,
    /// What its owner calls the device.
    pub display_name: Option<String>,
}

/// The published keys of a device, locked until the transaction ends together with the device.
/// [`None`]: the device is gone. An empty text: it has published none.
pub async fn lock(
    conn: &mut PgConnection,
    device: DeviceNid,
) -> Result<Option<(String, String)>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT k.ed25519 AS "ed25519?", -- a left join
            k.json AS "json?" -- a left join
        FROM devices d
        LEFT JOIN device_keys k ON k.device_nid = d.device_nid
        WHERE d.device_nid = $1
        FOR NO KEY UPDATE OF d
        "#,
        device as DeviceNid,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        (
            row.ed25519.unwrap_or_default(),
            row.json.unwrap_or_default(),
        )
    }))
}

/// Publishes the keys of a device. With another signing key than before, what the old one has
/// signed goes: one-time keys, fallback keys, and the signatures of the device.
pub async fn upsert(
    conn: &mut PgConnection,
    device: DeviceNid,
    user: UserNid,
    ed25519: &str,
    json: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        WITH replaced AS (
            SELECT k.device_nid, d.device_id
            FROM device_keys k
            JOIN devices d USING (device_nid)
            WHERE k.device_nid = $1
                AND k.ed25519 <> $3
        ), one_time AS (
            DELETE FROM one_time_keys o
            USING replaced r
            WHERE o.device_nid = r.device_nid
        ), fallback AS (
            DELETE FROM fallback_keys f
            USING replaced r
            WHERE f.device_nid = r.device_nid
        ), signed AS (
            DELETE FROM key_signatures s
            USING replaced r
            WHERE s.owner_nid = $2
                AND (s.target = r.device_id
                    OR (s.signer_nid = $2 AND s.key_id = 'ed25519:' || r.device_id))
        )
        INSERT INTO device_keys (device_nid, user_nid, ed25519, json)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (device_nid) DO UPDATE
        SET ed25519 = EXCLUDED.ed25519,
            json = EXCLUDED.json
        "#,
        device as DeviceNid,
        user as UserNid,
        ed25519,
        json,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The published keys of some users' devices.
pub async fn list(
    conn: &mut PgConnection,
    users: &[UserNid],
) -> Result<Vec<DeviceKeys>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT k.user_nid AS "user: UserNid",
            d.device_id,
            k.ed25519,
            k.json,
            d.display_name
        FROM device_keys k
        CROSS JOIN LATERAL (
            SELECT v.device_id, v.display_name
            FROM devices v
            WHERE v.device_nid = k.device_nid
            -- Looked up one by one: a plan from when there were few may read all devices.
            OFFSET 0
        ) d
        WHERE k.user_nid = ANY($1)
        "#,
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| DeviceKeys {
            user: row.user,
            device_id: row.device_id.into(),
            ed25519: row.ed25519,
            json: row.json,
            display_name: row.display_name,
        })
        .collect())
}

/// Keeps one-time keys. Those that the device has already stay as they are; gives how many of them
/// are there with another content.
pub async fn insert_one_time(
    conn: &mut PgConnection,
    device: DeviceNid,
    keys: &[SessionKey],
) -> Result<i64, StoreError> {
    let column = |field: fn(&SessionKey) -> &str| keys.iter().map(field).collect::<Vec<_>>();
    let algorithms = column(|key| &key.algorithm);
    let key_ids = column(|key| &key.key_id);
    let json = column(|key| &key.json);
    sqlx::query!(
        r#"
        INSERT INTO one_time_keys (device_nid, algorithm, key_id, json)
        SELECT $1, n.algorithm, n.key_id, n.json
        FROM UNNEST($2::TEXT[], $3::TEXT[], $4::TEXT[])
            WITH ORDINALITY AS n (algorithm, key_id, json, nth)
        ORDER BY n.nth
        ON CONFLICT DO NOTHING
        "#,
        device as DeviceNid,
        &algorithms as &[&str],
        &key_ids as &[&str],
        &json as &[&str],
    )
    .execute(&mut *conn)
    .await?;
    let differing = sqlx::query_scalar!(
        r#"
        SELECT COUNT(*) AS "count!" -- an aggregate is never null
        FROM UNNEST($2::TEXT[], $3::TEXT[], $4::TEXT[]) AS n (algorithm, key_id, json)
        JOIN one_time_keys k ON k.device_nid = $1
            AND k.algorithm = n.algorithm
            AND k.key_id = n.key_id
        WHERE k.json <> n.json
        "#,
        device as DeviceNid,
        &algorithms as &[&str],
        &key_ids as &[&str],
        &json as &[&str],
    )
    .fetch_one(conn)
    .await?;
    Ok(differing)
}

/// Keeps fallback keys: one for each algorithm. The same key again stays as used as it is.
pub async fn upsert_fallback(
    conn: &mut PgConnection,
    device: DeviceNid,
    keys: &[SessionKey],
) -> Result<(), StoreError> {
    let column = |field: fn(&SessionKey) -> &str| keys.iter().map(field).collect::<Vec<_>>();
    sqlx::query!(
        r#"
        INSERT INTO fallback_keys (device_nid, algorithm, key_id, json)
        SELECT $1, n.algorithm, n.key_id, n.json
        FROM UNNEST($2::TEXT[], $3::TEXT[], $4::TEXT[]) AS n (algorithm, key_id, json)
        ON CONFLICT (device_nid, algorithm) DO UPDATE
        SET key_id = EXCLUDED.key_id,
            json = EXCLUDED.json,
            used = FALSE
        WHERE fallback_keys.key_id <> EXCLUDED.key_id
            OR fallback_keys.json <> EXCLUDED.json
        "#,
        device as DeviceNid,
        &column(|key| &key.algorithm) as &[&str],
        &column(|key| &key.key_id) as &[&str],
        &column(|key| &key.json) as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many one-time keys of each algorithm a device has, and for which algorithms it has a
/// fallback key that was not given out.
pub async fn count(
    conn: &mut PgConnection,
    device: DeviceNid,
) -> Result<(Vec<(String, i64)>, Vec<String>), StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT algorithm AS "algorithm!", -- not null in both tables
            COUNT(*) AS "count!", -- an aggregate is never null
            FALSE AS "is_fallback!" -- a constant
        FROM one_time_keys
        WHERE device_nid = $1
        GROUP BY algorithm
        UNION ALL
        SELECT algorithm, 1, TRUE
        FROM fallback_keys
        WHERE device_nid = $1
            AND NOT used
        "#,
        device as DeviceNid,
    )
    .fetch_all(conn)
    .await?;
    let (mut counts, mut unused) = (Vec::new(), Vec::new());
    for row in rows {
        if row.is_fallback {
            unused.push(row.algorithm);
        } else {
            counts.push((row.algorithm, row.count));
        }
    }
    Ok((counts, unused))
}

/// How many keys of an algorithm a device has; one row without an algorithm where it has none at all.
#[derive(Clone, Debug)]
pub struct CountOfDevice {
    /// The user.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// The algorithm.
    pub algorithm: Option<String>,
    /// How many one-time keys.
    pub count: Option<i64>,
    /// Whether it is a fallback key instead, which was not given out.
    pub is_fallback: Option<bool>,
}

/// The same as [`count`] for some devices.
pub async fn count_all(
    conn: &mut PgConnection,
    devices: &[DeviceNid],
) -> Result<Vec<CountOfDevice>, StoreError> {
    let counts = sqlx::query_as!(
        CountOfDevice,
        r#"
        SELECT users.user_id,
            devices.device_id,
            keys.algorithm AS "algorithm?", -- none where there are no keys
            keys.count AS "count?",
            keys.is_fallback AS "is_fallback?"
        FROM devices
        JOIN users USING (user_nid)
        LEFT JOIN (
            SELECT device_nid,
                algorithm,
                COUNT(*) AS count,
                FALSE AS is_fallback
            FROM one_time_keys
            WHERE device_nid = ANY($1)
            GROUP BY device_nid, algorithm
            UNION ALL
            SELECT device_nid, algorithm, 1, TRUE
            FROM fallback_keys
            WHERE device_nid = ANY($1)
                AND NOT used
        ) keys ON keys.device_nid = devices.device_nid
        WHERE devices.device_nid = ANY($1)
        ORDER BY users.user_id, devices.device_id, keys.algorithm
        "#,
        devices as &[DeviceNid],
    )
    .fetch_all(conn)
    .await?;
    Ok(counts)
}

/// A key that somebody wants to have.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The user.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: String,
    /// The algorithm.
    pub algorithm: String,
}

/// A key that was given out.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Which of those that are wanted, from 0.
    pub nth: usize,
    /// The user.
    pub user: UserNid,
    /// The device.
    pub device: DeviceNid,
    /// The key.
    pub key: SessionKey,
}

/// Gives out keys: for each wish the device's one-time key that was uploaded first, and where there
/// is none left the fallback key. Nobody gets a one-time key that somebody else gets at the same
/// time: keys that others have locked are passed over.
pub async fn claim(conn: &mut PgConnection, wanted: &[Wanted]) -> Result<Vec<Claimed>, StoreError> {
    let texts = |of: fn(&Wanted) -> &str| wanted.iter().map(of).collect::<Vec<_>>();
    let rows = sqlx::query!(
        r#"
        WITH wanted AS (
            SELECT q.nth, d.user_nid, d.device_nid, q.algorithm,
                -- The first wish gets the first key of the device, and so on.
                ROW_NUMBER() OVER (PARTITION BY d.device_nid, q.algorithm ORDER BY q.nth) AS turn
            FROM UNNEST($1::TEXT[], $2::TEXT[], $3::TEXT[]) WITH ORDINALITY
                AS q (user_id, device_id, algorithm, nth)
            JOIN users u ON u.user_id = q.user_id
            JOIN devices d ON d.user_nid = u.user_nid AND d.device_id = q.device_id
        ), next AS MATERIALIZED (
            SELECT w.device_nid, w.algorithm, k.key_id, k.uploaded
            FROM (
                SELECT device_nid, algorithm, COUNT(*) AS count
                FROM wanted
                GROUP BY device_nid, algorithm
            ) w
            CROSS JOIN LATERAL (
                SELECT o.key_id, o.uploaded
                FROM one_time_keys o
                WHERE o.device_nid = w.device_nid
                    AND o.algorithm = w.algorithm
                ORDER BY o.uploaded
                LIMIT w.count
                FOR UPDATE SKIP LOCKED
            ) k
        ), taken AS (
            DELETE FROM one_time_keys o
            USING next n
            WHERE o.device_nid = n.device_nid
                AND o.algorithm = n.algorithm
                AND o.key_id = n.key_id
            RETURNING o.device_nid, o.algorithm, o.key_id, o.uploaded, o.json
        ), one_time AS (
            SELECT device_nid, algorithm, key_id, json,
                ROW_NUMBER() OVER (PARTITION BY device_nid, algorithm ORDER BY uploaded) AS turn
            FROM taken
        ), first_use AS MATERIALIZED (
            SELECT f.device_nid, f.algorithm
            FROM fallback_keys f
            WHERE NOT f.used
                AND EXISTS (
                    SELECT
                    FROM wanted w
                    WHERE w.device_nid = f.device_nid
                        AND w.algorithm = f.algorithm
                        AND w.turn > (
                            SELECT COUNT(*)
                            FROM next n
                            WHERE n.device_nid = f.device_nid AND n.algorithm = f.algorithm
                        )
                )
            -- Who has it locked marks it as well, or replaces it.
            FOR UPDATE OF f SKIP LOCKED
        ), used AS (
            UPDATE fallback_keys f
            SET used = TRUE
            FROM first_use u
            WHERE f.device_nid = u.device_nid
                AND f.algorithm = u.algorithm
        )
        SELECT w.nth AS "nth!", -- an ordinality is never null
            w.user_nid AS "user: UserNid",
            w.device_nid AS "device: DeviceNid",
            w.algorithm AS "algorithm!", -- an unnested array without nulls
            COALESCE(o.key_id, f.key_id) AS "key_id!", -- one of them is there
            COALESCE(o.json, f.json) AS "json!" -- one of them is there
        FROM wanted w
        LEFT JOIN one_time o ON o.device_nid = w.device_nid
            AND o.algorithm = w.algorithm
            AND o.turn = w.turn
        LEFT JOIN fallback_keys f ON o.key_id IS NULL
            AND f.device_nid = w.device_nid
            AND f.algorithm = w.algorithm
        WHERE o.key_id IS NOT NULL
            OR f.key_id IS NOT NULL
        "#,
        &texts(|one| one.user_id.as_str()) as &[&str],
        &texts(|one| &one.device_id) as &[&str],
        &texts(|one| &one.algorithm) as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let claimed = rows.into_iter().map(|row| Claimed {
        nth: usize::try_from(row.nth - 1).unwrap_or(usize::MAX),
        user: row.user,
        device: row.device,
        key: SessionKey {
            algorithm: row.algorithm,
            key_id: row.key_id,
            json: row.json,
        },
    });
    Ok(claimed.collect())
}
