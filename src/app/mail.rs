//! What people read: who writes and carries mails, and the pages, as the configuration says.
//!
//! None of it needs the database, so that commands can use it alone.

use std::sync::Arc;

use anyhow::Context as _;

use super::{AppOptions, BadConfiguration, settings};
use crate::{
    config::{Config, Problem},
    mail::{Carrier, SetupError, Writer},
    pages::{PageError, Pages},
    templates::Faults,
};

/// Who writes mails.
///
/// # Errors
///
/// [`BadConfiguration`] is among the causes where templates of the operator have faults.
pub fn writer(config: &Config, options: &AppOptions) -> anyhow::Result<Writer> {
    let (clock, random) = (Arc::clone(&options.clock), options.random.clone());
    Writer::new(&settings::mail(config), &config.server.name, clock, random)
        .map_err(|error| match error {
            SetupError::Templates(faults) => bad(&faults),
            error => anyhow::Error::new(error),
        })
        .context("mails cannot be written")
}

/// Who carries mails away.
///
/// # Errors
///
/// The settings cannot be used, such as a file that is not there.
pub fn carrier(config: &Config, options: &AppOptions) -> anyhow::Result<Carrier> {
    let settings = settings::mail(config);
    Carrier::new(&settings, &config.server.name, options.random.clone())
        .context("mails cannot be carried")
}

/// The pages that people see.
///
/// # Errors
///
/// As for [`writer`].
pub fn pages(config: &Config) -> anyhow::Result<Pages> {
    let folder = config.server.templates_of("page");
    Pages::new(&config.mail.app_name, folder.as_deref())
        .map_err(|error| match error {
            PageError::Templates(faults) => bad(&faults),
            error @ PageError::Policy(_) => anyhow::Error::new(error),
        })
        .context("the pages cannot be set up")
}

/// Whether the templates of the operator can be used.
///
/// # Errors
///
/// All that is wrong with them, with file and line.
pub fn check_templates(config: &Config) -> anyhow::Result<()> {
    let options = AppOptions::default();
    let found = [writer(config, &options).err(), pages(config).err()];
    let mut problems = Vec::new();
    for error in found.into_iter().flatten() {
        match error.downcast_ref::<BadConfiguration>() {
            Some(bad) => problems.extend(bad.0.iter().cloned()),
            None => return Err(error),
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(BadConfiguration(problems).into())
    }
}

fn bad(faults: &Faults) -> anyhow::Error {
    let problem = |fault| Problem::new("server.templates", format!("{fault}"));
    BadConfiguration(faults.0.iter().map(problem).collect()).into()
}
