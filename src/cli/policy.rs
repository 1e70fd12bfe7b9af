//! `chappe policy explain`.
//!
//! About registrations: from a configuration alone, what the rules say; from a running server, with
//! the token of an administrator, also what its database says. About rooms: from the database of a
//! configuration, whether a server runs on it or not, or from a running server.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use axum::body::{Body, to_bytes};
use clap::{Args, Subcommand};
use hyper_util::rt::TokioIo;
use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use url::Url;
use zeroize::Zeroizing;

use super::{BAD_CONFIGURATION, FAILURE, SUCCESS, Source, config::report, serve::failed, user};
use crate::{
    app::{AppOptions, Core},
    http::chappe_admin::{EXPLAIN_INVITE, EXPLAIN_REGISTRATION, EXPLAIN_ROOM, creation},
    lifecycle::Lifecycle,
    policy::{Explanation, Policy, RegistrationQuestion},
    rooms::Rooms,
};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// The commands on the policy.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum PolicyCommand {
    /// Tell what the policy would say, and which rule decides. Changes nothing.
    ///
    /// The exit code is 0 if it would be allowed, and 1 if not.
    #[command(subcommand)]
    Explain(Explain),
}

/// What is to be explained.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Explain {
    /// Whether an e-mail address may register, and with which user id, name and password.
    Registration(Registration),
    /// Whether a user may be invited to a room.
    Invite(Invite),
    /// Whether somebody may make a room.
    Room(Room),
}

/// Whom to ask.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whose database to ask, where no server is asked.
    #[command(flatten)]
    pub source: Source,
    /// Ask a running server, at this http address.
    #[arg(long, value_name = "URL", requires = "token_file")]
    pub server: Option<Url>,
    /// The file with the access token of an administrator of that server.
    #[arg(long, value_name = "FILE", requires = "server")]
    pub token_file: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `policy explain invite`.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Whom to ask.
    #[command(flatten)]
    pub asked: Asked,
    /// The room.
    #[arg(long, value_name = "ID")]
    pub room: OwnedRoomId,
    /// Who would invite.
    #[arg(long, value_name = "ID")]
    pub sender: OwnedUserId,
    /// Who would be invited.
    pub user: OwnedUserId,
}

/// The arguments of `policy explain room`.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct Room {
    /// Whom to ask.
    #[command(flatten)]
    pub asked: Asked,
    /// Who would make the room.
    #[arg(long, value_name = "ID")]
    pub creator: OwnedUserId,
    /// A file with the body of the createRoom request. Without it, the body is empty.
    pub body: Option<PathBuf>,
}

/// The arguments of `policy explain registration`.
#[derive(Args, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Which configuration to ask, without a server.
    #[command(flatten)]
    pub source: Source,
    /// The e-mail address.
    pub address: String,
    /// As if an invitation by e-mail waited for the address.
    #[arg(long)]
    pub invited: bool,
    /// Also check the password in the first line of this file.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// The display name that somebody would like to have.
    #[arg(long, value_name = "NAME")]
    pub display_name: Option<String>,
    /// The user id that somebody would like to have.
    #[arg(long, value_name = "ID")]
    pub user_id: Option<String>,
    /// Ask a running server, at this http address.
    #[arg(long, value_name = "URL", requires = "token_file")]
    pub server: Option<Url>,
    /// The file with the access token of an administrator of that server.
    #[arg(long, value_name = "FILE", requires = "server")]
    pub token_file: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs a command. Answers go to `out`, problems to `problems`. Gives the exit code.
///
/// # Errors
///
/// An answer cannot be written.
pub fn run(
    command: &PolicyCommand,
    out: &mut dyn Write,
    problems: &mut dyn Write,
) -> io::Result<u8> {
    let PolicyCommand::Explain(explain) = command;
    let arguments = match explain {
        Explain::Registration(arguments) => arguments,
        Explain::Invite(arguments) => {
            let asked = &arguments.asked;
            if let (Some(server), Some(token)) = (&asked.server, &asked.token_file) {
                let explained = post(server, token, EXPLAIN_INVITE, &arguments.question());
                return answer(explained, asked.json, out, problems);
            }
            let ask = async |rooms: &Rooms| {
                let (room, sender) = (&arguments.room, &arguments.sender);
                Ok(rooms.explain_invite(room, sender, &arguments.user).await?)
            };
            return ask_database(asked, ask, out, problems);
        }
        Explain::Room(arguments) => {
            let asked = &arguments.asked;
            let body = match arguments.body() {
                Ok(body) => body,
                Err(error) => return failed(&error, problems),
            };
            if let (Some(server), Some(token)) = (&asked.server, &asked.token_file) {
                let question = json!({ "creator": arguments.creator, "room": body });
                let explained = post(server, token, EXPLAIN_ROOM, &question);
                return answer(explained, asked.json, out, problems);
            }
            let ask = async |rooms: &Rooms| {
                let (request, says) = creation(&body)
                    .map_err(|error| anyhow::anyhow!("the body cannot be used: {error:?}"))?;
                let creator = &arguments.creator;
                Ok(rooms.explain_creation(creator, &request, says).await?)
            };
            return ask_database(asked, ask, out, problems);
        }
    };
    if let (Some(server), Some(token)) = (&arguments.server, &arguments.token_file) {
        let explained = online(arguments, server, token);
        return answer(explained, arguments.json, out, problems);
    }
    let config = match arguments.source.load() {
        Ok(config) => config,
        Err(errors) => return report(&errors, problems),
    };
    let server = &config.server;
    let policy = match Policy::new(&config.policy, server.profile, &server.name) {
        Ok(policy) => policy,
        Err(found) => {
            for problem in found {
                writeln!(problems, "{problem}")?;
            }
            return Ok(BAD_CONFIGURATION);
        }
    };
    let explained = offline(arguments, &policy);
    answer(explained, arguments.json, out, problems)
}

/// Asks the services on the database of a configuration.
fn ask_database(
    asked: &Asked,
    ask: impl AsyncFnOnce(&Rooms) -> anyhow::Result<Explanation>,
    out: &mut dyn Write,
    problems: &mut dyn Write,
) -> io::Result<u8> {
    let config = match user::load(&asked.source) {
        Ok(config) => config,
        Err(errors) => return report(&errors, problems),
    };
    let explained = || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("the runtime cannot be started")?;
        runtime.block_on(async {
            let options = AppOptions {
                lifecycle: Lifecycle::new(),
                shares_cluster: true,
                ..AppOptions::default()
            };
            let core = Core::build(&config, &options).await?;
            let explained = ask(&core.rooms).await;
            core.shutdown().await;
            Ok(serde_json::to_value(explained?)?)
        })
    };
    answer(explained(), asked.json, out, problems)
}

/// Writes the answer. Gives the exit code.
fn answer(
    explained: anyhow::Result<Value>,
    as_json: bool,
    out: &mut dyn Write,
    problems: &mut dyn Write,
) -> io::Result<u8> {
    match explained {
        Ok(explanation) => {
            if as_json {
                writeln!(out, "{explanation:#}")?;
            } else {
                tell(&explanation, out)?;
            }
            let allowed = explanation["allowed"] == true;
            Ok(if allowed { SUCCESS } else { FAILURE })
        }
        Err(error) => failed(&error, problems),
    }
}

fn offline(arguments: &Registration, policy: &Policy) -> anyhow::Result<Value> {
    let password = arguments.password()?;
    let explanation = policy.explain_registration(&RegistrationQuestion {
        address: &arguments.address,
        invited: arguments.invited,
        password: password.as_ref().map(|password| password.as_str()),
        display_name: arguments.display_name.as_deref(),
        user_id: arguments.user_id.as_deref(),
    });
    Ok(serde_json::to_value(explanation)?)
}

fn online(arguments: &Registration, server: &Url, token: &Path) -> anyhow::Result<Value> {
    let mut question = json!({ "address": arguments.address, "invited": arguments.invited });
    let password = arguments.password()?;
    let fields = [
        ("password", password.as_ref().map(|text| text.as_str())),
        ("display_name", arguments.display_name.as_deref()),
        ("user_id", arguments.user_id.as_deref()),
    ];
    if let Value::Object(question) = &mut question {
        let given = fields
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), text?.into())));
        question.extend(given);
    }
    post(server, token, EXPLAIN_REGISTRATION, &question)
}

/// Asks a running server.
fn post(server: &Url, token: &Path, path: &str, question: &Value) -> anyhow::Result<Value> {
    let token = first_line(token)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let asked = async { timeout(PATIENCE, ask(server, &token, path, question)).await };
    runtime
        .block_on(asked)
        .context("the server does not answer")?
}

/// Posts the question. Over http only: the command is for the machine that the server runs on, and
/// the token is an administrator's.
async fn ask(server: &Url, token: &str, path: &str, question: &Value) -> anyhow::Result<Value> {
    if server.scheme() != "http" {
        bail!("{server} is not an http address: ask the server on its own machine");
    }
    let host = server.host_str().context("the address names no server")?;
    let port = server.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port))
        .await
        .with_context(|| format!("no connection to {server}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = http::Request::post(path)
        .header("host", format!("{host}:{port}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Body::from(question.to_string()))?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), MAX_ANSWER).await?;
        let answer: Value = serde_json::from_slice(&body).context("the answer is no JSON")?;
        if !status.is_success() {
            let text = answer["error"].as_str().unwrap_or_default();
            bail!("the server answers {status}: {text}");
        }
        Ok(answer)
    };
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = connection => {
            ended?;
            exchange.await
        }
    }
}

/// One line for each decision.
fn tell(explanation: &Value, out: &mut dyn Write) -> io::Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let word = |allowed: &Value| {
        if *allowed == true {
            "allowed"
        } else {
            "denied"
        }
    };
    let decisions = explanation["decisions"].as_array();
    for decision in decisions.into_iter().flatten() {
        let line = format!(
            "{:<8} {:<15} {:<7} {}",
            word(&decision["allowed"]),
            text(&decision["question"]),
            text(&decision["rule"]),
            text(&decision["result"]),
        );
        writeln!(out, "{}", line.trim_end())?;
        if let Some([french, english]) = decision["message"].as_array().map(Vec::as_slice) {
            let reason = text(&decision["reason"]);
            writeln!(
                out,
                "         {reason}: {} / {}",
                text(french),
                text(english)
            )?;
        }
    }
    let kind = if explanation["external"] == true {
        ", as an external guest"
    } else {
        ""
    };
    let matched = explanation["matched"].as_str();
    let matched = matched.map(|key| format!(", by {key}")).unwrap_or_default();
    let (profile, allowed) = (text(&explanation["profile"]), &explanation["allowed"]);
    writeln!(out, "{}{kind}{matched} (profile {profile})", word(allowed))
}

impl Invite {
    fn question(&self) -> Value {
        json!({ "room_id": self.room, "sender": self.sender, "user_id": self.user })
    }
}

impl Room {
    fn body(&self) -> anyhow::Result<Value> {
        let Some(file) = &self.body else {
            return Ok(json!({}));
        };
        let shown = file.display();
        let text = fs::read_to_string(file);
        let text = text.with_context(|| format!("{shown} cannot be read"))?;
        serde_json::from_str(&text).with_context(|| format!("{shown} is no JSON"))
    }
}

impl Registration {
    fn password(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        self.password_file.as_deref().map(first_line).transpose()
    }
}

fn first_line(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("{shown} cannot be read"))?;
    let text = Zeroizing::new(text);
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        bail!("{shown} is empty");
    }
    Ok(Zeroizing::new(line.to_owned()))
}
