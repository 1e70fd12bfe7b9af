//! What people had set for a room, for the room that replaces it.

use ruma::{
    OwnedRoomId, RoomId,
    events::StateEventType,
    push::{NewPushRule, NewSimplePushRule, Ruleset},
};
use serde::Deserialize;
use serde_json::{Map, Value, value::to_raw_value};

use crate::{
    event::Room,
    rooms::{Actor, Error, Rooms},
    store::account_data,
};

/// The account data that says which rooms are direct chats, and with whom.
const DIRECT: &str = "m.direct";

impl Rooms {
    /// Gives a user who has just joined a room what they had set for the room that it replaces:
    /// tags, the push rule of the room, and that it is a direct chat. Joining does not fail where
    /// this does.
    pub(in crate::rooms) async fn take_over_settings(&self, actor: &Actor, new: &RoomId) {
        if let Err(error) = self.try_take_over(actor, new).await {
            tracing::warn!(room.id = %new, %error, "settings of a replaced room were not taken over");
        }
    }

    async fn try_take_over(&self, actor: &Actor, new: &RoomId) -> Result<(), Error> {
        let Some(room) = self.find_room(new).await? else {
            return Ok(());
        };
        let Some(old) = predecessor(room.head().room()) else {
            return Ok(());
        };
        let tags = self.tags(actor, &old).await?;
        let take = |known: &mut Map<String, Value>| {
            let before = known.len();
            for (tag, info) in tags {
                known.entry(tag).or_insert(info);
            }
            known.len() != before
        };
        self.change_tags(actor, new, take).await?;
        self.take_over_push_rule(actor, &old, new).await?;
        self.take_over_direct(actor, &old, new).await
    }

    async fn take_over_push_rule(
        &self,
        actor: &Actor,
        old: &RoomId,
        new: &RoomId,
    ) -> Result<(), Error> {
        let rules: Ruleset = self.push_rules(actor).await?;
        let of = |room_id: &RoomId| rules.room.iter().find(|rule| rule.rule_id == room_id);
        let (Some(rule), None) = (of(old), of(new)) else {
            return Ok(());
        };
        let rule = NewSimplePushRule::new(new.to_owned(), rule.actions.clone());
        self.set_push_rule(actor, NewPushRule::Room(rule), None, None)
            .await
    }

    async fn take_over_direct(
        &self,
        actor: &Actor,
        old: &RoomId,
        new: &RoomId,
    ) -> Result<(), Error> {
        let _turn = self.0.locks.turn(actor.user, None).await;
        let found = {
            let mut conn = self.0.store.conn().await?;
            account_data::find(&mut conn, actor.user, None, DIRECT).await?
        };
        let content = found.and_then(|found| serde_json::from_str(found.get()).ok());
        let Some(mut content): Option<Map<String, Value>> = content else {
            return Ok(());
        };
        let mut changed = false;
        for rooms in content.values_mut().filter_map(Value::as_array_mut) {
            let has = |room_id: &RoomId| rooms.iter().any(|room| room == room_id.as_str());
            if has(old) && !has(new) {
                rooms.push(Value::from(new.as_str()));
                changed = true;
            }
        }
        if !changed {
            return Ok(());
        }
        let content = to_raw_value(&content).map_err(|error| Error::Invalid(error.to_string()))?;
        self.write_account_data(actor, None, DIRECT, content).await
    }
}

/// The room that a room replaces.
pub(in crate::rooms) fn predecessor(room: &Room) -> Option<OwnedRoomId> {
    #[derive(Deserialize)]
    struct Predecessor {
        room_id: OwnedRoomId,
    }
    #[derive(Deserialize)]
    struct Create {
        predecessor: Predecessor,
    }
    let create = room.state_content::<Create>(&StateEventType::RoomCreate, "")?;
    Some(create.predecessor.room_id)
}
