//! Why a mail was not written or sent, and why mails cannot be set up.
//!
//! A mail server repeats addresses in its answers, and a template's error may quote the link, so
//! that neither answers nor contents are kept in these errors: they may be logged.

use std::io;

use lettre::transport::smtp;

use crate::{store::StoreError, templates::Faults};

/// Why a mail was not queued, or the outbox not read.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The mail cannot be written; the same call fails again.
    #[error("the mail cannot be written")]
    Invalid(#[from] InvalidMail),
    /// The queue cannot be reached.
    #[error("the mail cannot be queued")]
    Store(#[from] StoreError),
    /// The outbox cannot be read.
    #[error("the outbox cannot be read")]
    Outbox(#[source] io::Error),
}

/// Why a mail cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum InvalidMail {
    /// The address is not exactly a local part, one `@` and a domain in ASCII.
    #[error("the address is not one that a mail can be sent to")]
    Address,
    /// The link is not an HTTP or HTTPS address.
    #[error("the link is not an address of a page")]
    Link,
    /// A template failed.
    #[error("a template failed: {0}")]
    Template(minijinja::ErrorKind),
    /// The parts do not make a message.
    #[error("the parts do not make a message")]
    Message(#[source] lettre::error::Error),
}

/// Why a written mail was not sent.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The mail server refused this mail for good, mostly because the address does not exist.
    #[error("the mail server refused the mail for good ({code})")]
    Refused {
        /// The answer's code: 500 to 599.
        code: u16,
    },
    /// The mail may be sent later.
    #[error("the mail cannot be sent now: {0}")]
    Unavailable(#[from] Unavailable),
}

/// Why a mail cannot be sent now.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// It took longer than the settings allow.
    #[error("the mail server took too long")]
    Timeout,
    /// There is no connection, or it broke.
    #[error("no connection to the mail server")]
    Connection(#[source] smtp::Error),
    /// TLS failed, for example because the certificate is not trusted.
    #[error("no protected connection to the mail server")]
    Tls(#[source] smtp::Error),
    /// The server offers no STARTTLS, or no way to authenticate that we know.
    #[error("the mail server does not offer what the settings ask for")]
    Unsupported,
    /// The server turned us away before any mail: its greeting, or our account.
    #[error("the mail server turned us away ({code})")]
    TurnedAway {
        /// The answer's code: 400 to 599.
        code: u16,
    },
    /// The server refused the mail for now.
    #[error("the mail server refused the mail for now ({code})")]
    Temporary {
        /// The answer's code: 400 to 499.
        code: u16,
    },
    /// The server's answer makes no sense.
    #[error("the mail server's answer makes no sense")]
    Answer,
    /// The outbox cannot be written.
    #[error("the outbox cannot be written")]
    Outbox(#[source] io::Error),
}

impl Unavailable {
    /// Whether no other mail could be sent now either.
    pub(super) fn concerns_all(&self) -> bool {
        match self {
            Self::Connection(_)
            | Self::Tls(_)
            | Self::Unsupported
            | Self::TurnedAway { .. }
            | Self::Outbox(_) => true,
            Self::Timeout | Self::Temporary { .. } | Self::Answer => false,
        }
    }
}

/// Why mails cannot be set up as the settings say.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The sender is not an address.
    #[error("the sender is not an address, nor a name and an address")]
    Sender,
    /// The name of the service has control characters or is empty.
    #[error("the name of the service is empty or has control characters")]
    AppName,
    /// The file of authorities cannot be read.
    #[error("the file of certificate authorities cannot be read")]
    CertificateAuthorities(#[source] io::Error),
    /// The file of authorities holds none, or TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] Option<smtp::Error>),
    /// Templates have faults.
    #[error("a template cannot be used: {0}")]
    Templates(#[from] Faults),
}
