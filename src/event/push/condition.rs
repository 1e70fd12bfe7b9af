//! Conditions. One that is not known, or cannot be read, never holds.

use ruma::push::{PushCondition, RoomMemberCountIs, ScalarJsonValue};
use serde_json::Value;

use super::{
    glob::{self, Glob},
    subject::{Reader, Subject},
};

/// The greatest integer of canonical JSON; the least is its negative.
const MAX_INTEGER: i64 = (1 << 53) - 1;

/// A condition, ready to be asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// `event_match`.
    Matches(Key, Glob),
    /// `event_property_is`.
    Is(Key, Value),
    /// `event_property_contains`.
    Contains(Key, Value),
    /// `contains_display_name`.
    ContainsDisplayName,
    /// `room_member_count`.
    MemberCount(RoomMemberCountIs),
    /// `sender_notification_permission`.
    SenderMayNotify(String),
    /// `thread_subscription` (MSC4306): in a thread that the reader has subscribed to, or has not.
    InThread(bool),
    /// Anything else.
    Never,
}

/// A place in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Type,
    RoomId,
    Sender,
    /// `state_key`.
    OfState,
    EventId,
    /// `content.body`, which is matched by words.
    Body,
    /// A path in the content.
    Content(Vec<String>),
    /// A path in the whole event.
    Whole(Vec<String>),
}

impl Key {
    /// Reads a dot-separated path (appendices v1.19, "Dot-separated property paths").
    fn new(path: &str) -> Self {
        match path {
            "type" => return Self::Type,
            "room_id" => return Self::RoomId,
            "sender" => return Self::Sender,
            "state_key" => return Self::OfState,
            "event_id" => return Self::EventId,
            "content.body" => return Self::Body,
            _ => {}
        }
        let mut names = split(path);
        if names.len() > 1 && names.first().is_some_and(|first| first == "content") {
            names.remove(0);
            Self::Content(names)
        } else {
            Self::Whole(names)
        }
    }
}

/// Splits at dots; a backslash before a dot or a backslash takes its meaning away.
fn split(path: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut letters = path.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '.' {
            names.push(String::new());
            continue;
        }
        let Some(name) = names.last_mut() else { break };
        if letter == '\\'
            && let Some(escaped) = letters.next_if(|next| matches!(next, '.' | '\\'))
        {
            name.push(escaped);
        } else {
            name.push(letter);
        }
    }
    names
}

impl Condition {
    pub(super) fn new(condition: &PushCondition) -> Self {
        match condition {
            PushCondition::EventMatch(data) => {
                Self::Matches(Key::new(&data.key), Glob::new(&data.pattern))
            }
            #[expect(deprecated, reason = "users may have rules from before")]
            PushCondition::ContainsDisplayName => Self::ContainsDisplayName,
            PushCondition::RoomMemberCount(data) => Self::MemberCount(data.is),
            PushCondition::SenderNotificationPermission(data) => {
                Self::SenderMayNotify(data.key.to_string())
            }
            PushCondition::EventPropertyIs(data) => {
                Self::Is(Key::new(&data.key), scalar(&data.value))
            }
            PushCondition::EventPropertyContains(data) => {
                Self::Contains(Key::new(&data.key), scalar(&data.value))
            }
            PushCondition::ThreadSubscription(data) => Self::InThread(data.subscribed),
            _ => Self::Never,
        }
    }

    pub(super) fn holds(&self, subject: &Subject<'_>, reader: &Reader<'_>) -> bool {
        match self {
            Self::Matches(key @ Key::Body, glob) => {
                subject.text(key, |body| glob.matches_words(body))
            }
            Self::Matches(key, glob) => subject.text(key, |text| glob.matches(text)),
            Self::Is(key, value) => match (subject.value(key), value) {
                (Some(found), value) => is_scalar(found) && found == value,
                (None, Value::String(value)) => subject.text(key, |text| text == value),
                (None, _) => false,
            },
            Self::Contains(key, value) => subject
                .value(key)
                .and_then(Value::as_array)
                .is_some_and(|found| found.iter().any(|found| is_scalar(found) && found == value)),
            Self::ContainsDisplayName => reader
                .display_name
                .filter(|name| !name.trim().is_empty())
                .is_some_and(|name| {
                    subject.text(&Key::Body, |body| glob::contains_words(body, name))
                }),
            Self::MemberCount(is) => counts(is, subject.member_count()),
            Self::SenderMayNotify(name) => subject.sender_may_notify(name),
            Self::InThread(subscribed) => reader.subscribed == Some(*subscribed),
            Self::Never => false,
        }
    }
}

/// Whether a room of so many members is meant.
pub(super) fn counts(is: &RoomMemberCountIs, members: u64) -> bool {
    use ruma::push::ComparisonOperator as Operator;

    let count = u64::from(is.count);
    match is.prefix {
        Operator::Eq => members == count,
        Operator::Lt => members < count,
        Operator::Gt => members > count,
        Operator::Ge => members >= count,
        Operator::Le => members <= count,
    }
}

fn scalar(value: &ScalarJsonValue) -> Value {
    match value {
        ScalarJsonValue::Null => Value::Null,
        ScalarJsonValue::Bool(value) => Value::from(*value),
        ScalarJsonValue::Integer(value) => Value::from(i64::from(*value)),
        ScalarJsonValue::String(value) => Value::from(value.as_str()),
    }
}

/// Whether a value is one of those that are compared: no object, no array, no fraction.
fn is_scalar(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => number
            .as_i64()
            .is_some_and(|number| (-MAX_INTEGER..=MAX_INTEGER).contains(&number)),
        Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn paths_are_split_at_dots_that_are_not_escaped() {
        let cases: [(&str, &[&str]); 6] = [
            ("content.body", &["content", "body"]),
            (
                r"content.m\.mentions.room",
                &["content", "m.mentions", "room"],
            ),
            (r"a\\.b", &[r"a\", "b"]),
            (r"a\x.b", &[r"a\x", "b"]),
            ("", &[""]),
            ("a..b", &["a", "", "b"]),
        ];
        for (path, expected) in cases {
            assert_eq!(split(path), expected, "{path}");
        }
    }
}
