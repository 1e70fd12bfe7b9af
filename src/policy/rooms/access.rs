//! The state event `im.vector.room.access_rules` (tchap.md, 4.1), and how it may change (4.5).

use ruma::{CanonicalJsonObject, CanonicalJsonValue, UserId, events::StateEventType};

use super::{
    Question,
    refusal::{
        Answer, BAD_RULES, DEFAULT_LEVEL, DIRECT, EXTERNAL_LEVEL, FLAG_FIXED, PUBLIC_EXTERNAL,
        RULE_FIXED, Refusal, SPACE_EXCLUDES_EXTERNALS, VISIBILITY_FIXED,
    },
};
use crate::event::Room;

/// The type of the event.
pub const ACCESS_RULES: &str = "im.vector.room.access_rules";

/// Who may be in a room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    /// Two people, whoever they are.
    Direct,
    /// Agents.
    Restricted,
    /// Agents, and externals with an invite.
    Unrestricted,
}

impl Rule {
    /// The rule of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "direct" => Some(Self::Direct),
            "restricted" => Some(Self::Restricted),
            "unrestricted" => Some(Self::Unrestricted),
            _ => None,
        }
    }

    /// The rule of a new room whose request says none (CR-03, CR-04).
    pub const fn implied(is_direct: bool) -> Self {
        if is_direct {
            Self::Direct
        } else {
            Self::Restricted
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Restricted => "restricted",
            Self::Unrestricted => "unrestricted",
        }
    }
}

/// Whether a room is a public forum, or a private room that may have a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Visibility {
    /// For all agents, in the directory.
    Public,
    /// For those who are invited or have the link.
    Private,
}

impl Visibility {
    /// The visibility of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "public" => Some(Self::Public),
            "private" => Some(Self::Private),
            _ => None,
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// The access rules of a room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AccessRules {
    /// Who may be in it.
    pub rule: Rule,
    /// Whether it is a public forum. `None`: the event does not say, which means private.
    pub visibility: Option<Visibility>,
    /// Whether its creator chose a private room without encryption. `None`: the event does not
    /// say, which means no.
    pub force_unencrypted: Option<bool>,
}

impl AccessRules {
    /// The rules of a room; `None`: there is no such event. What cannot be understood is the
    /// narrowest: restricted and private.
    pub fn of(room: &Room) -> Option<Self> {
        let event = room.state_event(&StateEventType::from(ACCESS_RULES), "")?;
        let content: CanonicalJsonObject = event.pdu.content_as().unwrap_or_default();
        let text = |key: &str| content.get(key).and_then(CanonicalJsonValue::as_str);
        Some(Self {
            rule: text("rule")
                .and_then(Rule::parse)
                .unwrap_or(Rule::Restricted),
            visibility: text("visibility").and_then(Visibility::parse),
            force_unencrypted: match content.get("force_unencrypted_at_creation") {
                Some(CanonicalJsonValue::Bool(flag)) => Some(*flag),
                _ => None,
            },
        })
    }

    /// The rules that a new event says: all that it says must be understood. Other keys are
    /// ignored (AR-30). `None`: the event is not valid.
    pub(super) fn parse(content: &CanonicalJsonObject) -> Option<Self> {
        let rule = content.get("rule")?.as_str().and_then(Rule::parse)?;
        let visibility = match content.get("visibility") {
            None => None,
            Some(visibility) => Some(visibility.as_str().and_then(Visibility::parse)?),
        };
        let force_unencrypted = match content.get("force_unencrypted_at_creation") {
            None => None,
            Some(CanonicalJsonValue::Bool(flag)) => Some(*flag),
            Some(_) => return None,
        };
        Some(Self {
            rule,
            visibility,
            force_unencrypted,
        })
    }

    /// Whether this is a public forum.
    pub fn is_public(&self) -> bool {
        self.visibility == Some(Visibility::Public)
    }

    /// Whether this is a private room that shall stay without encryption.
    pub fn is_unencrypted(&self) -> bool {
        self.force_unencrypted == Some(true)
    }
}

/// When a change of the rule is allowed.
#[derive(Clone, Copy)]
enum When {
    Always,
    Never,
    /// With at most two people who ever were members, and one invitation by e-mail.
    TwoPeople,
    /// In a room that is no public forum.
    Private,
}

/// One row: the rule before (`None`: no event), the rule after, when it is allowed, the row that
/// then allows it, and the row and the words of the refusal otherwise.
type Change = (
    Option<Rule>,
    Rule,
    When,
    &'static str,
    (&'static str, &'static Refusal),
);

/// How the rule may change. What does not stand here is refused.
#[rustfmt::skip]
const CHANGES: &[Change] = {
    use {Rule::{Direct, Restricted, Unrestricted}, When::{Always, Never, Private, TwoPeople}};
    &[
        (None,               Restricted,   Always,    "AR-02", ("AR-01", &BAD_RULES)),
        (None,               Unrestricted, Always,    "AR-02", ("AR-01", &BAD_RULES)),
        (None,               Direct,       TwoPeople, "AR-03", ("AR-04", &DIRECT)),
        (Some(Restricted),   Restricted,   Always,    "AR-05", ("AR-01", &BAD_RULES)),
        (Some(Restricted),   Unrestricted, Private,   "AR-08", ("AR-09", &PUBLIC_EXTERNAL)),
        (Some(Restricted),   Direct,       Never,     "AR-10", ("AR-10", &RULE_FIXED)),
        (Some(Unrestricted), Unrestricted, Always,    "AR-06", ("AR-01", &BAD_RULES)),
        (Some(Unrestricted), Restricted,   Never,     "AR-11", ("AR-11", &RULE_FIXED)),
        (Some(Unrestricted), Direct,       Never,     "AR-11", ("AR-11", &RULE_FIXED)),
        (Some(Direct),       Direct,       TwoPeople, "AR-07", ("AR-04", &DIRECT)),
        (Some(Direct),       Restricted,   Never,     "AR-13", ("AR-13", &RULE_FIXED)),
        (Some(Direct),       Unrestricted, Never,     "AR-13", ("AR-13", &RULE_FIXED)),
    ]
};

/// Whether the access rules may become those of the event: the rule, then the flag, then the
/// visibility (tchap.md, 4.5). That it needs level 100 is left to the power levels (AR-16).
pub(super) fn may_change(question: &Question<'_>) -> Answer {
    let Some(after) = AccessRules::parse(question.event.content) else {
        return Err(BAD_RULES.forbids("AR-01"));
    };
    let row = may_change_rule(question, after)?;
    may_change_flag(question, after)?;
    may_change_visibility(question, after)?;
    Ok(row)
}

fn may_change_rule(question: &Question<'_>, after: AccessRules) -> Answer {
    let before = question.access.map(|access| access.rule);
    let fits = |change: &&Change| change.0 == before && change.1 == after.rule;
    let Some((_, _, when, allowing, (refusing, refusal))) = CHANGES.iter().find(fits) else {
        return Err(RULE_FIXED.forbids("AR-01"));
    };
    let is_allowed = match when {
        When::Always => true,
        When::Never => false,
        When::TwoPeople => question.has_two_people(),
        When::Private => !question.is_public(),
    };
    if !is_allowed {
        return Err(refusal.forbids(refusing));
    }
    if after.rule == Rule::Unrestricted && before != Some(Rule::Unrestricted) {
        may_open(question)?;
    }
    Ok(allowing)
}

/// Whether a room may be opened to externals as far as its kind and its power levels go: what an
/// open room could not be given, it cannot bring along (PL-07); spaces stay closed (RO-14).
fn may_open(question: &Question<'_>) -> Result<(), crate::policy::Violation> {
    if question.is_space() {
        return Err(SPACE_EXCLUDES_EXTERNALS.forbids("RO-14"));
    }
    let levels = question.room.power_levels();
    if i64::from(levels.users_default()) != 0 {
        return Err(DEFAULT_LEVEL.forbids("PL-07"));
    }
    match powerful(question.room).find(|user_id| question.people.is_external(user_id)) {
        Some(_) => Err(EXTERNAL_LEVEL.forbids("PL-07")),
        None => Ok(()),
    }
}

/// The users of a room with a level other than 0.
pub(super) fn powerful(room: &Room) -> impl Iterator<Item = &UserId> {
    let levels = room.power_levels();
    let named = levels.users().filter(|(_, level)| i64::from(*level) != 0);
    levels
        .infinite_users()
        .chain(named.map(|(user_id, _)| user_id))
}

/// AR-20 to AR-22 and AR-26: a private room without encryption is one from the beginning, and stays
/// one; a client must say so again with every change.
fn may_change_flag(question: &Question<'_>, after: AccessRules) -> Answer {
    match (question.access, after.force_unencrypted) {
        (None, Some(true)) if question.is_local_sender() => Err(FLAG_FIXED.forbids("AR-26")),
        (None, _) => Ok("AR-27"),
        (Some(before), Some(true)) if !before.is_unencrypted() => Err(FLAG_FIXED.forbids("AR-20")),
        (Some(before), None | Some(false)) if before.is_unencrypted() => {
            Err(FLAG_FIXED.forbids("AR-21"))
        }
        (Some(_), _) => Ok("AR-22"),
    }
}

/// AR-23 to AR-28: a room stays what it is.
fn may_change_visibility(question: &Question<'_>, after: AccessRules) -> Answer {
    if question.rules.allow_visibility_change {
        return Ok("AR-28");
    }
    match (question.access, after.is_public()) {
        (None, true) if question.is_local_sender() => Err(VISIBILITY_FIXED.forbids("AR-26")),
        (None, _) => Ok("AR-27"),
        (Some(before), true) if !before.is_public() => Err(VISIBILITY_FIXED.forbids("AR-23")),
        (Some(before), false) if before.is_public() => Err(VISIBILITY_FIXED.forbids("AR-24")),
        (Some(_), _) => Ok("AR-25"),
    }
}
