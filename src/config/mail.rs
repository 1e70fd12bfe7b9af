//! `[mail]`: the SMTP server, the sender, and where links in mails may lead.

use std::path::PathBuf;

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Problem, secret::Secret, units::HumanDuration};

/// `[mail]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// The SMTP server. If not set, mails are written to the folder `outbox` of the data folder.
    pub host: Option<String>,
    /// The server's port; that of `encryption` if not set.
    pub port: Option<u16>,
    /// How the connection is protected.
    pub encryption: Encryption,
    /// The user to log in as, with a password.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// The sender.
    pub from: String,
    /// What mails call the service.
    pub app_name: String,
    /// Where people get the application for Android; named in invitations.
    pub android_app: Option<Url>,
    /// Where people get the application for iPhone and iPad; named in invitations.
    pub ios_app: Option<Url>,
    /// A page with answers to frequent questions; named in invitations.
    pub help: Option<Url>,
    /// The language of mails to people whose language is not known.
    pub language: Language,
    /// How long sending one mail may take.
    pub timeout: HumanDuration,
    /// The domains that `next_link` may lead to, besides this server's own.
    pub next_link_domains: Vec<String>,
    /// How long to wait before the same mail is sent again.
    pub resend_delay: HumanDuration,
    /// How often the same mail is sent again at most.
    pub max_resends: u32,
}

/// How an SMTP connection is protected.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// TLS from the first byte; port 465.
    #[default]
    Tls,
    /// TLS after a greeting, and no mail without it; port 587.
    StartTls,
    /// None; port 25.
    None,
}

/// A language that mails and pages are written in.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// French.
    #[default]
    Fr,
    /// English.
    En,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            host: None,
            port: None,
            encryption: Encryption::default(),
            user: None,
            password: None,
            password_file: None,
            from: "Tchap <no-reply@localhost>".to_owned(),
            app_name: "Tchap".to_owned(),
            android_app: None,
            ios_app: None,
            help: None,
            language: Language::default(),
            timeout: HumanDuration::from_secs(30),
            next_link_domains: Vec::new(),
            resend_delay: HumanDuration::from_secs(60),
            max_resends: 5,
        }
    }
}

impl Mail {
    /// The SMTP server's port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.encryption {
            Encryption::Tls => 465,
            Encryption::StartTls => 587,
            Encryption::None => 25,
        })
    }

    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Err(error) = self.from.parse::<Mailbox>() {
            let message = format!(
                "found \"{}\", expected a sender such as \"Tchap <no-reply@example.org>\": {error}",
                self.from
            );
            problems.push(Problem::new("mail.from", message));
        }
        if self
            .host
            .as_ref()
            .is_some_and(|host| host.trim().is_empty())
        {
            problems.push(Problem::new(
                "mail.host",
                "is empty; expected the name of a server",
            ));
        }
        let password_key = if self.password_file.is_some() {
            "mail.password_file"
        } else {
            "mail.password"
        };
        match (&self.user, &self.password) {
            (None, Some(_)) => {
                problems.push(Problem::new(password_key, "needs `mail.user` beside it"));
            }
            // A named file that could not be read is reported on its own.
            (Some(_), None) if self.password_file.is_none() => {
                let message = "needs `mail.password` or `mail.password_file` beside it";
                problems.push(Problem::new("mail.user", message));
            }
            (Some(_), _) if self.encryption == Encryption::None && !self.is_local() => {
                let message =
                    "contradicts `mail.user`: the password would cross the network unencrypted";
                problems.push(Problem::new("mail.encryption", message));
            }
            _ => (),
        }
        if self.host.is_none() {
            let needing = [
                ("mail.user", self.user.is_some()),
                ("mail.port", self.port.is_some()),
            ];
            for (key, set) in needing {
                let problem = Problem::new(key, "needs `mail.host` beside it");
                problems.extend(set.then_some(problem));
            }
        }
        if self.timeout.is_zero() {
            problems.push(Problem::new(
                "mail.timeout",
                "found 0s, expected a longer time",
            ));
        }
        problems
    }

    fn is_local(&self) -> bool {
        matches!(
            self.host.as_deref(),
            None | Some("localhost" | "127.0.0.1" | "::1")
        )
    }
}
