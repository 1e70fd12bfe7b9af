//! How a user's unread messages in a room are counted: for most by a subtraction, since their rules
//! say there what the predefined ones say.

use ruma::{RoomId, UserId};

use super::{
    Rule, Rules,
    condition::{Condition, Key, counts},
};

/// What a user's rules make of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What the predefined rules say.
    Predefined,
    /// Mentions, and nothing else.
    Mentions,
    /// Nothing at all.
    Silent,
    /// Something else: each event has to be asked.
    Own,
}

impl Rules {
    /// What the rules make of a room of so many joined members.
    pub fn class(&self, user_id: &UserId, room_id: &RoomId, members: usize) -> Class {
        let members = u64::try_from(members).unwrap_or(u64::MAX);
        let own = self.in_room(room_id, members);
        if own.is_empty() {
            return Class::Silent;
        }
        let predefined = Self::predefined(user_id);
        let usual = predefined.in_room(room_id, members);
        if own == usual {
            return Class::Predefined;
        }
        // The highest rules that are predefined are about mentions and what never notifies; those
        // below are about kinds of events.
        let is_of_kind = |rule: &&InRoom<'_>| rule.notifies && !rule.highlights && !is_invite(rule);
        let highest = usual.iter().take_while(|rule| !is_of_kind(rule)).count();
        let highest = usual.get(..highest).map(without_end);
        if highest.as_deref() == Some(own.as_slice()) {
            Class::Mentions
        } else {
            Class::Own
        }
    }

    /// The rules as they are in one room: without those that cannot match there, without conditions
    /// that always hold there, and without anything after a rule that always matches.
    fn in_room(&self, room_id: &RoomId, members: u64) -> Vec<InRoom<'_>> {
        let mut rules = Vec::new();
        for rule in &self.rules {
            let Some(rule) = InRoom::new(rule, room_id, members) else {
                continue;
            };
            let is_last = rule.conditions.is_empty();
            rules.push(rule);
            if is_last {
                break;
            }
        }
        without_end(&rules)
    }
}

/// Rules without the last ones that only say that nobody is notified: without them nobody is.
fn without_end<'a>(rules: &[InRoom<'a>]) -> Vec<InRoom<'a>> {
    let end = rules.iter().rposition(|rule| rule.notifies);
    let end = end.map_or(0, |last| last + 1);
    rules.get(..end).unwrap_or_default().to_vec()
}

/// The invitation of the user, which is no event of a room that the user is in.
fn is_invite(rule: &InRoom<'_>) -> bool {
    rule.conditions
        .iter()
        .any(|condition| matches!(condition, Condition::Matches(Key::OfState, _)))
}

/// A rule as it is in one room.
#[derive(Clone, Debug, PartialEq)]
struct InRoom<'a> {
    conditions: Vec<&'a Condition>,
    notifies: bool,
    highlights: bool,
}

impl<'a> InRoom<'a> {
    fn new(rule: &'a Rule, room_id: &RoomId, members: u64) -> Option<Self> {
        let mut conditions = Vec::with_capacity(rule.conditions.len());
        for condition in &rule.conditions {
            let holds = match condition {
                Condition::Matches(Key::RoomId, glob) => glob.matches(room_id.as_str()),
                Condition::Is(Key::RoomId, id) => id.as_str() == Some(room_id.as_str()),
                Condition::MemberCount(is) => counts(is, members),
                Condition::Never => false,
                other => {
                    conditions.push(other);
                    continue;
                }
            };
            if !holds {
                return None;
            }
        }
        Some(Self {
            conditions,
            notifies: rule.notifies,
            highlights: rule.notifies && rule.highlights,
        })
    }
}
