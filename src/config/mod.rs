//! The configuration: a file of typed sections, one module each.
//!
//! [`Config::load`] parses the file, lets `CHAPPE__SECTION__KEY` variables override it, reads
//! it into the structs, reads the files that hold secrets, and asks every section what is wrong
//! with it. Everything wrong is reported at once, with its place. Services get their own
//! section when they are built, never the whole.

mod accounts;
mod application_services;
mod audit;
mod calls;
mod database;
mod directory;
mod errors;
mod limits;
mod listeners;
mod live;
mod load;
mod logging;
mod mail;
mod media;
mod notices;
mod outbound;
pub mod policy;
mod presence;
mod previews;
mod push;
mod qr_sign_in;
mod registration;
pub mod room_policy;
mod rooms;
mod scanner;
mod secret;
mod server;
mod sessions;
mod tree;
mod units;

#[cfg(test)]
mod tests;

use std::{env, fs, path::Path};

use serde::{Deserialize, Serialize};

pub use self::{
    accounts::{Accounts, Validity},
    application_services::ApplicationServices,
    audit::{Audit, AuditTarget},
    calls::Calls,
    database::Database,
    directory::Directory,
    errors::{ConfigError, ConfigErrors, Place, Problem},
    limits::{Limits, Rate},
    listeners::{Listener, Surface},
    live::Live,
    logging::Logging,
    mail::{Encryption, Language, Mail},
    media::{Avatars, Images, Media, S3},
    notices::Notices,
    outbound::Outbound,
    policy::Policy,
    presence::Presence,
    previews::Previews,
    push::Push,
    qr_sign_in::QrSignIn,
    registration::{Registration, Terms},
    rooms::Rooms,
    scanner::{Clamd, Scanner},
    secret::Secret,
    server::{Contact, Server, Support},
    sessions::Sessions,
    units::{HumanDuration, HumanSize, NotAQuantity},
};

/// The documented file with every key, as `chappe config example` prints it.
pub const EXAMPLE: &str = include_str!("../../config/chappe.example.toml");

/// The whole configuration.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[database]`.
    pub database: Database,
    /// `[[listeners]]`.
    pub listeners: Vec<Listener>,
    /// `[registration]`.
    pub registration: Registration,
    /// `[accounts]`.
    pub accounts: Accounts,
    /// `[mail]`.
    pub mail: Mail,
    /// `[sessions]`.
    pub sessions: Sessions,
    /// `[qr_sign_in]`.
    pub qr_sign_in: QrSignIn,
    /// `[rooms]`.
    pub rooms: Rooms,
    /// `[directory]`.
    pub directory: Directory,
    /// `[presence]`.
    pub presence: Presence,
    /// `[application_services]`.
    pub application_services: ApplicationServices,
    /// `[media]`.
    pub media: Media,
    /// `[scanner]`.
    pub scanner: Scanner,
    /// `[previews]`.
    pub previews: Previews,
    /// `[notices]`.
    pub notices: Notices,
    /// `[calls]`.
    pub calls: Calls,
    /// `[push]`.
    pub push: Push,
    /// `[outbound]`.
    pub outbound: Outbound,
    /// `[limits]`.
    pub limits: Limits,
    /// `[audit]`.
    pub audit: Audit,
    /// `[logging]`.
    pub logging: Logging,
    /// `[policy]`.
    pub policy: Policy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: Server::default(),
            database: Database::default(),
            listeners: listeners::default_listeners(),
            registration: Registration::default(),
            accounts: Accounts::default(),
            mail: Mail::default(),
            sessions: Sessions::default(),
            qr_sign_in: QrSignIn::default(),
            rooms: Rooms::default(),
            directory: Directory::default(),
            presence: Presence::default(),
            application_services: ApplicationServices::default(),
            media: Media::default(),
            scanner: Scanner::default(),
            previews: Previews::default(),
            notices: Notices::default(),
            calls: Calls::default(),
            push: Push::default(),
            outbound: Outbound::default(),
            limits: Limits::default(),
            audit: Audit::default(),
            logging: Logging::default(),
            policy: Policy::default(),
        }
    }
}

/// Which rules a server applies.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The rules of Tchap.
    #[default]
    Tchap,
    /// None but those of the specification.
    Open,
}

impl Config {
    /// Reads the file at `path`, overridden by the `CHAPPE__…` variables among `env`. Without a
    /// path, the variables override the defaults.
    ///
    /// Paths in the file are relative to the working folder.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, with places. A file that is not TOML is reported alone.
    pub fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let Some(path) = path else {
            return load::load("configuration", "", env);
        };
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => load::load(&name, &text, env),
            Err(error) => {
                let place = Place::File {
                    name,
                    position: None,
                };
                let message = format!("cannot be read: {error}");
                Err(ConfigErrors(vec![ConfigError {
                    place,
                    key: String::new(),
                    message,
                }]))
            }
        }
    }

    /// Reads a text, without the environment.
    ///
    /// # Errors
    ///
    /// As for [`Config::load`].
    pub fn from_toml(text: &str) -> Result<Self, ConfigErrors> {
        load::load("configuration", text, std::iter::empty())
    }

    /// What `chappe` without arguments uses, apart from the environment.
    ///
    /// # Errors
    ///
    /// None, as a test holds.
    pub fn development() -> Result<Self, ConfigErrors> {
        Self::development_with(std::iter::empty())
    }

    /// [`Config::development`], overridden by the `CHAPPE__…` variables among `env`.
    ///
    /// # Errors
    ///
    /// What is wrong with the variables.
    pub fn development_with(
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        load::load("development configuration", development_toml(), env)
    }
}

/// The configuration of `chappe` without arguments: the rules of Tchap for a few well-known
/// domains, mails in the outbox, and the pages that show them.
pub fn development_toml() -> &'static str {
    r#"
[server]
profile = "tchap"
name = "localhost"

[[listeners]]
address = "127.0.0.1:8008"
serves = ["client", "health", "metrics", "development"]

[policy.addresses]
patterns = [{ pattern = '.*@(.*\.)?(gouv\.fr|example\.org|example\.com)' }]
"#
}

/// The variables of this process that override the configuration.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .filter(|(name, _)| name.starts_with(tree::VARIABLE_PREFIX))
}
