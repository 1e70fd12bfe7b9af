//! What the policy answers: yes or no, and which rule decided.

use std::{borrow::Cow, fmt};

/// The answer to a question "may this person …?".
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum Decision {
    /// Yes.
    Allow {
        /// The row of the rules that decided, such as `CK-02`, or [`OPEN`].
        rule: &'static str,
    },
    /// No.
    Deny(Violation),
}

/// The rule that allows everything with the profile `open`.
pub const OPEN: &str = "open";

impl Decision {
    /// Whether the answer is yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// The rule that decided.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Allow { rule } => rule,
            Self::Deny(violation) => violation.rule,
        }
    }

    /// The same, for `?`.
    pub fn into_result(self) -> Result<(), Violation> {
        match self {
            Self::Allow { .. } => Ok(()),
            Self::Deny(violation) => Err(violation),
        }
    }
}

/// Why something is not allowed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{} ({rule})", message.en)]
pub struct Violation {
    /// The row of the rules that decided, such as `CK-03`.
    pub rule: &'static str,
    /// What it is in Matrix's terms.
    pub kind: ViolationKind,
    /// A stable word for clients, sent as `fr.gouv.tchap.reason`.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: Message,
}

impl Violation {
    /// A violation with fixed sentences.
    pub const fn new(
        rule: &'static str,
        kind: ViolationKind,
        reason: &'static str,
        message: Message,
    ) -> Self {
        Self {
            rule,
            kind,
            reason,
            message,
        }
    }
}

/// A sentence in the two languages of the service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// In French.
    pub fr: Cow<'static, str>,
    /// In English.
    pub en: Cow<'static, str>,
}

impl Message {
    /// A fixed sentence.
    pub const fn fixed(fr: &'static str, en: &'static str) -> Self {
        Self {
            fr: Cow::Borrowed(fr),
            en: Cow::Borrowed(en),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.en)
    }
}

/// What a violation is in Matrix's terms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ViolationKind {
    /// The person may not do this.
    Forbidden,
    /// The profile is fixed, which Tchap's clients know by another status than other refusals.
    ProfileFixed,
    /// The address may not be used here.
    ThreepidDenied,
    /// The address is not well formed.
    InvalidAddress,
    /// The user name is not valid.
    InvalidUsername,
    /// The password is empty or too long.
    InvalidPassword,
    /// The password is too short.
    PasswordTooShort,
    /// The password lacks a digit.
    PasswordNoDigit,
    /// The password lacks a symbol.
    PasswordNoSymbol,
    /// The password lacks a capital.
    PasswordNoUppercase,
    /// The password lacks a small letter.
    PasswordNoLowercase,
    /// Nobody may have a room like this.
    InvalidRoom,
}

impl ViolationKind {
    /// Matrix's error code.
    pub const fn errcode(self) -> &'static str {
        match self {
            Self::Forbidden | Self::ProfileFixed => "M_FORBIDDEN",
            Self::ThreepidDenied => "M_THREEPID_DENIED",
            Self::InvalidAddress | Self::InvalidPassword => "M_INVALID_PARAM",
            Self::InvalidUsername => "M_INVALID_USERNAME",
            Self::PasswordTooShort => "M_PASSWORD_TOO_SHORT",
            Self::PasswordNoDigit => "M_PASSWORD_NO_DIGIT",
            Self::PasswordNoSymbol => "M_PASSWORD_NO_SYMBOL",
            Self::PasswordNoUppercase => "M_PASSWORD_NO_UPPERCASE",
            Self::PasswordNoLowercase => "M_PASSWORD_NO_LOWERCASE",
            Self::InvalidRoom => "M_UNKNOWN",
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::Forbidden | Self::ThreepidDenied => 403,
            Self::ProfileFixed
            | Self::InvalidAddress
            | Self::InvalidUsername
            | Self::InvalidPassword
            | Self::PasswordTooShort
            | Self::PasswordNoDigit
            | Self::PasswordNoSymbol
            | Self::PasswordNoUppercase
            | Self::PasswordNoLowercase
            | Self::InvalidRoom => 400,
        }
    }
}
