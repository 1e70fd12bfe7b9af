//! Finding people by their addresses (identity service API v1.19, "Association lookup").
//!
//! Clients send hashes. The hashes of all addresses stand in the database, made with a pepper that
//! changes every week: a new pepper is written first, so that addresses that come from then on are
//! hashed with it; one round of work later it is given to all others, and then to clients. The one
//! before it stays good until the next, since clients ask for the pepper first and look up later.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ruma::OwnedUserId;

use super::{Error, Holder, Identity};
use crate::{
    accounts::Requester,
    store::{
        StoreError, accounts,
        identity::{self, Pepper},
    },
};

/// How long a pepper is the one that clients get.
const ROTATION: Duration = Duration::from_hours(24 * 7);

/// How long a pepper waits before old addresses are hashed with it: longer than any transaction.
const SETTLING: Duration = Duration::from_mins(5);

/// The longest time between two rounds of work.
const CLEAN_UP: Duration = Duration::from_mins(10);

/// How many addresses are hashed by one statement.
const BATCH: i64 = 10_000;

/// The length of a pepper.
const PEPPER_LENGTH: usize = 32;

/// What clients need to look up.
pub struct HashDetails {
    /// What addresses are hashed with.
    pub pepper: String,
    /// How they are hashed.
    pub algorithms: [&'static str; 1],
}

impl Identity {
    /// What clients need to look up.
    pub async fn hash_details(&self) -> Result<HashDetails, Error> {
        let mut conn = self.0.store.conn().await?;
        let mut peppers = identity::peppers(&mut conn).await?;
        if peppers.iter().all(|pepper| !pepper.is_ready) {
            // The first of all. Addresses that come at this very moment are hashed later, see
            // [`Self::rotate_pepper`].
            let pepper = self.0.random.alphanumeric(PEPPER_LENGTH);
            let now = self.0.clock.now_i64();
            let number = identity::insert_pepper(&mut conn, &pepper, now).await?;
            drop(conn);
            self.hash_all(number).await?;
            peppers = identity::peppers(&mut *self.0.store.conn().await?).await?;
        }
        let newest = peppers.into_iter().find(|pepper| pepper.is_ready);
        let pepper = newest.ok_or(StoreError::Unavailable)?.pepper;
        Ok(HashDetails {
            pepper,
            algorithms: ["sha256"],
        })
    }

    /// The users behind hashed addresses, by the hashes as they were sent. What is no hash, or
    /// nobody's, is left out. Externals find nobody (UD-07).
    ///
    /// # Errors
    /// [`Error::InvalidParam`] for another algorithm than `sha256`: addresses in clear are not
    /// looked up; [`Error::InvalidPepper`]; [`Error::TooManyAddresses`].
    pub async fn look_up(
        &self,
        holder: &Holder,
        algorithm: &str,
        pepper: &str,
        hashes: &[String],
    ) -> Result<BTreeMap<String, String>, Error> {
        if algorithm != "sha256" {
            return Err(Error::InvalidParam("only sha256 is offered"));
        }
        if hashes.len() > self.0.policy.load().lookup_limit() {
            return Err(Error::TooManyAddresses);
        }
        let mut conn = self.0.store.conn().await?;
        let known = identity::peppers(&mut conn).await?;
        let known = known
            .into_iter()
            .find(|known| known.is_ready && known.pepper == pepper)
            .ok_or(Error::InvalidPepper)?;
        let account = accounts::find_by_number(&mut conn, holder.user).await?;
        let account = account.ok_or(Error::Unauthorized)?;
        let policy = self.0.policy.load();
        let standing = policy.standing(&account.user_id, account.is_external, account.is_admin);
        if !policy.may_search_people(standing).is_allowed() {
            return Ok(BTreeMap::new());
        }
        drop(policy);
        let decoded: Vec<Vec<u8>> = hashes
            .iter()
            .filter_map(|hash| URL_SAFE_NO_PAD.decode(hash).ok())
            .filter(|hash| hash.len() == 32)
            .collect();
        let found = identity::look_up(&mut conn, known.number, &decoded).await?;
        Ok(found
            .into_iter()
            .map(|(hash, user_id)| (URL_SAFE_NO_PAD.encode(hash), user_id))
            .collect())
    }

    /// Whose addresses these are, for clients of this server that name them in clear
    /// (tchap.md 5.3). What is no address, or nobody's, is left out. Externals find nobody (UD-07).
    ///
    /// # Errors
    /// [`Error::TooManyAddresses`].
    pub async fn look_up_addresses(
        &self,
        requester: &Requester,
        addresses: &[&str],
    ) -> Result<BTreeMap<String, OwnedUserId>, Error> {
        let policy = self.0.policy.load_full();
        if addresses.len() > policy.lookup_limit() {
            return Err(Error::TooManyAddresses);
        }
        let standing = requester.standing(&policy);
        if !policy.may_search_people(standing).is_allowed() {
            return Ok(BTreeMap::new());
        }
        let parsed: Vec<(&str, String)> = addresses
            .iter()
            .filter_map(|text| Some((*text, super::parse(text).ok()?.as_str().to_owned())))
            .collect();
        let wanted: Vec<String> = parsed.iter().map(|(_, address)| address.clone()).collect();
        let mut conn = self.0.store.conn().await?;
        let found = identity::list_bound(&mut conn, &wanted).await?;
        let found: BTreeMap<String, OwnedUserId> = found.into_iter().collect();
        Ok(parsed
            .into_iter()
            .filter_map(|(text, address)| Some((text.to_owned(), found.get(&address)?.clone())))
            .collect())
    }

    /// Takes the next step towards a new pepper, if one is due.
    pub(super) async fn rotate_pepper(&self) -> Result<(), Error> {
        let mut conn = self.0.store.conn().await?;
        let peppers = identity::peppers(&mut conn).await?;
        let now = self.0.clock.now_i64();
        let is_older = |pepper: &Pepper, age: Duration| {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            now.saturating_sub(pepper.created_ms) >= age
        };
        match peppers.as_slice() {
            [newest, ..] if !newest.is_ready => {
                if is_older(newest, SETTLING) {
                    drop(conn);
                    self.hash_all(newest.number).await?;
                }
            }
            // Nobody wants to wait for the first one to settle.
            [only] if !is_older(only, 2 * SETTLING + CLEAN_UP) => {
                drop(conn);
                self.hash_all(only.number).await?;
            }
            [newest, rest @ ..] => {
                if let [before, _, ..] = rest {
                    identity::delete_peppers_before(&mut conn, before.number).await?;
                }
                if is_older(newest, ROTATION) {
                    let pepper = self.0.random.alphanumeric(PEPPER_LENGTH);
                    identity::insert_pepper(&mut conn, &pepper, now).await?;
                }
            }
            [] => (),
        }
        Ok(())
    }

    /// Hashes all addresses with a pepper, and then lets clients use it.
    async fn hash_all(&self, pepper: i64) -> Result<(), Error> {
        let mut conn = self.0.store.conn().await?;
        let mut after = String::new();
        while let Some(last) = identity::hash_addresses(&mut conn, pepper, &after, BATCH).await? {
            after = last;
        }
        identity::set_pepper_ready(&mut conn, pepper).await?;
        Ok(())
    }
}
