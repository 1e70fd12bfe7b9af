//! Which auth events an event needs, and whether a given state allows it.
//!
//! The rules are those of the room version pages of the specification v1.19 ("Authorization
//! rules"), as ruma implements them; this module gives them our types, and has the rule of the
//! unstable versions in which state has owners.

use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::AuthorizationRules,
    state_res::{
        Event, auth_types_for_event, check_state_dependent_auth_rules,
        check_state_independent_auth_rules, events::RoomCreateEvent,
    },
};
use serde_json::value::RawValue;

use super::{
    build::Draft,
    pdu::Pdu,
    power_levels::PowerLevels,
    version::{self, VersionRules},
};

/// The authorization rule that refused an event, in words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct AuthFailure {
    /// The reason.
    pub reason: String,
}

impl From<String> for AuthFailure {
    fn from(reason: String) -> Self {
        Self { reason }
    }
}

/// The (type, state key) pairs of current state that an event needs as auth events
/// (server-server API v1.19, "Auth events selection").
pub fn auth_types(
    draft: &Draft,
    sender: &UserId,
    rules: &AuthorizationRules,
) -> Result<Vec<(StateEventType, String)>, AuthFailure> {
    // Only the content of member events matters.
    let content = if draft.event_type == TimelineEventType::RoomMember {
        serde_json::value::to_raw_value(&draft.content)
            .map_err(|error| AuthFailure::from(error.to_string()))?
    } else {
        RawValue::NULL.to_owned()
    };
    let state_key = draft.state_key.as_deref();
    let types = auth_types_for_event(&draft.event_type, sender, state_key, &content, rules)?;
    Ok(types)
}

/// Checks an event against its auth events and against the state before it. `auth_event` gives an
/// auth event, and from room version 12 on the create event, by id. The signatures must have been
/// verified.
pub fn check<'a, A: Event>(
    pdu: &Pdu,
    rules: &VersionRules,
    auth_event: impl Fn(&EventId) -> Option<A>,
    state: impl Fn(&StateEventType, &str) -> Option<&'a Pdu>,
) -> Result<(), AuthFailure> {
    check_state_independent_auth_rules(&rules.authorization, pdu, auth_event)?;
    check_state(pdu, rules, state)
}

/// Checks an event against a state only, as is done again with the current state to soft-fail.
pub fn check_state<'a>(
    pdu: &Pdu,
    rules: &VersionRules,
    state: impl Fn(&StateEventType, &str) -> Option<&'a Pdu>,
) -> Result<(), AuthFailure> {
    let state_key = pdu.state_key().filter(|_| may_have_owner(pdu));
    if rules.owned_state
        && let Some(state_key) = state_key
    {
        check_state_dependent_auth_rules(&rules.authorization, Own(pdu), &state)?;
        return check_owner(pdu, state_key, rules, state);
    }
    check_state_dependent_auth_rules(&rules.authorization, pdu, state)?;
    Ok(())
}

/// Whether the rule about state keys is reached at all: the rules of these types say everything
/// before it.
fn may_have_owner(pdu: &Pdu) -> bool {
    !matches!(
        pdu.event_type(),
        TimelineEventType::RoomCreate
            | TimelineEventType::RoomMember
            | TimelineEventType::RoomThirdPartyInvite
    )
}

/// What MSC3757 has instead of "If the event has a `state_key` that starts with an `@` and does not
/// match the `sender`, reject":
///
/// 1. If the `state_key` starts with an `@`:
///    1. If what stands before the first `_` after the first `:` is not a valid user id, reject.
///    2. If what follows it has more than 256 bytes, reject.
///    3. If the user does not match the `sender`, whose power level is not greater than the
///       user's, reject.
/// 2. Otherwise, if the `state_key` has more than 255 bytes, reject.
fn check_owner<'a>(
    pdu: &Pdu,
    state_key: &str,
    rules: &VersionRules,
    state: impl Fn(&StateEventType, &str) -> Option<&'a Pdu>,
) -> Result<(), AuthFailure> {
    let owner = version::owner(state_key).map_err(|error| AuthFailure::from(error.to_string()))?;
    let Some(owner) = owner.filter(|owner| *owner != pdu.sender()) else {
        return Ok(());
    };
    let rules = &rules.authorization;
    let create = state(&StateEventType::RoomCreate, "");
    let creators = create
        .and_then(|create| RoomCreateEvent::new(create).creators(rules).ok())
        .map(Vec::from_iter)
        .unwrap_or_default();
    let levels = state(&StateEventType::RoomPowerLevels, "");
    let levels = PowerLevels::new(levels, &creators, rules);
    if levels.user(pdu.sender()) > levels.user(owner) {
        return Ok(());
    }
    let reason = "the state belongs to another user, whose power level is not below the sender's";
    Err(AuthFailure::from(reason.to_owned()))
}

/// An event as if its state were the sender's own: whose it is, is checked apart.
#[derive(Debug)]
struct Own<'a>(&'a Pdu);

impl Event for Own<'_> {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        Event::event_id(self.0)
    }

    fn room_id(&self) -> Option<&RoomId> {
        Event::room_id(self.0)
    }

    fn sender(&self) -> &UserId {
        self.0.sender()
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.0.origin_server_ts()
    }

    fn event_type(&self) -> &TimelineEventType {
        self.0.event_type()
    }

    fn content(&self) -> &RawValue {
        self.0.content()
    }

    fn state_key(&self) -> Option<&str> {
        Some(self.0.sender().as_str())
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Event::prev_events(self.0)
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Event::auth_events(self.0)
    }

    fn redacts(&self) -> Option<&Self::Id> {
        Event::redacts(self.0)
    }

    fn rejected(&self) -> bool {
        Event::rejected(self.0)
    }
}
