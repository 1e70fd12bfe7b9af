//! Invitations by e-mail (tchap.md, 4.7, rows M3, and 5.2).

use ruma::server_name;

use crate::{
    config::{
        Profile,
        policy::{AddressPattern, Policy as Settings},
    },
    policy::{EmailAddress, Policy, rooms::third_party::AddressInvite},
};

fn policy(profile: Profile) -> Policy {
    let pattern = |pattern: &str| AddressPattern {
        pattern: pattern.to_owned(),
        ..AddressPattern::default()
    };
    let mut settings = Settings::default();
    settings.addresses.patterns = vec![
        pattern(r".*@(.*\.|)gouv.fr"),
        AddressPattern {
            server: Some("other.example.org".to_owned()),
            ..pattern(".*@other.fr")
        },
        AddressPattern {
            server: Some("externe.example.org".to_owned()),
            external: true,
            ..pattern(".*@ext.fr")
        },
        AddressPattern {
            requires_invite: true,
            ..pattern(".*@example.com")
        },
    ];
    settings.identity.trusted_servers = vec!["https://Id.example.net/".to_owned()];
    Policy::new(&settings, profile, server_name!("example.org")).unwrap()
}

fn decided(rule: Option<&str>, address: &str) -> (bool, &'static str) {
    let invite = AddressInvite {
        access_rule: rule,
        ..AddressInvite::default()
    };
    let policy = policy(Profile::Tchap);
    let parsed = match policy.invited_address(&invite, "email", address) {
        Ok(parsed) => parsed,
        Err(violation) => return (false, violation.rule),
    };
    let decision = policy.may_invite_address(&invite, &parsed);
    (decision.is_allowed(), decision.rule())
}

#[test]
fn m3_01_only_email_addresses_are_invited() {
    let policy = policy(Profile::Tchap);
    let violation = policy
        .invited_address(&AddressInvite::default(), "msisdn", "33123456789")
        .unwrap_err();
    assert_eq!((violation.rule, violation.kind.status()), ("M3-01", 403));
}

#[test]
fn m3_02_direct_and_unrestricted_rooms_take_anybody() {
    for rule in ["direct", "unrestricted"] {
        for address in ["a@example.com", "a@nowhere.net", "a@culture.gouv.fr"] {
            assert_eq!(decided(Some(rule), address), (true, "M3-02"), "{address}");
        }
    }
}

#[test]
fn m3_03_an_address_that_can_be_read_in_two_ways_is_forbidden_in_restricted_rooms() {
    for address in [
        "a@evil.com@elysee.gouv.fr",
        "Jean <a@culture.gouv.fr>",
        "a@",
        "",
    ] {
        assert_eq!(
            decided(Some("restricted"), address),
            (false, "M3-03"),
            "{address}"
        );
        let (allowed, rule) = decided(Some("unrestricted"), address);
        assert!(!allowed && rule != "M3-03", "{address}");
    }
}

#[test]
fn m3_04_an_address_without_a_server_is_not_invited_to_restricted_rooms() {
    for rule in [Some("restricted"), None, Some("whatever")] {
        assert_eq!(decided(rule, "a@nowhere.net"), (false, "M3-04"));
    }
}

#[test]
fn m3_05_externals_are_not_invited_to_restricted_rooms() {
    for address in ["a@example.com", "a@ext.fr"] {
        assert_eq!(
            decided(Some("restricted"), address),
            (false, "M3-05"),
            "{address}"
        );
    }
}

#[test]
fn m3_06_agents_of_any_server_are_invited_to_restricted_rooms() {
    for address in ["a@culture.gouv.fr", "A@Other.fr"] {
        assert_eq!(
            decided(Some("restricted"), address),
            (true, "M3-06"),
            "{address}"
        );
    }
}

#[test]
fn ro_12_and_ro_16_externals_invite_nobody_and_administrators_anybody() {
    let policy = policy(Profile::Tchap);
    let address = EmailAddress::parse("a@nowhere.net").unwrap();
    let external = AddressInvite {
        access_rule: Some("unrestricted"),
        inviter_is_external: true,
        bypass: false,
    };
    assert_eq!(
        policy.may_invite_address(&external, &address).rule(),
        "RO-12"
    );
    let administrator = AddressInvite {
        access_rule: Some("restricted"),
        inviter_is_external: false,
        bypass: true,
    };
    let decision = policy.may_invite_address(&administrator, &address);
    assert!(decision.is_allowed());
}

#[test]
fn the_profile_open_invites_every_address_that_is_one() {
    let policy = policy(Profile::Open);
    let invite = AddressInvite::default();
    let address = policy
        .invited_address(&invite, "email", "a@nowhere.net")
        .unwrap();
    assert!(policy.may_invite_address(&invite, &address).is_allowed());
    let violation = policy
        .invited_address(&invite, "email", "a@b@c.fr")
        .unwrap_err();
    assert_eq!(violation.kind.status(), 400);
}

#[test]
fn invited_addresses_are_shown_cut() {
    let policy = policy(Profile::Tchap);
    for (address, shown) in [
        ("kermit@example.com", "ker...@exa..."),
        ("bob@a.fr", "bo...@a.f..."),
        ("x@a.fr", "...@a.f..."),
    ] {
        let address = EmailAddress::parse(address).unwrap();
        assert_eq!(policy.shown_address(&address), shown);
    }
}

#[test]
fn an_identity_server_is_this_one_or_a_name_of_it() {
    let policy = policy(Profile::Tchap);
    let public = "https://matrix.example.org:8448".parse().unwrap();
    for (name, own) in [
        ("example.org", true),
        ("matrix.example.org", true),
        ("https://matrix.example.org:8448/", true),
        ("id.example.net", true),
        ("ID.Example.net", true),
        ("vector.im", false),
        ("example.org.evil.net", false),
        ("", false),
    ] {
        let found = policy.is_own_identity_server(name, server_name!("example.org"), &public);
        assert_eq!(found, own, "{name}");
    }
}
