//! What the pictures of people and rooms may be (tchap.md, 13: `max_avatar_size`,
//! `allowed_avatar_mimetypes`).

use super::{Error, Media, ids};
use crate::store::media;

impl Media {
    /// Whether a picture may be shown for a person or a room. One of another server may, as far as
    /// is known here.
    ///
    /// # Errors
    /// [`Error::BadAvatar`].
    pub async fn check_avatar(&self, uri: &str) -> Result<(), Error> {
        let rules = &self.0.settings.avatars;
        if rules.max_bytes.is_none() && rules.types.is_empty() {
            return Ok(());
        }
        let (server_name, media_id) = ids::split(uri).ok_or(Error::Invalid("not an mxc: URI"))?;
        if server_name != self.0.settings.server_name {
            return Ok(());
        }
        let mut conn = self.0.store.conn().await?;
        let found = media::find(&mut conn, &[media_id]).await?;
        drop(conn);
        // An id that nobody has shows nothing, and nobody can choose one.
        let Some(media) = found.into_iter().next() else {
            return Ok(());
        };
        let file = media
            .file
            .ok_or(Error::BadAvatar("the picture is still to come"))?;
        let size = u64::try_from(file.size).unwrap_or(u64::MAX);
        if rules.max_bytes.is_some_and(|most| size > most) {
            return Err(Error::BadAvatar("the picture is too large"));
        }
        let kind = file.detected_type.as_deref().unwrap_or_default();
        if !rules.types.is_empty() && !rules.types.iter().any(|one| one == kind) {
            return Err(Error::BadAvatar("pictures of this type are not allowed"));
        }
        Ok(())
    }
}
