//! Makes a message of its parts: addresses, headers, a text and an HTML part.

use std::time::SystemTime;

use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
};

use super::{
    error::{InvalidMail, SetupError},
    templates::Content,
};
use crate::{language::Language, random::Random};

/// Who mails are from.
pub(super) struct Sender {
    mailbox: Mailbox,
    /// The right side of message ids.
    host: String,
}

impl Sender {
    /// The sender of the settings: an address, or a name and an address.
    pub(super) fn parse(from: &str, host: &str) -> Result<Self, SetupError> {
        if from.chars().any(char::is_control) {
            return Err(SetupError::Sender);
        }
        let mailbox: Mailbox = from.parse().map_err(|_| SetupError::Sender)?;
        if !mailbox.email.to_string().is_ascii() {
            return Err(SetupError::Sender);
        }
        Ok(Self {
            mailbox,
            host: host.to_owned(),
        })
    }

    /// The address alone.
    pub(super) fn address(&self) -> Address {
        self.mailbox.email.clone()
    }
}

/// What a message has beside its content.
pub(super) struct Envelope {
    pub(super) to: Mailbox,
    pub(super) date: SystemTime,
    pub(super) language: Language,
}

/// The recipient. Only what is one local part, one `@` and one domain in ASCII passes: nothing
/// that a mail server could read as another address, another header or another command.
pub(super) fn recipient(address: &str) -> Result<Mailbox, InvalidMail> {
    let (local, domain) = address.split_once('@').ok_or(InvalidMail::Address)?;
    let harmless = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '"' | ',' | '<' | '>');
    if !local.chars().chain(domain.chars()).all(harmless) {
        return Err(InvalidMail::Address);
    }
    let address = Address::new(local, domain).map_err(|_| InvalidMail::Address)?;
    Ok(Mailbox::new(None, address))
}

/// The message.
pub(super) fn build(
    sender: &Sender,
    envelope: Envelope,
    content: Content,
    random: &Random,
) -> Result<Message, InvalidMail> {
    let id = format!("<{}@{}>", random.alphanumeric(24), sender.host);
    let parts = MultiPart::alternative()
        .boundary(random.alphanumeric(40))
        .singlepart(SinglePart::plain(content.text))
        .singlepart(SinglePart::html(content.html));
    Message::builder()
        .from(sender.mailbox.clone())
        .to(envelope.to)
        .date(envelope.date)
        .message_id(Some(id))
        .subject(content.subject)
        // No holiday notices in return (RFC 3834).
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Content-Language"),
            envelope.language.tag().to_owned(),
        ))
        .multipart(parts)
        .map_err(InvalidMail::Message)
}
