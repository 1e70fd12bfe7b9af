//! The last administrator leaves (tchap.md, 10.3).

use serde_json::{Value, json};

use super::{ALICE, BOB, CAROL, EVE, FLAGGED, LEVELS, State, people, policy, policy_with, user};
use crate::policy::{Policy, rooms::Succession};

/// What happens when Alice leaves, with the facts that the policy asks for and no others.
fn leave_with(policy: &Policy, state: &State) -> Option<Succession> {
    let room = state.room();
    let alice = user(ALICE);
    let needed = policy.rooms().succession_needs(&room, alice)?;
    let people = people(policy, needed);
    policy.rooms().succession(&room, alice, &people)
}

fn leave(state: &State) -> Option<Succession> {
    leave_with(&policy(), state)
}

#[track_caller]
fn levels(succession: Option<Succession>, rule: &str) -> Value {
    let succession = succession.unwrap();
    assert_eq!(succession.rule, rule);
    serde_json::to_value(succession.levels).unwrap()
}

#[test]
fn la_01_everybody_leads_a_private_room() {
    for state in [State::restricted(), State::old()] {
        let moderated = json!({ "users": { ALICE: 100, CAROL: 50 }, "kick": 50 });
        let state = state
            .member(BOB, BOB, "join")
            .with(ALICE, LEVELS, "", moderated);
        assert_eq!(
            levels(leave(&state), "LA-01"),
            json!({ "users_default": 100, "users": { ALICE: 100 }, "kick": 50 })
        );
    }
}

#[test]
fn la_02_nothing_happens_while_another_administrator_is_there() {
    let two = json!({ "users": { ALICE: 100, BOB: 100 } });
    let state = State::restricted()
        .member(CAROL, CAROL, "join")
        .with(ALICE, LEVELS, "", two);
    for membership in ["join", "invite"] {
        assert_eq!(leave(&state.clone().member(ALICE, BOB, membership)), None);
    }
    // One who has left leads nothing.
    levels(leave(&state.clone().member(BOB, BOB, "leave")), "LA-01");
    // Nor does anything happen when somebody leaves who leads nothing, or where all do.
    let none = state
        .clone()
        .with(ALICE, LEVELS, "", json!({ "users": { ALICE: 50 } }));
    assert_eq!(leave(&none), None);
    let all = json!({ "users": { ALICE: 100 }, "users_default": 100 });
    assert_eq!(leave(&state.with(ALICE, LEVELS, "", all)), None);
}

#[test]
fn la_03_the_highest_moderators_follow() {
    let moderated = json!({ "users": { ALICE: 100, BOB: 50, CAROL: 75, EVE: 80 } });
    let state = State::restricted()
        .member(BOB, BOB, "join")
        .member(ALICE, CAROL, "invite")
        .member(EVE, EVE, "join")
        .with(ALICE, LEVELS, "", moderated);
    assert_eq!(
        levels(leave(&state), "LA-03"),
        json!({ "users": { ALICE: 100, BOB: 50, CAROL: 100, EVE: 80 } })
    );
    let off = policy_with("rooms.promote_moderators = false");
    levels(leave_with(&off, &state), "LA-01");
}

#[test]
fn la_04_all_agents_lead_a_room_open_to_externals() {
    let state = State::unrestricted()
        .member(BOB, BOB, "join")
        .member(EVE, EVE, "join")
        .member(FLAGGED, FLAGGED, "join")
        .member(ALICE, CAROL, "invite");
    assert_eq!(
        levels(leave(&state), "LA-04"),
        json!({ "users": { ALICE: 100, BOB: 100 } })
    );
    // Nobody is left who could.
    let state = State::unrestricted().member(EVE, EVE, "join");
    assert_eq!(leave(&state), None);
}

#[test]
fn la_05_a_moderator_of_a_room_open_to_externals_follows() {
    let moderated = json!({ "users": { ALICE: 100, BOB: 50 } });
    let state = State::unrestricted()
        .member(BOB, BOB, "join")
        .member(CAROL, CAROL, "join")
        .with(ALICE, LEVELS, "", moderated);
    assert_eq!(
        levels(leave(&state), "LA-05"),
        json!({ "users": { ALICE: 100, BOB: 100 } })
    );
}

#[test]
fn la_06_nobody_follows_where_nobody_is() {
    for state in [State::restricted(), State::unrestricted(), State::public()] {
        assert_eq!(leave(&state), None);
        assert_eq!(leave(&state.member(ALICE, BOB, "ban")), None);
    }
}

#[test]
fn la_08_external_moderators_do_not_follow_and_agents_do() {
    let moderated = json!({ "users": { ALICE: 100, FLAGGED: 50 } });
    let state = State::unrestricted()
        .member(FLAGGED, FLAGGED, "join")
        .member(BOB, BOB, "join")
        .with(ALICE, LEVELS, "", moderated);
    assert_eq!(
        levels(leave(&state), "LA-08"),
        json!({ "users": { ALICE: 100, FLAGGED: 50, BOB: 100 } })
    );
}

#[test]
fn la_09_who_joins_a_public_room_later_does_not_lead_it() {
    let state = State::public()
        .member(BOB, BOB, "join")
        .member(CAROL, CAROL, "join");
    let levels = levels(leave(&state), "LA-09");
    assert_eq!(
        levels,
        json!({ "users": { ALICE: 100, BOB: 100, CAROL: 100 } })
    );
    // However many there are, the event holds those who lead.
    let mut crowd = State::public();
    for number in 0..400 {
        let member = format!("@m{number}:agent.education.tchap.gouv.fr");
        crowd = crowd.member(&member, &member, "join");
    }
    let levels = super::content(self::levels(leave(&crowd), "LA-09"));
    let users = levels["users"].as_object().unwrap();
    assert_eq!(users.len(), 301);
    assert!(users.contains_key("@m0:agent.education.tchap.gouv.fr"));
    assert!(!users.contains_key("@m399:agent.education.tchap.gouv.fr"));
}
