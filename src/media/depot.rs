//! Where the bytes are: a local folder, or a store that speaks S3. Both stream, and hold no more
//! than a few parts of a file in memory; small files that were just read stay there for a while, since
//! the picture of a person is asked for by everybody in their rooms.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Range,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use object_store::{
    BackoffConfig, ClientConfigKey, GetOptions, GetRange, GetResultPayload, ObjectStore,
    ObjectStoreExt as _, RetryConfig, WriteMultipart,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    path::Path,
    prefix::PrefixStore,
};
use sha2::{Digest as _, Sha256};
use tokio::{task::spawn_blocking, time::timeout};
use zeroize::Zeroizing;

use super::{Error, kept::Kept};

/// How long a part of a large file is: S3 takes no shorter ones.
const PART: usize = 5 << 20;
/// How many parts are under way at once, beside the one that fills.
const PARTS: usize = 1;
/// How much of a local file is read at once.
const CHUNK: u64 = 256 << 10;
/// How many of the first bytes tell the type.
const HEAD: usize = 8 << 10;
/// How often a store is asked again that fails: somebody waits for the answer.
const RETRIES: usize = 4;
/// The first and the longest pause before that.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// How long a download may take, and is gone on with where the store breaks it off.
const RESUMED: Duration = Duration::from_hours(1);
/// How many times as long as for anything else a store may take to put a large file together.
const LAST: u32 = 4;

/// Where the bytes are kept.
#[derive(Clone, Debug)]
pub enum Place {
    /// In this folder.
    Folder(PathBuf),
    /// In a store that speaks S3.
    S3(Box<S3>),
}

/// How to reach a store that speaks S3.
#[derive(Clone)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// Where it is; Amazon's if not set.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The name of the access key, and the key. Without it the machine's own are used.
    pub access_key: Option<(String, Zeroizing<String>)>,
    /// What stands before all names.
    pub prefix: Option<String>,
    /// For how long it may say nothing.
    pub timeout: Duration,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// A stream of bytes.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// The bytes of an object, or of a part of it.
pub enum Content {
    /// In memory.
    Kept(Bytes),
    /// Still to be read.
    Streamed(ByteStream),
}

impl Content {
    /// The same as a stream.
    pub fn into_stream(self) -> ByteStream {
        match self {
            Self::Kept(bytes) => stream::iter([Ok(bytes)]).boxed(),
            Self::Streamed(stream) => stream,
        }
    }
}

/// Where the bytes are. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Depot {
    store: Arc<dyn ObjectStore>,
    /// The folder, where it is one.
    folder: Option<Arc<FilePath>>,
    /// For how long the store may say nothing, where it is not a folder.
    patience: Option<Duration>,
    /// Small files that were read.
    kept: Kept,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The hash of the bytes.
    pub sha256: [u8; 32],
    /// How many there are.
    pub size: u64,
    /// The first of them.
    pub head: Bytes,
}

impl Depot {
    /// Opens the place; makes the folder.
    ///
    /// # Errors
    /// The folder cannot be made, or the settings of S3 contradict each other.
    pub fn open(place: &Place) -> Result<Self, Error> {
        match place {
            Place::Folder(folder) => {
                std::fs::create_dir_all(folder)
                    .map_err(|error| Error::Local("the media folder cannot be made", error))?;
                let store = LocalFileSystem::new_with_prefix(folder)?;
                let folder = folder.canonicalize();
                let folder =
                    folder.map_err(|error| Error::Local("the media folder is gone", error))?;
                Ok(Self {
                    store: Arc::new(store),
                    folder: Some(folder.into()),
                    patience: None,
                    kept: Kept::new(),
                })
            }
            Place::S3(s3) => Self::open_s3(s3),
        }
    }

    fn open_s3(s3: &S3) -> Result<Self, Error> {
        let (init_backoff, max_backoff) = PAUSES;
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff,
                max_backoff,
                base: 2.,
            },
            max_retries: RETRIES,
            retry_timeout: RESUMED,
        };
        // It counts for a whole download, and so would break off those of slow clients: each step
        // has its own time instead.
        let all = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&s3.bucket)
            .with_config(all, format!("{}s", RESUMED.as_secs()))
            .with_retry(retry);
        if let Some(endpoint) = &s3.endpoint {
            let is_plain = endpoint.starts_with("http://");
            builder = builder
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_allow_http(is_plain);
        }
        if let Some(region) = &s3.region {
            builder = builder.with_region(region);
        }
        if let Some((id, key)) = &s3.access_key {
            builder = builder
                .with_access_key_id(id)
                .with_secret_access_key(key.as_str());
        }
        let store = builder.build()?;
        let store: Arc<dyn ObjectStore> = match &s3.prefix {
            Some(prefix) => Arc::new(PrefixStore::new(store, prefix.as_str())),
            None => Arc::new(store),
        };
        Ok(Self {
            store,
            folder: None,
            patience: Some(s3.timeout),
            kept: Kept::new(),
        })
    }

    /// Waits for the store, but not for ever.
    async fn ask<T>(
        &self,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        self.ask_long(1, work).await
    }

    /// The same for what may take this many times as long.
    async fn ask_long<T>(
        &self,
        times: u32,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        let Some(patience) = self.patience else {
            return Ok(work.await?);
        };
        match timeout(patience.saturating_mul(times), work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Error::Local("the object store says nothing", silence())),
        }
    }

    /// Begins to write an object.
    pub fn write(&self, key: &str) -> Incoming {
        Incoming {
            depot: self.clone(),
            key: key.to_owned(),
            part: BytesMut::new(),
            multipart: None,
            hasher: Sha256::new(),
            size: 0,
            head: BytesMut::new(),
        }
    }

    /// Reads a part of an object.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn read(&self, key: &str, range: Range<u64>) -> Result<Content, Error> {
        if range.is_empty() {
            return Ok(Content::Kept(Bytes::new()));
        }
        if !Kept::takes(&range) {
            let stream = self.read_through(key, range).await?;
            return Ok(Content::Streamed(stream));
        }
        let length = range.end;
        let bytes = if let Some(bytes) = self.kept.get(key, length) {
            bytes
        } else {
            let stream = self.read_through(key, range).await?;
            let chunks: Result<Vec<Bytes>, _> = stream.try_collect().await;
            let chunks = chunks.map_err(|error| Error::Local("the bytes cannot be read", error))?;
            // In memory of their own, and not within a larger piece that came with them.
            let bytes = Bytes::from(chunks.concat());
            self.kept.insert(key, &bytes);
            bytes
        };
        Ok(Content::Kept(bytes))
    }

    /// Reads a part of an object from where it is.
    async fn read_through(&self, key: &str, range: Range<u64>) -> Result<ByteStream, Error> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let path = Path::from(key);
        let result = self.ask(self.store.get_opts(&path, options)).await?;
        Ok(match (result.payload, self.patience) {
            (GetResultPayload::File(file, _), _) => read_file(file, range),
            (GetResultPayload::Stream(stream), None) => stream.map(|chunk| Ok(chunk?)).boxed(),
            (GetResultPayload::Stream(stream), Some(patience)) => impatient(stream, patience),
        })
    }

    /// Deletes an object. One that is not there is deleted.
    ///
    /// # Errors
    /// It cannot be.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        self.kept.remove(key);
        match self.ask(self.store.delete(&Path::from(key))).await {
            Ok(()) | Err(Error::Depot(object_store::Error::NotFound { .. })) => {}
            Err(error) => return Err(error),
        }
        self.delete_leftovers(key).await;
        Ok(())
    }

    /// A process that ends in the middle of a write leaves a file whose name begins with that of
    /// the object.
    async fn delete_leftovers(&self, key: &str) {
        let Some(folder) = self.folder.clone() else {
            return;
        };
        let key = key.to_owned();
        let delete = move || {
            let path = folder.join(&key);
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return;
            };
            let begin = format!("{}#", name.to_string_lossy());
            let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
            for entry in entries {
                if entry.file_name().to_string_lossy().starts_with(&begin) {
                    // The next run finds it again.
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        };
        let _ = spawn_blocking(delete).await;
    }

    /// Makes sure that a local object is on the disk.
    async fn sync(&self, key: &str) -> Result<(), Error> {
        let Some(folder) = self.folder.clone() else {
            return Ok(());
        };
        let key = key.to_owned();
        let sync = move || -> io::Result<()> {
            let path = folder.join(&key);
            File::open(&path)?.sync_all()?;
            let folders = path.ancestors().skip(1);
            for parent in folders.take_while(|parent| parent.starts_with(&*folder)) {
                File::open(parent)?.sync_all()?;
            }
            Ok(())
        };
        let done = spawn_blocking(sync).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| Error::Local("the bytes cannot be brought to the disk", error))
    }
}

/// An object that is being written. Dropped before its end, it leaves nothing that can be read.
pub struct Incoming {
    depot: Depot,
    key: String,
    part: BytesMut,
    multipart: Option<WriteMultipart>,
    hasher: Sha256,
    size: u64,
    head: BytesMut,
}

impl Incoming {
    /// How many bytes have come.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes more bytes.
    ///
    /// # Errors
    /// They cannot be written.
    pub async fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.hasher.update(chunk);
        self.size += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        let missing = HEAD.saturating_sub(self.head.len()).min(chunk.len());
        self.head
            .extend_from_slice(chunk.get(..missing).unwrap_or_default());
        self.part.extend_from_slice(chunk);
        if self.part.len() < PART {
            return Ok(());
        }
        let part = self.part.split().freeze();
        if self.multipart.is_none() {
            let path = Path::from(self.key.as_str());
            let upload = self.depot.store.put_multipart(&path);
            let upload = self.depot.ask(upload).await?;
            self.multipart = Some(WriteMultipart::new_with_chunk_size(upload, PART));
        }
        if let Some(multipart) = &mut self.multipart {
            self.depot.ask(multipart.wait_for_capacity(PARTS)).await?;
            multipart.put(part);
        }
        Ok(())
    }

    /// Ends the object: it is there, and on the disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn finish(mut self) -> Result<Written, Error> {
        let last = self.part.split().freeze();
        if let Some(mut multipart) = self.multipart.take() {
            multipart.put(last);
            self.depot.ask_long(LAST, multipart.finish()).await?;
        } else {
            let path = Path::from(self.key.as_str());
            let put = self.depot.store.put(&path, last.into());
            self.depot.ask(put).await?;
        }
        self.depot.sync(&self.key).await?;
        Ok(Written {
            sha256: self.hasher.finalize().into(),
            size: self.size,
            head: self.head.freeze(),
        })
    }

    /// Gives the object up.
    pub async fn abort(mut self) {
        if let Some(multipart) = self.multipart.take()
            && let Err(error) = self.depot.ask(multipart.abort()).await
        {
            tracing::debug!(%error, "an upload that was given up left something behind");
        }
    }
}

fn silence() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// A stream that ends with an error when nothing comes for too long while somebody waits for it.
fn impatient<S>(stream: S, patience: Duration) -> ByteStream
where
    S: Stream<Item = object_store::Result<Bytes>> + Send + Unpin + 'static,
{
    let next = move |stream: Option<S>| async move {
        let mut stream = stream?;
        match timeout(patience, stream.next()).await {
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(stream))),
            Ok(Some(Err(error))) => Some((Err(error.into()), None)),
            Ok(None) => None,
            Err(_) => Some((Err(silence()), None)),
        }
    };
    stream::unfold(Some(stream), next).boxed()
}

/// Streams a part of a file. Reading waits for the disk on threads that may.
fn read_file(file: File, range: Range<u64>) -> ByteStream {
    struct Reading {
        file: File,
        at: u64,
        end: u64,
        is_placed: bool,
    }
    let state = Some(Reading {
        file,
        at: range.start,
        end: range.end,
        is_placed: false,
    });
    let next = |state: Option<Reading>| async move {
        let mut reading = state.filter(|reading| reading.at < reading.end)?;
        let read = move || -> io::Result<(Bytes, Reading)> {
            if !reading.is_placed {
                reading.file.seek(SeekFrom::Start(reading.at))?;
                reading.is_placed = true;
            }
            let length = (reading.end - reading.at).min(CHUNK);
            let mut chunk = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
            (&mut reading.file).take(length).read_to_end(&mut chunk)?;
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            reading.at += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            Ok((chunk.into(), reading))
        };
        let done = spawn_blocking(read).await;
        match done.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok((chunk, reading)) => Some((Ok(chunk), Some(reading))),
            Err(error) => Some((Err(error), None)),
        }
    };
    stream::unfold(state, next).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_download_ends_when_the_store_says_nothing_for_too_long() {
        let patience = Duration::from_millis(50);
        let chunks = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        let silent = stream::iter(chunks.map(Ok)).chain(stream::pending());
        let mut stream = impatient(silent, patience);
        assert_eq!(stream.next().await.unwrap().unwrap(), "a");
        // That nobody reads for a while is not the store's fault.
        tokio::time::sleep(patience * 2).await;
        assert_eq!(stream.next().await.unwrap().unwrap(), "b");
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(stream.next().await.is_none());
    }
}
