//! What keys must be like, and whether signatures are right. Pure.
//!
//! Client-server API v1.19, "Key Distribution" and "Cross-signing".

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, SigningKeyAlgorithm, UserId,
    canonical_json::try_from_json_map,
    encryption::{CrossSigningKey as RumaCrossSigningKey, DeviceKeys, KeyUsage},
    serde::{Base64, base64::Standard},
    signatures::{to_canonical_json_string_for_signing, verify_canonical_json_bytes},
};

use super::Error;
use crate::store::{cross_signing::Usage, device_keys::SessionKey};

/// The largest key with its signatures, in bytes.
const MAX_KEY_BYTES: usize = 64 << 10;
/// The longest id of a key, in bytes.
const MAX_ID_BYTES: usize = 255;
/// The longest name of an algorithm, in bytes.
const MAX_ALGORITHM_BYTES: usize = 64;
/// The most keys, and the most algorithms, of a device.
const MAX_ENTRIES: usize = 50;
/// The length of a public key.
const KEY_LENGTH: usize = 32;
/// One-time keys that carry a signature.
const SIGNED_CURVE25519: &str = "signed_curve25519";

/// Whose keys are checked.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The user.
    pub user_id: &'a UserId,
    /// The device.
    pub device_id: &'a str,
}

/// Keys of a device that may be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedDevice {
    /// The public signing key; empty if there is none.
    pub ed25519: String,
    /// The keys with the device's own signature.
    pub json: String,
    /// The signature by the user's self-signing key, if it brings a right one.
    pub cross_signature: Option<String>,
}

/// Checks what a device says of itself. A signature of its own must be right where there is one;
/// `self_signing` is the user's key, whose signature is kept apart.
///
/// A device without a signature is taken: nobody will encrypt for it.
///
/// # Errors
/// [`Error::BadJson`], [`Error::Invalid`], [`Error::TooLarge`] and [`Error::Signature`].
pub fn device_keys(
    text: &str,
    owner: Owner<'_>,
    self_signing: Option<&str>,
) -> Result<CheckedDevice, Error> {
    let mut object = parse(text)?;
    let keys: DeviceKeys = serde_json::from_str(text)
        .map_err(|_| Error::BadJson("the device keys lack something, or have a wrong type"))?;
    if keys.user_id != owner.user_id || keys.device_id != owner.device_id {
        return Err(Error::Invalid("these are the keys of another device"));
    }
    if keys.keys.len() > MAX_ENTRIES || keys.algorithms.len() > MAX_ENTRIES {
        return Err(Error::TooLarge("too many keys or algorithms"));
    }
    let mut ed25519 = String::new();
    for (key_id, key) in &keys.keys {
        let (algorithm, name) = key_id.as_str().split_once(':').unwrap_or_default();
        check_algorithm(algorithm)?;
        if name != owner.device_id {
            return Err(Error::Invalid("a key has the name of another device"));
        }
        if matches!(algorithm, "ed25519" | "curve25519") {
            decode_key(key)?;
        }
        if algorithm == "ed25519" {
            ed25519.clone_from(key);
        }
    }
    let signing = signing_text(&object)?;
    let mut own = CanonicalJsonObject::new();
    let mut cross_signature = None;
    for (key_id, signature) in signatures_of(&object, owner.user_id) {
        let Some(name) = key_id.strip_prefix("ed25519:") else {
            continue;
        };
        if name == owner.device_id {
            verify(&ed25519, signature, &signing)?;
            own.insert(key_id.clone(), signature.to_owned().into());
        } else if Some(name) == self_signing {
            verify(name, signature, &signing)?;
            cross_signature = Some(signature.to_owned());
        }
    }
    object.remove("unsigned");
    set_signatures(&mut object, owner.user_id, own);
    Ok(CheckedDevice {
        ed25519,
        json: write(object)?,
        cross_signature,
    })
}

/// Checks a one-time key or a fallback key. `ed25519` is the device's signing key.
///
/// # Errors
/// [`Error::BadJson`], [`Error::Invalid`], [`Error::TooLarge`] and [`Error::Signature`].
pub fn session_key(
    id: &str,
    text: &str,
    owner: Owner<'_>,
    ed25519: &str,
) -> Result<SessionKey, Error> {
    let Some((algorithm, key_id)) = id.split_once(':') else {
        return Err(Error::Invalid("the id of a one-time key has two parts"));
    };
    check_algorithm(algorithm)?;
    if key_id.is_empty() || key_id.len() > MAX_ID_BYTES || key_id.chars().any(char::is_control) {
        return Err(Error::Invalid("the id of a one-time key cannot be used"));
    }
    let json = if text.trim_start().starts_with('"') {
        if algorithm == SIGNED_CURVE25519 {
            return Err(Error::BadJson("a signed key is an object"));
        }
        let key: String =
            serde_json::from_str(text).map_err(|_| Error::BadJson("a one-time key is no JSON"))?;
        if key.len() > MAX_KEY_BYTES || key.contains('\0') {
            return Err(Error::TooLarge("a one-time key is too large"));
        }
        write_value(&CanonicalJsonValue::String(key))?
    } else {
        signed_key(algorithm, text, owner, ed25519)?
    };
    Ok(SessionKey {
        algorithm: algorithm.to_owned(),
        key_id: key_id.to_owned(),
        json,
    })
}

fn signed_key(
    algorithm: &str,
    text: &str,
    owner: Owner<'_>,
    ed25519: &str,
) -> Result<String, Error> {
    let mut object = parse(text)?;
    if algorithm == SIGNED_CURVE25519 {
        let Some(CanonicalJsonValue::String(key)) = object.get("key") else {
            return Err(Error::BadJson("a signed key has a `key`"));
        };
        decode_key(key)?;
        if ed25519.is_empty() {
            return Err(Error::Signature(
                "the device has published no key that could have signed this",
            ));
        }
    }
    let signing = signing_text(&object)?;
    let own_id = format!("ed25519:{}", owner.device_id);
    let signature = signatures_of(&object, owner.user_id)
        .find(|(key_id, _)| **key_id == own_id)
        .map(|(_, signature)| signature.to_owned());
    let mut own = CanonicalJsonObject::new();
    if let Some(signature) = signature {
        verify(ed25519, &signature, &signing)?;
        own.insert(own_id, signature.into());
    } else if algorithm == SIGNED_CURVE25519 {
        return Err(Error::Signature("a one-time key is not signed"));
    }
    if object.contains_key("signatures") {
        set_signatures(&mut object, owner.user_id, own);
    }
    write(object)
}

/// A cross-signing key before its signatures are looked at.
#[derive(Clone, Debug)]
pub struct ParsedKey {
    /// The public key, in unpadded base64.
    pub public_key: String,
    /// What it is for.
    pub usage: Usage,
    object: CanonicalJsonObject,
    signing: String,
}

/// Reads a cross-signing key of a user.
///
/// # Errors
/// [`Error::BadJson`], [`Error::Invalid`] and [`Error::TooLarge`].
pub fn cross_signing_key(text: &str, user_id: &UserId, usage: Usage) -> Result<ParsedKey, Error> {
    let object = parse(text)?;
    let key: RumaCrossSigningKey = serde_json::from_str(text)
        .map_err(|_| Error::BadJson("a cross-signing key lacks something, or has a wrong type"))?;
    if key.user_id != user_id {
        return Err(Error::Invalid("this is the key of another user"));
    }
    let wanted = match usage {
        Usage::Master => KeyUsage::Master,
        Usage::SelfSigning => KeyUsage::SelfSigning,
        Usage::UserSigning => KeyUsage::UserSigning,
    };
    if !key.usage.contains(&wanted) {
        return Err(Error::Invalid("the key is for something else"));
    }
    let mut keys = key.keys.into_iter();
    let (Some((key_id, public_key)), None) = (keys.next(), keys.next()) else {
        return Err(Error::Invalid("a cross-signing key has exactly one key"));
    };
    if key_id.as_str().strip_prefix("ed25519:") != Some(public_key.as_str()) {
        return Err(Error::Invalid(
            "the id of a cross-signing key is its public key",
        ));
    }
    decode_key(&public_key)?;
    let signing = signing_text(&object)?;
    Ok(ParsedKey {
        public_key,
        usage,
        object,
        signing,
    })
}

impl ParsedKey {
    /// The key with those of its signatures that were made by these keys of its owner, each an id
    /// and a public key. Others are left out; a wrong one of these is refused.
    ///
    /// # Errors
    /// [`Error::Signature`], also where `required` has not signed.
    pub fn signed_by<'a>(
        mut self,
        user_id: &UserId,
        signers: impl Iterator<Item = (&'a str, &'a str)>,
        required: Option<&str>,
    ) -> Result<String, Error> {
        let mut own = CanonicalJsonObject::new();
        for (name, public_key) in signers {
            let key_id = format!("ed25519:{name}");
            let mut found = signatures_of(&self.object, user_id);
            let signature = found.find(|(id, _)| **id == key_id);
            if let Some((_, signature)) = signature {
                verify(public_key, signature, &self.signing)?;
                own.insert(key_id, signature.to_owned().into());
            }
        }
        if required.is_some_and(|required| !own.contains_key(&format!("ed25519:{required}"))) {
            return Err(Error::Signature("the master key has not signed this key"));
        }
        self.object.remove("unsigned");
        set_signatures(&mut self.object, user_id, own);
        write(self.object)
    }
}

/// What a signed object says beside its signatures, and the signatures of one user.
#[derive(Clone, Debug)]
pub struct Signed {
    signing: String,
    signatures: Vec<(String, String)>,
}

impl Signed {
    /// Reads an object.
    ///
    /// # Errors
    /// [`Error::BadJson`] and [`Error::TooLarge`].
    pub fn parse(text: &str, signer: &UserId) -> Result<Self, Error> {
        let object = parse(text)?;
        Ok(Self {
            signing: signing_text(&object)?,
            signatures: signatures_of(&object, signer)
                .map(|(key_id, signature)| (key_id.clone(), signature.to_owned()))
                .collect(),
        })
    }

    /// Whether the object is another one, but for its signatures.
    pub fn says_the_same_as(&self, stored: &str) -> bool {
        parse(stored)
            .and_then(|object| signing_text(&object))
            .is_ok_and(|signing| signing == self.signing)
    }

    /// The ids of the keys that are said to have signed, with the signatures.
    pub fn signatures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.signatures
            .iter()
            .map(|(key_id, signature)| (key_id.as_str(), signature.as_str()))
    }

    /// Checks one of the signatures.
    ///
    /// # Errors
    /// [`Error::Signature`].
    pub fn verify(&self, public_key: &str, signature: &str) -> Result<(), Error> {
        verify(public_key, signature, &self.signing)
    }
}

/// An object in canonical JSON.
fn parse(text: &str) -> Result<CanonicalJsonObject, Error> {
    if text.len() > MAX_KEY_BYTES {
        return Err(Error::TooLarge("a key is too large"));
    }
    let map: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| Error::BadJson("a key is an object"))?;
    try_from_json_map(map).map_err(|_| Error::BadJson("a key holds what cannot be signed"))
}

fn check_algorithm(name: &str) -> Result<(), Error> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty() || name.len() > MAX_ALGORITHM_BYTES || !name.bytes().all(is_plain) {
        return Err(Error::Invalid("the name of an algorithm cannot be used"));
    }
    Ok(())
}

fn decode_key(key: &str) -> Result<Vec<u8>, Error> {
    let bytes = Base64::<Standard>::parse(key).map(Base64::into_inner);
    let bytes = bytes.ok().filter(|bytes| bytes.len() == KEY_LENGTH);
    bytes.ok_or(Error::Invalid(
        "a public key is 32 bytes in unpadded base64",
    ))
}

fn verify(public_key: &str, signature: &str, signing: &str) -> Result<(), Error> {
    const WRONG: Error = Error::Signature("a signature is not right");
    let key = decode_key(public_key).map_err(|_| WRONG)?;
    let signature = Base64::<Standard>::parse(signature).map_err(|_| WRONG)?;
    verify_canonical_json_bytes(
        &SigningKeyAlgorithm::Ed25519,
        &key,
        signature.as_bytes(),
        signing.as_bytes(),
    )
    .map_err(|_| WRONG)
}

fn signing_text(object: &CanonicalJsonObject) -> Result<String, Error> {
    to_canonical_json_string_for_signing(object)
        .map_err(|_| Error::BadJson("a key cannot be signed"))
}

/// The signatures of a user, by the ids of the keys.
fn signatures_of<'a>(
    object: &'a CanonicalJsonObject,
    user_id: &UserId,
) -> impl Iterator<Item = (&'a String, &'a str)> + use<'a> {
    let signatures = object.get("signatures");
    let of_user = signatures.and_then(|signatures| match signatures {
        CanonicalJsonValue::Object(by_user) => by_user.get(user_id.as_str()),
        _ => None,
    });
    let of_user = of_user.and_then(|signatures| match signatures {
        CanonicalJsonValue::Object(by_key) => Some(by_key),
        _ => None,
    });
    of_user.into_iter().flatten().filter_map(|(key_id, value)| {
        let CanonicalJsonValue::String(signature) = value else {
            return None;
        };
        Some((key_id, signature.as_str()))
    })
}

fn set_signatures(object: &mut CanonicalJsonObject, user_id: &UserId, own: CanonicalJsonObject) {
    let mut signatures = CanonicalJsonObject::new();
    if !own.is_empty() {
        signatures.insert(user_id.to_string(), CanonicalJsonValue::Object(own));
    }
    object.insert(
        "signatures".to_owned(),
        CanonicalJsonValue::Object(signatures),
    );
}

fn write(object: CanonicalJsonObject) -> Result<String, Error> {
    write_value(&CanonicalJsonValue::Object(object))
}

fn write_value(value: &CanonicalJsonValue) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::BadJson("a key cannot be written"))
}
