//! What an account could read, for those who look into one that somebody else has used (tchap.md,
//! the rooms, when the account came and went, and how much was there. Nothing of what stands
//! in the rooms.

use ruma::events::room::member::MembershipState;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Error, Rooms};
use crate::store::{
    RoomNid, UserNid,
    memberships::{self, Exposure},
};

impl Rooms {
    /// The rooms of an account after the one of this number, each as administrators see it, and the
    /// number of the last one if there may be more.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn exposure(
        &self,
        user: UserNid,
        after: RoomNid,
        limit: i64,
    ) -> Result<(Vec<Value>, Option<RoomNid>), Error> {
        let found = {
            let mut conn = self.0.store.conn().await?;
            memberships::list_exposure(&mut conn, user, after, limit).await?
        };
        let is_full = i64::try_from(found.len()).is_ok_and(|count| count == limit);
        let last = found.last().map(|one| one.room).filter(|_| is_full);
        Ok((found.iter().map(shown).collect(), last))
    }
}

/// A member event.
#[derive(Deserialize)]
struct Step {
    origin_server_ts: i64,
    content: Content,
}

#[derive(Deserialize)]
struct Content {
    membership: MembershipState,
}

fn shown(room: &Exposure) -> Value {
    let steps = room.positions.iter().zip(&room.events);
    let steps: Vec<(i64, Step)> = steps
        .filter_map(|(position, event)| Some((position.0, serde_json::from_str(event).ok()?)))
        .collect();
    let ends = steps.iter().skip(1).map(|(position, _)| *position);
    let ends = ends.chain([room.newest.0.saturating_add(1)]);
    let inside = steps
        .iter()
        .zip(ends)
        .filter(|((_, step), _)| is_join(step));
    let sent: i64 = inside
        .map(|((begin, _), end)| end.saturating_sub(*begin))
        .sum();
    // Somebody who says the same again, such as with another name, has not come again.
    let mut changes: Vec<&Step> = Vec::new();
    for (_, step) in &steps {
        let before = changes.last().map(|before| &before.content.membership);
        if before != Some(&step.content.membership) {
            changes.push(step);
        }
    }
    let changes: Vec<Value> = changes
        .iter()
        .map(|step| json!({ "membership": step.content.membership, "ts": step.origin_server_ts }))
        .collect();
    json!({
        "room_id": room.room_id,
        "published": room.is_published,
        "encrypted": room.is_encrypted,
        "memberships": changes,
        "events": room.newest.0,
        "events_while_joined": sent,
        "read_up_to_event": room.read.0,
    })
}

fn is_join(step: &Step) -> bool {
    step.content.membership == MembershipState::Join
}
