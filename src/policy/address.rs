//! `EmailAddress`: the one parser of e-mail addresses.
//!
//! Every entry point parses with it, and only its result is checked, stored, mailed and compared.
//! In 2019 an address with two at signs was mailed by its first half and judged by its second
//! (tchap.md, R-01); here nothing is lenient, and there is no second reading.

use std::{fmt, str::FromStr};

use unicode_normalization::UnicodeNormalization as _;

use super::decision::{Message, Violation, ViolationKind};

/// The longest address, in bytes (RFC 5321, 4.5.3.1.3, less the angle brackets).
const MAX_LENGTH: usize = 254;

/// The longest local part, in bytes (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL_LENGTH: usize = 64;

/// The longest label of a domain, in bytes (RFC 1035, 2.3.4).
const MAX_LABEL_LENGTH: usize = 63;

/// The longest input that is looked at, in bytes: normalization can make a text shorter.
const MAX_INPUT_LENGTH: usize = 4 * MAX_LENGTH;

/// An e-mail address in its one canonical form: lower case, NFC, one at sign.
///
/// It cannot be made but by [`EmailAddress::parse`]. `Debug` does not show it, so that it does not
/// reach logs.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EmailAddress(Box<str>);

/// Why a text is not an e-mail address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// The whole, the local part or a label of the domain is too long.
    #[error("address is too long")]
    TooLong,
    /// There is no at sign, or more than one.
    #[error("address does not have exactly one at sign")]
    NotOneAtSign,
    /// There is nothing before the at sign.
    #[error("address has no local part")]
    EmptyLocal,
    /// There is nothing after the at sign.
    #[error("address has no domain")]
    EmptyDomain,
    /// The local part begins or ends with a dot.
    #[error("local part begins or ends with a dot")]
    DotAtEdge,
    /// The local part has a space, a quote, a bracket, or another character that has a meaning in
    /// mail headers or routes.
    #[error("local part has a character that is not allowed")]
    ForbiddenCharacter,
    /// The local part has a letter that is not Latin, or looks like another.
    #[error("local part has a letter that is not allowed")]
    ForeignLetter,
    /// The domain is not in ASCII, or is the encoding of one that is not.
    #[error("domain is internationalized")]
    InternationalDomain,
    /// The domain is no host name.
    #[error("domain is not a host name")]
    InvalidDomain,
    /// The domain has one label only (tchap.md, DN-18).
    #[error("domain has a single label")]
    SingleLabelDomain,
}

impl EmailAddress {
    /// Parses and canonicalizes an address.
    ///
    /// - Spaces around it are dropped; no other white space is (REG-08).
    /// - There is exactly one at sign, with something on both sides (REG-07).
    /// - The local part is lower-cased and normalized to NFC. It may contain letters without or
    ///   with accents, digits, dots inside, and ``#$&'*+-/=?^_{}~``. Quoted forms, comments and the
    ///   route characters `!` and `%` are refused.
    /// - The domain is lower-cased, and is a host name in ASCII with two labels at least.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim_matches(' ');
        if text.len() > MAX_INPUT_LENGTH {
            return Err(AddressError::TooLong);
        }
        let (local, domain) = text.split_once('@').ok_or(AddressError::NotOneAtSign)?;
        if domain.contains('@') {
            return Err(AddressError::NotOneAtSign);
        }
        let local = canonical_local(local)?;
        let domain = canonical_domain(domain)?;
        let address = format!("{local}@{domain}");
        if address.len() > MAX_LENGTH {
            return Err(AddressError::TooLong);
        }
        Ok(Self(address.into_boxed_str()))
    }

    /// The whole address, to be stored, mailed and compared. Not for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the at sign.
    pub fn local(&self) -> &str {
        self.halves().0
    }

    /// What stands after the at sign.
    pub fn domain(&self) -> &str {
        self.halves().1
    }

    fn halves(&self) -> (&str, &str) {
        // The parser put an at sign there.
        self.0.split_once('@').unwrap_or_default()
    }
}

impl FromStr for EmailAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl AsRef<str> for EmailAddress {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(..)")
    }
}

impl From<AddressError> for Violation {
    fn from(error: AddressError) -> Self {
        let rule = match error {
            AddressError::NotOneAtSign | AddressError::EmptyLocal | AddressError::EmptyDomain => {
                "REG-07"
            }
            AddressError::SingleLabelDomain => "DN-18",
            AddressError::TooLong => "UID-19",
            AddressError::DotAtEdge
            | AddressError::ForbiddenCharacter
            | AddressError::ForeignLetter
            | AddressError::InternationalDomain
            | AddressError::InvalidDomain => "R-01",
        };
        Self::new(
            rule,
            ViolationKind::InvalidAddress,
            "invalid_email_address",
            Message::fixed(
                "Cette adresse de courriel n’est pas valide.",
                "This e-mail address is not valid.",
            ),
        )
    }
}

fn canonical_local(local: &str) -> Result<String, AddressError> {
    if local.is_empty() {
        return Err(AddressError::EmptyLocal);
    }
    // Lower-casing can leave letter and accent apart, so the result is composed again.
    let composed: String = local.nfc().collect();
    let local: String = composed.to_lowercase().nfc().collect();
    if local.starts_with('.') || local.ends_with('.') {
        return Err(AddressError::DotAtEdge);
    }
    for c in local.chars() {
        if c.is_ascii() {
            if !is_plain(c) {
                return Err(AddressError::ForbiddenCharacter);
            }
        } else if !is_accented_latin(c) {
            return Err(if c.is_alphanumeric() {
                AddressError::ForeignLetter
            } else {
                AddressError::ForbiddenCharacter
            });
        }
    }
    if local.len() > MAX_LOCAL_LENGTH {
        return Err(AddressError::TooLong);
    }
    Ok(local)
}

/// The ASCII characters of a local part: RFC 5322's `atext` and the dot, without the characters by
/// which old mail systems route (`!`, `%`), run programs (`|`) or quote (`` ` ``).
const fn is_plain(c: char) -> bool {
    matches!(
        c,
        'a'..='z'
            | '0'..='9'
            | '.' | '#' | '$' | '&' | '\'' | '*' | '+' | '-' | '/'
            | '=' | '?' | '^' | '_' | '{' | '}' | '~'
    )
}

/// Whether a letter is an ASCII letter with accents, or one of the few other letters of the
/// languages written in Latin script. Letters made to look like ASCII (Cyrillic and Greek ones,
/// `ı`, `ɑ`, full-width forms) are not.
fn is_accented_latin(c: char) -> bool {
    if matches!(c, 'æ' | 'œ' | 'ß' | 'ø' | 'ð' | 'þ' | 'ł' | 'đ') {
        return true;
    }
    let mut parts = std::iter::once(c).nfd();
    parts.next().is_some_and(|base| base.is_ascii_lowercase())
        && parts.all(|mark| matches!(mark, '\u{300}'..='\u{36f}'))
}

fn canonical_domain(domain: &str) -> Result<String, AddressError> {
    if domain.is_empty() {
        return Err(AddressError::EmptyDomain);
    }
    if !domain.is_ascii() {
        return Err(AddressError::InternationalDomain);
    }
    let domain = domain.to_ascii_lowercase();
    for label in domain.split('.') {
        if label.len() > MAX_LABEL_LENGTH {
            return Err(AddressError::TooLong);
        }
        let letters_digits_hyphens = label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if label.is_empty()
            || !letters_digits_hyphens
            || label.starts_with('-')
            || label.ends_with('-')
        {
            return Err(AddressError::InvalidDomain);
        }
        if label.starts_with("xn--") {
            return Err(AddressError::InternationalDomain);
        }
    }
    if !domain.contains('.') {
        return Err(AddressError::SingleLabelDomain);
    }
    // An IP address is no host name.
    if domain.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(AddressError::InvalidDomain);
    }
    Ok(domain)
}
