//! Mails to people: one method per kind of mail.
//!
//! A mail is rendered from the templates in `config/templates/mail`, made into a message with a
//! text and an HTML part, and handed to the mail server, or kept in a folder where there is none
//! ([`Outbox`]). Nothing here is retried: callers do, or tell the person.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use lettre::Message;
use ruma::ServerName;
use url::Url;

use crate::{clock::SharedClock, language::Language, random::Random};

mod error;
mod message;
mod outbox;
mod settings;
mod smtp;
mod templates;
#[cfg(test)]
mod tests;

pub use self::{
    error::{InvalidMail, MailError, SetupError, Unavailable},
    outbox::{Outbox, OutboxMail},
    settings::{Encryption, MailSettings},
};
use self::{
    message::{Envelope, Sender},
    smtp::Smtp,
    templates::{Kind, Templates, Words},
};

/// Sends mails. Clones share connections and templates.
#[derive(Clone)]
pub struct Mailer(Arc<Inner>);

struct Inner {
    app_name: String,
    server_name: String,
    support: Option<String>,
    restricted_documents_notice: bool,
    language: Language,
    sender: Sender,
    templates: Templates,
    transport: Transport,
    clock: SharedClock,
    random: Random,
    sent: AtomicU64,
    failed: AtomicU64,
}

enum Transport {
    Smtp(Box<Smtp>),
    Outbox(Outbox),
}

impl Mailer {
    /// A mailer for `server_name`, which names the server in message ids and to the mail server.
    /// Reads the certificates of the machine, and connects to nothing yet.
    pub fn new(
        settings: &MailSettings,
        server_name: &ServerName,
        clock: SharedClock,
        random: Random,
    ) -> Result<Self, SetupError> {
        let name = &settings.app_name;
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Err(SetupError::AppName);
        }
        let transport = match &settings.host {
            Some(host) => Transport::Smtp(Box::new(Smtp::new(settings, host, server_name)?)),
            None => Transport::Outbox(Outbox::new(settings.outbox.clone(), random.clone())),
        };
        Ok(Self(Arc::new(Inner {
            app_name: name.clone(),
            server_name: server_name.to_string(),
            support: settings.support.clone(),
            restricted_documents_notice: settings.restricted_documents_notice,
            language: settings.language,
            sender: Sender::parse(&settings.from, server_name.host())?,
            templates: Templates::new().map_err(SetupError::Template)?,
            transport,
            clock,
            random,
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })))
    }

    /// How many mails left, and how many did not.
    pub fn outcomes(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.0.sent), read(&self.0.failed))
    }

    /// The folder of mails, where there is no mail server.
    pub fn outbox(&self) -> Option<&Outbox> {
        match &self.0.transport {
            Transport::Outbox(outbox) => Some(outbox),
            Transport::Smtp(_) => None,
        }
    }

    /// Asks the holder of an address to open `link`, to show that the address is theirs
    /// (`/register/email/requestToken` and `/account/3pid/email/requestToken`, v1.19).
    ///
    /// `to` comes from a parsed address; what has not exactly one `@` is refused here all the
    /// same. `language` is `None` where the person's is not known.
    pub async fn send_address_verification(
        &self,
        to: &str,
        link: &Url,
        language: Option<Language>,
        valid_for: Duration,
    ) -> Result<(), MailError> {
        let kind = Kind::AddressVerification;
        self.send(kind, to, link, language, valid_for).await
    }

    /// Asks the holder of an account to open `link`, to allow a new password
    /// (`/account/password/email/requestToken`, v1.19). The arguments are those of
    /// [`send_address_verification`](Self::send_address_verification).
    pub async fn send_password_reset(
        &self,
        to: &str,
        link: &Url,
        language: Option<Language>,
        valid_for: Duration,
    ) -> Result<(), MailError> {
        let kind = Kind::PasswordReset;
        self.send(kind, to, link, language, valid_for).await
    }

    async fn send(
        &self,
        kind: Kind,
        to: &str,
        link: &Url,
        language: Option<Language>,
        valid_for: Duration,
    ) -> Result<(), MailError> {
        let message = self.message(kind, to, link, language, valid_for)?;
        let outcome = match &self.0.transport {
            Transport::Smtp(smtp) => smtp.send(&message).await,
            Transport::Outbox(outbox) => {
                outbox
                    .keep(self.0.clock.now_ms(), &message.formatted())
                    .await
            }
        };
        let count = match &outcome {
            Ok(()) => &self.0.sent,
            Err(_) => &self.0.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    fn message(
        &self,
        kind: Kind,
        to: &str,
        link: &Url,
        language: Option<Language>,
        valid_for: Duration,
    ) -> Result<Message, InvalidMail> {
        let inner = &self.0;
        let to = message::recipient(to)?;
        if !matches!(link.scheme(), "http" | "https") {
            return Err(InvalidMail::Link);
        }
        let language = language.unwrap_or(inner.language);
        let content = inner.templates.render(
            kind,
            language,
            &Words {
                app_name: &inner.app_name,
                server_name: &inner.server_name,
                support: inner.support.as_deref(),
                restricted_documents_notice: inner.restricted_documents_notice,
                link,
                valid_for,
            },
        )?;
        let envelope = Envelope {
            to,
            date: UNIX_EPOCH + Duration::from_millis(inner.clock.now_ms()),
            language,
        };
        message::build(&inner.sender, envelope, content, &inner.random)
    }
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outbox: Option<&Path> = self.outbox().map(Outbox::folder);
        f.debug_struct("Mailer")
            .field("outbox", &outbox)
            .finish_non_exhaustive()
    }
}
