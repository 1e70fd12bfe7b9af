//! Guests in rooms that let no guests in any more.
//!
//! Client-server API v1.19, "Guest Access": where `m.room.guest_access` stops to say `can_join`, the
//! guests leave. Whoever changed it need not wait for that; what is left undone is found again.

use ruma::{
    OwnedUserId,
    events::room::{guest_access::GuestAccess, member::MembershipState},
};

use super::{Actor, Error, Planned, Rooms, membership::MemberContent};
use crate::{
    event::Room,
    store::{RoomNid, UserNid, guests},
};

/// How many guests are looked at together.
const BATCH: i64 = 200;

impl Rooms {
    /// Waits until a room of this process has stopped to let guests in.
    pub async fn guests_unwanted(&self) {
        self.0.guests.notified().await;
    }

    /// Tells whoever waits there that a room has.
    pub(super) fn tell_guests_unwanted(&self) {
        self.0.guests.notify_one();
    }

    /// Lets guests leave the rooms that do not want them. Several processes that do so at once do
    /// no harm: who has left does not leave again.
    pub async fn remove_unwanted_guests(&self) -> Result<(), Error> {
        loop {
            let found = {
                let mut conn = self.0.store.conn().await?;
                guests::list_unwanted(&mut conn, BATCH).await?
            };
            let count = found.len();
            let mut left = 0;
            for of_room in found.chunk_by(|one, other| one.0 == other.0) {
                let Some((room, _)) = of_room.first() else {
                    continue;
                };
                let users = of_room.iter().map(|(_, user_id)| user_id);
                match self.remove_guests(*room, users.collect()).await {
                    Ok(events) => left += events,
                    Err(error) => tracing::warn!(%error, "guests stay in a room"),
                }
            }
            // A room that fails again and again is tried the next time.
            if left == 0 || i64::try_from(count).is_ok_and(|count| count < BATCH) {
                return Ok(());
            }
        }
    }

    /// Gives how many have left.
    async fn remove_guests(&self, room: RoomNid, users: Vec<&OwnedUserId>) -> Result<usize, Error> {
        let mut ids = self.0.store.room_ids(&[room]).await?;
        let (Some(room_id), Some(first)) = (ids.remove(&room), users.first()) else {
            return Ok(0);
        };
        let actor = |user_id: &OwnedUserId, user| Actor {
            user_id: user_id.clone(),
            user,
            device: None,
        };
        let plan = |room: &Room| {
            if *room.guest_access() == GuestAccess::CanJoin {
                return Ok(Vec::new());
            }
            let content = MemberContent::new(MembershipState::Leave);
            let joined = users.iter().filter(|user_id| room.is_joined(user_id));
            let leaves = joined.map(|user_id| {
                let leave = content.draft(user_id)?;
                Ok(Planned::by(&actor(user_id, UserNid(0)), leave).decided())
            });
            leaves.collect()
        };
        let user = self.0.store.user_number(first).await?;
        let first = actor(first, user);
        let events = self.update(&room_id, &first, None, plan).await?;
        Ok(events.len())
    }
}
