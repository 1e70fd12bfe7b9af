//! Typing notices begin, are renewed, and end.

use std::{sync::Arc, time::Duration};

use ruma::user_id;

use crate::{clock::ManualClock, random::Random, rooms::typing::Typing, store::RoomNid};

const ROOM: RoomNid = RoomNid(7);

fn typing() -> (Typing, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(1_000_000));
    (Typing::new(&Random::seeded(1), clock.clone()), clock)
}

#[test]
fn a_notice_is_told_once_and_ends_by_itself() {
    let (typing, clock) = typing();
    let user = user_id!("@ana:example.org");
    assert_eq!(typing.since(ROOM, 0), None);
    assert!(typing.set(ROOM, user, 30_000));
    let (users, at) = typing.since(ROOM, 0).unwrap();
    assert_eq!(users, [user]);
    assert_eq!(typing.since(ROOM, at), None);
    clock.advance(Duration::from_millis(29_999));
    assert_eq!(typing.drop_ended(), []);
    clock.advance(Duration::from_millis(1));
    assert_eq!(typing.drop_ended(), [ROOM]);
    assert_eq!(typing.drop_ended(), []);
    let (users, ended) = typing.since(ROOM, at).unwrap();
    assert!(users.is_empty());
    assert!(ended > at);
}

#[test]
fn a_renewed_notice_tells_nothing_new_and_ends_later() {
    let (typing, clock) = typing();
    let user = user_id!("@ana:example.org");
    assert!(typing.set(ROOM, user, 30_000));
    let (_, at) = typing.since(ROOM, 0).unwrap();
    clock.advance(Duration::from_secs(20));
    assert!(!typing.set(ROOM, user, 30_000));
    assert_eq!(typing.since(ROOM, at), None);
    clock.advance(Duration::from_secs(20));
    assert_eq!(typing.drop_ended(), []);
    // Nobody types for longer than two minutes without saying so again.
    assert!(!typing.set(ROOM, user, i64::MAX));
    clock.advance(Duration::from_mins(2));
    assert_eq!(typing.drop_ended(), [ROOM]);
}

#[test]
fn changes_in_one_millisecond_have_different_times() {
    let (typing, _) = typing();
    let (ana, ben) = (user_id!("@ana:example.org"), user_id!("@ben:example.org"));
    typing.set(ROOM, ana, 30_000);
    let (_, first) = typing.since(ROOM, 0).unwrap();
    typing.set(ROOM, ben, 30_000);
    let (users, second) = typing.since(ROOM, first).unwrap();
    assert_eq!(users, [ana, ben]);
    assert!(typing.set(ROOM, ana, 0));
    let (users, third) = typing.since(ROOM, second).unwrap();
    assert_eq!(users, [ben]);
    assert!(third > second);
    // To stop where one has not begun changes nothing.
    assert!(!typing.set(ROOM, ana, 0));
    assert!(!typing.set(RoomNid(8), ana, 0));
    assert_eq!(typing.since(RoomNid(8), 0), None);
}
