//! Mails kept in a folder, for development: what a mail server would have got, one file each.
//!
//! The files hold links that confirm addresses and reset passwords: only their owner reads them.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use mail_parser::MessageParser;
use tokio::{
    fs::{self, DirBuilder, OpenOptions},
    io::AsyncWriteExt as _,
};

use super::error::MailError;
use crate::random::Random;

/// How many mails [`Outbox::list`] returns.
const MAX_LISTED: usize = 100;

/// How many mails are kept; the oldest are deleted.
const MAX_KEPT: usize = 1000;

/// The longest file that is read back, in bytes.
const MAX_BYTES: u64 = 256 * 1024;

/// The longest id.
const MAX_ID: usize = 64;

/// A folder of mails.
#[derive(Debug)]
pub struct Outbox {
    folder: PathBuf,
    random: Random,
    /// Keeps the order of mails of the same millisecond.
    sequence: AtomicU64,
}

/// A mail of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMail {
    /// What to [`read`](Outbox::read) it by: letters, digits and hyphens.
    pub id: String,
    /// The recipient's address.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// When it was sent (RFC 3339).
    pub date: String,
    /// The text part.
    pub text: String,
}

impl Outbox {
    pub(super) fn new(folder: PathBuf, random: Random) -> Self {
        Self {
            folder,
            random,
            sequence: AtomicU64::new(0),
        }
    }

    /// Where the mails are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The newest 100 mails, newest first. Files that are not mails are left out.
    pub async fn list(&self) -> Result<Vec<OutboxMail>, MailError> {
        let mut ids = self.ids().await.map_err(MailError::Outbox)?;
        ids.sort_unstable_by(|a, b| b.cmp(a));
        let mut mails = Vec::new();
        for id in ids {
            if mails.len() == MAX_LISTED {
                break;
            }
            mails.extend(self.read(&id).await?);
        }
        Ok(mails)
    }

    /// The mail with an id of [`list`](Self::list). `None` where there is no such mail, and for
    /// anything that is not an id: no id names a file outside the folder.
    pub async fn read(&self, id: &str) -> Result<Option<OutboxMail>, MailError> {
        if !is_id(id) {
            return Ok(None);
        }
        match read_bounded(&self.file(id)).await {
            Ok(bytes) => Ok(bytes.and_then(|bytes| parse(id, &bytes))),
            // It may have been deleted since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(MailError::Outbox(error)),
        }
    }

    /// Keeps a mail: whole, or not at all.
    pub(super) async fn keep(&self, now_ms: u64, mail: &[u8]) -> io::Result<()> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let id = format!(
            "{now_ms:015}-{sequence:010}-{}",
            self.random.alphanumeric(8)
        );
        self.write(&id, mail).await?;
        self.prune().await?;
        tracing::info!(folder = %self.folder.display(), "a mail was kept in the outbox");
        Ok(())
    }

    async fn write(&self, id: &str, mail: &[u8]) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .await?;
        let unfinished = self.folder.join(format!(".{id}.part"));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .await?;
        file.write_all(mail).await?;
        file.sync_all().await?;
        fs::rename(&unfinished, self.file(id)).await
    }

    async fn prune(&self) -> io::Result<()> {
        let mut ids = self.ids().await?;
        let surplus = ids.len().saturating_sub(MAX_KEPT);
        if surplus > 0 {
            ids.sort_unstable();
            for id in ids.into_iter().take(surplus) {
                match fs::remove_file(self.file(&id)).await {
                    // Somebody else was faster, which is as good.
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => (),
                }
            }
        }
        Ok(())
    }

    async fn ids(&self) -> io::Result<Vec<String>> {
        let mut entries = match fs::read_dir(&self.folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut ids = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            ids.extend(id_of(entry.file_name()));
        }
        Ok(ids)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.eml"))
    }
}

fn id_of(file_name: OsString) -> Option<String> {
    let name = file_name.into_string().ok()?;
    let id = name.strip_suffix(".eml")?;
    is_id(id).then(|| id.to_owned())
}

fn is_id(id: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(harmless)
}

/// The file, unless it is too long to be one of ours.
async fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if fs::metadata(path).await?.len() > MAX_BYTES {
        return Ok(None);
    }
    fs::read(path).await.map(Some)
}

fn parse(id: &str, bytes: &[u8]) -> Option<OutboxMail> {
    let mail = MessageParser::default().parse(bytes)?;
    let to = mail.to()?.first()?.address()?.to_owned();
    Some(OutboxMail {
        id: id.to_owned(),
        to,
        subject: mail.subject()?.to_owned(),
        date: mail.date()?.to_rfc3339(),
        text: mail.body_text(0)?.into_owned(),
    })
}
