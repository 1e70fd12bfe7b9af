//! What the state of a room may become (tchap.md, 4.6, 4.9, 4.10).

use serde_json::{Value, json};

use super::{
    ALICE, BOT, CAROL, ROOT, State, content, ok, pdu, people, policy, policy_with, refused, send,
    standing, step, user,
};
use crate::{
    event::auth::check_state,
    policy::{
        Decision,
        rooms::{Facts, PlannedEvent},
    },
};

const DAY_MS: i64 = 86_400_000;

fn join_rule(state: &State, rule: &str) -> Decision {
    send(
        state,
        ALICE,
        "m.room.join_rules",
        json!({ "join_rule": rule }),
    )
}

#[test]
fn jr_01_lk2_10_a_direct_chat_gets_no_link() {
    refused(join_rule(&State::direct(), "public"), "JR-01");
    ok(join_rule(&State::direct(), "invite"));
}

#[test]
fn jr_02_jr_03_a_restricted_room_gets_a_link_and_loses_it() {
    ok(join_rule(&State::restricted(), "public"));
    let join_rules = json!({ "join_rule": "public" });
    let linked = State::restricted().with(ALICE, "m.room.join_rules", "", join_rules);
    ok(join_rule(&linked, "invite"));
}

#[test]
fn an_agent_of_another_server_may_join_by_the_link_unless_the_room_is_local() {
    let join_rules = json!({ "join_rule": "public" });
    let mut state = State::restricted().with(ALICE, "m.room.join_rules", "", join_rules);
    ok(step(&state, CAROL, CAROL, "join"));
    for federate in [true, false] {
        state.0[0].3 = json!({ "room_version": "11", "m.federate": federate });
        let room = state.room();
        let join = state.clone().member(CAROL, CAROL, "join");
        let join = pdu(99, join.0.last().unwrap());
        let rules = room.rules();
        let now = |kind: &_, key: &str| room.state_event(kind, key).map(|event| &*event.pdu);
        let checked = check_state(&join, rules, now);
        assert_eq!(checked.is_ok(), federate, "{checked:?}");
    }
}

#[test]
fn jr_04_a_room_open_to_externals_gets_a_link() {
    ok(join_rule(&State::unrestricted(), "public"));
}

#[test]
fn jr_06_jr_07_a_public_room_stays_public() {
    for rule in [
        "invite",
        "knock",
        "restricted",
        "knock_restricted",
        "private",
    ] {
        let violation = refused(join_rule(&State::public(), rule), "JR-06");
        assert_eq!(violation.reason, "room_is_public");
    }
    ok(join_rule(&State::public(), "public"));
}

#[test]
fn jr_08_a_direct_chat_stays_by_invite() {
    for rule in ["knock", "restricted", "knock_restricted"] {
        refused(join_rule(&State::direct(), rule), "JR-08");
    }
}

#[test]
fn jr_10_a_private_room_is_joined_from_a_space() {
    for state in [State::restricted(), State::unrestricted()] {
        ok(join_rule(&state, "restricted"));
    }
}

#[test]
fn nm_01_nm_02_only_a_direct_chat_has_no_name() {
    for kind in ["m.room.name", "m.room.topic", "m.room.avatar"] {
        let violation = refused(send(&State::direct(), ALICE, kind, json!({})), "NM-01");
        assert_eq!(violation.reason, "room_is_direct");
        for state in [State::restricted(), State::unrestricted(), State::public()] {
            ok(send(&state, ALICE, kind, json!({})));
        }
        for exempt in [ROOT, BOT] {
            ok(send(&State::direct(), exempt, kind, json!({})));
        }
    }
}

fn encrypt(state: &State) -> Decision {
    let content = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    send(state, ALICE, "m.room.encryption", content)
}

#[test]
fn en_01_a_public_room_is_not_encrypted() {
    refused(encrypt(&State::public()), "EN-01");
}

#[test]
fn en_02_a_room_without_encryption_stays_so() {
    refused(encrypt(&State::unencrypted()), "EN-02");
}

#[test]
fn en_03_en_04_an_old_private_room_is_encrypted_with_a_link_or_without() {
    ok(encrypt(&State::restricted()));
    ok(encrypt(&State::old()));
    let join_rules = json!({ "join_rule": "public" });
    ok(encrypt(&State::restricted().with(
        ALICE,
        "m.room.join_rules",
        "",
        join_rules,
    )));
}

#[test]
fn ga_01_guests_without_account_do_not_come() {
    let guests = |access| {
        let content = json!({ "guest_access": access });
        send(&State::restricted(), ALICE, "m.room.guest_access", content)
    };
    refused(guests("can_join"), "GA-01");
    ok(guests("forbidden"));
}

#[test]
fn hv_01_no_history_is_readable_by_everybody() {
    for state in [State::restricted(), State::public(), State::direct()] {
        let history = |visibility| {
            let content = json!({ "history_visibility": visibility });
            send(&state, ALICE, "m.room.history_visibility", content)
        };
        refused(history("world_readable"), "HV-01");
        for visibility in ["invited", "joined", "shared"] {
            ok(history(visibility));
        }
    }
}

fn publish(state: &State) -> Decision {
    policy()
        .rooms()
        .may_publish(&state.room(), standing(&policy(), ALICE))
}

#[test]
fn dir_01_dir_05_only_public_rooms_are_in_the_directory() {
    ok(publish(&State::public()));
    let violation = refused(publish(&State::restricted()), "DIR-05");
    assert_eq!(violation.reason, "room_not_publishable");
    let join_rules = json!({ "join_rule": "public" });
    let linked = State::restricted().with(ALICE, "m.room.join_rules", "", join_rules.clone());
    refused(publish(&linked), "DIR-05");
    // A forum of before the rules.
    refused(publish(&State::old()), "DIR-05");
    let forum = State::old().with(ALICE, "m.room.join_rules", "", join_rules);
    ok(publish(&forum));
    let encryption = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    refused(
        publish(&forum.with(ALICE, "m.room.encryption", "", encryption)),
        "DIR-05",
    );
}

#[test]
fn dir_02_md_12_a_direct_chat_is_not_in_the_directory() {
    refused(publish(&State::direct()), "DIR-02");
}

#[test]
fn dir_03_a_room_open_to_externals_is_not_in_the_directory() {
    refused(publish(&State::unrestricted()), "DIR-03");
    let exempt = standing(&policy(), ROOT);
    ok(policy()
        .rooms()
        .may_publish(&State::unrestricted().room(), exempt));
}

fn retention(state: &State, content: Value) -> Decision {
    send(state, ALICE, "m.room.retention", content)
}

#[test]
fn rt_03_rt_05_a_public_room_keeps_messages_for_three_months_at_most() {
    let days = |days: i64| json!({ "max_lifetime": days * DAY_MS });
    let violation = refused(retention(&State::public(), days(120)), "RT-03");
    assert_eq!(violation.reason, "retention_too_long");
    refused(
        retention(&State::public(), json!({ "max_lifetime": 90 * DAY_MS + 1 })),
        "RT-03",
    );
    for odd in [json!(0), json!(-1), json!("1"), json!(null)] {
        let content = json!({ "max_lifetime": odd });
        refused(retention(&State::public(), content), "RT-03");
    }
    ok(retention(&State::public(), days(60)));
    ok(retention(&State::public(), days(90)));
    ok(retention(&State::restricted(), days(120)));
    let longer = policy_with("rooms.public_retention_days = 120");
    let key = ("m.room.retention", "");
    ok(super::decide(
        &longer,
        &State::public(),
        ALICE,
        key,
        days(120),
        false,
    ));
}

#[test]
fn rt_04_a_public_room_does_not_lose_its_retention() {
    let state = State::public();
    refused(retention(&state, json!({})), "RT-04");
    refused(retention(&state, json!({ "min_lifetime": 1 })), "RT-04");
    // A redaction would take it away too.
    let content_of = json!({ "max_lifetime": DAY_MS });
    for (state, is_refused) in [(State::public(), true), (State::restricted(), false)] {
        let state = state.with(ALICE, "m.room.retention", "", content_of.clone());
        let room = state.room();
        let redaction = content(json!({}));
        let target = room.state_event(&"m.room.retention".into(), "").unwrap();
        let event = PlannedEvent {
            event_type: &"m.room.redaction".into(),
            state_key: None,
            content: &redaction,
            sender: user(ALICE),
            redacts: Some(&target.pdu),
        };
        let policy = policy();
        let facts = Facts {
            people: people(&policy, [user(ALICE)]),
            is_published: false,
        };
        let decision = policy.rooms().may_send(&room, &event, &facts);
        assert_eq!(!decision.is_allowed(), is_refused, "{decision:?}");
        assert_eq!(policy.rooms().needs(&room, &event).is_some(), is_refused);
    }
}
