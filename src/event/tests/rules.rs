//! The authorization rules, through `Room::build_event`.

use ruma::events::room::{history_visibility::HistoryVisibility, power_levels::UserPowerLevel};

use super::*;

#[test]
fn a_room_grows_from_its_create_event() {
    for room_version in VERSIONS {
        let mut room = Builder::public(room_version);
        let visibility = json!({"history_visibility": "joined"});
        room.state(alice(), "m.room.history_visibility", "", visibility)
            .unwrap();
        let bob = user("bob");
        room.member(&bob, &bob, "join").unwrap();
        let message = room.message(&bob).unwrap();
        assert_eq!(room.room.version(), 7);
        assert_eq!(room.room.depth(), 7);
        assert_eq!(message.depth(), 7);
        assert_eq!(message.prev_events(), [room.events[5].event_id()]);
        assert_eq!(room.room.extremities(), [message.event_id()]);
        assert_eq!(*room.room.history_visibility(), HistoryVisibility::Joined);
        // Power levels, Bob's member event, and up to version 11 the create event.
        let count = if room_version == "12" { 2 } else { 3 };
        assert_eq!(message.auth_events().len(), count);
    }
}

#[test]
fn who_is_not_joined_sends_nothing() {
    for room_version in VERSIONS {
        let mut room = Builder::public(room_version);
        let bob = user("bob");
        assert!(refusal(room.message(&bob)).contains("not `join`"));
        room.member(alice(), &bob, "invite").unwrap();
        assert!(refusal(room.message(&bob)).contains("not `join`"));
        room.member(&bob, &bob, "join").unwrap();
        room.message(&bob).unwrap();
        room.member(alice(), &bob, "ban").unwrap();
        assert!(refusal(room.message(&bob)).contains("not `join`"));
        refusal(room.member(&bob, &bob, "join"));
    }
}

#[test]
fn nobody_joins_a_closed_room_without_an_invite() {
    for room_version in VERSIONS {
        let mut room = Builder::public(room_version);
        room.join_rule(json!({"join_rule": "invite"})).unwrap();
        let bob = user("bob");
        refusal(room.member(&bob, &bob, "join"));
        refusal(room.member(&bob, &user("carol"), "invite"));
        room.member(alice(), &bob, "invite").unwrap();
        room.member(&bob, &bob, "join").unwrap();
    }
}

#[test]
fn a_low_level_does_not_change_state() {
    for room_version in VERSIONS {
        let mut room = Builder::public(room_version);
        let bob = user("bob");
        room.member(&bob, &bob, "join").unwrap();
        let refused = room.state(&bob, "m.room.name", "", json!({"name": "Mine"}));
        assert!(refusal(refused).contains("enough power"));
        let refused = room.power_levels(&bob, json!({}));
        assert!(refusal(refused).contains("enough power"));
        refusal(room.member(&bob, alice(), "leave"));
        refusal(room.member(&bob, alice(), "ban"));
        let levels = json!({"users": {bob.as_str(): 50}});
        room.power_levels(alice(), levels).unwrap();
        room.state(&bob, "m.room.name", "", json!({"name": "Ours"}))
            .unwrap();
        // Nobody gives more than they have.
        let levels = json!({"users": {bob.as_str(): 51}, "state_default": 50});
        assert!(refusal(room.power_levels(&bob, levels)).contains("enough power"));
    }
}

#[test]
fn state_of_other_users_is_theirs() {
    let mut room = Builder::public("11");
    let refused = room.state(
        alice(),
        "org.example.own",
        "@bob:agent.tchap.example",
        json!({}),
    );
    refusal(refused);
    room.state(alice(), "org.example.own", alice().as_str(), json!({}))
        .unwrap();
}

#[test]
fn a_room_is_created_once() {
    for room_version in VERSIONS {
        let mut room = Builder::public(room_version);
        let refused = room.state(alice(), "m.room.create", "", json!({}));
        assert!(refusal(refused).contains("already created"));
    }
}

#[test]
fn the_first_member_is_the_creator() {
    for room_version in VERSIONS {
        let mut room = Builder::created(room_version);
        let bob = user("bob");
        refusal(room.member(&bob, &bob, "join"));
        refusal(room.message(alice()));
        room.member(alice(), alice(), "join").unwrap();
    }
}

#[test]
fn creators_of_version_12_stand_above_all_levels() {
    let bob = user("bob");
    let create = json!({"additional_creators": [bob]});
    let mut room = Builder::created_with("12", create);
    room.member(alice(), alice(), "join").unwrap();
    room.join_rule(json!({"join_rule": "public"})).unwrap();
    room.member(&bob, &bob, "join").unwrap();
    let levels = json!({"events": {"m.room.tombstone": 9000}, "users": {}});
    room.power_levels(&bob, levels).unwrap();
    assert_eq!(room.room.creators(), [alice().to_owned(), bob.clone()]);
    assert_eq!(
        room.room.power_levels().user(&bob),
        UserPowerLevel::Infinite
    );
    room.state(&bob, "m.room.tombstone", "", json!({})).unwrap();
    // Creators are not named in the levels, and nobody removes them.
    let levels = json!({"users": {bob.as_str(): 100}});
    assert!(refusal(room.power_levels(alice(), levels)).contains("creator"));
    let carol = user("carol");
    room.member(&carol, &carol, "join").unwrap();
    room.power_levels(alice(), json!({"users": {carol.as_str(): 8000}}))
        .unwrap();
    refusal(room.member(&carol, &bob, "leave"));

    let draft = Draft::state(
        StateEventType::RoomCreate,
        "",
        content(json!({"additional_creators": ["nobody"]})),
    );
    let server_name = server_name!("agent.tchap.example");
    let refused = Room::create(
        &version("12"),
        None,
        draft,
        alice(),
        now(),
        &key(),
        server_name,
    );
    assert!(refusal(refused).contains("additional_creators"));
}

#[test]
fn a_restricted_join_names_a_member_who_may_invite() {
    for room_version in ["8", "9", "10", "11", "12"] {
        let mut room = Builder::public(room_version);
        let rule = json!({
            "join_rule": "restricted",
            "allow": [{"type": "m.room_membership", "room_id": "!other:agent.tchap.example"}],
        });
        room.join_rule(rule).unwrap();
        let bob = user("bob");
        refusal(room.member(&bob, &bob, "join"));
        let through = |user_id: &UserId| json!({"membership": "join", "join_authorised_via_users_server": user_id});
        let carol = user("carol");
        refusal(room.state(&bob, "m.room.member", bob.as_str(), through(&carol)));
        let joined = room.state(&bob, "m.room.member", bob.as_str(), through(alice()));
        let joined = joined.unwrap();
        let member_of_alice = room.room.member(alice()).unwrap();
        assert!(
            joined
                .auth_events()
                .contains(member_of_alice.pdu.owned_event_id())
        );
    }
}

#[test]
fn knocking_needs_version_7() {
    for room_version in VERSIONS {
        let mut room = Builder::public(room_version);
        room.join_rule(json!({"join_rule": "knock"})).unwrap();
        let bob = user("bob");
        let knocked = room.member(&bob, &bob, "knock");
        let has_knocks = version(room_version)
            .rules()
            .unwrap()
            .authorization
            .knocking;
        assert_eq!(knocked.is_ok(), has_knocks, "{room_version}");
    }
}

#[test]
fn power_levels_are_integers_from_version_10_on() {
    for room_version in VERSIONS {
        let mut room = Builder::public(room_version);
        let accepted = room.power_levels(alice(), json!({"users_default": "1"}));
        let integers = version(room_version)
            .rules()
            .unwrap()
            .authorization
            .integer_power_levels;
        assert_eq!(accepted.is_ok(), !integers, "{room_version}");
        let expected = i32::from(!integers);
        assert_eq!(
            room.room.power_levels().user(&user("bob")),
            UserPowerLevel::Int(expected.into())
        );
    }
}

#[test]
fn third_party_invites_need_the_level_to_invite() {
    let mut room = Builder::public("11");
    let bob = user("bob");
    room.member(&bob, &bob, "join").unwrap();
    room.power_levels(alice(), json!({"invite": 50})).unwrap();
    let invite = json!({"display_name": "c", "public_key": "k", "key_validity_url": "u"});
    let refused = room.state(&bob, "m.room.third_party_invite", "token", invite.clone());
    assert!(refusal(refused).contains("invites"));
    room.state(alice(), "m.room.third_party_invite", "token", invite)
        .unwrap();
}
