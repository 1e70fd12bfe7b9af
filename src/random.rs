//! Where chance comes from: tokens, codes and room ids.
//!
//! Services hold a [`Random`]; tests seed it, so that what they see is the same in each run.

use std::sync::{Arc, Mutex, PoisonError};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

/// A shared generator that is fit for secrets.
#[derive(Clone)]
pub struct Random(Arc<Mutex<ChaCha20Rng>>);

impl Random {
    /// A generator seeded by the operating system.
    pub fn from_os() -> Self {
        Self(Arc::new(Mutex::new(ChaCha20Rng::from_os_rng())))
    }

    /// A generator that gives the same values in each run, for tests.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(ChaCha20Rng::seed_from_u64(seed))))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.with(|rng| rng.fill_bytes(&mut bytes));
        bytes
    }

    /// A secret of 256 bits in URL-safe letters, after `prefix`.
    pub fn secret(&self, prefix: &str) -> String {
        format!("{prefix}{}", URL_SAFE_NO_PAD.encode(self.bytes::<32>()))
    }

    /// `length` letters and digits.
    pub fn alphanumeric(&self, length: usize) -> String {
        self.with(|rng| {
            (0..length)
                .map(|_| char::from(rng.sample(rand::distr::Alphanumeric)))
                .collect()
        })
    }

    /// `length` capital letters.
    pub fn capitals(&self, length: usize) -> String {
        self.with(|rng| (0..length).map(|_| rng.random_range('A'..='Z')).collect())
    }

    /// A number from `range`.
    pub fn range(&self, range: std::ops::Range<u64>) -> u64 {
        if range.is_empty() {
            return range.start;
        }
        self.with(|rng| rng.random_range(range))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut ChaCha20Rng) -> T) -> T {
        // A generator that another thread left in the middle of a draw is as random as before.
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}
