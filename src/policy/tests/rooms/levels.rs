//! Power levels after the room was made (tchap.md, 4.8).

use serde_json::{Value, json};

use super::{ACCESS, ALICE, BOB, EVE, EXTERNALS, LEVELS, State, ok, refused, send};
use crate::policy::Decision;

fn levels(state: &State, levels: Value) -> Decision {
    send(state, ALICE, LEVELS, levels)
}

#[test]
fn pl_01_limits_hold_at_creation_only() {
    for state in [State::restricted(), State::unrestricted(), State::direct()] {
        ok(levels(&state, json!({ "invite": 0, "state_default": 50 })));
    }
}

#[test]
fn pl_02_a_room_open_to_externals_gives_nobody_a_level_by_default() {
    for default in [1, 50, -1] {
        let content = json!({ "users_default": default });
        let violation = refused(levels(&State::unrestricted(), content), "PL-02");
        assert_eq!(violation.reason, "default_power_level");
    }
    ok(levels(
        &State::unrestricted(),
        json!({ "users_default": 0 }),
    ));
}

#[test]
fn pl_03_ro_11_externals_have_no_level() {
    for external in EXTERNALS {
        for level in [100, 50, 1, -1] {
            let content = json!({ "users": { ALICE: 100, external: level } });
            let violation = refused(levels(&State::unrestricted(), content), "PL-03");
            assert_eq!(violation.reason, "external_power_level");
        }
        ok(levels(
            &State::unrestricted(),
            json!({ "users": { external: 0 } }),
        ));
    }
}

#[test]
fn pl_04_agents_have_levels_in_a_room_open_to_externals() {
    for level in [50, 100] {
        ok(levels(
            &State::unrestricted(),
            json!({ "users": { BOB: level } }),
        ));
    }
}

#[test]
fn pl_05_a_restricted_room_has_any_default() {
    ok(levels(
        &State::restricted(),
        json!({ "users_default": 100 }),
    ));
}

#[test]
fn pl_06_both_people_of_a_direct_chat_have_a_level() {
    ok(levels(
        &State::direct(),
        json!({ "users": { ALICE: 100, EVE: 100 } }),
    ));
}

#[test]
fn pl_07_a_room_is_not_opened_while_all_or_externals_have_a_level() {
    let open = json!({ "rule": "unrestricted" });
    let everybody = json!({ "users_default": 100 });
    let state = State::restricted().with(ALICE, LEVELS, "", everybody);
    refused(send(&state, ALICE, ACCESS, open.clone()), "PL-07");
    let external = json!({ "users": { ALICE: 100, EVE: 50 } });
    let state = State::restricted().with(ALICE, LEVELS, "", external.clone());
    refused(send(&state, ALICE, ACCESS, open.clone()), "PL-07");
    let state = State::old().with(ALICE, LEVELS, "", external);
    refused(send(&state, ALICE, ACCESS, open), "PL-07");
}
