//! Which auth events an event needs, and whether a given state allows it.
//!
//! The rules are those of the room version pages of the specification v1.19 ("Authorization
//! rules"), as ruma implements them; this module only gives them our types.

use ruma::{
    EventId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::AuthorizationRules,
    state_res::{
        Event, auth_types_for_event, check_state_dependent_auth_rules,
        check_state_independent_auth_rules,
    },
};
use serde_json::value::RawValue;

use super::{build::Draft, pdu::Pdu};

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
pub fn check<A: Event, S: Event>(
    pdu: &Pdu,
    rules: &AuthorizationRules,
    auth_event: impl Fn(&EventId) -> Option<A>,
    state: impl Fn(&StateEventType, &str) -> Option<S>,
) -> Result<(), AuthFailure> {
    check_state_independent_auth_rules(rules, pdu, auth_event)?;
    check_state_dependent_auth_rules(rules, pdu, state)?;
    Ok(())
}

/// Checks an event against a state only, as is done again with the current state to soft-fail.
pub fn check_state<S: Event>(
    pdu: &Pdu,
    rules: &AuthorizationRules,
    state: impl Fn(&StateEventType, &str) -> Option<S>,
) -> Result<(), AuthFailure> {
    check_state_dependent_auth_rules(rules, pdu, state)?;
    Ok(())
}
