//! `chappe mail preview|test`: looks at the mails and pages of a configuration, and whether mails
//! can be sent. A server need not run, nor be there.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{FAILURE, SUCCESS, Source, config::report, serve::failed};
use crate::{
    app::{self, AppOptions},
    config::Config,
    language::Language,
    mail::{DeliveryError, Sample},
    policy::EmailAddress,
};

/// The commands on mails.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum MailCommand {
    /// Write every mail and page into a folder, with invented contents.
    Preview(Preview),
    /// Send one mail to an address, at once.
    Test(TestMail),
}

/// The arguments of `mail preview`.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Which configuration they are for.
    #[command(flatten)]
    pub source: Source,
    /// The folder, which is made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    pub to: PathBuf,
}

/// The arguments of `mail test`.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct TestMail {
    /// Which configuration the server runs with.
    #[command(flatten)]
    pub source: Source,
    /// Who gets the mail.
    pub address: String,
}

/// Runs a command. Answers go to `out`, problems to `problems`. Gives the exit code.
///
/// # Errors
///
/// An answer cannot be written.
pub fn run(command: &MailCommand, out: &mut dyn Write, problems: &mut dyn Write) -> io::Result<u8> {
    let source = match command {
        MailCommand::Preview(arguments) => &arguments.source,
        MailCommand::Test(arguments) => &arguments.source,
    };
    let config = match source.load() {
        Ok(config) => config,
        Err(errors) => return report(&errors, problems),
    };
    let done = match command {
        MailCommand::Preview(arguments) => preview(&config, &arguments.to),
        MailCommand::Test(arguments) => test(&config, &arguments.address),
    };
    match done {
        Ok(Done::Well(answer)) => {
            writeln!(out, "{answer}")?;
            Ok(SUCCESS)
        }
        Ok(Done::Refused(reason)) => {
            writeln!(problems, "{reason}")?;
            Ok(FAILURE)
        }
        Err(error) => failed(&error, problems),
    }
}

/// How a command ended, in a sentence.
enum Done {
    Well(String),
    Refused(String),
}

fn preview(config: &Config, folder: &Path) -> anyhow::Result<Done> {
    let options = AppOptions::default();
    let samples = app::mail::writer(config, &options)?.samples()?;
    let pages = app::mail::pages(config)?;
    let mut count = 0;
    let mut write = |name: String, bytes: &[u8]| {
        count += 1;
        let file = folder.join(name);
        fs::write(&file, bytes).with_context(|| format!("{} cannot be written", file.display()))
    };
    for part in ["mail", "page"] {
        let folder = folder.join(part);
        fs::create_dir_all(&folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    for sample in &samples {
        let stem = stem(sample);
        let content = &sample.content;
        write(format!("mail/{stem}.subject"), content.subject.as_bytes())?;
        write(format!("mail/{stem}.txt"), content.text.as_bytes())?;
        write(format!("mail/{stem}.html"), content.html.as_bytes())?;
        write(format!("mail/{stem}.eml"), &sample.message)?;
    }
    for language in [Language::French, Language::English] {
        for sample in pages.samples(language) {
            let name = format!("page/{}.{}.html", sample.name, language.tag());
            write(name, sample.page.html.as_bytes())?;
        }
    }
    let folder = folder.display();
    Ok(Done::Well(format!(
        "{count} files were written to {folder}"
    )))
}

/// The name of a sample's files: `renewal.fr`, `renewal_2.fr`.
fn stem(sample: &Sample) -> String {
    let (kind, language) = (sample.kind.as_str(), sample.language.tag());
    match sample.number {
        1 => format!("{kind}.{language}"),
        number => format!("{kind}_{number}.{language}"),
    }
}

/// Sends the sample of a verification, past the queue, so that the mail server's answer is seen.
fn test(config: &Config, address: &str) -> anyhow::Result<Done> {
    let options = AppOptions::default();
    let Ok(address) = EmailAddress::parse(address) else {
        return Ok(Done::Refused(format!("{address} is not an address")));
    };
    let writer = app::mail::writer(config, &options)?;
    let mail = writer.sample_to(address.as_str())?;
    let carrier = app::mail::carrier(config, &options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let sending = carrier.carry(&mail.recipient, &mail.message, mail.written_ms);
    let sent = runtime.block_on(sending);
    Ok(match (sent, carrier.outbox()) {
        (Ok(()), None) => Done::Well(format!("the mail server took the mail to {address}")),
        (Ok(()), Some(outbox)) => {
            let folder = outbox.folder().display();
            Done::Well(format!(
                "there is no mail server: the mail was kept in {folder}"
            ))
        }
        (Err(error), _) => {
            let cause = match &error {
                DeliveryError::Unavailable(reason) => std::error::Error::source(reason),
                DeliveryError::Refused { .. } => None,
            };
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            Done::Refused(format!("{error}{cause}"))
        }
    })
}
