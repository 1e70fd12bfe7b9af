//! `/keys/claim`: one-time keys are given out.
//!
//! What is claimed while a statement is under way is claimed together by the next one: that many
//! clients open sessions at once is what happens when somebody writes in a large room.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use ruma::OwnedUserId;
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use super::{Error, Keys};
use crate::{
    rooms::Actor,
    store::{
        DeviceNid, StoreError, UserNid,
        device_keys::{self, Claimed, SessionKey, Wanted},
        journal::Write,
    },
};

/// The most keys that are claimed at once.
const MAX_CLAIMED: usize = 10_000;
/// How many keys are taken with one statement.
const BATCH: usize = 500;

/// Keys by user and device.
pub type ClaimedKeys = BTreeMap<OwnedUserId, BTreeMap<String, SessionKey>>;

/// The claims that wait for their statement.
#[derive(Default)]
pub(super) struct Claims {
    waiting: Mutex<Vec<Claim>>,
    /// Held by whoever takes keys.
    turn: AsyncMutex<()>,
}

/// Some keys that one client wants to have; at most [`BATCH`].
struct Claim {
    wanted: Vec<Wanted>,
    /// The keys that there are, by their place in what is wanted.
    answer: oneshot::Sender<Result<Vec<Claimed>, StoreError>>,
}

impl Claims {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Claim>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has some keys wait for the next statement.
    fn add(&self, wanted: &[Wanted]) -> oneshot::Receiver<Result<Vec<Claimed>, StoreError>> {
        let (answer, answered) = oneshot::channel();
        let wanted = wanted.to_vec();
        self.waiting().push(Claim { wanted, answer });
        answered
    }

    /// The claims for the next statement: the first ones of those whose clients still wait.
    fn next(&self) -> Vec<Claim> {
        let mut waiting = self.waiting();
        waiting.retain(|claim| !claim.answer.is_closed());
        let mut keys = 0;
        let fitting = waiting.iter().take_while(|claim| {
            let is_first = keys == 0;
            keys += claim.wanted.len();
            is_first || keys <= BATCH
        });
        let count = fitting.count();
        waiting.drain(..count).collect()
    }
}

impl Keys {
    /// Takes one-time keys of devices, each once, and where there are none the fallback key.
    /// `wanted` has for each device the algorithm.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than 10,000 keys, and what the database says.
    pub async fn claim(
        &self,
        actor: &Actor,
        wanted: &BTreeMap<OwnedUserId, BTreeMap<String, String>>,
    ) -> Result<ClaimedKeys, Error> {
        if wanted.values().map(BTreeMap::len).sum::<usize>() > MAX_CLAIMED {
            return Err(Error::TooLarge("too many keys at once"));
        }
        // Where everybody knows everybody the statement itself passes over unknown users.
        let known = if self.0.policy.load().shows_all_profiles() {
            None
        } else {
            let user_ids = wanted.keys().map(|user_id| &**user_id);
            Some(self.known_users(actor, user_ids).await?)
        };
        let wanted: Vec<_> = wanted
            .iter()
            .filter(|(user_id, _)| match &known {
                Some(known) => known.contains_key(*user_id),
                None => self.is_local(user_id),
            })
            .flat_map(|(user_id, devices)| {
                devices.iter().map(move |(device_id, algorithm)| Wanted {
                    user_id: user_id.clone(),
                    device_id: device_id.clone(),
                    algorithm: algorithm.clone(),
                })
            })
            .filter(|wanted| !wanted.device_id.contains('\0') && !wanted.algorithm.contains('\0'))
            .collect();
        let mut claimed = ClaimedKeys::new();
        for batch in wanted.chunks(BATCH) {
            for key in self.claim_batch(batch).await? {
                let Some(wanted) = batch.get(key.nth) else {
                    continue;
                };
                // What is encrypted with it is for this device.
                let address = (&*wanted.user_id, &*wanted.device_id);
                self.0.store.note_addressee(address, key.device);
                let of_user = claimed.entry(wanted.user_id.clone()).or_default();
                of_user.insert(wanted.device_id.clone(), key.key);
            }
        }
        Ok(claimed)
    }

    /// Has some keys taken, together with those that others want.
    async fn claim_batch(&self, wanted: &[Wanted]) -> Result<Vec<Claimed>, Error> {
        let claims = &self.0.claims;
        let mut answered = claims.add(wanted);
        loop {
            let turn = tokio::select! {
                biased;
                done = &mut answered => {
                    if let Ok(taken) = done {
                        return Ok(taken?);
                    }
                    // Whose turn it was has gone away, and perhaps a few keys with them.
                    answered = claims.add(wanted);
                    continue;
                }
                turn = claims.turn.lock() => turn,
            };
            self.take_next().await;
            drop(turn);
        }
    }

    /// Takes the keys of the claims that wait, if there are any. Only for whose turn it is.
    async fn take_next(&self) {
        let claims = self.0.claims.next();
        if claims.is_empty() {
            return;
        }
        let mut wanted = Vec::new();
        let mut answers = Vec::new();
        for claim in claims {
            answers.push((claim.answer, claim.wanted.len()));
            wanted.extend(claim.wanted);
        }
        let mut taken = self.take(&wanted).await.map_err(Some);
        let mut first = 0;
        for (answer, length) in answers {
            let keys = match &mut taken {
                Ok(taken) => Ok(of_claim(taken, first, length)),
                // The first gets the cause; the others, that there was one.
                Err(error) => Err(error.take().unwrap_or(StoreError::Unavailable)),
            };
            first += length;
            // Who has gone away does not need the answer.
            let _ = answer.send(keys);
        }
    }

    async fn take(&self, wanted: &[Wanted]) -> Result<Vec<Claimed>, StoreError> {
        let mut conn = self.0.store.conn().await?;
        let taken = device_keys::claim(&mut conn, wanted).await?;
        drop(conn);
        let mut devices: HashMap<UserNid, Vec<DeviceNid>> = HashMap::new();
        for key in &taken {
            let of_user = devices.entry(key.user).or_default();
            if !of_user.contains(&key.device) {
                of_user.push(key.device);
            }
        }
        if devices.is_empty() {
            return Ok(taken);
        }
        let one_time_keys = devices
            .into_iter()
            .map(|(user, devices)| (user, Arc::from(devices)))
            .collect();
        let write = Write {
            one_time_keys,
            ..Write::default()
        };
        // The keys are taken, and the answer must not be lost: that their devices hear of it can
        // wait, and is put right by what they remember growing old.
        if let Err(error) = self.0.store.journal().submit(write).await {
            tracing::warn!(%error, "devices will hear late that their keys were claimed");
        }
        Ok(taken)
    }
}

/// The keys of the claim whose wishes are `length` from the one at `first` on.
fn of_claim(taken: &mut Vec<Claimed>, first: usize, length: usize) -> Vec<Claimed> {
    let is_own = |key: &mut Claimed| (first..first + length).contains(&key.nth);
    let own = taken.extract_if(.., is_own).map(|key| Claimed {
        nth: key.nth - first,
        ..key
    });
    own.collect()
}
