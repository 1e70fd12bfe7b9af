//! The statement of a commit for subscriptions to threads.

use std::collections::BTreeMap;

use super::batch::Batch;
use crate::store::{
    Conn, StoreError, StreamPosition, live::Change, thread_subscriptions::Subscription,
};

/// Subscriptions, at the positions of their entries in the stream.
pub(super) async fn upsert_subscriptions(
    conn: &mut Conn,
    batch: &Batch<'_>,
    last: StreamPosition,
) -> Result<(), StoreError> {
    let writes: Vec<_> = batch
        .writes()
        .flat_map(|write| &write.thread_subscriptions)
        .collect();
    if writes.is_empty() {
        return Ok(());
    }
    let entries = batch.entries(last);
    let positions = entries.iter().filter_map(|entry| match entry.change {
        Change::ThreadSubscription { .. } => Some(entry.position.0),
        _ => None,
    });
    let newest: BTreeMap<_, _> = positions
        .zip(writes)
        .map(|(position, write)| {
            let key = (write.user.0, write.room.0, write.thread.as_str());
            (key, (Subscription::to_sql(write.subscription), position))
        })
        .collect();
    sqlx::query!(
        r#"
        INSERT INTO thread_subscriptions AS s
            (user_nid, room_nid, thread_id, state, room_position, changed_at)
        SELECT n.user_nid, n.room_nid, n.thread_id, n.state, r.position, n.changed_at
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::TEXT[], $4::SMALLINT[], $5::BIGINT[])
            AS n (user_nid, room_nid, thread_id, state, changed_at)
        JOIN rooms r ON r.room_nid = n.room_nid
        ON CONFLICT (user_nid, room_nid, thread_id) DO UPDATE
        SET state = CASE
                -- What a client does by itself does not undo what the user has done.
                WHEN EXCLUDED.state = 2 AND s.state = 1 THEN 1
                ELSE EXCLUDED.state
            END,
            room_position = CASE
                -- A subscription that becomes another kind goes on.
                WHEN EXCLUDED.state > 0 AND s.state > 0 THEN s.room_position
                ELSE EXCLUDED.room_position
            END,
            changed_at = EXCLUDED.changed_at
        "#,
        &newest.keys().map(|key| key.0).collect::<Vec<_>>(),
        &newest.keys().map(|key| key.1).collect::<Vec<_>>(),
        &newest.keys().map(|key| key.2).collect::<Vec<_>>() as &[&str],
        &newest.values().map(|of| of.0).collect::<Vec<_>>(),
        &newest.values().map(|of| of.1).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
