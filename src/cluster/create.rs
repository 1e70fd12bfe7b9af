//! Makes the cluster: `initdb`, and our database in it.
//!
//! Both happen in a folder beside the final one, which is renamed at the end: a cluster that
//! exists is complete, wherever the machine stopped.

use std::{fs, io, process::Stdio};

use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{ClusterError, NAME, binaries::Chosen, failed, place::Place};

/// How letters are told from other signs, best first. The order of strings is that of their bytes
/// in both, so that it never changes with the machine's libraries.
const LETTERS: [&str; 2] = ["C.UTF-8", "C"];

/// Makes the cluster of `place`, which has none.
pub(super) async fn create(
    binaries: &Chosen,
    place: &Place,
    durable: bool,
) -> Result<(), ClusterError> {
    let draft = place.draft();
    let mut outcome = Ok(());
    for letters in LETTERS {
        remove(place)?;
        place.make_private(&draft)?;
        outcome = initdb(binaries, place, letters, durable).await;
        // Not every machine knows the first one.
        if !matches!(&outcome, Err(ClusterError::Program { reason, .. }) if reason.contains("locale"))
        {
            break;
        }
    }
    outcome?;
    create_database(binaries, place, durable).await?;
    fs::rename(&draft, place.data()).map_err(failed("rename", &draft))
}

/// Removes what an interrupted attempt left.
fn remove(place: &Place) -> Result<(), ClusterError> {
    let draft = place.draft();
    match fs::remove_dir_all(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", draft)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn initdb(
    binaries: &Chosen,
    place: &Place,
    letters: &str,
    durable: bool,
) -> Result<(), ClusterError> {
    let mut command = binaries.command("initdb", place.account());
    command
        .arg("--pgdata")
        .arg(place.draft())
        .args(["--username", NAME, "--encoding", "UTF8", "--locale", "C"])
        .args(["--lc-ctype", letters])
        // Whoever can reach the socket is the user that runs the server, or root.
        .args(["--auth-local", "trust", "--auth-host", "reject"])
        .args(["--text-search-config", "simple", "--no-instructions"]);
    if !durable {
        command.arg("--no-sync");
    }
    run("initdb", command, "").await
}

/// Makes our database with the server's single-user mode, which needs no connection.
async fn create_database(
    binaries: &Chosen,
    place: &Place,
    durable: bool,
) -> Result<(), ClusterError> {
    let mut command = binaries.command("postgres", place.account());
    command.arg("--single").arg("-D").arg(place.draft()).args([
        "-c",
        "exit_on_error=on",
        "-c",
        "log_checkpoints=off",
    ]);
    if !durable {
        command.args(["-c", "fsync=off"]);
    }
    command.arg("postgres");
    run("postgres", command, &format!("CREATE DATABASE {NAME}\n")).await
}

/// Runs a program to its end, with `input`. A failure gives what it said last.
async fn run(program: &'static str, mut command: Command, input: &str) -> Result<(), ClusterError> {
    let file = command.as_std().get_program().to_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed("run", &file))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ended early says why on its own.
        drop(stdin.write_all(input.as_bytes()).await);
    }
    let output = child
        .wait_with_output()
        .await
        .map_err(failed("run", &file))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said
        .lines()
        .find(|line| line.contains("error:") || line.contains("FATAL:"))
        .or_else(|| said.lines().last())
        .unwrap_or("it said nothing");
    Err(ClusterError::Program {
        program,
        reason: reason.trim().to_owned(),
    })
}
