//! The lines of the log, and the chain that they make.
//!
//! A line is a JSON object whose last field is `hash`: the SHA-256 of the hash of the line before
//! it in the same chain and of the line's own text without that field. The first line of a chain
//! follows 32 zero bytes.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{Entry, Stamped, time::rfc3339};

/// How the field of the hash begins, which ends a line.
const HASH_FIELD: &str = ",\"hash\":\"";

/// What the first line follows.
pub(super) fn no_hash() -> String {
    "0".repeat(64)
}

/// The chain of one process.
pub(super) struct Chain {
    instance: String,
    sequence: u64,
    last: String,
}

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    instance: &'a str,
    time_ms: u64,
    time: String,
    action: &'a str,
    actor: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    details: &'a Map<String, Value>,
    prev: &'a str,
}

impl Chain {
    /// A chain without lines.
    pub(super) fn new(instance: String) -> Self {
        Self {
            instance,
            sequence: 0,
            last: no_hash(),
        }
    }

    /// Makes the next line, with its end, and adds it to `lines`.
    pub(super) fn push(&mut self, stamped: &Stamped, lines: &mut String) {
        let Stamped { entry, time_ms } = stamped;
        let Entry {
            action,
            actor,
            object,
            outcome,
            rule,
            request_id,
            details,
        } = entry;
        self.sequence += 1;
        let line = Line {
            seq: self.sequence,
            instance: &self.instance,
            time_ms: *time_ms,
            time: rfc3339(*time_ms),
            action,
            actor: actor.as_str(),
            object: object.as_deref(),
            outcome: outcome.as_str(),
            rule: *rule,
            request_id: request_id.as_deref(),
            details,
            prev: &self.last,
        };
        // Texts and numbers always serialize.
        let text = serde_json::to_string(&line).unwrap_or_default();
        let hash = hash(&self.last, &text);
        lines.push_str(text.strip_suffix('}').unwrap_or(&text));
        lines.push_str(HASH_FIELD);
        lines.push_str(&hash);
        lines.push_str("\"}\n");
        self.last = hash;
    }
}

/// The text of a line without its hash, and the hash; `None` for what is no line.
pub(super) fn split(line: &str) -> Option<(String, &str)> {
    let (text, rest) = line.rsplit_once(HASH_FIELD)?;
    let hash = rest.strip_suffix("\"}")?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| (format!("{text}}}"), hash))
}

/// The hash of a line.
pub(super) fn hash(before: &str, text: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(before.as_bytes());
    hash.update(text.as_bytes());
    format!("{:x}", hash.finalize())
}
