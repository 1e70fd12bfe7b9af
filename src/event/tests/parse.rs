//! Whatever comes in, parsing does not panic.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::event::{
    build::{content_from, content_from_json},
    client_format::{Personal, Unsigned, client_text, personalize, stripped_json},
    redact::redact,
};

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "[$@!][a-z]{0,4}(:[a-z]{0,4})?".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{0,8}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// An event that is right but for a few fields.
fn event() -> impl Strategy<Value = Value> {
    let fields = [
        "type",
        "content",
        "sender",
        "state_key",
        "origin_server_ts",
        "depth",
        "prev_events",
        "auth_events",
        "redacts",
        "room_id",
        "hashes",
        "signatures",
        "unsigned",
    ];
    let types = prop_oneof![
        Just("m.room.member"),
        Just("m.room.redaction"),
        Just("m.room.power_levels"),
        Just("m.room.create"),
    ];
    let changes =
        prop::collection::vec((prop::sample::select(fields.to_vec()), json_value()), 0..3);
    (types, json_value(), changes).prop_map(|(event_type, content, changes)| {
        let content = if content.is_object() {
            content
        } else {
            json!({})
        };
        let mut event = json!({
            "type": event_type, "content": content, "sender": "@a:b", "state_key": "",
            "origin_server_ts": 1, "depth": 1, "prev_events": [["$a:b", {}]],
            "auth_events": ["$c"], "room_id": "!r:b",
        });
        for (field, value) in changes {
            event[field] = value;
        }
        event
    })
}

fn handle(json: &str) {
    let event_id = EventId::parse("$id").unwrap();
    let room_id = RoomId::parse("!r:b").unwrap();
    let Ok(pdu) = Pdu::from_stored(event_id, room_id.clone(), json) else {
        return;
    };
    let pdu = Arc::new(pdu);
    let text = client_text(&pdu, &Unsigned::default(), true);
    let _: Value = serde_json::from_str(&text).unwrap();
    let _: Value = serde_json::from_str(&personalize(&text, &Personal::default())).unwrap();
    let _: Value = serde_json::from_str(stripped_json(&pdu).get()).unwrap();
    for room_version in ["1", "9", "12"] {
        let rules = VersionRules::of(&version(room_version)).unwrap();
        let _ = redact(&pdu, &rules.redaction);
        let room = Builder::created(room_version).room.after(&pdu);
        assert!(room.heroes(alice()).len() <= 5);
        let state = |event_type: &StateEventType, state_key: &str| {
            let event = room.state_event(event_type, state_key)?;
            Some(&*event.pdu)
        };
        let nothing = |_: &EventId| None::<Arc<Pdu>>;
        let _ = auth::check(&pdu, &rules, nothing, state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_event_is_handled(event in event()) {
        handle(&event.to_string());
    }

    #[test]
    fn any_json_is_handled(value in json_value()) {
        handle(&value.to_string());
        let raw = RawValue::from_string(value.to_string()).unwrap();
        let _ = content_from_json(&raw);
    }

    #[test]
    fn any_text_is_handled(text in ".{0,200}") {
        handle(&text);
        let _ = SigningKey::from_key_file(&text);
        let _ = personalize(&text, &Personal { age: Some(1), ..Personal::default() });
    }

    #[test]
    fn any_content_is_built_canonically(value in json_value(), key in ".{0,20}") {
        let room = Builder::public("12");
        let Ok(content) = content_from(&json!({ "value": value, key.clone(): 1 })) else {
            return Ok(());
        };
        let draft = Draft::state("m.x".into(), key, content);
        if let Ok((pdu, _)) = room.try_draft(draft, alice()) {
            let object: CanonicalJsonObject = serde_json::from_str(pdu.json()).unwrap();
            assert_eq!(serde_json::to_string(&object).unwrap(), pdu.json());
        }
    }
}
