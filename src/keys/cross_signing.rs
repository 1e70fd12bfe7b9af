//! `/keys/device_signing/upload`: a user publishes the keys that stand for them.
//!
//! Keys that replace others, or join them, need the user's password: whoever asks is told by
//! [`Prepared::needs_proof`], and only what was looked at then is written.

use std::collections::BTreeMap;

use super::{
    Error, Keys,
    check::{self, ParsedKey},
};
use crate::{
    rooms::Actor,
    store::{
        Conn, Store,
        cross_signing::{self, CrossSigningKey, Usage},
        device_keys, device_lists, devices,
    },
};

/// The keys that a request brings, as JSON.
#[derive(Clone, Debug, Default)]
pub struct CrossSigningUpload {
    /// The master key.
    pub master: Option<String>,
    /// The self-signing key.
    pub self_signing: Option<String>,
    /// The user-signing key.
    pub user_signing: Option<String>,
}

/// Keys that may be published.
#[derive(Clone, Debug)]
pub struct Prepared {
    keys: Vec<CrossSigningKey>,
    /// What was published when this was prepared.
    seen: BTreeMap<Usage, String>,
}

impl Prepared {
    /// Whether the user has to prove who they are: there is a master key already, and the request
    /// brings anything new.
    pub fn needs_proof(&self) -> bool {
        self.seen.contains_key(&Usage::Master) && self.is_new()
    }

    /// The public keys, which a proof is bound to.
    pub fn public_keys(&self) -> Vec<&str> {
        let keys = self.keys.iter();
        keys.map(|key| key.public_key.as_str()).collect()
    }

    fn is_new(&self) -> bool {
        let is_known = |key: &CrossSigningKey| self.seen.get(&key.usage) == Some(&key.public_key);
        !self.keys.iter().all(is_known)
    }
}

impl Keys {
    /// Checks keys, without writing anything.
    ///
    /// # Errors
    /// What [`check`] finds, [`Error::Missing`] without any master key, and [`Error::Forbidden`]
    /// for a key that is the id of a device.
    pub async fn prepare_cross_signing(
        &self,
        actor: &Actor,
        upload: &CrossSigningUpload,
    ) -> Result<Prepared, Error> {
        let parse = |text: &Option<String>, usage| {
            let text = text.as_deref();
            text.map(|text| check::cross_signing_key(text, &actor.user_id, usage))
                .transpose()
        };
        let master = parse(&upload.master, Usage::Master)?;
        let self_signing = parse(&upload.self_signing, Usage::SelfSigning)?;
        let user_signing = parse(&upload.user_signing, Usage::UserSigning)?;
        let mut conn = self.0.store.conn().await?;
        let seen = published(&mut conn, actor).await?;
        let devices = devices::list(&mut conn, actor.user).await?;
        let device_keys = device_keys::list(&mut conn, &[actor.user]).await?;
        drop(conn);
        let new = [&master, &self_signing, &user_signing];
        let new: Vec<_> = new.into_iter().flatten().collect();
        let is_device = |key: &&&ParsedKey| {
            let mut devices = devices.iter();
            devices.any(|device| device.device_id == key.public_key.as_str())
        };
        if new.iter().any(|key| is_device(&key)) {
            return Err(Error::Forbidden("a device has this key as its id"));
        }
        let master_key = master.as_ref().map(|key| &key.public_key);
        let master_key = master_key.or(seen.get(&Usage::Master)).cloned();
        let Some(master_key) = master_key else {
            return Err(Error::Missing("there is no master key"));
        };
        let mut keys = Vec::new();
        for key in [self_signing, user_signing].into_iter().flatten() {
            let signer = (master_key.as_str(), master_key.as_str());
            let (usage, public_key) = (key.usage, key.public_key.clone());
            let json = key.signed_by(
                &actor.user_id,
                std::iter::once(signer),
                Some(master_key.as_str()),
            )?;
            keys.push(CrossSigningKey {
                user: actor.user,
                usage,
                public_key,
                json,
            });
        }
        if let Some(key) = master {
            // Devices may sign it, so that those who trust a device trust the user.
            let signers = device_keys
                .iter()
                .map(|device| (device.device_id.as_str(), device.ed25519.as_str()));
            let public_key = key.public_key.clone();
            let json = key.signed_by(&actor.user_id, signers, None)?;
            keys.push(CrossSigningKey {
                user: actor.user,
                usage: Usage::Master,
                public_key,
                json,
            });
        }
        Ok(Prepared { keys, seen })
    }

    /// Publishes keys.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if other keys were published since these were prepared.
    pub async fn publish_cross_signing(
        &self,
        actor: &Actor,
        prepared: &Prepared,
    ) -> Result<(), Error> {
        if prepared.is_new() {
            let mut tx = self.0.store.begin().await?;
            cross_signing::lock(&mut tx, actor.user).await?;
            if published(&mut tx, actor).await? != prepared.seen {
                return Err(Error::Forbidden("the keys were changed at the same time"));
            }
            // What is the same already may have got signatures since.
            let is_new =
                |key: &&CrossSigningKey| prepared.seen.get(&key.usage) != Some(&key.public_key);
            let keys: Vec<_> = prepared.keys.iter().filter(is_new).cloned().collect();
            cross_signing::upsert(&mut tx, actor.user, &keys).await?;
            device_lists::insert_work(&mut tx, actor.user).await?;
            Store::commit(tx).await?;
        }
        // Also for a request that comes again because its answer was lost.
        self.0.store.announce_device_lists(&[actor.user]).await?;
        Ok(())
    }
}

async fn published(conn: &mut Conn, actor: &Actor) -> Result<BTreeMap<Usage, String>, Error> {
    let keys = cross_signing::list(conn, &[actor.user]).await?;
    Ok(keys
        .into_iter()
        .map(|key| (key.usage, key.public_key))
        .collect())
}
