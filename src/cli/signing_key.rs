//! `chappe signing-key rotate`.

use std::io::{self, Write};

use anyhow::Context as _;
use clap::Subcommand;

use super::{
    SUCCESS, Source,
    config::report,
    serve::{failed, progress},
    user,
};
use crate::{
    app::{AppOptions, rotate_signing_key},
    config::Config,
    lifecycle::Lifecycle,
    telemetry::LogFormat,
};

/// The commands on the signing key.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum SigningKeyCommand {
    /// Let the key in the signing key file sign for the server from now on.
    ///
    /// Stop all processes of the server, move the old key's file away or put the new key in its
    /// place (without a file, a key is made), run this once, give the file to all processes, and
    /// start them.
    Rotate(Source),
}

/// Runs a command. Answers go to `out`, problems to `problems`. Gives the exit code.
///
/// # Errors
///
/// An answer cannot be written.
pub fn run(
    command: &SigningKeyCommand,
    out: &mut dyn Write,
    problems: &mut dyn Write,
) -> io::Result<u8> {
    let SigningKeyCommand::Rotate(source) = command;
    let config = match user::load(source) {
        Ok(config) => config,
        Err(errors) => return report(&errors, problems),
    };
    match rotate(&config) {
        Ok((old, new)) => {
            writeln!(
                out,
                "{new} signs for this server from now on, and {old} no more"
            )?;
            Ok(SUCCESS)
        }
        Err(error) => failed(&error, problems),
    }
}

fn rotate(config: &Config) -> anyhow::Result<(String, String)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(async {
        let options = AppOptions {
            lifecycle: Lifecycle::new(),
            progress: progress(LogFormat::Text),
            shares_cluster: true,
            ..AppOptions::default()
        };
        rotate_signing_key(config, &options).await
    })
}
