//! The words of mails: the templates of `config/templates/mail`, part of the program, and an
//! operator's files that replace them.

use std::path::Path;

use minijinja::{Error, Value, context};
use url::Url;

use super::{
    letter::{Kind, Letter},
    words::name,
};
use crate::{
    language::Language,
    templates::{BuiltIn, Fault, Faults, Templates},
};

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../config/templates/mail/", $name)))),*]
    };
}

/// Each template by its file name.
const TEMPLATES: BuiltIn = built_in![
    "layout.html",
    "address_verification.en.html",
    "address_verification.en.subject",
    "address_verification.en.txt",
    "address_verification.fr.html",
    "address_verification.fr.subject",
    "address_verification.fr.txt",
    "already_registered.en.html",
    "already_registered.en.subject",
    "already_registered.en.txt",
    "already_registered.fr.html",
    "already_registered.fr.subject",
    "already_registered.fr.txt",
    "invitation.en.html",
    "invitation.en.subject",
    "invitation.en.txt",
    "invitation.fr.html",
    "invitation.fr.subject",
    "invitation.fr.txt",
    "password_reset.en.html",
    "password_reset.en.subject",
    "password_reset.en.txt",
    "password_reset.fr.html",
    "password_reset.fr.subject",
    "password_reset.fr.txt",
    "renewal.en.html",
    "renewal.en.subject",
    "renewal.en.txt",
    "renewal.fr.html",
    "renewal.fr.subject",
    "renewal.fr.txt",
    "unread.en.html",
    "unread.en.subject",
    "unread.en.txt",
    "unread.fr.html",
    "unread.fr.subject",
    "unread.fr.txt",
];

/// What every mail may say of the service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) app_name: String,
    pub(super) server_name: String,
    pub(super) support: Option<String>,
    pub(super) restricted_documents_notice: bool,
    pub(super) guest_accounts: bool,
    pub(super) android_app: Option<Url>,
    pub(super) ios_app: Option<Url>,
    pub(super) help: Option<Url>,
}

/// The rendered content of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The subject, in one line.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

/// The parsed templates.
#[derive(Debug)]
pub(super) struct MailTemplates(Templates);

impl MailTemplates {
    /// The templates, replaced by the files of `folder`.
    pub(super) fn load(folder: Option<&Path>) -> Result<Self, Faults> {
        Templates::load(TEMPLATES, folder).map(Self)
    }

    /// Whether an operator's file replaces any of them.
    pub(super) fn are_replaced(&self) -> bool {
        self.0.are_replaced()
    }

    /// Where an error is.
    pub(super) fn fault(&self, error: &Error) -> Fault {
        self.0.fault(error)
    }

    /// The content of a mail to `address`.
    pub(super) fn render(
        &self,
        service: &Service,
        letter: &Letter<'_>,
        address: &str,
        language: Language,
    ) -> Result<Content, Error> {
        let stem = format!("{}.{}", letter.kind().as_str(), language.tag());
        let part = |end: &str, markup: Markup| {
            let words = words(service, letter, address, language, markup);
            self.0.render(&format!("{stem}.{end}"), words)
        };
        Ok(Content {
            subject: one_line(&part("subject", Markup::Plain)?),
            text: part("txt", Markup::Plain)?,
            html: part("html", Markup::Html)?,
        })
    }
}

/// What a part is written in.
#[derive(Clone, Copy)]
enum Markup {
    Plain,
    Html,
}

/// What a template may say.
fn words(
    service: &Service,
    letter: &Letter<'_>,
    address: &str,
    language: Language,
    markup: Markup,
) -> Value {
    let link = |link: Option<&Url>| link.map(|link| link_words(link, markup));
    let shared = context! {
        language => language.tag(),
        app_name => service.app_name.as_str(),
        server_name => service.server_name.as_str(),
        support => service.support.as_deref(),
        restricted_documents_notice => service.restricted_documents_notice,
        guest_accounts => service.guest_accounts,
        android_app => link(service.android_app.as_ref()),
        ios_app => link(service.ios_app.as_ref()),
        help => link(service.help.as_ref()),
        address => address,
        link => link(letter.link()),
        valid_for => letter.valid_for().map(|valid_for| language.duration(valid_for)),
    };
    let own = match letter {
        Letter::AddressVerification { .. }
        | Letter::PasswordReset { .. }
        | Letter::AlreadyRegistered { .. } => context! {},
        Letter::Invitation(invitation) => context! {
            inviter => name(invitation.inviter),
            room_name => invitation.room_name.map(name),
        },
        Letter::Renewal(renewal) => context! {
            display_name => name(renewal.display_name),
            days => renewal.days,
            expires_on => language.date(renewal.expires_ms),
            // As Synapse's module names it (tchap.md, section 2.8).
            expiration_ts => renewal.expires_ms,
            code => renewal.code,
        },
        Letter::Unread(unread) => context! {
            display_name => name(unread.display_name),
            count => unread.count,
            after => language.duration(unread.after),
            unsubscribe => link_words(unread.unsubscribe, markup),
        },
    };
    context! { ..own, ..shared }
}

/// A link. In HTML it is escaped here: the engine's own escaping also writes slashes as entities,
/// which some mail programs and scanners do not read back.
fn link_words(link: &Url, markup: Markup) -> Value {
    match markup {
        Markup::Plain => Value::from(link.as_str()),
        Markup::Html => Value::from_safe_string(escape(link.as_str())),
    }
}

fn escape(link: &str) -> String {
    let mut escaped = String::with_capacity(link.len());
    for c in link.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A subject without what would end its line, or the header.
fn one_line(subject: &str) -> String {
    let without = |c: char| if c.is_control() { ' ' } else { c };
    subject.trim().chars().map(without).collect()
}

/// A letter of each kind, with what people might see in it: for previews, and to find out whether
/// the templates work.
pub(super) fn samples<'a>(link: &'a Url, app_name: &'a str, now_ms: u64) -> Vec<Letter<'a>> {
    use std::time::Duration;

    use super::letter::{Invitation, Renewal, Unread};

    const DAYS: u64 = 14;
    let renewal = Renewal {
        display_name: "Camille MARTIN",
        expires_ms: now_ms + DAYS * 86_400_000,
        days: DAYS,
        link: Some(link),
        code: None,
    };
    Kind::ALL
        .into_iter()
        .flat_map(|kind| match kind {
            Kind::AddressVerification => vec![Letter::AddressVerification {
                link,
                valid_for: Duration::from_hours(72),
            }],
            Kind::PasswordReset => vec![Letter::PasswordReset {
                link,
                valid_for: Duration::from_hours(72),
            }],
            Kind::Invitation => vec![Letter::Invitation(Invitation {
                inviter: "Camille MARTIN",
                room_name: Some(app_name),
                link,
                valid_for: Duration::from_hours(30 * 24),
            })],
            Kind::Renewal => vec![
                Letter::Renewal(renewal),
                Letter::Renewal(Renewal {
                    link: None,
                    code: Some("12345678"),
                    ..renewal
                }),
                Letter::Renewal(Renewal {
                    days: 0,
                    expires_ms: now_ms,
                    ..renewal
                }),
            ],
            Kind::AlreadyRegistered => vec![Letter::AlreadyRegistered { link }],
            Kind::Unread => vec![Letter::Unread(Unread {
                display_name: "Camille MARTIN",
                count: 3,
                after: Duration::from_hours(72),
                link: Some(link),
                unsubscribe: link,
            })],
        })
        .collect()
}
