//! What the section `[policy]` may say.

use ruma::ServerName;

use super::{me, settings};
use crate::{
    config::{Config, Problem, Profile, policy::Policy as Settings},
    policy::Policy,
};

/// The keys of the problems of a section.
fn keys(toml: &str) -> Vec<String> {
    let problems = Policy::new(&settings(toml), Profile::Tchap, me()).err();
    let keys = problems.unwrap_or_default().into_iter();
    keys.map(|problem| problem.key).collect()
}

#[test]
fn the_defaults_stand() {
    assert!(Settings::default().validate().is_empty());
    assert!(keys("").is_empty());
}

#[test]
fn unknown_keys_are_refused() {
    assert!(toml::from_str::<Settings>("typo = 1").is_err());
    assert!(toml::from_str::<Settings>("addresses.patterns = [{ patern = 'a' }]").is_err());
    assert!(toml::from_str::<Settings>("addresses.nonshadow_networks = ['10.0.0.0/33']").is_err());
}

#[test]
fn every_problem_is_told_with_its_key() {
    let toml = r#"
        passwords.minimum_length = 513
        invites.validity_days = 0
        display_names.organisations = { "a b" = "A", "x.fr" = "a]" }
        [addresses]
        entries = [{ address = "a@b.fr", server = "" }]
        patterns = [
            { pattern = ".*@b.fr" },
            { pattern = "(", server = "a server" },
            { pattern = "a)|(b" },
            { pattern = '(\w{500}){500}' },
            { pattern = "", shadow_server = "" },
        ]
    "#;
    let expected = [
        "policy.addresses.entries[0].server",
        "policy.addresses.patterns[1].pattern",
        "policy.addresses.patterns[1].server",
        "policy.addresses.patterns[2].pattern",
        "policy.addresses.patterns[3].pattern",
        "policy.addresses.patterns[4].pattern",
        "policy.addresses.patterns[4].shadow_server",
        r#"policy.display_names.organisations."a b""#,
        r#"policy.display_names.organisations."x.fr""#,
        "policy.passwords.minimum_length",
        "policy.invites.validity_days",
    ];
    assert_eq!(keys(toml), expected);
}

#[test]
fn entries_are_addresses_and_differ() {
    let toml = r#"
        [addresses]
        entries = [{ address = "a@b@c.fr" }, { address = "a@b.fr" }, { address = "A@B.fr " }]
    "#;
    let expected = [
        "policy.addresses.entries[0].address",
        "policy.addresses.entries[2].address",
    ];
    assert_eq!(keys(toml), expected);
}

#[test]
fn a_problem_reads_as_a_line() {
    let problem = Problem::new("policy.invites", "is odd");
    assert_eq!(problem.to_string(), "policy.invites: is odd");
}

#[test]
fn the_examples_for_administrators_are_valid() {
    let documentation = include_str!("../../../docs/tchap.md");
    let examples = documentation.split("```toml\n").skip(1);
    let examples: Vec<&str> = examples
        .filter_map(|part| part.split("```").next())
        .collect();
    assert!(examples.len() >= 4, "{examples:?}");
    for example in examples {
        let config = Config::from_toml(example).unwrap();
        let server = ServerName::parse(&config.server.name).unwrap();
        Policy::new(&config.policy, config.server.profile, &server).unwrap();
    }
}
