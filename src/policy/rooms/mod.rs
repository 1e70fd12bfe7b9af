//! What Tchap says of rooms (tchap.md, 3 and 4): who may make them, be in them, and change them.
//!
//! Everything that happens in a room is an event, so there is one question for all of it:
//! [`RoomPolicy::may_send`], asked for each event of this server before it is built. The table
//! [`CHECKS`] says which rule looks at which type. New rooms have a question of their own,
//! [`RoomPolicy::may_create`], since their state comes in one piece and is completed on the way;
//! and so has the directory, which is no event.
//!
//! A decision may depend on who people are. [`RoomPolicy::needs`] says whom it depends on, so that
//! the caller asks the database once, or not at all: messages and most state depend on nobody.

mod access;
mod create;
mod last_admin;
mod levels;
mod members;
mod people;
mod refusal;
mod restrictions;
mod state;
pub(super) mod third_party;

use std::time::Duration;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, OwnedUserId, ServerName, UserId,
    events::TimelineEventType,
};

pub use self::{
    access::{ACCESS_RULES, AccessRules, Rule, Visibility},
    create::{Creation, Preset, RoomRequest},
    last_admin::Succession,
    people::{People, Standing},
    state::RETENTION_TYPE,
};
use self::{
    members::Pair,
    refusal::{Answer, EXTERNAL_LEVEL, EXTERNAL_USER, INVITES_RESTRICTED},
    restrictions::{Restrictions, is_of},
};
use super::{Decision, OPEN, Policy, Violation};
use crate::{
    config::{policy::Policy as Settings, room_policy},
    event::{Pdu, Room},
};

/// What the rules of rooms follow from, parsed.
#[derive(Clone, Debug)]
pub(super) struct RoomRules {
    external_servers: Vec<OwnedServerName>,
    bypass_users: Vec<OwnedUserId>,
    public_retention_ms: i64,
    allow_visibility_change: bool,
    promote_moderators: bool,
    restrictions: Restrictions,
}

impl RoomRules {
    /// The rules that the settings ask for.
    pub(super) fn new(settings: &Settings) -> Self {
        const DAY: Duration = Duration::from_hours(24);
        let retention = DAY * settings.rooms.public_retention_days;
        Self {
            external_servers: room_policy::servers(&settings.external_servers),
            bypass_users: room_policy::users(&settings.bypass_users),
            public_retention_ms: i64::try_from(retention.as_millis()).unwrap_or(i64::MAX),
            allow_visibility_change: settings.rooms.allow_visibility_change,
            promote_moderators: settings.rooms.promote_moderators,
            restrictions: Restrictions::new(settings),
        }
    }
}

/// An event of which a decision is asked.
#[derive(Clone, Copy, Debug)]
pub struct PlannedEvent<'a> {
    /// The type.
    pub event_type: &'a TimelineEventType,
    /// The state key; `None` for events that are not state.
    pub state_key: Option<&'a str>,
    /// The content.
    pub content: &'a CanonicalJsonObject,
    /// Who sends it.
    pub sender: &'a UserId,
    /// For a redaction, the event that loses its content.
    pub redacts: Option<&'a Pdu>,
}

/// The facts that a decision depends on.
#[derive(Clone, Debug, Default)]
pub struct Needs<'a> {
    /// The users whose standing is needed, some maybe twice.
    pub users: Vec<&'a UserId>,
    /// Whether it is needed to know that the room is in the directory.
    pub publication: bool,
}

/// The facts that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Who the users are.
    pub people: People,
    /// Whether the room is in the directory; `false` where that was not asked for.
    pub is_published: bool,
}

/// One decision about one event.
struct Question<'a> {
    rules: &'a RoomRules,
    server_name: &'a ServerName,
    room: &'a Room,
    access: Option<AccessRules>,
    event: &'a PlannedEvent<'a>,
    people: &'a People,
    is_published: bool,
}

impl Question<'_> {
    /// The rule in force: a room without the event is restricted (tchap.md, 4.1).
    fn rule(&self) -> Rule {
        self.access.map_or(Rule::Restricted, |access| access.rule)
    }

    fn is_public(&self) -> bool {
        self.access.is_some_and(|access| access.is_public())
    }

    fn is_space(&self) -> bool {
        let create = self.room.create_event();
        let content = create.and_then(|create| create.pdu.content_as::<CanonicalJsonObject>());
        let room_type = content.as_ref().and_then(|content| content.get("type"));
        room_type.and_then(CanonicalJsonValue::as_str) == Some(create::SPACE)
    }

    fn is_local_sender(&self) -> bool {
        self.event.sender.server_name() == self.server_name
    }

    fn has_two_people(&self) -> bool {
        Pair::of(self.room).fits()
    }
}

/// What looks at one type of state.
type Check = fn(&Question<'_>) -> Answer;

/// What looks at which type of state. All other state, and all messages, are free.
const CHECKS: &[(&str, Check)] = &[
    (ACCESS_RULES, access::may_change),
    ("m.room.avatar", state::may_set_text),
    ("m.room.encryption", state::may_encrypt),
    ("m.room.guest_access", state::may_set_guest_access),
    (
        "m.room.history_visibility",
        state::may_set_history_visibility,
    ),
    ("m.room.join_rules", state::may_set_join_rules),
    (MEMBER, members::may_change_membership),
    ("m.room.name", state::may_set_text),
    (POWER_LEVELS, levels::may_set),
    (RETENTION_TYPE, state::may_set_retention),
    (THIRD_PARTY_INVITE, members::may_send_third_party_invite),
    ("m.room.topic", state::may_set_text),
];

const MEMBER: &str = "m.room.member";
const POWER_LEVELS: &str = "m.room.power_levels";
const THIRD_PARTY_INVITE: &str = "m.room.third_party_invite";

/// The part of the policy that is about rooms.
#[derive(Clone, Copy, Debug)]
pub struct RoomPolicy<'a>(&'a Policy);

impl Policy {
    /// The rules of rooms.
    pub fn rooms(&self) -> RoomPolicy<'_> {
        RoomPolicy(self)
    }

    /// Whether somebody is an external guest (tchap.md, 3): a user of one of the external servers,
    /// or an account of this server that is `flagged` as external. Nobody is with the profile
    /// `open`.
    pub fn is_external(&self, user_id: &UserId, flagged: bool) -> bool {
        !self.is_open() && (flagged || is_of(user_id, &self.rooms.external_servers))
    }

    /// Who somebody is to the rules of rooms. `flagged` and `is_admin` are of the account, and
    /// `false` for users of other servers.
    pub fn standing(&self, user_id: &UserId, flagged: bool, is_admin: bool) -> Standing {
        let is_listed = || self.rooms.bypass_users.iter().any(|user| user == user_id);
        if is_admin || is_listed() {
            Standing::Exempt
        } else if self.is_external(user_id, flagged) {
            Standing::External
        } else {
            Standing::Agent
        }
    }
}

impl<'p> RoomPolicy<'p> {
    /// What must be known to decide on an event; `None`: nothing, it is allowed.
    pub fn needs<'e>(self, room: &'e Room, event: &PlannedEvent<'e>) -> Option<Needs<'e>> {
        if self.0.is_open() {
            return None;
        }
        let sender_alone = Needs {
            users: vec![event.sender],
            publication: false,
        };
        if let Some(target) = event.redacts {
            let access = AccessRules::of(room);
            let answer = state::may_redact(access.as_ref(), target);
            return answer.is_err().then(Needs::default);
        }
        let state_key = event.state_key?;
        let event_type = event.event_type.to_string();
        let (_, check) = CHECKS.iter().find(|(known, _)| *known == event_type)?;
        match &*event_type {
            MEMBER => self.member_needs(room, event, state_key),
            _ if !state_key.is_empty() && event_type != THIRD_PARTY_INVITE => None,
            ACCESS_RULES | POWER_LEVELS | THIRD_PARTY_INVITE => {
                let mut needs = sender_alone;
                let opens = AccessRules::parse(event.content)
                    .is_some_and(|access| access.rule == Rule::Unrestricted);
                if event_type == ACCESS_RULES && opens {
                    needs.users.extend(access::powerful(room));
                }
                if event_type == POWER_LEVELS {
                    let rule = AccessRules::of(room).map(|access| access.rule);
                    if rule != Some(Rule::Unrestricted) {
                        return None;
                    }
                    // The content outlives the check, and is only read there.
                    needs.users.extend(levels::powerful_users(event.content));
                }
                Some(needs)
            }
            // These depend on nobody, except that some are exempt.
            _ => {
                let facts = Facts::default();
                let answer = check(&self.question(room, event, &facts));
                answer.is_err().then_some(sender_alone)
            }
        }
    }

    fn member_needs<'e>(
        self,
        room: &'e Room,
        event: &PlannedEvent<'e>,
        state_key: &'e str,
    ) -> Option<Needs<'e>> {
        let membership = event.content.get("membership");
        let membership = membership.and_then(CanonicalJsonValue::as_str);
        let is_direct = AccessRules::of(room).is_some_and(|access| access.rule == Rule::Direct);
        let mut needs = Needs {
            users: vec![event.sender],
            publication: false,
        };
        if matches!(membership, Some("leave" | "ban")) {
            return is_direct.then_some(needs);
        }
        let target = <&UserId>::try_from(state_key).ok()?;
        needs.users.push(target);
        needs.users.extend(members::inviter(room, target));
        let restrictions = &self.0.rooms.restrictions;
        needs.publication = membership == Some("invite") && restrictions.keeps_unpublished(target);
        Some(needs)
    }

    /// What is said of an event for which nothing must be known.
    pub fn free(self) -> Decision {
        let rule = if self.0.is_open() { OPEN } else { "4" };
        Decision::Allow { rule }
    }

    /// Whether an event may be sent to a room. `facts` are what [`Self::needs`] asked for.
    pub fn may_send(self, room: &Room, event: &PlannedEvent<'_>, facts: &Facts) -> Decision {
        if self.0.is_open() {
            return Decision::Allow { rule: OPEN };
        }
        // By anybody, so before the exemption.
        if let Some(target) = event.redacts {
            let access = AccessRules::of(room);
            return state::may_redact(access.as_ref(), target).into();
        }
        let event_type = event.event_type.to_string();
        let check = CHECKS.iter().find(|(known, _)| *known == event_type);
        let (Some((_, check)), Some(state_key)) = (check, event.state_key) else {
            return Decision::Allow { rule: "4" };
        };
        let has_keys = matches!(&*event_type, MEMBER | THIRD_PARTY_INVITE);
        if !has_keys && !state_key.is_empty() {
            return Decision::Allow { rule: "4" };
        }
        if facts.people.is_exempt(event.sender) {
            return Decision::Allow { rule: "RO-16" };
        }
        check(&self.question(room, event, facts)).into()
    }

    fn question<'e>(
        self,
        room: &'e Room,
        event: &'e PlannedEvent<'e>,
        facts: &'e Facts,
    ) -> Question<'e>
    where
        'p: 'e,
    {
        Question {
            rules: &self.0.rooms,
            server_name: &self.0.server_name,
            room,
            access: AccessRules::of(room),
            event,
            people: &facts.people,
            is_published: facts.is_published,
        }
    }

    /// Whether a room may be published in the directory by somebody (DIR-01 to DIR-05).
    pub fn may_publish(self, room: &Room, standing: Standing) -> Decision {
        if self.0.is_open() {
            return Decision::Allow { rule: OPEN };
        }
        if standing == Standing::Exempt {
            return Decision::Allow { rule: "RO-16" };
        }
        state::may_publish(room).into()
    }

    /// Whether a room may be replaced by one with these additional creators: by nobody who may make
    /// none (RO-02), and not by one in which externals stand above all levels (RO-11). Its rules are
    /// taken over as they are (UP-01).
    pub fn may_upgrade(
        self,
        room: &Room,
        sender: &UserId,
        creators: &[&UserId],
        people: &People,
    ) -> Decision {
        if self.0.is_open() {
            return Decision::Allow { rule: OPEN };
        }
        if people.is_exempt(sender) {
            return Decision::Allow { rule: "RO-16" };
        }
        if people.is_external(sender) {
            return Decision::Deny(EXTERNAL_USER.forbids("RO-02"));
        }
        let is_open = AccessRules::of(room).is_some_and(|rules| rules.rule == Rule::Unrestricted);
        if is_open && creators.iter().any(|user_id| people.is_external(user_id)) {
            return Decision::Deny(EXTERNAL_LEVEL.forbids("RO-11"));
        }
        Decision::Allow { rule: "UP-01" }
    }

    /// Whether somebody may see the rooms of the directory (RO-09); `None` is somebody who does not
    /// say who they are.
    pub fn may_list_published(&self, standing: Option<Standing>) -> Decision {
        if self.0.is_open() {
            return Decision::Allow { rule: OPEN };
        }
        match standing {
            Some(Standing::Agent | Standing::Exempt) => Decision::Allow { rule: "RO-09" },
            Some(Standing::External) | None => Decision::Deny(EXTERNAL_USER.forbids("RO-09")),
        }
    }

    /// Whether users of one server may invite users of another here, as the restrictions of this
    /// server say: for invites that come from elsewhere (DRC-13).
    pub fn may_be_invited_by(self, sender: &UserId, target: &UserId) -> Decision {
        if self.0.is_open() {
            return Decision::Allow { rule: OPEN };
        }
        let answer = self.0.rooms.restrictions.may_invite(sender, target);
        let answer = answer.map_err(|_| INVITES_RESTRICTED.forbids("DRC-13"));
        answer.into()
    }
}

impl From<Answer> for Decision {
    fn from(answer: Answer) -> Self {
        match answer {
            Ok(rule) => Self::Allow { rule },
            Err(violation) => Self::Deny(violation),
        }
    }
}

impl From<Violation> for Decision {
    fn from(violation: Violation) -> Self {
        Self::Deny(violation)
    }
}
