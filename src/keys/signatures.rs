//! `/keys/signatures/upload`: users sign their own devices, and other users.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedUserId, UserId};

use super::{Error, Keys, check::Signed};
use crate::{
    rooms::Actor,
    store::{
        Conn, Store, UserNid,
        cross_signing::{self, CrossSigningKey, KeySignature, Usage},
        device_keys::{self, DeviceKeys},
        device_lists,
    },
};

/// The most signed keys in a request.
const MAX_SIGNED: usize = 500;

/// What went wrong with which key of whom.
pub type SignatureFailures = BTreeMap<OwnedUserId, BTreeMap<String, Error>>;

/// What is published of the users concerned.
struct Published {
    signer: UserNid,
    signer_id: OwnedUserId,
    users: BTreeMap<OwnedUserId, UserNid>,
    devices: Vec<DeviceKeys>,
    cross_signing: Vec<CrossSigningKey>,
}

impl Keys {
    /// Adds signatures to keys. `signed` has for each user the signed keys by their ids.
    pub async fn add_signatures(
        &self,
        actor: &Actor,
        signed: BTreeMap<OwnedUserId, BTreeMap<String, String>>,
    ) -> Result<SignatureFailures, Error> {
        if signed.values().map(BTreeMap::len).sum::<usize>() > MAX_SIGNED {
            return Err(Error::TooLarge("too many signed keys at once"));
        }
        let user_ids = signed.keys().map(|user_id| &**user_id);
        let mut users = self.known_users(actor, user_ids).await?;
        users.insert(actor.user_id.clone(), actor.user);
        let mut tx = self.0.store.begin().await?;
        // The keys must stay what they are until their signatures are written.
        cross_signing::lock(&mut tx, actor.user).await?;
        let published = published(&mut tx, actor, users).await?;
        let checked = tokio::task::spawn_blocking(move || check_all(&published, &signed)).await;
        let (good, failures) = checked.map_err(|_| Error::Invalid("nothing could be checked"))?;
        if good.is_empty() {
            return Ok(failures);
        }
        cross_signing::upsert_signatures(&mut tx, &good).await?;
        let own = good.iter().any(|signature| signature.owner == actor.user);
        if own {
            device_lists::insert_work(&mut tx, actor.user).await?;
        }
        Store::commit(tx).await?;
        if own {
            self.0.store.announce_device_lists(&[actor.user]).await?;
        }
        let others: BTreeSet<_> = good.iter().map(|signature| signature.owner).collect();
        let others: Vec<_> = others
            .into_iter()
            .filter(|user| *user != actor.user)
            .collect();
        if !others.is_empty() {
            // Nobody but the signer sees these.
            self.0
                .store
                .announce_signatures(&others, actor.user)
                .await?;
        }
        Ok(failures)
    }
}

async fn published(
    conn: &mut Conn,
    actor: &Actor,
    users: BTreeMap<OwnedUserId, UserNid>,
) -> Result<Published, Error> {
    let numbers: Vec<_> = users.values().copied().collect();
    Ok(Published {
        signer: actor.user,
        signer_id: actor.user_id.clone(),
        devices: device_keys::list(conn, &[actor.user]).await?,
        cross_signing: cross_signing::list(conn, &numbers).await?,
        users,
    })
}

fn check_all(
    published: &Published,
    signed: &BTreeMap<OwnedUserId, BTreeMap<String, String>>,
) -> (Vec<KeySignature>, SignatureFailures) {
    let mut good = Vec::new();
    let mut failures = SignatureFailures::new();
    for (user_id, keys) in signed {
        for (target, text) in keys {
            match published.check(user_id, target, text) {
                Ok(signatures) => good.extend(signatures),
                Err(error) => {
                    let of_user = failures.entry(user_id.clone()).or_default();
                    of_user.insert(target.clone(), error);
                }
            }
        }
    }
    (good, failures)
}

impl Published {
    /// The signatures under one key that are right, and by keys that may sign it.
    fn check(&self, owner: &UserId, target: &str, text: &str) -> Result<Vec<KeySignature>, Error> {
        const NO_KEY: Error = Error::NotFound("there is no such key");
        let user = *self.users.get(owner).ok_or(NO_KEY)?;
        let signed = Signed::parse(text, &self.signer_id)?;
        let device = self.devices.iter().find(|device| {
            user == self.signer && device.user == user && device.device_id == target
        });
        let master = self.key(user, Usage::Master);
        let master = master.filter(|master| master.public_key == target);
        let stored = match (device, master) {
            (Some(device), _) => &device.json,
            (None, Some(master)) => &master.json,
            (None, None) => return Err(NO_KEY),
        };
        if !signed.says_the_same_as(stored) {
            return Err(Error::Signature("the signed key is not the one published"));
        }
        let mut good = Vec::new();
        for (key_id, signature) in signed.signatures() {
            let Some(name) = key_id.strip_prefix("ed25519:") else {
                continue;
            };
            // What the device says of itself was checked when it was published.
            if device.is_some() && name == target {
                continue;
            }
            let Some(public_key) = self.signing_key(user, device.is_some(), name) else {
                continue;
            };
            signed.verify(public_key, signature)?;
            good.push(KeySignature {
                owner: user,
                target: target.to_owned(),
                signer: self.signer,
                key_id: key_id.to_owned(),
                signature: signature.to_owned(),
            });
        }
        if good.is_empty() {
            return Err(Error::Signature("no key that may sign this has signed it"));
        }
        Ok(good)
    }

    /// The signer's key of this name, if it may sign such a key: the self-signing key signs own
    /// devices, devices sign the own master key, and the user-signing key other master keys.
    fn signing_key(&self, owner: UserNid, is_device: bool, name: &str) -> Option<&str> {
        let own = |usage| {
            let key = self.key(self.signer, usage)?;
            (key.public_key == name).then_some(key.public_key.as_str())
        };
        if owner != self.signer {
            return own(Usage::UserSigning);
        }
        if is_device {
            return own(Usage::SelfSigning);
        }
        let mut devices = self.devices.iter();
        let device = devices.find(|device| device.device_id == name)?;
        Some(device.ed25519.as_str())
    }

    fn key(&self, user: UserNid, usage: Usage) -> Option<&CrossSigningKey> {
        let mut keys = self.cross_signing.iter();
        keys.find(|key| key.user == user && key.usage == usage)
    }
}
