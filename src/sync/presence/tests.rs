//! What a process knows of who is there, and what processes tell each other.

use proptest::prelude::*;
use ruma::{UserId, presence::PresenceState, user_id};

use super::{
    people::{News, People},
    wire,
};
use crate::store::{DeviceNid, UserNid};

const ANNA: UserNid = UserNid(1);
const PHONE: DeviceNid = DeviceNid(1);
const LAPTOP: DeviceNid = DeviceNid(2);

fn anna() -> &'static UserId {
    user_id!("@anna:example.org")
}

fn news(state: PresenceState, status: Option<&str>, status_ms: i64) -> News {
    News {
        user: ANNA,
        user_id: anna().to_owned(),
        state,
        last_active_ms: 5,
        status: status.map(str::to_owned),
        status_ms,
    }
}

#[test]
fn the_liveliest_device_counts() {
    let mut people = People::default();
    let state = |people: &People| people.shown(ANNA, 0).unwrap().state;
    people.begin_sync((ANNA, anna(), PHONE), PresenceState::Unavailable, 0);
    assert_eq!(state(&people), PresenceState::Unavailable);
    people.begin_sync((ANNA, anna(), LAPTOP), PresenceState::Online, 0);
    assert_eq!(state(&people), PresenceState::Online);
    people.set((ANNA, anna(), LAPTOP), PresenceState::Offline, None, 0);
    assert_eq!(state(&people), PresenceState::Unavailable);
}

#[test]
fn other_processes_are_believed_for_a_while() {
    let mut people = People::default();
    people.hear("other", news(PresenceState::Online, Some("hi"), 3), 1000);
    let shown = people.shown(ANNA, 1000).unwrap();
    assert_eq!(shown.state, PresenceState::Online);
    assert_eq!(shown.status.as_deref(), Some("hi"));
    // An older status does not win.
    people.hear("third", news(PresenceState::Online, Some("old"), 2), 1000);
    let shown = people.shown(ANNA, 1000).unwrap();
    assert_eq!(shown.status.as_deref(), Some("hi"));
    people.pass(1000 + 150_000);
    let shown = people.shown(ANNA, 1000 + 150_000).unwrap();
    assert_eq!(shown.state, PresenceState::Offline);
}

#[test]
fn nothing_is_told_twice_and_those_who_are_gone_are_forgotten() {
    let mut people = People::default();
    people.begin_sync((ANNA, anna(), PHONE), PresenceState::Online, 10);
    assert_eq!(people.changed_after(0).collect::<Vec<_>>(), [ANNA]);
    assert_eq!(people.take_untold(9).len(), 1);
    assert_eq!(people.take_untold(9).len(), 0);
    let newest = people.newest();
    people.begin_sync((ANNA, anna(), PHONE), PresenceState::Online, 11);
    assert_eq!(people.newest(), newest);
    people.end_sync(ANNA, PHONE, 12);
    people.end_sync(ANNA, PHONE, 12);
    people.pass(12 + 30_000);
    assert_eq!(people.changed_after(newest).collect::<Vec<_>>(), [ANNA]);
    people.pass(12 + 30_000 + 15 * 60_000);
    assert!(people.shown(ANNA, 0).is_none());
    assert_eq!(people.changed_after(0).count(), 0);
}

#[test]
fn many_news_are_told_in_texts_that_fit() {
    let status = "é\"\n".repeat(100);
    let many: Vec<News> = (0..200)
        .map(|_| news(PresenceState::Online, Some(&status), 3))
        .collect();
    let texts = wire::texts("process", &many);
    let mut heard = 0;
    for text in &texts {
        assert!(text.len() < 8000, "{}", text.len());
        let (process, news) = wire::parse(text).unwrap();
        assert_eq!(process, "process");
        heard += news.len();
    }
    assert_eq!(heard, 200);
    assert!(texts.len() > 1);
}

proptest! {
    #[test]
    fn no_text_of_another_process_panics(text in ".*") {
        let _ = wire::parse(&text);
    }
}
