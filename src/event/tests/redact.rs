//! Redaction by room version.

use super::*;
use crate::event::redact::{may_redact, redact, redaction_applies};

fn redacted_content(room_version: &str, event_type: &str, value: Value) -> Value {
    let room = Builder::public(room_version);
    let mut object: Value = serde_json::from_str(room.events[1].json()).unwrap();
    object["type"] = json!(event_type);
    object["content"] = value;
    object["unsigned"] = json!({"age": 1});
    object["extra"] = json!(1);
    let pdu = Pdu::from_stored(
        room.events[1].owned_event_id().clone(),
        room.room.room_id().to_owned(),
        object.to_string(),
    )
    .unwrap();
    let redacted = redact(&pdu, &room.room.rules().redaction).unwrap();
    assert_eq!(redacted.event_id(), pdu.event_id());
    let result: Value = serde_json::from_str(redacted.json()).unwrap();
    assert!(result.get("unsigned").is_none() && result.get("extra").is_none());
    assert_eq!(result["signatures"], object["signatures"]);
    assert_eq!(result["hashes"], object["hashes"]);
    redacted.content_as().unwrap()
}

#[test]
fn each_room_version_keeps_its_fields() {
    let member = json!({
        "membership": "join", "displayname": "A", "join_authorised_via_users_server": "@b:x",
        "third_party_invite": {"display_name": "c", "signed": {"token": "t"}},
    });
    let rules = json!({"join_rule": "restricted", "allow": [], "other": 1});
    let levels = json!({"invite": 1, "ban": 2, "notifications": {"room": 3}});
    for (number, room_version) in (1..).zip(VERSIONS) {
        let content = redacted_content(room_version, "m.room.message", json!({"body": "x"}));
        assert_eq!(content, json!({}));

        let content = redacted_content(room_version, "m.room.member", member.clone());
        let mut expected = json!({"membership": "join"});
        if number >= 9 {
            expected["join_authorised_via_users_server"] = json!("@b:x");
        }
        if number >= 11 {
            expected["third_party_invite"] = json!({"signed": {"token": "t"}});
        }
        assert_eq!(content, expected, "{room_version}");

        let content = redacted_content(room_version, "m.room.join_rules", rules.clone());
        let expected = if number >= 8 {
            json!({"join_rule": "restricted", "allow": []})
        } else {
            json!({"join_rule": "restricted"})
        };
        assert_eq!(content, expected, "{room_version}");

        let content = redacted_content(room_version, "m.room.power_levels", levels.clone());
        let expected = if number >= 11 {
            json!({"invite": 1, "ban": 2})
        } else {
            json!({"ban": 2})
        };
        assert_eq!(content, expected, "{room_version}");

        let aliases = redacted_content(room_version, "m.room.aliases", json!({"aliases": []}));
        assert_eq!(aliases.get("aliases").is_some(), number <= 5);

        let create = redacted_content(room_version, "m.room.create", json!({"type": "m.space"}));
        assert_eq!(create.get("type").is_some(), number >= 11);
    }
}

#[test]
fn a_user_redacts_their_own_events_and_a_moderator_all() {
    let mut room = Builder::public("11");
    let (bob, carol) = (user("bob"), user("carol"));
    for user_id in [&bob, &carol] {
        room.member(user_id, user_id, "join").unwrap();
    }
    let target = room.message(&bob).unwrap();
    let levels = room.room.power_levels().clone();
    assert!(may_redact(&bob, &target, &levels));
    assert!(may_redact(alice(), &target, &levels));
    assert!(!may_redact(&carol, &target, &levels));
    let draft = Draft::redaction(target.owned_event_id().clone(), content(json!({})));
    let redaction = room.send(draft, &carol).unwrap();
    assert!(redaction_applies(&redaction, &target, &levels));
    let elsewhere = Builder::created("12").events.remove(0);
    assert!(!redaction_applies(&redaction, &elsewhere, &levels));
}
