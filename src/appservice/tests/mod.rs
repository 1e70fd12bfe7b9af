//! Registrations by tables.

use ruma::{room_alias_id, server_name, user_id};

use super::{Registry, load};

const IRC: &str = r##"
id: "IRC Bridge"
url: "http://127.0.0.1:1234/sub/"
as_token: "as-one"
hs_token: "hs-one"
sender_localpart: "_irc_bot"
rate_limited: false
de.sorunome.msc2409.push_ephemeral: true
protocols: [irc]
something.else: { a: 1 }
namespaces:
  users:
    - exclusive: true
      regex: "@_irc_.*"
    - exclusive: false
      regex: "@helper:example\\.org"
  aliases:
    - exclusive: true
      regex: "#_irc_.*"
  rooms: []
"##;

fn parse(texts: &[&str]) -> Result<Registry, String> {
    let files = texts.iter().map(|text| ("a.yaml", *text));
    Registry::parse(files, server_name!("example.org")).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        errors.join("; ")
    })
}

#[test]
fn a_registration_is_read_as_the_specification_has_it() {
    let registry = parse(&[IRC]).unwrap();
    let service = &registry.services()[0];
    assert_eq!(service.id(), "IRC Bridge");
    assert_eq!(service.sender(), "@_irc_bot:example.org");
    assert_eq!(service.protocols(), ["irc"]);
    assert!(service.receives_ephemeral());
    assert!(!service.is_limited(user_id!("@_irc_a:example.org")));
    let hash = super::hash("as-one");
    assert_eq!(registry.find_by_token(&hash).unwrap().id(), "IRC Bridge");
    assert!(registry.find_by_token(&super::hash("hs-one")).is_none());
    assert!(!format!("{registry:?}").contains("one"), "{registry:?}");
}

#[test]
fn users_of_this_server_in_a_namespace_are_covered() {
    let registry = parse(&[IRC]).unwrap();
    let service = &registry.services()[0];
    for (user_id, covered, owned) in [
        (user_id!("@_irc_anna:example.org"), true, true),
        (user_id!("@_irc_bot:example.org"), true, true),
        (user_id!("@helper:example.org"), true, false),
        (user_id!("@x_irc_anna:example.org"), false, false),
        (user_id!("@_irc_anna:elsewhere.org"), false, false),
        (user_id!("@anna:example.org"), false, false),
    ] {
        assert_eq!(service.covers_user(user_id), covered, "{user_id}");
        let owner = registry.owner_of_user(user_id);
        assert_eq!(owner.is_some(), owned, "{user_id}");
    }
    let alias = room_alias_id!("#_irc_a:example.org");
    assert!(registry.owner_of_alias(alias).is_some());
    assert!(
        registry
            .owner_of_alias(room_alias_id!("#a:example.org"))
            .is_none()
    );
}

#[test]
fn requests_are_limited_unless_the_registration_says_otherwise() {
    let registry = parse(&[&IRC.replace("rate_limited: false", "")]).unwrap();
    let service = &registry.services()[0];
    assert!(service.is_limited(user_id!("@_irc_a:example.org")));
    assert!(!service.is_limited(user_id!("@_irc_bot:example.org")));
}

#[test]
fn what_is_wrong_with_a_registration_is_said() {
    let cases = [
        ("id: \"IRC Bridge\"", "", "id"),
        ("as_token: \"as-one\"", "as_token: \"\"", "as_token"),
        ("hs_token: \"hs-one\"", "hs_token: \"é\"", "hs_token"),
        ("@_irc_.*", "@(", "namespaces.users"),
        ("http://127", "ftp://127", "url"),
        ("\"_irc_bot\"", "\"a:b\"", "sender_localpart"),
    ];
    for (from, to, named) in cases {
        let error = parse(&[&IRC.replace(from, to)]).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
    assert!(parse(&["- a"]).is_err());
    let same = parse(&[IRC, IRC]).unwrap_err();
    assert!(same.contains("id") && same.contains("as_token"), "{same}");
}

#[test]
fn files_and_folders_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.yaml"), IRC).unwrap();
    std::fs::write(path("notes.txt"), "nothing").unwrap();
    let server = server_name!("example.org");
    for paths in [vec![folder.path().to_path_buf()], vec![path("a.yaml")]] {
        assert_eq!(load(&paths, server).unwrap().services().len(), 1);
    }
    assert!(load(&[path("none.yaml")], server).is_err());
}
