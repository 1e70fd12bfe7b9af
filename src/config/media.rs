//! `[media]`: what people upload, where it is kept, and for how long.

use std::{path::PathBuf, thread};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    Problem,
    secret::Secret,
    units::{HumanDuration, HumanSize},
};

/// `[media]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// The folder that keeps the bytes, where there is no S3; `media` in the data folder if not
    /// set.
    pub folder: Option<PathBuf>,
    /// The largest upload.
    pub max_upload_size: HumanSize,
    /// How many bytes one user may have uploaded; no bound if not set.
    pub max_bytes_per_user: Option<HumanSize>,
    /// How many ids one user may have whose bytes are still to come.
    pub max_pending_uploads: u32,
    /// For how long bytes can be uploaded to an id that was given out before them.
    pub pending_upload_lifetime: HumanDuration,
    /// Whether media that are uploaded from now on can be had without an access token.
    pub unauthenticated_downloads: bool,
    /// For how long media are kept that nobody downloads; for ever if not set.
    pub unused_lifetime: Option<HumanDuration>,
    /// `[media.s3]`.
    pub s3: S3,
    /// `[media.images]`.
    pub images: Images,
    /// `[media.avatars]`.
    pub avatars: Avatars,
}

/// `[media.s3]`: a store that speaks the protocol of Amazon's S3.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3 {
    /// The bucket. Without it the bytes are in a folder.
    pub bucket: Option<String>,
    /// Where the store is; Amazon's if not set.
    pub endpoint: Option<Url>,
    /// The region.
    pub region: Option<String>,
    /// The name of the access key.
    pub access_key_id: Option<String>,
    /// The access key.
    pub secret_access_key: Option<Secret>,
    /// A file that holds the access key.
    pub secret_access_key_file: Option<PathBuf>,
    /// What stands before the names of all objects.
    pub prefix: Option<String>,
    /// For how long it may say nothing.
    pub timeout: HumanDuration,
}

/// `[media.images]`: what making a thumbnail may cost.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Images {
    /// The largest file of which thumbnails are made.
    pub max_bytes: HumanSize,
    /// The most pixels of such an image.
    pub max_pixels: u32,
    /// How much memory its process may have.
    pub max_memory: HumanSize,
    /// How long it may take.
    pub timeout: HumanDuration,
    /// How many are made at once; half as many as there are processors if not set.
    pub workers: Option<u32>,
}

/// `[media.avatars]`: what the pictures of people and rooms may be.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Avatars {
    /// The largest one; no bound but that of uploads if not set.
    pub max_bytes: Option<HumanSize>,
    /// Their types, as their bytes tell them; any if empty.
    pub types: Vec<String>,
}

const MIB: u64 = 1024 * 1024;

impl Default for Media {
    fn default() -> Self {
        Self {
            folder: None,
            max_upload_size: HumanSize::from_bytes(100 * MIB),
            max_bytes_per_user: None,
            max_pending_uploads: 10,
            pending_upload_lifetime: HumanDuration::from_secs(24 * 60 * 60),
            unauthenticated_downloads: false,
            unused_lifetime: None,
            s3: S3::default(),
            images: Images::default(),
            avatars: Avatars::default(),
        }
    }
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            bucket: None,
            endpoint: None,
            region: None,
            access_key_id: None,
            secret_access_key: None,
            secret_access_key_file: None,
            prefix: None,
            timeout: HumanDuration::from_secs(30),
        }
    }
}

impl Default for Images {
    fn default() -> Self {
        Self {
            max_bytes: HumanSize::from_bytes(32 * MIB),
            max_pixels: 50_000_000,
            max_memory: HumanSize::from_bytes(512 * MIB),
            timeout: HumanDuration::from_secs(15),
            workers: None,
        }
    }
}

impl Default for Avatars {
    fn default() -> Self {
        let types = ["image/png", "image/jpeg", "image/gif", "image/webp"];
        Self {
            max_bytes: Some(HumanSize::from_bytes(10 * MIB)),
            types: types.map(str::to_owned).to_vec(),
        }
    }
}

impl Images {
    /// How many thumbnails are made at once.
    pub fn workers(self) -> usize {
        let processors = || thread::available_parallelism().map_or(1, usize::from);
        let asked = self.workers.map(usize::try_from).and_then(Result::ok);
        asked.unwrap_or_else(|| processors().div_ceil(2)).max(1)
    }
}

impl Media {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut least = |key: &str, is_zero: bool| {
            if is_zero {
                let key = format!("media.{key}");
                problems.push(Problem::new(key, "found 0, expected 1 or more"));
            }
        };
        least("max_upload_size", self.max_upload_size.bytes() == 0);
        least("max_pending_uploads", self.max_pending_uploads == 0);
        least("images.max_pixels", self.images.max_pixels == 0);
        least("images.workers", self.images.workers == Some(0));
        for (key, time) in [
            ("media.images.timeout", self.images.timeout),
            ("media.s3.timeout", self.s3.timeout),
        ] {
            if time.is_zero() {
                let message = "found 0s, expected a longer time";
                problems.push(Problem::new(key, message));
            }
        }
        // Its own code and tables need some.
        let least_memory = HumanSize::from_bytes(64 * MIB);
        if self.images.max_memory < least_memory {
            let message = format!("found {}, expected 64MiB or more", self.images.max_memory);
            problems.push(Problem::new("media.images.max_memory", message));
        }
        problems.extend(self.s3.validate());
        problems
    }
}

impl S3 {
    fn validate(&self) -> Option<Problem> {
        let has_id = self.access_key_id.is_some();
        let has_key = self.secret_access_key.is_some();
        (has_id != has_key).then(|| {
            let message = "needs both `access_key_id` and `secret_access_key`, or neither";
            Problem::new("media.s3", message)
        })
    }
}
