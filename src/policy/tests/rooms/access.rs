//! `im.vector.room.access_rules` after the room was made (tchap.md, 4.1 and 4.5).

use serde_json::{Value, json};

use super::{
    ACCESS, ALICE, CAROL, EVE, LEVELS, State, content, ok, policy, policy_with, refused, send, user,
};
use crate::policy::rooms::{AccessRules, Facts, PlannedEvent, Rule};

fn change(state: &State, access: Value) -> crate::policy::Decision {
    send(state, ALICE, ACCESS, access)
}

fn rule(name: &str) -> Value {
    json!({ "rule": name })
}

#[test]
fn ar_01_the_rule_is_one_of_three() {
    for state in [State::old(), State::restricted(), State::direct()] {
        for access in [
            json!({}),
            rule("open"),
            json!({ "rule": 1 }),
            json!({ "rule": "" }),
        ] {
            refused(change(&state, access), "AR-01");
        }
    }
}

#[test]
fn ar_02_an_old_room_gets_a_rule() {
    ok(change(&State::old(), rule("restricted")));
    ok(change(&State::old(), rule("unrestricted")));
}

#[test]
fn ar_03_ar_04_only_a_room_of_two_becomes_direct() {
    let two = State::old().member(ALICE, CAROL, "leave");
    ok(change(&two, rule("direct")));
    ok(change(&State::old().token("a"), rule("direct")));
    refused(
        change(&two.member(ALICE, EVE, "invite"), rule("direct")),
        "AR-04",
    );
    refused(
        change(&State::old().token("a").token("b"), rule("direct")),
        "AR-04",
    );
}

#[test]
fn ar_05_ar_06_a_rule_may_be_said_again() {
    ok(change(&State::restricted(), rule("restricted")));
    ok(change(&State::unrestricted(), rule("unrestricted")));
}

#[test]
fn ar_07_a_direct_chat_of_two_stays_one() {
    let two = State::direct().member(ALICE, CAROL, "join");
    ok(change(&two, rule("direct")));
    refused(
        change(&two.member(ALICE, EVE, "invite"), rule("direct")),
        "AR-04",
    );
}

#[test]
fn ar_08_ar_17_a_private_room_is_opened_to_externals_encrypted_or_not() {
    ok(change(&State::restricted(), rule("unrestricted")));
    let encryption = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    let encrypted = State::restricted().with(ALICE, "m.room.encryption", "", encryption);
    ok(change(&encrypted, rule("unrestricted")));
}

#[test]
fn ar_09_a_public_room_is_not_opened_to_externals() {
    let access = json!({ "rule": "unrestricted", "visibility": "public" });
    let violation = refused(change(&State::public(), access), "AR-09");
    assert_eq!(violation.reason, "public_room_excludes_externals");
}

#[test]
fn ar_10_a_room_of_many_does_not_become_direct() {
    refused(change(&State::restricted(), rule("direct")), "AR-10");
}

#[test]
fn ar_11_opening_to_externals_is_for_ever() {
    let violation = refused(change(&State::unrestricted(), rule("restricted")), "AR-11");
    assert_eq!(violation.reason, "access_rule_fixed");
    refused(change(&State::unrestricted(), rule("direct")), "AR-11");
}

#[test]
fn ar_13_a_direct_chat_does_not_become_a_room() {
    refused(change(&State::direct(), rule("restricted")), "AR-13");
    refused(change(&State::direct(), rule("unrestricted")), "AR-13");
}

#[test]
fn ar_15_a_room_with_a_link_is_opened_to_externals() {
    let join_rule = json!({ "join_rule": "public" });
    let linked = State::restricted().with(ALICE, "m.room.join_rules", "", join_rule);
    ok(change(&linked, rule("unrestricted")));
}

#[test]
fn ar_20_encryption_is_not_declined_later() {
    let access = json!({ "rule": "restricted", "force_unencrypted_at_creation": true });
    refused(change(&State::restricted(), access), "AR-20");
}

#[test]
fn ar_21_ar_22_r_19_who_changes_an_unencrypted_room_says_so_again() {
    let state = State::unencrypted();
    refused(change(&state, rule("unrestricted")), "AR-21");
    let access = json!({ "rule": "unrestricted", "force_unencrypted_at_creation": false });
    refused(change(&state, access), "AR-21");
    let access = json!({ "rule": "unrestricted", "force_unencrypted_at_creation": true });
    ok(change(&state, access));
}

#[test]
fn ar_23_ar_24_ar_25_a_room_stays_public_or_private() {
    let public = json!({ "rule": "restricted", "visibility": "public" });
    refused(change(&State::restricted(), public.clone()), "AR-23");
    refused(
        change(&State::of(rule("restricted")), public.clone()),
        "AR-23",
    );
    ok(change(&State::public(), public));
    refused(change(&State::public(), rule("restricted")), "AR-24");
    let private = json!({ "rule": "restricted", "visibility": "private" });
    refused(change(&State::public(), private), "AR-24");
    ok(change(&State::restricted(), rule("restricted")));
    let odd = json!({ "rule": "restricted", "visibility": "secret" });
    refused(change(&State::restricted(), odd), "AR-01");
}

#[test]
fn ar_26_ar_27_an_old_room_is_neither_public_nor_unencrypted() {
    let flags = [
        json!({ "rule": "restricted", "visibility": "public" }),
        json!({ "rule": "restricted", "force_unencrypted_at_creation": true }),
    ];
    for access in flags {
        refused(change(&State::old(), access.clone()), "AR-26");
        // Another server has decided on its own users.
        ok(send(&State::old(), CAROL, ACCESS, access));
    }
}

#[test]
fn ar_28_a_migration_changes_the_visibility() {
    let policy = policy_with("rooms.allow_visibility_change = true");
    let access = json!({ "rule": "restricted", "visibility": "public" });
    let state = State::restricted();
    ok(super::decide(
        &policy,
        &state,
        ALICE,
        (ACCESS, ""),
        access,
        false,
    ));
}

#[test]
fn ar_29_access_rules_are_not_redacted_by_anybody() {
    let state = State::restricted();
    let room = state.room();
    let redaction = content(json!({}));
    let target = room.state_event(&ACCESS.into(), "").unwrap();
    let policy = policy();
    for sender in [ALICE, super::ROOT, super::BOT] {
        let event = PlannedEvent {
            event_type: &"m.room.redaction".into(),
            state_key: None,
            content: &redaction,
            sender: user(sender),
            redacts: Some(&target.pdu),
        };
        assert!(policy.rooms().needs(&room, &event).is_some());
        let facts = Facts {
            people: super::people(&policy, [user(sender)]),
            is_published: false,
        };
        refused(policy.rooms().may_send(&room, &event, &facts), "AR-29");
    }
    let other = room.state_event(&LEVELS.into(), "").unwrap();
    let event = PlannedEvent {
        event_type: &"m.room.redaction".into(),
        state_key: None,
        content: &redaction,
        sender: user(ALICE),
        redacts: Some(&other.pdu),
    };
    assert!(policy.rooms().needs(&room, &event).is_none());
}

#[test]
fn ar_30_other_keys_are_ignored() {
    let access = json!({ "rule": "restricted", "org.example.own": [1] });
    ok(change(&State::restricted(), access));
}

#[test]
fn what_is_not_understood_is_the_narrowest() {
    let odd = json!({ "rule": "everybody", "visibility": 1, "force_unencrypted_at_creation": "x" });
    let access = AccessRules::of(&State::of(odd).room()).unwrap();
    assert_eq!(access.rule, Rule::Restricted);
    assert!(!access.is_public() && !access.is_unencrypted());
    assert_eq!(AccessRules::of(&State::old().room()), None);
}
