//! What the predefined rules say of an event, worked out once for all members of a room.

use ruma::{OwnedUserId, UserId, events::TimelineEventType};
use serde::Deserialize;

use crate::event::{Pdu, PowerLevels};

/// The most users whose mention counts in one event.
const MAX_MENTIONS: usize = 50;

/// Whom an event notifies by the predefined rules, its sender apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broadcast {
    /// Whether everybody is notified.
    pub notifies: bool,
    /// Whether everybody is notified with a highlight.
    pub highlights: bool,
    /// Who is notified with a highlight, whatever is said of the others; everybody's is not
    /// repeated here.
    pub mentioned: Vec<OwnedUserId>,
}

/// What an event mentions (client-server API v1.19, "User and room mentions"). What cannot be read
/// mentions nobody.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    msgtype: serde_json::Value,
    #[serde(rename = "m.mentions")]
    mentions: Mentions,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Mentions {
    user_ids: serde_json::Value,
    room: serde_json::Value,
}

impl Broadcast {
    /// Asks the predefined rules, in a room with these power levels before the event.
    pub fn new(pdu: &Pdu, levels: &PowerLevels) -> Self {
        let without_mentions = Self {
            notifies: notifies_by_kind(pdu),
            highlights: is_tombstone(pdu),
            mentioned: Vec::new(),
        };
        // Most events mention nobody, and need no parse. Who joins or leaves mentions nobody.
        if !pdu.content_str().contains("m.mentions")
            || *pdu.event_type() == TimelineEventType::RoomMember
        {
            return without_mentions;
        }
        let Some(content) = pdu.content_as::<Content>() else {
            return without_mentions;
        };
        let is_notice = content.msgtype.as_str().is_some_and(is_notice);
        if is_notice {
            return Self::default();
        }
        let is_room = content.mentions.room.as_bool() == Some(true);
        if is_room && levels.user(pdu.sender()) >= levels.notify_room() {
            return Self {
                notifies: true,
                highlights: true,
                mentioned: Vec::new(),
            };
        }
        Self {
            mentioned: users(&content.mentions.user_ids, pdu.sender()),
            ..without_mentions
        }
    }
}

/// The users that are named, each once.
fn users(named: &serde_json::Value, sender: &UserId) -> Vec<OwnedUserId> {
    let mut users: Vec<OwnedUserId> = Vec::new();
    for name in named.as_array().into_iter().flatten() {
        if users.len() == MAX_MENTIONS {
            break;
        }
        if let Some(Ok(user_id)) = name.as_str().map(UserId::parse)
            && user_id != sender
            && !users.contains(&user_id)
        {
            users.push(user_id);
        }
    }
    users
}

/// Whether everybody is notified of an event for what it is: a message that is neither a notice nor
/// an edit, a call, a poll, the end of the room.
pub fn notifies_by_kind(pdu: &Pdu) -> bool {
    let is_of_kind = match pdu.event_type() {
        TimelineEventType::RoomMessage
        | TimelineEventType::RoomEncrypted
        | TimelineEventType::CallInvite => true,
        other => matches!(
            other.to_string().as_str(),
            "org.matrix.msc3381.poll.start" | "org.matrix.msc3381.poll.end"
        ),
    };
    (is_of_kind && !is_notice_or_edit(pdu)) || is_tombstone(pdu)
}

/// Whether an event that is in a thread notifies whoever has subscribed to it (MSC4306), by the
/// predefined rules: any but those that never notify for what they are.
pub fn notifies_subscribers(pdu: &Pdu) -> bool {
    let is_silent = match pdu.event_type() {
        TimelineEventType::RoomMember | TimelineEventType::Reaction => true,
        TimelineEventType::RoomServerAcl => pdu.state_key() == Some(""),
        other => other.to_string() == "org.matrix.msc3381.poll.response",
    };
    !is_silent && !is_notice_or_edit(pdu)
}

/// The predefined rules match without regard to case.
fn is_notice(msgtype: &str) -> bool {
    msgtype.eq_ignore_ascii_case("m.notice")
}

fn is_tombstone(pdu: &Pdu) -> bool {
    pdu.state_key() == Some("")
        && *pdu.event_type() == TimelineEventType::RoomTombstone
        && !is_notice_or_edit(pdu)
}

fn is_notice_or_edit(pdu: &Pdu) -> bool {
    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Content {
        msgtype: serde_json::Value,
        #[serde(rename = "m.relates_to")]
        relates_to: serde_json::Value,
    }
    // Most messages have neither, and need no parse.
    let text = pdu.content_str();
    if !text.contains("m.relates_to") && !contains_notice(text) {
        return false;
    }
    let Some(content) = pdu.content_as::<Content>() else {
        return false;
    };
    content.msgtype.as_str().is_some_and(is_notice)
        || (!(*pdu.event_type() == TimelineEventType::RoomTombstone && pdu.state_key() == Some(""))
            && content
                .relates_to
                .get("rel_type")
                .and_then(|it| it.as_str())
                == Some("m.replace"))
}

/// Whether the word stands anywhere, in any case.
fn contains_notice(text: &str) -> bool {
    text.as_bytes()
        .windows(b"notice".len())
        .any(|word| word.eq_ignore_ascii_case(b"notice"))
}
