//! What a password must contain (tchap.md, 2.6; MSC2000).

use serde_json::{Map, Value};

use super::decision::{Message, Violation, ViolationKind};
use crate::config::{
    Profile,
    policy::{MAX_PASSWORD_LENGTH, Passwords},
};

/// The rules of `[policy.passwords]`.
#[derive(Clone, Debug)]
pub struct PasswordRules {
    /// `None`: any password will do that is not empty or too long.
    content: Option<Passwords>,
    keeps_devices: bool,
}

/// What is wrong with a password: the first thing, in the order of the rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PasswordProblem {
    /// PW-01.
    #[error("password is shorter than {minimum} characters")]
    TooShort {
        /// The least number of characters.
        minimum: usize,
    },
    /// PW-02: none of `0-9`.
    #[error("password has no digit")]
    NoDigit,
    /// PW-03: no character outside `a-zA-Z0-9`.
    #[error("password has no symbol")]
    NoSymbol,
    /// PW-04: none of `A-Z`.
    #[error("password has no capital letter")]
    NoUppercase,
    /// PW-05: none of `a-z`.
    #[error("password has no small letter")]
    NoLowercase,
    /// PW-06.
    #[error("password is empty")]
    Empty,
    /// PW-06.
    #[error("password is longer than {MAX_PASSWORD_LENGTH} characters")]
    TooLong,
}

impl PasswordRules {
    /// The rules that the settings ask for. Where they do not apply, only PW-06 is left.
    pub fn new(settings: &Passwords, profile: Profile) -> Self {
        let is_enforced = settings.enforce.applies(profile);
        Self {
            content: is_enforced.then(|| settings.clone()),
            keeps_devices: settings.keep_devices.applies(profile),
        }
    }

    ///
    pub fn keeps_devices(&self) -> bool {
        self.keeps_devices
    }

    /// What is wrong with a new password, checked when registering, changing and resetting it.
    pub fn problem(&self, password: &str) -> Option<PasswordProblem> {
        let content = self.content.as_ref();
        content
            .and_then(|rules| content_problem(rules, password))
            .or_else(|| length_problem(password))
    }

    /// The answer of `GET /password_policy`: empty where no rules apply.
    pub fn describe(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let Some(rules) = &self.content else {
            return map;
        };
        if rules.minimum_length > 0 {
            map.insert("m.minimum_length".to_owned(), rules.minimum_length.into());
        }
        for (key, required) in [
            ("m.require_digit", rules.require_digit),
            ("m.require_symbol", rules.require_symbol),
            ("m.require_uppercase", rules.require_uppercase),
            ("m.require_lowercase", rules.require_lowercase),
        ] {
            if required {
                map.insert(key.to_owned(), true.into());
            }
        }
        map
    }
}

/// PW-01 to PW-05.
fn content_problem(rules: &Passwords, password: &str) -> Option<PasswordProblem> {
    let has = |fits: fn(char) -> bool| password.chars().any(fits);
    if password.chars().count() < rules.minimum_length {
        Some(PasswordProblem::TooShort {
            minimum: rules.minimum_length,
        })
    } else if rules.require_digit && !has(|c| c.is_ascii_digit()) {
        Some(PasswordProblem::NoDigit)
    } else if rules.require_symbol && !has(|c| !c.is_ascii_alphanumeric()) {
        Some(PasswordProblem::NoSymbol)
    } else if rules.require_uppercase && !has(|c| c.is_ascii_uppercase()) {
        Some(PasswordProblem::NoUppercase)
    } else if rules.require_lowercase && !has(|c| c.is_ascii_lowercase()) {
        Some(PasswordProblem::NoLowercase)
    } else {
        None
    }
}

/// PW-06.
fn length_problem(password: &str) -> Option<PasswordProblem> {
    if password.is_empty() {
        Some(PasswordProblem::Empty)
    } else if password.chars().count() > MAX_PASSWORD_LENGTH {
        Some(PasswordProblem::TooLong)
    } else {
        None
    }
}

impl From<PasswordProblem> for Violation {
    fn from(problem: PasswordProblem) -> Self {
        let fixed =
            |rule, kind, reason, fr, en| Self::new(rule, kind, reason, Message::fixed(fr, en));
        match problem {
            PasswordProblem::TooShort { minimum } => Self::new(
                "PW-01",
                ViolationKind::PasswordTooShort,
                "password_too_short",
                Message {
                    fr: format!("Le mot de passe doit avoir au moins {minimum} caractères.").into(),
                    en: format!("The password must have at least {minimum} characters.").into(),
                },
            ),
            PasswordProblem::NoDigit => fixed(
                "PW-02",
                ViolationKind::PasswordNoDigit,
                "password_no_digit",
                "Le mot de passe doit contenir un chiffre.",
                "The password must contain a digit.",
            ),
            PasswordProblem::NoSymbol => fixed(
                "PW-03",
                ViolationKind::PasswordNoSymbol,
                "password_no_symbol",
                "Le mot de passe doit contenir un caractère spécial.",
                "The password must contain a symbol.",
            ),
            PasswordProblem::NoUppercase => fixed(
                "PW-04",
                ViolationKind::PasswordNoUppercase,
                "password_no_uppercase",
                "Le mot de passe doit contenir une lettre majuscule.",
                "The password must contain a capital letter.",
            ),
            PasswordProblem::NoLowercase => fixed(
                "PW-05",
                ViolationKind::PasswordNoLowercase,
                "password_no_lowercase",
                "Le mot de passe doit contenir une lettre minuscule.",
                "The password must contain a small letter.",
            ),
            PasswordProblem::Empty => fixed(
                "PW-06",
                ViolationKind::InvalidPassword,
                "password_empty",
                "Le mot de passe est vide.",
                "The password is empty.",
            ),
            PasswordProblem::TooLong => fixed(
                "PW-06",
                ViolationKind::InvalidPassword,
                "password_too_long",
                "Le mot de passe est trop long.",
                "The password is too long.",
            ),
        }
    }
}
