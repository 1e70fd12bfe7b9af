//! An event as clients see it, as JSON text.
//!
//! An event is serialized once for everybody; what differs from user to user is spliced into the
//! text by [`personalize`], which reads no more than its end. For this, `unsigned` is always there
//! and stands last, and `membership` is the last of its keys.
//!
//! See the client-server API v1.19, "Room event format" and "Stripped state".

use std::fmt::Write as _;

use ruma::{
    EventId, RoomId, UserId,
    events::{TimelineEventType, room::member::MembershipState},
};
use serde_json::value::RawValue;

use super::{
    json::{push_field, push_string},
    pdu::Pdu,
};

/// What goes into `unsigned` and is the same for all users who get this text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsigned<'a> {
    /// The content of the state event that this one replaced.
    pub prev_content: Option<&'a RawValue>,
    /// The sender of the state event that this one replaced.
    pub prev_sender: Option<&'a UserId>,
    /// The id of the state event that this one replaced.
    pub replaces_state: Option<&'a EventId>,
    /// The redaction in client format, for an event that was redacted.
    pub redacted_because: Option<&'a str>,
    /// Bundled aggregations: the object under `m.relations`, as JSON.
    pub relations: Option<&'a str>,
    /// The client's transaction id, for the device that sent the event.
    pub transaction_id: Option<&'a str>,
    /// The reader's membership at the event; `join` suits most readers.
    pub membership: Option<&'a MembershipState>,
}

/// What differs from one reader of an event to another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Personal<'a> {
    /// Adds the room id, to a text without one.
    pub room_id: Option<&'a RoomId>,
    /// Adds the age in milliseconds, to a text without one.
    pub age: Option<i64>,
    /// Adds the client's transaction id, to a text without one.
    pub transaction_id: Option<&'a str>,
    /// Adds what named the event before it was sent, for one that was sent later (MSC4140).
    pub delay_id: Option<&'a str>,
    /// Adds the bundled aggregations, the object under `m.relations` as JSON, to a text without.
    pub relations: Option<&'a str>,
    /// Sets the reader's membership at the event.
    pub membership: Option<&'a MembershipState>,
}

/// The event in client format.
pub fn client_json(pdu: &Pdu, unsigned: &Unsigned<'_>, with_room_id: bool) -> Box<RawValue> {
    raw(client_text(pdu, unsigned, with_room_id))
}

/// The same as text, without the scan that a raw value costs.
///
/// Redactions carry `redacts` both at the top level and in the content, as room version 11 asks of
/// servers.
pub fn client_text(pdu: &Pdu, unsigned: &Unsigned<'_>, with_room_id: bool) -> String {
    let mut out = String::with_capacity(pdu.json().len());
    let is_redaction = *pdu.event_type() == TimelineEventType::RoomRedaction;
    let [top_level, in_content] = pdu.both_redacts();
    out.push_str("{\"content\":");
    match top_level {
        Some(redacts) if is_redaction && in_content.is_none() => {
            push_content_with_redacts(&mut out, pdu.content_str(), redacts);
        }
        _ => out.push_str(pdu.content_str()),
    }
    out.push(',');
    push_field(&mut out, "event_id", pdu.event_id().as_str());
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "\"origin_server_ts\":{},",
        pdu.origin_server_ts().get()
    );
    if is_redaction && let Some(redacts) = top_level.or(in_content) {
        push_field(&mut out, "redacts", redacts.as_str());
    }
    if with_room_id {
        push_field(&mut out, "room_id", pdu.room_id().as_str());
    }
    push_field(&mut out, "sender", pdu.sender().as_str());
    if let Some(state_key) = pdu.state_key() {
        push_field(&mut out, "state_key", state_key);
    }
    push_field(&mut out, "type", &pdu.event_type().to_string());
    push_unsigned(&mut out, unsigned);
    out.push('}');
    out
}

/// The event as stripped state: sender, type, state key and content.
pub fn stripped_json(pdu: &Pdu) -> Box<RawValue> {
    let mut out = String::from("{\"content\":");
    out.push_str(pdu.content_str());
    out.push(',');
    push_field(&mut out, "sender", pdu.sender().as_str());
    push_field(&mut out, "state_key", pdu.state_key().unwrap_or(""));
    out.push_str("\"type\":");
    push_string(&mut out, &pdu.event_type().to_string());
    out.push('}');
    raw(out)
}

/// A text made by [`client_text`] for one reader, without parsing it. Other texts stay as they are.
pub fn personalize(json: &str, personal: &Personal<'_>) -> String {
    let Some(object) = json.strip_prefix('{') else {
        return json.to_owned();
    };
    let Some(object) = object.strip_suffix("}}") else {
        return json.to_owned();
    };
    let (object, own_membership) = split_membership(object);
    let mut out = String::with_capacity(json.len() + 160 + personal.relations.map_or(0, str::len));
    out.push('{');
    if let Some(room_id) = personal.room_id {
        push_field(&mut out, "room_id", room_id.as_str());
    }
    out.push_str(object);
    if let Some(age) = personal.age {
        push_comma(&mut out);
        // Writing to a string cannot fail.
        let _ = write!(out, "\"age\":{age}");
    }
    if let Some(relations) = personal.relations {
        push_comma(&mut out);
        out.push_str("\"m.relations\":");
        out.push_str(relations);
    }
    let membership = personal.membership.map(MembershipState::as_str);
    let strings = [
        ("transaction_id", personal.transaction_id),
        ("org.matrix.msc4140.delay_id", personal.delay_id),
        ("membership", membership.or(own_membership)),
    ];
    for (key, value) in strings {
        if let Some(value) = value {
            push_unsigned_string(&mut out, key, value);
        }
    }
    out.push_str("}}");
    out
}

/// Takes the `membership` off the end of an open `unsigned`.
fn split_membership(object: &str) -> (&str, Option<&str>) {
    let split = || {
        let (rest, membership) = object.strip_suffix('"')?.rsplit_once('"')?;
        let rest = rest.strip_suffix("\"membership\":")?;
        // The key stands at the beginning of `unsigned` or after another key.
        let rest = rest
            .strip_suffix(',')
            .or(rest.ends_with('{').then_some(rest))?;
        Some((rest, Some(membership)))
    };
    split().unwrap_or((object, None))
}

fn push_content_with_redacts(out: &mut String, content: &str, redacts: &EventId) {
    let rest = content.strip_prefix('{').unwrap_or("}");
    out.push_str("{\"redacts\":");
    push_string(out, redacts.as_str());
    if rest != "}" {
        out.push(',');
    }
    out.push_str(rest);
}

fn push_unsigned(out: &mut String, unsigned: &Unsigned<'_>) {
    out.push_str("\"unsigned\":{");
    let texts = [
        ("prev_content", unsigned.prev_content.map(RawValue::get)),
        ("redacted_because", unsigned.redacted_because),
        ("m.relations", unsigned.relations),
    ];
    for (key, json) in texts {
        if let Some(json) = json {
            push_comma(out);
            push_string(out, key);
            out.push(':');
            out.push_str(json);
        }
    }
    let strings = [
        ("prev_sender", unsigned.prev_sender.map(UserId::as_str)),
        (
            "replaces_state",
            unsigned.replaces_state.map(EventId::as_str),
        ),
        ("transaction_id", unsigned.transaction_id),
        (
            "membership",
            unsigned.membership.map(MembershipState::as_str),
        ),
    ];
    for (key, value) in strings {
        if let Some(value) = value {
            push_unsigned_string(out, key, value);
        }
    }
    out.push('}');
}

fn push_unsigned_string(out: &mut String, key: &str, value: &str) {
    push_comma(out);
    push_string(out, key);
    out.push(':');
    push_string(out, value);
}

/// Separates a key from the one before it, unless it is the first of its object.
fn push_comma(out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
}

fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
