//! The words of mails: the templates of `config/templates/mail`, part of the program.

use std::time::Duration;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context, syntax::SyntaxConfig};
use url::Url;

use super::error::InvalidMail;
use crate::language::Language;

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../config/templates/mail/", $name)))),*]
    };
}

/// Each template by its file name.
const TEMPLATES: &[(&str, &str)] = templates![
    "layout.html",
    "address_verification.en.html",
    "address_verification.en.subject",
    "address_verification.en.txt",
    "address_verification.fr.html",
    "address_verification.fr.subject",
    "address_verification.fr.txt",
    "password_reset.en.html",
    "password_reset.en.subject",
    "password_reset.en.txt",
    "password_reset.fr.html",
    "password_reset.fr.subject",
    "password_reset.fr.txt",
];

/// A kind of mail.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    AddressVerification,
    PasswordReset,
}

impl Kind {
    fn file_stem(self) -> &'static str {
        match self {
            Self::AddressVerification => "address_verification",
            Self::PasswordReset => "password_reset",
        }
    }
}

/// What templates may say.
pub(super) struct Words<'a> {
    pub(super) app_name: &'a str,
    pub(super) server_name: &'a str,
    pub(super) support: Option<&'a str>,
    pub(super) restricted_documents_notice: bool,
    pub(super) link: &'a Url,
    pub(super) valid_for: Duration,
}

/// The rendered content of a mail.
pub(super) struct Content {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// The parsed templates.
pub(super) struct Templates(Environment<'static>);

impl Templates {
    pub(super) fn new() -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        syntax.keep_trailing_newline(true);
        environment.set_syntax(syntax.build()?);
        // Errors would otherwise carry the values, and with them the link.
        environment.set_debug(false);
        environment.set_auto_escape_callback(|name| {
            if name.rsplit('.').next() == Some("html") {
                AutoEscape::Html
            } else {
                AutoEscape::None
            }
        });
        for (name, source) in TEMPLATES {
            environment.add_template(name, source)?;
        }
        Ok(Self(environment))
    }

    pub(super) fn render(
        &self,
        kind: Kind,
        language: Language,
        words: &Words<'_>,
    ) -> Result<Content, InvalidMail> {
        let stem = format!("{}.{}", kind.file_stem(), language.tag());
        let plain = Value::from(words.link.as_str());
        let escaped = Value::from_safe_string(escape(words.link.as_str()));
        let subject = self.part(&format!("{stem}.subject"), language, words, &plain)?;
        Ok(Content {
            subject: subject.trim().to_owned(),
            text: self.part(&format!("{stem}.txt"), language, words, &plain)?,
            html: self.part(&format!("{stem}.html"), language, words, &escaped)?,
        })
    }

    fn part(
        &self,
        name: &str,
        language: Language,
        words: &Words<'_>,
        link: &Value,
    ) -> Result<String, InvalidMail> {
        let context = context! {
            language => language.tag(),
            app_name => words.app_name,
            server_name => words.server_name,
            support => words.support,
            restricted_documents_notice => words.restricted_documents_notice,
            valid_for => spoken(language, words.valid_for),
            link => link,
        };
        self.0
            .get_template(name)
            .and_then(|template| template.render(context))
            .map_err(|error| InvalidMail::Template(error.kind()))
    }
}

/// A link for HTML. The engine's own escaping also writes slashes as entities, which some mail
/// programs and scanners do not read back.
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

/// A duration as people say it, in the largest unit that divides it, from two days on in days.
pub(super) fn spoken(language: Language, duration: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = duration.as_secs();
    let (count, french, english) = if seconds >= 2 * DAY && seconds.is_multiple_of(DAY) {
        (seconds / DAY, "jour", "day")
    } else if seconds >= HOUR && seconds.is_multiple_of(HOUR) {
        (seconds / HOUR, "heure", "hour")
    } else {
        (seconds.div_ceil(MINUTE), "minute", "minute")
    };
    let unit = match language {
        Language::French => french,
        Language::English => english,
    };
    let plural = if count > 1 { "s" } else { "" };
    format!("{count}\u{a0}{unit}{plural}")
}
