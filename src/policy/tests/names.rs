//! DN rows: the display name that follows from an address.

use super::{address, tchap};
use crate::policy::{AddressError, EmailAddress, Violation};

fn name(text: &str) -> String {
    tchap("").display_name_for_address(&address(text))
}

#[test]
fn dn_01_name_and_organisation_are_capitalized() {
    assert_eq!(
        name("pierre.dupont@ac-versailles.fr"),
        "Pierre Dupont [Ac-Versailles]"
    );
}

#[test]
fn dn_02_capitals_are_folded_first() {
    assert_eq!(
        name("Pierre.DUPONT@AC-Versailles.FR"),
        "Pierre Dupont [Ac-Versailles]"
    );
}

#[test]
fn dn_03_gouv_fr_is_passed_over() {
    assert_eq!(name("marie.curie@sante.gouv.fr"), "Marie Curie [Sante]");
}

#[test]
fn dn_04_gouv_fr_alone_is_gouv() {
    assert_eq!(name("user@gouv.fr"), "User [Gouv]");
}

#[test]
fn dn_05_the_organisation_is_the_label_before_gouv_fr() {
    assert_eq!(
        name("user@gendarmerie.interieur.gouv.fr"),
        "User [Interieur]"
    );
}

#[test]
fn dn_07_parts_after_hyphens_are_capitalized() {
    assert_eq!(name("bob-jones.blabla@gouv.fr"), "Bob-Jones Blabla [Gouv]");
}

#[test]
fn dn_08_no_domain_is_special_unless_configured() {
    assert_eq!(name("bob.jones@matrix.org"), "Bob Jones [Matrix]");
    let policy = tchap(
        r#"
        [display_names.organisations]
        "Matrix.org" = "Support Tchap"
        "lab.matrix.org" = "Labo"
        "#,
    );
    let name = |text| policy.display_name_for_address(&address(text));
    assert_eq!(name("bob.jones@matrix.org"), "Bob Jones [Support Tchap]");
    assert_eq!(name("bob.jones@x.matrix.org"), "Bob Jones [Support Tchap]");
    assert_eq!(name("bob.jones@x.lab.matrix.org"), "Bob Jones [Labo]");
    assert_eq!(name("bob.jones@notmatrix.org"), "Bob Jones [Notmatrix]");
}

#[test]
fn dn_09_numbers_stay() {
    let expected = "Jerome Ploquin4 [Developpement-Durable]";
    assert_eq!(
        name("jerome.ploquin4@developpement-durable.gouv.fr"),
        expected
    );
}

#[test]
fn dn_10_inner_capitals_are_folded() {
    assert_eq!(name("jean.McDONALD@x.fr"), "Jean Mcdonald [X]");
}

#[test]
fn dn_11_gouv_fr_in_capitals_is_passed_over() {
    assert_eq!(name("x.y@interieur.GOUV.FR"), "X Y [Interieur]");
}

#[test]
fn dn_12_accents_stay() {
    assert_eq!(name("élodie.o@ac-lyon.fr"), "Élodie O [Ac-Lyon]");
}

#[test]
fn dn_14_elsewhere_the_organisation_is_the_label_before_the_last() {
    assert_eq!(name("x.y@sub.domain.co.uk"), "X Y [Co]");
}

#[test]
fn dn_16_a_plus_stays() {
    assert_eq!(
        name("j.martin+test@finances.gouv.fr"),
        "J Martin+test [Finances]"
    );
}

#[test]
fn dn_18_a_domain_with_a_single_label_is_refused() {
    let error = EmailAddress::parse("x@localhost").unwrap_err();
    assert_eq!(error, AddressError::SingleLabelDomain);
    let violation = Violation::from(error);
    assert_eq!((violation.rule, violation.kind.status()), ("DN-18", 400));
}

#[test]
fn double_dots_and_hyphens_leave_no_gaps() {
    assert_eq!(name("anne..marie@x.fr"), "Anne Marie [X]");
    assert_eq!(name("a--b@x.fr"), "A--B [X]");
}

#[test]
fn externals_are_shown_by_their_address_where_asked() {
    let policy = tchap(
        r"
        display_names.use_address_for_external = true
        addresses.patterns = [{ pattern = '.*@agent.fr' }, { pattern = '.*', external = true }]
        ",
    );
    let name = |text| policy.display_name_for_address(&address(text));
    assert_eq!(name("A.B@Gmail.com"), "a.b@gmail.com");
    assert_eq!(name("a.b@agent.fr"), "A B [Agent]");
}
