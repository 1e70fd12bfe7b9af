//! What people upload and download: files, pictures and their thumbnails.
//!
//! An upload ([`upload`]) streams into an object ([`depot`]) while it is hashed, and then gets a
//! name in the database; the same content is kept once. A download ([`download`]) finds the content
//! of a name, waits for it where it is still to come, and streams it. Thumbnails ([`thumbnails`]) are
//! made when somebody asks for one, in a process of their own ([`worker`]), since the code that reads
//! images is given what strangers made. What is deleted goes from the database at once and from the
//! object store by a job ([`jobs`]).
//!
//! Specification v1.19, client-server API, "Content repository".

mod admin;
mod avatars;
pub mod depot;
mod download;
mod error;
mod ids;
pub mod images;
mod jobs;
mod kept;
mod known;
mod thumbnails;
mod upload;
pub mod worker;

use std::{path::PathBuf, sync::Arc, time::Duration};

use ruma::{OwnedServerName, ServerName};
use tokio::sync::{Mutex, Notify, Semaphore, broadcast};

use self::{
    depot::{Depot, Place},
    known::Known,
};
pub use self::{
    download::{Access, Item},
    error::Error,
    ids::{hex, split as split_uri},
    jobs::Deleted,
    thumbnails::{Method, Thumbnail, Wanted},
    upload::{NewUpload, Target},
};
use crate::{clock::SharedClock, random::Random, store::Store};

/// How many completed uploads those who wait may not have heard of yet.
const HEARD: usize = 256;

/// What the media service is told by the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this server.
    pub server_name: OwnedServerName,
    /// Where the bytes are.
    pub place: Place,
    /// The largest upload.
    pub max_upload: u64,
    /// How many bytes one user may have uploaded.
    pub quota: Option<u64>,
    /// How many ids one user may have whose bytes are still to come.
    pub max_pending: u32,
    /// For how long bytes can be uploaded to an id that was given out before them.
    pub pending_lifetime: Duration,
    /// Whether what is uploaded from now on can be had without an access token.
    pub is_open: bool,
    /// For how long media are kept that nobody downloads.
    pub unused_lifetime: Option<Duration>,
    /// What making a thumbnail may cost.
    pub images: ImageLimits,
    /// What the pictures of people and rooms may be.
    pub avatars: AvatarRules,
    /// The program that makes thumbnails: this one.
    pub program: PathBuf,
}

/// What the pictures of people and rooms may be.
#[derive(Clone, Debug, Default)]
pub struct AvatarRules {
    /// The largest one.
    pub max_bytes: Option<u64>,
    /// Their types; any if empty.
    pub types: Vec<String>,
}

/// What making a thumbnail may cost.
#[derive(Clone, Copy, Debug)]
pub struct ImageLimits {
    /// The largest file.
    pub max_bytes: u64,
    /// The most pixels.
    pub max_pixels: u64,
    /// How much memory its process may have.
    pub max_memory: u64,
    /// How long it may take.
    pub timeout: Duration,
    /// How many are made at once.
    pub workers: usize,
}

/// The media service. Cheap to clone.
#[derive(Clone)]
pub struct Media(Arc<Inner>);

struct Inner {
    settings: Settings,
    store: Store,
    depot: Depot,
    /// What was just found in the database.
    known: Known,
    clock: SharedClock,
    random: Random,
    /// The ids whose bytes have come, here or elsewhere.
    completed: broadcast::Sender<String>,
    /// Told when there are bytes to delete.
    deletions: Notify,
    /// Held while bytes are deleted.
    deleting: Mutex<()>,
    /// One for each thumbnail that may be made at once.
    workers: Semaphore,
}

impl Media {
    /// The service.
    ///
    /// # Errors
    /// The place for the bytes cannot be used.
    pub fn new(
        settings: Settings,
        store: Store,
        clock: SharedClock,
        random: Random,
    ) -> Result<Self, Error> {
        let depot = Depot::open(&settings.place)?;
        Ok(Self(Arc::new(Inner {
            workers: Semaphore::new(settings.images.workers),
            completed: broadcast::Sender::new(HEARD),
            deletions: Notify::new(),
            deleting: Mutex::default(),
            known: Known::new(),
            settings,
            store,
            depot,
            clock,
            random,
        })))
    }

    /// The name of this server.
    pub fn server_name(&self) -> &ServerName {
        &self.0.settings.server_name
    }

    /// The largest upload, in bytes.
    pub fn max_upload(&self) -> u64 {
        self.0.settings.max_upload
    }

    /// The mxc: URI of media of this server.
    pub fn uri(&self, media_id: &str) -> String {
        format!("mxc://{}/{media_id}", self.0.settings.server_name)
    }

    /// Takes in that the bytes of an id have come.
    pub fn hear_completed(&self, media_id: &str) {
        // Nobody waits, and so nobody hears.
        let _ = self.0.completed.send(media_id.to_owned());
    }

    /// Forgets what is known of media: the database says what may still be had of them.
    pub fn forget_known(&self) {
        self.0.known.forget();
    }

    /// Has a job delete the bytes of what nobody has any more, soon.
    pub fn hear_deleted(&self) {
        self.0.deletions.notify_one();
    }

    /// Waits until there are bytes to delete.
    pub async fn deletions(&self) {
        self.0.deletions.notified().await;
    }
}
