//! What administrators do: withdraw contents, give them back, protect them, delete them.

use ruma::RoomId;

use super::{Error, Media};
use crate::store::{
    Store, UserNid,
    media::{self, Media as Row, Usage},
    media_admin::{self, Page},
};

/// How many media are deleted at once.
const BATCH: i64 = 100;
/// How many media one request deletes at most, so that it ends in time.
const MOST: usize = 5_000;

impl Media {
    /// What is known of media, withdrawn or not.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn view(&self, media_id: &str) -> Result<Row, Error> {
        let mut conn = self.0.store.conn().await?;
        let found = media::find(&mut conn, &[media_id]).await?;
        found.into_iter().next().ok_or(Error::NotFound)
    }

    /// The newest media of a user, and how much they have.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list(&self, user: UserNid, page: &Page) -> Result<(Vec<Row>, Usage), Error> {
        let mut conn = self.0.store.conn().await?;
        let list = media_admin::list_of_user(&mut conn, user, page).await?;
        let usage = media::find_usage(&mut conn, user).await?;
        Ok((list, usage))
    }

    /// The ids of the media of this server that events of a room name. Those of encrypted events
    /// are not seen.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list_of_room(&self, room_id: &RoomId) -> Result<Vec<String>, Error> {
        let room = self.0.store.room_number(room_id).await?;
        let room = room.ok_or(Error::NotFound)?;
        let mut conn = self.0.store.conn().await?;
        let named = media_admin::list_of_room(&mut conn, room).await?;
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        let found = media::find(&mut conn, &named).await?;
        Ok(found.into_iter().map(|media| media.media_id).collect())
    }

    /// Withdraws the contents of media, under whatever names they are had.
    ///
    /// # Errors
    /// The database fails.
    pub async fn quarantine(&self, media_ids: &[String], by: &str) -> Result<u64, Error> {
        self.change_quarantine(media_ids, Some(by), false).await
    }

    /// Gives withdrawn contents back.
    ///
    /// # Errors
    /// The database fails.
    pub async fn unquarantine(&self, media_ids: &[String]) -> Result<u64, Error> {
        self.change_quarantine(media_ids, None, true).await
    }

    async fn change_quarantine(
        &self,
        media_ids: &[String],
        by: Option<&str>,
        even_protected: bool,
    ) -> Result<u64, Error> {
        let now_ms = self.0.clock.now_i64();
        let mut tx = self.0.store.begin().await?;
        let changed =
            media_admin::quarantine(&mut tx, media_ids, by, even_protected, now_ms).await?;
        Store::commit(tx).await?;
        self.forget_known();
        Ok(changed)
    }

    /// Withdraws all that a user uploaded.
    ///
    /// # Errors
    /// The database fails.
    pub async fn quarantine_of_user(&self, user: UserNid, by: &str) -> Result<u64, Error> {
        let now_ms = self.0.clock.now_i64();
        let mut tx = self.0.store.begin().await?;
        let changed = media_admin::quarantine_of_user(&mut tx, user, by, now_ms).await?;
        Store::commit(tx).await?;
        self.forget_known();
        Ok(changed)
    }

    /// Has quarantines leave media alone, or not.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn protect(&self, media_id: &str, is_protected: bool) -> Result<(), Error> {
        let mut conn = self.0.store.conn().await?;
        if media_admin::update_protected(&mut conn, media_id, is_protected).await? {
            Ok(())
        } else {
            Err(Error::NotFound)
        }
    }

    /// Deletes media, and gives the ids of those that there were. Their bytes go soon, unless other
    /// media have the same.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete(&self, media_ids: &[&str]) -> Result<Vec<String>, Error> {
        let now_ms = self.0.clock.now_i64();
        let deleted = media_admin::delete(&self.0.store, media_ids, now_ms).await?;
        if !deleted.is_empty() {
            self.forget_known();
            self.hear_deleted();
        }
        Ok(deleted)
    }

    /// Deletes media that were last downloaded before a moment and are larger than `size`, a few
    /// thousand at most. Pictures of people and rooms stay, if `keep_profiles`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_unused_before(
        &self,
        before_ms: i64,
        size: i64,
        keep_profiles: bool,
    ) -> Result<Vec<String>, Error> {
        let own = self.uri("");
        let profiles = keep_profiles.then_some(own.as_str());
        let mut deleted = Vec::new();
        let mut after = (i64::MIN, String::new());
        while deleted.len() < MOST {
            let mut conn = self.0.store.conn().await?;
            let from = (after.0, after.1.as_str());
            let page =
                media_admin::list_unused(&mut conn, from, before_ms, size, profiles, BATCH).await?;
            drop(conn);
            let Some((used_ms, media_id, _)) = page.last() else {
                break;
            };
            after = (*used_ms, media_id.clone());
            let due: Vec<&str> = page
                .iter()
                .filter(|(.., is_due)| *is_due)
                .map(|(_, media_id, _)| media_id.as_str())
                .collect();
            deleted.extend(self.delete(&due).await?);
        }
        Ok(deleted)
    }
}
