//! The HTML pages that people see: pure rendering, no routes.
//!
//! The templates and the style sheet of `config/templates/page` are part of the program. Pages
//! need no script and load nothing: serve them with [`Pages::content_security_policy`].

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use minijinja::{Error, Value, context};
use sha2::{Digest as _, Sha256};

use crate::{
    language::Language,
    templates::{BuiltIn, Fault, Faults, Templates},
};

mod samples;
#[cfg(test)]
mod tests;
mod visitor;

use self::visitor::Switch;
pub use self::{samples::PageSample, visitor::Visitor};

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../config/templates/page/", $name)))),*]
    };
}

/// Each template by its file name.
const TEMPLATES: BuiltIn = built_in![
    "layout.html",
    "style.css",
    "en/address_confirmed.html",
    "en/already_renewed.html",
    "en/auth_done.html",
    "en/auth_dummy.html",
    "en/auth_email.html",
    "en/auth_email_sent.html",
    "en/auth_password.html",
    "en/auth_registration_token.html",
    "en/auth_terms.html",
    "en/consent.html",
    "en/consent_done.html",
    "en/development_mail.html",
    "en/development_outbox.html",
    "en/home.html",
    "en/link_invalid.html",
    "en/not_found.html",
    "en/password_reset_confirm.html",
    "en/password_reset_done.html",
    "en/renewal_invalid.html",
    "en/renewed.html",
    "en/unsubscribe_confirm.html",
    "en/unsubscribe_done.html",
    "fr/address_confirmed.html",
    "fr/already_renewed.html",
    "fr/auth_done.html",
    "fr/auth_dummy.html",
    "fr/auth_email.html",
    "fr/auth_email_sent.html",
    "fr/auth_password.html",
    "fr/auth_registration_token.html",
    "fr/auth_terms.html",
    "fr/consent.html",
    "fr/consent_done.html",
    "fr/development_mail.html",
    "fr/development_outbox.html",
    "fr/home.html",
    "fr/link_invalid.html",
    "fr/not_found.html",
    "fr/password_reset_confirm.html",
    "fr/password_reset_done.html",
    "fr/renewal_invalid.html",
    "fr/renewed.html",
    "fr/unsubscribe_confirm.html",
    "fr/unsubscribe_done.html",
];

/// The one style sheet, inside each page.
const STYLE: &str = "style.css";

/// How the last page of a stage of authentication tells the client that opened it (client-server API
/// v1.19, "Fallback").
const AUTH_DONE: &str = "if (window.onAuthDone) { window.onAuthDone(); } \
    else if (window.opener && window.opener.postMessage) { \
    window.opener.postMessage(\"authDone\", \"*\"); }";

/// What is shown when a page cannot be rendered.
const BROKEN: &str = "<!DOCTYPE html>\n<html lang=\"fr\"><head><meta charset=\"utf-8\">\
    <title>Erreur</title></head><body><main><h1>Erreur</h1><p>Cette page ne peut pas être \
    affichée.</p><p lang=\"en\">This page cannot be shown.</p></main></body></html>\n";

/// Renders pages.
#[derive(Debug)]
pub struct Pages {
    templates: Templates,
    content_security_policy: HeaderValue,
    popup_security_policy: HeaderValue,
    app_name: String,
}

/// A rendered page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status to answer with.
    pub status: u16,
    /// The language of the document.
    pub language: Language,
    /// The document, in UTF-8.
    pub html: String,
    /// Why it is not the page that was asked for.
    fault: Option<Fault>,
}

/// Why the pages cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Templates have faults.
    #[error("a template cannot be used: {0}")]
    Templates(#[from] Faults),
    /// The policy cannot be written as a header.
    #[error("the content security policy cannot be written")]
    Policy(#[source] http::header::InvalidHeaderValue),
}

/// What the home page says.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// The server's name in user ids.
    pub server_name: &'a str,
    /// What people give to their client.
    pub homeserver_url: &'a str,
    /// The version of the program.
    pub version: &'a str,
    /// The name of the policy's profile.
    pub profile: &'a str,
}

/// A mail of the development outbox.
#[derive(Clone, Copy, Debug)]
pub struct OutboxEntry<'a> {
    /// The page of this mail.
    pub link: &'a str,
    /// The recipient.
    pub to: &'a str,
    /// The subject.
    pub subject: &'a str,
    /// When it was sent (RFC 3339).
    pub date: &'a str,
    /// The text part.
    pub text: &'a str,
}

/// What a stage of authentication asks for.
#[derive(Clone, Copy, Debug)]
pub enum AuthForm<'a> {
    /// Nothing but to go on.
    Dummy,
    /// To agree to documents, each with its name, version and address.
    Terms(&'a [(&'a str, &'a str, &'a str)]),
    /// The password of the account.
    Password,
    /// A registration token.
    RegistrationToken,
    /// An e-mail address.
    Email,
    /// To open the link in the mail.
    EmailSent,
}

impl AuthForm<'_> {
    fn template(self) -> &'static str {
        match self {
            Self::Dummy => "auth_dummy",
            Self::Terms(_) => "auth_terms",
            Self::Password => "auth_password",
            Self::RegistrationToken => "auth_registration_token",
            Self::Email => "auth_email",
            Self::EmailSent => "auth_email_sent",
        }
    }
}

impl Pages {
    /// The renderer of a service called `app_name`. The files of `folder` replace templates.
    ///
    /// # Errors
    ///
    /// Templates of an operator cannot be used. They are tried out with invented contents.
    pub fn new(app_name: &str, folder: Option<&Path>) -> Result<Self, PageError> {
        let templates = Templates::load(TEMPLATES, folder)?;
        let pages = Self {
            content_security_policy: content_security_policy(templates.text(STYLE), None)?,
            popup_security_policy: content_security_policy(templates.text(STYLE), Some(AUTH_DONE))?,
            templates,
            app_name: app_name.to_owned(),
        };
        if pages.templates.are_replaced() {
            pages.try_out()?;
        }
        Ok(pages)
    }

    /// The `Content-Security-Policy` that pages need: their own style sheet, by its hash, images
    /// and fonts that stand in it or in the page, and forms to this server.
    pub fn content_security_policy(&self) -> &HeaderValue {
        &self.content_security_policy
    }

    /// The same for [`auth`](Self::auth) and [`auth_done`](Self::auth_done), which has a script.
    pub fn popup_security_policy(&self) -> &HeaderValue {
        &self.popup_security_policy
    }

    /// `GET /`: what this is, that it works, and how to sign in.
    pub fn home(&self, home: &Home<'_>, visitor: impl Into<Visitor>) -> Page {
        let words = context! {
            server_name => home.server_name,
            homeserver_url => home.homeserver_url,
            version => home.version,
            profile => home.profile,
        };
        self.page(200, "home", visitor, words)
    }

    /// The link of a verification mail was good.
    pub fn address_confirmed(&self, visitor: impl Into<Visitor>) -> Page {
        self.page(200, "address_confirmed", visitor, Value::UNDEFINED)
    }

    /// The link of a mail has expired or is unknown.
    pub fn link_invalid(&self, visitor: impl Into<Visitor>) -> Page {
        self.page(400, "link_invalid", visitor, Value::UNDEFINED)
    }

    /// Asks whether the password may change: a form that posts the hidden `fields` (names and
    /// values) to `action`, so that a program that opens links in mails changes nothing.
    pub fn password_reset_confirm(
        &self,
        action: &str,
        fields: &[(&str, &str)],
        visitor: impl Into<Visitor>,
    ) -> Page {
        self.form("password_reset_confirm", action, fields, visitor)
    }

    /// The change of password is allowed.
    pub fn password_reset_done(&self, visitor: impl Into<Visitor>) -> Page {
        self.page(200, "password_reset_done", visitor, Value::UNDEFINED)
    }

    /// Asks whether somebody wants no more mails about unread messages: programs that read mails
    /// open links.
    pub fn unsubscribe_confirm(
        &self,
        action: &str,
        fields: &[(&str, &str)],
        visitor: impl Into<Visitor>,
    ) -> Page {
        self.form("unsubscribe_confirm", action, fields, visitor)
    }

    /// There will be no more mails about unread messages.
    pub fn unsubscribe_done(&self, visitor: impl Into<Visitor>) -> Page {
        self.page(200, "unsubscribe_done", visitor, Value::UNDEFINED)
    }

    /// There is no such page.
    pub fn not_found(&self, visitor: impl Into<Visitor>) -> Page {
        self.page(404, "not_found", visitor, Value::UNDEFINED)
    }

    /// The mails that were not sent, because there is no mail server. For development.
    pub fn development_outbox(
        &self,
        mails: &[OutboxEntry<'_>],
        visitor: impl Into<Visitor>,
    ) -> Page {
        let mails: Vec<Value> = mails.iter().map(entry).collect();
        self.page(200, "development_outbox", visitor, context! { mails })
    }

    /// One of these mails, its links to be followed, and a link back to the list.
    pub fn development_mail(
        &self,
        mail: &OutboxEntry<'_>,
        list_link: &str,
        visitor: impl Into<Visitor>,
    ) -> Page {
        let parts: Vec<Value> = parts(mail.text)
            .iter()
            .map(|part| context! { text => part.text, is_link => part.is_link })
            .collect();
        let words = context! { mail => entry(mail), list_link, parts };
        self.page(200, "development_mail", visitor, words)
    }

    /// The account is good for another period (AV-08).
    pub fn renewed(&self, visitor: impl Into<Visitor>) -> Page {
        self.page(200, "renewed", visitor, Value::UNDEFINED)
    }

    /// The link of a renewal mail was used before, and changed nothing (AV-09).
    pub fn already_renewed(&self, visitor: impl Into<Visitor>) -> Page {
        self.page(200, "already_renewed", visitor, Value::UNDEFINED)
    }

    /// The link of a renewal mail is not the newest one, or not whole (AV-10, AV-11).
    pub fn renewal_invalid(&self, visitor: impl Into<Visitor>) -> Page {
        self.page(400, "renewal_invalid", visitor, Value::UNDEFINED)
    }

    /// Asks whether somebody agrees to `documents`, each with its name, version and address: a
    /// form that posts the hidden `fields` (names and values) to `action`.
    pub fn consent(
        &self,
        action: &str,
        documents: &[(&str, &str, &str)],
        fields: &[(&str, &str)],
        visitor: impl Into<Visitor>,
    ) -> Page {
        let documents: Vec<Value> = documents
            .iter()
            .map(|&(name, version, url)| context! { name, version, url })
            .collect();
        let fields = pairs(fields.iter().copied());
        let words = context! { action, documents, fields };
        self.page(200, "consent", visitor, words)
    }

    /// The agreement was noted.
    pub fn consent_done(&self, visitor: impl Into<Visitor>) -> Page {
        self.page(200, "consent_done", visitor, Value::UNDEFINED)
    }

    /// A stage of authentication: a form that posts the hidden `fields` (names and values), and what
    /// people type, to the same page. `is_wrong`: what they typed before did not pass.
    pub fn auth(
        &self,
        form: &AuthForm<'_>,
        fields: &[(&str, &str)],
        is_wrong: bool,
        visitor: impl Into<Visitor>,
    ) -> Page {
        let fields = pairs(fields.iter().copied());
        let documents: Vec<Value> = match form {
            AuthForm::Terms(documents) => documents
                .iter()
                .map(|&(name, version, url)| context! { name, version, url })
                .collect(),
            _ => Vec::new(),
        };
        let status = if is_wrong { 401 } else { 200 };
        let words = context! { action => "web", fields, documents, is_wrong };
        self.page(status, form.template(), visitor, words)
    }

    /// The stage was passed: the client may go on.
    pub fn auth_done(&self, visitor: impl Into<Visitor>) -> Page {
        self.page(200, "auth_done", visitor, context! { script => AUTH_DONE })
    }

    /// A page with a form that posts the hidden `fields` to `action`.
    fn form(
        &self,
        name: &str,
        action: &str,
        fields: &[(&str, &str)],
        visitor: impl Into<Visitor>,
    ) -> Page {
        let fields = pairs(fields.iter().copied());
        self.page(200, name, visitor, context! { action, fields })
    }

    fn page(&self, status: u16, name: &str, visitor: impl Into<Visitor>, words: Value) -> Page {
        let visitor = visitor.into();
        let language = visitor.language;
        match self.render(name, &visitor, words) {
            Ok(html) => Page {
                status,
                language,
                html,
                fault: None,
            },
            Err(error) => {
                tracing::error!(page = name, kind = %error.kind(), "a page cannot be rendered");
                Page {
                    status: 500,
                    language: Language::French,
                    html: BROKEN.to_owned(),
                    fault: Some(self.templates.fault(&error)),
                }
            }
        }
    }

    fn render(&self, name: &str, visitor: &Visitor, words: Value) -> Result<String, Error> {
        let other = match &visitor.switch {
            Switch::None => None,
            Switch::Link(link) => Some(context! { link }),
            Switch::Form(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()));
                let fields = pairs(fields);
                Some(context! { link => Value::from(()), fields })
            }
        };
        let language = visitor.language.tag();
        let shared = context! {
            language,
            fr => visitor.language == Language::French,
            app_name => self.app_name.as_str(),
            style => self.templates.text(STYLE),
            other,
        };
        let name = format!("{language}/{name}.html");
        self.templates.render(&name, context! { ..words, ..shared })
    }
}

/// Names and values, as templates take them.
fn pairs<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Value> {
    fields
        .map(|(name, value)| context! { name, value })
        .collect()
}

fn content_security_policy(style: &str, script: Option<&str>) -> Result<HeaderValue, PageError> {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let style = hash(style);
    let script = script.map(|script| format!("script-src 'sha256-{}'; ", hash(script)));
    let script = script.unwrap_or_default();
    // Images and fonts are an operator's: ours have none.
    let policy = format!(
        "default-src 'none'; {script}style-src 'sha256-{style}'; img-src data:; font-src data:; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(policy).map_err(PageError::Policy)
}

fn entry(mail: &OutboxEntry<'_>) -> Value {
    context! {
        link => mail.link,
        to => mail.to,
        subject => mail.subject,
        date => mail.date,
    }
}

/// A run of text, which may be a link.
#[derive(Debug, PartialEq, Eq)]
struct Part<'a> {
    text: &'a str,
    is_link: bool,
}

/// Cuts a text into what is a web link and what is not.
fn parts(text: &str) -> Vec<Part<'_>> {
    text.split_inclusive(char::is_whitespace)
        .flat_map(|piece| {
            let word = piece.trim_end();
            let space = piece.get(word.len()..).unwrap_or_default();
            let is_link = word.starts_with("https://") || word.starts_with("http://");
            [
                Part {
                    text: word,
                    is_link,
                },
                Part {
                    text: space,
                    is_link: false,
                },
            ]
        })
        .filter(|part| !part.text.is_empty())
        .collect()
}
