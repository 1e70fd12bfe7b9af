//! Push rules: whether an event notifies somebody, and how.
//!
//! A user's rules are compiled once ([`Rules`]) and asked for many events. For the count of unread
//! messages most users need not be asked at all: what the predefined rules say is worked out once
//! for everybody ([`Broadcast`]), and [`Rules::counting`] says for whom that is right in a room.
//!
//! Client-server API v1.19, "Push Rules".

mod broadcast;
mod class;
mod condition;
mod glob;
mod subject;

use ruma::{
    UserId,
    push::{
        Action, ConditionalPushRule, EventMatchConditionData, HighlightTweakValue,
        PatternedPushRule, PredefinedOverrideRuleId, PredefinedUnderrideRuleId, PushCondition,
        RuleKind, Ruleset, ScalarJsonValue, SimplePushRule, SoundTweakValue, Tweak,
    },
    user_id,
};

pub use self::{
    broadcast::{Broadcast, notifies_by_kind, notifies_subscribers},
    class::{Class, Counting},
    subject::{Reader, Subject},
};
use self::{
    condition::{Condition, Key},
    glob::Glob,
};

/// The most rules of a user that are asked; those after are left alone.
const MAX_RULES: usize = 5_000;

/// A user's rules, in the order in which they are asked.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    conditions: Vec<Condition>,
    actions: Vec<Action>,
    notifies: bool,
    highlights: bool,
}

/// What the rules say of an event that one of them matches.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Whether the user is notified.
    pub notifies: bool,
    /// Whether the event is highlighted.
    pub highlights: bool,
    /// What the rule says, word for word.
    pub actions: &'a [Action],
}

impl Outcome<'_> {
    /// What is said of an event that no rule matches.
    pub const NOTHING: Self = Self {
        notifies: false,
        highlights: false,
        actions: &[],
    };
}

impl Rules {
    /// The rules of a user: `rules` with everything predefined in them. See [`merged`].
    pub fn new(rules: &Ruleset) -> Self {
        let override_ = rules.override_.iter().filter_map(conditional);
        let content = rules.content.iter().filter_map(patterned);
        let in_threads = rules.postcontent.iter().filter_map(conditional);
        let room = rules.room.iter();
        let room = room.filter_map(|rule| simple(rule, Key::RoomId, rule.rule_id.as_str()));
        let sender = rules.sender.iter();
        let sender = sender.filter_map(|rule| simple(rule, Key::Sender, rule.rule_id.as_str()));
        let underride = rules.underride.iter().filter_map(conditional);
        let rules = override_.chain(content).chain(in_threads);
        let rules = rules.chain(room).chain(sender);
        Self {
            rules: rules.chain(underride).take(MAX_RULES).collect(),
        }
    }

    /// The predefined rules, for a user who has no others.
    pub fn predefined(user_id: &UserId) -> Self {
        Self::new(&usual(user_id))
    }

    /// What the rules say of an event of somebody else.
    pub fn ask(&self, subject: &Subject<'_>, reader: &Reader<'_>) -> Outcome<'_> {
        let matching = self.rules.iter().find(|rule| {
            let mut conditions = rule.conditions.iter();
            conditions.all(|condition| condition.holds(subject, reader))
        });
        matching.map_or(Outcome::NOTHING, |rule| Outcome {
            notifies: rule.notifies,
            highlights: rule.notifies && rule.highlights,
            actions: &rule.actions,
        })
    }
}

/// What the operator says of the predefined rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Whether every message makes a sound, as people of Tchap are used to.
    pub noisy: bool,
    /// Whether messages in threads notify whoever has subscribed to the thread, and of others only
    /// whom they mention (MSC4306). Otherwise no condition about subscriptions ever holds.
    pub thread_subscriptions: bool,
}

/// The predefined rules of a user, those of polls (MSC3930) and threads (MSC4306) among them. The
/// latter say nothing where no [`Reader`] has a subscription.
///
/// They name the types of polls' events in `event_match`, as other servers do and clients look for,
/// where ruma has `event_property_is`; both match the same.
pub fn usual(user_id: &UserId) -> Ruleset {
    let in_words_of_clients = |mut rule: ConditionalPushRule| {
        for condition in &mut rule.conditions {
            if let PushCondition::EventPropertyIs(data) = condition
                && data.key == "type"
                && let ScalarJsonValue::String(of_type) = &data.value
            {
                let data = EventMatchConditionData::new("type".to_owned(), of_type.clone());
                *condition = PushCondition::EventMatch(data);
            }
        }
        rule
    };
    let mut rules = Ruleset::server_default(user_id);
    rules.override_ = rules
        .override_
        .into_iter()
        .map(in_words_of_clients)
        .collect();
    rules.underride = rules
        .underride
        .into_iter()
        .map(in_words_of_clients)
        .collect();
    rules
}

/// The predefined rules of a user, as the user is shown them.
pub fn predefined(user_id: &UserId, defaults: Defaults) -> Ruleset {
    let mut rules = usual(user_id);
    if !defaults.thread_subscriptions {
        rules.postcontent.clear();
    }
    if defaults.noisy {
        let loud = || {
            vec![
                Action::Notify,
                Action::SetTweak(Tweak::Sound(SoundTweakValue::Default)),
            ]
        };
        for rule in [
            PredefinedUnderrideRuleId::Message,
            PredefinedUnderrideRuleId::Encrypted,
            // Polls are as messages are.
            PredefinedUnderrideRuleId::PollStart,
            PredefinedUnderrideRuleId::PollEnd,
        ] {
            // A rule that is there can be given actions.
            let _ = rules.set_actions(RuleKind::Underride, rule, loud());
        }
    }
    rules
}

/// The predefined rules but those that name their user.
pub fn of_everybody(defaults: Defaults) -> Ruleset {
    let mut rules = predefined(user_id!("@everybody:invalid"), defaults);
    for rule in [
        PredefinedOverrideRuleId::InviteForMe,
        PredefinedOverrideRuleId::IsUserMention,
    ] {
        // A rule that is there can be turned off.
        let _ = rules.set_enabled(RuleKind::Override, rule, false);
    }
    rules
}

/// A user's rules with those that are predefined now, of which the user's switches and actions are
/// kept.
pub fn merged(mut own: Ruleset, mut predefined: Ruleset) -> Ruleset {
    // ruma leaves these alone. None of them are the user's own.
    let in_threads = std::mem::take(&mut predefined.postcontent);
    let in_threads = in_threads.into_iter().map(|mut rule| {
        if let Some(known) = own.postcontent.get(rule.rule_id.as_str()) {
            rule.enabled = known.enabled;
            rule.actions.clone_from(&known.actions);
        }
        rule
    });
    own.postcontent = in_threads.collect();
    own.update_with_server_default(predefined);
    own
}

fn conditional(rule: &ConditionalPushRule) -> Option<Rule> {
    let conditions = rule.conditions.iter().map(Condition::new).collect();
    rule.enabled.then(|| Rule::new(conditions, &rule.actions))
}

fn patterned(rule: &PatternedPushRule) -> Option<Rule> {
    let condition = Condition::Matches(Key::Body, Glob::new(&rule.pattern));
    rule.enabled
        .then(|| Rule::new(vec![condition], &rule.actions))
}

fn simple<T>(rule: &SimplePushRule<T>, key: Key, id: &str) -> Option<Rule> {
    let condition = Condition::Is(key, serde_json::Value::from(id));
    rule.enabled
        .then(|| Rule::new(vec![condition], &rule.actions))
}

impl Rule {
    fn new(conditions: Vec<Condition>, actions: &[Action]) -> Self {
        let highlight = |action: &Action| {
            let Action::SetTweak(Tweak::Highlight(value)) = action else {
                return None;
            };
            Some(*value == HighlightTweakValue::Yes)
        };
        Self {
            notifies: actions
                .iter()
                .any(|action| matches!(action, Action::Notify)),
            highlights: actions.iter().find_map(highlight).unwrap_or(false),
            actions: actions.to_vec(),
            conditions,
        }
    }
}
