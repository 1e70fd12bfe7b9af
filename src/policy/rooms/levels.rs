//! Power levels: what new rooms get (tchap.md, 4.4), and what they may become (4.8).

use ruma::{CanonicalJsonObject, CanonicalJsonValue, Int, OwnedUserId, UserId};

use super::{
    Question,
    access::Rule,
    refusal::{Answer, DEFAULT_LEVEL, EXTERNAL_LEVEL},
};

/// The level of creators, and of what only they do.
pub(super) const CREATOR: i32 = 100;
/// The level of moderators.
const MODERATOR: i32 = 50;
/// The level that ending a room needs where creators are above all levels (room version 12).
const TOMBSTONE: i32 = 150;

/// The levels of actions. `invite` depends on the preset, see [`invite_level`].
const ACTIONS: &[(&str, i32)] = &[
    ("users_default", 0),
    ("events_default", 0),
    ("state_default", CREATOR),
    ("ban", MODERATOR),
    ("kick", MODERATOR),
    ("redact", MODERATOR),
];

/// The levels of types of events. All other state needs `state_default`.
const EVENTS: &[(&str, i32)] = &[
    ("m.room.name", MODERATOR),
    ("m.room.canonical_alias", MODERATOR),
    ("m.room.avatar", MODERATOR),
    ("m.room.power_levels", CREATOR),
    ("m.room.history_visibility", CREATOR),
    ("m.room.tombstone", CREATOR),
    ("m.room.server_acl", CREATOR),
    ("m.room.encryption", CREATOR),
    ("m.beacon_info", 0),
    ("org.matrix.msc3672.beacon_info", 0),
    ("m.call.member", 0),
    ("org.matrix.msc3401.call.member", 0),
];

/// The least level that inviting needs in a new room: everybody invites to a public one.
pub(super) const fn invite_level(is_public_chat: bool) -> i32 {
    if is_public_chat { 0 } else { MODERATOR }
}

/// The levels of a new room (CR-22, CR-23). `users` have the creator's level; where creators are
/// above all levels there are none.
pub(super) fn defaults<'a>(
    is_public_chat: bool,
    users: impl Iterator<Item = &'a OwnedUserId>,
    has_infinite_creators: bool,
) -> CanonicalJsonObject {
    let mut levels = object(ACTIONS);
    levels.insert("invite".to_owned(), level(invite_level(is_public_chat)));
    let mut events = object(EVENTS);
    if has_infinite_creators {
        events.insert("m.room.tombstone".to_owned(), level(TOMBSTONE));
    }
    levels.insert("events".to_owned(), CanonicalJsonValue::Object(events));
    let users = users.map(|user_id| (user_id.to_string(), level(CREATOR)));
    let users = CanonicalJsonValue::Object(users.collect());
    levels.insert("users".to_owned(), users);
    levels
}

fn object(levels: &[(&str, i32)]) -> CanonicalJsonObject {
    let levels = levels.iter();
    levels
        .map(|(name, value)| ((*name).to_owned(), level(*value)))
        .collect()
}

fn level(value: i32) -> CanonicalJsonValue {
    CanonicalJsonValue::Integer(Int::from(value))
}

/// Puts `over` on `levels`, and what is an object in both key by key (CR-26).
pub(super) fn merge(levels: &mut CanonicalJsonObject, over: &CanonicalJsonObject) {
    for (key, value) in over {
        match (levels.get_mut(key), value) {
            (Some(CanonicalJsonValue::Object(inner)), CanonicalJsonValue::Object(over)) => {
                merge(inner, over);
            }
            _ => {
                levels.insert(key.clone(), value.clone());
            }
        }
    }
}

/// A level of a content; `None` where it does not say, or not with an integer.
pub(super) fn level_of(content: &CanonicalJsonObject, key: &str) -> Option<i64> {
    match content.get(key)? {
        CanonicalJsonValue::Integer(level) => Some(i64::from(*level)),
        _ => None,
    }
}

/// The users to whom a content gives a level other than 0.
pub(super) fn powerful_users(content: &CanonicalJsonObject) -> impl Iterator<Item = &UserId> {
    let users = content.get("users").and_then(CanonicalJsonValue::as_object);
    let users = users.into_iter().flatten();
    let powerful = users.filter(|(_, level)| match level {
        CanonicalJsonValue::Integer(level) => i64::from(*level) != 0,
        _ => true,
    });
    powerful.filter_map(|(user_id, _)| <&UserId>::try_from(user_id.as_str()).ok())
}

/// Whether these levels fit an unrestricted room: PL-02 or CR-27, and PL-03 or CR-28. Gives the row
/// that they violate.
pub(super) fn fault_of_unrestricted(
    content: &CanonicalJsonObject,
    is_external: impl Fn(&UserId) -> bool,
) -> Option<Fault> {
    if level_of(content, "users_default").unwrap_or(0) != 0 {
        return Some(Fault::Default);
    }
    let mut powerful = powerful_users(content);
    powerful.any(is_external).then_some(Fault::External)
}

/// What is wrong with the levels of an unrestricted room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// Everybody has a level.
    Default,
    /// An external has one.
    External,
}

/// PL rows: whether new power levels fit the room. The lower limits hold at creation only (PL-01).
pub(super) fn may_set(question: &Question<'_>) -> Answer {
    if question.rule() != Rule::Unrestricted {
        return Ok(if question.rule() == Rule::Direct {
            "PL-06"
        } else {
            "PL-05"
        });
    }
    let is_external = |user_id: &UserId| question.people.is_external(user_id);
    match fault_of_unrestricted(question.event.content, is_external) {
        Some(Fault::Default) => Err(DEFAULT_LEVEL.forbids("PL-02")),
        Some(Fault::External) => Err(EXTERNAL_LEVEL.forbids("PL-03")),
        None => Ok("PL-04"),
    }
}
