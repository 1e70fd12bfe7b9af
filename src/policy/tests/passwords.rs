//! PW rows: what a password must contain.

use serde_json::{Value, json};

use super::{open, tchap};
use crate::policy::{PasswordProblem, Violation};

/// The row and the error code that refuse a password, if any.
fn refused(toml: &str, password: &str) -> Option<(&'static str, &'static str)> {
    let problem = tchap(toml).password_problem(password)?;
    let violation = Violation::from(problem);
    assert_eq!(violation.kind.status(), 400);
    Some((violation.rule, violation.kind.errcode()))
}

#[test]
fn pw_01_a_short_password_is_refused() {
    let refusal = Some(("PW-01", "M_PASSWORD_TOO_SHORT"));
    assert_eq!(refused("", "Aa1!Aa1!Aa1"), refusal);
    assert_eq!(refused("", "Aa1!Aa1!Aa1!"), None);
    // Characters count, not bytes.
    assert_eq!(refused("", "Aa1!ééééééé"), refusal);
    assert_eq!(refused("", "Aa1!éééééééé"), None);
    let problem = tchap("").password_problem("a").unwrap();
    let violation = Violation::from(problem);
    assert_eq!(
        violation.message.fr,
        "Le mot de passe doit avoir au moins 12 caractères."
    );
}

#[test]
fn pw_02_a_password_without_a_digit_is_refused() {
    let refusal = Some(("PW-02", "M_PASSWORD_NO_DIGIT"));
    assert_eq!(refused("", "aaaaaaaaaaaa"), refusal);
    // Digits of other scripts are symbols.
    assert_eq!(refused("", "Aaaaaaaaaaa\u{661}"), refusal);
}

#[test]
fn pw_03_a_password_without_a_symbol_is_refused() {
    assert_eq!(
        refused("", "aaaaaaaaaaa1"),
        Some(("PW-03", "M_PASSWORD_NO_SYMBOL"))
    );
    assert_eq!(refused("", "Aaaaaaaaaaé1"), None);
}

#[test]
fn pw_04_a_password_without_a_capital_is_refused() {
    assert_eq!(
        refused("", "11111111111!"),
        Some(("PW-04", "M_PASSWORD_NO_UPPERCASE"))
    );
}

#[test]
fn pw_05_a_password_without_a_small_letter_is_refused() {
    assert_eq!(
        refused("", "AAAAAAAAAA1!"),
        Some(("PW-05", "M_PASSWORD_NO_LOWERCASE"))
    );
}

#[test]
fn pw_06_an_empty_or_endless_password_is_refused() {
    let refusal = Some(("PW-06", "M_INVALID_PARAM"));
    let longest = format!("Aa1!{}", "é".repeat(508));
    assert_eq!(refused("", &longest), None);
    assert_eq!(refused("", &format!("{longest}a")), refusal);
    // Even where nothing else is asked.
    let off = "passwords.enforce = 'never'";
    assert_eq!(refused(off, ""), refusal);
    assert_eq!(refused(off, &"a".repeat(513)), refusal);
    assert_eq!(refused(off, "a"), None);
}

#[test]
fn the_policy_is_published() {
    let all = json!({
        "m.minimum_length": 12,
        "m.require_digit": true,
        "m.require_symbol": true,
        "m.require_lowercase": true,
        "m.require_uppercase": true,
    });
    assert_eq!(Value::Object(tchap("").password_policy()), all);
    let some = "passwords = { minimum_length = 8, require_symbol = false, require_digit = false }";
    let map = tchap(some).password_policy();
    assert_eq!(map.len(), 3);
    assert_eq!(map["m.minimum_length"], 8);
    assert_eq!(refused(some, "Aaaaaaaa"), None);
    assert!(
        tchap("passwords.enforce = 'never'")
            .password_policy()
            .is_empty()
    );
}

#[test]
fn the_open_profile_asks_for_little_unless_told() {
    assert!(open("").password_policy().is_empty());
    assert_eq!(open("").password_problem("a"), None);
    assert_eq!(open("").password_problem(""), Some(PasswordProblem::Empty));
    let strict = open("passwords.enforce = 'always'");
    assert_eq!(strict.password_policy().len(), 5);
    let problem = strict.password_problem("a");
    assert_eq!(problem, Some(PasswordProblem::TooShort { minimum: 12 }));
}

#[test]
fn r_11_a_changed_password_keeps_devices_with_the_rules_of_tchap_unless_told() {
    assert!(tchap("").new_password_keeps_devices());
    assert!(!open("").new_password_keeps_devices());
    assert!(!tchap("passwords.keep_devices = 'never'").new_password_keeps_devices());
    assert!(open("passwords.keep_devices = 'always'").new_password_keeps_devices());
}
