//! Who may look for people, and who is found (tchap.md, 3, 6.1 and 6.2).

use serde_json::Value;

use super::{Decision, Message, OPEN, Policy, Violation, ViolationKind, rooms::Standing};

const EXTERNAL: Message = Message::fixed(
    "Les invités externes ne peuvent pas consulter l’annuaire.",
    "External guests cannot look into the directory.",
);

/// Whether somebody is left out of searches by name by their own wish, as the content of their
/// account data `im.vector.hide_profile` says. An agent is hidden who says so (RL-01 to RL-04): a
/// content without the key hides nobody, one that is neither true nor false does. An external is
/// shown who says so (RO-13, UD-05, UD-06).
pub fn hides_profile(content: Option<&Value>, is_external: bool) -> bool {
    let value = content.and_then(|content| content.get("hide_profile"));
    match value {
        Some(Value::Bool(hide)) => *hide,
        None | Some(Value::Null) => is_external,
        Some(_) => true,
    }
}

/// Whether somebody is found by name: not a closed account (UD-04), nobody who is hidden by their
/// own wish, and nobody whose account has expired, whatever their wish (RL-05 to RL-07, RL-09).
pub const fn is_listed(is_open: bool, hidden_by_choice: bool, hidden_by_expiry: bool) -> bool {
    is_open && !hidden_by_choice && !hidden_by_expiry
}

impl Policy {
    /// Whether somebody may look for people by name or address (UD-07, RO-10). Clients are shown
    /// an empty result where not.
    pub fn may_search_people(&self, standing: Standing) -> Decision {
        const RULE: &str = "RO-10";
        if self.is_open() {
            return Decision::Allow { rule: OPEN };
        }
        match standing {
            Standing::Agent | Standing::Exempt => Decision::Allow { rule: RULE },
            Standing::External => {
                let kind = ViolationKind::Forbidden;
                Decision::Deny(Violation::new(RULE, kind, "external_user", EXTERNAL))
            }
        }
    }

    /// Whether people are found by their whole e-mail address, also those who cannot be found by
    /// name (UD-02, UD-03, UD-05).
    pub fn finds_by_address(&self) -> bool {
        !self.is_open()
    }
}
