//! Bodies of requests, types, and what engines say.

use serde_json::{Value, json};
use vodozemac::pk_encryption::{PkDecryption, PkEncryption};

use super::{
    body,
    engine::{Found, parse_clamd},
    pieces::{OCTETS, mime_type},
    *,
};

fn file() -> Value {
    json!({ "file": {
        "v": "v2",
        "url": "mxc://example.org/abc",
        "iv": "AAECAwQFBgcAAAAAAAAAAA",
        "hashes": { "sha256": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" },
        "key": {
            "alg": "A256CTR",
            "kty": "oct",
            "ext": true,
            "key_ops": ["encrypt", "decrypt"],
            "k": "_-ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        },
    }})
}

fn open(body: &str) -> Result<FileKey, Error> {
    body::open(body.as_bytes(), &PkDecryption::new())
}

#[test]
fn a_body_names_a_file_and_its_key() {
    let key = open(&file().to_string()).unwrap();
    assert_eq!(key.url, "mxc://example.org/abc");
    assert_eq!(key.iv[..4], [0, 1, 2, 3]);
    assert_eq!(key.key[..2], [255, 225]);
    assert_eq!(key.sha256.len(), 32);
}

#[test]
fn an_encrypted_body_is_opened_with_the_key_of_the_server_alone() {
    let own = PkDecryption::new();
    let message = PkEncryption::from_key(own.public_key())
        .encrypt(file().to_string().as_bytes())
        .unwrap();
    let base64 = vodozemac::base64_encode;
    let encrypted = json!({
        "ciphertext": base64(&message.ciphertext),
        "mac": base64(&message.mac),
        "ephemeral": message.ephemeral_key.to_base64(),
    });
    // What stands beside it in the clear does not count.
    let both = json!({ "encrypted_body": encrypted, "file": { "v": "v1" } });
    let both = body::open(both.to_string().as_bytes(), &own);
    assert!(both.is_err(), "a file of another shape is malformed");
    let body = json!({ "encrypted_body": encrypted }).to_string();
    assert_eq!(
        body::open(body.as_bytes(), &own).unwrap().url,
        "mxc://example.org/abc"
    );
    assert!(matches!(open(&body), Err(Error::BadDecryption)));
    for field in ["ciphertext", "mac", "ephemeral"] {
        let mut wrong = json!({ "encrypted_body": encrypted });
        wrong["encrypted_body"][field] = json!("AAAA");
        let opened = body::open(wrong.to_string().as_bytes(), &own);
        assert!(matches!(opened, Err(Error::BadDecryption)), "{field}");
    }
}

#[test]
fn cs_01_bodies_of_another_shape_are_malformed() {
    let mut bodies = vec![
        String::new(),
        "[]".to_owned(),
        "{".to_owned(),
        "{}".to_owned(),
        "7".to_owned(),
    ];
    let changes: [(&str, Value); 8] = [
        ("/file/v", json!("v1")),
        ("/file/url", json!(7)),
        ("/file/iv", json!(null)),
        ("/file/hashes", json!({})),
        ("/file/key/alg", json!("A256GCM")),
        ("/file/key/kty", json!("RSA")),
        ("/file/key/ext", json!(false)),
        ("/file/key/key_ops", json!(["encrypt"])),
    ];
    for (place, value) in changes {
        let mut body = file();
        *body.pointer_mut(place).unwrap() = value;
        bodies.push(body.to_string());
    }
    for body in bodies {
        assert!(matches!(open(&body), Err(Error::Malformed(_))), "{body}");
    }
    for place in ["/file/iv", "/file/key/k", "/file/hashes/sha256"] {
        let mut body = file();
        *body.pointer_mut(place).unwrap() = json!("####");
        assert!(
            matches!(open(&body.to_string()), Err(Error::Undecryptable)),
            "{place}"
        );
    }
}

#[test]
fn the_bytes_tell_the_type() {
    let cases: [(&[u8], &str); 6] = [
        (b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
        (b"%PDF-1.7", "application/pdf"),
        ("Bonjour à tous\n".as_bytes(), "text/plain"),
        (b"\0\x01\x02", OCTETS),
        (b"\xff\xfe\xfd\xfc", OCTETS),
        (b"", OCTETS),
    ];
    for (head, expected) in cases {
        assert_eq!(mime_type(head), expected, "{head:?}");
    }
    let long = "é".repeat(4096);
    assert_eq!(mime_type(&long.as_bytes()[..8192]), "text/plain");
}

#[test]
fn only_clear_words_of_the_engine_count() {
    let cases: [(&[u8], Option<Found>); 8] = [
        (b"stream: OK\0", Some(Found::Nothing)),
        (b"stream: OK\n", Some(Found::Nothing)),
        (b"stream: Eicar-Signature FOUND\0", Some(Found::Virus)),
        (b"stream: OK. No", None),
        (b"INSTREAM size limit exceeded. ERROR\0", None),
        (b"stream: whatever ERROR\0", None),
        (b"", None),
        (b"\xff", None),
    ];
    for (answer, expected) in cases {
        assert_eq!(parse_clamd(answer), expected, "{answer:?}");
    }
}
