//! `/keys/query`: the keys of users and their devices, with the signatures that the reader may see.
//!
//! Client-server API v1.19, "Cross-signing", "Key and signature security".

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use super::{Error, Keys};
use crate::{
    rooms::Actor,
    store::{
        StoreError, UserNid,
        cross_signing::{self, KeySignature, Usage},
        device_keys,
    },
};

/// The most users in a request.
const MAX_USERS: usize = 10_000;

/// Keys by user.
#[derive(Debug, Default)]
pub struct QueriedKeys {
    /// The keys of devices, by device.
    pub device_keys: BTreeMap<OwnedUserId, BTreeMap<String, Box<RawValue>>>,
    /// Master keys.
    pub master_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    /// Self-signing keys.
    pub self_signing_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    /// User-signing keys: the reader's own alone.
    pub user_signing_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
}

/// Signatures by whose key they are under, and which.
type Signatures = BTreeMap<(UserNid, String), Vec<KeySignature>>;

impl Keys {
    /// The keys of users: those of all their devices, or of the ones named.
    pub async fn query(
        &self,
        actor: &Actor,
        wanted: &BTreeMap<OwnedUserId, Vec<String>>,
    ) -> Result<QueriedKeys, Error> {
        if wanted.len() > MAX_USERS {
            return Err(Error::TooLarge("too many users at once"));
        }
        let user_ids = wanted.keys().map(|user_id| &**user_id);
        let known = self.known_users(actor, user_ids).await?;
        let numbers: Vec<_> = known.values().copied().collect();
        let ids: BTreeMap<_, _> = known
            .iter()
            .map(|(user_id, user)| (*user, user_id))
            .collect();
        let mut conn = self.0.store.conn().await?;
        let devices = device_keys::list(&mut conn, &numbers).await?;
        let cross_signing = cross_signing::list(&mut conn, &numbers).await?;
        let mut signatures = Signatures::new();
        // Signatures come with cross-signing keys only.
        if !cross_signing.is_empty() {
            let found = cross_signing::list_signatures(&mut conn, &numbers, actor.user).await?;
            for signature in found {
                let key = (signature.owner, signature.target.clone());
                signatures.entry(key).or_default().push(signature);
            }
        }
        drop(conn);
        let mut keys = QueriedKeys::default();
        for user_id in known.keys() {
            keys.device_keys.entry(user_id.clone()).or_default();
        }
        for device in devices {
            let Some(user_id) = ids.get(&device.user) else {
                continue;
            };
            let named = wanted.get(*user_id).map_or(&[][..], Vec::as_slice);
            let device_id = device.device_id.to_string();
            if !named.is_empty() && !named.contains(&device_id) {
                continue;
            }
            let under = signatures.get(&(device.user, device_id.clone()));
            let signers = Signers::new(user_id, actor);
            let name = device.display_name.as_deref();
            let json = complete(&device.json, under, signers, name)?;
            let of_user = keys.device_keys.entry((*user_id).clone()).or_default();
            of_user.insert(device_id, json);
        }
        for key in cross_signing {
            let Some(user_id) = ids.get(&key.user) else {
                continue;
            };
            let under = signatures.get(&(key.user, key.public_key.clone()));
            let json = complete(&key.json, under, Signers::new(user_id, actor), None)?;
            let keys = match key.usage {
                Usage::Master => &mut keys.master_keys,
                Usage::SelfSigning => &mut keys.self_signing_keys,
                Usage::UserSigning if key.user == actor.user => &mut keys.user_signing_keys,
                Usage::UserSigning => continue,
            };
            keys.insert((*user_id).clone(), json);
        }
        Ok(keys)
    }
}

/// The two whose signatures may be under a key that is shown.
#[derive(Clone, Copy)]
struct Signers<'a> {
    owner: &'a UserId,
    reader: &'a UserId,
    reader_nid: UserNid,
}

impl<'a> Signers<'a> {
    fn new(owner: &'a UserId, actor: &'a Actor) -> Self {
        Self {
            owner,
            reader: &actor.user_id,
            reader_nid: actor.user,
        }
    }
}

/// A key with the signatures that were uploaded apart, and the device's name.
fn complete(
    json: &str,
    signatures: Option<&Vec<KeySignature>>,
    signers: Signers<'_>,
    display_name: Option<&str>,
) -> Result<Box<RawValue>, StoreError> {
    let broken = |_| StoreError::inconsistent("device_keys", "json", signers.owner);
    if signatures.is_none() && display_name.is_none() {
        return RawValue::from_string(json.to_owned()).map_err(broken);
    }
    let mut key: Map<String, Value> = serde_json::from_str(json).map_err(broken)?;
    for signature in signatures.into_iter().flatten() {
        let signer = if signature.signer == signers.reader_nid {
            signers.reader
        } else {
            signers.owner
        };
        let all = object(&mut key, "signatures");
        let of_signer = object(all, signer.as_str());
        let text = Value::String(signature.signature.clone());
        of_signer.insert(signature.key_id.clone(), text);
    }
    if let Some(name) = display_name {
        let unsigned = object(&mut key, "unsigned");
        unsigned.insert("device_display_name".to_owned(), name.into());
    }
    to_raw_value(&key).map_err(broken)
}

/// The object under a key, which is made if there is none.
fn object<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = parent
        .entry(key)
        .or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("it was just made one"),
    }
}
