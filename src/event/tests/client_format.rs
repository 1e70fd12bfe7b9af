//! The client format, and the splices.

use ruma::events::room::member::MembershipState;
use serde_json::value::to_raw_value;

use super::*;
use crate::event::client_format::{
    Personal, Unsigned, client_json, client_text, personalize, stripped_json,
};

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_message_has_the_fields_that_clients_know() {
    let mut room = Builder::public("12");
    let pdu = room.message(alice()).unwrap();
    let json = client_json(&pdu, &Unsigned::default(), true);
    let expected = json!({
        "content": {"msgtype": "m.text", "body": "Bonjour"},
        "event_id": pdu.event_id(),
        "origin_server_ts": 1_700_000_000,
        "room_id": pdu.room_id(),
        "sender": alice(),
        "type": "m.room.message",
        "unsigned": {},
    });
    assert_eq!(parse(json.get()), expected);
    let without = client_text(&pdu, &Unsigned::default(), false);
    assert!(parse(&without).get("room_id").is_none());
}

#[test]
fn unsigned_holds_what_it_is_given() {
    let mut room = Builder::public("12");
    let pdu = room.state(alice(), "odd \"type\"", "key\\", json!({"a": 1}));
    let pdu = pdu.unwrap();
    let prev_content = to_raw_value(&json!({"membership": "join"})).unwrap();
    let unsigned = Unsigned {
        prev_content: Some(&prev_content),
        prev_sender: Some(alice()),
        replaces_state: Some(room.events[0].event_id()),
        redacted_because: Some("{\"type\":\"m.room.redaction\"}"),
        relations: Some("{\"m.thread\":{}}"),
        transaction_id: Some("t\"1"),
        membership: Some(&MembershipState::Join),
    };
    let event = parse(&client_text(&pdu, &unsigned, false));
    assert_eq!(event["type"], "odd \"type\"");
    assert_eq!(event["state_key"], "key\\");
    let expected = json!({
        "prev_content": {"membership": "join"},
        "prev_sender": alice(),
        "replaces_state": room.events[0].event_id(),
        "redacted_because": {"type": "m.room.redaction"},
        "m.relations": {"m.thread": {}},
        "transaction_id": "t\"1",
        "membership": "join",
    });
    assert_eq!(event["unsigned"], expected);
}

#[test]
fn redactions_name_their_target_in_both_places() {
    for room_version in VERSIONS {
        for reason in [json!({}), json!({"reason": "spam"})] {
            let mut room = Builder::public(room_version);
            let target = room.message(alice()).unwrap();
            let draft = Draft::redaction(target.owned_event_id().clone(), content(reason.clone()));
            let pdu = room.send(draft, alice()).unwrap();
            let event = parse(&client_text(&pdu, &Unsigned::default(), true));
            assert_eq!(event["redacts"], target.event_id().as_str());
            assert_eq!(event["content"]["redacts"], target.event_id().as_str());
            assert_eq!(event["content"].get("reason"), reason.get("reason"));
        }
    }
}

#[test]
fn stripped_state_has_four_fields() {
    let room = Builder::public("12");
    let rule = room.events.last().unwrap();
    let expected = json!({
        "content": {"join_rule": "public"},
        "sender": alice(),
        "state_key": "",
        "type": "m.room.join_rules",
    });
    assert_eq!(parse(stripped_json(rule).get()), expected);
}

#[test]
fn splices_give_the_same_as_writing_anew() {
    let mut room = Builder::public("12");
    let message = room.message(alice()).unwrap();
    // Contents and transaction ids that look like the text around them.
    let odd = json!({"unsigned": {"membership": "join"}, "body": "\"membership\":\"join\"}}"});
    let odd = room.send(Draft::message("m.x".into(), content(odd)), alice());
    let odd = odd.unwrap();
    let prev_content = to_raw_value(&json!({"membership": "join"})).unwrap();
    let because = client_text(
        &message,
        &Unsigned {
            membership: Some(&MembershipState::Ban),
            ..Unsigned::default()
        },
        false,
    );
    let bases = [
        Unsigned::default(),
        Unsigned {
            prev_content: Some(&prev_content),
            ..Unsigned::default()
        },
        Unsigned {
            redacted_because: Some(&because),
            ..Unsigned::default()
        },
        Unsigned {
            prev_sender: Some(alice()),
            ..Unsigned::default()
        },
    ];
    let tx_ids = [
        None,
        Some("t1"),
        Some("\"membership\":\"join"),
        Some("}}\\"),
    ];
    let memberships = [
        None,
        Some(&MembershipState::Join),
        Some(&MembershipState::Leave),
    ];
    for pdu in [&message, &odd] {
        for base in bases {
            for of_base in memberships {
                for transaction_id in tx_ids {
                    for membership in memberships {
                        let base = Unsigned {
                            membership: of_base,
                            ..base
                        };
                        let personal = Personal {
                            room_id: Some(pdu.room_id()),
                            transaction_id,
                            membership,
                            relations: None,
                            age: None,
                            delay_id: None,
                        };
                        let spliced = personalize(&client_text(pdu, &base, false), &personal);
                        let anew = Unsigned {
                            transaction_id,
                            membership: membership.or(of_base),
                            ..base
                        };
                        assert_eq!(parse(&spliced), parse(&client_text(pdu, &anew, true)));
                        // And what was spliced can be spliced again.
                        let again = Personal {
                            membership: Some(&MembershipState::Knock),
                            age: Some(12),
                            ..Personal::default()
                        };
                        let again = parse(&personalize(&spliced, &again));
                        assert_eq!(again["unsigned"]["membership"], "knock");
                        assert_eq!(again["unsigned"]["age"], 12);
                    }
                }
            }
        }
    }
    assert_eq!(personalize("[]", &Personal::default()), "[]");
}
