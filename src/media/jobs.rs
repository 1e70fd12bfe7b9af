//! What is deleted by and by: objects that belong to nothing, ids whose bytes never came, and media
//! that nobody downloads.

use std::time::Duration;

use super::{Error, Media, upload::ms};
use crate::store::{Store, media_admin, media_work};

/// How much is done at once.
const BATCH: i64 = 100;
/// For how long no other process takes the objects that this one deletes.
const LEASE: Duration = Duration::from_mins(10);

impl Media {
    /// Deletes what is due, in small batches, and gives how many objects went.
    ///
    /// # Errors
    /// The database or the object store fails; the next run goes on.
    pub async fn clean_up(&self) -> Result<usize, Error> {
        self.delete_unused().await?;
        self.delete_purged().await?;
        if let Some(lifetime) = self.0.settings.unused_lifetime {
            let before_ms = self.0.clock.now_i64().saturating_sub(ms(lifetime));
            self.delete_unused_before(before_ms, -1, true).await?;
        }
        let mut deleted = 0;
        loop {
            let now_ms = self.0.clock.now_i64();
            let until_ms = now_ms.saturating_add(ms(LEASE));
            let mut conn = self.0.store.conn().await?;
            let keys = media_work::take_objects(&mut conn, now_ms, until_ms, BATCH).await?;
            drop(conn);
            if keys.is_empty() {
                return Ok(deleted);
            }
            let mut gone = Vec::with_capacity(keys.len());
            for key in keys {
                match self.0.depot.delete(&key).await {
                    Ok(()) => gone.push(key),
                    Err(error) => {
                        tracing::warn!(%error, "an object could not be deleted");
                    }
                }
            }
            let mut conn = self.0.store.conn().await?;
            media_work::delete_objects(&mut conn, &gone).await?;
            deleted += gone.len();
        }
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
