//! The rows of the rules for rooms, and a room to ask them of.
#![expect(
    clippy::needless_pass_by_value,
    reason = "rows read better without references"
)]

use ruma::{CanonicalJsonObject, EventId, RoomId, RoomVersionId, UserId, owned_event_id};
use serde_json::{Value, json};

use super::tchap;
use crate::{
    event::{Pdu, Room, StateEvent},
    policy::{
        Decision, Policy, Violation,
        rooms::{Facts, People, PlannedEvent, Standing},
    },
};

mod access;
mod create;
mod directs;
mod last_admin;
mod levels;
mod members;
mod restrictions;
mod state;

/// An agent who made the rooms of these tests.
const ALICE: &str = "@alice:agent.education.tchap.gouv.fr";
/// Another agent of this server.
const BOB: &str = "@bob:agent.education.tchap.gouv.fr";
/// An agent of another server.
const CAROL: &str = "@carol:agent.finances.tchap.gouv.fr";
/// A user of a server of externals.
const EVE: &str = "@eve:agent.externe.tchap.gouv.fr";
/// An account of this server that is flagged as external.
const FLAGGED: &str = "@flagged:agent.education.tchap.gouv.fr";
/// An administrator of this server.
const ROOT: &str = "@root:agent.education.tchap.gouv.fr";
/// A user for whom no rule holds.
const BOT: &str = "@bot:agent.externe.tchap.gouv.fr";

/// Both kinds of externals.
const EXTERNALS: [&str; 2] = [EVE, FLAGGED];

const ACCESS: &str = "im.vector.room.access_rules";
const MEMBER: &str = "m.room.member";
const LEVELS: &str = "m.room.power_levels";

/// Tchap's rules with a server of externals, and more settings.
fn policy_with(more: &str) -> Policy {
    tchap(&format!(
        r#"
        external_servers = ["agent.externe.tchap.gouv.fr"]
        bypass_users = ["{BOT}"]
        {more}
        "#
    ))
}

fn policy() -> Policy {
    policy_with("")
}

fn user(id: &str) -> &UserId {
    id.try_into().unwrap()
}

fn standing(policy: &Policy, id: &str) -> Standing {
    policy.standing(user(id), id == FLAGGED, id == ROOT)
}

fn people<'a>(policy: &Policy, users: impl IntoIterator<Item = &'a UserId>) -> People {
    let users = users.into_iter();
    users
        .map(|id| (id.to_owned(), standing(policy, id.as_str())))
        .collect()
}

fn content(value: Value) -> CanonicalJsonObject {
    serde_json::from_value(value).unwrap()
}

/// A room under construction: its state by type and key.
#[derive(Clone)]
struct State(Vec<(String, String, String, Value)>);

impl State {
    /// A room of Alice without access rules.
    fn old() -> Self {
        let create = json!({ "room_version": "11" });
        let state = Self(Vec::new()).with(ALICE, "m.room.create", "", create);
        state.member(ALICE, ALICE, "join").with(
            ALICE,
            LEVELS,
            "",
            json!({ "users": { ALICE: 100 } }),
        )
    }

    /// A room of Alice with these access rules.
    fn of(access: Value) -> Self {
        Self::old().with(ALICE, ACCESS, "", access)
    }

    fn restricted() -> Self {
        Self::of(json!({ "rule": "restricted", "visibility": "private" }))
    }

    fn unrestricted() -> Self {
        Self::of(json!({ "rule": "unrestricted", "visibility": "private" }))
    }

    fn direct() -> Self {
        Self::of(json!({ "rule": "direct", "visibility": "private" }))
    }

    fn public() -> Self {
        Self::of(json!({ "rule": "restricted", "visibility": "public" })).with(
            ALICE,
            "m.room.join_rules",
            "",
            json!({ "join_rule": "public" }),
        )
    }

    /// A private room whose creator wanted no encryption.
    fn unencrypted() -> Self {
        Self::of(json!({
            "rule": "restricted",
            "visibility": "private",
            "force_unencrypted_at_creation": true,
        }))
    }

    fn space() -> Self {
        let mut state = Self::unrestricted();
        state.0[0].3 = json!({ "room_version": "11", "type": "m.space" });
        state
    }

    fn with(mut self, sender: &str, kind: &str, key: &str, content: Value) -> Self {
        self.0
            .retain(|(known, at, _, _)| known != kind || at != key);
        let event = (kind.to_owned(), key.to_owned(), sender.to_owned(), content);
        self.0.push(event);
        self
    }

    fn member(self, sender: &str, target: &str, membership: &str) -> Self {
        self.with(sender, MEMBER, target, json!({ "membership": membership }))
    }

    /// An invitation by e-mail.
    fn token(self, token: &str) -> Self {
        let invite = json!({ "display_name": "e…@x.fr" });
        self.with(ALICE, "m.room.third_party_invite", token, invite)
    }

    fn room(&self) -> Room {
        let room_id = RoomId::parse("!room:agent.education.tchap.gouv.fr").unwrap();
        let state = self.0.iter().enumerate().map(|(at, event)| StateEvent {
            pdu: pdu(at, event).into(),
            position: i64::try_from(at).unwrap() + 1,
            replaces: None,
        });
        let version = i64::try_from(self.0.len()).unwrap();
        let last = vec![owned_event_id!("$last")];
        Room::from_parts(room_id, RoomVersionId::V11, version, version, last, state).unwrap()
    }
}

fn pdu(at: usize, (kind, key, sender, content): &(String, String, String, Value)) -> Pdu {
    let json = json!({
        "type": kind,
        "state_key": key,
        "sender": sender,
        "content": content,
        "origin_server_ts": 1,
        "depth": at + 1,
        "prev_events": [],
        "auth_events": [],
    });
    let room_id = RoomId::parse("!room:agent.education.tchap.gouv.fr").unwrap();
    let event_id = EventId::parse(format!("$event{at}")).unwrap();
    Pdu::from_stored(event_id, room_id, json.to_string()).unwrap()
}

/// What the policy says of a state event, with the facts that it asks for and no others.
fn decide(
    policy: &Policy,
    state: &State,
    sender: &str,
    (kind, key): (&str, &str),
    value: Value,
    is_published: bool,
) -> Decision {
    let room = state.room();
    let content = content(value);
    let event = PlannedEvent {
        event_type: &kind.into(),
        state_key: Some(key),
        content: &content,
        sender: user(sender),
        redacts: None,
    };
    let rooms = policy.rooms();
    let Some(needs) = rooms.needs(&room, &event) else {
        return Decision::Allow { rule: "nothing" };
    };
    let facts = Facts {
        people: people(policy, needs.users),
        is_published: is_published && needs.publication,
    };
    rooms.may_send(&room, &event, &facts)
}

fn send(state: &State, sender: &str, kind: &str, value: Value) -> Decision {
    decide(&policy(), state, sender, (kind, ""), value, false)
}

fn step(state: &State, sender: &str, target: &str, membership: &str) -> Decision {
    let value = json!({ "membership": membership });
    decide(&policy(), state, sender, (MEMBER, target), value, false)
}

#[track_caller]
fn ok(decision: Decision) {
    assert!(decision.is_allowed(), "{decision:?}");
}

/// A refusal by this row, with 403.
#[track_caller]
fn refused(decision: Decision, rule: &str) -> Violation {
    let Decision::Deny(violation) = decision else {
        panic!("not refused by {rule}: {decision:?}");
    };
    assert_eq!((violation.rule, violation.kind.status()), (rule, 403));
    assert_eq!(violation.kind.errcode(), "M_FORBIDDEN");
    violation
}
