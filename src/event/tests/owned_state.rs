//! State with owners (MSC3757).

use super::*;
use crate::event::version::{BadStateKey, OWNED_STATE, owner};

const TYPE: &str = "org.example.own";

/// Alice's room, where everybody may send state of a type.
fn room(room_version: &str) -> Builder {
    let mut room = Builder::public(room_version);
    for name in ["bob", "carol"] {
        let user = user(name);
        room.member(&user, &user, "join").unwrap();
    }
    room.power_levels(alice(), json!({ "events": { TYPE: 0 } }))
        .unwrap();
    room
}

#[test]
fn the_owner_stands_before_the_first_underscore_after_the_first_colon() {
    let at_most = |suffix: usize| format!("@bob:example.org_{}", "x".repeat(suffix - 1));
    let long = "x".repeat(255);
    let cases: &[(&str, Result<Option<&str>, BadStateKey>)] = &[
        ("", Ok(None)),
        ("bob", Ok(None)),
        ("_@bob:example.org", Ok(None)),
        (&long, Ok(None)),
        (&format!("{long}x"), Err(BadStateKey::TooLong)),
        ("@bob:example.org", Ok(Some("@bob:example.org"))),
        ("@bob:example.org_", Ok(Some("@bob:example.org"))),
        ("@bob:example.org_a:b_@c:d", Ok(Some("@bob:example.org"))),
        ("@b_ob:example.org:80_a", Ok(Some("@b_ob:example.org:80"))),
        ("@bob:[::1]:80_a", Ok(Some("@bob:[::1]:80"))),
        ("@x_@bob:example.org_a", Ok(Some("@x_@bob:example.org"))),
        ("@bob:example.orga_b", Ok(Some("@bob:example.orga"))),
        (&at_most(256), Ok(Some("@bob:example.org"))),
        (&at_most(257), Err(BadStateKey::TooLong)),
        ("@", Err(BadStateKey::NoOwner)),
        ("@bob", Err(BadStateKey::NoOwner)),
        ("@bob_example.org", Err(BadStateKey::NoOwner)),
        ("@bob:", Err(BadStateKey::NoOwner)),
        ("@bob:_a", Err(BadStateKey::NoOwner)),
        ("@bob:example.org@a_b", Err(BadStateKey::NoOwner)),
        ("@bob:exa mple.org_b", Err(BadStateKey::NoOwner)),
    ];
    for (state_key, expected) in cases {
        let found = owner(state_key).map(|owner| owner.map(UserId::as_str));
        assert_eq!(found, *expected, "{state_key}");
    }
}

#[test]
fn state_is_its_owners_and_theirs_who_stand_above() {
    let (bob, carol) = (user("bob"), user("carol"));
    let own = format!("{bob}_1");
    for room_version in OWNED_STATE {
        let mut room = room(room_version);
        for state_key in [bob.as_str(), &own, "anything"] {
            room.state(&bob, TYPE, state_key, json!({})).unwrap();
        }
        let stranger = "@nobody:example.org_1";
        for state_key in [bob.as_str(), &own, stranger] {
            let refused = room.state(&carol, TYPE, state_key, json!({}));
            assert!(
                refusal(refused).contains("belongs to another"),
                "{state_key}"
            );
            room.state(alice(), TYPE, state_key, json!({})).unwrap();
        }
        room.state(&carol, TYPE, "anything", json!({})).unwrap();
        for state_key in ["@oops", "@bob:agent.tchap.example@_1"] {
            let refused = room.state(alice(), TYPE, state_key, json!({}));
            assert!(matches!(
                refused,
                Err(EventError::Build(BuildError::StateKey(
                    BadStateKey::NoOwner
                )))
            ));
        }
        // Whose level is the same stands not above.
        let levels =
            json!({ "users": { alice().as_str(): 100, bob.as_str(): 50, carol.as_str(): 50 } });
        room.power_levels(alice(), levels).unwrap();
        refusal(room.state(&carol, TYPE, &own, json!({})));
        room.state(&bob, TYPE, &own, json!({})).unwrap();
        let levels =
            json!({ "users": { alice().as_str(): 100, bob.as_str(): 50, carol.as_str(): 51 } });
        room.power_levels(alice(), levels).unwrap();
        room.state(&carol, TYPE, &own, json!({})).unwrap();
        // The other rules are as they were.
        let levels = json!({ "users": { alice().as_str(): 100 }, "state_default": 50 });
        room.power_levels(alice(), levels).unwrap();
        let refused = room.state(&bob, TYPE, &own, json!({}));
        assert!(refusal(refused).contains("enough power"));
        let dora = user("dora");
        refusal(room.state(&dora, TYPE, dora.as_str(), json!({})));
    }
}

#[test]
fn in_other_versions_it_is_as_before() {
    let bob = user("bob");
    for room_version in ["10", "11", "12"] {
        let mut room = room(room_version);
        room.state(&bob, TYPE, bob.as_str(), json!({})).unwrap();
        let own = format!("{bob}_1");
        for state_key in [bob.as_str(), &own, "@oops"] {
            refusal(room.state(alice(), TYPE, state_key, json!({})));
        }
        refusal(room.state(&bob, TYPE, &own, json!({})));
    }
}

#[test]
fn the_versions_are_those_that_they_are_built_on() {
    for (room_version, base) in OWNED_STATE.iter().zip(["10", "11"]) {
        let rules = VersionRules::of(&version(room_version)).unwrap();
        let base = VersionRules::of(&version(base)).unwrap();
        assert!(rules.owned_state && !base.owned_state);
        assert_eq!(
            rules.authorization.use_room_create_sender,
            base.authorization.use_room_create_sender
        );
        assert_eq!(
            rules.redaction.content_field_redacts,
            base.redaction.content_field_redacts
        );
    }
    assert!(VersionRules::of(&version("org.matrix.msc3757.12")).is_none());
}
