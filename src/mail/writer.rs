//! Writes mails: from what happened to a whole message.

use std::time::{Duration, UNIX_EPOCH};

use ruma::ServerName;
use url::Url;

use super::{
    error::{InvalidMail, SetupError},
    letter::{Kind, Letter},
    message::{self, Envelope, Sender},
    settings::MailSettings,
    templates::{Content, MailTemplates, Service, samples},
};
use crate::{clock::SharedClock, language::Language, random::Random, templates::Faults};

/// Writes mails.
pub struct Writer {
    service: Service,
    language: Language,
    sender: Sender,
    templates: MailTemplates,
    /// What samples link to.
    public_url: Url,
    clock: SharedClock,
    random: Random,
}

/// A written mail.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// What it is about.
    pub kind: Kind,
    /// The address that it goes to.
    pub recipient: String,
    /// The whole message (RFC 5322).
    pub message: Vec<u8>,
    /// When it was written, in milliseconds since the epoch.
    pub written_ms: u64,
    /// When it stops being of use, in milliseconds since the epoch.
    pub valid_until_ms: Option<u64>,
}

/// A mail with invented contents.
pub struct Sample {
    /// What it is about.
    pub kind: Kind,
    /// Tells the samples of one kind apart; 1 for the first.
    pub number: usize,
    /// Its language.
    pub language: Language,
    /// What it says.
    pub content: Content,
    /// The whole message (RFC 5322).
    pub message: Vec<u8>,
}

impl Writer {
    /// A writer for `server_name`, which names the server in message ids.
    ///
    /// # Errors
    ///
    /// The settings cannot be used. Templates of an operator are tried out with invented contents.
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
        let writer = Self {
            service: Service {
                app_name: name.clone(),
                server_name: server_name.to_string(),
                support: settings.support.clone(),
                restricted_documents_notice: settings.restricted_documents_notice,
                guest_accounts: settings.guest_accounts,
                android_app: settings.android_app.clone(),
                ios_app: settings.ios_app.clone(),
                help: settings.help.clone(),
            },
            language: settings.language,
            sender: Sender::parse(&settings.from, server_name.host())?,
            templates: MailTemplates::load(settings.templates.as_deref())?,
            public_url: settings.public_url.clone(),
            clock,
            random,
        };
        if writer.templates.are_replaced() {
            writer.try_out()?;
        }
        Ok(writer)
    }

    /// Writes a mail to `to`, in the language of the settings if `language` is not known.
    ///
    /// # Errors
    ///
    /// `to` is not one address, a link leads to no page, or a template failed.
    pub fn write(
        &self,
        to: &str,
        letter: &Letter<'_>,
        language: Option<Language>,
    ) -> Result<Mail, InvalidMail> {
        let language = language.unwrap_or(self.language);
        if let Some(link) = letter.link()
            && !matches!(link.scheme(), "http" | "https")
        {
            return Err(InvalidMail::Link);
        }
        let mailbox = message::recipient(to)?;
        let content = self
            .templates
            .render(&self.service, letter, to, language)
            .map_err(|error| InvalidMail::Template(error.kind()))?;
        let written_ms = self.clock.now_ms();
        let envelope = Envelope {
            to: mailbox,
            date: UNIX_EPOCH + Duration::from_millis(written_ms),
            language,
        };
        let message = message::build(&self.sender, envelope, content, &self.random)?;
        let valid_until_ms = letter.valid_for().map(|valid_for| {
            let valid_for = u64::try_from(valid_for.as_millis()).unwrap_or(u64::MAX);
            written_ms.saturating_add(valid_for)
        });
        Ok(Mail {
            kind: letter.kind(),
            recipient: to.to_owned(),
            message: message.formatted(),
            written_ms,
            valid_until_ms,
        })
    }

    /// Every mail in every language, with invented contents, to an invented address.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub fn samples(&self) -> Result<Vec<Sample>, InvalidMail> {
        const TO: &str = "camille.martin@example.org";
        let mut written: Vec<Sample> = Vec::new();
        let link = self.sample_link();
        for letter in samples(&link, &self.service.app_name, self.clock.now_ms()) {
            for language in [Language::French, Language::English] {
                let content = self
                    .templates
                    .render(&self.service, &letter, TO, language)
                    .map_err(|error| InvalidMail::Template(error.kind()))?;
                let is_like =
                    |other: &&Sample| other.kind == letter.kind() && other.language == language;
                written.push(Sample {
                    kind: letter.kind(),
                    number: written.iter().filter(is_like).count() + 1,
                    language,
                    content,
                    message: self.write(TO, &letter, Some(language))?.message,
                });
            }
        }
        Ok(written)
    }

    /// A verification of `to` that verifies nothing, in the language of the settings: to try out
    /// whether mails arrive.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub fn sample_to(&self, to: &str) -> Result<Mail, InvalidMail> {
        let letter = Letter::AddressVerification {
            link: &self.sample_link(),
            valid_for: Duration::from_hours(1),
        };
        self.write(to, &letter, None)
    }

    /// Renders every template once, so that a mistake shows before a mail is wanted.
    fn try_out(&self) -> Result<(), Faults> {
        let mut faults = Vec::new();
        let link = self.sample_link();
        for letter in samples(&link, &self.service.app_name, self.clock.now_ms()) {
            for language in [Language::French, Language::English] {
                let rendered = self
                    .templates
                    .render(&self.service, &letter, "a@b", language);
                if let Err(error) = rendered {
                    let fault = self.templates.fault(&error);
                    if !faults.contains(&fault) {
                        faults.push(fault);
                    }
                }
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Faults(faults))
        }
    }

    fn sample_link(&self) -> Url {
        let mut link = self.public_url.clone();
        link.query_pairs_mut().append_pair("token", "sample");
        link
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}
