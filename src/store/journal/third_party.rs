//! The statements of a commit for invitations by e-mail: new ones, and those that were withdrawn.

use ruma::events::TimelineEventType;
use serde::Deserialize;

use super::batch::Batch;
use crate::{
    event::Pdu,
    store::{Conn, RoomNid, StoreError, invitations},
};

/// Writes the invitations that belong to events of this commit, and makes those void whose events
/// were withdrawn (tchap.md, IN-06): replaced by one without keys, or redacted.
pub(super) async fn write_invitations(
    conn: &mut Conn,
    batch: &Batch<'_>,
) -> Result<(), StoreError> {
    let new: Vec<_> = batch
        .rooms()
        .flat_map(|room| room.invitations.iter().map(|new| (room.room, &**new)))
        .collect();
    if !new.is_empty() {
        invitations::insert_all(conn, &new).await?;
    }
    let redacted = batch.rooms().flat_map(|room| &room.redactions);
    let redacted = redacted.map(|redaction| &redaction.event);
    let withdrawn: Vec<(RoomNid, &str)> = batch
        .events()
        .chain(redacted)
        .filter_map(|event| Some((event.room, withdrawn(&event.pdu)?)))
        .collect();
    if !withdrawn.is_empty() {
        invitations::void(conn, &withdrawn).await?;
    }
    Ok(())
}

/// The token that an event withdraws (client-server API v1.19, `m.room.third_party_invite`).
fn withdrawn(pdu: &Pdu) -> Option<&str> {
    #[derive(Deserialize)]
    struct Content {
        display_name: Option<String>,
        key_validity_url: Option<String>,
        public_key: Option<String>,
    }
    if *pdu.event_type() != TimelineEventType::RoomThirdPartyInvite {
        return None;
    }
    let is_complete = pdu.content_as::<Content>().is_some_and(|content| {
        content.display_name.is_some()
            && content.key_validity_url.is_some()
            && content.public_key.is_some()
    });
    pdu.state_key().filter(|_| !is_complete)
}
