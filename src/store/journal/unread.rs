//! The statements of a commit for what counts as unread beside the subtraction: mentions, and events
//! of threads.

use super::batch::Batch;
use crate::{
    event::threads::MAIN,
    store::{Conn, StoreError},
};

/// Who is mentioned by which event.
pub(super) async fn insert_highlights(
    conn: &mut Conn,
    batch: &Batch<'_>,
) -> Result<(), StoreError> {
    let rows: Vec<_> = batch
        .events()
        .flat_map(|event| event.mentions.iter().map(move |user| (user.0, event)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO highlights (user_nid, room_nid, position, thread_id, sender_nid, extra)
        SELECT n.user_nid, n.room_nid, n.position, n.thread_id, n.sender_nid, n.extra
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::TEXT[], $5::BIGINT[],
                $6::BOOLEAN[])
            AS n (user_nid, room_nid, position, thread_id, sender_nid, extra)
        ON CONFLICT DO NOTHING
        "#,
        &rows.iter().map(|row| row.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.1.room.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.1.position.0).collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|row| row.1.thread.as_ref().map_or(MAIN, |thread| thread.as_str()))
            .collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.1.sender.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.1.is_extra()).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which events are in which threads.
pub(super) async fn insert_thread_events(
    conn: &mut Conn,
    batch: &Batch<'_>,
) -> Result<(), StoreError> {
    let rows: Vec<_> = batch
        .events()
        .filter_map(|event| Some((event, event.thread.as_ref()?)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO thread_events
            (room_nid, position, thread_id, sender_nid, notifies, for_subscribers)
        SELECT n.room_nid, n.position, n.thread_id, n.sender_nid, n.notifies, n.for_subscribers
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[], $5::BOOLEAN[],
                $6::BOOLEAN[])
            AS n (room_nid, position, thread_id, sender_nid, notifies, for_subscribers)
        "#,
        &rows.iter().map(|row| row.0.room.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.0.position.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.1.as_str()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.0.sender.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| !row.0.is_extra()).collect::<Vec<_>>(),
        &rows
            .iter()
            .map(|row| row.0.is_for_subscribers())
            .collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
