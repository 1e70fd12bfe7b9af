//! The task that writes.
//!
//! It takes all that waits, writes it at once, and waits for the disk; meanwhile the next entries
//! gather. At SIGHUP it opens its file anew, for logrotate, and its chain goes on there.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::{
    fs::File,
    io::AsyncWriteExt as _,
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    Actor, Audit, Entry, Inner, MAX_WAITING, Stamped, action,
    chain::{self, Chain},
};
use crate::{clock::SharedClock, random::Random};

/// The most entries that are written at once.
const MAX_BATCH: usize = 1024;
/// How long to wait before a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often that is done once the process ends.
const LAST_TRIES: u32 = 3;
/// The longest line; entries are far shorter.
const MAX_LINE: u64 = 64 << 10;

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the end of a file, which is made if there is none.
    File(PathBuf),
    /// To the standard output.
    Stdout,
    /// Nowhere.
    Off,
}

/// Writes what is recorded; there is one in each process.
pub struct AuditTask {
    inner: Arc<Inner>,
    queue: mpsc::Receiver<Stamped>,
    sink: Sink,
    chain: Chain,
    /// The hash of the last line that was in the file before.
    follows: Option<String>,
}

enum Sink {
    Stdout,
    File { path: PathBuf, file: File },
}

impl Audit {
    /// Opens the log. The task is to be run; there is none where the log is off.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(
        target: &Target,
        clock: SharedClock,
        random: &Random,
    ) -> io::Result<(Self, Option<AuditTask>)> {
        let (sink, follows) = match target {
            Target::Off => return Ok((Self::off(clock), None)),
            Target::Stdout => (Sink::Stdout, None),
            Target::File(path) => {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                }
                let mut file = open(path)?;
                let follows = last_hash(&mut file)?;
                let (path, file) = (path.clone(), File::from_std(file));
                (Sink::File { path, file }, follows)
            }
        };
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        let audit = Self::new(Some(sender), clock);
        let instance = format!("{}-{}", process::id(), random.alphanumeric(8));
        let task = AuditTask {
            inner: Arc::clone(&audit.0),
            queue,
            sink,
            chain: Chain::new(instance),
            follows,
        };
        Ok((audit, Some(task)))
    }
}

/// The file, to be written at its end and read. Not for everybody to read.
fn open(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// The hash of the last line of a file, if that is one. A line that a process could not finish is
/// ended, so that it spoils no other.
fn last_hash(file: &mut fs::File) -> io::Result<Option<String>> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(MAX_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.take(MAX_LINE).read_to_end(&mut end)?;
    if end.last().is_some_and(|byte| *byte != b'\n') {
        file.write_all(b"\n")?;
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&end);
    let last = text.lines().next_back();
    Ok(last.and_then(|line| Some(chain::split(line)?.1.to_owned())))
}

impl AuditTask {
    /// Writes until `stop` is asked for; what waits then is still written. Each change of
    /// `reloads` opens the file anew.
    pub async fn run(mut self, mut reloads: watch::Receiver<u64>, stop: CancellationToken) {
        let begun = self.begun();
        self.write(vec![begun], &stop).await;
        loop {
            let first = tokio::select! {
                biased;
                first = self.queue.recv() => first,
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
                Ok(()) = reloads.changed() => {
                    self.reopen(&stop).await;
                    continue;
                }
            };
            let Some(first) = first else { break };
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH
                && let Ok(next) = self.queue.try_recv()
            {
                batch.push(next);
            }
            self.write(batch, &stop).await;
        }
        let ended = self.own(action::ENDED, Map::new());
        self.write(vec![ended], &stop).await;
    }

    fn begun(&mut self) -> Stamped {
        let follows = self.follows.take().map_or(Value::Null, Value::String);
        let details = [
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("process", process::id().into()),
            ("follows", follows),
        ];
        let details = details.map(|(name, value)| (name.to_owned(), value));
        self.own(action::BEGUN, Map::from_iter(details))
    }

    /// A line of the log about itself.
    fn own(&self, action: &'static str, details: Map<String, Value>) -> Stamped {
        Stamped {
            entry: Entry {
                action,
                actor: Actor::Server,
                details,
                ..Entry::default()
            },
            time_ms: self.inner.clock.now_ms(),
        }
    }

    async fn reopen(&mut self, stop: &CancellationToken) {
        let Sink::File { path, file } = &mut self.sink else {
            return;
        };
        match open(path) {
            Ok(new) => *file = File::from_std(new),
            Err(error) => {
                // The old file goes on.
                tracing::error!(%error, "the audit log cannot be opened anew");
                return;
            }
        }
        let reopened = self.own(action::REOPENED, Map::new());
        self.write(vec![reopened], stop).await;
    }

    /// Makes lines of the batch, and writes them however often it takes. Once the process ends, a
    /// disk that does not take them is given up.
    async fn write(&mut self, mut batch: Vec<Stamped>, stop: &CancellationToken) {
        let dropped = self.inner.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::error!(dropped, "the audit log lost entries");
            let details = Map::from_iter([("count".to_owned(), dropped.into())]);
            batch.push(self.own(action::DROPPED, details));
        }
        let mut lines = String::new();
        for stamped in &batch {
            self.chain.push(stamped, &mut lines);
        }
        let mut last_tries = 0;
        while let Err(error) = self.sink.write(lines.as_bytes()).await {
            tracing::error!(%error, "the audit log cannot be written");
            if stop.is_cancelled() {
                last_tries += 1;
            }
            if last_tries >= LAST_TRIES {
                return;
            }
            if !lines.starts_with('\n') {
                // A part of it may be there.
                lines.insert(0, '\n');
            }
            sleep(RETRY).await;
        }
    }
}

impl Sink {
    async fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::File { file, .. } => {
                file.write_all(lines).await?;
                file.flush().await?;
                file.sync_data().await
            }
        }
    }
}
