//! Redaction by room version, and whether a redaction counts.

use ruma::{
    CanonicalJsonObject, UserId,
    canonical_json::{CanonicalJsonFieldError, redact_in_place},
    room_version_rules::RedactionRules,
};

use super::{
    pdu::{Pdu, PduError},
    power_levels::PowerLevels,
};

/// Why an event could not be redacted. Does not happen to events that were checked.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// The text of the event is not what it was.
    #[error(transparent)]
    Pdu(#[from] PduError),
    /// The text is not canonical JSON.
    #[error("the event is not canonical JSON: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A field has the wrong type.
    #[error(transparent)]
    Field(#[from] CanonicalJsonFieldError),
}

/// The event without what its room version lets a redaction remove. Same id; hashes and
/// signatures stay. What clients see of the redaction is added in the client format.
pub fn redact(pdu: &Pdu, rules: &RedactionRules) -> Result<Pdu, RedactError> {
    let mut object: CanonicalJsonObject = serde_json::from_str(pdu.json())?;
    redact_in_place(&mut object, rules, None)?;
    let json = serde_json::to_string(&object)?;
    let redacted = Pdu::from_stored(pdu.owned_event_id().clone(), pdu.room_id().to_owned(), json)?;
    Ok(if pdu.is_rejected() {
        redacted.into_rejected()
    } else {
        redacted
    })
}

/// Whether a user of this server may redact an event: their own, or with the room's level for
/// redactions any (client-server API v1.19, redactions).
pub fn may_redact(user_id: &UserId, target: &Pdu, levels: &PowerLevels) -> bool {
    target.sender() == user_id || levels.user(user_id) >= levels.redact()
}

/// Whether a redaction that is part of the room takes effect on its target (room version 3,
/// "Handling redactions"): both are in the same room, and the sender has the level, or belongs to
/// the server of the target's sender.
pub fn redaction_applies(redaction: &Pdu, target: &Pdu, levels: &PowerLevels) -> bool {
    redaction.room_id() == target.room_id()
        && (levels.user(redaction.sender()) >= levels.redact()
            || redaction.sender().server_name() == target.sender().server_name())
}
