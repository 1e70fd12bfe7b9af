//! What a server of externals may add (tchap.md, 3, DRC rows).

use serde_json::json;

use super::{ALICE, BOB, CAROL, EVE, MEMBER, State, decide, ok, policy_with, refused, user};
use crate::policy::{Decision, Policy};

const US: &str = "agent.education.tchap.gouv.fr";
const FINANCES: &str = "agent.finances.tchap.gouv.fr";

fn mapped(more: &str) -> Policy {
    policy_with(&format!(
        "restrictions.invite_servers = {{ \"{US}\" = [\"{US}\", \"{FINANCES}\"] }}\n{more}"
    ))
}

fn step(policy: &Policy, sender: &str, target: &str, membership: &str) -> Decision {
    let content = json!({ "membership": membership });
    let state = State::unrestricted();
    decide(policy, &state, sender, (MEMBER, target), content, false)
}

#[test]
fn drc_01_drc_02_servers_are_invited_from_the_mapping() {
    let policy = mapped("");
    ok(step(&policy, ALICE, BOB, "invite"));
    ok(step(&policy, ALICE, CAROL, "invite"));
    let violation = refused(step(&policy, ALICE, EVE, "invite"), "DRC-02");
    assert_eq!(
        violation.message.en,
        "Invites have been disabled on this server"
    );
}

#[test]
fn drc_03_who_is_not_in_the_mapping_invites_nobody() {
    let policy = mapped("restrictions.invite_if_unlisted = false");
    refused(step(&policy, CAROL, BOB, "invite"), "DRC-03");
    ok(step(&mapped(""), CAROL, BOB, "invite"));
}

#[test]
fn drc_04_drc_05_rooms_are_joined_by_invite_only() {
    let policy = policy_with("restrictions.join_by_invite_only = true");
    let violation = refused(step(&policy, BOB, BOB, "join"), "DRC-04");
    assert_eq!(violation.message.en, "Not allowed to join this room");
    let invited = State::unrestricted().member(ALICE, BOB, "invite");
    let content = json!({ "membership": "join" });
    ok(decide(
        &policy,
        &invited,
        BOB,
        (MEMBER, BOB),
        content,
        false,
    ));
    // It is about the users of this server.
    ok(step(&policy, CAROL, CAROL, "join"));
}

#[test]
fn drc_08_nobody_is_invited_later() {
    let policy = policy_with("restrictions.invite_at_creation_only = true");
    refused(step(&policy, ALICE, BOB, "invite"), "DRC-08");
    ok(step(&policy, CAROL, BOB, "invite"));
}

#[test]
fn drc_09_nobody_is_invited_by_mail() {
    let policy = policy_with("restrictions.invite_by_email = false");
    let state = State::unrestricted().token("a");
    let key = ("m.room.third_party_invite", "a");
    let invite = json!({ "display_name": "x" });
    refused(decide(&policy, &state, ALICE, key, invite, false), "DRC-09");
    ok(decide(&policy, &state, ALICE, key, json!({}), false));
}

#[test]
fn drc_10_drc_11_some_servers_are_not_invited_to_published_rooms() {
    let policy = policy_with(&format!(
        "restrictions.unpublished_only_servers = [\"{FINANCES}\"]"
    ));
    let invite = |target, is_published| {
        let content = json!({ "membership": "invite" });
        let state = State::restricted();
        decide(
            &policy,
            &state,
            ALICE,
            (MEMBER, target),
            content,
            is_published,
        )
    };
    refused(invite(CAROL, true), "DRC-10");
    ok(invite(CAROL, false));
    ok(invite(BOB, true));
}

#[test]
fn drc_13_invites_from_elsewhere_follow_the_mapping() {
    let policy = mapped("restrictions.invite_if_unlisted = false");
    let by = |sender, target| policy.rooms().may_be_invited_by(user(sender), user(target));
    refused(by(CAROL, BOB), "DRC-13");
    ok(by(ALICE, CAROL));
    refused(step(&policy, CAROL, BOB, "invite"), "DRC-03");
}
