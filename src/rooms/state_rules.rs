//! What a client may send as state, beside what the authorization rules say: contents that other
//! servers or clients could not work with.
//!
//! Client-server API v1.19, `PUT /rooms/{roomId}/state/{eventType}/{stateKey}`,
//! `m.room.power_levels` and `m.room.canonical_alias`.

use std::collections::BTreeSet;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, RoomAliasId, UserId,
    events::{StateEventType, TimelineEventType},
};

use super::Error;
use crate::event::{Draft, Room};

/// The fields of power levels that hold one level.
const LEVELS: &[&str] = &[
    "ban",
    "events_default",
    "invite",
    "kick",
    "redact",
    "state_default",
    "users_default",
];
/// The fields of power levels that hold a level for each of several names.
const LEVELS_BY_NAME: &[&str] = &["events", "notifications", "users"];

/// Checks what the contents of some types must hold.
pub(super) fn check_content(
    event_type: &StateEventType,
    state_key: &str,
    content: &CanonicalJsonObject,
) -> Result<(), Error> {
    // The database keeps no NUL in types and state keys.
    if state_key.contains('\0') || event_type.to_string().contains('\0') {
        let message = "a type or a state key holds no NUL";
        return Err(Error::Invalid(message.to_owned()));
    }
    match event_type {
        StateEventType::RoomPowerLevels if state_key.is_empty() => check_power_levels(content),
        _ => Ok(()),
    }
}

/// Checks what depends on the room: power levels that name those who stand above them (from room
/// version 12 on) are a mistake, and not a lack of power.
pub(super) fn check_in_room(room: &Room, draft: &Draft) -> Result<(), Error> {
    if draft.event_type != TimelineEventType::RoomPowerLevels
        || draft.state_key.as_deref() != Some("")
    {
        return Ok(());
    }
    let Some(CanonicalJsonValue::Object(users)) = draft.content.get("users") else {
        return Ok(());
    };
    let mut above = room.power_levels().infinite_users();
    match above.find(|user_id| users.contains_key(user_id.as_str())) {
        None => Ok(()),
        Some(user_id) => Err(Error::BadContent(format!(
            "{user_id} is a creator of the room and has no level"
        ))),
    }
}

/// Power levels are integers, in every room version; and users are named by their ids.
fn check_power_levels(content: &CanonicalJsonObject) -> Result<(), Error> {
    let refuse = |field: &str| {
        let message = format!("`{field}` of the power levels is not made of integers");
        Err(Error::BadContent(message))
    };
    let is_level = |value: &CanonicalJsonValue| matches!(value, CanonicalJsonValue::Integer(_));
    for field in LEVELS {
        if content.get(*field).is_some_and(|value| !is_level(value)) {
            return refuse(field);
        }
    }
    for field in LEVELS_BY_NAME {
        match content.get(*field) {
            None => {}
            Some(CanonicalJsonValue::Object(levels)) if levels.values().all(is_level) => {}
            Some(_) => return refuse(field),
        }
    }
    if let Some(CanonicalJsonValue::Object(users)) = content.get("users")
        && let Some(name) = users.keys().find(|name| UserId::parse(name).is_err())
    {
        let message = format!("`{name}` of the power levels is not a user id");
        return Err(Error::BadContent(message));
    }
    Ok(())
}

/// The aliases that an `m.room.canonical_alias` event names. An empty `alias` counts as none.
pub(super) fn named_aliases(
    content: &CanonicalJsonObject,
) -> Result<BTreeSet<OwnedRoomAliasId>, Error> {
    let parse = |value: &CanonicalJsonValue| {
        let alias = value.as_str().map(RoomAliasId::parse);
        match alias {
            Some(Ok(alias)) => Ok(alias),
            _ => Err(Error::Invalid("this is not a room alias".to_owned())),
        }
    };
    let mut named = BTreeSet::new();
    match content.get("alias") {
        None | Some(CanonicalJsonValue::Null) => {}
        Some(CanonicalJsonValue::String(alias)) if alias.is_empty() => {}
        Some(alias) => drop(named.insert(parse(alias)?)),
    }
    match content.get("alt_aliases") {
        None | Some(CanonicalJsonValue::Null) => {}
        Some(CanonicalJsonValue::Array(aliases)) => {
            for alias in aliases {
                named.insert(parse(alias)?);
            }
        }
        Some(_) => {
            let message = "`alt_aliases` is not a list";
            return Err(Error::BadContent(message.to_owned()));
        }
    }
    Ok(named)
}

/// The content of an `m.room.canonical_alias` event without an alias; `None` if it does not name
/// the alias.
pub(super) fn without_alias(
    mut content: CanonicalJsonObject,
    alias: &RoomAliasId,
) -> Option<CanonicalJsonObject> {
    let is_it = |value: &CanonicalJsonValue| value.as_str() == Some(alias.as_str());
    let mut changed = false;
    if content.get("alias").is_some_and(is_it) {
        content.remove("alias");
        changed = true;
    }
    if let Some(CanonicalJsonValue::Array(aliases)) = content.get_mut("alt_aliases") {
        let before = aliases.len();
        aliases.retain(|alias| !is_it(alias));
        changed |= aliases.len() != before;
        if aliases.is_empty() && changed {
            content.remove("alt_aliases");
        }
    }
    changed.then_some(content)
}
