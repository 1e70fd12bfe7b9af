//! Taking files in.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::{
    Error, Media,
    depot::{Incoming, Written},
    ids,
};
use crate::store::{
    Store, UserNid,
    media::{self, NewFile, NewMedia},
};

/// When an object is deleted that nothing refers to: later than any upload ends.
const UNUSED: Duration = Duration::from_hours(3);

/// A file that somebody uploads.
#[derive(Clone, Copy, Debug)]
pub struct NewUpload<'a> {
    /// Who; `None`: the server itself.
    pub user: Option<UserNid>,
    /// Under which name.
    pub target: Target<'a>,
    /// The type that the client gave.
    pub content_type: Option<&'a str>,
    /// The file name that the client gave.
    pub file_name: Option<&'a str>,
    /// How many bytes are announced.
    pub announced: Option<u64>,
}

/// Under which name something is uploaded.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A new one.
    New,
    /// One that was given out before.
    Pending {
        /// The server of the mxc: URI.
        server_name: &'a str,
        /// Its id.
        media_id: &'a str,
    },
}

impl Media {
    /// Gives out an id whose bytes come later, and says until when they can.
    ///
    /// # Errors
    /// [`Error::TooManyPending`], [`Error::Quota`].
    pub async fn create(&self, user: UserNid) -> Result<(String, i64), Error> {
        self.check_quota(Some(user), 1).await?;
        let inner = &self.0;
        let media_id = ids::new(&inner.random);
        let now_ms = inner.clock.now_i64();
        let expires_ms = now_ms.saturating_add(ms(inner.settings.pending_lifetime));
        let new = NewMedia {
            media_id: &media_id,
            user: Some(user),
            content_type: None,
            file_name: None,
            now_ms,
            is_open: inner.settings.is_open,
        };
        let most = i64::from(inner.settings.max_pending);
        let mut conn = inner.store.conn().await?;
        if !media::insert_pending(&mut conn, new, expires_ms, most).await? {
            return Err(Error::TooManyPending);
        }
        Ok((media_id, expires_ms))
    }

    /// Whether a file may be uploaded, before its bytes are read.
    ///
    /// # Errors
    /// Why not.
    pub async fn check_upload(&self, upload: NewUpload<'_>) -> Result<(), Error> {
        let announced = upload.announced.unwrap_or_default();
        if announced > self.0.settings.max_upload {
            return Err(Error::TooLarge(self.0.settings.max_upload));
        }
        if let Target::Pending {
            server_name,
            media_id,
        } = upload.target
        {
            self.check_pending(upload.user, server_name, media_id)
                .await?;
        }
        self.check_quota(upload.user, announced).await
    }

    async fn check_pending(
        &self,
        user: Option<UserNid>,
        server_name: &str,
        media_id: &str,
    ) -> Result<(), Error> {
        ids::check(server_name, media_id)?;
        if server_name != self.0.settings.server_name {
            return Err(Error::NotFound);
        }
        let mut conn = self.0.store.conn().await?;
        let found = media::find(&mut conn, &[media_id]).await?;
        let found = found.first().ok_or(Error::NotFound)?;
        if found.user != user {
            return Err(Error::NotYours);
        }
        if found.file.is_some() {
            return Err(Error::Uploaded);
        }
        let now_ms = self.0.clock.now_i64();
        if found.unused_expires_ms.is_none_or(|until| until <= now_ms) {
            return Err(Error::NotFound);
        }
        Ok(())
    }

    async fn check_quota(&self, user: Option<UserNid>, more: u64) -> Result<(), Error> {
        let (Some(user), Some(quota)) = (user, self.0.settings.quota) else {
            return Ok(());
        };
        let mut conn = self.0.store.conn().await?;
        let usage = media::find_usage(&mut conn, user).await?;
        let bytes = u64::try_from(usage.bytes).unwrap_or_default();
        if bytes.saturating_add(more) > quota {
            return Err(Error::Quota);
        }
        Ok(())
    }

    /// Takes a file in, and gives its id once it is kept. What was not uploaded whole is as if it
    /// had never been.
    ///
    /// # Errors
    /// As [`Self::check_upload`], which this asks; those of the stream; and where the bytes cannot
    /// be kept.
    pub async fn upload<S>(&self, upload: NewUpload<'_>, body: S) -> Result<String, Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Unpin + Send,
    {
        self.check_upload(upload).await?;
        let inner = &self.0;
        let object_key = ids::object_key(&inner.random);
        let due_ms = inner.clock.now_i64().saturating_add(ms(UNUSED));
        let mut conn = inner.store.conn().await?;
        media::insert_object(&mut conn, &object_key, due_ms).await?;
        // Not held while the client sends.
        drop(conn);
        let done = match self.receive(&object_key, body).await {
            Ok(written) => self.keep(upload, &object_key, &written).await,
            Err(error) => Err(error),
        };
        if done.is_err() {
            self.give_up(&object_key).await;
        }
        done
    }

    /// Writes an object from a stream.
    async fn receive<S>(&self, object_key: &str, mut body: S) -> Result<Written, Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Unpin + Send,
    {
        let mut incoming = self.0.depot.write(object_key);
        let most = self.0.settings.max_upload;
        while let Some(chunk) = body.next().await {
            let pushed = match chunk {
                Ok(chunk) => push(&mut incoming, &chunk, most).await,
                Err(error) => Err(error),
            };
            if let Err(error) = pushed {
                incoming.abort().await;
                return Err(error);
            }
        }
        incoming.finish().await
    }

    /// Tells the database of a file that was written.
    async fn keep(
        &self,
        upload: NewUpload<'_>,
        object_key: &str,
        written: &Written,
    ) -> Result<String, Error> {
        let inner = &self.0;
        let now_ms = inner.clock.now_i64();
        let size = i64::try_from(written.size).unwrap_or(i64::MAX);
        let file = NewFile {
            sha256: &written.sha256,
            object_key,
            size,
            detected_type: infer::get(&written.head).map(|kind| kind.mime_type()),
        };
        let new_id;
        let media_id = match upload.target {
            Target::New => {
                new_id = ids::new(&inner.random);
                new_id.as_str()
            }
            Target::Pending { media_id, .. } => media_id,
        };
        let new = NewMedia {
            media_id,
            user: upload.user,
            content_type: upload.content_type,
            file_name: upload.file_name,
            now_ms,
            is_open: inner.settings.is_open,
        };
        let mut tx = inner.store.begin().await?;
        let (file, is_new) = media::insert_file(&mut tx, file, now_ms).await?;
        if let Some(user) = upload.user {
            let quota = inner.settings.quota.map(i64::try_from);
            let quota = quota.and_then(Result::ok).unwrap_or(i64::MAX);
            if !media::add_usage(&mut tx, user, size, quota).await? {
                return Err(Error::Quota);
            }
        }
        match upload.target {
            Target::New => media::insert(&mut tx, new, file).await?,
            Target::Pending { .. } => {
                if !media::complete(&mut tx, new, file).await? {
                    return Err(Error::Uploaded);
                }
            }
        }
        Store::commit(tx).await?;
        if !is_new {
            self.hear_deleted();
        }
        self.hear_completed(media_id);
        Ok(media_id.to_owned())
    }

    /// Lets the job delete an object now.
    async fn give_up(&self, object_key: &str) {
        let now_ms = self.0.clock.now_i64();
        let settle = async {
            let mut conn = self.0.store.conn().await?;
            media::discard_object(&mut conn, object_key, now_ms).await
        };
        if let Err(error) = settle.await {
            // Then it is deleted when it is due.
            tracing::debug!(%error, "an object that is not used was not noted");
        }
        self.hear_deleted();
    }
}

async fn push(incoming: &mut Incoming, chunk: &[u8], most: u64) -> Result<(), Error> {
    let more = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
    if incoming.size().saturating_add(more) > most {
        return Err(Error::TooLarge(most));
    }
    incoming.push(chunk).await
}

pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
