//! Who may be invited to a room by e-mail (tchap.md, 4.7, rows M3).
//!
//! Asked when a user of this server invites an address, before anything is stored. An address that
//! belongs to somebody already becomes an ordinary invite, to which the rules of members apply.

use crate::policy::{
    AddressError, AddressInfo, Decision, EmailAddress, Message, OPEN, Policy, Violation,
    ViolationKind,
};

/// What the rules of `m.room.third_party_invite` depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct AddressInvite<'a> {
    /// The `rule` of the room's `im.vector.room.access_rules`. `None`, and any unknown word, count
    /// as `restricted`.
    pub access_rule: Option<&'a str>,
    /// Whether the inviter is an external.
    pub inviter_is_external: bool,
    /// Whether the inviter stands above the rules (RO-16).
    pub bypass: bool,
}

impl AddressInvite<'_> {
    fn is_restricted(&self) -> bool {
        !matches!(self.access_rule, Some("direct" | "unrestricted"))
    }
}

impl Policy {
    /// The address that somebody wants to invite.
    ///
    /// # Errors
    /// - M3-01: only e-mail addresses are invited.
    /// - M3-03: in a restricted room an address that is not well formed is forbidden, so that it
    ///   cannot be read in two ways; elsewhere it is a mistake of the client's.
    pub fn invited_address(
        &self,
        invite: &AddressInvite<'_>,
        medium: &str,
        address: &str,
    ) -> Result<EmailAddress, Violation> {
        if medium != "email" {
            return Err(forbidden("M3-01", "medium_not_supported", ONLY_EMAIL));
        }
        EmailAddress::parse(address).map_err(|error: AddressError| {
            let violation = Violation::from(error);
            if self.is_open() || !invite.is_restricted() {
                violation
            } else {
                Violation {
                    rule: "M3-03",
                    kind: ViolationKind::Forbidden,
                    ..violation
                }
            }
        })
    }

    /// Whether an address that is nobody's yet may be invited to a room.
    ///
    /// - M3-02: to a direct or an unrestricted room anybody may. How many a direct room holds is
    ///   asked of the event (MD rows).
    /// - M3-04: to a restricted room not an address without a server,
    /// - M3-05: nor one of a server of externals, nor one whose owner would be an external here.
    /// - M3-06: any other may.
    /// - RO-12: externals invite nobody.
    pub fn may_invite_address(
        &self,
        invite: &AddressInvite<'_>,
        address: &EmailAddress,
    ) -> Decision {
        if self.is_open() {
            return Decision::Allow { rule: OPEN };
        }
        if invite.bypass {
            return Decision::Allow { rule: "RO-16" };
        }
        if invite.inviter_is_external {
            return Decision::Deny(forbidden("RO-12", "external_user", INVITER_EXTERNAL));
        }
        if !invite.is_restricted() {
            return Decision::Allow { rule: "M3-02" };
        }
        let info = self.address_info(address, None, None, false);
        let is_external_server = |info: &AddressInfo| {
            let servers = &self.rooms.external_servers;
            info.hs.as_ref().is_some_and(|hs| servers.contains(hs))
        };
        if info.hs.is_none() {
            Decision::Deny(forbidden("M3-04", "address_not_allowed", NO_SERVER))
        } else if self.is_external_address(address) || is_external_server(&info) {
            Decision::Deny(forbidden("M3-05", "external_not_allowed", EXTERNAL))
        } else {
            Decision::Allow { rule: "M3-06" }
        }
    }
}

const fn forbidden(rule: &'static str, reason: &'static str, message: Message) -> Violation {
    Violation::new(rule, ViolationKind::Forbidden, reason, message)
}

const ONLY_EMAIL: Message = Message::fixed(
    "Seules des adresses de courriel peuvent être invitées.",
    "Only e-mail addresses can be invited.",
);
const INVITER_EXTERNAL: Message = Message::fixed(
    "Les invités externes ne peuvent inviter personne.",
    "External guests cannot invite anybody.",
);
const NO_SERVER: Message = Message::fixed(
    "Cette adresse n’appartient à aucun organisme connu et ne peut pas être invitée dans ce salon.",
    "This address belongs to no known body and cannot be invited to this room.",
);
const EXTERNAL: Message = Message::fixed(
    "Les invités externes ne sont pas autorisés dans ce salon.",
    "External guests are not allowed in this room.",
);
