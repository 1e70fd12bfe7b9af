//! What a request says: the file, and its key, which may be encrypted to the key of this server.
//!
//! tchap.md, 7.1 and 7.3; specification v1.19, client-server API, "Sending encrypted attachments".

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;
use vodozemac::pk_encryption::{Message, PkDecryption};
use zeroize::{Zeroize as _, Zeroizing};

use super::Error;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const FOR_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// An encrypted file, and what decrypts it.
pub struct FileKey {
    /// Its mxc: URI.
    pub url: String,
    /// The key.
    pub key: Zeroizing<[u8; 32]>,
    /// The first counter.
    pub iv: [u8; 16],
    /// The hash of the encrypted bytes.
    pub sha256: Vec<u8>,
}

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKey")
    }
}

#[derive(Deserialize)]
struct Outer {
    encrypted_body: Option<Encrypted>,
    file: Option<File>,
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
    mac: String,
    ephemeral: String,
}

#[derive(Deserialize)]
struct Inner {
    file: File,
}

#[derive(Deserialize)]
struct File {
    v: String,
    url: String,
    iv: String,
    hashes: Hashes,
    key: Key,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: String,
}

#[derive(Deserialize)]
struct Key {
    alg: String,
    kty: String,
    k: Zeroizing<String>,
    #[serde(rename = "key_ops")]
    operations: Vec<String>,
    ext: bool,
}

/// Reads a body. A plain `file` is not looked at where there is an encrypted one.
pub fn open(body: &[u8], own: &PkDecryption) -> Result<FileKey, Error> {
    let outer: Outer = parse(body)?;
    let file = match (outer.encrypted_body, outer.file) {
        (Some(encrypted), _) => {
            let plain = decrypt(&encrypted, own)?;
            parse::<Inner>(&plain)?.file
        }
        (None, Some(file)) => file,
        (None, None) => return Err(Error::Malformed("`file` is missing")),
    };
    read(file)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    // serde would take an array for an object, field by field.
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(Error::Malformed("the body is not an object"));
    }
    // What is wrong may quote a key.
    serde_json::from_slice(body).map_err(|_| Error::Malformed("the body has another shape"))
}

fn decrypt(encrypted: &Encrypted, own: &PkDecryption) -> Result<Zeroizing<Vec<u8>>, Error> {
    let Encrypted {
        ciphertext,
        mac,
        ephemeral,
    } = encrypted;
    let message = Message::from_base64(ciphertext, mac, ephemeral);
    let message = message.map_err(|_| Error::BadDecryption)?;
    let plain = own.decrypt(&message).map_err(|_| Error::BadDecryption)?;
    Ok(Zeroizing::new(plain))
}

fn read(file: File) -> Result<FileKey, Error> {
    let key = &file.key;
    let may = |operation: &str| key.operations.iter().any(|one| one == operation);
    let is_right = file.v == "v2"
        && key.alg == "A256CTR"
        && key.kty == "oct"
        && key.ext
        && may("encrypt")
        && may("decrypt");
    if !is_right {
        return Err(Error::Malformed(
            "the file is not encrypted as it should be",
        ));
    }
    let mut bytes = FOR_URLS
        .decode(key.k.as_bytes())
        .map_err(|_| Error::Undecryptable)?;
    let secret = <[u8; 32]>::try_from(bytes.as_slice());
    bytes.zeroize();
    let iv = PLAIN.decode(&file.iv).map_err(|_| Error::Undecryptable)?;
    let sha256 = PLAIN.decode(&file.hashes.sha256);
    Ok(FileKey {
        url: file.url,
        key: Zeroizing::new(secret.map_err(|_| Error::Undecryptable)?),
        iv: iv.try_into().map_err(|_| Error::Undecryptable)?,
        sha256: sha256.map_err(|_| Error::Undecryptable)?,
    })
}
