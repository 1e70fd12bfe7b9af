//! Building, hashing and signing by room version; limits; keys.

use std::collections::BTreeMap;

use ruma::{
    CanonicalJsonObject,
    serde::Base64,
    signatures::{Verified, reference_hash, verify_event},
    state_res::check_pdu_format,
};

use super::*;
use crate::event::build::{MAX_JSON_DEPTH, MAX_PDU_BYTES, content_from_json};

fn verify(pdu: &Pdu, room_version: &str) -> CanonicalJsonObject {
    let rules = VersionRules::of(&version(room_version)).unwrap();
    let object: CanonicalJsonObject = serde_json::from_str(pdu.json()).unwrap();
    assert_eq!(serde_json::to_string(&object).unwrap(), pdu.json());
    let keys = BTreeMap::from([(
        "agent.tchap.example".to_owned(),
        BTreeMap::from([(
            key().id().to_string(),
            Base64::new(key().public_key().to_vec()),
        )]),
    )]);
    assert_eq!(verify_event(&keys, &object, &rules).unwrap(), Verified::All);
    check_pdu_format(&object, &rules.event_format).unwrap();
    object
}

#[test]
fn events_of_each_room_version_verify() {
    for room_version in VERSIONS {
        let mut room = Builder::public(room_version);
        let message = room.message(alice()).unwrap();
        let reason = content(json!({"reason": "a \"word\" \\ \u{7} é 😀 \u{7f}"}));
        let draft = Draft::redaction(message.owned_event_id().clone(), reason);
        room.send(draft, alice()).unwrap();
        let rules = VersionRules::of(&version(room_version)).unwrap();
        for pdu in &room.events {
            let object = verify(pdu, room_version);
            if !matches!(room_version, "1" | "2") {
                let hash = reference_hash(&object, &rules).unwrap();
                assert_eq!(pdu.event_id().as_str(), format!("${hash}"));
            }
        }
    }
}

#[test]
fn a_stored_event_is_the_one_that_was_built() {
    for room_version in VERSIONS {
        let mut room = Builder::public(room_version);
        let message = room.message(alice()).unwrap();
        let draft = Draft::redaction(message.owned_event_id().clone(), content(json!({})));
        room.send(draft, alice()).unwrap();
        let rules = VersionRules::of(&version(room_version)).unwrap();
        for built in &room.events {
            let stored = Pdu::from_stored(
                built.owned_event_id().clone(),
                built.room_id().to_owned(),
                built.json(),
            )
            .unwrap();
            assert_eq!(stored.content_str(), built.content_str());
            assert_eq!(stored.content().get(), built.content_str());
            assert_eq!(stored.sender(), built.sender());
            assert_eq!(stored.event_type(), built.event_type());
            assert_eq!(stored.state_key(), built.state_key());
            assert_eq!(stored.depth(), built.depth());
            assert_eq!(stored.origin_server_ts(), built.origin_server_ts());
            assert_eq!(stored.prev_events(), built.prev_events());
            assert_eq!(stored.auth_events(), built.auth_events());
            assert_eq!(stored.membership(), built.membership());
            assert_eq!(
                stored.redacts(&rules.redaction),
                built.redacts(&rules.redaction)
            );
        }
        let redaction = room.events.last().unwrap();
        assert_eq!(
            redaction.redacts(&rules.redaction),
            Some(message.event_id())
        );
    }
}

#[test]
fn the_room_id_of_version_12_is_the_hash_of_the_create_event() {
    let room = Builder::public("12");
    let create = &room.events[0];
    assert_eq!(
        room.room.room_id().strip_sigil(),
        create.event_id().localpart()
    );
    assert!(!create.json().contains("room_id"));
    assert!(room.events[1].auth_events().is_empty());
    assert!(room.events[1].json().contains("\"room_id\""));
}

#[test]
fn the_version_and_the_creator_are_set_in_the_create_event() {
    for room_version in VERSIONS {
        let room = Builder::created(room_version);
        let content: Value = room.events[0].content_as().unwrap();
        assert_eq!(content["room_version"], room_version);
        let has_creator = !matches!(room_version, "11" | "12");
        assert_eq!(content.get("creator").is_some(), has_creator);
        assert_eq!(room.room.creators(), [alice().to_owned()]);
    }
}

#[test]
fn the_whole_event_may_have_65536_bytes() {
    let mut room = Builder::public("12");
    let body_of = |length: usize| {
        let content = content(json!({"body": "a".repeat(length)}));
        room.try_draft(Draft::message("m.room.message".into(), content), alice())
    };
    let overhead = body_of(0).unwrap().0.json().len();
    let (largest, _) = body_of(MAX_PDU_BYTES - overhead).unwrap();
    assert_eq!(largest.json().len(), MAX_PDU_BYTES);
    let refused = body_of(MAX_PDU_BYTES - overhead + 1).unwrap_err();
    assert!(matches!(
        refused,
        EventError::Build(BuildError::TooLarge(65_537))
    ));
    let refused = body_of(200_000).unwrap_err();
    assert!(matches!(
        refused,
        EventError::Build(BuildError::TooLarge(_))
    ));
    room.message(alice()).unwrap();
}

#[test]
fn types_and_state_keys_have_at_most_255_bytes() {
    let mut room = Builder::public("11");
    let (fits, too_long) = ("é".repeat(127), "é".repeat(128));
    room.state(alice(), &fits, &fits, json!({})).unwrap();
    for (event_type, state_key, name) in
        [(&too_long, &fits, "type"), (&fits, &too_long, "state_key")]
    {
        let refused = room.state(alice(), event_type, state_key, json!({}));
        let Err(EventError::Build(BuildError::FieldTooLong(field))) = refused else {
            panic!("{name} was not refused");
        };
        assert_eq!(field, name);
    }
}

#[test]
fn a_content_nests_only_so_deep() {
    let nested = |levels: usize| {
        let mut value = json!(1);
        for _ in 0..levels {
            value = json!([value]);
        }
        Draft::message("m.room.message".into(), content(json!({"body": value})))
    };
    let room = Builder::public("11");
    room.try_draft(nested(MAX_JSON_DEPTH - 1), alice()).unwrap();
    let refused = room.try_draft(nested(MAX_JSON_DEPTH), alice()).unwrap_err();
    assert!(matches!(refused, EventError::Build(BuildError::TooDeep)));
}

#[test]
fn only_canonical_json_objects_are_contents() {
    let parse = |json: &str| {
        let raw = serde_json::value::RawValue::from_string(json.to_owned()).unwrap();
        content_from_json(&raw)
    };
    for good in [
        "{}",
        r#"{"n":9007199254740991,"m":-9007199254740991}"#,
        r#"{"b":[null,true,"x"],"a":{}}"#,
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for bad in [
        r#"{"n":9007199254740992}"#,
        r#"{"n":-9007199254740992}"#,
        r#"{"n":1.5}"#,
        r#"{"n":1.0}"#,
        r#"{"n":1e3}"#,
        r#"{"n":-0}"#,
    ] {
        assert!(
            matches!(parse(bad), Err(BuildError::NotCanonical(_))),
            "{bad}"
        );
    }
    for bad in ["[]", "null", "\"x\"", "1"] {
        assert!(
            matches!(parse(bad), Err(BuildError::ContentNotObject)),
            "{bad}"
        );
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(300), "]".repeat(300));
    assert!(matches!(parse(&deep), Err(BuildError::Malformed(_))));
}

#[test]
fn a_sender_of_another_server_is_not_signed_for() {
    let room = Builder::public("11");
    let draft = Draft::message("m.room.message".into(), content(json!({})));
    let refused = room
        .try_draft(draft, user_id!("@eve:elsewhere.example"))
        .unwrap_err();
    assert!(matches!(
        refused,
        EventError::Build(BuildError::ForeignSender)
    ));
}

#[test]
fn room_versions_1_and_2_need_an_event_id_of_the_server() {
    let room = Builder::public("2").room;
    let server_name = server_name!("agent.tchap.example");
    for id in [None, Some("$x:elsewhere.example"), Some("$hash")] {
        let mut draft = Draft::message("m.room.message".into(), content(json!({})));
        draft.legacy_event_id = id.map(|id| EventId::parse(id).unwrap());
        let refused = room.build_event(draft, alice(), now(), &key(), server_name);
        let refused = refused.unwrap_err();
        assert!(matches!(refused, EventError::Build(BuildError::NoEventId)));
    }
}

#[test]
fn a_key_file_is_read_as_it_was_written() {
    let key = key();
    let file = key.to_key_file();
    assert!(file.starts_with("ed25519 a_test "));
    let again = SigningKey::from_key_file(&file).unwrap();
    assert_eq!(again.public_key(), key.public_key());
    assert_eq!(again.id().as_str(), "ed25519:a_test");
    let padded = format!("\n  {}=\n\ned25519 old AAAA\n", file.trim());
    let again = SigningKey::from_key_file(&padded).unwrap();
    assert_eq!(again.public_key_base64(), key.public_key_base64());
    assert_eq!(format!("{key:?}"), "SigningKey(\"ed25519:a_test\")");
}

#[test]
fn bad_key_files_are_refused() {
    let seed = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";
    let zeros = "A".repeat(43);
    let counting = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let rfc_8032 = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    for weak in [seed, rfc_8032, &zeros, counting] {
        let refused = SigningKey::from_key_file(&format!("ed25519 1 {weak}"));
        assert!(matches!(refused, Err(KeyError::Weak)), "{weak}");
    }
    for malformed in [
        "",
        "ed25519 1",
        "rsa 1 abcd",
        "ed25519 1 abcd",
        "ed25519 1 !!!!",
        "ed25519 1 abcd more",
    ] {
        let refused = SigningKey::from_key_file(malformed);
        assert!(matches!(refused, Err(KeyError::Malformed)), "{malformed}");
    }
    let refused = SigningKey::from_key_file(&format!("ed25519 a-b {seed}"));
    assert!(matches!(refused, Err(KeyError::Version)));
}
