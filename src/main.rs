//! The `chappe` program: reads the command line, runs a command, returns an exit code.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use chappe::cli;

/// Thousands of tasks ask for small pieces of memory from all threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (mut out, mut problems) = (io::stdout(), io::stderr());
    match cli::run(env::args_os(), &mut out, &mut problems) {
        Ok(code) => ExitCode::from(code),
        // Whoever read the answers has gone away.
        Err(error) => {
            let _ = writeln!(problems, "{error}");
            ExitCode::from(cli::FAILURE)
        }
    }
}
