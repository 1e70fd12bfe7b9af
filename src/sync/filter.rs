//! Sync filters, as they are asked for each event.
//!
//! Client-server API v1.19, "Filtering".

use std::collections::HashSet;

use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::client::filter::{
        EventFormat, Filter as EventFilter, FilterDefinition, LazyLoadOptions, RoomEventFilter,
        UrlFilter,
    },
};

use crate::{
    event::Pdu,
    rooms::filter::{RelationFilter, RelationFilters},
};

/// The most events of one room in an answer.
const MAX_LIMIT: u32 = 1_000;
/// How many there are when the filter does not say.
const DEFAULT_LIMIT: u32 = 10;

/// A filter, read once and used by many syncs.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the fields of the specification"
)]
pub struct Filter {
    rooms: Option<HashSet<OwnedRoomId>>,
    not_rooms: HashSet<OwnedRoomId>,
    /// Whether rooms that were left are in a first sync.
    pub include_leave: bool,
    /// The timeline.
    pub timeline: Events,
    /// The state.
    pub state: Events,
    /// Receipts and typing.
    pub ephemeral: Events,
    /// Account data of rooms.
    pub room_account_data: Events,
    /// Global account data.
    pub account_data: Events,
    /// Who is there.
    pub presence: Events,
    /// Whether member events are left out of the state but for those of the timeline's senders.
    pub lazy_load_members: bool,
    /// Whether they are repeated even though the client has them.
    pub redundant_members: bool,
    /// Whether the unread messages of threads are counted apart.
    pub thread_counts: bool,
    /// The fields that events are cut down to.
    pub event_fields: Option<Vec<Vec<String>>>,
    /// Whether events come as PDUs.
    pub federation_format: bool,
}

/// Which events of one kind are wanted.
#[derive(Debug)]
pub struct Events {
    types: Option<Vec<String>>,
    not_types: Vec<String>,
    senders: Option<Vec<OwnedUserId>>,
    not_senders: Vec<OwnedUserId>,
    rooms: Option<Vec<OwnedRoomId>>,
    not_rooms: Vec<OwnedRoomId>,
    with_url: Option<bool>,
    limit: Option<u32>,
    relations: RelationFilter,
    /// Whether nothing is left out.
    everything: bool,
}

impl Filter {
    /// The filter that a client sent.
    pub fn new(definition: FilterDefinition, relations: RelationFilters) -> Self {
        let (of_timeline, of_state) = relations.into_parts();
        let room = definition.room;
        let (lazy_load_members, redundant_members) = match room.state.lazy_load_options {
            LazyLoadOptions::Enabled {
                include_redundant_members,
            } => (true, include_redundant_members),
            LazyLoadOptions::Disabled => (false, false),
        };
        let lazy_timeline = matches!(
            room.timeline.lazy_load_options,
            LazyLoadOptions::Enabled { .. }
        );
        Self {
            thread_counts: room.timeline.unread_thread_notifications,
            rooms: room.rooms.map(|rooms| rooms.into_iter().collect()),
            not_rooms: room.not_rooms.into_iter().collect(),
            include_leave: room.include_leave,
            timeline: Events::of_rooms(room.timeline).related(of_timeline),
            state: Events::of_rooms(room.state).related(of_state),
            ephemeral: Events::of_rooms(room.ephemeral),
            room_account_data: Events::of_rooms(room.account_data),
            account_data: Events::of_users(definition.account_data),
            presence: Events::of_users(definition.presence),
            lazy_load_members: lazy_load_members || lazy_timeline,
            redundant_members,
            event_fields: definition
                .event_fields
                .map(|fields| fields.iter().map(|field| path_of(field)).collect()),
            federation_format: definition.event_format == EventFormat::Federation,
        }
    }

    /// Whether a room is wanted at all.
    pub fn wants_room(&self, room_id: &RoomId) -> bool {
        !self.not_rooms.contains(room_id)
            && self
                .rooms
                .as_ref()
                .is_none_or(|rooms| rooms.contains(room_id))
    }

    /// The fields of an event that the client wants, as JSON.
    pub fn cut(&self, event: String) -> String {
        let Some(fields) = &self.event_fields else {
            return event;
        };
        let Ok(whole) = serde_json::from_str::<serde_json::Value>(&event) else {
            return event;
        };
        let mut cut = serde_json::Map::new();
        for path in fields {
            copy_field(&whole, path, &mut cut);
        }
        serde_json::Value::Object(cut).to_string()
    }
}

/// The keys of a field such as `content.body`; a backslash takes a dot or a backslash for what it is.
fn path_of(field: &str) -> Vec<String> {
    let mut path = vec![String::new()];
    let mut letters = field.chars();
    while let Some(letter) = letters.next() {
        let (ends, letter) = match letter {
            '.' => (true, None),
            '\\' => (false, letters.next().or(Some('\\'))),
            letter => (false, Some(letter)),
        };
        if ends {
            path.push(String::new());
        }
        if let (Some(key), Some(letter)) = (path.last_mut(), letter) {
            key.push(letter);
        }
    }
    path
}

/// Copies what stands at a path into an object, with the objects on the way.
fn copy_field(
    from: &serde_json::Value,
    path: &[String],
    to: &mut serde_json::Map<String, serde_json::Value>,
) {
    let Some((field, rest)) = path.split_first() else {
        return;
    };
    let Some(value) = from.get(field) else {
        return;
    };
    if rest.is_empty() {
        to.insert(field.clone(), value.clone());
        return;
    }
    let inner = to
        .entry(field.clone())
        .or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()));
    if let serde_json::Value::Object(inner) = inner {
        copy_field(value, rest, inner);
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::of_rooms(RoomEventFilter::default())
    }
}

impl Events {
    fn of_rooms(filter: RoomEventFilter) -> Self {
        Self {
            everything: false,
            limit: filter
                .limit
                .and_then(|limit| u32::try_from(u64::from(limit)).ok()),
            types: filter.types,
            not_types: filter.not_types,
            senders: filter.senders,
            not_senders: filter.not_senders,
            rooms: filter.rooms,
            not_rooms: filter.not_rooms,
            with_url: filter.url_filter.map(|url| url == UrlFilter::EventsWithUrl),
            relations: RelationFilter::default(),
        }
        .simplified()
    }

    fn related(mut self, relations: RelationFilter) -> Self {
        self.relations = relations;
        self.simplified()
    }

    fn of_users(filter: EventFilter) -> Self {
        Self {
            everything: false,
            limit: filter
                .limit
                .and_then(|limit| u32::try_from(u64::from(limit)).ok()),
            types: filter.types,
            not_types: filter.not_types,
            senders: filter.senders,
            not_senders: filter.not_senders,
            rooms: None,
            not_rooms: Vec::new(),
            with_url: None,
            relations: RelationFilter::default(),
        }
        .simplified()
    }

    fn simplified(mut self) -> Self {
        self.everything = self.types.is_none()
            && self.not_types.is_empty()
            && self.senders.is_none()
            && self.not_senders.is_empty()
            && self.rooms.is_none()
            && self.not_rooms.is_empty()
            && self.with_url.is_none()
            && self.relations.is_open();
        self
    }

    /// Whether nothing is left out but by the limit.
    pub fn is_open(&self) -> bool {
        self.everything
    }

    /// How many events of a room are wanted.
    pub fn limit(&self) -> usize {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// How many events are wanted, if the filter says so.
    pub fn own_limit(&self) -> Option<usize> {
        self.limit.and_then(|limit| usize::try_from(limit).ok())
    }

    /// Whether events of this sender are wanted.
    pub fn wants_sender(&self, user_id: &UserId) -> bool {
        !self.not_senders.iter().any(|sender| sender == user_id)
            && self
                .senders
                .as_ref()
                .is_none_or(|senders| senders.iter().any(|sender| sender == user_id))
    }

    /// Whether an event of a room is wanted.
    pub fn wants(&self, room_id: &RoomId, pdu: &Pdu) -> bool {
        self.everything
            || (self.wants_room(room_id)
                && self.wants_type(&pdu.event_type().to_string())
                && self.wants_sender(pdu.sender())
                && self.with_url.is_none_or(|wanted| wanted == has_url(pdu))
                && self.relations.allows(pdu))
    }

    /// Whether this kind of events is wanted of a room.
    pub fn wants_room(&self, room_id: &RoomId) -> bool {
        !self.not_rooms.iter().any(|room| room == room_id)
            && self
                .rooms
                .as_ref()
                .is_none_or(|rooms| rooms.iter().any(|room| room == room_id))
    }

    /// Whether events of this type are wanted.
    pub fn wants_type(&self, event_type: &str) -> bool {
        let matches = |patterns: &[String]| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| matches_glob(pattern, event_type))
        };
        !matches(&self.not_types) && self.types.as_deref().is_none_or(matches)
    }
}

fn has_url(pdu: &Pdu) -> bool {
    #[derive(serde::Deserialize)]
    struct Content {
        url: Option<serde::de::IgnoredAny>,
    }
    pdu.content_as::<Content>()
        .is_some_and(|content| content.url.is_some())
}

/// Whether a text matches a pattern in which `*` stands for any letters. Takes no longer than the
/// product of both lengths, whatever the pattern.
fn matches_glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::{Filter, matches_glob, path_of};

    #[test]
    fn a_star_stands_for_any_letters() {
        let cases = [
            ("m.room.message", "m.room.message", true),
            ("m.room.message", "m.room.messages", false),
            ("m.room.*", "m.room.message", true),
            ("*", "anything", true),
            ("*", "", true),
            ("m.*.member", "m.room.member", true),
            ("m.*.member", "m.room.members", false),
            ("*.m*r", "m.room.member", true),
            ("a*a", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches_glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_backslash_keeps_a_dot_in_a_key() {
        for (field, expected) in [
            ("content.body", vec!["content", "body"]),
            ("content.m\\.relates_to", vec!["content", "m.relates_to"]),
            ("a\\\\.b", vec!["a\\", "b"]),
            ("type", vec!["type"]),
            ("a\\", vec!["a\\"]),
        ] {
            assert_eq!(path_of(field), expected, "{field}");
        }
    }

    #[test]
    fn events_are_cut_down_to_the_wanted_fields() {
        let filter = Filter {
            event_fields: Some(vec![
                vec!["type".to_owned()],
                vec!["content".to_owned(), "body".to_owned()],
            ]),
            ..Filter::default()
        };
        let event = r#"{"content":{"body":"b","msgtype":"m"},"sender":"s","type":"t"}"#;
        assert_eq!(
            filter.cut(event.to_owned()),
            r#"{"content":{"body":"b"},"type":"t"}"#
        );
    }
}
