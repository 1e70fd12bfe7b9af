//! What clients may send as state.

use ruma::events::StateEventType;

use super::content;
use crate::rooms::{
    Error,
    state_rules::{check_content, named_aliases},
};

#[test]
fn power_levels_are_integers_of_users() {
    for (text, expected) in [
        ("{}", true),
        (
            r#"{"ban":50,"users":{"@a:example.org":100},"events":{"m.x":1}}"#,
            true,
        ),
        (r#"{"other":"word"}"#, true),
        (r#"{"ban":"50"}"#, false),
        (r#"{"ban":null}"#, false),
        (r#"{"users_default":true}"#, false),
        (r#"{"users":[]}"#, false),
        (r#"{"users":{"@a:example.org":"100"}}"#, false),
        (r#"{"users":{"a":100}}"#, false),
        (r#"{"events":{"m.x":{}}}"#, false),
        (r#"{"notifications":{"room":"50"}}"#, false),
    ] {
        let event_type = StateEventType::RoomPowerLevels;
        let checked = check_content(&event_type, "", &content(text));
        match checked {
            Ok(()) => assert!(expected, "{text}"),
            Err(error) => {
                assert!(matches!(error, Error::BadContent(_)), "{error}");
                assert!(!expected, "{text}");
            }
        }
    }
}

#[test]
fn types_and_state_keys_hold_no_nul() {
    let empty = content("{}");
    assert!(check_content(&"m.x".into(), "a\0", &empty).is_err());
    assert!(check_content(&"m.x\0".into(), "a", &empty).is_err());
    assert!(check_content(&"m.x".into(), "a", &empty).is_ok());
}

#[test]
fn canonical_alias_events_name_aliases() {
    for (text, expected) in [
        ("{}", Some(0)),
        (r#"{"alias":null}"#, Some(0)),
        (r#"{"alias":""}"#, Some(0)),
        (r##"{"alias":"#a:example.org"}"##, Some(1)),
        (
            r##"{"alias":"#a:example.org","alt_aliases":["#a:example.org","#b:example.org"]}"##,
            Some(2),
        ),
        (r#"{"alias":"a"}"#, None),
        (r#"{"alias":5}"#, None),
        (r#"{"alt_aliases":["!a:example.org"]}"#, None),
        (r##"{"alt_aliases":"#a:example.org"}"##, None),
    ] {
        let named = named_aliases(&content(text));
        assert_eq!(named.ok().map(|named| named.len()), expected, "{text}");
    }
}
