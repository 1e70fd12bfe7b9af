//! Room versions: those of the specification, and unstable ones that are built on them.

use std::ops::Deref;

use ruma::{
    RoomVersionId, UserId,
    room_version_rules::{RoomVersionDisposition, RoomVersionRules},
};

/// The unstable versions in which state has owners (MSC3757).
pub const OWNED_STATE: [&str; 2] = ["org.matrix.msc3757.10", "org.matrix.msc3757.11"];
/// The longest state key that nobody owns, in bytes.
const MAX_KEY_BYTES: usize = 255;
/// The longest that may follow the owner in a state key, with the underscore.
const MAX_SUFFIX_BYTES: usize = 256;

/// The rules of a room version: those that ruma knows, and what unstable versions add to them.
#[derive(Clone, Debug)]
pub struct VersionRules {
    rules: RoomVersionRules,
    /// Whether a state key that begins with a user's id and an underscore is that user's, and
    /// whoever has a higher power level may overwrite what belongs to somebody (MSC3757).
    pub owned_state: bool,
}

impl VersionRules {
    /// The rules of a version that this server knows.
    pub fn of(version: &RoomVersionId) -> Option<Self> {
        let base = match version.as_str() {
            "org.matrix.msc3757.10" => RoomVersionRules::V10,
            "org.matrix.msc3757.11" => RoomVersionRules::V11,
            _ => {
                return Some(Self {
                    rules: version.rules()?,
                    owned_state: false,
                });
            }
        };
        let mut rules = base;
        rules.disposition = RoomVersionDisposition::Unstable;
        Some(Self {
            rules,
            owned_state: true,
        })
    }
}

impl Deref for VersionRules {
    type Target = RoomVersionRules;

    fn deref(&self) -> &RoomVersionRules {
        &self.rules
    }
}

/// Why a state key cannot be one where state has owners.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadStateKey {
    /// It begins as the id of a user does, and is none.
    #[error("the state key begins with `@`, and not with the id of a user")]
    NoOwner,
    /// It is too long, or what follows its owner is.
    #[error("the state key is too long")]
    TooLong,
}

/// Whom a state key belongs to where state has owners: the user whose id stands before the first
/// underscore after the first colon. `None`: nobody.
pub fn owner(state_key: &str) -> Result<Option<&UserId>, BadStateKey> {
    if !state_key.starts_with('@') {
        let fits = state_key.len() <= MAX_KEY_BYTES;
        return fits.then_some(None).ok_or(BadStateKey::TooLong);
    }
    let (name, rest) = state_key.split_once(':').ok_or(BadStateKey::NoOwner)?;
    let server = rest.split('_').next().unwrap_or(rest);
    let end = name.len() + 1 + server.len();
    let (owner, suffix) = state_key
        .split_at_checked(end)
        .ok_or(BadStateKey::NoOwner)?;
    let owner = <&UserId>::try_from(owner).map_err(|_| BadStateKey::NoOwner)?;
    let fits = suffix.len() <= MAX_SUFFIX_BYTES;
    fits.then_some(Some(owner)).ok_or(BadStateKey::TooLong)
}
