//! Hashing passwords: slow on purpose, so in threads of its own, and never too many at once.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordVerifier as _, Version,
    password_hash::{PasswordHasher as _, SaltString},
};
use tokio::{sync::Semaphore, task};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::{Error, HashCost};
use crate::random::Random;

/// How many requests may wait for each hash that is computed. More are refused.
const WAITING_PER_WORKER: usize = 32;

/// When a refused request may come again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// A hash that fits no password, with the same costs as all others. It is checked where there is
/// no account, so that the time of the answer does not tell.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5aGFzdGhpc29uZQ\
    $Y2hhcHBlOiBubyBwYXNzd29yZCBoYXMgdGhpcyBoYXM";

/// Hashes and checks passwords.
#[derive(Clone)]
pub(super) struct PasswordHasher {
    workers: Arc<Semaphore>,
    places: Arc<Semaphore>,
    random: Random,
    cost: HashCost,
    most: usize,
}

impl PasswordHasher {
    /// A hasher that computes `concurrency` hashes at once.
    pub(super) fn new(concurrency: NonZeroUsize, cost: HashCost, random: Random) -> Self {
        let concurrency = concurrency.get().min(Semaphore::MAX_PERMITS / 64);
        let most = concurrency * (1 + WAITING_PER_WORKER);
        Self {
            workers: Arc::new(Semaphore::new(concurrency)),
            places: Arc::new(Semaphore::new(most)),
            random,
            cost,
            most,
        }
    }

    /// How many passwords are being hashed, or wait for it.
    pub(super) fn queue(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }

    /// The hash of a password, in the PHC format.
    pub(super) async fn hash(
        &self,
        password: &Zeroizing<String>,
    ) -> Result<Zeroizing<String>, Error> {
        let password = normalize(password);
        let salt = self.random.bytes::<16>();
        let cost = self.cost;
        let hashed = self
            .run(move || {
                let salt = SaltString::encode_b64(&salt)?;
                let hash = argon2(cost).hash_password(password.as_bytes(), &salt)?;
                Ok(Zeroizing::new(hash.to_string()))
            })
            .await?;
        hashed.map_err(|error: argon2::password_hash::Error| Error::Hashing(error.to_string()))
    }

    /// Whether a password fits a hash. Without a hash the answer is no, after the same time.
    pub(super) async fn verify(
        &self,
        password: &Zeroizing<String>,
        hash: Option<Zeroizing<String>>,
    ) -> Result<bool, Error> {
        let password = normalize(password);
        let exists = hash.is_some();
        let hash = hash.unwrap_or_else(|| Zeroizing::new(NOBODY.to_owned()));
        self.run(move || {
            // The hash itself says what it cost.
            let fits = PasswordHash::new(&hash)
                .and_then(|hash| {
                    argon2(HashCost::Recommended).verify_password(password.as_bytes(), &hash)
                })
                .is_ok();
            fits && exists
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let busy = || Error::LimitExceeded {
            retry_after: RETRY_AFTER,
        };
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| busy())?;
        let worker = Arc::clone(&self.workers)
            .acquire_owned()
            .await
            .map_err(|_| busy())?;
        // The permits go along: a client that hangs up does not stop the hash.
        let hashing = task::spawn_blocking(move || {
            let result = work();
            drop((worker, place));
            result
        });
        hashing
            .await
            .map_err(|error| Error::Hashing(error.to_string()))
    }
}

/// Argon2id. Its own default is what OWASP recommends, as a test holds.
fn argon2(cost: HashCost) -> Argon2<'static> {
    let least = Params::new(
        Params::MIN_M_COST,
        Params::MIN_T_COST,
        Params::MIN_P_COST,
        None,
    );
    let parameters = match cost {
        HashCost::Recommended => Params::DEFAULT,
        HashCost::Least => least.unwrap_or(Params::DEFAULT),
    };
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
}

/// The same password typed on another system: keyboards differ in how they compose accents.
fn normalize(password: &str) -> Zeroizing<String> {
    Zeroizing::new(password.nfkc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher() -> PasswordHasher {
        PasswordHasher::new(NonZeroUsize::MIN, HashCost::Recommended, Random::seeded(1))
    }

    fn password(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let hasher = hasher();
        let hash = hasher.hash(&password("Motdepasse1!")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let verify = async |text: &str| {
            let hash = Some(hash.clone());
            hasher.verify(&password(text), hash).await.unwrap()
        };
        assert!(verify("Motdepasse1!").await);
        assert!(!verify("motdepasse1!").await);
        assert!(!verify("").await);
    }

    #[tokio::test]
    async fn accents_may_be_composed_in_either_way() {
        let hasher = hasher();
        let hash = hasher.hash(&password("e\u{301}te\u{301}")).await.unwrap();
        assert!(hasher.verify(&password("été"), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_the_hash_of_nobody() {
        assert!(PasswordHash::new(NOBODY).is_ok());
        let prefix = "$argon2id$v=19$m=19456,t=2,p=1$";
        assert!(NOBODY.starts_with(prefix), "the same costs as real hashes");
        assert!(!hasher().verify(&password(""), None).await.unwrap());
    }
}
