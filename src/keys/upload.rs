//! `/keys/upload`: a device publishes its keys.

use std::sync::Arc;

use super::{
    Error, KeyCounts, Keys,
    check::{self, Owner},
};
use crate::{
    rooms::Actor,
    store::{
        Conn, DeviceNid, Store,
        cross_signing::{self, KeySignature, Usage},
        device_keys::{self, SessionKey},
        device_lists,
        journal::Write,
    },
};

/// The most keys of one kind in a request.
const MAX_KEYS: usize = 500;
/// The most one-time keys that a device may have waiting.
const MAX_WAITING: i64 = 1_000;

/// What a device publishes. Keys are JSON as it was sent.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    /// Its identity keys.
    pub device_keys: Option<String>,
    /// One-time keys, by `<algorithm>:<key id>`.
    pub one_time_keys: Vec<(String, String)>,
    /// Fallback keys.
    pub fallback_keys: Vec<(String, String)>,
}

impl Keys {
    /// Publishes keys of the actor's device. Gives what one-time keys it has then.
    ///
    /// # Errors
    /// What [`check`] finds, and [`Error::Invalid`] for a one-time key whose id stands for another
    /// key already.
    pub async fn upload(
        &self,
        actor: &Actor,
        device_id: &str,
        upload: Upload,
    ) -> Result<KeyCounts, Error> {
        let Some(device) = actor.device else {
            return Err(Error::Forbidden("only devices have keys"));
        };
        let has_device_keys = upload.device_keys.is_some();
        let has_keys = !upload.one_time_keys.is_empty() || !upload.fallback_keys.is_empty();
        if !has_device_keys && !has_keys {
            return Ok((*self.key_counts(actor.user, device).await?).clone());
        }
        let mut tx = self.0.store.begin().await?;
        let counts = self
            .write_upload(&mut tx, actor, (device, device_id), upload)
            .await?;
        Store::commit(tx).await?;
        if has_device_keys {
            self.0.store.announce_device_lists(&[actor.user]).await?;
        }
        if has_keys {
            let write = Write {
                one_time_keys: vec![(actor.user, Arc::from([device]))],
                ..Write::default()
            };
            self.0.store.journal().write(write).await?;
        }
        Ok(counts)
    }

    /// Checks and writes what a device publishes.
    pub(super) async fn write_upload(
        &self,
        conn: &mut Conn,
        actor: &Actor,
        (device, device_id): (DeviceNid, &str),
        upload: Upload,
    ) -> Result<KeyCounts, Error> {
        if upload.one_time_keys.len() > MAX_KEYS || upload.fallback_keys.len() > MAX_KEYS {
            return Err(Error::TooLarge("too many keys at once"));
        }
        let locked = device_keys::lock(conn, device).await?;
        let (published, json) = locked.ok_or(Error::Forbidden("the device is gone"))?;
        let self_signing = if upload.device_keys.is_some() {
            self_signing_key(conn, actor, device_id).await?
        } else {
            None
        };
        let checking = Checking {
            user_id: actor.user_id.clone(),
            device_id: device_id.to_owned(),
            self_signing,
            published,
            upload,
        };
        // Checking a signature takes longer than most requests.
        let checked = tokio::task::spawn_blocking(move || checking.run())
            .await
            .map_err(|_| Error::Invalid("the keys could not be checked"))??;
        if let Some(found) = &checked.device
            && found.json != json
        {
            device_keys::upsert(conn, device, actor.user, &found.ed25519, &found.json).await?;
            device_lists::insert_work(conn, actor.user).await?;
        }
        if let Some((key_id, signature)) = checked.cross_signature {
            let signature = KeySignature {
                owner: actor.user,
                target: device_id.to_owned(),
                signer: actor.user,
                key_id,
                signature,
            };
            cross_signing::upsert_signatures(conn, &[signature]).await?;
        }
        if !checked.one_time_keys.is_empty() {
            let differing =
                device_keys::insert_one_time(conn, device, &checked.one_time_keys).await?;
            if differing > 0 {
                // Clients know this sentence by its beginning and its end.
                return Err(Error::Invalid("One time key with this id already exists"));
            }
        }
        if !checked.fallback_keys.is_empty() {
            device_keys::upsert_fallback(conn, device, &checked.fallback_keys).await?;
        }
        let counts = KeyCounts::from(device_keys::count(conn, device).await?);
        if counts.total() > MAX_WAITING {
            return Err(Error::TooLarge("the device has too many one-time keys"));
        }
        Ok(counts)
    }
}

/// The user's self-signing key.
async fn self_signing_key(
    conn: &mut Conn,
    actor: &Actor,
    device_id: &str,
) -> Result<Option<String>, Error> {
    let keys = cross_signing::list(conn, &[actor.user]).await?;
    if keys.iter().any(|key| key.public_key == device_id) {
        return Err(Error::Forbidden("a cross-signing key has the device's id"));
    }
    let mut keys = keys.into_iter();
    let found = keys.find(|key| key.usage == Usage::SelfSigning);
    Ok(found.map(|key| key.public_key))
}

struct Checking {
    user_id: ruma::OwnedUserId,
    device_id: String,
    self_signing: Option<String>,
    /// The signing key that the device has published before.
    published: String,
    upload: Upload,
}

struct Checked {
    device: Option<check::CheckedDevice>,
    /// The id of the self-signing key, and its signature.
    cross_signature: Option<(String, String)>,
    one_time_keys: Vec<SessionKey>,
    fallback_keys: Vec<SessionKey>,
}

impl Checking {
    fn run(self) -> Result<Checked, Error> {
        let owner = Owner {
            user_id: &self.user_id,
            device_id: &self.device_id,
        };
        let self_signing = self.self_signing.as_deref();
        let device = self.upload.device_keys.as_deref();
        let device = device.map(|text| check::device_keys(text, owner, self_signing));
        let device = device.transpose()?;
        let ed25519 = device
            .as_ref()
            .map_or(&self.published, |device| &device.ed25519);
        let check_all = |keys: &[(String, String)]| {
            let keys = keys.iter();
            keys.map(|(id, text)| check::session_key(id, text, owner, ed25519))
                .collect::<Result<Vec<_>, _>>()
        };
        let one_time_keys = check_all(&self.upload.one_time_keys)?;
        let mut fallback_keys = check_all(&self.upload.fallback_keys)?;
        // One for each algorithm.
        fallback_keys.sort_by(|a, b| a.algorithm.cmp(&b.algorithm));
        fallback_keys.dedup_by(|a, b| a.algorithm == b.algorithm);
        let signature = device
            .as_ref()
            .and_then(|device| device.cross_signature.clone());
        Ok(Checked {
            cross_signature: signature
                .zip(self_signing)
                .map(|(signature, key)| (format!("ed25519:{key}"), signature)),
            device,
            one_time_keys,
            fallback_keys,
        })
    }
}
