//! Keys as a client would make them: generated, signed and laid out.

use ruma::{
    CanonicalJsonObject,
    serde::{Base64, base64::Standard},
    signatures::{Ed25519KeyPair, KeyPair as _, to_canonical_json_string_for_signing},
};
use serde_json::{Value, json};

use super::client::{Answer, Client};

/// A key that signs.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    /// The public half, in unpadded base64.
    pub(crate) public: String,
}

impl Signer {
    /// A new key.
    pub(crate) fn new() -> Self {
        let document = Ed25519KeyPair::generate();
        let pair = Ed25519KeyPair::from_der(&document, "1".to_owned()).unwrap();
        let public = Base64::<Standard>::new(pair.public_key().to_vec()).encode();
        Self { pair, public }
    }

    /// Adds a signature of a user, by the key of this name.
    pub(crate) fn sign(&self, object: &mut Value, user_id: &str, name: &str) {
        let text = object.to_string();
        let canonical: CanonicalJsonObject = serde_json::from_str(&text).unwrap();
        let text = to_canonical_json_string_for_signing(&canonical).unwrap();
        let signature = self.pair.sign(text.as_bytes()).base64();
        object["signatures"][user_id][format!("ed25519:{name}")] = signature.into();
    }
}

/// A device with its keys.
#[expect(clippy::struct_field_names, reason = "as the specification calls it")]
pub(crate) struct Device {
    pub(crate) signer: Signer,
    user_id: String,
    device_id: String,
}

impl Device {
    /// Keys for the device of a client, which are not uploaded yet.
    pub(crate) fn of(client: &Client) -> Self {
        Self::named(client, &client.device_id)
    }

    /// Keys for another device of the client's user.
    pub(crate) fn named(client: &Client, device_id: &str) -> Self {
        Self {
            signer: Signer::new(),
            user_id: client.user_id.clone(),
            device_id: device_id.to_owned(),
        }
    }

    /// The identity keys, signed.
    pub(crate) fn keys(&self) -> Value {
        let mut keys = json!({
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {
                (format!("ed25519:{}", self.device_id)): self.signer.public,
                (format!("curve25519:{}", self.device_id)): public_key(1),
            },
        });
        self.signer.sign(&mut keys, &self.user_id, &self.device_id);
        keys
    }

    /// A one-time key, signed.
    pub(crate) fn one_time_key(&self, seed: u8) -> Value {
        let mut key = json!({ "key": public_key(seed) });
        self.signer.sign(&mut key, &self.user_id, &self.device_id);
        key
    }

    /// A fallback key, signed.
    pub(crate) fn fallback_key(&self, seed: u8) -> Value {
        let mut key = json!({ "key": public_key(seed), "fallback": true });
        self.signer.sign(&mut key, &self.user_id, &self.device_id);
        key
    }

    /// One-time keys with these names.
    pub(crate) fn one_time_keys(&self, names: &[&str]) -> Value {
        let mut keys = json!({});
        for (at, name) in names.iter().enumerate() {
            let seed = u8::try_from(at).unwrap() + 10;
            keys[format!("signed_curve25519:{name}")] = self.one_time_key(seed);
        }
        keys
    }

    /// Uploads the identity keys.
    pub(crate) async fn upload(&self, client: &Client) {
        let body = json!({ "device_keys": self.keys() });
        client.post("keys/upload", &body).await.expect_ok();
    }
}

/// The keys that stand for a user.
pub(crate) struct Identity {
    pub(crate) master: Signer,
    pub(crate) self_signing: Signer,
    pub(crate) user_signing: Signer,
    user_id: String,
}

impl Identity {
    pub(crate) fn of(client: &Client) -> Self {
        Self {
            master: Signer::new(),
            self_signing: Signer::new(),
            user_signing: Signer::new(),
            user_id: client.user_id.clone(),
        }
    }

    /// The body of an upload of all three.
    pub(crate) fn body(&self) -> Value {
        json!({
            "master_key": self.key("master"),
            "self_signing_key": self.key("self_signing"),
            "user_signing_key": self.key("user_signing"),
        })
    }

    /// One of the keys; the master key has signed the two others.
    pub(crate) fn key(&self, usage: &str) -> Value {
        let signer = match usage {
            "master" => &self.master,
            "self_signing" => &self.self_signing,
            _ => &self.user_signing,
        };
        let mut key = json!({
            "user_id": self.user_id,
            "usage": [usage],
            "keys": { (format!("ed25519:{}", signer.public)): signer.public },
        });
        if usage != "master" {
            self.master
                .sign(&mut key, &self.user_id, &self.master.public);
        }
        key
    }

    pub(crate) async fn upload(&self, client: &Client) -> Answer {
        client
            .post("keys/device_signing/upload", &self.body())
            .await
    }
}

/// Something that looks like a public key.
pub(crate) fn public_key(seed: u8) -> String {
    Base64::<Standard>::new(vec![seed; 32]).encode()
}

/// The keys that a client sees of a user.
pub(crate) async fn query(client: &Client, user_id: &str) -> Value {
    let body = json!({ "device_keys": { (user_id): [] } });
    client.post("keys/query", &body).await.expect_ok()
}
