//! `/keys/claim`: one-time keys are given out.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ruma::OwnedUserId;

use super::{Error, Keys};
use crate::{
    rooms::Actor,
    store::{
        DeviceNid, UserNid,
        device_keys::{self, SessionKey, Wanted},
        journal::Write,
    },
};

/// The most keys that are claimed at once.
const MAX_CLAIMED: usize = 10_000;
/// How many keys are taken with one statement.
const BATCH: usize = 500;

/// Keys by user and device.
pub type ClaimedKeys = BTreeMap<OwnedUserId, BTreeMap<String, SessionKey>>;

impl Keys {
    /// Takes one-time keys of devices, each once, and where there are none the fallback key.
    /// `wanted` has for each device the algorithm.
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
                    user_id,
                    device_id,
                    algorithm,
                })
            })
            .filter(|wanted| !wanted.device_id.contains('\0') && !wanted.algorithm.contains('\0'))
            .collect();
        let mut claimed = ClaimedKeys::new();
        for batch in wanted.chunks(BATCH) {
            self.claim_batch(batch, &mut claimed).await?;
        }
        Ok(claimed)
    }

    async fn claim_batch(
        &self,
        wanted: &[Wanted<'_>],
        claimed: &mut ClaimedKeys,
    ) -> Result<(), Error> {
        let mut conn = self.0.store.conn().await?;
        let taken = device_keys::claim(&mut conn, wanted).await?;
        drop(conn);
        let mut devices: HashMap<UserNid, Vec<DeviceNid>> = HashMap::new();
        for key in taken {
            devices.entry(key.user).or_default().push(key.device);
            let Ok(user_id) = OwnedUserId::try_from(key.user_id) else {
                continue;
            };
            let of_user = claimed.entry(user_id).or_default();
            of_user.insert(key.device_id, key.key);
        }
        if devices.is_empty() {
            return Ok(());
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
        Ok(())
    }
}
