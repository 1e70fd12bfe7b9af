//! The server's signing key, and what makes an event complete: content hash, signature, event id.
//!
//! See the server-server API v1.19, "Signing events" and "Calculating the content hash".

use std::{fmt, ops::Range};

use base64::{
    Engine as _,
    engine::{
        DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig,
        general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
    },
};
use ruma::{
    CanonicalJsonObject, EventId, OwnedRoomId, OwnedServerSigningKeyId, RoomId, ServerName,
    ServerSigningKeyId,
    canonical_json::redact_content_in_place,
    room_version_rules::EventIdFormatVersion,
    signatures::{Ed25519KeyPair, JsonError, KeyPair as _, sign_json},
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    build::{BuildError, Frame, MAX_PDU_BYTES, UnsignedEvent},
    json::push_string,
    pdu::{Built, Pdu},
};

/// PKCS#8 version 1 of an Ed25519 key up to the seed (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Seeds that everybody knows: the Matrix specification's test vectors, RFC 8032's three.
const PUBLISHED_SEEDS: [&str; 4] = [
    "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1",
    "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs",
    "xaqN9D+fg3vtt0QvMdy3sWbThTUHbwlLhc46LgtEWPc",
];

/// Reads base64 with or without padding, and with bits left over at the end: the specification's
/// own test key has some.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Why a signing key was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not `ed25519 version seed`.
    #[error("the key file does not have the form `ed25519 <version> <base64 seed>`")]
    Malformed,
    /// The version has other letters than letters, digits and `_`, or too many of them.
    #[error("the key version must be 1 to 32 letters, digits or `_`")]
    Version,
    /// The seed is published or obviously not random.
    #[error("the key is a known or a trivial one, generate another")]
    Weak,
}

/// The Ed25519 key with which the server signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: Zeroizing<[u8; 32]>,
    id: OwnedServerSigningKeyId,
}

impl SigningKey {
    /// A key from 32 random bytes. `version` is the part of the key id after `ed25519:`.
    pub fn from_seed(version: &str, seed: Zeroizing<[u8; 32]>) -> Result<Self, KeyError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !(1..=32).contains(&version.len()) || !version.chars().all(is_plain) {
            return Err(KeyError::Version);
        }
        if is_weak(&seed) {
            return Err(KeyError::Weak);
        }
        let mut document = Zeroizing::new([0; 48]);
        let (prefix, rest) = document.split_at_mut(PKCS8_PREFIX.len());
        prefix.copy_from_slice(&PKCS8_PREFIX);
        rest.copy_from_slice(&*seed);
        let pair = Ed25519KeyPair::from_der(&*document, version.to_owned())
            .map_err(|_| KeyError::Malformed)?;
        let id = ServerSigningKeyId::parse(format!("ed25519:{version}"))
            .map_err(|_| KeyError::Version)?;
        Ok(Self { pair, seed, id })
    }

    /// Reads a key file as Synapse writes it: `ed25519 <version> <base64 seed>`. Of several lines
    /// the first one signs.
    pub fn from_key_file(text: &str) -> Result<Self, KeyError> {
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        let mut words = line.unwrap_or_default().split_ascii_whitespace();
        let (Some("ed25519"), Some(version), Some(seed), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(KeyError::Malformed);
        };
        let bytes = Zeroizing::new(LENIENT.decode(seed).map_err(|_| KeyError::Malformed)?);
        let mut seed = Zeroizing::new([0; 32]);
        if bytes.len() != seed.len() {
            return Err(KeyError::Malformed);
        }
        seed.copy_from_slice(&bytes);
        Self::from_seed(version, seed)
    }

    /// The key file's text, as Synapse reads it.
    pub fn to_key_file(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new(STANDARD_NO_PAD.encode(*self.seed));
        Zeroizing::new(format!("ed25519 {} {}\n", self.pair.version(), *seed))
    }

    /// `ed25519:<version>`.
    pub fn id(&self) -> &ServerSigningKeyId {
        &self.id
    }

    /// The public half.
    pub fn public_key(&self) -> [u8; 32] {
        self.pair.public_key()
    }

    /// The public half in unpadded base64.
    pub fn public_key_base64(&self) -> String {
        STANDARD_NO_PAD.encode(self.public_key())
    }

    /// Signs an object that is not an event, such as the answer with our keys or a request to
    /// another server. Events are signed by [`Self::sign`] only.
    pub fn sign_object(
        &self,
        server_name: &ServerName,
        object: &mut CanonicalJsonObject,
    ) -> Result<(), JsonError> {
        sign_json(server_name.as_str(), &self.pair, object)
    }

    /// Completes an event: content hash, signature, event id. Checks its size.
    pub fn sign(
        &self,
        event: UnsignedEvent<'_>,
        server_name: &ServerName,
    ) -> Result<Pdu, BuildError> {
        if event.sender.server_name() != server_name {
            return Err(BuildError::ForeignSender);
        }
        let rules = event.position.rules;
        let frame = Frame::new(&event);
        let mut content = event.draft.content;
        let content_text = serde_json::to_string(&content)?;
        // Hashing first would cost the same for a content of many megabytes.
        if content_text.len() > MAX_PDU_BYTES {
            return Err(BuildError::TooLarge(content_text.len()));
        }

        let hash = Sha256::digest(frame.unhashed(&content_text));
        let hash = STANDARD_NO_PAD.encode(hash);
        let hashes = format!("\"hashes\":{{\"sha256\":\"{hash}\"}},");

        let event_type = event.draft.event_type;
        redact_content_in_place(&mut content, &rules.redaction, event_type.to_string());
        let redacted = frame.redacted(&serde_json::to_string(&content)?, &hashes);
        let signatures = self.signatures_field(server_name, redacted.as_bytes());
        let json = frame.full(&content_text, &hashes, &signatures);
        if json.len() > MAX_PDU_BYTES {
            return Err(BuildError::TooLarge(json.len()));
        }

        let reference_hash = Sha256::digest(&redacted);
        let event_id = match (event.draft.legacy_event_id, rules.event_id_format) {
            (Some(event_id), _) => event_id,
            (None, EventIdFormatVersion::V2) => {
                EventId::new_v2_or_v3(&STANDARD_NO_PAD.encode(reference_hash))?
            }
            (None, _) => EventId::new_v2_or_v3(&URL_SAFE_NO_PAD.encode(reference_hash))?,
        };
        let room_id: OwnedRoomId = match event.position.room_id {
            Some(room_id) => room_id.to_owned(),
            None => RoomId::new_v2(event_id.localpart())?,
        };
        Ok(Pdu::from_built(Built {
            event_id,
            room_id,
            has_room_id: event.position.room_id.is_some(),
            sender: event.sender,
            event_type,
            state_key: event.draft.state_key,
            origin_server_ts: event.origin_server_ts,
            depth: event.position.depth,
            prev_events: event.position.prev_events,
            auth_events: event.position.auth_events,
            redacts: event.draft.redacts,
            content: content_range(&frame, &content_text),
            json,
        }))
    }

    fn signatures_field(&self, server_name: &ServerName, message: &[u8]) -> String {
        let signature = self.pair.sign(message).base64();
        let mut field = String::from("\"signatures\":{");
        push_string(&mut field, server_name.as_str());
        field.push_str(":{");
        push_string(&mut field, self.id.as_str());
        field.push(':');
        push_string(&mut field, &signature);
        field.push_str("}},");
        field
    }
}

impl fmt::Debug for SigningKey {
    /// Shows the key's id only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey")
            .field(&self.id.as_str())
            .finish()
    }
}

fn content_range(frame: &Frame, content: &str) -> Range<usize> {
    frame.content_start()..frame.content_start() + content.len()
}

/// Whether a seed is published, or has a pattern that no generator gives: one byte repeated, or
/// bytes that count up or down.
fn is_weak(seed: &[u8; 32]) -> bool {
    let pairs = || seed.iter().zip(seed.iter().skip(1));
    let published = |known: &&str| LENIENT.decode(known).is_ok_and(|known| known == *seed);
    pairs().all(|(a, b)| a == b)
        || pairs().all(|(a, b)| a.wrapping_add(1) == *b)
        || pairs().all(|(a, b)| a.wrapping_sub(1) == *b)
        || PUBLISHED_SEEDS.iter().any(published)
}
