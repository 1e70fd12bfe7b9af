//! The command line as it is typed.

use std::{fs, path::PathBuf};

use super::{
    Cli, Command, Serve, Source, UserCommand,
    config::{ConfigCommand, Reload, run},
};
use crate::config::EXAMPLE;

fn parse(line: &str) -> Result<Command, clap::Error> {
    Cli::parse_command(line.split(' '))
}

fn run_config(command: &ConfigCommand) -> (u8, String, String) {
    let (mut out, mut problems) = (Vec::new(), Vec::new());
    let code = run(command, &mut out, &mut problems).unwrap();
    (
        code,
        String::from_utf8(out).unwrap(),
        String::from_utf8(problems).unwrap(),
    )
}

#[test]
fn no_arguments_serve_in_development_mode() {
    let expected = Serve {
        source: Source::default(),
        development: true,
    };
    assert_eq!(parse("chappe").unwrap(), Command::Serve(expected));
}

#[test]
fn serve_takes_a_file() {
    let source = Source {
        file: Some(PathBuf::from("a.toml")),
    };
    let expected = Command::Serve(Serve {
        source,
        development: false,
    });
    assert_eq!(parse("chappe serve --config a.toml").unwrap(), expected);
    assert!(parse("chappe serve --config a.toml --development").is_err());
}

#[test]
fn users_are_made_from_a_name_or_an_address() {
    let Command::User(UserCommand::Create(create)) =
        parse("chappe user create --address jean@example.org --admin").unwrap()
    else {
        panic!("another command");
    };
    assert_eq!(create.address.as_deref(), Some("jean@example.org"));
    assert!(create.admin && create.user.is_none());
    assert!(parse("chappe user create").is_err());
    assert!(parse("chappe user reset-password jean").is_ok());
    assert!(parse("chappe user deactivate @jean:localhost --erase").is_ok());
}

#[test]
fn accounts_are_held_back_and_come_back() {
    for line in [
        "chappe user lock jean",
        "chappe user lock jean --logout",
        "chappe user unlock jean",
        "chappe user suspend jean",
        "chappe user unsuspend jean",
        "chappe user logout @jean:localhost",
        "chappe user reactivate jean --address jean@example.org",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    for line in [
        "chappe user lock",
        "chappe user unlock jean --logout",
        "chappe user reactivate jean",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn the_version_is_printed() {
    let answer = parse("chappe --version").unwrap_err();
    assert_eq!(answer.exit_code(), 0);
    assert!(answer.to_string().contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn example_prints_the_documented_file() {
    assert_eq!(
        run_config(&ConfigCommand::Example),
        (0, EXAMPLE.to_owned(), String::new())
    );
}

#[test]
fn check_says_that_a_file_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("good.toml");
    fs::write(&file, EXAMPLE).unwrap();
    let (code, out, problems) = run_config(&ConfigCommand::Check { file: file.clone() });
    let line = format!("{}: no problem found\n", file.display());
    assert_eq!((code, out, problems), (0, line, String::new()));
}

#[test]
fn check_names_every_problem_of_a_bad_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    fs::write(
        &file,
        "[server]\npublic_url = \"ftp://a\"\n[rooms]\ndefault_version = \"99\"\n",
    )
    .unwrap();
    let (code, out, problems) = run_config(&ConfigCommand::Check { file: file.clone() });
    let name = file.display();
    let lines = format!(
        "{name}:2:1: server.public_url: found the scheme `ftp`, expected http or https\n\
         {name}:4:1: rooms.default_version: found \"99\", expected a room version from 1 to 12\n"
    );
    assert_eq!((code, out, problems), (2, String::new(), lines));
}

#[test]
fn reload_without_a_server_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("chappe.pid");
    let command = ConfigCommand::Reload(Reload {
        pid_file: Some(pid_file.clone()),
        config: None,
    });
    let (code, _, problems) = run_config(&command);
    assert_eq!(code, 1);
    assert!(problems.contains("is the server running?"), "{problems}");

    fs::write(&pid_file, "-1\n").unwrap();
    let (code, _, problems) = run_config(&command);
    assert_eq!(
        (code, problems),
        (1, format!("{} holds no process id\n", pid_file.display()))
    );
}

#[test]
fn reload_signals_the_process_of_the_configured_folder() {
    let folder = tempfile::tempdir().unwrap();
    // The tests may have been started by a program that has them ignore SIGHUP, as `nohup` does.
    let mut server = std::process::Command::new("env")
        .args(["--default-signal=HUP", "sleep", "60"])
        .spawn()
        .unwrap();
    fs::write(folder.path().join("chappe.pid"), server.id().to_string()).unwrap();
    let config = folder.path().join("chappe.toml");
    fs::write(
        &config,
        format!("[server]\ndata_folder = '{}'\n", folder.path().display()),
    )
    .unwrap();

    let command = ConfigCommand::Reload(Reload {
        pid_file: None,
        config: Some(config),
    });
    let (code, out, problems) = run_config(&command);
    let line = format!(
        "process {} was told to read its configuration again\n",
        server.id()
    );
    assert_eq!((code, out, problems), (0, line, String::new()));
    // `sleep` ends at SIGHUP.
    assert!(!server.wait().unwrap().success());
}
