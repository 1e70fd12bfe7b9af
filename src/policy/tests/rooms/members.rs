//! Who may be in a room, direct chats aside (tchap.md, 3 and 4.7).

use serde_json::json;

use super::{
    ALICE, BOB, BOT, CAROL, EVE, EXTERNALS, FLAGGED, LEVELS, ROOT, State, ok, policy, refused,
    send, standing, step, user,
};
use crate::policy::{OPEN, rooms::Standing};

#[test]
fn ro_16_administrators_and_listed_users_are_exempt() {
    let policy = policy();
    for (id, expected) in [
        (ALICE, Standing::Agent),
        (CAROL, Standing::Agent),
        (EVE, Standing::External),
        (FLAGGED, Standing::External),
        (ROOT, Standing::Exempt),
        (BOT, Standing::Exempt),
        ("@x:AGENT.externe.tchap.gouv.fr", Standing::External),
        ("@x:agent-externe.tchap.gouv.fr", Standing::Agent),
        ("@x:sub.agent.externe.tchap.gouv.fr", Standing::Agent),
    ] {
        assert_eq!(standing(&policy, id), expected, "{id}");
    }
    for sender in [ROOT, BOT] {
        ok(step(&State::restricted(), sender, EVE, "invite"));
        ok(step(
            &State::direct().member(ALICE, BOB, "join"),
            sender,
            EVE,
            "invite",
        ));
        let levels = json!({ "users_default": 50 });
        ok(send(&State::unrestricted(), sender, LEVELS, levels));
    }
}

#[test]
fn mr_01_agents_are_invited_to_a_restricted_room() {
    for state in [State::restricted(), State::old(), State::public()] {
        for agent in [BOB, CAROL] {
            ok(step(&state, ALICE, agent, "invite"));
            ok(step(&state, agent, agent, "join"));
            ok(step(&state, agent, agent, "knock"));
        }
    }
}

#[test]
fn mr_02_ro_05_an_external_is_not_invited_to_a_restricted_room() {
    for state in [
        State::restricted(),
        State::old(),
        State::of(json!({ "rule": "odd" })),
    ] {
        for external in EXTERNALS {
            let violation = refused(step(&state, ALICE, external, "invite"), "MR-02");
            assert_eq!(violation.reason, "externals_not_allowed");
        }
    }
}

#[test]
fn mr_03_an_external_does_not_join_a_restricted_room_even_with_an_invite() {
    for external in EXTERNALS {
        let state = State::restricted();
        let violation = refused(step(&state, external, external, "join"), "MR-03");
        assert_eq!(violation.reason, "external_user");
        assert_eq!(violation.message.en, "Not allowed to join this room");
        let invited = state.member(ALICE, external, "invite");
        refused(step(&invited, external, external, "join"), "MR-03");
    }
}

#[test]
fn mr_04_an_external_who_is_in_leaves() {
    for external in EXTERNALS {
        let state = State::restricted().member(external, external, "join");
        ok(step(&state, external, external, "leave"));
        // A new avatar is a join too.
        ok(step(&state, external, external, "join"));
    }
}

#[test]
fn mr_05_an_external_is_removed() {
    for external in EXTERNALS {
        let state = State::restricted().member(external, external, "join");
        ok(step(&state, ALICE, external, "leave"));
        ok(step(&state, ALICE, external, "ban"));
    }
}

#[test]
fn mr_06_mu_05_invitations_by_mail_are_events_like_others() {
    for state in [State::restricted(), State::unrestricted()] {
        let invite = json!({ "display_name": "e…" });
        let kind = "m.room.third_party_invite";
        let key = (kind, "token");
        ok(super::decide(&policy(), &state, ALICE, key, invite, false));
    }
}

#[test]
fn mu_01_ro_06_an_external_is_invited_to_an_unrestricted_room() {
    for external in EXTERNALS {
        ok(step(&State::unrestricted(), ALICE, external, "invite"));
    }
    ok(step(&State::unrestricted(), ALICE, CAROL, "invite"));
}

#[test]
fn mu_02_an_external_joins_with_an_invite() {
    for external in EXTERNALS {
        let state = State::unrestricted().member(ALICE, external, "invite");
        ok(step(&state, external, external, "join"));
    }
}

#[test]
fn mu_03_ro_07_an_external_does_not_join_without_an_invite() {
    for external in EXTERNALS {
        refused(
            step(&State::unrestricted(), external, external, "join"),
            "MU-03",
        );
        let gone = State::unrestricted().member(external, external, "leave");
        refused(step(&gone, external, external, "join"), "MU-03");
    }
    ok(step(&State::unrestricted(), CAROL, CAROL, "join"));
}

#[test]
fn ro_08_externals_stay_out_of_public_rooms() {
    for external in EXTERNALS {
        refused(step(&State::public(), ALICE, external, "invite"), "RO-08");
        refused(step(&State::public(), external, external, "join"), "MR-03");
    }
    // Whatever the rule says.
    let odd = State::of(json!({ "rule": "unrestricted", "visibility": "public" }));
    refused(step(&odd, ALICE, EVE, "invite"), "RO-08");
}

#[test]
fn ro_12_externals_invite_nobody() {
    for external in EXTERNALS {
        let state = State::unrestricted().member(external, external, "join");
        let violation = refused(step(&state, external, BOB, "invite"), "RO-12");
        assert_eq!(violation.reason, "external_user");
        let invite = json!({ "display_name": "b…" });
        let key = ("m.room.third_party_invite", "token");
        let decision = super::decide(&policy(), &state, external, key, invite, false);
        refused(decision, "RO-12");
    }
}

#[test]
fn ro_14_externals_are_in_no_space() {
    let state = State::space();
    for external in EXTERNALS {
        refused(step(&state, ALICE, external, "invite"), "RO-14");
        let invited = state.clone().member(ALICE, external, "invite");
        refused(step(&invited, external, external, "join"), "RO-14");
        // Who is in one from before leaves, or is removed (MR-04, MR-05).
        let inside = state.clone().member(ALICE, external, "join");
        ok(step(&inside, external, external, "leave"));
        ok(step(&inside, ALICE, external, "ban"));
    }
    ok(step(&state, ALICE, CAROL, "invite"));
    let mut restricted = State::restricted();
    restricted.0[0].3 = json!({ "room_version": "11", "type": "m.space" });
    let open = json!({ "rule": "unrestricted" });
    refused(send(&restricted, ALICE, super::ACCESS, open), "RO-14");
}

#[test]
fn ro_17_an_external_does_not_knock_on_a_restricted_room() {
    for external in EXTERNALS {
        refused(
            step(&State::restricted(), external, external, "knock"),
            "RO-17",
        );
        ok(step(&State::unrestricted(), external, external, "knock"));
    }
}

/// Before the rules (tchap.md, 4.7).
#[test]
fn who_is_exempt_is_invited_and_lets_in() {
    ok(step(&State::restricted(), ALICE, BOT, "invite"));
    for exempt in [ROOT, BOT] {
        let state = State::restricted().member(exempt, EVE, "invite");
        ok(step(&state, EVE, EVE, "join"));
    }
}

#[test]
fn ro_15_messages_and_most_state_ask_for_nobody() {
    let policy = policy();
    let room = State::unrestricted().room();
    let content = super::content(json!({ "body": "Bonjour" }));
    for (kind, key) in [
        ("m.room.message", None),
        ("m.call.member", Some("_@eve")),
        ("m.room.pinned_events", Some("")),
        ("m.room.name", Some("")),
    ] {
        let event = crate::policy::rooms::PlannedEvent {
            event_type: &kind.into(),
            state_key: key,
            content: &content,
            sender: user(EVE),
            redacts: None,
        };
        assert!(policy.rooms().needs(&room, &event).is_none(), "{kind}");
    }
}

#[test]
fn the_open_profile_has_no_rules_for_rooms() {
    let open = super::super::open(r#"external_servers = ["agent.externe.tchap.gouv.fr"]"#);
    assert!(!open.is_external(user(EVE), true));
    let state = State::restricted();
    let invite = json!({ "membership": "invite" });
    ok(super::decide(
        &open,
        &state,
        ALICE,
        (super::MEMBER, EVE),
        invite,
        false,
    ));
    let room = State::direct().room();
    let listed = open.rooms().may_publish(&room, Standing::Agent);
    assert_eq!(listed.rule(), OPEN);
}
