//! Aliases, search patterns and page tokens.

use ruma::room_alias_id;

use super::content;
use crate::{
    rooms::{
        Error,
        directory::{PageToken, check_localpart, search_pattern},
        state_rules,
    },
    store::{RoomNid, directory::DirectoryCursor},
};

#[test]
fn aliases_have_no_spaces_colons_or_controls() {
    for (localpart, expected) in [
        ("lille", true),
        ("Lille-1794.été", true),
        ("a#b", true),
        ("", false),
        ("#lille", false),
        ("a b", false),
        ("a:b", false),
        ("a\tb", false),
        ("a\0b", false),
        ("a\u{a0}b", false),
    ] {
        assert_eq!(
            check_localpart(localpart).is_ok(),
            expected,
            "{localpart:?}"
        );
    }
}

#[test]
fn the_letters_of_patterns_are_searched_as_letters() {
    for (term, expected) in [
        ("", None),
        ("  ", None),
        ("Été", Some("%été%")),
        ("100%", Some(r"%100\%%")),
        ("a_b", Some(r"%a\_b%")),
        (r"a\b", Some(r"%a\\b%")),
        ("a\0b", Some("%ab%")),
    ] {
        assert_eq!(search_pattern(term).as_deref(), expected, "{term:?}");
    }
}

#[test]
fn page_tokens_are_read_back() {
    for backward in [false, true] {
        let cursor = DirectoryCursor {
            joined_count: 12,
            room: RoomNid(345),
        };
        let token = PageToken { cursor, backward }.to_string();
        let read = PageToken::parse(&token).unwrap();
        assert_eq!(read.backward, backward);
        assert_eq!(read.cursor.joined_count, 12);
        assert_eq!(read.cursor.room, RoomNid(345));
    }
}

#[test]
fn what_is_no_page_token_is_refused() {
    for token in [
        "",
        "n",
        "n1",
        "n1_",
        "n_1",
        "x1_1",
        "n-1_1",
        "n+1_1",
        "n1_1_1",
        "n1_99999999999999999999",
        "é1_1",
        "n1_1 ",
    ] {
        let refused = matches!(PageToken::parse(token), Err(Error::Invalid(_)));
        assert!(refused, "{token:?}");
    }
}

#[test]
fn a_deleted_alias_leaves_the_canonical_alias_event() {
    let alias = room_alias_id!("#a:example.org");
    for (before, after) in [
        ("{}", None),
        (r##"{"alias":"#b:example.org"}"##, None),
        (r##"{"alias":"#a:example.org"}"##, Some("{}")),
        (
            r##"{"alias":"#a:example.org","alt_aliases":["#b:example.org"]}"##,
            Some(r##"{"alt_aliases":["#b:example.org"]}"##),
        ),
        (
            r##"{"alias":"#b:example.org","alt_aliases":["#a:example.org"]}"##,
            Some(r##"{"alias":"#b:example.org"}"##),
        ),
        (
            r##"{"alt_aliases":["#a:example.org","#c:example.org"],"x":1}"##,
            Some(r##"{"alt_aliases":["#c:example.org"],"x":1}"##),
        ),
    ] {
        let left = state_rules::without_alias(content(before), alias);
        assert_eq!(left, after.map(content), "{before}");
    }
}
