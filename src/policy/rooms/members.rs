//! Who may be in a room (tchap.md, 4.7, and the rows of 3 about roles): members, and invitations by
//! e-mail as events.
//!
//! People may always leave, and be removed. Whoever is in a room already may change how they show
//! themselves.

use ruma::{
    CanonicalJsonValue, UserId,
    events::{StateEventType, room::member::MembershipState},
};

use super::{
    Question, Standing,
    access::Rule,
    refusal::{
        Answer, DIRECT, EXTERNAL_USER, EXTERNALS_EXCLUDED, INVITE_REQUIRED, INVITES_RESTRICTED,
        JOIN, Refusal, SPACE_EXCLUDES_EXTERNALS,
    },
};
use crate::event::Room;

/// How many members are counted: that a room has more than two is enough to know.
const COUNTED: usize = 3;

/// What a member event does, where rules are about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Invite,
    /// With an invite or without.
    Join {
        invited: bool,
    },
    Knock,
    /// A change of somebody who is in the room already.
    Stay,
    /// Leaving, removal, bans.
    Go,
}

impl Step {
    /// What the event does to the member `target` of the room; `None`: nothing that makes sense.
    pub(super) fn of(room: &Room, target: &UserId, membership: &str) -> Option<Self> {
        let now = room.membership(target);
        match membership {
            "join" if *now == MembershipState::Join => Some(Self::Stay),
            "join" => Some(Self::Join {
                invited: *now == MembershipState::Invite,
            }),
            "invite" => Some(Self::Invite),
            "knock" => Some(Self::Knock),
            "leave" | "ban" => Some(Self::Go),
            _ => None,
        }
    }
}

/// One row: what is done in a room with this rule by or to an external, and the answer.
type Row = (Step, &'static str, Option<&'static Refusal>);

/// What externals may do in a restricted room, a public one among them.
#[rustfmt::skip]
const RESTRICTED: &[Row] = &[
    (Step::Invite,                  "MR-02", Some(&EXTERNALS_EXCLUDED)),
    (Step::Join { invited: true },  "MR-03", Some(&JOIN)),
    (Step::Join { invited: false }, "MR-03", Some(&JOIN)),
    (Step::Knock,                   "RO-17", Some(&JOIN)),
    (Step::Stay,                    "MR-04", None),
    (Step::Go,                      "MR-05", None),
];

/// What externals may do in an unrestricted room. A knock asks for the invite that they need.
#[rustfmt::skip]
const UNRESTRICTED: &[Row] = &[
    (Step::Invite,                  "MU-01", None),
    (Step::Join { invited: true },  "MU-02", None),
    (Step::Join { invited: false }, "MU-03", Some(&JOIN)),
    (Step::Knock,                   "MU-01", None),
    (Step::Stay,                    "MR-04", None),
    (Step::Go,                      "MR-05", None),
];

/// Whether a member event may be sent.
pub(super) fn may_change_membership(question: &Question<'_>) -> Answer {
    let event = question.event;
    let membership = event.content.get("membership");
    let membership = membership.and_then(CanonicalJsonValue::as_str);
    let target = event
        .state_key
        .and_then(|key| <&UserId>::try_from(key).ok());
    let (Some(target), Some(membership)) = (target, membership) else {
        // The authorization rules refuse it.
        return Ok("4.7");
    };
    let Some(step) = Step::of(question.room, target, membership) else {
        return Ok("4.7");
    };
    if is_before_rules(question, target, step) {
        return Ok("4.7");
    }
    let row = match question.rule() {
        Rule::Direct => may_be_in_direct(question, target, step)?,
        rule => may_be_in_room(question, rule, target, step)?,
    };
    may_despite_restrictions(question, target, step)?;
    Ok(row)
}

/// An invite of somebody exempt, and a join after an invite by somebody exempt.
fn is_before_rules(question: &Question<'_>, target: &UserId, step: Step) -> bool {
    let people = question.people;
    match step {
        Step::Invite => people.is_exempt(target),
        Step::Join { invited: true } => {
            inviter(question.room, target).is_some_and(|inviter| people.is_exempt(inviter))
        }
        _ => false,
    }
}

/// Who has invited somebody.
pub(super) fn inviter<'a>(room: &'a Room, target: &UserId) -> Option<&'a UserId> {
    let member = room.member(target)?;
    let is_invite = member.pdu.membership() == Some(&MembershipState::Invite);
    is_invite.then(|| member.pdu.sender())
}

fn may_be_in_room(question: &Question<'_>, rule: Rule, target: &UserId, step: Step) -> Answer {
    let people = question.people;
    if step == Step::Invite && people.is_external(question.event.sender) {
        return Err(EXTERNAL_USER.forbids("RO-12"));
    }
    if step == Step::Go {
        return Ok("MR-05");
    }
    if !people.is_external(target) {
        return Ok(if rule == Rule::Unrestricted {
            "MU-01"
        } else {
            "MR-01"
        });
    }
    let comes = !matches!(step, Step::Stay);
    if comes && question.is_space() {
        return Err(SPACE_EXCLUDES_EXTERNALS.forbids("RO-14"));
    }
    // A public room is for agents, whatever its rule says.
    let is_open = rule == Rule::Unrestricted && !question.is_public();
    let rows = if is_open { UNRESTRICTED } else { RESTRICTED };
    match rows.iter().find(|(known, _, _)| *known == step) {
        Some((_, "MR-02", Some(refusal))) if question.is_public() => Err(refusal.forbids("RO-08")),
        Some((_, row, Some(refusal))) => Err(refusal.forbids(row)),
        Some((_, row, None)) => Ok(row),
        None => Err(JOIN.forbids("MR-03")),
    }
}

/// The same for somebody who shall be invited to a room that is being made, where nobody is yet:
/// CR-31, RO-04 to RO-06, RO-14.
pub(super) fn may_be_invited_first(rule: Rule, is_space: bool, standing: Standing) -> Answer {
    match (rule, standing) {
        (_, Standing::Agent | Standing::Exempt) => Ok("MR-01"),
        (_, Standing::External) if is_space => Err(SPACE_EXCLUDES_EXTERNALS.forbids("RO-14")),
        (Rule::Direct, Standing::External) => Ok("RO-04"),
        (Rule::Unrestricted, Standing::External) => Ok("RO-06"),
        (Rule::Restricted, Standing::External) => Err(EXTERNALS_EXCLUDED.forbids("CR-31")),
    }
}

/// The people of a direct chat: those who ever were members, at most three of them, and the open
/// invitations by e-mail.
pub(super) struct Pair<'a> {
    members: Vec<&'a str>,
    tokens: Vec<&'a str>,
}

impl<'a> Pair<'a> {
    pub(super) fn of(room: &'a Room) -> Self {
        let keys = |event_type: StateEventType, most: usize| -> Vec<&'a str> {
            let events = room.state_of_type(&event_type);
            let alive = events.filter(|event| event.pdu.content_str() != "{}");
            alive
                .filter_map(|event| event.pdu.state_key())
                .take(most)
                .collect()
        };
        Self {
            members: keys(StateEventType::RoomMember, COUNTED),
            tokens: keys(StateEventType::RoomThirdPartyInvite, COUNTED),
        }
    }

    /// Whether the room could be a direct chat (AR-03, AR-04).
    pub(super) fn fits(&self) -> bool {
        self.members.len() <= 2 && self.tokens.len() <= 1
    }
}

/// MD rows. A rejected invite counts as a member (MD-14), as do those who left.
fn may_be_in_direct(question: &Question<'_>, target: &UserId, step: Step) -> Answer {
    let pair = Pair::of(question.room);
    let is_member = pair.members.contains(&target.as_str());
    match (pair.members.len(), step) {
        // Whoever is banned without having been a member would take the second place.
        (_, Step::Go) if is_member => Ok("MD-11"),
        // Not all of them were counted.
        (COUNTED.., Step::Go) => Ok("MD-13"),
        (COUNTED.., _) => Err(DIRECT.forbids("MD-13")),
        (_, _) if is_member => Ok("MD-07"),
        (2, _) | (_, Step::Go) => Err(DIRECT.forbids("MD-08")),
        (1, _) if !pair.tokens.is_empty() => {
            if invited_by_token(question).is_some_and(|token| pair.tokens.contains(&token)) {
                Ok("MD-05")
            } else {
                Err(DIRECT.forbids("MD-06"))
            }
        }
        _ => Ok("MD-01"),
    }
}

/// The token of the invitation by e-mail that a member event follows from.
fn invited_by_token<'a>(question: &Question<'a>) -> Option<&'a str> {
    let invite = question.event.content.get("third_party_invite")?;
    let signed = invite.as_object()?.get("signed")?;
    signed.as_object()?.get("token")?.as_str()
}

/// Whether an `m.room.third_party_invite` event may be sent: an invitation by e-mail, or, with an
/// empty content, its revocation. Whether the address may be invited was decided before (M3 rows).
pub(super) fn may_send_third_party_invite(question: &Question<'_>) -> Answer {
    let event = question.event;
    if event.content.is_empty() {
        return Ok("MD-04");
    }
    let rule = question.rule();
    if rule != Rule::Direct && question.people.is_external(event.sender) {
        return Err(EXTERNAL_USER.forbids("RO-12"));
    }
    let row = match rule {
        Rule::Restricted => "MR-06",
        Rule::Unrestricted => "MU-05",
        Rule::Direct => {
            let pair = Pair::of(question.room);
            let is_known = event
                .state_key
                .is_some_and(|key| pair.tokens.contains(&key));
            match (pair.members.len(), pair.tokens.len()) {
                (2.., _) => return Err(DIRECT.forbids("MD-09")),
                (_, 0) => "MD-02",
                (_, 1) if is_known => "MD-04",
                _ => return Err(DIRECT.forbids("MD-03")),
            }
        }
    };
    if question.is_local_sender() && !question.rules.restrictions.invite_by_email {
        return Err(INVITES_RESTRICTED.forbids("DRC-09"));
    }
    Ok(row)
}

/// What `[policy.restrictions]` adds for the users of this server (DRC rows).
fn may_despite_restrictions(question: &Question<'_>, target: &UserId, step: Step) -> Answer {
    let restrictions = &question.rules.restrictions;
    let sender = question.event.sender;
    match step {
        Step::Invite => {
            restrictions.may_invite(sender, target)?;
            if restrictions.keeps_unpublished(target) && question.is_published {
                return Err(INVITES_RESTRICTED.forbids("DRC-10"));
            }
            // An invitation by e-mail was decided on when it was sent.
            let is_new = invited_by_token(question).is_none();
            if restrictions.invite_at_creation_only && is_new && question.is_local_sender() {
                return Err(INVITES_RESTRICTED.forbids("DRC-08"));
            }
            Ok("DRC-01")
        }
        Step::Join { invited: false }
            if restrictions.join_by_invite_only && question.is_local_sender() =>
        {
            Err(INVITE_REQUIRED.forbids("DRC-04"))
        }
        _ => Ok("DRC-05"),
    }
}
