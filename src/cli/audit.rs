//! `chappe audit verify`.

use std::{
    fs::File,
    io::{self, BufReader, Write},
    path::PathBuf,
};

use clap::Subcommand;

use super::{FAILURE, SUCCESS};
use crate::audit::verify::verify;

/// The commands on the audit log.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// Check that no line was changed, removed or put elsewhere.
    ///
    /// A chain of lines that does not say that its process ended is reported and is no failure:
    /// its process runs, or was killed, or the last lines were cut off.
    Verify {
        /// The files, oldest first.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Fail also where a chain does not say that its process ended.
        #[arg(long)]
        ended: bool,
    },
}

/// Runs a command. Answers go to `out`, problems to `problems`. Gives the exit code.
///
/// # Errors
///
/// An answer cannot be written.
pub fn run(
    command: &AuditCommand,
    out: &mut dyn Write,
    problems: &mut dyn Write,
) -> io::Result<u8> {
    let AuditCommand::Verify { files, ended } = command;
    let mut opened = Vec::new();
    for path in files {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => opened.push((name, BufReader::new(file))),
            Err(error) => {
                writeln!(problems, "{name} cannot be read: {error}")?;
                return Ok(FAILURE);
            }
        }
    }
    let report = match verify(opened) {
        Ok(report) => report,
        Err(error) => {
            writeln!(problems, "the audit log cannot be read: {error}")?;
            return Ok(FAILURE);
        }
    };
    if let Some(fault) = report.fault {
        writeln!(problems, "{fault}")?;
        return Ok(FAILURE);
    }
    writeln!(
        out,
        "{} lines of {} chains are whole",
        report.lines,
        report.chains.len()
    )?;
    let mut open = false;
    for (instance, chain) in report.chains.iter().filter(|(_, chain)| !chain.ended) {
        open = true;
        writeln!(
            out,
            "{instance} has no end after line {} ({}): its process runs, was killed, or the last \
             lines are missing",
            chain.last, chain.hash
        )?;
    }
    Ok(if open && *ended { FAILURE } else { SUCCESS })
}
