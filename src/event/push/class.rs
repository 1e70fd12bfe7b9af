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

/// How a user's unread messages in a room are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counting {
    /// What the rules make of the room.
    pub class: Class,
    /// Whether messages of threads count by subscription (MSC4306): all in those that the user has
    /// subscribed to, and in others mentions alone. Otherwise they are as those elsewhere.
    pub by_subscription: bool,
}

impl Counting {
    /// How they are counted for who has the predefined rules.
    pub fn predefined(thread_subscriptions: bool) -> Self {
        Self {
            class: Class::Predefined,
            by_subscription: thread_subscriptions,
        }
    }
}

impl Rules {
    /// What the rules make of a room of so many joined members. `thread_subscriptions`: see
    /// [`super::Defaults`].
    pub fn counting(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        members: usize,
        thread_subscriptions: bool,
    ) -> Counting {
        let members = u64::try_from(members).unwrap_or(u64::MAX);
        let place = Place {
            room_id,
            members,
            thread_subscriptions,
        };
        let predefined = Self::predefined(user_id);
        let (of_threads, own) = self.in_room(&place);
        let (usual_of_threads, usual) = predefined.in_room(&place);
        let by_subscription = !of_threads.is_empty();
        let class = if by_subscription && of_threads != usual_of_threads {
            Class::Own
        } else {
            class(&own, &usual)
        };
        Counting {
            class,
            by_subscription,
        }
    }

    /// The rules as they are in one room: without those that cannot match there, without conditions
    /// that always hold there, and without anything after a rule that always matches. Those about
    /// subscriptions to threads, which come in between, and the others.
    fn in_room(&self, place: &Place<'_>) -> (Vec<InRoom<'_>>, Vec<InRoom<'_>>) {
        let mut rules = Vec::new();
        for rule in &self.rules {
            let Some(rule) = InRoom::new(rule, place) else {
                continue;
            };
            let is_last = rule.conditions.is_empty();
            rules.push(rule);
            if is_last {
                break;
            }
        }
        let of_threads = |rule: &InRoom<'_>| matches!(*rule.conditions, [Condition::InThread(_)]);
        let (of_threads, others): (Vec<_>, Vec<_>) = rules.into_iter().partition(of_threads);
        (of_threads, without_end(&others))
    }
}

/// What `own` rules are beside the `usual` ones.
fn class(own: &[InRoom<'_>], usual: &[InRoom<'_>]) -> Class {
    if own.is_empty() {
        return Class::Silent;
    }
    if own == usual {
        return Class::Predefined;
    }
    // The highest rules that are predefined are about mentions and what never notifies; those below
    // are about kinds of events.
    let is_of_kind = |rule: &&InRoom<'_>| rule.notifies && !rule.highlights && !is_invite(rule);
    let highest = usual.iter().take_while(|rule| !is_of_kind(rule)).count();
    let highest = usual.get(..highest).map(without_end);
    if highest.as_deref() == Some(own) {
        Class::Mentions
    } else {
        Class::Own
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

/// A room, as far as rules can be told to match there or not.
struct Place<'a> {
    room_id: &'a RoomId,
    members: u64,
    thread_subscriptions: bool,
}

/// A rule as it is in one room.
#[derive(Clone, Debug, PartialEq)]
struct InRoom<'a> {
    conditions: Vec<&'a Condition>,
    notifies: bool,
    highlights: bool,
}

impl<'a> InRoom<'a> {
    fn new(rule: &'a Rule, place: &Place<'_>) -> Option<Self> {
        let room_id = place.room_id;
        let mut conditions = Vec::with_capacity(rule.conditions.len());
        for condition in &rule.conditions {
            let holds = match condition {
                Condition::Matches(Key::RoomId, glob) => glob.matches(room_id.as_str()),
                Condition::Is(Key::RoomId, id) => id.as_str() == Some(room_id.as_str()),
                Condition::MemberCount(is) => counts(is, place.members),
                Condition::Never => false,
                Condition::InThread(_) if !place.thread_subscriptions => false,
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
