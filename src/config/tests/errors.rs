//! Everything wrong is reported at once, with its place, what was found and what was expected.

use super::errors;

const SERVER_KEYS: &str = "`name`, `public_url`, `profile`, `data_folder`, `signing_key_file`, \
                           `web_client_url`, `well_known_server`, `support`, `templates`";

#[test]
fn an_unknown_key_is_named_with_the_keys_that_are_known() {
    let text = "[server]\nname = \"a.example\"\n  publik_url = \"http://a\"\n";
    assert_eq!(
        errors(text),
        [format!(
            "test.toml:3:3: server.publik_url: unknown key `publik_url`; did you mean \
             `public_url`? known keys here: {SERVER_KEYS}"
        )]
    );
}

#[test]
fn an_unknown_key_unlike_any_other_gets_no_suggestion() {
    assert_eq!(
        errors("[rooms]\nzzz = 1\n"),
        [
            "test.toml:2:1: rooms.zzz: unknown key `zzz`; known keys here: `default_version`, \
          `search`, `retention`, `delayed_events`"
        ]
    );
}

#[test]
fn an_unknown_section_stands_at_its_header() {
    let found = errors("\n[servr]\nname = \"a.example\"\n");
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = "test.toml:2:2: servr: unknown key `servr`; did you mean `server`?";
    assert!(found[0].starts_with(expected), "{found:?}");
}

#[test]
fn a_value_of_the_wrong_type_stands_at_the_value() {
    assert_eq!(
        errors("[database]\nmax_connections = \"many\"\n"),
        [
            "test.toml:2:19: database.max_connections: found string \"many\", expected a whole \
          number from 0 to 4294967295"
        ]
    );
    assert_eq!(
        errors("[registration]\nenabled = 1\n"),
        ["test.toml:2:11: registration.enabled: found integer `1`, expected true or false"]
    );
    assert_eq!(
        errors("server = 3\n"),
        ["test.toml:1:10: server: found integer `3`, expected a table"]
    );
}

#[test]
fn a_value_outside_the_choices_is_named_with_the_choices() {
    assert_eq!(
        errors("[server]\nprofile = \"tchpa\"\n"),
        [
            "test.toml:2:11: server.profile: found `tchpa`, expected one of `tchap`, `open`; did \
          you mean `tchap`?"
        ]
    );
}

#[test]
fn values_that_do_not_parse_are_quoted() {
    let text = "[server]\npublic_url = \"here\"\nname = \"a b\"\n\n[[listeners]]\n\
                address = \"localhost\"\n\n[mail]\ntimeout = \"soon\"\n";
    assert_eq!(
        errors(text),
        [
            "test.toml:2:14: server.public_url: found \"here\": relative URL without a base",
            "test.toml:3:8: server.name: found \"a b\": server name is not a valid IP address or \
             domain name",
            "test.toml:6:11: listeners[0].address: found \"localhost\": invalid socket address \
             syntax",
            "test.toml:9:11: mail.timeout: found string \"soon\", expected a duration such as \
             \"30s\", \"15m\" or \"3d\"",
        ]
    );
}

#[test]
fn a_missing_key_stands_at_its_table() {
    let text = "[limits]\nlogin = { burst = 1 }\n\n[[registration.terms]]\nname = \"a\"\n\
                version = \"1\"\nurl_fr = \"https://a\"\n";
    assert_eq!(
        errors(text),
        [
            "test.toml:2:9: limits.login: missing key `per_second`",
            "test.toml:4:1: registration.terms[0]: missing key `url_en`",
        ]
    );
}

#[test]
fn a_file_that_is_not_toml_is_reported_where_it_breaks() {
    let found = errors("[server]\nname = \n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("test.toml:2:8: "), "{found:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = std::path::Path::new("/nowhere/chappe.toml");
    let found = super::Config::load(Some(missing), std::iter::empty()).unwrap_err();
    let found = found.to_string();
    assert!(
        found.starts_with("/nowhere/chappe.toml: cannot be read: "),
        "{found}"
    );
}

#[test]
fn contradictions_stand_at_the_key() {
    let text = "[server]\nprofile = \"tchap\"\npublic_url = \"ftp://a\"\n\n[registration]\n\
                open = true\nrequires_token = true\n\n[rooms]\ndefault_version = \"99\"\n\n\
                [mail]\nhost = \"smtp.example\"\npassword = \"hidden\"\n";
    assert_eq!(
        errors(text),
        [
            "test.toml:3:1: server.public_url: found the scheme `ftp`, expected http or https",
            "test.toml:6:1: registration.open: contradicts `server.profile = \"tchap\"`, in \
             which every account has a validated e-mail address; expected false, or the profile \
             \"open\"",
            "test.toml:7:1: registration.requires_token: contradicts `registration.open`, which \
             asks for no token",
            "test.toml:10:1: rooms.default_version: found \"99\", expected a room version from \
             1 to 12",
            "test.toml:14:1: mail.password: needs `mail.user` beside it",
        ]
    );
}

#[test]
fn the_open_profile_may_have_open_registration() {
    let text = "[server]\nprofile = \"open\"\n[registration]\nopen = true\n";
    assert_eq!(errors(text), Vec::<String>::new());
}

#[test]
fn listeners_are_checked_one_by_one_and_together() {
    assert_eq!(
        errors("listeners = []\n"),
        ["test.toml:1:1: listeners: is empty; expected one listener or more"]
    );
    let text = "[[listeners]]\naddress = \"127.0.0.1:1\"\n\n[[listeners]]\nserves = []\n\
                address = \"127.0.0.1:1\"\n\n[[listeners]]\naddress = \"0.0.0.0:2\"\n\
                serves = [\"development\"]\n";
    assert_eq!(
        errors(text),
        [
            "test.toml:5:1: listeners[1].serves: is empty; expected something to serve",
            "test.toml:6:1: listeners[1].address: 127.0.0.1:1 is the address of listeners[0] \
             already",
            "test.toml:10:1: listeners[2].serves: `development` shows every mail and cannot be \
             served at 0.0.0.0:2; expected an address of this machine only, such as 127.0.0.1",
        ]
    );
}

#[test]
fn limits_and_levels_are_checked() {
    let text = "[limits]\nmax_body_bytes = \"1KiB\"\n[limits.message]\nper_second = 0\n\
                burst = 0\n[logging]\nlevel = \"chappe=loud\"\n[sessions]\n\
                refresh_token_lifetime = \"1m\"\n";
    let found = errors(text);
    assert_eq!(
        found[..3],
        [
            "test.toml:2:1: limits.max_body_bytes: found 1KiB, expected 64KiB or more",
            "test.toml:4:1: limits.message.per_second: found 0, expected a number above 0",
            "test.toml:5:1: limits.message.burst: found 0, expected 1 or more",
        ]
    );
    let level = "test.toml:7:1: logging.level: found \"chappe=loud\", expected levels such as ";
    assert!(found[3].starts_with(level), "{found:?}");
    assert_eq!(
        found[4],
        "test.toml:9:1: sessions.refresh_token_lifetime: found 1m, expected at least \
         `sessions.access_token_lifetime`, which is 5m"
    );
}

#[test]
fn smtp_passwords_do_not_cross_the_network_unencrypted() {
    let text = "[mail]\nhost = \"smtp.example\"\nuser = \"a\"\npassword = \"b\"\n\
                encryption = \"none\"\n";
    assert_eq!(
        errors(text),
        [
            "test.toml:5:1: mail.encryption: contradicts `mail.user`: the password would cross the \
          network unencrypted"
        ]
    );
    assert!(errors(&text.replace("smtp.example", "localhost")).is_empty());
}

#[test]
fn everything_is_reported_at_once_in_the_order_of_the_file() {
    let text = "[rooms]\ndefault_version = \"99\"\n[server]\nprofile = 1\nfoo = 2\n\
                public_url = \"ftp://a\"\n[registration]\nopen = true\n[[listeners]]\n\
                serves = [\"client\", \"pages\"]\n[[listeners]]\naddress = 5\n";
    let found = errors(text);
    let places: Vec<&str> = found
        .iter()
        .map(|line| line.split(' ').next().unwrap_or_default())
        .collect();
    // Nothing is said of `public_url` and `open`: what they are held against is not known.
    assert_eq!(
        places,
        [
            "test.toml:2:1:",
            "test.toml:4:11:",
            "test.toml:5:1:",
            "test.toml:10:21:",
            "test.toml:12:11:"
        ]
    );
}
