//! `chappe serve`, and `chappe` alone: serves until told to stop.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::PathBuf,
    process,
    sync::Arc,
};

use anyhow::Context as _;

use super::{BAD_CONFIGURATION, FAILURE, SUCCESS, Serve, config::report};
use crate::{
    app::{App, AppOptions, BadConfiguration, Progress},
    config::{Config, Profile, Surface},
    http::development as dev_pages,
    lifecycle::{Drained, Lifecycle},
    telemetry::{self, LogFormat, LogHandle},
};

/// Serves. Progress and the log go to the standard output. Gives the exit code.
///
/// # Errors
///
/// A problem cannot be told.
pub fn run(arguments: &Serve, problems: &mut dyn Write) -> io::Result<u8> {
    let config = match arguments.load() {
        Ok(config) => config,
        Err(errors) => return report(&errors, problems),
    };
    let log = match telemetry::init(&config.logging.level, config.logging.format) {
        Ok(log) => log,
        Err(error) => {
            writeln!(problems, "logging.level: {error}")?;
            return Ok(BAD_CONFIGURATION);
        }
    };
    match start(arguments.clone(), config, log) {
        Ok(code) => Ok(code),
        Err(error) => failed(&error, problems),
    }
}

/// Tells why a command failed, in one line for each fault. Gives the exit code.
pub(super) fn failed(error: &anyhow::Error, problems: &mut dyn Write) -> io::Result<u8> {
    if let Some(bad) = error.downcast_ref::<BadConfiguration>() {
        writeln!(problems, "{bad}")?;
        return Ok(BAD_CONFIGURATION);
    }
    writeln!(problems, "chappe: {error:#}")?;
    Ok(FAILURE)
}

fn start(arguments: Serve, config: Config, log: LogHandle) -> anyhow::Result<u8> {
    // A page of 2 MiB stays whole for the one small piece in it that is in use: with thousands of
    // clients that is a fifth more memory.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the kernel does not say that it spares huge pages");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(serve(arguments, config, log))
}

async fn serve(arguments: Serve, config: Config, log: LogHandle) -> anyhow::Result<u8> {
    let lifecycle = Lifecycle::new();
    lifecycle.listen_to_signals()?;
    let (format, development) = (config.logging.format, arguments.development);
    let options = AppOptions {
        lifecycle: lifecycle.clone(),
        progress: progress(format),
        source: Some(Arc::new(move || arguments.load())),
        log: Some(log),
        ..AppOptions::default()
    };
    let pid_file = config.server.pid_file();
    let app = tokio::select! {
        app = App::build(config.clone(), options) => app?,
        // What was begun ends with the future that is dropped here.
        () = lifecycle.shutdown_requested() => {
            return Ok(if lifecycle.has_failed() { FAILURE } else { SUCCESS });
        }
    };
    let pid_file = PidFile::write(pid_file)?;
    if format == LogFormat::Text {
        say(&welcome(&config, &app, development));
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    let drained = app.ended().await;
    drop(pid_file);
    tracing::info!("stopped");
    let well = drained == Drained::Finished && !lifecycle.has_failed();
    Ok(if well { SUCCESS } else { FAILURE })
}

/// Where slow steps are told: as text to people, in the log to machines.
pub(super) fn progress(format: LogFormat) -> Progress {
    match format {
        LogFormat::Text => Arc::new(|line| say(&format!("chappe: {line} …"))),
        LogFormat::Json => Arc::new(|line| tracing::info!("{line}")),
    }
}

fn say(text: &str) {
    // Nobody reads, and serving goes on.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// What a person who just started the server wants to know.
fn welcome(config: &Config, app: &App, development: bool) -> String {
    let base = app.public_url().as_str().trim_end_matches('/');
    let mut text = format!(
        "\nChappe {} serves {} at {base}\n",
        env!("CARGO_PKG_VERSION"),
        config.server.name
    );
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {name:<9} {value}");
    };
    let person = match (config.server.profile, config.registration.enabled) {
        (_, false) => "accounts are made with `chappe user create`",
        (Profile::Tchap, true) if development => "with an e-mail address such as a@example.org",
        (Profile::Tchap, true) => "with an e-mail address that the policy lets in",
        (Profile::Open, true) => "with any name that is free",
    };
    line(
        "Sign up",
        &format!("give {base} to a Matrix client as its server, and make an account"),
    );
    line("", person);
    if config.mail.host.is_none() {
        let folder = config.server.outbox_folder();
        line("Mails", &format!("are kept in {}", folder.display()));
        let listeners = config.listeners.iter().zip(app.addresses());
        for (listener, address) in listeners {
            if listener.serves(Surface::Development) {
                let page = format!("and shown at http://{address}{}", dev_pages::MAILS);
                line("", &page);
            }
        }
    }
    line("Data", &config.server.data_folder.display().to_string());
    line("Stop", "Ctrl-C\n");
    text
}

/// The file that says who serves, for `chappe config reload`. It goes with this value.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: PathBuf) -> anyhow::Result<Self> {
        fs::write(&path, format!("{}\n", process::id()))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another server may have taken the folder over.
        let own =
            fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == process::id().to_string());
        if own {
            let _ = fs::remove_file(&self.0);
        }
    }
}
