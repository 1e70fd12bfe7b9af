//! What the mailer must know: the mail server, the sender, and what mails say of the service.

use std::{path::PathBuf, time::Duration};

use url::Url;
use zeroize::Zeroizing;

use crate::language::Language;

/// How mails leave and what they say of the service.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// The mail server's name or address. `None`: mails are kept in [`outbox`](Self::outbox).
    pub host: Option<String>,
    /// The mail server's port, usually 465 with TLS, 587 with STARTTLS, 25 without encryption.
    pub port: u16,
    /// How the connection to the mail server is protected.
    pub encryption: Encryption,
    /// The account at the mail server; without it nothing is authenticated.
    pub user: Option<String>,
    /// The account's password; without [`user`](Self::user) it is not used.
    pub password: Option<Zeroizing<String>>,
    /// A PEM file of authorities to trust beside those of the machine, for TLS and STARTTLS.
    pub certificate_authorities: Option<PathBuf>,
    /// How long one mail may take, from the wait for a connection to the server's last answer.
    pub timeout: Duration,
    /// The sender, such as `Tchap <ne-pas-repondre@example.gouv.fr>`.
    pub from: String,
    /// What the service is called in subjects and texts.
    pub app_name: String,
    /// The language of mails to people whose language is not known.
    pub language: Language,
    /// Whom to ask for help: an address or a page, shown as it is.
    pub support: Option<String>,
    /// Whether mails recall that documents marked *Diffusion Restreinte* may not be exchanged
    /// (tchap.md, section 5.4).
    pub restricted_documents_notice: bool,
    /// Whether people from outside get an account that sees only what they are invited to, which
    /// invitations then say.
    pub guest_accounts: bool,
    /// Where people get the application for Android.
    pub android_app: Option<Url>,
    /// Where people get the application for iPhone and iPad.
    pub ios_app: Option<Url>,
    /// A page with answers to frequent questions.
    pub help: Option<Url>,
    /// Where people reach the service: what the samples of mails link to.
    pub public_url: Url,
    /// The folder whose files replace templates of mails.
    pub templates: Option<PathBuf>,
    /// The folder that keeps mails when there is no mail server, for development.
    pub outbox: PathBuf,
}

/// How a connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// TLS from the first byte: the choice of RFC 8314.
    Tls,
    /// Clear text that must become TLS before anything is said: a server that does not offer
    /// STARTTLS gets no mail and no password.
    StartTls,
    /// Clear text, for a relay on the same machine or on a private network.
    None,
}
