//! The content scanner: no file reaches people before an antivirus has seen what is in it.
//!
//! A client names a file and, where it is encrypted, gives its key, itself encrypted to the key of
//! this server ([`body`]). The file is decrypted in memory, piece by piece, and goes to the engine
//! ([`engine`]) without being written anywhere. What the engine said is remembered for the content
//! and never for the name: who asks is looked at each time (tchap.md, CS-15).
//!
//! Tchap's rules: tchap.md, 7.

pub mod body;
mod engine;
mod error;
mod pieces;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, Semaphore};
use vodozemac::{Curve25519SecretKey, pk_encryption::PkDecryption};
use zeroize::Zeroizing;

pub use self::{
    body::FileKey,
    engine::{Address, Engine},
    error::Error,
};
use self::{engine::Found, pieces::Pieces};
use crate::{
    clock::SharedClock,
    media::{Item, Media},
    random::Random,
    store::{
        Store, StoreError,
        media_verdicts::{self, Verdict},
        server_secrets,
    },
};

/// How many contents are kept from being scanned twice at once, about.
const TURNS: usize = 64;
/// The name of the private key among the secrets of the server.
const SECRET: &str = "scanner";

/// What the scanner is told by the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What looks at files; `None`: nothing is scanned.
    pub engine: Option<Engine>,
    /// Whether files that were not scanned can be had in no other way either.
    pub is_required: bool,
    /// Whether files pass that could not be scanned.
    pub passes_unscanned: bool,
    /// The largest file that is scanned.
    pub max_bytes: u64,
    /// How long a scan may take.
    pub timeout: Duration,
    /// How many files are scanned at once.
    pub max_scans: usize,
    /// For how long a verdict counts.
    pub verdict_lifetime: Duration,
    /// The types that may pass; all if empty.
    pub allowed_types: Vec<String>,
    /// The types that may not pass.
    pub blocked_types: Vec<String>,
    /// What people are told of infected files.
    pub infected_info: String,
}

/// The scanner. Cheap to clone.
#[derive(Clone)]
pub struct Scanner(Arc<Inner>);

struct Inner {
    settings: Settings,
    store: Store,
    media: Media,
    clock: SharedClock,
    key: PkDecryption,
    places: Semaphore,
    /// The same content is scanned once, however many ask for it.
    turns: Vec<Mutex<()>>,
}

impl Scanner {
    /// The scanner. Without a key the one that the processes share is used, and made if there is
    /// none yet.
    ///
    /// # Errors
    /// The database fails.
    pub async fn new(
        settings: Settings,
        key: Option<Zeroizing<[u8; 32]>>,
        store: Store,
        media: Media,
        clock: SharedClock,
        random: &Random,
    ) -> Result<Self, StoreError> {
        let key = match key {
            Some(key) => key,
            None => shared_key(&store, &clock, random).await?,
        };
        Ok(Self(Arc::new(Inner {
            places: Semaphore::new(settings.max_scans.clamp(1, Semaphore::MAX_PERMITS)),
            turns: (0..TURNS).map(|_| Mutex::new(())).collect(),
            key: PkDecryption::from_key(Curve25519SecretKey::from_slice(&key)),
            settings,
            store,
            media,
            clock,
        })))
    }

    /// Whether files are scanned.
    pub fn is_on(&self) -> bool {
        self.0.settings.engine.is_some()
    }

    /// Whether files that were not scanned can be had in no other way either.
    pub fn is_required(&self) -> bool {
        self.is_on() && self.0.settings.is_required
    }

    /// The key to which clients encrypt the keys of files, as base64.
    pub fn public_key(&self) -> String {
        self.0.key.public_key().to_base64()
    }

    /// The file that a request names, and its key.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::BadDecryption`].
    pub fn open(&self, body: &[u8]) -> Result<FileKey, Error> {
        body::open(body, &self.0.key)
    }

    /// Lets a file pass, or not.
    ///
    /// # Errors
    /// [`Error::Infected`], [`Error::ForbiddenType`]; [`Error::Undecryptable`] where the key does
    /// not fit; [`Error::Unscanned`] where nobody could look.
    pub async fn check(&self, item: &Item, key: Option<&FileKey>) -> Result<(), Error> {
        if let Some(key) = key
            && key.sha256 != item.file.sha256
        {
            return Err(Error::Undecryptable);
        }
        let verdict = self.verdict(item, key).await?;
        if !verdict.is_clean {
            return Err(Error::Infected(self.0.settings.infected_info.clone()));
        }
        self.check_type(&verdict.mime_type)
    }

    /// Lets a file pass to somebody who does not ask the scanner: the file as it is, where its
    /// bytes tell what it is. What tells nothing may be encrypted, and so anything.
    ///
    /// # Errors
    /// As [`Self::check`], and [`Error::Opaque`].
    pub async fn check_elsewhere(&self, item: &Item) -> Result<(), Error> {
        if !self.is_required() {
            return Ok(());
        }
        let verdict = self.verdict(item, None).await?;
        if !verdict.is_clean {
            return Err(Error::Infected(self.0.settings.infected_info.clone()));
        }
        if verdict.mime_type == pieces::OCTETS {
            return Err(Error::Opaque);
        }
        self.check_type(&verdict.mime_type)
    }

    fn check_type(&self, mime_type: &str) -> Result<(), Error> {
        let Settings {
            allowed_types,
            blocked_types,
            ..
        } = &self.0.settings;
        let among = |types: &[String]| types.iter().any(|one| one.eq_ignore_ascii_case(mime_type));
        if among(blocked_types) || !(allowed_types.is_empty() || among(allowed_types)) {
            return Err(Error::ForbiddenType(mime_type.to_owned()));
        }
        Ok(())
    }

    /// What was found in a content, now or before.
    async fn verdict(&self, item: &Item, key: Option<&FileKey>) -> Result<Verdict, Error> {
        let hash = content_hash(item, key);
        if let Some(verdict) = self.find(&hash).await? {
            return Ok(verdict);
        }
        let turn = usize::from(*hash.first().unwrap_or(&0)) % TURNS;
        let turn = self.0.turns.get(turn).ok_or(Error::Unscanned)?;
        let _turn = turn.lock().await;
        if let Some(verdict) = self.find(&hash).await? {
            return Ok(verdict);
        }
        let scanned = tokio::time::timeout(self.0.settings.timeout, self.scan(item, key));
        match scanned.await.unwrap_or(Err(Error::Unscanned)) {
            Ok(verdict) => {
                let lifetime = self.0.settings.verdict_lifetime.as_millis();
                let lifetime = i64::try_from(lifetime).unwrap_or(i64::MAX);
                let expires_ms = self.0.clock.now_i64().saturating_add(lifetime);
                let mut conn = self.0.store.conn().await?;
                media_verdicts::upsert(&mut conn, &hash, &verdict, expires_ms).await?;
                Ok(verdict)
            }
            Err(Error::Unscanned) if self.0.settings.passes_unscanned => {
                tracing::warn!("a file passes that could not be scanned");
                Ok(Verdict {
                    is_clean: true,
                    mime_type: item.file.detected_type.clone().unwrap_or_default(),
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn find(&self, hash: &[u8]) -> Result<Option<Verdict>, Error> {
        let mut conn = self.0.store.conn().await?;
        Ok(media_verdicts::find(&mut conn, hash, self.0.clock.now_i64()).await?)
    }

    async fn scan(&self, item: &Item, key: Option<&FileKey>) -> Result<Verdict, Error> {
        let Some(engine) = &self.0.settings.engine else {
            return Err(Error::Unscanned);
        };
        if item.size() > self.0.settings.max_bytes {
            return Err(Error::Unscanned);
        }
        let Ok(_place) = self.0.places.acquire().await else {
            return Err(Error::Unscanned);
        };
        let bytes = self.0.media.read(&item.file.object_key, 0..item.size());
        let mut pieces = Pieces::new(bytes.await?.into_stream(), key);
        let found = engine.scan(&mut pieces).await?;
        Ok(Verdict {
            is_clean: found == Found::Nothing,
            mime_type: pieces.mime_type(),
        })
    }

    /// Forgets verdicts that count no more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn clean_up(&self) -> Result<(), StoreError> {
        let mut conn = self.0.store.conn().await?;
        media_verdicts::delete_expired(&mut conn, self.0.clock.now_i64()).await
    }
}

/// Names a content; where it is encrypted, together with its key.
fn content_hash(item: &Item, key: Option<&FileKey>) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update(&item.file.sha256);
    if let Some(key) = key {
        hasher.update(*key.key);
        hasher.update(key.iv);
    }
    hasher.finalize().to_vec()
}

async fn shared_key(
    store: &Store,
    clock: &SharedClock,
    random: &Random,
) -> Result<Zeroizing<[u8; 32]>, StoreError> {
    let new = Zeroizing::new(random.bytes::<32>());
    let mut conn = store.conn().await?;
    let kept = server_secrets::find_or_insert(&mut conn, SECRET, &*new, clock.now_i64()).await?;
    let kept = Zeroizing::new(kept);
    let bytes: [u8; 32] = kept
        .as_slice()
        .try_into()
        .map_err(|_| StoreError::inconsistent("server_secrets", "secret", SECRET))?;
    Ok(Zeroizing::new(bytes))
}
