//! `Pdu`: a parsed event and its id.
//!
//! The canonical JSON text is kept once; the fields that decisions need are parsed beside it.

use std::{borrow::Cow, fmt, ops::Range};

use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::{TimelineEventType, room::member::MembershipState},
    room_version_rules::RedactionRules,
    state_res,
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::relation::RelatesTo;

/// Why a text is not an event.
#[derive(Debug, thiserror::Error)]
pub enum PduError {
    /// It is not JSON, or a field is missing or of the wrong type.
    #[error("malformed event: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The content is not an object.
    #[error("the content of the event is not an object")]
    ContentNotObject,
}

/// An event as servers exchange it, with its id. It does not change; share it behind an `Arc`.
#[derive(Clone)]
pub struct Pdu {
    event_id: OwnedEventId,
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    event_type: TimelineEventType,
    state_key: Option<Box<str>>,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    depth: i64,
    prev_events: Box<[OwnedEventId]>,
    auth_events: Box<[OwnedEventId]>,
    /// `redacts` at the top level and in the content. Which of the two counts depends on the room
    /// version.
    redacts: [Option<OwnedEventId>; 2],
    membership: Option<MembershipState>,
    relates_to: Option<Box<RelatesTo>>,
    /// Where the content stands in `json`.
    content: Range<usize>,
    json: Box<str>,
    has_room_id: bool,
    rejected: bool,
}

/// The fields of an event that our own builder made: `json` is canonical and agrees with the rest.
pub(super) struct Built<'a> {
    pub(super) event_id: OwnedEventId,
    pub(super) room_id: OwnedRoomId,
    pub(super) has_room_id: bool,
    pub(super) sender: &'a UserId,
    pub(super) event_type: TimelineEventType,
    pub(super) state_key: Option<String>,
    pub(super) origin_server_ts: MilliSecondsSinceUnixEpoch,
    pub(super) depth: i64,
    pub(super) prev_events: &'a [OwnedEventId],
    pub(super) auth_events: Vec<OwnedEventId>,
    pub(super) redacts: Option<OwnedEventId>,
    pub(super) content: Range<usize>,
    pub(super) json: String,
}

/// What is read of an event's text.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type")]
    event_type: TimelineEventType,
    #[serde(borrow)]
    content: &'a RawValue,
    sender: OwnedUserId,
    state_key: Option<String>,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    depth: i64,
    prev_events: Vec<Reference>,
    auth_events: Vec<Reference>,
    #[serde(borrow)]
    redacts: Option<&'a RawValue>,
    room_id: Option<IgnoredAny>,
}

impl Pdu {
    /// The event that our own store kept. The text is trusted: it was checked when it was stored.
    pub fn from_stored(
        event_id: OwnedEventId,
        room_id: OwnedRoomId,
        json: impl Into<Box<str>>,
    ) -> Result<Self, PduError> {
        let json = json.into();
        let fields: Fields<'_> = serde_json::from_str(&json)?;
        let content = fields.content.get();
        if !content.starts_with('{') {
            return Err(PduError::ContentNotObject);
        }
        let start = content.as_ptr().addr() - json.as_ptr().addr();
        let range = start..start + content.len();
        let redacts = fields.redacts.and_then(|id| string_field_as_id(id.get()));
        let content_redacts = redacts_in_content(&fields.event_type, content);
        let membership = membership_in(&fields.event_type, content);
        let relates_to = RelatesTo::in_content(content);
        Ok(Self {
            event_id,
            room_id,
            sender: fields.sender,
            event_type: fields.event_type,
            state_key: fields.state_key.map(String::into_boxed_str),
            origin_server_ts: fields.origin_server_ts,
            depth: fields.depth,
            prev_events: fields.prev_events.into_iter().map(|id| id.0).collect(),
            auth_events: fields.auth_events.into_iter().map(|id| id.0).collect(),
            redacts: [redacts, content_redacts],
            membership,
            relates_to,
            content: range,
            has_room_id: fields.room_id.is_some(),
            json,
            rejected: false,
        })
    }

    pub(super) fn from_built(built: Built<'_>) -> Self {
        let content = built.json.get(built.content.clone()).unwrap_or("{}");
        let content_redacts = redacts_in_content(&built.event_type, content);
        let membership = membership_in(&built.event_type, content);
        let relates_to = RelatesTo::in_content(content);
        Self {
            event_id: built.event_id,
            room_id: built.room_id,
            sender: built.sender.to_owned(),
            event_type: built.event_type,
            state_key: built.state_key.map(String::into_boxed_str),
            origin_server_ts: built.origin_server_ts,
            depth: built.depth,
            prev_events: built.prev_events.into(),
            auth_events: built.auth_events.into(),
            redacts: [built.redacts, content_redacts],
            membership,
            relates_to,
            content: built.content,
            json: built.json.into_boxed_str(),
            has_room_id: built.has_room_id,
            rejected: false,
        }
    }

    /// The same event, marked as one that failed the authorization rules. Events that name it as
    /// an auth event fail too.
    #[must_use]
    pub fn into_rejected(mut self) -> Self {
        self.rejected = true;
        self
    }

    /// Whether the event failed the authorization rules.
    pub fn is_rejected(&self) -> bool {
        self.rejected
    }

    /// The event's id.
    pub fn event_id(&self) -> &EventId {
        &self.event_id
    }

    /// The same, where an owned id is cloned.
    pub fn owned_event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    /// The room. Known for the create event of room version 12 too, whose text does not name it.
    pub fn room_id(&self) -> &RoomId {
        &self.room_id
    }

    /// Who sent it.
    pub fn sender(&self) -> &UserId {
        &self.sender
    }

    /// The type.
    pub fn event_type(&self) -> &TimelineEventType {
        &self.event_type
    }

    /// The state key; `None` for events that are not state.
    pub fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    /// Whether this is a state event.
    pub fn is_state(&self) -> bool {
        self.state_key.is_some()
    }

    /// The content as JSON text.
    pub fn content_str(&self) -> &str {
        self.json.get(self.content.clone()).unwrap_or("{}")
    }

    /// The content as a raw JSON value. Scans the content once; [`Self::content_str`] is free.
    pub fn content(&self) -> &RawValue {
        serde_json::from_str(self.content_str()).unwrap_or(RawValue::NULL)
    }

    /// The content, parsed. `None` if it is not of that shape.
    pub fn content_as<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_str(self.content_str()).ok()
    }

    /// When the sender's server says that it was sent.
    pub fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.origin_server_ts
    }

    /// One more than the greatest depth of the previous events; 1 for the first.
    pub fn depth(&self) -> i64 {
        self.depth
    }

    /// The events before this one.
    pub fn prev_events(&self) -> &[OwnedEventId] {
        &self.prev_events
    }

    /// The events that authorize this one.
    pub fn auth_events(&self) -> &[OwnedEventId] {
        &self.auth_events
    }

    /// The event that this one redacts: at the top level up to room version 10, in the content
    /// from 11 on.
    pub fn redacts(&self, rules: &RedactionRules) -> Option<&EventId> {
        let [top_level, in_content] = &self.redacts;
        let redacts = if rules.content_field_redacts {
            in_content
        } else {
            top_level
        };
        redacts.as_deref()
    }

    /// The `redacts` at the top level and the one in the content, whatever the room version.
    pub(super) fn both_redacts(&self) -> [Option<&EventId>; 2] {
        self.redacts.each_ref().map(|id| id.as_deref())
    }

    /// What a redaction redacts, whatever its room version: the field that it has.
    pub fn any_redacts(&self) -> Option<&EventId> {
        let [top_level, in_content] = self.both_redacts();
        top_level.or(in_content)
    }

    /// The membership that an `m.room.member` event sets; `None` for other events.
    pub fn membership(&self) -> Option<&MembershipState> {
        self.membership.as_ref()
    }

    /// What the event says that it relates to; nothing for most.
    pub fn relates_to(&self) -> Option<&RelatesTo> {
        self.relates_to.as_deref()
    }

    /// The whole event as canonical JSON, with hashes and signatures.
    pub fn json(&self) -> &str {
        &self.json
    }
}

impl fmt::Debug for Pdu {
    /// Leaves out the content, which logs must not show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pdu")
            .field("event_id", &self.event_id)
            .field("room_id", &self.room_id)
            .field("event_type", &self.event_type)
            .finish_non_exhaustive()
    }
}

impl state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        // The rules for create events look at the text.
        self.has_room_id.then_some(&*self.room_id)
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.event_type
    }

    fn content(&self) -> &RawValue {
        self.content()
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        // Only the rules of room versions 1 and 2 ask.
        let [top_level, _] = &self.redacts;
        top_level.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}

fn string_field_as_id(json: &str) -> Option<OwnedEventId> {
    let id: Cow<'_, str> = serde_json::from_str(json).ok()?;
    EventId::parse(&*id).ok()
}

fn redacts_in_content(event_type: &TimelineEventType, content: &str) -> Option<OwnedEventId> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        redacts: Option<&'a RawValue>,
    }
    if *event_type != TimelineEventType::RoomRedaction {
        return None;
    }
    let content: Content<'_> = serde_json::from_str(content).ok()?;
    string_field_as_id(content.redacts?.get())
}

fn membership_in(event_type: &TimelineEventType, content: &str) -> Option<MembershipState> {
    #[derive(Deserialize)]
    struct Content {
        membership: MembershipState,
    }
    if *event_type != TimelineEventType::RoomMember {
        return None;
    }
    let content: Content = serde_json::from_str(content).ok()?;
    Some(content.membership)
}

/// A reference to another event: its id, or in room versions 1 and 2 a pair of id and hashes.
struct Reference(OwnedEventId);

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReferenceVisitor;

        impl<'de> Visitor<'de> for ReferenceVisitor {
            type Value = Reference;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event id, or a pair of an event id and hashes")
            }

            fn visit_str<E: serde::de::Error>(self, id: &str) -> Result<Reference, E> {
                EventId::parse(id).map(Reference).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Reference, A::Error> {
                let id = seq.next_element()?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                id.map(Reference)
                    .ok_or_else(|| serde::de::Error::invalid_length(0, &self))
            }
        }

        deserializer.deserialize_any(ReferenceVisitor)
    }
}
