//! What looks at files: `ClamAV` over its socket, or a program.

use std::{io, path::PathBuf, process::Stdio};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    process::Command,
};
use zeroize::Zeroize as _;

use super::{Error, pieces::Pieces};

/// The longest answer of `ClamAV`.
const MAX_ANSWER: u64 = 4096;
/// How much is sent to it at once.
const CHUNK: usize = 64 << 10;

/// What looks at files.
#[derive(Clone, Debug)]
pub enum Engine {
    /// `ClamAV`.
    Clamd(Address),
    /// A program, which gets a file on its standard input. It ends with 0 for a clean file and with
    /// 1 for an infected one.
    Command {
        /// The program.
        program: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

/// Where `ClamAV` listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// A socket of this machine.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
}

/// What an engine says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Virus,
}

impl Engine {
    /// Looks at a file.
    ///
    /// # Errors
    /// [`Error::Unscanned`] where the engine is away, fails, or says anything else.
    pub(super) async fn scan(&self, pieces: &mut Pieces) -> Result<Found, Error> {
        match self {
            Self::Clamd(Address::Unix(path)) => {
                let socket = UnixStream::connect(path).await.map_err(failed)?;
                ask_clamd(socket, pieces).await
            }
            Self::Clamd(Address::Tcp(address)) => {
                let socket = TcpStream::connect(address).await.map_err(failed)?;
                ask_clamd(socket, pieces).await
            }
            Self::Command { program, arguments } => ask_program(program, arguments, pieces).await,
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn failed(error: io::Error) -> Error {
    tracing::warn!(%error, "the antivirus cannot be asked");
    Error::Unscanned
}

/// clamd's `INSTREAM`: pieces, each after its length, and an empty one at the end.
async fn ask_clamd<S>(socket: S, pieces: &mut Pieces) -> Result<Found, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(socket);
    writer.write_all(b"zINSTREAM\0").await.map_err(failed)?;
    let mut sent = Ok(());
    while let Some(mut piece) = pieces.next().await? {
        for chunk in piece.chunks(CHUNK) {
            if sent.is_ok() {
                sent = send(&mut writer, chunk).await;
            }
        }
        piece.zeroize();
        if sent.is_err() {
            break;
        }
    }
    if sent.is_ok() {
        sent = writer.write_all(&0_u32.to_be_bytes()).await;
    }
    // An engine that refuses a file says so, and closes.
    let mut answer = Vec::new();
    let heard = (&mut reader)
        .take(MAX_ANSWER)
        .read_to_end(&mut answer)
        .await;
    match parse_clamd(&answer) {
        Some(Found::Virus) => Ok(Found::Virus),
        // What was not sent whole was not looked at whole.
        Some(Found::Nothing) if sent.is_ok() => Ok(Found::Nothing),
        _ => {
            sent.and(heard.map(drop)).map_err(failed)?;
            tracing::warn!("the antivirus says neither yes nor no");
            Err(Error::Unscanned)
        }
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), chunk: &[u8]) -> io::Result<()> {
    let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
    writer.write_all(&length.to_be_bytes()).await?;
    writer.write_all(chunk).await
}

/// `stream: OK`, or `stream: … FOUND`.
pub(super) fn parse_clamd(answer: &[u8]) -> Option<Found> {
    let answer = answer.strip_suffix(b"\0").unwrap_or(answer);
    let text = std::str::from_utf8(answer).ok()?.trim();
    let said = text.strip_prefix("stream: ")?;
    if said == "OK" {
        Some(Found::Nothing)
    } else {
        said.ends_with(" FOUND").then_some(Found::Virus)
    }
}

async fn ask_program(
    program: &str,
    arguments: &[String],
    pieces: &mut Pieces,
) -> Result<Found, Error> {
    let begun = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = begun.map_err(failed)?;
    let Some(mut stdin) = child.stdin.take() else {
        return Err(Error::Unscanned);
    };
    let mut is_whole = true;
    while let Some(mut piece) = pieces.next().await? {
        // A program that has seen enough reads no further.
        is_whole &= stdin.write_all(&piece).await.is_ok();
        piece.zeroize();
        if !is_whole {
            break;
        }
    }
    drop(stdin);
    let status = child.wait().await.map_err(failed)?;
    match status.code() {
        Some(0) if is_whole => Ok(Found::Nothing),
        Some(1) => Ok(Found::Virus),
        _ => {
            tracing::warn!(%status, "the program that scans files has failed");
            Err(Error::Unscanned)
        }
    }
}
