//! REG-07, REG-08, R-01 and R-13: what an address is.

use super::address;
use crate::policy::{
    AddressError::{self, *},
    EmailAddress, Violation,
};

fn refused(text: &str) -> AddressError {
    let error = EmailAddress::parse(text).expect_err(text);
    let violation = Violation::from(error);
    assert_eq!(violation.kind.status(), 400, "{text:?}");
    assert_eq!(violation.kind.errcode(), "M_INVALID_PARAM", "{text:?}");
    error
}

#[test]
fn reg_07_a_malformed_address_is_refused() {
    assert_eq!(refused("a.b.fr"), NotOneAtSign);
    assert_eq!(refused("a@b.fr@c.fr"), NotOneAtSign);
    assert_eq!(refused("@b.fr"), EmptyLocal);
    assert_eq!(refused("a@"), EmptyDomain);
    assert_eq!(refused("@"), EmptyLocal);
    assert_eq!(refused(""), NotOneAtSign);
    assert_eq!(refused("   "), NotOneAtSign);
}

#[test]
fn reg_08_spaces_around_and_capitals_are_canonicalized() {
    let parsed = address("  Pierre.DUPONT@AC-Versailles.FR ");
    assert_eq!(parsed.as_str(), "pierre.dupont@ac-versailles.fr");
    assert_eq!(parsed.local(), "pierre.dupont");
    assert_eq!(parsed.domain(), "ac-versailles.fr");
}

#[test]
fn r_01_two_at_signs_are_refused() {
    assert_eq!(refused("own@mail.com@elysee.fr"), NotOneAtSign);
    assert_eq!(refused("a@b@c"), NotOneAtSign);
    assert_eq!(refused("a@@b.fr"), NotOneAtSign);
}

#[test]
fn r_01_quotes_are_refused() {
    assert_eq!(refused(r#""a@b"@c.fr"#), NotOneAtSign);
    assert_eq!(refused(r#""a"@c.fr"#), ForbiddenCharacter);
    assert_eq!(refused("a`b@c.fr"), ForbiddenCharacter);
    assert_eq!(refused(r"a\b@c.fr"), ForbiddenCharacter);
}

#[test]
fn r_01_lists_are_refused() {
    assert_eq!(refused("a@b.fr,c@d.fr"), NotOneAtSign);
    assert_eq!(refused("a,c@d.fr"), ForbiddenCharacter);
    assert_eq!(refused("a;c@d.fr"), ForbiddenCharacter);
    assert_eq!(refused("a@d.fr,c"), InvalidDomain);
}

#[test]
fn r_01_angle_brackets_are_refused() {
    assert_eq!(refused("<a@b.fr>"), ForbiddenCharacter);
    assert_eq!(refused("Name <a@b.fr>"), ForbiddenCharacter);
    assert_eq!(refused("a@b.fr>"), InvalidDomain);
}

#[test]
fn r_01_comments_are_refused() {
    assert_eq!(refused("a(b)@c.fr"), ForbiddenCharacter);
    assert_eq!(refused("a@c.fr(b)"), InvalidDomain);
}

#[test]
fn r_01_control_characters_are_refused_not_trimmed() {
    assert_eq!(refused("a@b.fr\n"), InvalidDomain);
    assert_eq!(refused("\ta@b.fr"), ForbiddenCharacter);
    assert_eq!(refused("a@b.fr\r\nBcc: c"), InvalidDomain);
    assert_eq!(refused("a\0@b.fr"), ForbiddenCharacter);
    assert_eq!(refused("a@b.fr\0.gouv.fr"), InvalidDomain);
    assert_eq!(refused("a\u{85}@b.fr"), ForbiddenCharacter);
    assert_eq!(refused("\u{a0}a@b.fr"), ForbiddenCharacter);
    assert_eq!(refused("a@b.fr\u{a0}"), InternationalDomain);
}

#[test]
fn r_01_spaces_inside_are_refused() {
    assert_eq!(refused("a @b.fr"), ForbiddenCharacter);
    assert_eq!(refused("a@ b.fr"), InvalidDomain);
    assert_eq!(refused("a b@c.fr"), ForbiddenCharacter);
    assert_eq!(refused("a@b .fr"), InvalidDomain);
}

#[test]
fn r_01_dots_at_the_edges_are_refused() {
    assert_eq!(refused("a@b."), InvalidDomain);
    assert_eq!(refused("a@b.fr."), InvalidDomain);
    assert_eq!(refused("a@.b.fr"), InvalidDomain);
    assert_eq!(refused("a@b..fr"), InvalidDomain);
    assert_eq!(refused(".a@b.fr"), DotAtEdge);
    assert_eq!(refused("a.@b.fr"), DotAtEdge);
    assert_eq!(refused(".@b.fr"), DotAtEdge);
}

#[test]
fn r_01_empty_halves_are_refused() {
    assert_eq!(refused("@b"), EmptyLocal);
    assert_eq!(refused("a@"), EmptyDomain);
}

#[test]
fn r_01_homograph_domains_are_refused() {
    // A Cyrillic і, a Cyrillic о, full-width letters, the Kelvin sign, punycode.
    assert_eq!(refused("a@\u{456}nterieur.gouv.fr"), InternationalDomain);
    assert_eq!(refused("a@g\u{43e}uv.fr"), InternationalDomain);
    assert_eq!(refused("a@\u{ff47}ouv.fr"), InternationalDomain);
    assert_eq!(refused("a@ban\u{212a}.fr"), InternationalDomain);
    assert_eq!(refused("a@gouv\u{3002}fr"), InternationalDomain);
    assert_eq!(refused("a@xn--guv-yta.fr"), InternationalDomain);
    assert_eq!(refused("a@gouv.XN--FR-abc"), InternationalDomain);
    assert_eq!(refused("a\u{ff20}b.fr"), NotOneAtSign);
}

#[test]
fn r_01_homograph_local_parts_are_refused() {
    // A Cyrillic а, a Greek ο, a Latin alpha, a dotless i, a long s, full-width letters, a
    // zero-width joiner, a lone accent, a dotted capital I, mathematical letters.
    for look_alike in [
        "p\u{430}ul",
        "p\u{3bf}l",
        "p\u{251}ul",
        "mar\u{131}e",
        "ro\u{17f}e",
        "\u{ff50}aul",
    ] {
        assert_eq!(refused(&format!("{look_alike}@b.fr")), ForeignLetter);
    }
    assert_eq!(refused("pa\u{200d}ul@b.fr"), ForbiddenCharacter);
    assert_eq!(refused("\u{301}paul@b.fr"), ForbiddenCharacter);
    assert_eq!(refused("\u{130}nes@b.fr"), ForbiddenCharacter);
    assert_eq!(refused("\u{1d429}aul@b.fr"), ForeignLetter);
    assert_eq!(refused("\u{202e}luap@b.fr"), ForbiddenCharacter);
}

#[test]
fn r_01_routes_are_refused() {
    assert_eq!(refused("a%mail.com@elysee.fr"), ForbiddenCharacter);
    assert_eq!(refused("mail.com!a@elysee.fr"), ForbiddenCharacter);
    assert_eq!(refused("|a@elysee.fr"), ForbiddenCharacter);
    assert_eq!(refused("a:b@elysee.fr"), ForbiddenCharacter);
    assert_eq!(refused("a@[127.0.0.1]"), InvalidDomain);
    assert_eq!(refused("a@127.0.0.1"), InvalidDomain);
    assert_eq!(refused("a@b.fr:25"), InvalidDomain);
}

#[test]
fn a_domain_is_a_host_name() {
    assert_eq!(refused("a@-b.fr"), InvalidDomain);
    assert_eq!(refused("a@b-.fr"), InvalidDomain);
    assert_eq!(refused("a@b_c.fr"), InvalidDomain);
    assert_eq!(refused(&format!("a@{}.fr", "b".repeat(64))), TooLong);
    assert_eq!(address("a@a-b.c2.fr").domain(), "a-b.c2.fr");
}

#[test]
fn the_limits_count_bytes() {
    let local = "a".repeat(64);
    assert_eq!(address(&format!("{local}@b.fr")).local(), local);
    assert_eq!(refused(&format!("{local}a@b.fr")), TooLong);
    assert_eq!(refused(&format!("{}@b.fr", "é".repeat(33))), TooLong);
    // 64 + 1 + 189 = 254.
    let domain = format!("{0}.{0}.{0}", "b".repeat(62));
    assert_eq!(address(&format!("{local}@{domain}b")).as_str().len(), 254);
    assert_eq!(refused(&format!("{local}@{domain}.c")), TooLong);
    assert_eq!(refused(&"a".repeat(1_000_000)), TooLong);
}

#[test]
fn accents_are_composed() {
    let composed = address("andré.lefèvre@culture.gouv.fr");
    let apart = address("ANDRE\u{301}.LEFE\u{300}VRE@culture.gouv.fr");
    assert_eq!(composed, apart);
    assert_eq!(apart.as_str(), "andré.lefèvre@culture.gouv.fr");
    // A capital that has no composed form, while the small letter has one.
    assert_eq!(address("H\u{331}ani@b.fr").local(), "\u{1e96}ani");
    // Letters without a decomposition, and the Kelvin sign, which is a K.
    assert_eq!(address("SŒUR.STRAẞE@b.fr").local(), "sœur.straße");
    assert_eq!(address("\u{212a}arl@b.fr").local(), "karl");
}

#[test]
fn an_address_does_not_show_in_logs() {
    assert_eq!(format!("{:?}", address("a@b.fr")), "EmailAddress(..)");
    assert_eq!(address("a@b.fr").to_string(), "a@b.fr");
}

#[test]
fn r_13_capitals_are_the_same_address() {
    let small = address("élodie.o@ac-lyon.fr");
    for text in [
        "Élodie.O@ac-lyon.fr",
        "ÉLODIE.O@AC-LYON.FR",
        " élodie.o@Ac-Lyon.Fr",
    ] {
        assert_eq!(address(text), small);
    }
}
