//! Finding what is downloaded, and reading it.

use std::{ops::Range, sync::Arc, time::Duration};

use tokio::{sync::broadcast::error::RecvError, time::Instant};

use super::{Error, Media, depot::Content, ids, upload::ms};
use crate::store::media::{self, File, Media as Row};

/// How often somebody who waits looks by themselves: a hint may be lost.
const LOOK: Duration = Duration::from_secs(2);
/// How exactly it is known when something was last downloaded.
const USED: Duration = Duration::from_hours(24);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Somebody with a session.
    Session,
    /// Anybody: the old paths, which know no access token.
    Anybody,
}

impl Access {
    /// Whether those who ask this way may have media.
    fn reaches(self, media: &Row) -> bool {
        self == Self::Session || media.is_open
    }
}

/// Media that can be downloaded.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is.
    pub media: Row,
    /// Its content.
    pub file: File,
}

impl Item {
    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        u64::try_from(self.file.size).unwrap_or_default()
    }
}

impl Media {
    /// Finds media; waits up to `patience` for bytes that are still to come.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for what was withdrawn; [`Error::NotYetUploaded`];
    /// [`Error::Invalid`] for what is no mxc: URI.
    pub async fn find(
        &self,
        server_name: &str,
        media_id: &str,
        access: Access,
        patience: Duration,
    ) -> Result<Arc<Item>, Error> {
        ids::check(server_name, media_id)?;
        if server_name != self.0.settings.server_name {
            return Err(Error::NotFound);
        }
        let age = self.0.known.age();
        if let Some(item) = self.0.known.items.get(media_id, age)
            && access.reaches(&item.media)
        {
            return Ok(item);
        }
        let until = Instant::now() + patience;
        let mut completed = self.0.completed.subscribe();
        loop {
            let age = self.0.known.age();
            if let Some(mut item) = self.look(media_id, access).await? {
                self.note_used(&mut item).await;
                let item = Arc::new(item);
                self.0.known.items.insert(media_id.to_owned(), age, &item);
                return Ok(item);
            }
            if Instant::now() >= until {
                return Err(Error::NotYetUploaded);
            }
            let look = (Instant::now() + LOOK).min(until);
            let news = async {
                loop {
                    match completed.recv().await {
                        Ok(other) if other != media_id => {}
                        Ok(_) | Err(RecvError::Lagged(_)) => return,
                        Err(RecvError::Closed) => std::future::pending().await,
                    }
                }
            };
            // In time or not, the database says what is there.
            let _ = tokio::time::timeout_at(look, news).await;
        }
    }

    /// `None`: the bytes are still to come.
    async fn look(&self, media_id: &str, access: Access) -> Result<Option<Item>, Error> {
        let mut conn = self.0.store.conn().await?;
        let found = media::find(&mut conn, &[media_id]).await?;
        let mut media = found.into_iter().next().ok_or(Error::NotFound)?;
        if !access.reaches(&media) {
            return Err(Error::NotFound);
        }
        let now_ms = self.0.clock.now_i64();
        match media.file.take() {
            Some(file) if file.quarantined_ms.is_some() => Err(Error::NotFound),
            Some(file) => Ok(Some(Item { media, file })),
            None if media.unused_expires_ms.is_some_and(|until| until > now_ms) => Ok(None),
            None => Err(Error::NotFound),
        }
    }

    async fn note_used(&self, item: &mut Item) {
        let now_ms = self.0.clock.now_i64();
        let before_ms = now_ms.saturating_sub(ms(USED));
        if item.media.used_ms >= before_ms {
            return;
        }
        let note = async {
            let mut conn = self.0.store.conn().await?;
            media::note_used(&mut conn, &item.media.media_id, now_ms, before_ms).await
        };
        match note.await {
            Ok(()) => item.media.used_ms = now_ms,
            Err(error) => {
                tracing::debug!(%error, "it could not be noted that media were downloaded");
            }
        }
    }

    /// Reads a part of an object.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read(&self, object_key: &str, range: Range<u64>) -> Result<Content, Error> {
        self.0.depot.read(object_key, range).await
    }
}
