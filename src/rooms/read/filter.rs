//! Which events pass a client's filter (client-server API v1.19, "Filtering").

use ruma::{
    RoomId,
    api::client::filter::{LazyLoadOptions, RoomEventFilter, UrlFilter},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::Pdu;

/// Which events of rooms are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// By what they are.
    pub events: RoomEventFilter,
    /// By how they relate to others.
    pub relations: RelationFilter,
}

impl Wanted {
    /// Whether an event is wanted. Which rooms it is for is not looked at.
    pub fn allows(&self, pdu: &Pdu) -> bool {
        allows(&self.events, pdu) && self.relations.allows(pdu)
    }

    /// Whether this may keep events of a room back.
    pub fn is_selective(&self) -> bool {
        is_selective(&self.events) || !self.relations.is_open()
    }
}

/// The part of a filter that asks how events relate to others, which ruma's type leaves out
/// (MSC3874).
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct RelationFilter {
    /// Only events that relate to another in one of these ways.
    #[serde(
        default,
        rename = "org.matrix.msc3874.rel_types",
        skip_serializing_if = "Option::is_none"
    )]
    rel_types: Option<Vec<String>>,
    /// No events that relate to another in one of these ways.
    #[serde(
        default,
        rename = "org.matrix.msc3874.not_rel_types",
        skip_serializing_if = "Vec::is_empty"
    )]
    not_rel_types: Vec<String>,
}

impl RelationFilter {
    /// Whether nothing is left out.
    pub fn is_open(&self) -> bool {
        self.rel_types.is_none() && self.not_rel_types.is_empty()
    }

    /// Whether an event is wanted.
    pub fn allows(&self, pdu: &Pdu) -> bool {
        if self.is_open() {
            return true;
        }
        let own = pdu.relates_to().map(|relation| &*relation.rel_type);
        let is_one_of = |types: &[String]| types.iter().any(|wanted| own == Some(wanted));
        self.rel_types.as_deref().is_none_or(is_one_of) && !is_one_of(&self.not_rel_types)
    }
}

/// The same for the whole filter of a sync.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct RelationFilters {
    #[serde(default)]
    room: OfRooms,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
struct OfRooms {
    #[serde(default)]
    timeline: RelationFilter,
    #[serde(default)]
    state: RelationFilter,
}

impl RelationFilters {
    /// Which events of timelines are wanted, and which state.
    pub fn into_parts(self) -> (RelationFilter, RelationFilter) {
        (self.room.timeline, self.room.state)
    }

    /// Adds this to the rest of a filter, as JSON.
    pub(in crate::rooms) fn add_to(&self, filter: &mut Value) {
        let parts = [
            ("timeline", &self.room.timeline),
            ("state", &self.room.state),
        ];
        for (key, part) in parts {
            if let Ok(Value::Object(part)) = serde_json::to_value(part)
                && !part.is_empty()
                && let Some(whole) = child(filter, "room").and_then(|room| child(room, key))
                && let Value::Object(whole) = whole
            {
                whole.extend(part);
            }
        }
    }
}

/// An object in an object, made if it is not there.
fn child<'a>(of: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let empty = || Value::Object(serde_json::Map::new());
    Some(of.as_object_mut()?.entry(key).or_insert_with(empty))
}

/// Whether a filter lets the events of a room through at all.
pub fn allows_room(filter: &RoomEventFilter, room_id: &RoomId) -> bool {
    let wanted = filter.rooms.as_ref();
    wanted.is_none_or(|rooms| rooms.iter().any(|room| room == room_id))
        && !filter.not_rooms.iter().any(|room| room == room_id)
}

/// Whether a filter lets an event through. Which rooms it is for is not looked at.
pub fn allows(filter: &RoomEventFilter, pdu: &Pdu) -> bool {
    let senders = filter.senders.as_ref();
    if senders.is_some_and(|senders| !senders.iter().any(|sender| sender == pdu.sender()))
        || filter
            .not_senders
            .iter()
            .any(|sender| sender == pdu.sender())
    {
        return false;
    }
    if filter.types.is_some() || !filter.not_types.is_empty() {
        let event_type = pdu.event_type().to_string();
        let is_one_of =
            |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, &event_type));
        if filter.types.as_ref().is_some_and(|types| !is_one_of(types))
            || is_one_of(&filter.not_types)
        {
            return false;
        }
    }
    match filter.url_filter {
        Some(UrlFilter::EventsWithUrl) => has_url(pdu),
        Some(UrlFilter::EventsWithoutUrl) => !has_url(pdu),
        None => true,
    }
}

/// Whether a filter may keep events of a room back.
pub fn is_selective(filter: &RoomEventFilter) -> bool {
    filter.types.is_some()
        || filter.senders.is_some()
        || filter.url_filter.is_some()
        || !filter.not_types.is_empty()
        || !filter.not_senders.is_empty()
}

/// Whether a client wants the member events of senders only.
pub fn is_lazy(filter: &RoomEventFilter) -> bool {
    matches!(filter.lazy_load_options, LazyLoadOptions::Enabled { .. })
}

/// Whether an event type is the one of a pattern, in which `*` stands for anything.
fn matches(pattern: &str, event_type: &str) -> bool {
    let Some((prefix, rest)) = pattern.split_once('*') else {
        return pattern == event_type;
    };
    let Some(mut left) = event_type.strip_prefix(prefix) else {
        return false;
    };
    let Some((middle, suffix)) = rest.rsplit_once('*') else {
        return left.ends_with(rest);
    };
    for part in middle.split('*') {
        let Some((_, after)) = left.split_once(part) else {
            return false;
        };
        left = after;
    }
    left.ends_with(suffix)
}

/// Whether the content has a `url` that is a string.
fn has_url(pdu: &Pdu) -> bool {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "url")]
        _url: String,
    }
    // Most events do not have the word, and need no parse.
    pdu.content_str().contains("\"url\"") && pdu.content_as::<Content>().is_some()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, event_type, expected) in [
            ("m.room.message", "m.room.message", true),
            ("m.room.message", "m.room.messages", false),
            ("*", "anything", true),
            ("m.room.*", "m.room.name", true),
            ("m.room.*", "m.roo.name", false),
            ("*.name", "m.room.name", true),
            ("m.*.name", "m.room.name", true),
            ("m.*.name", "m.name", false),
            ("m*room*name", "m.room.name", true),
            ("m*room*name", "m.name.room", false),
            ("a**b", "ab", true),
            ("", "m.room.name", false),
        ] {
            assert_eq!(
                matches(pattern, event_type),
                expected,
                "{pattern} {event_type}"
            );
        }
    }
}
