//! Bodies of requests to the content scanner: whatever comes in is read or refused.
#![no_main]

use chappe::scanner::body;
use libfuzzer_sys::fuzz_target;
use vodozemac::{Curve25519SecretKey, pk_encryption::PkDecryption};

fuzz_target!(|input: &[u8]| {
    let own = PkDecryption::from_key(Curve25519SecretKey::from_slice(&[7; 32]));
    if let Ok(key) = body::open(input, &own) {
        assert!(!format!("{key:?}").contains(&key.url));
    }
});
