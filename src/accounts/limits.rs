//! How often the same person may try.
//!
//! Buckets can be asked without being touched, so that only failures count, and the number of
//! remembered buckets is bounded: the least recently used are forgotten first.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::{Accounts, Error, Limits};

/// How many buckets are remembered.
const MAX_BUCKETS: u64 = 100_000;

/// How often something may be done: a bucket that holds `burst` and refills all the time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How many per second, in the long run; above 0.
    pub per_second: f64,
    /// How many at once; at least 1.
    pub burst: u32,
}

/// The buckets of one kind of action.
pub(super) struct Limiter {
    rate: ArcSwapOption<Interval>,
    /// For each subject, when its bucket will be full, in milliseconds since the epoch.
    full_at: Cache<[u8; 32], u64>,
}

#[derive(Clone, Copy)]
struct Interval {
    /// The milliseconds in which one is refilled.
    one: u64,
    /// The milliseconds in which all but one are refilled.
    slack: u64,
}

impl Limiter {
    /// Buckets that are all full; without a rate they never get empty.
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self {
            rate: ArcSwapOption::new(rate.map(Interval::new)),
            full_at: Cache::new(MAX_BUCKETS),
        }
    }

    /// Takes a new rate. What buckets lack they still lack.
    fn reload(&self, rate: Option<Rate>) {
        self.rate.store(rate.map(Interval::new));
    }

    /// Whether there is something left for `subject`.
    pub(super) fn check(&self, subject: &str, now_ms: u64) -> Result<(), Error> {
        let Some(interval) = self.rate.load_full() else {
            return Ok(());
        };
        let full_at = self.full_at.get(&key(subject)).unwrap_or(0);
        let wait = full_at.saturating_sub(now_ms.saturating_add(interval.slack));
        if wait == 0 {
            Ok(())
        } else {
            Err(Error::LimitExceeded {
                retry_after: Duration::from_millis(wait),
            })
        }
    }

    /// Takes one, even if nothing is left.
    pub(super) fn take(&self, subject: &str, now_ms: u64) {
        let Some(interval) = self.rate.load_full() else {
            return;
        };
        self.full_at.entry(key(subject)).and_upsert_with(|entry| {
            let full_at = entry.map_or(0, moka::Entry::into_value);
            full_at.max(now_ms).saturating_add(interval.one)
        });
    }

    /// Puts one back that was taken in advance.
    pub(super) fn give_back(&self, subject: &str) {
        let Some(interval) = self.rate.load_full() else {
            return;
        };
        let bucket = self.full_at.entry(key(subject));
        bucket.and_upsert_with(|entry| {
            let full_at = entry.map_or(0, moka::Entry::into_value);
            full_at.saturating_sub(interval.one)
        });
    }

    /// Takes one if something is left.
    pub(super) fn try_take(&self, subject: &str, now_ms: u64) -> Result<(), Error> {
        self.check(subject, now_ms)?;
        self.take(subject, now_ms);
        Ok(())
    }
}

impl Interval {
    fn new(rate: Rate) -> Arc<Self> {
        let seconds = Duration::try_from_secs_f64(1.0 / rate.per_second);
        let one = millis(seconds.unwrap_or(Duration::from_hours(24)));
        Arc::new(Self {
            one,
            slack: one.saturating_mul(u64::from(rate.burst.saturating_sub(1))),
        })
    }
}

impl Accounts {
    /// Takes new limits.
    pub fn reload_limits(&self, limits: Limits) {
        self.0.login_failed.reload(limits.login_failed);
        self.0.registration.reload(limits.registration);
        self.0.mail.reload(limits.mail_per_address);
    }

    /// How many passwords are being hashed, or wait for it.
    pub fn password_hash_queue(&self) -> usize {
        self.0.hasher.queue()
    }
}

/// Subjects are addresses and names, which are not kept.
fn key(subject: &str) -> [u8; 32] {
    Sha256::digest(subject.as_bytes()).into()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_refills() {
        let limiter = Limiter::new(Some(Rate {
            per_second: 0.5,
            burst: 2,
        }));
        let now = 1_000_000;
        assert!(limiter.try_take("a", now).is_ok());
        assert!(limiter.try_take("a", now).is_ok());
        let refused = limiter.try_take("a", now);
        assert!(matches!(
            refused,
            Err(Error::LimitExceeded { retry_after }) if retry_after == Duration::from_secs(2)
        ));
        assert!(limiter.try_take("b", now).is_ok());
        assert!(limiter.try_take("a", now + 2000).is_ok());
        assert!(limiter.try_take("a", now + 2000).is_err());
    }

    #[test]
    fn asking_takes_nothing() {
        let limiter = Limiter::new(Some(Rate {
            per_second: 1.0,
            burst: 1,
        }));
        for _ in 0..10 {
            assert!(limiter.check("a", 5000).is_ok());
        }
        limiter.take("a", 5000);
        assert!(limiter.check("a", 5000).is_err());
    }

    #[test]
    fn a_new_rate_counts_what_was_taken_before() {
        let rate = |burst| {
            Some(Rate {
                per_second: 1.0,
                burst,
            })
        };
        let limiter = Limiter::new(rate(1));
        assert!(limiter.try_take("a", 5000).is_ok());
        assert!(limiter.try_take("a", 5000).is_err());
        limiter.reload(rate(2));
        assert!(limiter.try_take("a", 5000).is_ok());
        assert!(limiter.try_take("a", 5000).is_err());
        limiter.reload(None);
        assert!(limiter.try_take("a", 5000).is_ok());
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let limiter = Limiter::new(Some(Rate {
            per_second: 1.0,
            burst: 1,
        }));
        for _ in 0..10 {
            assert!(limiter.try_take("a", 5000).is_ok());
            assert!(limiter.try_take("a", 5000).is_err());
            limiter.give_back("a");
        }
    }

    #[test]
    fn without_a_rate_nothing_is_limited() {
        let limiter = Limiter::new(None);
        for _ in 0..100 {
            assert!(limiter.try_take("a", 1).is_ok());
        }
    }
}
