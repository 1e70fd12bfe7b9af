//! Variables override the file, and are named when they are wrong.

use std::time::Duration;

use ruma::RoomVersionId;

use super::{errors_with, load_with};

#[test]
fn a_variable_overrides_the_file() {
    let variables = [
        ("CHAPPE__SERVER__NAME", "b.example"),
        ("CHAPPE__DATABASE__MAX_CONNECTIONS", "40"),
        ("CHAPPE__SESSIONS__ACCESS_TOKEN_LIFETIME", "1h"),
        ("CHAPPE__LISTENERS", "[{ address = '127.0.0.1:9' }]"),
        ("CHAPPE__LISTENERS__0__SERVES", "['metrics']"),
        ("CHAPPE__LIMITS__LOGIN__BURST", "7"),
        ("HOME", "/root"),
    ];
    let text = "[server]\nname = \"a.example\"\n[limits]\nlogin = { per_second = 1, burst = 1 }\n";
    let config = load_with(text, &variables).unwrap();
    assert_eq!(config.server.name, "b.example");
    assert_eq!(config.database.max_connections, 40);
    assert_eq!(
        config.sessions.access_token_lifetime.get(),
        Duration::from_hours(1)
    );
    assert_eq!(config.listeners[0].address.port(), 9);
    assert_eq!(config.listeners[0].serves.len(), 1);
    assert_eq!(config.limits.login.burst, 7);
}

#[test]
fn a_text_that_looks_like_a_number_stays_a_text_where_one_is_expected() {
    let variables = [
        ("CHAPPE__ROOMS__DEFAULT_VERSION", "11"),
        ("CHAPPE__MAIL__HOST", "smtp.example"),
        ("CHAPPE__MAIL__USER", "a"),
        ("CHAPPE__MAIL__PASSWORD", "0123"),
    ];
    let config = load_with("", &variables).unwrap();
    assert_eq!(config.rooms.default_version, RoomVersionId::V11);
    assert_eq!(config.mail.password.unwrap().expose(), "0123");
}

#[test]
fn a_wrong_variable_is_named() {
    let variables = [
        ("CHAPPE__DATABASE__MAX_CONNECTIONS", "true"),
        ("CHAPPE__LISTENERS__5__ADDRESS", "a"),
        ("CHAPPE__ROOMS__DEFAULT_VERSION", "99"),
        ("CHAPPE__ROOMS__DEFAULT", "12"),
        ("CHAPPE__", "12"),
    ];
    assert_eq!(
        errors_with("listeners = [{}]\n[server]\nprofile = 1\n", &variables),
        [
            "test.toml:3:11: server.profile: found 1, expected a text in quotes",
            "CHAPPE__: expected a name such as CHAPPE__SERVER__NAME",
            "CHAPPE__DATABASE__MAX_CONNECTIONS: database.max_connections: found boolean `true`, \
             expected a whole number from 0 to 4294967295",
            "CHAPPE__LISTENERS__5__ADDRESS: found `5`, expected the number of one of 1 elements",
            "CHAPPE__ROOMS__DEFAULT: rooms.default: unknown key `default`; did you mean \
             `default_version`? known keys here: `default_version`, `search`, `retention`, `delayed_events`",
        ]
    );
}

#[test]
fn a_contradiction_with_a_variable_names_the_variable() {
    assert_eq!(
        errors_with("", &[("CHAPPE__ROOMS__DEFAULT_VERSION", "99")]),
        [
            "CHAPPE__ROOMS__DEFAULT_VERSION: rooms.default_version: found \"99\", expected a room \
          version from 1 to 12"
        ]
    );
}
