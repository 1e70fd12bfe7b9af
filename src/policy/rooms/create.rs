//! New rooms (tchap.md, 4.4): whether somebody may make one like this, and what it gets on the way.
//!
//! The checks run in the order of the table [`CHECKS`], the first refusal stands. Nothing is stored
//! before all of them have passed, so a refused request leaves nothing behind.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, Int, OwnedUserId, UserId, events::StateEventType,
};

use super::{
    People, RoomPolicy, Standing,
    access::{ACCESS_RULES, AccessRules, Rule, Visibility},
    levels::{self, Fault},
    members,
    refusal::{
        Answer, BAD_RULES, BAD_VISIBILITY, CREATION_RESTRICTED, DEFAULT_LEVEL, DIRECT,
        EXTERNAL_LEVEL, EXTERNAL_USER, INVITES_RESTRICTED, LOW_LEVEL, NOT_DIRECT, PUBLIC_EXTERNAL,
        RETENTION, SPACE_EXCLUDES_EXTERNALS, UNENCRYPTED,
    },
    state::{self, RETENTION_TYPE},
};
use crate::{event::Draft, policy::OPEN, policy::Violation};

/// The room type of spaces.
pub(super) const SPACE: &str = "m.space";
/// How messages are encrypted.
const ALGORITHM: &str = "m.megolm.v1.aes-sha2";

/// A preset of `createRoom`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Preset {
    /// For those who are invited.
    PrivateChat,
    /// The same, and those who are invited at once have the creator's level.
    TrustedPrivateChat,
    /// For everybody.
    PublicChat,
}

/// The room that somebody asks for.
#[derive(Clone, Copy, Debug)]
pub struct RoomRequest<'a> {
    /// Who asks.
    pub creator: &'a UserId,
    /// The preset, if the request names one.
    pub preset: Option<Preset>,
    /// The visibility, if the request names one.
    pub visibility: Option<Visibility>,
    /// Whether it shall be a direct chat.
    pub is_direct: bool,
    /// The type of the room, such as `m.space`.
    pub room_type: Option<&'a str>,
    /// Whether name, topic or avatar are asked for outside of `initial_state`.
    pub has_text: bool,
    /// Who is invited: nobody twice, and not the creator.
    pub invite: &'a [OwnedUserId],
    /// How many are invited by e-mail.
    pub invited_addresses: usize,
    /// The initial state: nothing twice.
    pub initial_state: &'a [Draft],
    /// What shall be put on the power levels.
    pub power_levels: Option<&'a CanonicalJsonObject>,
    /// Who stands above all levels beside the creator (from room version 12 on).
    pub creators: &'a [OwnedUserId],
    /// Whether the creator does (from room version 12 on).
    pub has_infinite_creators: bool,
}

/// What a new room gets.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The rule that decided.
    pub rule: &'static str,
    /// State that takes the place of what the request, or its preset, says of the same type.
    pub state: Vec<Draft>,
}

impl<'a> RoomRequest<'a> {
    /// The users whose standing the decision depends on, some maybe twice.
    pub fn users(&self) -> Vec<&'a UserId> {
        let mut users = vec![self.creator];
        users.extend(self.invite.iter().map(|user_id| &**user_id));
        users.extend(self.creators.iter().map(|user_id| &**user_id));
        let initial = self.initial(&StateEventType::RoomPowerLevels);
        for content in initial.into_iter().chain(self.power_levels) {
            users.extend(levels::powerful_users(content));
        }
        users
    }

    /// The content of a type with an empty state key in the initial state.
    fn initial(&self, event_type: &StateEventType) -> Option<&'a CanonicalJsonObject> {
        let wanted = event_type.to_string();
        let fits = |draft: &&Draft| {
            draft.state_key.as_deref() == Some("") && draft.event_type.to_string() == wanted
        };
        let draft = self.initial_state.iter().find(fits)?;
        Some(&draft.content)
    }
}

/// A request with what follows from it.
struct Asked<'a> {
    policy: RoomPolicy<'a>,
    request: &'a RoomRequest<'a>,
    people: &'a People,
    /// The preset in force: a public room without a preset is a public chat.
    is_public_chat: bool,
    join_rule: &'a str,
    visibility: Visibility,
    /// What the request says of the access rules.
    given: Option<&'a CanonicalJsonObject>,
    rule: Rule,
    force_unencrypted: bool,
    levels: CanonicalJsonObject,
}

/// What is checked of a new room, in order.
const CHECKS: &[fn(&Asked<'_>) -> Answer] = &[
    check_creator,
    check_rule,
    check_visibility,
    check_kind,
    check_encryption,
    check_invites,
    check_levels,
    check_retention,
];

impl RoomPolicy<'_> {
    /// Whether somebody may make a room like this, and what it gets on the way. `people` are
    /// [`RoomRequest::users`].
    pub fn may_create(
        self,
        request: &RoomRequest<'_>,
        people: &People,
    ) -> Result<Creation, Violation> {
        if self.0.is_open() {
            return Ok(Creation {
                rule: OPEN,
                state: Vec::new(),
            });
        }
        if people.is_exempt(request.creator) {
            return Ok(Creation {
                rule: "CR-01",
                state: Vec::new(),
            });
        }
        let asked = Asked::new(self, request, people);
        for check in CHECKS {
            check(&asked)?;
        }
        Ok(Creation {
            rule: "CR-03",
            state: asked.additions(),
        })
    }
}

impl<'a> Asked<'a> {
    fn new(policy: RoomPolicy<'a>, request: &'a RoomRequest<'a>, people: &'a People) -> Self {
        let is_public_chat = match request.preset {
            Some(preset) => preset == Preset::PublicChat,
            None => request.visibility == Some(Visibility::Public),
        };
        let default = if is_public_chat { "public" } else { "invite" };
        let join_rules = request.initial(&StateEventType::RoomJoinRules);
        let join_rule = join_rules.and_then(|content| text(content, "join_rule"));
        let join_rule = join_rule.unwrap_or(default);
        // CR-11: a public chat that says no more is a public room.
        let implied = if is_public_chat && join_rule == "public" {
            Visibility::Public
        } else {
            Visibility::Private
        };
        let given = request.initial(&StateEventType::from(ACCESS_RULES));
        let rule = given.and_then(|given| text(given, "rule"));
        let flag = given.and_then(|given| given.get("force_unencrypted_at_creation"));
        let creator = OwnedUserId::from(request.creator);
        let trusted: &[_] = match request.preset {
            Some(Preset::TrustedPrivateChat) => request.invite,
            _ => &[],
        };
        let has_infinite = request.has_infinite_creators;
        let leading = std::iter::once(&creator).chain(trusted);
        let leading = leading.filter(|_| !has_infinite);
        let mut levels = levels::defaults(is_public_chat, leading, has_infinite);
        let initial = request.initial(&StateEventType::RoomPowerLevels);
        for over in initial.into_iter().chain(request.power_levels) {
            levels::merge(&mut levels, over);
        }
        Self {
            policy,
            request,
            people,
            is_public_chat,
            join_rule,
            visibility: request.visibility.unwrap_or(implied),
            given,
            rule: rule
                .and_then(Rule::parse)
                .unwrap_or(Rule::implied(request.is_direct)),
            force_unencrypted: flag == Some(&CanonicalJsonValue::Bool(true)),
            levels,
        }
    }

    fn is_space(&self) -> bool {
        self.request.room_type == Some(SPACE)
    }

    fn is_public(&self) -> bool {
        self.visibility == Visibility::Public
    }

    /// Whether people join without an invite.
    fn is_open(&self) -> bool {
        self.is_public_chat || self.join_rule == "public"
    }

    fn initial(&self, event_type: &StateEventType) -> Option<&'a CanonicalJsonObject> {
        self.request.initial(event_type)
    }

    /// The state that the room gets.
    fn additions(self) -> Vec<Draft> {
        let mut state = vec![draft(
            StateEventType::from(ACCESS_RULES),
            self.access_rules(),
        )];
        let history = self.history_visibility();
        let history = one("history_visibility", history);
        state.push(draft(StateEventType::RoomHistoryVisibility, history));
        // GA-01: clients that ask for guests by habit shall make rooms all the same.
        let guests = one("guest_access", "forbidden");
        state.push(draft(StateEventType::RoomGuestAccess, guests));
        if self.adds_encryption() {
            let content = one("algorithm", ALGORITHM);
            state.push(draft(StateEventType::RoomEncryption, content));
        }
        let retention = StateEventType::from(RETENTION_TYPE);
        if self.is_public() && self.initial(&retention).is_none() {
            state.push(draft(retention, self.retention()));
        }
        state.push(draft(StateEventType::RoomPowerLevels, self.levels));
        state
    }

    /// CR-03, CR-04, CR-10, CR-11: what the request says, with rule and visibility.
    fn access_rules(&self) -> CanonicalJsonObject {
        let mut content = self.given.cloned().unwrap_or_default();
        for (key, value) in [
            ("rule", self.rule.as_str()),
            ("visibility", self.visibility.as_str()),
        ] {
            content.insert(key.to_owned(), string(value));
        }
        content
    }

    /// CR-20, CR-21. A history that everybody can read becomes `shared` (HV-01): older clients ask
    /// for it when they make a forum.
    fn history_visibility(&self) -> &'a str {
        let given = self.initial(&StateEventType::RoomHistoryVisibility);
        let given = given.and_then(|content| text(content, "history_visibility"));
        match given {
            Some("world_readable") => "shared",
            Some(given) => given,
            None if self.is_open() => "shared",
            None => "invited",
        }
    }

    /// CR-14 to CR-19, and CR-30 for spaces, which hold no messages.
    fn adds_encryption(&self) -> bool {
        let is_given = self.initial(&StateEventType::RoomEncryption).is_some();
        let is_declined =
            self.force_unencrypted && self.request.preset == Some(Preset::PrivateChat);
        !is_given && !is_declined && !self.is_open() && !self.is_public() && !self.is_space()
    }

    /// CR-32.
    fn retention(&self) -> CanonicalJsonObject {
        let most = self.policy.0.rooms.public_retention_ms;
        let most = Int::try_from(most).unwrap_or(Int::MAX);
        let key = "max_lifetime".to_owned();
        CanonicalJsonObject::from([(key, CanonicalJsonValue::Integer(most))])
    }
}

/// CR-02, and DRC-12 for servers that allow only chats of two.
fn check_creator(asked: &Asked<'_>) -> Answer {
    let request = asked.request;
    if asked.people.is_external(request.creator) {
        return Err(EXTERNAL_USER.forbids("CR-02"));
    }
    let invited = request.invite.len() + request.invited_addresses;
    if asked.policy.0.rooms.restrictions.create_one_to_one_only && invited != 1 {
        return Err(CREATION_RESTRICTED.forbids("DRC-12"));
    }
    Ok("CR-03")
}

/// CR-05 to CR-08.
fn check_rule(asked: &Asked<'_>) -> Answer {
    let Some(given) = asked.given else {
        return Ok("CR-03");
    };
    let is_direct = asked.request.is_direct;
    let Some(rule) = text(given, "rule") else {
        return Err(BAD_RULES.invalidates("CR-05"));
    };
    match Rule::parse(rule) {
        None => Err(BAD_RULES.invalidates("CR-06")),
        Some(Rule::Restricted | Rule::Unrestricted) if is_direct => {
            Err(NOT_DIRECT.invalidates("CR-07"))
        }
        Some(Rule::Direct) if !is_direct => Err(NOT_DIRECT.invalidates("CR-08")),
        // The rest must be understood too, since it is for ever.
        Some(_) if AccessRules::parse(given).is_none() => Err(BAD_RULES.invalidates("CR-06")),
        Some(_) => Ok("CR-03"),
    }
}

/// CR-09.
fn check_visibility(asked: &Asked<'_>) -> Answer {
    let given = asked.given.and_then(|given| text(given, "visibility"));
    match given {
        Some(given) if given != asked.visibility.as_str() => {
            Err(BAD_VISIBILITY.invalidates("CR-09"))
        }
        _ => Ok("CR-10"),
    }
}

/// CR-12 and CR-13, and for new rooms what NM-01, JR-08 and RO-14 say of others.
fn check_kind(asked: &Asked<'_>) -> Answer {
    let is_closed = matches!(asked.join_rule, "invite" | "private");
    let texts = [
        StateEventType::RoomName,
        StateEventType::RoomTopic,
        StateEventType::RoomAvatar,
    ];
    match asked.rule {
        Rule::Direct if asked.is_open() || asked.is_public() => Err(DIRECT.invalidates("CR-12")),
        Rule::Direct if !is_closed => Err(DIRECT.invalidates("JR-08")),
        Rule::Direct
            if asked.request.has_text || texts.iter().any(|kind| asked.initial(kind).is_some()) =>
        {
            Err(DIRECT.invalidates("NM-01"))
        }
        Rule::Unrestricted if asked.is_public() => Err(PUBLIC_EXTERNAL.invalidates("CR-13")),
        Rule::Unrestricted if asked.is_space() => {
            Err(SPACE_EXCLUDES_EXTERNALS.invalidates("RO-14"))
        }
        _ => Ok("CR-12"),
    }
}

/// CR-19.
fn check_encryption(asked: &Asked<'_>) -> Answer {
    let is_given = asked.initial(&StateEventType::RoomEncryption).is_some();
    if asked.is_public() && is_given {
        return Err(UNENCRYPTED.invalidates("CR-19"));
    }
    Ok("CR-19")
}

/// CR-31: who is invited along, as by an invite later.
fn check_invites(asked: &Asked<'_>) -> Answer {
    let request = asked.request;
    if asked.rule == Rule::Direct && request.invite.len() + request.invited_addresses > 1 {
        return Err(DIRECT.forbids("MD-08"));
    }
    let restrictions = &asked.policy.0.rooms.restrictions;
    for user_id in request.invite {
        let standing = asked.people.standing(user_id);
        members::may_be_invited_first(asked.rule, asked.is_space(), standing)?;
        if standing == Standing::Exempt {
            continue;
        }
        restrictions.may_invite(request.creator, user_id)?;
        if asked.request.visibility == Some(Visibility::Public)
            && restrictions.keeps_unpublished(user_id)
        {
            return Err(INVITES_RESTRICTED.forbids("DRC-10"));
        }
    }
    if request.invited_addresses > 0 && !restrictions.invite_by_email {
        return Err(INVITES_RESTRICTED.forbids("DRC-09"));
    }
    Ok("DRC-07")
}

/// CR-24 to CR-29.
fn check_levels(asked: &Asked<'_>) -> Answer {
    let level = |key: &str| levels::level_of(&asked.levels, key);
    let least = i64::from(levels::invite_level(asked.is_public_chat));
    if level("invite").is_none_or(|level| level < least) {
        return Err(LOW_LEVEL.invalidates("CR-24"));
    }
    if level("state_default").is_none_or(|level| level < i64::from(levels::CREATOR)) {
        return Err(LOW_LEVEL.invalidates("CR-25"));
    }
    if asked.rule != Rule::Unrestricted {
        return Ok("CR-29");
    }
    let is_external = |user_id: &UserId| asked.people.is_external(user_id);
    if asked
        .request
        .creators
        .iter()
        .any(|user_id| is_external(user_id))
    {
        return Err(EXTERNAL_LEVEL.invalidates("CR-28"));
    }
    match levels::fault_of_unrestricted(&asked.levels, is_external) {
        Some(Fault::Default) => Err(DEFAULT_LEVEL.invalidates("CR-27")),
        Some(Fault::External) => Err(EXTERNAL_LEVEL.invalidates("CR-28")),
        None => Ok("CR-29"),
    }
}

/// CR-33: the retention that a public room is given must be short enough.
fn check_retention(asked: &Asked<'_>) -> Answer {
    let most = asked.policy.0.rooms.public_retention_ms;
    match asked.initial(&StateEventType::from(RETENTION_TYPE)) {
        Some(given) if asked.is_public() && !state::is_short_retention(given, most) => {
            Err(RETENTION.invalidates("CR-33"))
        }
        _ => Ok("CR-32"),
    }
}

fn text<'a>(content: &'a CanonicalJsonObject, key: &str) -> Option<&'a str> {
    content.get(key).and_then(CanonicalJsonValue::as_str)
}

fn string(value: &str) -> CanonicalJsonValue {
    CanonicalJsonValue::String(value.to_owned())
}

fn one(key: &str, value: &str) -> CanonicalJsonObject {
    CanonicalJsonObject::from([(key.to_owned(), string(value))])
}

fn draft(event_type: StateEventType, content: CanonicalJsonObject) -> Draft {
    Draft::state(event_type, "", content)
}
