//! What was just found in the database, so that the picture of a person, which everybody in their
//! rooms asks for, is not looked up for each of them.
//!
//! All of it is forgotten at once whenever anything is withdrawn, given back or deleted, here or at
//! another process. That is seldom, and so nobody needs to say what it was.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;

use super::Item;
use crate::store::media_work::{Thumbnail, ThumbnailKey};

/// How many media, and how many thumbnails, are known at once.
const MOST: u64 = 10_000;
/// How long each is known, should it go unheard that it has changed.
const KNOWN_FOR: Duration = Duration::from_mins(1);

/// What was found: media that can be downloaded, and thumbnails that are made.
#[derive(Debug)]
pub(super) struct Known {
    /// How often all was forgotten.
    age: AtomicU64,
    pub(super) items: Found<String, Item>,
    pub(super) thumbnails: Found<ThumbnailKey, Thumbnail>,
}

/// The moment at which somebody begins to look something up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Age(u64);

impl Known {
    pub(super) fn new() -> Self {
        Self {
            age: AtomicU64::new(0),
            items: Found::new(),
            thumbnails: Found::new(),
        }
    }

    /// To be taken before the database is asked: what is forgotten meanwhile is not known then.
    pub(super) fn age(&self) -> Age {
        Age(self.age.load(Ordering::SeqCst))
    }

    /// Forgets all.
    pub(super) fn forget(&self) {
        self.age.fetch_add(1, Ordering::SeqCst);
    }
}

/// What was found of one kind.
#[derive(Debug)]
pub(super) struct Found<K, V>(Cache<K, (Age, Arc<V>)>)
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static;

impl<K, V> Found<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn new() -> Self {
        let cache = Cache::builder().max_capacity(MOST).time_to_live(KNOWN_FOR);
        Self(cache.build())
    }

    /// What is known at this age.
    pub(super) fn get<Q>(&self, key: &Q, age: Age) -> Option<Arc<V>>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (found_at, value) = self.0.get(key)?;
        (found_at == age).then_some(value)
    }

    /// Remembers what was found by somebody who began at this age.
    pub(super) fn insert(&self, key: K, age: Age, value: &Arc<V>) {
        self.0.insert(key, (age, Arc::clone(value)));
    }
}
