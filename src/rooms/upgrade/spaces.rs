//! The spaces that a replaced room is in: the new room takes its place there.

use ruma::{
    CanonicalJsonObject, OwnedRoomId, RoomId,
    events::{StateEventType, TimelineEventType},
};

use crate::{
    event::{Draft, Room, build},
    rooms::{Actor, Error, Planned, Rooms},
    store::{Membership, RoomPosition, state},
};

/// How many spaces are changed.
const MAX_SPACES: usize = 100;

impl Rooms {
    /// Puts a new room in the place of the one that it replaces, in the spaces of the user who
    /// replaced it, as far as they may change those. The upgrade does not fail where this does.
    pub(super) async fn move_in_spaces(&self, actor: &Actor, old: &RoomId, new: &RoomId) {
        let spaces = match self.spaces_of(actor, old).await {
            Ok(spaces) => spaces,
            Err(error) => {
                tracing::warn!(room.id = %new, %error, "a new room is in no space");
                return;
            }
        };
        for space in spaces {
            let plan = |space: &Room| Ok(plan_child(space, actor, old, new));
            if let Err(error) = self.update(&space, actor, None, plan).await {
                tracing::info!(room.id = %new, %error, "a space keeps the replaced room");
            }
        }
    }

    /// The rooms of a user that have this one as their child.
    async fn spaces_of(&self, actor: &Actor, room: &RoomId) -> Result<Vec<OwnedRoomId>, Error> {
        let store = &self.0.store;
        let slot = (StateEventType::SpaceChild.to_string(), room.to_string());
        let slots = store.slot_numbers(vec![slot]).await?;
        let Some(slot) = slots.into_values().next() else {
            return Ok(Vec::new());
        };
        let joined = self
            .room_numbers_with(actor.user, &[Membership::Join])
            .await?;
        let now = RoomPosition(i64::MAX);
        let wanted: Vec<_> = joined.into_iter().map(|room| (room, slot, now)).collect();
        let children = {
            let mut conn = store.conn().await?;
            state::slots_at(&mut conn, &wanted).await?
        };
        let children = children.into_iter();
        let spaces = children.filter(|child| is_child(child.pdu.content_str()));
        let spaces: Vec<_> = spaces.map(|child| child.room).take(MAX_SPACES).collect();
        Ok(store.room_ids(&spaces).await?.into_values().collect())
    }
}

/// Whether a content of `m.space.child` or `m.space.parent` says something: one that was taken away
/// names no servers.
pub(super) fn is_child(content: &str) -> bool {
    content.contains("\"via\"")
}

fn plan_child(space: &Room, actor: &Actor, old: &RoomId, new: &RoomId) -> Vec<Planned> {
    let event_type = StateEventType::SpaceChild;
    let levels = space.power_levels();
    let may = levels.may_send(&actor.user_id, &TimelineEventType::SpaceChild, true);
    if !may || !space.is_joined(&actor.user_id) {
        return Vec::new();
    }
    let Some(child) = space.state_event(&event_type, old.as_str()) else {
        return Vec::new();
    };
    let Ok(content) = build::content_from_json(child.pdu.content()) else {
        return Vec::new();
    };
    if !content.contains_key("via") {
        return Vec::new();
    }
    [
        Draft::state(event_type.clone(), new.as_str(), content),
        Draft::state(event_type, old.as_str(), CanonicalJsonObject::new()),
    ]
    .into_iter()
    .map(|draft| Planned::by(actor, draft))
    .collect()
}
