//! `chappe user create|reset-password|deactivate|reactivate|lock|unlock|suspend|unsuspend|logout`.
//!
//! They work on the database of the configuration, whether a server runs on it or not. Without a
//! configuration file they work for the server that runs without one.

use std::{
    fs,
    io::{self, BufRead as _, Write},
};

use anyhow::{Context as _, bail};
use ruma::{OwnedUserId, UserId};
use zeroize::Zeroizing;

use super::{
    CreateUser, DeactivateUser, LockUser, OneUser, PasswordSource, ReactivateUser, ResetPassword,
    SUCCESS, Source, UserCommand,
    config::report,
    serve::{failed, progress},
};
use crate::{
    accounts::{Hold, NewUser},
    app::{AppOptions, Core},
    config::{Config, ConfigErrors, environment},
    lifecycle::Lifecycle,
    telemetry::LogFormat,
};

/// The longest password file that is read, in bytes.
const MAX_PASSWORD_BYTES: usize = 4096;

/// Runs a command. Answers go to `out`, problems to `problems`. Gives the exit code.
///
/// # Errors
///
/// An answer cannot be written.
pub fn run(command: &UserCommand, out: &mut dyn Write, problems: &mut dyn Write) -> io::Result<u8> {
    let config = match load(source(command)) {
        Ok(config) => config,
        Err(errors) => return report(&errors, problems),
    };
    match execute(command, &config) {
        Ok(answer) => {
            writeln!(out, "{answer}")?;
            Ok(SUCCESS)
        }
        Err(error) => failed(&error, problems),
    }
}

/// Without a file the server serves in development mode.
pub(super) fn load(source: &Source) -> Result<Config, ConfigErrors> {
    match source.file {
        Some(_) => source.load(),
        None => Config::development_with(environment()),
    }
}

fn source(command: &UserCommand) -> &Source {
    match command {
        UserCommand::Create(arguments) => &arguments.source,
        UserCommand::ResetPassword(arguments) => &arguments.source,
        UserCommand::Deactivate(arguments) => &arguments.source,
        UserCommand::Reactivate(arguments) => &arguments.source,
        UserCommand::Lock(arguments) => &arguments.source,
        UserCommand::Unlock(arguments)
        | UserCommand::Suspend(arguments)
        | UserCommand::Unsuspend(arguments)
        | UserCommand::Logout(arguments) => &arguments.source,
    }
}

/// Gives the sentence that says what was done.
fn execute(command: &UserCommand, config: &Config) -> anyhow::Result<String> {
    // Before anything is started.
    let password = match command {
        UserCommand::Create(arguments) => Some(arguments.password.read()?),
        UserCommand::ResetPassword(arguments) => Some(arguments.password.read()?),
        _ => None,
    };
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
        let core = Core::build(config, &options).await?;
        let done = match command {
            UserCommand::Create(arguments) => create(&core, config, arguments, password).await,
            UserCommand::ResetPassword(arguments) => {
                reset_password(&core, config, arguments, password).await
            }
            UserCommand::Deactivate(arguments) => deactivate(&core, config, arguments).await,
            UserCommand::Reactivate(arguments) => reactivate(&core, config, arguments).await,
            UserCommand::Lock(arguments) => lock(&core, config, arguments).await,
            UserCommand::Unlock(arguments) => {
                let done = "is not locked";
                hold(&core, config, arguments, (Hold::Lock, false), done).await
            }
            UserCommand::Suspend(arguments) => {
                let done = "is suspended";
                hold(&core, config, arguments, (Hold::Suspension, true), done).await
            }
            UserCommand::Unsuspend(arguments) => {
                let done = "is not suspended";
                hold(&core, config, arguments, (Hold::Suspension, false), done).await
            }
            UserCommand::Logout(arguments) => logout(&core, config, arguments).await,
        };
        core.shutdown().await;
        done
    })
}

async fn create(
    core: &Core,
    config: &Config,
    arguments: &CreateUser,
    password: Option<Zeroizing<String>>,
) -> anyhow::Result<String> {
    let localpart = match &arguments.user {
        Some(user) => Some(user_id(config, user)?.localpart().to_owned()),
        None => None,
    };
    let new = NewUser {
        localpart,
        address: arguments.address.clone(),
        display_name: arguments.display_name.clone(),
        password,
        is_admin: arguments.admin,
    };
    let user_id = core.accounts.create_user(new).await?;
    Ok(format!("{user_id} was made"))
}

async fn reset_password(
    core: &Core,
    config: &Config,
    arguments: &ResetPassword,
    password: Option<Zeroizing<String>>,
) -> anyhow::Result<String> {
    let user_id = user_id(config, &arguments.user)?;
    let password = password.context("there is no password")?;
    let logout = !arguments.keep_sessions;
    core.accounts
        .reset_password(&user_id, &password, logout)
        .await?;
    Ok(format!("{user_id} has a new password"))
}

async fn deactivate(
    core: &Core,
    config: &Config,
    arguments: &DeactivateUser,
) -> anyhow::Result<String> {
    let user_id = user_id(config, &arguments.user)?;
    let closed = core
        .accounts
        .deactivate_user(&user_id, arguments.erase)
        .await?;
    core.accounts
        .finish_work(&core.rooms, closed.user)
        .await
        .context("the account is closed, and leaves its rooms when a server runs")?;
    Ok(format!("{user_id} is closed"))
}

async fn reactivate(
    core: &Core,
    config: &Config,
    arguments: &ReactivateUser,
) -> anyhow::Result<String> {
    let user_id = user_id(config, &arguments.user)?;
    core.accounts
        .reactivate_user(&user_id, &arguments.address, None)
        .await?;
    Ok(format!("{user_id} is open"))
}

async fn lock(core: &Core, config: &Config, arguments: &LockUser) -> anyhow::Result<String> {
    let user_id = user_id(config, &arguments.user)?;
    core.accounts
        .hold_user(&user_id, Hold::Lock, true, arguments.logout)
        .await?;
    Ok(format!("{user_id} is locked"))
}

async fn hold(
    core: &Core,
    config: &Config,
    arguments: &OneUser,
    (hold, is_held): (Hold, bool),
    done: &str,
) -> anyhow::Result<String> {
    let user_id = user_id(config, &arguments.user)?;
    core.accounts
        .hold_user(&user_id, hold, is_held, false)
        .await?;
    Ok(format!("{user_id} {done}"))
}

async fn logout(core: &Core, config: &Config, arguments: &OneUser) -> anyhow::Result<String> {
    let user_id = user_id(config, &arguments.user)?;
    let ended = core.accounts.end_sessions(&user_id).await?;
    Ok(format!("{user_id} had {ended} sessions"))
}

/// A user id of this server, from it or from its local part.
fn user_id(config: &Config, user: &str) -> anyhow::Result<OwnedUserId> {
    let name = &config.server.name;
    let user_id = UserId::parse_with_server_name(user, name)
        .with_context(|| format!("{user} is not a user id"))?;
    if user_id.server_name() != name {
        bail!("{user_id} is not a user of {name}");
    }
    Ok(user_id)
}

impl PasswordSource {
    /// The first line of the file, or of the standard input.
    fn read(&self) -> anyhow::Result<Zeroizing<String>> {
        let mut text = Zeroizing::new(String::new());
        match &self.password_file {
            Some(file) => {
                let read = fs::read_to_string(file);
                text = Zeroizing::new(
                    read.with_context(|| format!("{} cannot be read", file.display()))?,
                );
            }
            None => {
                io::stdin()
                    .lock()
                    .read_line(&mut text)
                    .context("the standard input cannot be read")?;
            }
        }
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            bail!("the password is empty: give it in the standard input, or name a file");
        }
        if line.len() > MAX_PASSWORD_BYTES {
            bail!("the password is too long");
        }
        Ok(Zeroizing::new(line.to_owned()))
    }
}
