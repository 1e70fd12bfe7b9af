//! `chappe config check|example|reload`.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    app::mail::check_templates,
    config::{Config, ConfigErrors, EXAMPLE, environment},
};

use super::{BAD_CONFIGURATION, CONFIG_VARIABLE, FAILURE, SUCCESS, serve::failed};

/// The commands on the configuration.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Report all that is wrong with a file, and the CHAPPE__ variables, without serving.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Print a file with every key, its default and what it means.
    Example,
    /// Tell the running server to read its configuration again.
    Reload(Reload),
}

/// The arguments of `config reload`.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct Reload {
    /// The file with the server's process id. Goes before the configuration.
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// The server's configuration, which is checked first and names its folder.
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE)]
    pub config: Option<PathBuf>,
}

/// Runs a command. Answers go to `out`, problems to `problems`. Gives the exit code.
///
/// # Errors
///
/// An answer cannot be written.
pub fn run(
    command: &ConfigCommand,
    out: &mut dyn Write,
    problems: &mut dyn Write,
) -> io::Result<u8> {
    match command {
        ConfigCommand::Example => {
            out.write_all(EXAMPLE.as_bytes())?;
            Ok(SUCCESS)
        }
        ConfigCommand::Check { file } => match Config::load(Some(file), environment()) {
            Ok(config) => match check_templates(&config) {
                Ok(()) => {
                    writeln!(out, "{}: no problem found", file.display())?;
                    Ok(SUCCESS)
                }
                Err(error) => failed(&error, problems),
            },
            Err(errors) => report(&errors, problems),
        },
        ConfigCommand::Reload(arguments) => {
            let pid_file = match pid_file(arguments) {
                Ok(pid_file) => pid_file,
                Err(errors) => return report(&errors, problems),
            };
            match tell_to_reload(&pid_file) {
                Ok(pid) => {
                    writeln!(
                        out,
                        "process {pid} was told to read its configuration again"
                    )?;
                    Ok(SUCCESS)
                }
                Err(error) => {
                    writeln!(problems, "{error:#}")?;
                    Ok(FAILURE)
                }
            }
        }
    }
}

/// Writes all that is wrong with a configuration, one problem a line. Gives the exit code.
///
/// # Errors
///
/// It cannot be written.
pub fn report(errors: &ConfigErrors, problems: &mut dyn Write) -> io::Result<u8> {
    writeln!(problems, "{errors}")?;
    Ok(BAD_CONFIGURATION)
}

fn pid_file(arguments: &Reload) -> Result<PathBuf, ConfigErrors> {
    if let Some(pid_file) = &arguments.pid_file {
        return Ok(pid_file.clone());
    }
    let config = Config::load(arguments.config.as_deref(), environment())?;
    Ok(config.server.pid_file())
}

/// Sends SIGHUP to the process that the file names.
fn tell_to_reload(pid_file: &Path) -> anyhow::Result<i32> {
    let shown = pid_file.display();
    let text = fs::read_to_string(pid_file)
        .with_context(|| format!("{shown} cannot be read; is the server running?"))?;
    let number: i32 = text
        .trim()
        .parse()
        .with_context(|| format!("{shown} holds no process id"))?;
    // Zero and below would mean groups of processes.
    let pid = Some(number)
        .filter(|number| *number > 0)
        .and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("{shown} holds no process id"))?;
    kill_process(pid, Signal::HUP)
        .with_context(|| format!("process {number} of {shown} cannot be told"))?;
    Ok(number)
}
