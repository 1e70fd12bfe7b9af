//! Tables about what keys must be like.

use ruma::{
    CanonicalJsonObject, UserId,
    serde::{Base64, base64::Standard},
    signatures::{Ed25519KeyPair, KeyPair as _, to_canonical_json_string_for_signing},
    user_id,
};
use serde_json::{Value, json};

use super::{
    Error,
    check::{self, Owner, Signed},
};
use crate::store::cross_signing::Usage;

fn alice() -> &'static UserId {
    user_id!("@alice:example.org")
}

fn owner() -> Owner<'static> {
    Owner {
        user_id: alice(),
        device_id: "DESK",
    }
}

struct Signer(Ed25519KeyPair);

impl Signer {
    fn new() -> Self {
        let document = Ed25519KeyPair::generate();
        Self(Ed25519KeyPair::from_der(&document, "1".to_owned()).unwrap())
    }

    fn public(&self) -> String {
        Base64::<Standard>::new(self.0.public_key().to_vec()).encode()
    }

    fn sign(&self, object: &mut Value, name: &str) {
        let canonical: CanonicalJsonObject = serde_json::from_str(&object.to_string()).unwrap();
        let text = to_canonical_json_string_for_signing(&canonical).unwrap();
        let signature = self.0.sign(text.as_bytes()).base64();
        object["signatures"][alice().as_str()][format!("ed25519:{name}")] = signature.into();
    }
}

fn device(signer: &Signer) -> Value {
    let mut keys = json!({
        "user_id": alice(),
        "device_id": "DESK",
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": { "ed25519:DESK": signer.public() },
        "dehydrated": true,
    });
    signer.sign(&mut keys, "DESK");
    keys
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::BadJson(_) => "json",
        Error::Invalid(_) => "invalid",
        Error::Signature(_) => "signature",
        Error::TooLarge(_) => "large",
        _ => "other",
    }
}

#[test]
fn what_a_device_says_is_kept_with_the_signatures_that_are_right() {
    let (signer, cross) = (Signer::new(), Signer::new());
    let mut keys = device(&signer);
    let plain = keys.clone();
    cross.sign(&mut keys, &cross.public());
    let with_cross = keys["signatures"][alice().as_str()][format!("ed25519:{}", cross.public())]
        .as_str()
        .unwrap()
        .to_owned();
    // Somebody else's signature, and what no signature covers.
    keys["signatures"]["@bob:example.org"] = json!({ "ed25519:X": "forged" });
    keys["unsigned"] = json!({ "device_display_name": "forged" });
    let text = keys.to_string();
    let public = cross.public();
    let checked = check::device_keys(&text, owner(), Some(&public)).unwrap();
    assert_eq!(checked.ed25519, signer.public());
    assert_eq!(checked.cross_signature, Some(with_cross));
    let kept: Value = serde_json::from_str(&checked.json).unwrap();
    assert_eq!(kept, plain);
    // A key that nobody knows has signed: that is left out.
    let checked = check::device_keys(&text, owner(), None).unwrap();
    assert_eq!(checked.cross_signature, None);
    // Without a signature nobody will trust the device, and it is kept.
    let mut unsigned = plain.clone();
    unsigned["signatures"] = json!({});
    assert!(check::device_keys(&unsigned.to_string(), owner(), None).is_ok());
    // What is forged is refused.
    let mut forged = plain;
    Signer::new().sign(&mut forged, "DESK");
    let error = check::device_keys(&forged.to_string(), owner(), None).unwrap_err();
    assert_eq!(kind(&error), "signature");
}

#[test]
fn one_time_keys_are_signed_by_their_device() {
    let signer = Signer::new();
    let mut key = json!({ "key": signer.public() });
    signer.sign(&mut key, "DESK");
    let mut elsewhere = json!({ "key": signer.public() });
    signer.sign(&mut elsewhere, "PHONE");
    let mut fallback = json!({ "key": signer.public(), "fallback": true });
    signer.sign(&mut fallback, "DESK");
    let mut changed = key.clone();
    changed["fallback"] = true.into();
    let short = json!({ "key": "c2hvcnQ" });
    let cases = [
        ("signed_curve25519:A", &key, None),
        ("signed_curve25519:A", &fallback, None),
        ("signed_curve25519:A", &changed, Some("signature")),
        ("signed_curve25519:A", &elsewhere, Some("signature")),
        ("signed_curve25519:A", &short, Some("invalid")),
        ("signed_curve25519:A", &json!([]), Some("json")),
        ("signed_curve25519", &key, Some("invalid")),
        (":A", &key, Some("invalid")),
        ("signed_curve25519:", &key, Some("invalid")),
        ("signed_curve25519:a\u{0}b", &key, Some("invalid")),
        ("curve25519:A", &json!("text"), None),
        ("curve25519:A", &json!({ "other": 1 }), None),
    ];
    for (id, key, expected) in cases {
        let checked = check::session_key(id, &key.to_string(), owner(), &signer.public());
        let found = checked.as_ref().err().map(kind);
        assert_eq!(found, expected, "{id} {key}");
        if let Ok(checked) = checked {
            let kept: Value = serde_json::from_str(&checked.json).unwrap();
            assert_eq!(kept, *key);
            assert_eq!(format!("{}:{}", checked.algorithm, checked.key_id), id);
        }
    }
    let unknown = check::session_key("signed_curve25519:A", &key.to_string(), owner(), "");
    assert_eq!(kind(&unknown.unwrap_err()), "signature");
}

#[test]
fn cross_signing_keys_are_called_what_they_are() {
    let signer = Signer::new();
    let public = signer.public();
    let key = |usage: &str| {
        json!({
            "user_id": alice(),
            "usage": [usage],
            "keys": { (format!("ed25519:{public}")): public },
        })
    };
    let parse = |key: &Value, usage| check::cross_signing_key(&key.to_string(), alice(), usage);
    assert_eq!(
        parse(&key("master"), Usage::Master).unwrap().public_key,
        public
    );
    assert!(parse(&key("master"), Usage::SelfSigning).is_err());
    let mut other = key("master");
    other["keys"] = json!({ "ed25519:other": public });
    assert!(parse(&other, Usage::Master).is_err());
    // The signature of the master key is needed, and must be right.
    let master = Signer::new();
    let name = master.public();
    let signed_by = |key: &Value| {
        let parsed = parse(key, Usage::SelfSigning).unwrap();
        let signers = std::iter::once((name.as_str(), name.as_str()));
        parsed.signed_by(alice(), signers, Some(&name))
    };
    let mut key = key("self_signing");
    assert_eq!(kind(&signed_by(&key).unwrap_err()), "signature");
    signer.sign(&mut key, &name);
    assert_eq!(kind(&signed_by(&key).unwrap_err()), "signature");
    master.sign(&mut key, &name);
    assert!(signed_by(&key).is_ok());
}

#[test]
fn signed_objects_are_compared_without_their_signatures() {
    let signer = Signer::new();
    let published = device(&signer);
    let mut object = published.clone();
    signer.sign(&mut object, "other");
    object["unsigned"] = json!({ "device_display_name": "Desk" });
    let parsed = Signed::parse(&object.to_string(), alice()).unwrap();
    assert!(parsed.says_the_same_as(&published.to_string()));
    assert_eq!(parsed.signatures().count(), 2);
    object["keys"]["ed25519:DESK"] = "other".into();
    let parsed = Signed::parse(&object.to_string(), alice()).unwrap();
    assert!(!parsed.says_the_same_as(&published.to_string()));
}
