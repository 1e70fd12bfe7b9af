//! What the state of a room may become: join rules (tchap.md, 4.6), name, encryption, guests,
//! history and the directory (4.9), retention (4.10), and what may not be redacted.

use ruma::{CanonicalJsonObject, CanonicalJsonValue};

use super::{
    Question,
    access::{ACCESS_RULES, AccessRules, Rule},
    refusal::{
        Answer, DIRECT, GUESTS, NOT_LISTED, PROTECTED, PUBLIC, PUBLIC_EXTERNAL, RETENTION,
        UNENCRYPTED, WORLD_READABLE,
    },
};
use crate::event::{Pdu, Room};

/// The type of the event that says how long messages are kept (MSC1763).
pub const RETENTION_TYPE: &str = "m.room.retention";

fn text<'a>(content: &'a CanonicalJsonObject, key: &str) -> Option<&'a str> {
    content.get(key).and_then(CanonicalJsonValue::as_str)
}

/// JR rows. That it needs level 100 is left to the power levels (JR-09).
pub(super) fn may_set_join_rules(question: &Question<'_>) -> Answer {
    let join_rule = text(question.event.content, "join_rule").unwrap_or("invite");
    let is_closed = matches!(join_rule, "invite" | "private");
    match (question.rule(), join_rule) {
        (Rule::Direct, "public") => Err(DIRECT.forbids("JR-01")),
        (Rule::Direct, _) if !is_closed => Err(DIRECT.forbids("JR-08")),
        (Rule::Direct, _) => Ok("JR-08"),
        (_, "public") if question.is_public() => Ok("JR-07"),
        (_, _) if question.is_public() => Err(PUBLIC.forbids("JR-06")),
        (Rule::Unrestricted, "public") => Ok("JR-04"),
        (Rule::Restricted, "public") => Ok("JR-02"),
        (_, "restricted") => Ok("JR-10"),
        (_, _) => Ok("JR-03"),
    }
}

/// NM rows: name, topic and avatar.
pub(super) fn may_set_text(question: &Question<'_>) -> Answer {
    if question.rule() == Rule::Direct {
        Err(DIRECT.forbids("NM-01"))
    } else {
        Ok("NM-02")
    }
}

/// EN rows.
pub(super) fn may_encrypt(question: &Question<'_>) -> Answer {
    if question.is_public() {
        return Err(UNENCRYPTED.forbids("EN-01"));
    }
    if question
        .access
        .is_some_and(|access| access.is_unencrypted())
    {
        return Err(UNENCRYPTED.forbids("EN-02"));
    }
    Ok("EN-03")
}

/// GA-01.
pub(super) fn may_set_guest_access(question: &Question<'_>) -> Answer {
    if text(question.event.content, "guest_access") == Some("can_join") {
        return Err(GUESTS.forbids("GA-01"));
    }
    Ok("GA-01")
}

/// HV-01.
pub(super) fn may_set_history_visibility(question: &Question<'_>) -> Answer {
    if text(question.event.content, "history_visibility") == Some("world_readable") {
        return Err(WORLD_READABLE.forbids("HV-01"));
    }
    Ok("HV-01")
}

/// Whether a retention fits a public room: there is one, of at most `most_ms` milliseconds.
pub(super) fn is_short_retention(content: &CanonicalJsonObject, most_ms: i64) -> bool {
    match content.get("max_lifetime") {
        Some(CanonicalJsonValue::Integer(lifetime)) => {
            (1..=most_ms).contains(&i64::from(*lifetime))
        }
        _ => false,
    }
}

/// RT rows. Other rooms may keep messages as they like.
pub(super) fn may_set_retention(question: &Question<'_>) -> Answer {
    let most_ms = question.rules.public_retention_ms;
    if question.is_public() && !is_short_retention(question.event.content, most_ms) {
        let is_missing = !question.event.content.contains_key("max_lifetime");
        return Err(RETENTION.forbids(if is_missing { "RT-04" } else { "RT-03" }));
    }
    Ok("RT-05")
}

/// Whether an event may be redacted, by anybody: not the access rules (AR-29), and not what limits
/// a public room, since what is left of it says nothing.
pub(super) fn may_redact(access: Option<&AccessRules>, target: &Pdu) -> Answer {
    let event_type = target.event_type().to_string();
    let is_state = target.is_state();
    if is_state && event_type == ACCESS_RULES {
        return Err(PROTECTED.forbids("AR-29"));
    }
    let is_public = access.is_some_and(AccessRules::is_public);
    if is_state && event_type == RETENTION_TYPE && is_public {
        return Err(PROTECTED.forbids("RT-04"));
    }
    Ok("AR-29")
}

/// DIR rows: whether a room may be published in the directory. Taking it out is always allowed
/// (DIR-04).
pub(super) fn may_publish(room: &Room) -> Answer {
    let Some(access) = AccessRules::of(room) else {
        // A room of before: clients take it for a forum where everybody joins and nothing is
        // encrypted.
        let is_forum = matches!(room.join_rule(), ruma::room::JoinRule::Public);
        return if is_forum && !room.is_encrypted() {
            Ok("DIR-01")
        } else {
            Err(NOT_LISTED.forbids("DIR-05"))
        };
    };
    match access.rule {
        Rule::Direct => Err(DIRECT.forbids("DIR-02")),
        Rule::Unrestricted => Err(PUBLIC_EXTERNAL.forbids("DIR-03")),
        Rule::Restricted if access.is_public() => Ok("DIR-01"),
        Rule::Restricted => Err(NOT_LISTED.forbids("DIR-05")),
    }
}
