//! The process that reads images: a run of this program with few rights, little memory and little
//! time. What strangers uploaded can take it down, and nothing else.
//!
//! It reads a line of JSON, which says what to make, and then the image from its standard input;
//! it writes a line that says what came of it, and then the thumbnail.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::Stdio,
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use rustix::{
    process::{Resource, Rlimit, geteuid, setrlimit},
    thread::{Gid, Uid, set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use super::{
    Error, ImageLimits, Settings,
    depot::ByteStream,
    images::{self, Job, Outcome},
};

/// The hidden command of this program that runs [`run`].
pub const COMMAND: &str = "image-worker";

/// The largest thumbnail.
const MAX_ANSWER: u64 = 32 << 20;
/// The addresses that the program takes beside its memory.
const OWN_SPACE: u64 = 2 << 30;
/// The user `nobody`, who owns nothing.
const NOBODY: u32 = 65534;

/// What the process is told.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Order {
    job: Job,
    max_memory: u64,
    max_bytes: u64,
    seconds: u64,
}

/// What came of a job.
pub(super) enum Answer {
    /// A thumbnail.
    Made(&'static str, Bytes),
    /// The image is as small as that itself.
    Original,
}

/// Does a job in a new process.
///
/// # Errors
/// [`Error::NoThumbnail`], [`Error::ImageTooLarge`]; also where the process takes too much.
pub(super) async fn work(
    settings: &Settings,
    job: Job,
    input: ByteStream,
) -> Result<Answer, Error> {
    let limits = settings.images;
    let begun = Command::new(&settings.program)
        .arg(COMMAND)
        .env_clear()
        // The allocator asks for much at once by habit.
        .env("MIMALLOC_ARENA_RESERVE", "16MiB")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let failed = |error| Error::Local("the process for images cannot be run", error);
    let mut child = begun.map_err(failed)?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed(io::ErrorKind::BrokenPipe.into()));
    };
    let order = order(limits, job);
    let talk = async {
        let mut answer = Vec::new();
        let mut stdout = stdout.take(MAX_ANSWER);
        let (told, heard) =
            tokio::join!(tell(stdin, &order, input), stdout.read_to_end(&mut answer));
        // A process that has seen enough reads no further.
        let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        told.or_else(|error| if broken(&error) { Ok(()) } else { Err(error) })?;
        heard?;
        let status = child.wait().await?;
        Ok::<_, io::Error>((status, answer))
    };
    let Ok(done) = tokio::time::timeout(limits.timeout, talk).await else {
        // Dropped, the process is killed.
        tracing::warn!("an image took too long to read");
        return Err(Error::ImageTooLarge);
    };
    let (status, answer) = done.map_err(failed)?;
    if !status.success() {
        tracing::warn!(%status, "the process that reads an image has failed");
        return Err(Error::NoThumbnail);
    }
    parse(answer)
}

fn order(limits: ImageLimits, job: Job) -> Order {
    Order {
        job,
        max_memory: limits.max_memory,
        max_bytes: limits.max_bytes,
        seconds: limits.timeout.max(Duration::from_secs(1)).as_secs(),
    }
}

async fn tell(
    mut stdin: tokio::process::ChildStdin,
    order: &Order,
    mut input: ByteStream,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    stdin.write_all(&line).await?;
    while let Some(chunk) = input.next().await {
        stdin.write_all(&chunk?).await?;
    }
    stdin.shutdown().await
}

fn parse(answer: Vec<u8>) -> Result<Answer, Error> {
    let end = answer.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or(Error::NoThumbnail)?;
    let bytes = Bytes::from(answer);
    let (line, rest) = (bytes.slice(..end), bytes.slice(end + 1..));
    match &line[..] {
        b"image/jpeg" => Ok(Answer::Made("image/jpeg", rest)),
        b"image/png" => Ok(Answer::Made("image/png", rest)),
        b"image/gif" => Ok(Answer::Made("image/gif", rest)),
        b"image/webp" => Ok(Answer::Made("image/webp", rest)),
        b"original" => Ok(Answer::Original),
        b"too large" => Err(Error::ImageTooLarge),
        _ => Err(Error::NoThumbnail),
    }
}

/// What the process does.
///
/// # Errors
/// It cannot read or write, or cannot give its rights up.
pub fn run(input: impl Read, out: &mut dyn Write) -> io::Result<()> {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    (&mut input).take(4096).read_until(b'\n', &mut line)?;
    let order: Order = serde_json::from_slice(&line)?;
    give_up_rights(&order)?;
    let mut image = Vec::new();
    input.take(order.max_bytes).read_to_end(&mut image)?;
    match images::make(&image, &order.job) {
        Outcome::Made {
            content_type,
            bytes,
        } => {
            writeln!(out, "{content_type}")?;
            out.write_all(&bytes)?;
        }
        Outcome::Original => writeln!(out, "original")?,
        Outcome::Unreadable => writeln!(out, "unreadable")?,
        Outcome::TooLarge => writeln!(out, "too large")?,
    }
    out.flush()
}

/// From here on the process can open no file, write no file, start no process and take no more
/// than its memory and its time.
fn give_up_rights(order: &Order) -> io::Result<()> {
    let limit = |resource, most| {
        let most = Some(most);
        setrlimit(
            resource,
            Rlimit {
                current: most,
                maximum: most,
            },
        )
    };
    limit(Resource::Data, order.max_memory)?;
    // The program itself, and what is reserved and not used.
    limit(Resource::As, order.max_memory.saturating_add(OWN_SPACE))?;
    limit(Resource::Cpu, order.seconds)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    // The three that are open stay so.
    limit(Resource::Nofile, 3)?;
    set_no_new_privs(true)?;
    if geteuid().is_root() {
        set_thread_groups(&[])?;
        set_thread_gid(Gid::from_raw(NOBODY))?;
        set_thread_uid(Uid::from_raw(NOBODY))?;
    }
    // After the change of the user, whose processes are counted.
    limit(Resource::Nproc, 0)?;
    Ok(())
}
