//! Who may look for people (tchap.md, 3 and 6.1).

use super::{Decision, Message, OPEN, Policy, Violation, ViolationKind, rooms::Standing};

const EXTERNAL: Message = Message::fixed(
    "Les invités externes ne peuvent pas consulter l’annuaire.",
    "External guests cannot look into the directory.",
);

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
