//! How a user ID and a display name follow from an e-mail address (tchap.md, 2.5).

use std::collections::BTreeMap;

use ruma::ServerName;

use super::{
    address::EmailAddress,
    decision::{Message, Violation, ViolationKind},
    patterns::above,
};
use crate::config::policy::DisplayNames;

/// The longest user ID, in bytes (Matrix v1.19, appendices, user identifiers).
const MAX_USER_ID_LENGTH: usize = 255;

/// Why a localpart cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LocalpartError {
    /// It is empty.
    #[error("localpart is empty")]
    Empty,
    /// It has a character outside `a-z0-9_-./=`.
    #[error("localpart has a character that is not allowed")]
    ForbiddenCharacter,
    /// It begins with an underscore, which is kept for application services.
    #[error("localpart begins with an underscore")]
    LeadingUnderscore,
    /// It is a number, as the localparts of guests are.
    #[error("localpart has only digits")]
    OnlyDigits,
    /// The user ID would be longer than 255 bytes.
    #[error("user ID is too long")]
    TooLong,
}

impl From<LocalpartError> for Violation {
    fn from(error: LocalpartError) -> Self {
        let (rule, reason) = match error {
            LocalpartError::LeadingUnderscore => ("UID-18", "username_reserved"),
            LocalpartError::TooLong => ("UID-19", "username_too_long"),
            LocalpartError::Empty
            | LocalpartError::ForbiddenCharacter
            | LocalpartError::OnlyDigits => ("UID", "username_invalid"),
        };
        Self::new(
            rule,
            ViolationKind::InvalidUsername,
            reason,
            Message::fixed(
                "Aucun identifiant valide ne correspond à cette demande.",
                "No valid user name fits this request.",
            ),
        )
    }
}

/// The localpart that follows from an address, where it is free: at signs become hyphens, and
/// characters outside `a-z0-9_-./=` vanish (tchap.md, 2.5, steps 1 to 3). The namespaces of
/// application services are left to the caller. Never derive a permission from the result: two
/// addresses can give the same.
pub fn localpart_for_address(
    address: &EmailAddress,
    server: &ServerName,
) -> Result<String, LocalpartError> {
    let localpart: String = address
        .as_str()
        .chars()
        .map(|c| if c == '@' { '-' } else { c })
        .filter(|c| is_localpart_character(*c))
        .collect();
    check_localpart(&localpart, server)?;
    Ok(localpart)
}

/// Whether a new user may have this localpart (tchap.md, 2.5, step 3).
pub fn check_localpart(localpart: &str, server: &ServerName) -> Result<(), LocalpartError> {
    if localpart.is_empty() {
        return Err(LocalpartError::Empty);
    }
    if !localpart.chars().all(is_localpart_character) {
        return Err(LocalpartError::ForbiddenCharacter);
    }
    if localpart.starts_with('_') {
        return Err(LocalpartError::LeadingUnderscore);
    }
    if localpart.bytes().all(|b| b.is_ascii_digit()) {
        return Err(LocalpartError::OnlyDigits);
    }
    let user_id_length = "@:".len() + localpart.len() + server.as_str().len();
    if user_id_length > MAX_USER_ID_LENGTH {
        return Err(LocalpartError::TooLong);
    }
    Ok(())
}

/// The localpart to try when `localpart` is taken, by an account in use or a deactivated one: the
/// number at its end plus one, or with `1` behind it (tchap.md, 2.5, step 4).
pub fn next_localpart(localpart: &str) -> String {
    let stem = localpart.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = localpart.strip_prefix(stem).unwrap_or_default();
    format!("{stem}{}", plus_one(number))
}

/// The localparts to try for an address, in order. The list ends where user IDs get too long.
pub fn localparts_for_address<'a>(
    address: &EmailAddress,
    server: &'a ServerName,
) -> Result<impl Iterator<Item = String> + use<'a>, LocalpartError> {
    let first = localpart_for_address(address, server)?;
    Ok(std::iter::successors(Some(first), move |taken| {
        let next = next_localpart(taken);
        check_localpart(&next, server).is_ok().then_some(next)
    }))
}

const fn is_localpart_character(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '_' | '-' | '.' | '/' | '=')
}

/// A number in decimal digits, of any length, plus one. No digits stand for zero.
fn plus_one(digits: &str) -> String {
    let digits = digits.trim_start_matches('0');
    let mut head = digits.trim_end_matches('9').to_owned();
    let carried = digits.len() - head.len();
    let last = head.pop().and_then(|digit| digit.to_digit(10)).unwrap_or(0);
    head.extend(char::from_digit(last + 1, 10));
    head.push_str(&"0".repeat(carried));
    head
}

/// How people are named, from `[policy.display_names]`.
#[derive(Clone, Debug)]
pub struct NamingRules {
    /// By domain, in lower case.
    organisations: BTreeMap<String, String>,
    use_address_for_external: bool,
}

impl NamingRules {
    /// The rules that the settings ask for.
    pub fn new(settings: &DisplayNames) -> Self {
        let organisations = settings.organisations.iter();
        Self {
            organisations: organisations
                .map(|(domain, name)| (domain.to_ascii_lowercase(), name.trim().to_owned()))
                .collect(),
            use_address_for_external: settings.use_address_for_external,
        }
    }

    /// `Name [Organisation]`, or the address of an external where the settings say so.
    pub fn display_name(&self, address: &EmailAddress, external: bool) -> String {
        if external && self.use_address_for_external {
            return address.as_str().to_owned();
        }
        let domain = address.domain();
        let organisation = match self.explicit_organisation(domain) {
            Some(name) => name.to_owned(),
            None => capitalize(derived_organisation(domain)),
        };
        format!("{} [{organisation}]", capitalize(address.local()))
    }

    /// The organisation that the settings give to a domain, or to the nearest one above it.
    fn explicit_organisation(&self, domain: &str) -> Option<&str> {
        above(domain)
            .find_map(|domain| self.organisations.get(domain))
            .map(String::as_str)
    }
}

/// The label before `gouv.fr`, or before the last one.
fn derived_organisation(domain: &str) -> &str {
    let labels: Vec<&str> = domain.rsplit('.').collect();
    match labels.as_slice() {
        ["fr", "gouv", organisation, ..] | [_, organisation, ..] => organisation,
        [] | [_] => domain,
    }
}

/// Capitalizes each word. Words are separated by dots, and their parts by hyphens, which stay.
fn capitalize(text: &str) -> String {
    let words = text.split('.').filter(|word| !word.is_empty());
    let words = words.map(|word| {
        let parts: Vec<String> = word.split('-').map(capitalize_part).collect();
        parts.join("-")
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The address is in lower case already, so only the first letter changes.
fn capitalize_part(part: &str) -> String {
    let mut letters = part.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters.clone()).collect()
}
