//! Makes an event from a draft: checks its size and lays out its canonical JSON, ready to be
//! hashed and signed.
//!
//! The text is assembled from pieces in canonical order, so that the content is serialized once.

use std::fmt::Write as _;

use ruma::{
    CanonicalJsonError, CanonicalJsonObject, CanonicalJsonValue, MilliSecondsSinceUnixEpoch,
    OwnedEventId, RoomId, UserId,
    canonical_json::to_canonical_value,
    events::{StateEventType, TimelineEventType},
    room_version_rules::{EventIdFormatVersion, EventsReferenceFormatVersion},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    json::{push_field, push_string},
    version::{self, BadStateKey, VersionRules},
};

/// The greatest size of a whole event in bytes (client-server API v1.19, size limits).
pub const MAX_PDU_BYTES: usize = 65_536;
/// The greatest size of an identifier, a type and a state key in bytes.
pub const MAX_ID_BYTES: usize = 255;
/// How deep objects and lists may nest in a content, so that any reader can parse the event inside
/// of an answer.
pub const MAX_JSON_DEPTH: usize = 100;
/// The greatest integer of canonical JSON.
const MAX_INTEGER: i64 = (1 << 53) - 1;
/// The greatest numbers of references (room version 1, event format).
const MAX_PREV_EVENTS: usize = 20;
const MAX_AUTH_EVENTS: usize = 10;

/// Why an event could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The content is not JSON.
    #[error("the content is not JSON: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The content has a number with a fraction or out of range.
    #[error("the content is not canonical JSON: {0}")]
    NotCanonical(#[from] CanonicalJsonError),
    /// The content is not an object.
    #[error("the content is not an object")]
    ContentNotObject,
    /// The content nests too deep.
    #[error("the content nests more than {MAX_JSON_DEPTH} levels deep")]
    TooDeep,
    /// The whole event is too large.
    #[error("the event has {0} bytes, more than {MAX_PDU_BYTES}")]
    TooLarge(usize),
    /// A field is too long.
    #[error("`{0}` is too long")]
    FieldTooLong(&'static str),
    /// There are too many previous or auth events.
    #[error("too many `{0}`")]
    TooManyReferences(&'static str),
    /// The depth is negative or not an integer of canonical JSON.
    #[error("the depth is out of range")]
    Depth,
    /// Room versions 1 and 2 need an event id from the caller.
    #[error("this room version needs an event id of the sender's server")]
    NoEventId,
    /// Only the create event of room version 12 and later has no room id.
    #[error("the room id is missing, or given where it follows from the event")]
    RoomId,
    /// The sender belongs to another server than the one that signs.
    #[error("the sender does not belong to this server")]
    ForeignSender,
    /// The state key names no owner, in a room version where state has owners.
    #[error(transparent)]
    StateKey(BadStateKey),
    /// The room version is not one that [`VersionRules`] has.
    #[error("the room version is not known")]
    UnknownRoomVersion,
    /// An id that follows from the event's hash is not valid. Cannot happen for SHA-256.
    #[error("the event's hash gives no valid id")]
    InvalidId(#[from] ruma::IdParseError),
}

/// What a caller wants to send.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The type.
    pub event_type: TimelineEventType,
    /// The state key; `None` for events that are not state.
    pub state_key: Option<String>,
    /// The content.
    pub content: CanonicalJsonObject,
    /// The event that this one redacts. Put where the room version expects it.
    pub redacts: Option<OwnedEventId>,
    /// The event's id in room versions 1 and 2, `$random:server`; ignored in later ones, where it
    /// is the event's hash.
    pub legacy_event_id: Option<OwnedEventId>,
    /// When it was sent, where that is not now: application services bring messages from elsewhere.
    pub sent_at: Option<MilliSecondsSinceUnixEpoch>,
}

impl Draft {
    /// An event that is not state.
    pub fn message(event_type: TimelineEventType, content: CanonicalJsonObject) -> Self {
        Self {
            event_type,
            state_key: None,
            content,
            redacts: None,
            legacy_event_id: None,
            sent_at: None,
        }
    }

    /// A state event.
    pub fn state(
        event_type: StateEventType,
        state_key: impl Into<String>,
        content: CanonicalJsonObject,
    ) -> Self {
        Self {
            state_key: Some(state_key.into()),
            ..Self::message(event_type.into(), content)
        }
    }

    /// A redaction of `redacts`. `content` may hold a `reason`.
    pub fn redaction(redacts: OwnedEventId, content: CanonicalJsonObject) -> Self {
        Self {
            redacts: Some(redacts),
            ..Self::message(TimelineEventType::RoomRedaction, content)
        }
    }
}

/// A content as a client sent it. Numbers must be integers of canonical JSON, in every room
/// version; of a key that stands twice the last counts.
pub fn content_from_json(json: &RawValue) -> Result<CanonicalJsonObject, BuildError> {
    // Parsed apart, so that the two faults stay apart.
    let value: serde_json::Value = serde_json::from_str(json.get())?;
    object(value.try_into()?)
}

/// A content made by our own code.
pub fn content_from(value: &impl Serialize) -> Result<CanonicalJsonObject, BuildError> {
    object(to_canonical_value(value)?)
}

fn object(value: CanonicalJsonValue) -> Result<CanonicalJsonObject, BuildError> {
    match value {
        CanonicalJsonValue::Object(object) => Ok(object),
        _ => Err(BuildError::ContentNotObject),
    }
}

/// Where a new event is attached.
#[derive(Clone, Debug)]
pub struct Position<'a> {
    /// The room; `None` only for the create event of room version 12, whose hash becomes the
    /// room id.
    pub room_id: Option<&'a RoomId>,
    /// The rules of the room's version.
    pub rules: &'a VersionRules,
    /// The room's forward extremities. Room versions 1 and 2 refer to events with their hashes
    /// too; we leave those empty, as no server reads them.
    pub prev_events: &'a [OwnedEventId],
    /// The events that authorize the new one.
    pub auth_events: Vec<OwnedEventId>,
    /// The new event's depth.
    pub depth: i64,
}

/// An event made by our own builder, not signed yet: the only thing that can be signed.
pub struct UnsignedEvent<'a> {
    pub(super) draft: Draft,
    pub(super) sender: &'a UserId,
    pub(super) origin_server_ts: MilliSecondsSinceUnixEpoch,
    pub(super) position: Position<'a>,
}

/// Checks a draft and puts it at its place.
pub fn build<'a>(
    mut draft: Draft,
    sender: &'a UserId,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    position: Position<'a>,
) -> Result<UnsignedEvent<'a>, BuildError> {
    if position.rules.redaction.content_field_redacts
        && let Some(redacts) = draft.redacts.take()
    {
        let redacts = CanonicalJsonValue::String(redacts.into());
        draft.content.insert("redacts".to_owned(), redacts);
    }
    if position.rules.event_id_format == EventIdFormatVersion::V1 {
        let id = draft.legacy_event_id.as_ref();
        let server_name = id.and_then(|id| id.server_name());
        if server_name != Some(sender.server_name()) {
            return Err(BuildError::NoEventId);
        }
    } else {
        draft.legacy_event_id = None;
    }
    check_limits(&draft, sender, &position)?;
    Ok(UnsignedEvent {
        origin_server_ts: draft.sent_at.unwrap_or(origin_server_ts),
        draft,
        sender,
        position,
    })
}

fn check_limits(draft: &Draft, sender: &UserId, position: &Position<'_>) -> Result<(), BuildError> {
    let event_type = draft.event_type.to_string();
    let room_id = position.room_id.map_or("", RoomId::as_str);
    let state_key = draft.state_key.as_deref();
    let has_owner = position.rules.owned_state;
    if let Some(state_key) = state_key.filter(|_| has_owner) {
        version::owner(state_key).map_err(|error| match error {
            BadStateKey::TooLong => BuildError::FieldTooLong("state_key"),
            error @ BadStateKey::NoOwner => BuildError::StateKey(error),
        })?;
    }
    let fields = [
        ("type", &*event_type),
        ("state_key", state_key.filter(|_| !has_owner).unwrap_or("")),
        ("sender", sender.as_str()),
        ("room_id", room_id),
    ];
    for (name, value) in fields {
        if value.len() > MAX_ID_BYTES {
            return Err(BuildError::FieldTooLong(name));
        }
    }
    let room_id_is_hash = !position.rules.event_format.require_room_create_room_id
        && draft.event_type == TimelineEventType::RoomCreate;
    if position.room_id.is_none() != room_id_is_hash {
        return Err(BuildError::RoomId);
    }
    if position.prev_events.len() > MAX_PREV_EVENTS {
        return Err(BuildError::TooManyReferences("prev_events"));
    }
    if position.auth_events.len() > MAX_AUTH_EVENTS {
        return Err(BuildError::TooManyReferences("auth_events"));
    }
    if !(0..=MAX_INTEGER).contains(&position.depth) {
        return Err(BuildError::Depth);
    }
    if !draft
        .content
        .values()
        .all(|value| fits(value, MAX_JSON_DEPTH))
    {
        return Err(BuildError::TooDeep);
    }
    Ok(())
}

/// Whether a value nests at most `levels` deep.
fn fits(value: &CanonicalJsonValue, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else {
        return false;
    };
    match value {
        CanonicalJsonValue::Object(object) => object.values().all(|value| fits(value, below)),
        CanonicalJsonValue::Array(list) => list.iter().all(|value| fits(value, below)),
        _ => true,
    }
}

/// The text around the content, in pieces between which hashes and signatures are put.
pub(super) struct Frame {
    before_content: String,
    before_hashes: String,
    before_redacts: String,
    redacts: String,
    before_signatures: String,
    end: String,
}

impl Frame {
    /// Lays out the keys in canonical order.
    pub(super) fn new(event: &UnsignedEvent<'_>) -> Self {
        let UnsignedEvent {
            draft, position, ..
        } = event;
        let format = position.rules.events_reference_format;

        let mut before_content = String::from("{\"auth_events\":");
        push_references(&mut before_content, &position.auth_events, format);
        before_content.push_str(",\"content\":");

        let mut before_hashes = String::from(",");
        push_number(&mut before_hashes, "depth", position.depth);
        if let Some(event_id) = &draft.legacy_event_id {
            push_field(&mut before_hashes, "event_id", event_id.as_str());
        }

        let mut before_redacts = String::new();
        let timestamp = i64::from(event.origin_server_ts.get());
        push_number(&mut before_redacts, "origin_server_ts", timestamp);
        before_redacts.push_str("\"prev_events\":");
        push_references(&mut before_redacts, position.prev_events, format);
        before_redacts.push(',');

        let mut redacts = String::new();
        if let Some(event_id) = &draft.redacts {
            push_field(&mut redacts, "redacts", event_id.as_str());
        }

        let mut before_signatures = String::new();
        if let Some(room_id) = position.room_id {
            push_field(&mut before_signatures, "room_id", room_id.as_str());
        }
        push_field(&mut before_signatures, "sender", event.sender.as_str());

        let mut end = String::new();
        if let Some(state_key) = &draft.state_key {
            push_field(&mut end, "state_key", state_key);
        }
        end.push_str("\"type\":");
        push_string(&mut end, &draft.event_type.to_string());
        end.push('}');

        Self {
            before_content,
            before_hashes,
            before_redacts,
            redacts,
            before_signatures,
            end,
        }
    }

    /// Where the content begins in the text.
    pub(super) fn content_start(&self) -> usize {
        self.before_content.len()
    }

    /// What the content hash covers: all but hashes and signatures.
    pub(super) fn unhashed(&self, content: &str) -> String {
        self.text(content, "", &self.redacts, "")
    }

    /// What the signature and the reference hash cover: the redacted event with its hashes.
    /// No room version keeps `redacts` at the top level.
    pub(super) fn redacted(&self, redacted_content: &str, hashes: &str) -> String {
        self.text(redacted_content, hashes, "", "")
    }

    /// The whole event.
    pub(super) fn full(&self, content: &str, hashes: &str, signatures: &str) -> String {
        self.text(content, hashes, &self.redacts, signatures)
    }

    fn text(&self, content: &str, hashes: &str, redacts: &str, signatures: &str) -> String {
        [
            &self.before_content,
            content,
            &self.before_hashes,
            hashes,
            &self.before_redacts,
            redacts,
            &self.before_signatures,
            signatures,
            &self.end,
        ]
        .concat()
    }
}

fn push_number(out: &mut String, key: &str, number: i64) {
    // Writing to a string cannot fail.
    let _ = write!(out, "\"{key}\":{number},");
}

fn push_references(out: &mut String, ids: &[OwnedEventId], format: EventsReferenceFormatVersion) {
    out.push('[');
    for (index, id) in ids.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        if format == EventsReferenceFormatVersion::V1 {
            out.push('[');
            push_string(out, id.as_str());
            out.push_str(",{}]");
        } else {
            push_string(out, id.as_str());
        }
    }
    out.push(']');
}
