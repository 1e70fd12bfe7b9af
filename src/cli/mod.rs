//! The command line: what can be asked of the program, and the commands on the configuration.
//!
//! `main` gives the arguments to [`run`], which parses them and hands over to one module for each
//! command. Exit codes: 0 for success, 1 for a failure, 2 for a bad configuration or command line.

pub mod audit;
pub mod config;
pub mod mail;
pub mod policy;
pub mod serve;
pub mod signing_key;
pub mod user;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{Config, ConfigErrors, environment},
    media,
};

/// The variable that names the configuration file where `--config` does not.
const CONFIG_VARIABLE: &str = "CHAPPE_CONFIG";

/// The exit code of success.
pub const SUCCESS: u8 = 0;
/// The exit code of a failure.
pub const FAILURE: u8 = 1;
/// The exit code of a bad configuration or command line.
pub const BAD_CONFIGURATION: u8 = 2;

/// A Matrix homeserver with the Tchap policy inside.
///
/// Without a command and a configuration file it serves in development mode: with a
/// configuration of its own, a private database, and mails that go to a folder.
#[derive(Debug, Parser)]
#[command(name = "chappe", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Option<Command>,
}

/// What the program is asked to do.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve until told to stop.
    Serve(Serve),
    /// Check, print or reload the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Check the audit log.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Ask the policy.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Look at mails and pages, and try out whether mails can be sent.
    #[command(subcommand)]
    Mail(mail::MailCommand),
    /// Change the key that signs for the server.
    #[command(subcommand)]
    SigningKey(signing_key::SigningKeyCommand),
    /// Make a thumbnail, for a server that asks for it.
    #[command(name = media::worker::COMMAND, hide = true)]
    ImageWorker,
    /// Make and change accounts.
    #[command(subcommand)]
    User(UserCommand),
}

/// The arguments of `serve`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// Which configuration to serve with.
    #[command(flatten)]
    pub source: Source,
    /// Serve in development mode, without a file.
    #[arg(long, conflicts_with = "file")]
    pub development: bool,
}

/// Where the configuration comes from.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The configuration file. Without it, the defaults and the CHAPPE__ variables apply.
    #[arg(id = "file", long = "config", value_name = "FILE", env = CONFIG_VARIABLE)]
    pub file: Option<PathBuf>,
}

/// The commands on accounts.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum UserCommand {
    /// Make an account.
    Create(CreateUser),
    /// Give an account a new password.
    ResetPassword(ResetPassword),
    /// Close an account.
    Deactivate(DeactivateUser),
    /// Open a closed account again.
    Reactivate(ReactivateUser),
    /// Let an account do nothing but log out.
    Lock(LockUser),
    /// Take a lock away.
    Unlock(OneUser),
    /// Let an account read, and write nothing.
    Suspend(OneUser),
    /// Take a suspension away.
    Unsuspend(OneUser),
    /// End all sessions of an account, and remove its devices.
    Logout(OneUser),
}

/// The arguments of `user create`.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct CreateUser {
    /// Which configuration the server runs with.
    #[command(flatten)]
    pub source: Source,
    /// The user id, or its part before the colon. Made from the address if not given.
    #[arg(required_unless_present = "address")]
    pub user: Option<String>,
    /// The account's e-mail address, taken as validated.
    #[arg(long, value_name = "MAIL")]
    pub address: Option<String>,
    /// The display name. Made from the address if not given.
    #[arg(long, value_name = "NAME")]
    pub display_name: Option<String>,
    /// Let the account administer the server.
    #[arg(long)]
    pub admin: bool,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordSource,
}

/// The arguments of `user reset-password`.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct ResetPassword {
    /// Which configuration the server runs with.
    #[command(flatten)]
    pub source: Source,
    /// The user id, or its part before the colon.
    pub user: String,
    /// Keep the account's sessions, which are ended otherwise.
    #[arg(long)]
    pub keep_sessions: bool,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordSource,
}

/// Where a password comes from. It is never an argument: other users of the machine see those.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct PasswordSource {
    /// Read the password from this file. Without it, it is the first line of the standard input.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// The arguments of `user deactivate`.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct DeactivateUser {
    /// Which configuration the server runs with.
    #[command(flatten)]
    pub source: Source,
    /// The user id, or its part before the colon.
    pub user: String,
    /// Also hide the account's messages from those who join its rooms later.
    #[arg(long)]
    pub erase: bool,
}

/// The arguments of `user reactivate`.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct ReactivateUser {
    /// Which configuration the server runs with.
    #[command(flatten)]
    pub source: Source,
    /// The user id, or its part before the colon.
    pub user: String,
    /// The account's e-mail address, taken as validated. With it the owner sets a password.
    #[arg(long, value_name = "MAIL")]
    pub address: String,
}

/// The arguments of `user lock`.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct LockUser {
    /// Which configuration the server runs with.
    #[command(flatten)]
    pub source: Source,
    /// The user id, or its part before the colon.
    pub user: String,
    /// Also end all sessions, and remove the devices.
    #[arg(long)]
    pub logout: bool,
}

/// The arguments of commands that only name an account.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct OneUser {
    /// Which configuration the server runs with.
    #[command(flatten)]
    pub source: Source,
    /// The user id, or its part before the colon.
    pub user: String,
}

/// Runs the command that the arguments ask for, the program's name first. Answers go to `out`,
/// problems to `problems`. Gives the exit code.
///
/// # Errors
///
/// An answer cannot be written.
pub fn run<I, T>(arguments: I, out: &mut dyn Write, problems: &mut dyn Write) -> io::Result<u8>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    match Cli::parse_command(arguments) {
        Ok(Command::Serve(arguments)) => serve::run(&arguments, problems),
        Ok(Command::Config(command)) => config::run(&command, out, problems),
        Ok(Command::Audit(command)) => audit::run(&command, out, problems),
        Ok(Command::Policy(command)) => policy::run(&command, out, problems),
        Ok(Command::Mail(command)) => mail::run(&command, out, problems),
        Ok(Command::SigningKey(command)) => signing_key::run(&command, out, problems),
        Ok(Command::ImageWorker) => {
            media::worker::run(io::stdin().lock(), out)?;
            Ok(SUCCESS)
        }
        Ok(Command::User(command)) => user::run(&command, out, problems),
        Err(answer) => {
            answer.print()?;
            Ok(if answer.use_stderr() {
                BAD_CONFIGURATION
            } else {
                SUCCESS
            })
        }
    }
}

impl Cli {
    /// Reads the arguments, the program's name first.
    ///
    /// # Errors
    ///
    /// What clap prints for wrong arguments, and for `--help` and `--version`: `print` it and
    /// exit with its `exit_code`.
    pub fn parse_command<I, T>(arguments: I) -> Result<Command, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let cli = Self::try_parse_from(arguments)?;
        Ok(cli.command.unwrap_or_else(|| {
            let file = env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
            let development = file.is_none();
            Command::Serve(Serve {
                source: Source { file },
                development,
            })
        }))
    }
}

impl Serve {
    /// Reads the configuration, overridden by the environment.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        if self.development {
            return Config::development_with(environment());
        }
        self.source.load()
    }
}

impl Source {
    /// Reads the configuration, overridden by the environment.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        Config::load(self.file.as_deref(), environment())
    }
}

#[cfg(test)]
mod tests;
