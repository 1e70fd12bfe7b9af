//! Snapshots: what they know, and that loading one gives the same as growing it.

use ruma::events::room::{guest_access::GuestAccess, member::MembershipState};
use ruma::room::JoinRule;

use super::*;

fn heroes(room: &Room, not: &UserId) -> Vec<String> {
    let heroes = room.heroes(not);
    heroes
        .iter()
        .map(|user| user.localpart().to_owned())
        .collect()
}

/// The snapshot as it would come back from the store.
fn reloaded(room: &Room) -> Room {
    Room::from_parts(
        room.room_id().to_owned(),
        room.room_version().clone(),
        room.version(),
        room.depth(),
        room.extremities().to_vec(),
        room.state().map(|event| StateEvent::clone(event)),
    )
    .unwrap()
}

#[test]
fn a_loaded_room_is_the_one_that_grew() {
    for room_version in VERSIONS {
        let mut builder = Builder::public(room_version);
        for name in ["bob", "carol", "dave"] {
            let user_id = user(name);
            builder.member(&user_id, &user_id, "join").unwrap();
        }
        builder.member(alice(), &user("erin"), "invite").unwrap();
        let carol = user("carol");
        builder.member(&carol, &carol, "leave").unwrap();
        let encryption = json!({"algorithm": "m.megolm.v1.aes-sha2"});
        builder
            .state(alice(), "m.room.encryption", "", encryption)
            .unwrap();
        let grown = &builder.room;
        let loaded = reloaded(grown);
        for room in [grown, &loaded] {
            assert_eq!(room.joined_count(), 3);
            assert_eq!(room.invited_count(), 1);
            let joined: Vec<_> = room.joined_members().map(UserId::localpart).collect();
            assert_eq!(joined, ["alice", "bob", "dave"]);
            assert_eq!(*room.membership(&carol), MembershipState::Leave);
            assert_eq!(*room.membership(&user("erin")), MembershipState::Invite);
            assert!(matches!(room.join_rule(), JoinRule::Public));
            assert_eq!(*room.guest_access(), GuestAccess::Forbidden);
            assert!(room.is_encrypted());
            assert!(room.is_joined(alice()));
            assert!(!room.is_joined(&user("nobody")));
            assert_eq!(heroes(room, alice()), ["bob", "dave", "erin"]);
            assert_eq!(room.state().count(), 9);
        }
        let positions = |room: &Room| -> Vec<_> {
            room.state()
                .map(|event| (event.position, event.pdu.event_id().to_owned()))
                .collect()
        };
        assert_eq!(positions(grown), positions(&loaded));
        let mut again = Builder {
            room: loaded,
            events: builder.events.clone(),
        };
        again.message(&user("bob")).unwrap();
        assert_eq!(again.room.version(), builder.room.version() + 1);
    }
}

#[test]
fn a_snapshot_does_not_change_when_the_room_does() {
    let mut builder = Builder::public("12");
    let before = builder.room.clone();
    let bob = user("bob");
    builder.member(&bob, &bob, "join").unwrap();
    builder.join_rule(json!({"join_rule": "invite"})).unwrap();
    assert!(!before.is_joined(&bob));
    assert_eq!(before.joined_count(), 1);
    assert!(matches!(before.join_rule(), JoinRule::Public));
    assert!(builder.room.is_joined(&bob));
    assert!(matches!(builder.room.join_rule(), JoinRule::Invite));
}

#[test]
fn a_state_event_knows_what_it_replaced() {
    let mut builder = Builder::public("12");
    let first = builder.state(alice(), "m.room.topic", "", json!({"topic": "a"}));
    let first = first.unwrap();
    builder.message(alice()).unwrap();
    builder
        .state(alice(), "m.room.topic", "", json!({"topic": "b"}))
        .unwrap();
    let topic = builder.room.state_event(&StateEventType::RoomTopic, "");
    let topic = topic.unwrap();
    assert_eq!(topic.replaces.as_deref(), Some(first.event_id()));
    assert_eq!(topic.position, 7);
    let content: Value = builder
        .room
        .state_content(&StateEventType::RoomTopic, "")
        .unwrap();
    assert_eq!(content["topic"], "b");
}

#[test]
fn heroes_are_the_first_five_others_in_order() {
    let mut builder = Builder::public("12");
    assert!(heroes(&builder.room, alice()).is_empty());
    let names = ["zoe", "yann", "xavier", "wendy", "victor", "ulysse", "theo"];
    for name in &names[..5] {
        let user_id = user(name);
        builder.member(&user_id, &user_id, "join").unwrap();
    }
    builder.member(alice(), &user("ulysse"), "invite").unwrap();
    builder.member(alice(), &user("theo"), "invite").unwrap();
    assert_eq!(heroes(&builder.room, alice()), &names[..5]);
    let of_zoe = ["alice", "yann", "xavier", "wendy", "victor"];
    assert_eq!(heroes(&builder.room, &user("zoe")), of_zoe);
    for name in &names[1..5] {
        let user_id = user(name);
        builder.member(&user_id, &user_id, "leave").unwrap();
    }
    assert_eq!(heroes(&builder.room, alice()), ["zoe", "ulysse", "theo"]);
    // Who knocks is no hero; who is gone is one only where nobody else is there.
    builder.member(&user("zoe"), &user("zoe"), "leave").unwrap();
    builder.member(alice(), &user("ulysse"), "leave").unwrap();
    builder.member(alice(), &user("theo"), "ban").unwrap();
    let gone = ["yann", "xavier", "wendy", "victor", "zoe"];
    assert_eq!(heroes(&builder.room, alice()), gone);
    assert_eq!(heroes(&builder.room, &user("zoe")), ["alice"]);
}

#[test]
fn the_levels_of_a_room_are_parsed_with_their_defaults() {
    let mut builder = Builder::public("11");
    let levels = builder.room.power_levels();
    let numbers = [
        levels.ban(),
        levels.kick(),
        levels.redact(),
        levels.invite(),
        levels.events_default(),
        levels.state_default(),
        levels.users_default(),
        levels.notify_room(),
    ];
    assert_eq!(numbers.map(i64::from), [50, 50, 50, 0, 0, 50, 0, 50]);
    let changed = json!({
        "ban": 1, "kick": 2, "redact": 3, "invite": 4, "events_default": 5, "state_default": 6,
        "users_default": 7, "notifications": {"room": 8}, "events": {"m.room.name": 9},
    });
    builder.power_levels(alice(), changed).unwrap();
    let levels = builder.room.power_levels();
    assert_eq!(i64::from(levels.ban()), 1);
    assert_eq!(i64::from(levels.kick()), 2);
    assert_eq!(i64::from(levels.redact()), 3);
    assert_eq!(i64::from(levels.invite()), 4);
    assert_eq!(i64::from(levels.notify_room()), 8);
    assert!(levels.may_send(alice(), &"m.room.name".into(), true));
    assert!(!levels.may_send(&user("bob"), &"m.room.name".into(), true));
    assert!(levels.may_send(&user("bob"), &"m.room.topic".into(), true));
    assert_eq!(levels.users().count(), 1);
    assert_eq!(levels.infinite_users().count(), 0);
}

#[test]
fn before_there_are_levels_the_creator_has_100() {
    for room_version in ["6", "11"] {
        let builder = Builder::created(room_version);
        let levels = builder.room.power_levels();
        assert!(levels.user(alice()) == ruma::Int::from(100_u8));
        assert!(levels.user(&user("bob")) == ruma::Int::from(0_u8));
    }
}

#[test]
fn a_room_without_a_create_event_is_not_loaded() {
    let builder = Builder::public("11");
    let state = builder
        .room
        .state()
        .skip(1)
        .map(|event| StateEvent::clone(event));
    let loaded = Room::from_parts(
        builder.room.room_id().to_owned(),
        version("11"),
        4,
        4,
        Vec::new(),
        state,
    );
    assert!(matches!(loaded, Err(RoomError::NoCreateEvent)));
}
