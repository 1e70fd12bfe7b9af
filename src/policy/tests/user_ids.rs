//! UID rows: the user ID that follows from an address.

use ruma::{UserId, server_name};

use super::{address, me, tchap};
use crate::policy::{
    AddressError, EmailAddress, LocalpartError, Violation, check_localpart, localpart_for_address,
    next_localpart,
};

fn localpart(text: &str) -> String {
    localpart_for_address(&address(text), me()).unwrap()
}

/// The first `count` localparts that are tried.
fn tried(text: &str, count: usize) -> Vec<String> {
    let policy = tchap("");
    let tried = policy.localparts_for_address(&address(text)).unwrap();
    tried.take(count).collect()
}

#[test]
fn uid_01_the_at_sign_becomes_a_hyphen() {
    assert_eq!(
        localpart("pierre.dupont@ac-versailles.fr"),
        "pierre.dupont-ac-versailles.fr"
    );
}

#[test]
fn uid_02_the_whole_id_is_valid() {
    let localpart = localpart("pierre.dupont@ac-versailles.fr");
    let user_id = UserId::parse_with_server_name(localpart, me()).unwrap();
    assert_eq!(
        user_id,
        "@pierre.dupont-ac-versailles.fr:agent.education.tchap.gouv.fr"
    );
}

#[test]
fn uid_03_capitals_are_folded() {
    assert_eq!(
        localpart("Pierre.DUPONT@AC-Versailles.FR"),
        "pierre.dupont-ac-versailles.fr"
    );
}

#[test]
fn uid_04_hyphens_stay() {
    let expected = "jean-pierre.de-la-tour-interieur.gouv.fr";
    assert_eq!(
        localpart("jean-pierre.de-la-tour@interieur.gouv.fr"),
        expected
    );
}

#[test]
fn uid_05_a_plus_vanishes() {
    assert_eq!(
        localpart("j.martin+test@finances.gouv.fr"),
        "j.martintest-finances.gouv.fr"
    );
}

#[test]
fn uid_06_accents_vanish() {
    assert_eq!(
        localpart("andré.lefèvre@culture.gouv.fr"),
        "andr.lefvre-culture.gouv.fr"
    );
}

#[test]
fn uid_07_capital_accents_vanish() {
    assert_eq!(localpart("ÉLODIE.O@ac-lyon.fr"), "lodie.o-ac-lyon.fr");
}

#[test]
fn uid_08_apostrophes_vanish() {
    assert_eq!(localpart("o'brien@justice.fr"), "obrien-justice.fr");
}

#[test]
fn uid_11_double_dots_stay() {
    assert_eq!(localpart("anne..marie@x.fr"), "anne..marie-x.fr");
}

#[test]
fn uid_12_domains_below_stay() {
    let expected = "louis.xvi-gendarmerie.interieur.gouv.fr";
    assert_eq!(
        localpart("louis.xvi@gendarmerie.interieur.gouv.fr"),
        expected
    );
}

#[test]
fn uid_13_a_taken_localpart_is_numbered() {
    assert_eq!(
        tried("foo@bar.baz", 3),
        ["foo-bar.baz", "foo-bar.baz1", "foo-bar.baz2"]
    );
}

#[test]
fn uid_14_a_number_at_the_end_is_incremented() {
    assert_eq!(tried("foo@bar.2", 2), ["foo-bar.2", "foo-bar.3"]);
}

#[test]
fn uid_15_nine_becomes_ten() {
    assert_eq!(tried("foo@bar.baz9", 2), ["foo-bar.baz9", "foo-bar.baz10"]);
}

#[test]
fn uid_16_addresses_that_differ_by_an_accent_collide() {
    assert_eq!(tried("fooé@bar.baz", 2), ["foo-bar.baz", "foo-bar.baz1"]);
}

#[test]
fn uid_18_a_leading_underscore_is_refused() {
    let error = localpart_for_address(&address("_svc@beta.gouv.fr"), me()).unwrap_err();
    assert_eq!(error, LocalpartError::LeadingUnderscore);
    let violation = Violation::from(error);
    assert_eq!(violation.rule, "UID-18");
    assert_eq!(violation.kind.errcode(), "M_INVALID_USERNAME");
    assert_eq!(violation.kind.status(), 400);
    // What vanishes does not hide it.
    let hidden = localpart_for_address(&address("é_svc@beta.gouv.fr"), me());
    assert_eq!(hidden.unwrap_err(), LocalpartError::LeadingUnderscore);
}

#[test]
fn uid_19_an_id_longer_than_255_is_refused() {
    let domain = format!("{0}.{0}.{0}.{0}.fr", "d".repeat(58));
    let long = format!("{}@{domain}", "a".repeat(61));
    assert_eq!(long.len(), 300);
    assert_eq!(
        EmailAddress::parse(&long).unwrap_err(),
        AddressError::TooLong
    );
    // Two bytes for the sigil and the colon, 29 for the server, 224 for the localpart.
    let fits = address(&format!("{}@{}", "a".repeat(41), &domain[56..]));
    assert_eq!(fits.as_str().len(), 224);
    assert_eq!(localpart_for_address(&fits, me()).unwrap().len(), 224);
    let longer = address(&format!("b{fits}"));
    let error = localpart_for_address(&longer, me()).unwrap_err();
    assert_eq!(error, LocalpartError::TooLong);
    assert_eq!(Violation::from(error).kind.errcode(), "M_INVALID_USERNAME");
    // Where no number fits any more, there is nothing left to try.
    assert_eq!(tried(fits.as_str(), 5).len(), 1);
}

#[test]
fn a_chosen_localpart_is_checked_too() {
    let check = |text| check_localpart(text, server_name!("x.fr"));
    assert_eq!(check("alice"), Ok(()));
    assert_eq!(check(""), Err(LocalpartError::Empty));
    assert_eq!(check("12345"), Err(LocalpartError::OnlyDigits));
    assert_eq!(check("Alice"), Err(LocalpartError::ForbiddenCharacter));
    assert_eq!(check("a:b"), Err(LocalpartError::ForbiddenCharacter));
}

#[test]
fn numbers_of_any_length_are_incremented() {
    assert_eq!(next_localpart("a"), "a1");
    assert_eq!(next_localpart("a0"), "a1");
    assert_eq!(next_localpart("a009"), "a10");
    assert_eq!(next_localpart("a199"), "a200");
    assert_eq!(
        next_localpart("a99999999999999999999"),
        "a100000000000000000000"
    );
}
