//! Small files that were just read. Objects never change, so what was read of one stays true; whether
//! anybody may have it is asked elsewhere each time ([`known`](super::known)).

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use moka::sync::Cache;

/// The largest file that is kept, in bytes.
const SMALL: u64 = 256 << 10;
/// How much memory they take together, in bytes.
const CAPACITY: u64 = 16 << 20;
/// How long one is kept: another process may have deleted it.
const KEPT_FOR: Duration = Duration::from_mins(10);

/// Small files, or beginnings of files, by their keys. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Kept(Cache<String, Bytes>);

impl Kept {
    pub(super) fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(CAPACITY)
            .weigher(|key: &String, bytes: &Bytes| {
                u32::try_from(key.len() + bytes.len()).unwrap_or(u32::MAX)
            })
            .time_to_live(KEPT_FOR);
        Self(cache.build())
    }

    /// Whether a part of a file may be kept.
    pub(super) fn takes(range: &Range<u64>) -> bool {
        range.start == 0 && range.end <= SMALL
    }

    /// The first bytes of a file, if just so many are kept.
    pub(super) fn get(&self, key: &str, length: u64) -> Option<Bytes> {
        let bytes = self.0.get(key)?;
        (u64::try_from(bytes.len()) == Ok(length)).then_some(bytes)
    }

    /// Keeps the first bytes of a file.
    pub(super) fn insert(&self, key: &str, bytes: &Bytes) {
        self.0.insert(key.to_owned(), bytes.clone());
    }

    /// Forgets a file.
    pub(super) fn remove(&self, key: &str) {
        self.0.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::{
        super::{
            Error,
            depot::{Depot, Place},
        },
        *,
    };

    async fn all(depot: &Depot, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let stream = depot.read("ab/object", range).await?;
        let chunks: Vec<Bytes> = stream.into_stream().try_collect().await.unwrap();
        Ok(chunks.concat())
    }

    #[tokio::test]
    async fn a_small_file_stays_in_memory_until_it_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let depot = Depot::open(&Place::Folder(folder.path().to_owned())).unwrap();
        let mut incoming = depot.write("ab/object");
        incoming.push(b"small").await.unwrap();
        incoming.finish().await.unwrap();
        assert_eq!(all(&depot, 0..5).await.unwrap(), b"small");
        std::fs::remove_file(folder.path().join("ab/object")).unwrap();
        assert_eq!(all(&depot, 0..5).await.unwrap(), b"small");
        // A part is no whole, and is not taken for one.
        assert!(all(&depot, 0..3).await.is_err());
        assert!(all(&depot, 1..5).await.is_err());
        depot.delete("ab/object").await.unwrap();
        assert!(all(&depot, 0..5).await.is_err());
    }

    #[tokio::test]
    async fn a_large_file_does_not_stay_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let depot = Depot::open(&Place::Folder(folder.path().to_owned())).unwrap();
        let size = SMALL + 1;
        let mut incoming = depot.write("ab/object");
        let bytes = vec![7; usize::try_from(size).unwrap()];
        incoming.push(&bytes).await.unwrap();
        incoming.finish().await.unwrap();
        assert_eq!(all(&depot, 0..size).await.unwrap(), bytes);
        std::fs::remove_file(folder.path().join("ab/object")).unwrap();
        assert!(all(&depot, 0..size).await.is_err());
    }
}
