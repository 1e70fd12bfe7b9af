//! Tokens, walks along the line, and who sees what of it.

use ruma::events::room::{
    history_visibility::HistoryVisibility::{self, Invited, Joined, Shared, WorldReadable},
    member::MembershipState::{self, Ban, Invite, Join, Leave},
};

use crate::{
    rooms::{
        NoToken, Token,
        read::{Line, Steps, Walk},
        token_after,
    },
    store::{
        RoomPosition, StreamPosition,
        events::Direction::{Backward, Forward},
    },
};

#[test]
fn tokens_are_points_of_rooms_or_of_the_stream() {
    let room = |at| Ok(Token::Room(RoomPosition(at)));
    let stream = |at| Ok(Token::Stream(StreamPosition(at)));
    for (text, expected) in [
        ("t0", room(0)),
        ("t17", room(17)),
        ("s42", stream(42)),
        ("s42_1700000000000", stream(42)),
        ("", Err(NoToken)),
        ("t", Err(NoToken)),
        ("t-1", Err(NoToken)),
        ("t+1", Err(NoToken)),
        ("t1_2", Err(NoToken)),
        ("s", Err(NoToken)),
        ("s_1", Err(NoToken)),
        ("s1_", Err(NoToken)),
        ("s1_2_3", stream(1)),
        ("s1_2_3_4", Err(NoToken)),
        ("t99999999999999999999", Err(NoToken)),
        ("17", Err(NoToken)),
        ("t1\"", Err(NoToken)),
    ] {
        assert_eq!(text.parse::<Token>(), expected, "{text}");
    }
    assert_eq!(token_after(RoomPosition(17)), "t17");
}

#[test]
fn a_walk_passes_each_event_once() {
    for direction in [Backward, Forward] {
        let (cursor, stop) = match direction {
            Backward => (250, 0),
            Forward => (0, 250),
        };
        let mut walk = Walk {
            direction,
            cursor: RoomPosition(cursor),
            stop: RoomPosition(stop),
        };
        let mut seen = Vec::new();
        while let Some((first, last)) = walk.ahead(7) {
            let mut part: Vec<i64> = (first.0..=last.0).collect();
            if direction == Backward {
                part.reverse();
            }
            // Not all of what is ahead is passed.
            for position in part.into_iter().take(5) {
                walk.pass(RoomPosition(position));
                seen.push(position);
            }
        }
        let mut expected: Vec<i64> = (1..=250).collect();
        if direction == Backward {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
}

/// A room where the reader was invited at 20, joined at 30, left at 40, was banned at 50, and
/// joined again at 70.
fn line(visibility: Vec<(i64, HistoryVisibility)>) -> Line {
    let changes: Vec<(i64, MembershipState)> = vec![
        (20, Invite),
        (30, Join),
        (40, Leave),
        (50, Ban),
        (60, Leave),
        (70, Join),
    ];
    Line::new(Steps::new(Shared, visibility), Steps::new(Leave, changes))
}

#[test]
fn the_visibility_and_the_membership_decide_what_is_seen() {
    let end = i64::MAX;
    for (visibility, expected) in [
        (WorldReadable, vec![(1, end)]),
        (Shared, vec![(1, end)]),
        (Invited, vec![(20, 40), (70, end)]),
        (Joined, vec![(30, 40), (70, end)]),
    ] {
        let line = Line::new(
            Steps::new(visibility.clone(), Vec::new()),
            line(Vec::new()).membership().clone(),
        );
        assert_eq!(line.visible(1), expected, "{visibility}");
        assert_eq!(line.left_at(), Some(40));
    }
}

#[test]
fn who_has_left_sees_the_shared_past_and_no_future() {
    let left = |visibility| {
        let membership = Steps::new(Leave, vec![(30, Join), (40, Leave)]);
        Line::new(Steps::new(visibility, Vec::new()), membership)
    };
    assert_eq!(left(Shared).visible(1), [(1, 40)]);
    assert_eq!(left(Invited).visible(1), [(30, 40)]);
    assert_eq!(left(Joined).visible(1), [(30, 40)]);
    assert_eq!(left(WorldReadable).visible(1), [(1, i64::MAX)]);
}

#[test]
fn strangers_and_invited_people_see_little() {
    let stranger = |visibility| {
        let nothing = Steps::new(Leave, Vec::new());
        Line::new(Steps::new(visibility, Vec::new()), nothing).visible(1)
    };
    let invited = |visibility| {
        let invite = Steps::new(Leave, vec![(20, Invite)]);
        Line::new(Steps::new(visibility, Vec::new()), invite).visible(1)
    };
    for visibility in [Shared, Invited, Joined] {
        assert_eq!(stranger(visibility), []);
    }
    assert_eq!(stranger(WorldReadable), [(1, i64::MAX)]);
    assert_eq!(invited(Shared), []);
    assert_eq!(invited(Joined), []);
    assert_eq!(invited(Invited), [(20, i64::MAX)]);
}

#[test]
fn a_change_of_the_visibility_holds_from_there_on() {
    // Shared, from 10 on only for those who are joined, and world-readable from 80 to 90.
    let changes = vec![(10, Joined), (80, WorldReadable), (90, Joined)];
    let visible = line(changes.clone()).visible(1);
    // The change itself is seen by those who may see the state before or after it.
    assert_eq!(visible, [(1, 10), (30, 40), (70, i64::MAX)]);
    let nobody = Line::new(Steps::new(Shared, changes), Steps::new(Leave, Vec::new()));
    assert_eq!(nobody.visible(1), [(80, 90)]);
}

#[test]
fn what_is_known_of_the_newest_part_agrees_with_the_whole() {
    let whole = line(vec![(5, Invited)]);
    let part = Line::new(
        Steps::new(Invited, Vec::new()),
        Steps::new(Join, Vec::new()),
    );
    assert_eq!(part.visible(71), [(71, i64::MAX)]);
    let of_whole = whole.visible(1).into_iter().filter(|part| part.1 >= 71);
    assert_eq!(of_whole.collect::<Vec<_>>(), [(70, i64::MAX)]);
}
