//! Keys as devices and users upload them: whatever they are, they are refused or kept in a form that
//! is read again as the same.
#![no_main]

use chappe::{
    keys::check::{self, Owner, Signed},
    store::cross_signing::Usage,
};
use libfuzzer_sys::fuzz_target;
use ruma::user_id;

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, id, public_key) = input;
    let user_id = user_id!("@a:b");
    let owner = Owner {
        user_id,
        device_id: "D",
    };
    if let Ok(device) = check::device_keys(text, owner, Some(public_key)) {
        let again = check::device_keys(&device.json, owner, Some(public_key)).unwrap();
        assert_eq!((again.ed25519, again.json), (device.ed25519, device.json));
    }
    if let Ok(key) = check::session_key(id, text, owner, public_key) {
        let again = check::session_key(id, &key.json, owner, public_key).unwrap();
        assert_eq!(again, key);
    }
    if let Ok(key) = check::cross_signing_key(text, user_id, Usage::Master) {
        let signer = std::iter::once(("D", public_key));
        let _ = key.signed_by(user_id, signer, None);
    }
    if let Ok(signed) = Signed::parse(text, user_id) {
        assert!(signed.says_the_same_as(text));
        for (_, signature) in signed.signatures() {
            let _ = signed.verify(public_key, signature);
        }
    }
});
