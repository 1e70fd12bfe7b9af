//! The power levels of a room, parsed once.
//!
//! See the client-server API v1.19, `m.room.power_levels`, and room version 12 for creators.

use std::collections::BTreeMap;

use ruma::{
    Int, OwnedUserId, UserId,
    events::{TimelineEventType, room::power_levels::UserPowerLevel},
    room_version_rules::AuthorizationRules,
    state_res::events::{RoomPowerLevelsEvent, RoomPowerLevelsIntField},
};

use super::pdu::Pdu;

/// The level of a room's creator while there is no `m.room.power_levels` event, up to version 11.
const CREATOR_LEVEL: i32 = 100;
/// The level for `@room` where the event does not say.
const NOTIFY_ROOM_LEVEL: i32 = 50;

/// The levels that users have, and the levels that actions need.
#[derive(Clone, Debug)]
pub struct PowerLevels {
    /// From room version 12 on: users above every level.
    infinite: Vec<OwnedUserId>,
    users: BTreeMap<OwnedUserId, Int>,
    events: BTreeMap<TimelineEventType, Int>,
    notifications: BTreeMap<String, Int>,
    users_default: Int,
    events_default: Int,
    state_default: Int,
    ban: Int,
    kick: Int,
    invite: Int,
    redact: Int,
}

impl Default for PowerLevels {
    /// The levels of a room that has said nothing of them.
    fn default() -> Self {
        Self::new(None, &[], &AuthorizationRules::V1)
    }
}

impl PowerLevels {
    /// Reads the levels. A field that cannot be read counts as missing; the authorization rules
    /// keep such events out.
    pub(super) fn new(
        pdu: Option<&Pdu>,
        creators: &[OwnedUserId],
        rules: &AuthorizationRules,
    ) -> Self {
        use RoomPowerLevelsIntField as Field;

        let event = pdu.map(RoomPowerLevelsEvent::new);
        let level = |field: Field| {
            let level = event
                .as_ref()
                .and_then(|event| event.get_as_int_or_default(field, rules).ok());
            level.unwrap_or_else(|| field.default_value())
        };
        let users = match &event {
            Some(event) => event
                .users(rules)
                .ok()
                .flatten()
                .cloned()
                .unwrap_or_default(),
            None => creators
                .iter()
                .map(|user| (user.clone(), Int::from(CREATOR_LEVEL)))
                .collect(),
        };
        let event = event.as_ref();
        let events = event.and_then(|event| event.events(rules).ok().flatten());
        let notifications = event.and_then(|event| event.notifications(rules).ok().flatten());
        let infinite = if rules.explicitly_privilege_room_creators {
            creators.to_vec()
        } else {
            Vec::new()
        };
        Self {
            infinite,
            users,
            events: events.unwrap_or_default(),
            notifications: notifications.unwrap_or_default(),
            users_default: level(Field::UsersDefault),
            events_default: level(Field::EventsDefault),
            state_default: level(Field::StateDefault),
            ban: level(Field::Ban),
            kick: level(Field::Kick),
            invite: level(Field::Invite),
            redact: level(Field::Redact),
        }
    }

    /// A user's level.
    pub fn user(&self, user_id: &UserId) -> UserPowerLevel {
        if self.infinite.iter().any(|creator| creator == user_id) {
            return UserPowerLevel::Infinite;
        }
        let level = self.users.get(user_id).copied();
        UserPowerLevel::Int(level.unwrap_or(self.users_default))
    }

    /// The users with a level of their own; creators of room version 12 are not among them.
    pub fn users(&self) -> impl Iterator<Item = (&UserId, Int)> {
        self.users.iter().map(|(user, level)| (&**user, *level))
    }

    /// The users above every level: the creators, from room version 12 on.
    pub fn infinite_users(&self) -> impl Iterator<Item = &UserId> {
        self.infinite.iter().map(|user| &**user)
    }

    /// The level of users that have none of their own.
    pub fn users_default(&self) -> Int {
        self.users_default
    }

    /// The level that an event of this type needs.
    pub fn event(&self, event_type: &TimelineEventType, is_state: bool) -> Int {
        let default = if is_state {
            self.state_default
        } else {
            self.events_default
        };
        self.events.get(event_type).copied().unwrap_or(default)
    }

    /// The level that banning needs.
    pub fn ban(&self) -> Int {
        self.ban
    }

    /// The level that kicking needs.
    pub fn kick(&self) -> Int {
        self.kick
    }

    /// The level that inviting needs.
    pub fn invite(&self) -> Int {
        self.invite
    }

    /// The level that redacting other users' events needs.
    pub fn redact(&self) -> Int {
        self.redact
    }

    /// The level that state events need where their type has none.
    pub fn state_default(&self) -> Int {
        self.state_default
    }

    /// The level that other events need where their type has none.
    pub fn events_default(&self) -> Int {
        self.events_default
    }

    /// The level that notifying the whole room (`@room`) needs.
    pub fn notify_room(&self) -> Int {
        self.notify("room")
    }

    /// The level that notifying the room in the way of this name needs.
    pub fn notify(&self, name: &str) -> Int {
        self.notifications
            .get(name)
            .copied()
            .unwrap_or(Int::from(NOTIFY_ROOM_LEVEL))
    }

    /// Whether a user's level is enough for an event of this type. Other rules may still refuse.
    pub fn may_send(
        &self,
        user_id: &UserId,
        event_type: &TimelineEventType,
        is_state: bool,
    ) -> bool {
        self.user(user_id) >= self.event(event_type, is_state)
    }
}
