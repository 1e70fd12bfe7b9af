//! What is deleted by and by: objects that belong to nothing, ids whose bytes never came, and media
//! that nobody downloads.

use std::time::Duration;

use super::{Error, Media, upload::ms};
use crate::store::{Store, media_admin, media_work};

/// How much is done at once.
const BATCH: i64 = 100;
/// For how long no other process takes the objects that this one deletes.
const LEASE: Duration = Duration::from_mins(10);
/// How many objects in a row that cannot be deleted mean that the store is away.
const AWAY: usize = 3;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// How many objects went.
    pub count: usize,
    /// Whether some could not be deleted: they are tried again after [`Media::AGAIN`].
    pub has_failed: bool,
}

impl Media {
    /// When objects are tried again that could not be deleted.
    pub const AGAIN: Duration = Duration::from_secs(30);

    /// Deletes what is due, in small batches.
    ///
    /// # Errors
    /// The database fails; the next run goes on.
    pub async fn clean_up(&self) -> Result<Deleted, Error> {
        self.delete_unused().await?;
        if let Some(lifetime) = self.0.settings.unused_lifetime {
            let before_ms = self.0.clock.now_i64().saturating_sub(ms(lifetime));
            self.delete_unused_before(before_ms, -1, true).await?;
        }
        self.delete_gone().await
    }

    /// Deletes the bytes of what is gone, in small batches.
    ///
    /// # Errors
    /// The database fails; the next run goes on.
    pub async fn delete_gone(&self) -> Result<Deleted, Error> {
        // Who waits for a run that is under way may rely on what it deletes.
        let _deleting = self.0.deleting.lock().await;
        self.delete_purged().await?;
        let mut deleted = Deleted {
            count: 0,
            has_failed: false,
        };
        loop {
            let now_ms = self.0.clock.now_i64();
            let until_ms = now_ms.saturating_add(ms(LEASE));
            let mut conn = self.0.store.conn().await?;
            let keys = media_work::take_objects(&mut conn, now_ms, until_ms, BATCH).await?;
            drop(conn);
            if keys.is_empty() {
                return Ok(deleted);
            }
            let (gone, left, is_away) = self.delete_objects(keys).await;
            let again_ms = self.0.clock.now_i64().saturating_add(ms(Self::AGAIN));
            let mut conn = self.0.store.conn().await?;
            media_work::delete_objects(&mut conn, &gone).await?;
            deleted.count += gone.len();
            if !left.is_empty() {
                media_work::postpone_objects(&mut conn, &left, again_ms).await?;
                deleted.has_failed = true;
            }
            if is_away {
                return Ok(deleted);
            }
        }
    }

    /// Deletes objects. Gives those that are gone, those that are left, and whether the store seems
    /// to be away: then the rest was not tried.
    async fn delete_objects(&self, keys: Vec<String>) -> (Vec<String>, Vec<String>, bool) {
        let (mut gone, mut left) = (Vec::with_capacity(keys.len()), Vec::new());
        let mut failed = 0;
        for key in keys {
            if failed >= AWAY {
                left.push(key);
                continue;
            }
            match self.0.depot.delete(&key).await {
                Ok(()) => {
                    failed = 0;
                    gone.push(key);
                }
                Err(error) => {
                    failed += 1;
                    tracing::warn!(%error, "an object could not be deleted");
                    left.push(key);
                }
            }
        }
        (gone, left, failed >= AWAY)
    }

    /// Deletes media that deleted messages named, and nothing else names.
    async fn delete_purged(&self) -> Result<(), Error> {
        let own = self.uri("");
        loop {
            let mut tx = self.0.store.begin().await?;
            let (count, unused) = media_admin::take_purges(&mut tx, &own, BATCH).await?;
            if count == 0 {
                return Ok(());
            }
            // Before they are forgotten: whoever is stopped in between does it again.
            let unused: Vec<&str> = unused.iter().map(String::as_str).collect();
            self.delete(&unused).await?;
            Store::commit(tx).await?;
        }
    }

    async fn delete_unused(&self) -> Result<(), Error> {
        let now_ms = self.0.clock.now_i64();
        let mut conn = self.0.store.conn().await?;
        while media_work::delete_unused(&mut conn, now_ms, BATCH).await? >= BATCH.unsigned_abs() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
