//! What people and clients are told when a rule of rooms says no: a stable word, and a sentence in
//! two languages.

use crate::policy::{Message, Violation, ViolationKind};

/// What a check answers: the row that allows, or what is violated.
pub(super) type Answer = Result<&'static str, Violation>;

/// A reason, without the row that it was drawn from.
pub(super) struct Refusal {
    reason: &'static str,
    fr: &'static str,
    en: &'static str,
}

impl Refusal {
    const fn new(reason: &'static str, fr: &'static str, en: &'static str) -> Self {
        Self { reason, fr, en }
    }

    const fn violation(&self, rule: &'static str, kind: ViolationKind) -> Violation {
        Violation::new(rule, kind, self.reason, Message::fixed(self.fr, self.en))
    }

    /// 403: somebody may not do this.
    pub(super) const fn forbids(&self, rule: &'static str) -> Violation {
        self.violation(rule, ViolationKind::Forbidden)
    }

    /// 400: nobody may make a room like this.
    pub(super) const fn invalidates(&self, rule: &'static str) -> Violation {
        self.violation(rule, ViolationKind::InvalidRoom)
    }
}

macro_rules! refusals {
    ($($name:ident: $reason:literal, $fr:literal, $en:literal;)*) => {
        $(pub(super) static $name: Refusal = Refusal::new($reason, $fr, $en);)*
    };
}

// The English sentence of JOIN is known to Tchap's Android client, which shows its own instead.
refusals! {
    EXTERNAL_USER: "external_user",
        "Cette action n’est pas ouverte aux invités externes.",
        "External guests may not do this.";
    JOIN: "external_user",
        "Vous ne pouvez pas rejoindre ce salon.",
        "Not allowed to join this room";
    EXTERNALS_EXCLUDED: "externals_not_allowed",
        "Les invités externes ne sont pas admis dans ce salon.",
        "External guests are not allowed in this room.";
    SPACE_EXCLUDES_EXTERNALS: "externals_not_allowed_in_spaces",
        "Les invités externes ne sont pas admis dans les espaces.",
        "External guests are not allowed in spaces.";
    DIRECT: "room_is_direct",
        "Une conversation directe n’a que deux personnes, et ni nom, ni lien, ni annuaire.",
        "A direct chat has two people only, and no name, link or listing.";
    NOT_DIRECT: "room_is_not_direct",
        "Ces droits d’accès ne conviennent pas à ce type de salon.",
        "These access rules do not fit this kind of room.";
    BAD_RULES: "access_rules_invalid",
        "Les droits d’accès du salon ne sont pas valides.",
        "The access rules of the room are not valid.";
    RULE_FIXED: "access_rule_fixed",
        "Les droits d’accès de ce salon ne peuvent plus être modifiés ainsi.",
        "The access rules of this room can no longer be changed like this.";
    FLAG_FIXED: "encryption_choice_fixed",
        "Le choix d’un salon non chiffré est fait à sa création et ne change plus.",
        "Whether a room is unencrypted is chosen when it is made and does not change.";
    VISIBILITY_FIXED: "visibility_fixed",
        "Un salon ne peut pas changer de visibilité.",
        "A room cannot change its visibility.";
    BAD_VISIBILITY: "visibility_mismatch",
        "La visibilité ne correspond pas à celle du salon.",
        "The visibility does not match that of the room.";
    PUBLIC: "room_is_public",
        "Un salon public reste ouvert à tous les agents.",
        "A public room stays open to all agents.";
    PUBLIC_EXTERNAL: "public_room_excludes_externals",
        "Un salon public ne peut pas être ouvert aux invités externes.",
        "A public room cannot be open to external guests.";
    UNENCRYPTED: "encryption_not_allowed",
        "Ce salon ne peut pas être chiffré.",
        "This room cannot be encrypted.";
    GUESTS: "guests_not_allowed",
        "Les visiteurs sans compte ne sont pas admis.",
        "Guests without an account are not allowed.";
    WORLD_READABLE: "history_not_world_readable",
        "L’historique ne peut pas être lisible par tous.",
        "The history cannot be readable by everybody.";
    RETENTION: "retention_too_long",
        "La durée de conservation d’un salon public est limitée.",
        "Public rooms keep messages for a limited time.";
    EXTERNAL_LEVEL: "external_power_level",
        "Les invités externes ne peuvent pas avoir de droits dans un salon.",
        "External guests cannot have power in a room.";
    DEFAULT_LEVEL: "default_power_level",
        "Dans un salon ouvert aux externes, les droits par défaut restent à zéro.",
        "In a room that is open to externals the default power level stays zero.";
    LOW_LEVEL: "power_level_too_low",
        "Les droits demandés pour inviter ou modifier le salon sont trop bas.",
        "The power levels for inviting or changing the room are too low.";
    NOT_LISTED: "room_not_publishable",
        "Seuls les salons publics figurent dans l’annuaire.",
        "Only public rooms are in the directory.";
    PROTECTED: "event_protected",
        "Cet événement ne peut pas être supprimé.",
        "This event cannot be redacted.";
    INVITES_RESTRICTED: "invites_restricted",
        "Les invitations sont restreintes sur ce serveur.",
        "Invites have been disabled on this server";
    CREATION_RESTRICTED: "creation_restricted",
        "Vous ne pouvez pas créer de salon.",
        "You are not permitted to create rooms";
    INVITE_REQUIRED: "invite_required",
        "Vous ne pouvez pas rejoindre ce salon.",
        "Not allowed to join this room";
}
