//! What a new event relates to.
//!
//! Client-server API v1.19, "Forming relationships between events".

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{Error, Rooms};
use crate::{
    event::relation,
    store::{journal::RelationWrite, live::TimelineEvent},
};

impl Rooms {
    /// The relation of a new event, to be kept. `None` for most events, and for those that relate
    /// to an event which is not in the room: they are events like others.
    ///
    /// # Errors
    /// [`Error::NestedThread`].
    pub(super) async fn relation(
        &self,
        event: &Arc<TimelineEvent>,
    ) -> Result<Option<RelationWrite>, Error> {
        let Some(relation) = event.pdu.relates_to() else {
            return Ok(None);
        };
        let found = self
            .find_events_of(event.room, &[&relation.event_id])
            .await?;
        let Some(parent) = found.into_values().next() else {
            return Ok(None);
        };
        if relation.is_thread() && parent.pdu.relates_to().is_some() {
            return Err(Error::NestedThread);
        }
        let key = relation.key.as_ref().filter(|_| relation.is_annotation());
        Ok(Some(RelationWrite {
            event: Arc::clone(event),
            parent: parent.position,
            aggregation: relation::aggregation(&parent.pdu, &event.pdu),
            annotation_key: key.map(|key| digest(key)),
        }))
    }
}

fn digest(key: &str) -> [u8; 16] {
    let digest = Sha256::digest(key.as_bytes());
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().zip(digest) {
        *to = from;
    }
    short
}
