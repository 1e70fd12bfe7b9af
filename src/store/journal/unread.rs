//! The statements of a commit for what counts as unread beside the subtraction: mentions, and events
//! of threads.

use super::batch::Batch;
use crate::{
    event::{push, threads::MAIN},
    store::{Conn, StoreError, live::EVERYBODY},
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
    let thread = |at: usize| {
        let event = rows.get(at).map(|(_, event)| event);
        event.and_then(|event| event.thread.as_ref())
    };
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
        &(0..rows.len())
            .map(|at| thread(at).map_or(MAIN, |thread| thread.as_str()))
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
    let notifies = |event: &crate::store::live::TimelineEvent| {
        event.mentions.contains(&EVERYBODY) || push::notifies_by_kind(&event.pdu)
    };
    sqlx::query!(
        r#"
        INSERT INTO thread_events (room_nid, position, thread_id, sender_nid, notifies)
        SELECT n.room_nid, n.position, n.thread_id, n.sender_nid, n.notifies
        FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[], $5::BOOLEAN[])
            AS n (room_nid, position, thread_id, sender_nid, notifies)
        "#,
        &rows.iter().map(|row| row.0.room.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.0.position.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.1.as_str()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.0.sender.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| notifies(row.0)).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
