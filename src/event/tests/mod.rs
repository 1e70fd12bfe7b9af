//! Tests of the event core, and what they share.

mod build;
mod client_format;
mod owned_state;
mod parse;
mod push;
mod redact;
mod room;
mod rules;
mod threads;
mod visibility;

use std::sync::Arc;

use ruma::{
    CanonicalJsonObject, EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedUserId, RoomId,
    RoomVersionId, UInt, UserId, events::StateEventType, owned_server_name, server_name, user_id,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{version::VersionRules, *};

/// All the room versions that we build.
const VERSIONS: [&str; 12] = [
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12",
];

fn version(version: &str) -> RoomVersionId {
    RoomVersionId::try_from(version).unwrap()
}

fn key() -> SigningKey {
    let mut seed = Zeroizing::new([7; 32]);
    seed[3] = 99;
    SigningKey::from_seed("a_test", seed).unwrap()
}

fn now() -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::from(1_700_000_000_u32))
}

fn content(value: Value) -> CanonicalJsonObject {
    let Value::Object(object) = value else {
        panic!("not an object");
    };
    ruma::canonical_json::try_from_json_map(object).unwrap()
}

fn alice() -> &'static UserId {
    user_id!("@alice:agent.tchap.example")
}

fn user(name: &str) -> OwnedUserId {
    UserId::parse(format!("@{name}:agent.tchap.example")).unwrap()
}

/// A room under construction, and a counter for the ids of room versions 1 and 2.
struct Builder {
    room: Room,
    events: Vec<Arc<Pdu>>,
}

impl Builder {
    /// A room that Alice created, and nothing else.
    fn created(room_version: &str) -> Self {
        Self::created_with(room_version, json!({}))
    }

    fn created_with(room_version: &str, create: Value) -> Self {
        let room_id = RoomId::parse("!room:agent.tchap.example").unwrap();
        let room_id = (room_version != "12").then_some(&*room_id);
        let mut draft = Draft::state(StateEventType::RoomCreate, "", content(create));
        draft.legacy_event_id = Some(legacy_id(0));
        let (pdu, room) = Room::create(
            &version(room_version),
            room_id,
            draft,
            alice(),
            now(),
            &key(),
            server_name!("agent.tchap.example"),
        )
        .unwrap();
        Self {
            room,
            events: vec![pdu],
        }
    }

    /// A public room with Alice in it.
    fn public(room_version: &str) -> Self {
        let mut builder = Self::created(room_version);
        builder.member(alice(), alice(), "join").unwrap();
        builder.power_levels(alice(), json!({})).unwrap();
        builder.join_rule(json!({"join_rule": "public"})).unwrap();
        builder
    }

    fn try_draft(&self, mut draft: Draft, sender: &UserId) -> Result<(Arc<Pdu>, Room), EventError> {
        draft.legacy_event_id = Some(legacy_id(self.events.len()));
        let server_name = owned_server_name!("agent.tchap.example");
        self.room
            .build_event(draft, sender, now(), &key(), &server_name)
    }

    fn send(&mut self, draft: Draft, sender: &UserId) -> Result<Arc<Pdu>, EventError> {
        let (pdu, room) = self.try_draft(draft, sender)?;
        self.room = room;
        self.events.push(Arc::clone(&pdu));
        Ok(pdu)
    }

    fn message(&mut self, sender: &UserId) -> Result<Arc<Pdu>, EventError> {
        let content = content(json!({"msgtype": "m.text", "body": "Bonjour"}));
        self.send(Draft::message("m.room.message".into(), content), sender)
    }

    fn state(
        &mut self,
        sender: &UserId,
        event_type: &str,
        state_key: &str,
        value: Value,
    ) -> Result<Arc<Pdu>, EventError> {
        let draft = Draft::state(event_type.into(), state_key, content(value));
        self.send(draft, sender)
    }

    fn member(
        &mut self,
        sender: &UserId,
        target: &UserId,
        membership: &str,
    ) -> Result<Arc<Pdu>, EventError> {
        let value = json!({"membership": membership});
        self.state(sender, "m.room.member", target.as_str(), value)
    }

    /// Power levels: Alice has 100 where she is not above all levels as the creator.
    fn power_levels(&mut self, sender: &UserId, more: Value) -> Result<Arc<Pdu>, EventError> {
        let mut value = json!({"users": {}});
        let object = value.as_object_mut().unwrap();
        let Value::Object(more) = more else {
            panic!("not an object");
        };
        object.extend(more);
        if *self.room.room_version() != RoomVersionId::V12 {
            value["users"][alice().as_str()] = json!(100);
        }
        self.state(sender, "m.room.power_levels", "", value)
    }

    fn join_rule(&mut self, value: Value) -> Result<Arc<Pdu>, EventError> {
        self.state(alice(), "m.room.join_rules", "", value)
    }
}

fn legacy_id(number: usize) -> OwnedEventId {
    EventId::parse(format!("$event{number}:agent.tchap.example")).unwrap()
}

/// The reason for which the authorization rules refused.
fn refusal<T: std::fmt::Debug>(result: Result<T, EventError>) -> String {
    match result.unwrap_err() {
        EventError::Refused(failure) => failure.reason,
        EventError::Build(error) => panic!("not refused by the rules: {error}"),
    }
}
