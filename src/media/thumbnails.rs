//! Thumbnails: found where they were made before, made otherwise.
//!
//! Specification v1.19, client-server API, "Thumbnails".

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{
    Error, Media,
    depot::Content,
    ids,
    images::{self, Job},
    upload::ms,
    worker::{self, Answer},
};
use crate::store::{
    Store,
    media::{self, File},
    media_work::{self, ThumbnailKey},
};

/// The sizes that are made to fit in, by the specification, and larger ones.
const SCALES: [(u32, u32); 6] = [
    (320, 240),
    (640, 480),
    (800, 600),
    (1600, 1200),
    (3200, 2400),
    (6400, 4800),
];
/// The squares that are made, by the specification, and larger ones.
const SQUARES: [u32; 7] = [32, 96, 192, 384, 768, 1536, 3072];
/// The largest width or height that can be asked for.
const MOST: u32 = 16_384;
/// How many thumbnails of one image are kept.
const KEPT: i64 = 24;
/// How long somebody waits for a worker.
const PATIENCE: Duration = Duration::from_secs(20);
/// When an object is deleted that nothing refers to.
const UNUSED: Duration = Duration::from_hours(1);
/// What the memory of the process holds beside an image.
const OWN_MEMORY: u64 = 48 << 20;

/// How an image is made to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// It fills the size; what stands out is cut off.
    Crop,
    /// It fits in.
    Scale,
}

/// A thumbnail that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The width.
    pub width: u32,
    /// The height.
    pub height: u32,
    /// How it fits.
    pub method: Method,
    /// Whether it may move.
    pub is_animated: bool,
}

/// A thumbnail.
pub struct Thumbnail {
    /// Its type.
    pub content_type: String,
    /// How many bytes it has.
    pub size: u64,
    /// The bytes.
    pub bytes: Content,
}

impl Media {
    /// A thumbnail of an image.
    ///
    /// # Errors
    /// [`Error::NoThumbnail`], [`Error::ImageTooLarge`], [`Error::Busy`].
    pub async fn thumbnail(&self, file: &File, wanted: Wanted) -> Result<Thumbnail, Error> {
        let is_image = |kind: &String| images::is_readable(kind);
        if !file.detected_type.as_ref().is_some_and(is_image) {
            return Err(Error::NoThumbnail);
        }
        let key = key(file.file, wanted)?;
        if let Some(kept) = self.find_kept(key).await? {
            return Ok(kept);
        }
        let size = u64::try_from(file.size).unwrap_or(u64::MAX);
        if size > self.0.settings.images.max_bytes {
            return Err(Error::ImageTooLarge);
        }
        let worker = timeout(PATIENCE, self.0.workers.acquire()).await;
        let Ok(Ok(worker)) = worker else {
            return Err(Error::Busy);
        };
        // Somebody may have made it meanwhile.
        if let Some(kept) = self.find_kept(key).await? {
            return Ok(kept);
        }
        let settings = &self.0.settings;
        let job = Job {
            width: key.width.unsigned_abs(),
            height: key.height.unsigned_abs(),
            crops: wanted.method == Method::Crop,
            is_animated: wanted.is_animated,
            max_pixels: settings.images.max_pixels,
            max_memory: settings.images.max_memory.saturating_sub(OWN_MEMORY),
        };
        let input = self.0.depot.read(&file.object_key, 0..size).await?;
        let answer = worker::work(settings, job, input.into_stream()).await?;
        drop(worker);
        match answer {
            Answer::Made(content_type, bytes) => self.keep_made(key, content_type, bytes).await,
            Answer::Original => self.keep_original(key, file).await,
        }
    }

    async fn find_kept(&self, key: ThumbnailKey) -> Result<Option<Thumbnail>, Error> {
        let known = &self.0.known;
        let age = known.age();
        let kept = if let Some(kept) = known.thumbnails.get(&key, age) {
            kept
        } else {
            let mut conn = self.0.store.conn().await?;
            let found = media_work::find_thumbnail(&mut conn, key).await?;
            drop(conn);
            let Some(found) = found else { return Ok(None) };
            let found = Arc::new(found);
            known.thumbnails.insert(key, age, &found);
            found
        };
        let size = u64::try_from(kept.size).unwrap_or_default();
        Ok(Some(Thumbnail {
            content_type: kept.content_type.clone(),
            size,
            bytes: self.0.depot.read(&kept.object_key, 0..size).await?,
        }))
    }

    /// Keeps a thumbnail, and gives it.
    async fn keep_made(
        &self,
        key: ThumbnailKey,
        content_type: &str,
        bytes: Bytes,
    ) -> Result<Thumbnail, Error> {
        let inner = &self.0;
        let object_key = ids::object_key(&inner.random);
        let now_ms = inner.clock.now_i64();
        let mut conn = inner.store.conn().await?;
        let due_ms = now_ms.saturating_add(ms(UNUSED));
        media::insert_object(&mut conn, &object_key, due_ms).await?;
        drop(conn);
        let mut incoming = inner.depot.write(&object_key);
        incoming.push(&bytes).await?;
        let written = incoming.finish().await?;
        let row = media_work::Thumbnail {
            content_type: content_type.to_owned(),
            size: i64::try_from(written.size).unwrap_or(i64::MAX),
            object_key,
        };
        self.insert_thumbnail(key, &row).await?;
        Ok(Thumbnail {
            content_type: row.content_type,
            size: written.size,
            bytes: Content::Kept(bytes),
        })
    }

    /// Remembers that an image is its own thumbnail, and gives it.
    async fn keep_original(&self, key: ThumbnailKey, file: &File) -> Result<Thumbnail, Error> {
        let row = media_work::Thumbnail {
            content_type: file.detected_type.clone().unwrap_or_default(),
            size: file.size,
            object_key: file.object_key.clone(),
        };
        self.insert_thumbnail(key, &row).await?;
        let size = u64::try_from(file.size).unwrap_or_default();
        Ok(Thumbnail {
            content_type: row.content_type,
            size,
            bytes: self.0.depot.read(&file.object_key, 0..size).await?,
        })
    }

    async fn insert_thumbnail(
        &self,
        key: ThumbnailKey,
        row: &media_work::Thumbnail,
    ) -> Result<(), Error> {
        let now_ms = self.0.clock.now_i64();
        let mut tx = self.0.store.begin().await?;
        media_work::insert_thumbnail(&mut tx, key, row, KEPT, now_ms).await?;
        Store::commit(tx).await?;
        Ok(())
    }
}

/// The smallest of the sizes that are made which is no smaller than what is asked for: nobody shall
/// fill the store by asking for all sizes that there are.
fn key(file: i64, wanted: Wanted) -> Result<ThumbnailKey, Error> {
    let (width, height) = (wanted.width, wanted.height);
    if width == 0 || height == 0 || width > MOST || height > MOST {
        return Err(Error::Invalid("the size makes no sense"));
    }
    let fits = |(wide, high): (u32, u32)| width <= wide && height <= high;
    let (width, height) = match wanted.method {
        Method::Scale => SCALES.into_iter().find(|size| fits(*size)),
        Method::Crop if width == height => {
            let square = SQUARES.into_iter().find(|side| fits((*side, *side)));
            square.map(|side| (side, side))
        }
        Method::Crop => None,
    }
    .unwrap_or((width, height));
    let narrow = |size: u32| i32::try_from(size).map_err(|_| Error::Invalid("too large"));
    Ok(ThumbnailKey {
        file,
        width: narrow(width)?,
        height: narrow(height)?,
        method: match wanted.method {
            Method::Crop => "crop",
            Method::Scale => "scale",
        },
        is_animated: wanted.is_animated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_is_never_smaller_than_what_is_asked_for() {
        let cases = [
            (Method::Scale, (1, 1), (320, 240)),
            (Method::Scale, (320, 240), (320, 240)),
            (Method::Scale, (321, 1), (640, 480)),
            (Method::Scale, (800, 601), (1600, 1200)),
            (Method::Scale, (9000, 1), (9000, 1)),
            (Method::Crop, (32, 32), (32, 32)),
            (Method::Crop, (33, 33), (96, 96)),
            (Method::Crop, (100, 50), (100, 50)),
        ];
        for (method, (width, height), expected) in cases {
            let wanted = Wanted {
                width,
                height,
                method,
                is_animated: false,
            };
            let key = key(1, wanted).unwrap();
            assert_eq!((key.width, key.height), expected, "{wanted:?}");
        }
        for (width, height) in [(0, 1), (1, 0), (16_385, 1)] {
            let method = Method::Scale;
            let is_animated = false;
            assert!(
                key(
                    1,
                    Wanted {
                        width,
                        height,
                        method,
                        is_animated
                    }
                )
                .is_err()
            );
        }
    }
}
