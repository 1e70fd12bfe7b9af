//! The HTML pages that people see: pure rendering, no routes.
//!
//! The templates and the style sheet of `config/templates/page` are part of the program. Pages
//! need no script and load nothing: serve them with [`Pages::content_security_policy`].

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context, syntax::SyntaxConfig};
use sha2::{Digest as _, Sha256};

use crate::language::Language;

#[cfg(test)]
mod tests;

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../config/templates/page/", $name)))),*]
    };
}

/// Each template by its file name.
const TEMPLATES: &[(&str, &str)] = templates![
    "layout.html",
    "en/address_confirmed.html",
    "en/development_mail.html",
    "en/development_outbox.html",
    "en/home.html",
    "en/link_invalid.html",
    "en/not_found.html",
    "en/password_reset_confirm.html",
    "en/password_reset_done.html",
    "fr/address_confirmed.html",
    "fr/development_mail.html",
    "fr/development_outbox.html",
    "fr/home.html",
    "fr/link_invalid.html",
    "fr/not_found.html",
    "fr/password_reset_confirm.html",
    "fr/password_reset_done.html",
];

/// The one style sheet, inside each page.
const STYLE: &str = include_str!("../../config/templates/page/style.css");

/// What is shown when a page cannot be rendered.
const BROKEN: &str = "<!DOCTYPE html>\n<html lang=\"fr\"><head><meta charset=\"utf-8\">\
    <title>Erreur</title></head><body><main><h1>Erreur</h1><p>Cette page ne peut pas être \
    affichée.</p><p lang=\"en\">This page cannot be shown.</p></main></body></html>\n";

/// Renders pages.
#[derive(Debug)]
pub struct Pages {
    environment: Environment<'static>,
    content_security_policy: HeaderValue,
    app_name: String,
}

/// A rendered page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status to answer with.
    pub status: u16,
    /// The document, in UTF-8.
    pub html: String,
}

/// Why the pages cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A template has a fault.
    #[error("a template has a fault")]
    Template(#[source] minijinja::Error),
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

impl Pages {
    /// The renderer of a service called `app_name`.
    pub fn new(app_name: &str) -> Result<Self, PageError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        syntax.keep_trailing_newline(true);
        environment.set_syntax(syntax.build().map_err(PageError::Template)?);
        // Errors would otherwise carry the values, and with them tokens.
        environment.set_debug(false);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        for (name, source) in TEMPLATES {
            environment
                .add_template(name, source)
                .map_err(PageError::Template)?;
        }
        Ok(Self {
            environment,
            content_security_policy: content_security_policy()?,
            app_name: app_name.to_owned(),
        })
    }

    /// The `Content-Security-Policy` that pages need: nothing but their own style sheet, by its
    /// hash, and forms to this server.
    pub fn content_security_policy(&self) -> &HeaderValue {
        &self.content_security_policy
    }

    /// `GET /`: what this is, that it works, and how to sign in.
    pub fn home(&self, home: &Home<'_>, language: Language) -> Page {
        let words = context! {
            server_name => home.server_name,
            homeserver_url => home.homeserver_url,
            version => home.version,
            profile => home.profile,
        };
        self.page(200, "home", language, words)
    }

    /// The link of a verification mail was good.
    pub fn address_confirmed(&self, language: Language) -> Page {
        self.page(200, "address_confirmed", language, Value::UNDEFINED)
    }

    /// The link of a mail has expired or is unknown.
    pub fn link_invalid(&self, language: Language) -> Page {
        self.page(400, "link_invalid", language, Value::UNDEFINED)
    }

    /// Asks whether the password may change: a form that posts the hidden `fields` (names and
    /// values) to `action`, so that a program that opens links in mails changes nothing.
    pub fn password_reset_confirm(
        &self,
        action: &str,
        fields: &[(&str, &str)],
        language: Language,
    ) -> Page {
        let fields: Vec<Value> = fields
            .iter()
            .map(|(name, value)| context! { name => *name, value => *value })
            .collect();
        let words = context! { action, fields };
        self.page(200, "password_reset_confirm", language, words)
    }

    /// The change of password is allowed.
    pub fn password_reset_done(&self, language: Language) -> Page {
        self.page(200, "password_reset_done", language, Value::UNDEFINED)
    }

    /// There is no such page.
    pub fn not_found(&self, language: Language) -> Page {
        self.page(404, "not_found", language, Value::UNDEFINED)
    }

    /// The mails that were not sent, because there is no mail server. For development.
    pub fn development_outbox(&self, mails: &[OutboxEntry<'_>], language: Language) -> Page {
        let mails: Vec<Value> = mails.iter().map(entry).collect();
        self.page(200, "development_outbox", language, context! { mails })
    }

    /// One of these mails, its links to be followed, and a link back to the list.
    pub fn development_mail(
        &self,
        mail: &OutboxEntry<'_>,
        list_link: &str,
        language: Language,
    ) -> Page {
        let parts: Vec<Value> = parts(mail.text)
            .iter()
            .map(|part| context! { text => part.text, is_link => part.is_link })
            .collect();
        let words = context! { mail => entry(mail), list_link, parts };
        self.page(200, "development_mail", language, words)
    }

    fn page(&self, status: u16, name: &str, language: Language, words: Value) -> Page {
        let shared = context! {
            language => language.tag(),
            app_name => self.app_name.as_str(),
            style => STYLE,
        };
        let rendered = self
            .environment
            .get_template(&format!("{}/{name}.html", language.tag()))
            .and_then(|template| template.render(context! { ..words, ..shared }));
        match rendered {
            Ok(html) => Page { status, html },
            Err(error) => {
                tracing::error!(page = name, kind = %error.kind(), "a page cannot be rendered");
                Page {
                    status: 500,
                    html: BROKEN.to_owned(),
                }
            }
        }
    }
}

fn content_security_policy() -> Result<HeaderValue, PageError> {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'"
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
