//! End-to-end encryption: the keys of devices and users, messages to devices, device lists, key
//! backups and dehydrated devices. The server keeps public keys and what clients have encrypted.
//!
//! A device uploads keys, which [`check`] looks at; others [`query`](Keys::query) them and
//! [`claim`](Keys::claim) one-time keys. Whoever shares a room hears of changes ([`lists`]), and
//! messages to devices wait until their device confirms them ([`news`]).
//!
//! Client-server API v1.19, "End-to-End Encryption" and "Send-to-Device messaging".

mod backup;
pub mod check;
mod claim;
mod cross_signing;
mod dehydrated;
mod error;
mod lists;
mod news;
mod query;
mod send;
mod signatures;
#[cfg(test)]
mod tests;
mod upload;
mod work;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use moka::sync::Cache;
use ruma::{OwnedServerName, OwnedUserId, UserId};

pub use self::{
    backup::{BackupKeys, BackupState, NewBackup},
    claim::ClaimedKeys,
    cross_signing::{CrossSigningUpload, Prepared},
    dehydrated::{Dehydrated, NewDehydrated},
    error::Error,
    lists::DeviceLists,
    news::{KeyCounts, ToDevice},
    query::QueriedKeys,
    send::Messages,
    signatures::SignatureFailures,
    upload::Upload,
};
use self::{claim::Claims, news::DeviceMemory};
use crate::{
    clock::SharedClock,
    policy::Policy,
    rooms::Actor,
    store::{DeviceNid, Store, UserNid, memberships, users},
};

/// How many devices are remembered.
const DEVICES: u64 = 200_000;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    server_name: OwnedServerName,
    store: Store,
    policy: Arc<ArcSwap<Policy>>,
    clock: SharedClock,
    /// What is known of devices that sync.
    devices: Cache<DeviceNid, Arc<DeviceMemory>>,
    claims: Claims,
}

impl Keys {
    /// The service.
    pub fn new(
        server_name: OwnedServerName,
        store: Store,
        policy: Arc<ArcSwap<Policy>>,
        clock: SharedClock,
    ) -> Self {
        Self(Arc::new(Inner {
            server_name,
            store,
            policy,
            clock,
            devices: Cache::new(DEVICES),
            claims: Claims::default(),
        }))
    }

    /// Those of some users whose devices somebody may know of: their own, those of people who share
    /// a room with them, and everybody's where all profiles are shown. Users of other servers and
    /// unknown ones are left out.
    async fn known_users(
        &self,
        actor: &Actor,
        user_ids: impl Iterator<Item = &UserId>,
    ) -> Result<BTreeMap<OwnedUserId, UserNid>, Error> {
        let local = user_ids.filter(|user_id| self.is_local(user_id));
        let ids: Vec<_> = local.map(UserId::as_str).collect();
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        if let [only] = ids[..]
            && only == actor.user_id.as_str()
        {
            return Ok(BTreeMap::from([(actor.user_id.clone(), actor.user)]));
        }
        let mut conn = self.0.store.conn().await?;
        let mut found = users::find_all(&mut conn, &ids).await?;
        if !self.0.policy.load().shows_all_profiles() {
            let numbers: Vec<_> = found.iter().map(|(_, user)| *user).collect();
            let known = memberships::list_known(&mut conn, actor.user, &numbers).await?;
            let known: HashSet<_> = known.into_iter().collect();
            found.retain(|(_, user)| *user == actor.user || known.contains(user));
        }
        Ok(found.into_iter().collect())
    }

    /// Whether a user is one of this server.
    pub fn is_local(&self, user_id: &UserId) -> bool {
        // The database keeps no NUL.
        user_id.server_name() == self.0.server_name && !user_id.as_str().contains('\0')
    }
}
