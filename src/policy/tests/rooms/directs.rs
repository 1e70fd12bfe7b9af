//! Who may be in a direct chat (tchap.md, 4.7, MD rows).

use serde_json::{Value, json};

use super::{ALICE, BOB, CAROL, EVE, EXTERNALS, MEMBER, State, decide, ok, policy, refused, step};
use crate::policy::Decision;

const KIND: &str = "m.room.third_party_invite";

fn by_mail(state: &State, token: &str, content: Value) -> Decision {
    decide(&policy(), state, ALICE, (KIND, token), content, false)
}

fn invite() -> Value {
    json!({ "display_name": "e…@x.fr" })
}

/// An invite that follows from one by e-mail.
fn exchange(state: &State, target: &str, token: &str) -> Decision {
    let content = json!({
        "membership": "invite",
        "third_party_invite": { "signed": { "mxid": target, "token": token, "signatures": {} } },
    });
    decide(&policy(), state, ALICE, (MEMBER, target), content, false)
}

#[test]
fn md_01_ro_04_anybody_is_invited_to_a_direct_chat() {
    for target in [BOB, CAROL, EXTERNALS[0], EXTERNALS[1]] {
        ok(step(&State::direct(), ALICE, target, "invite"));
        let invited = State::direct().member(ALICE, target, "invite");
        ok(step(&invited, target, target, "join"));
    }
}

#[test]
fn md_02_an_address_is_invited_to_a_direct_chat() {
    ok(by_mail(&State::direct(), "a", invite()));
}

#[test]
fn md_03_not_a_second_address() {
    refused(by_mail(&State::direct().token("a"), "b", invite()), "MD-03");
    ok(by_mail(&State::direct().token("a"), "a", invite()));
}

#[test]
fn md_04_an_invitation_is_revoked_and_another_sent() {
    let state = State::direct().token("a");
    ok(by_mail(&state, "a", json!({})));
    let revoked = state.clone().with(ALICE, KIND, "a", json!({}));
    ok(by_mail(&revoked, "b", invite()));
    ok(step(&revoked, ALICE, BOB, "invite"));
    // Also once somebody else has taken the second place, and by anybody who may send it.
    let full = state.member(ALICE, EVE, "join");
    ok(by_mail(&full, "a", json!({})));
    ok(decide(&policy(), &full, EVE, (KIND, "a"), json!({}), false));
}

#[test]
fn md_05_md_06_only_who_has_the_token_comes() {
    let state = State::direct().token("a");
    ok(exchange(&state, EVE, "a"));
    refused(exchange(&state, EVE, "b"), "MD-06");
    let violation = refused(step(&state, ALICE, BOB, "invite"), "MD-06");
    assert_eq!(violation.reason, "room_is_direct");
}

#[test]
fn md_07_who_is_there_stays_and_leaves() {
    let state = State::direct().token("a");
    ok(step(&state, ALICE, ALICE, "join"));
    ok(step(&state, ALICE, ALICE, "leave"));
}

#[test]
fn md_08_a_direct_chat_has_no_third_person() {
    for membership in ["join", "invite", "leave", "ban"] {
        let state = State::direct().member(ALICE, BOB, membership);
        refused(step(&state, ALICE, CAROL, "invite"), "MD-08");
        refused(step(&state, CAROL, CAROL, "join"), "MD-08");
        refused(step(&state, CAROL, CAROL, "knock"), "MD-08");
        // Nor one who takes a place by being banned.
        refused(step(&state, ALICE, CAROL, "ban"), "MD-08");
    }
    // The two may come back.
    let state = State::direct().member(BOB, BOB, "leave");
    ok(step(&state, ALICE, BOB, "invite"));
}

#[test]
fn md_09_a_direct_chat_of_two_invites_no_address() {
    let state = State::direct().member(ALICE, BOB, "join");
    refused(by_mail(&state, "a", invite()), "MD-09");
    refused(by_mail(&state.token("a"), "a", invite()), "MD-09");
}

#[test]
fn md_11_one_of_the_two_is_removed() {
    for membership in ["join", "invite", "leave"] {
        let state = State::direct().member(BOB, BOB, membership);
        ok(step(&state, ALICE, BOB, "leave"));
        ok(step(&state, ALICE, BOB, "ban"));
    }
}

#[test]
fn md_13_a_direct_chat_of_three_only_shrinks() {
    let state = State::direct();
    let state = state.member(BOB, BOB, "join").member(CAROL, CAROL, "join");
    for user in [ALICE, BOB, CAROL] {
        ok(step(&state, user, user, "leave"));
    }
    ok(step(&state, ALICE, CAROL, "ban"));
    refused(step(&state, ALICE, EVE, "invite"), "MD-13");
    refused(step(&state, BOB, BOB, "join"), "MD-13");
    refused(by_mail(&state, "a", invite()), "MD-09");
}

#[test]
fn md_14_a_rejected_invite_counts() {
    let state = State::direct().member(BOB, BOB, "leave");
    refused(step(&state, ALICE, CAROL, "invite"), "MD-08");
}
