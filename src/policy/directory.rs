//! Who may look for people and rooms (tchap.md, 3 and 6.1).

use super::{Decision, Message, OPEN, Policy, Violation, ViolationKind};

const EXTERNAL: Message = Message::fixed(
    "Les invités externes ne peuvent pas consulter l’annuaire.",
    "External guests cannot look into the directory.",
);

impl Policy {
    /// Whether somebody may look for people by name or address (UD-07, RO-10). Clients are shown
    /// an empty result where not.
    pub fn may_search_people(&self, external: bool) -> Decision {
        self.may_look_into_directory("RO-10", external)
    }

    /// Whether somebody may list the public rooms (RO-09). Clients are shown an empty list where
    /// not.
    pub fn may_list_rooms(&self, external: bool) -> Decision {
        self.may_look_into_directory("RO-09", external)
    }

    /// Whether the public rooms are listed to people without an account.
    pub fn lists_rooms_to_strangers(&self) -> bool {
        self.is_open()
    }

    /// Whether people are found by their whole e-mail address, also those who cannot be found by
    /// name (UD-02, UD-03, UD-05).
    pub fn finds_by_address(&self) -> bool {
        !self.is_open()
    }

    fn may_look_into_directory(&self, rule: &'static str, external: bool) -> Decision {
        if self.is_open() {
            Decision::Allow { rule: OPEN }
        } else if external {
            let kind = ViolationKind::Forbidden;
            Decision::Deny(Violation::new(rule, kind, "external_user", EXTERNAL))
        } else {
            Decision::Allow { rule }
        }
    }
}
