//! The rules that Tchap adds to Matrix: every question "may this person …?" is asked here.
//!
//! [`Policy`] is built from `[policy]` and holds no handle to anything: a service gathers the
//! facts, asks, and turns a [`Violation`] into its error. With the profile `open` it says yes to
//! everything, and the server is a plain Matrix homeserver; the parser of addresses stays as strict.
//!
//! | question | asked by |
//! |---|---|
//! | [`EmailAddress::parse`] | every entry point that takes an address |
//! | [`Policy::address_info`] | the identity service: `info`, `internal-info` |
//! | [`Policy::may_register`] | registration, before the mail and when it completes; adding an address |
//! | [`Policy::localparts_for_address`], [`Policy::display_name_for_address`] | registration |
//! | [`Policy::is_external_address`] | registration, to set the account's flag |
//! | [`Policy::password_problem`] | registration, change and reset of passwords |
//! | [`Policy::new_password_keeps_devices`] | changes of passwords |
//! | [`Policy::may_set_display_name`], [`Policy::may_set_avatar`] | profiles |
//! | [`Policy::may_change_addresses`] | addresses of accounts |
//! | [`Policy::may_see_profile`] | reading profiles |
//! | [`Policy::may_search_people`], [`hides_profile`], [`is_listed`] | the directory of people |
//! | [`Policy::may_be_bound`], [`Policy::shown_address`], [`Policy::lookup_limit`] | the identity service |
//! | [`Policy::invite_validity`] | invitations by e-mail, for how long they let somebody register |
//! | [`Policy::invited_address`], [`Policy::may_invite_address`] | invitations by e-mail |
//! | [`Policy::is_own_identity_server`] | the same, for the identity server that clients name |
//! | [`Policy::is_external`], [`Policy::standing`] | whoever needs to know who is external |
//! | [`Policy::rooms`]: may this be sent, may this room be made, may it be published | rooms |
//! | [`Policy::explain_registration`] | administrators, before anybody tries |

use std::{net::IpAddr, time::Duration};

use ruma::{OwnedServerName, ServerName};
use serde_json::{Map, Value};

use crate::config::{Problem, Profile, policy::Policy as Settings};

mod address;
mod addresses;
mod decision;
mod directory;
mod explain;
mod identity;
mod passwords;
mod patterns;
mod registration;
pub mod rooms;
#[cfg(test)]
mod tests;

pub use self::{
    address::{AddressError, EmailAddress},
    addresses::{AddressInfo, AddressRules, InternalInfo, PublicInfo},
    decision::{Decision, Message, OPEN, Violation, ViolationKind},
    directory::{hides_profile, is_listed},
    explain::{Explained, Explanation, RegistrationQuestion},
    passwords::{PasswordProblem, PasswordRules},
    registration::{
        LocalpartError, NamingRules, check_localpart, localpart_for_address,
        localparts_for_address, next_localpart,
    },
    rooms::third_party::AddressInvite,
};

const DAY: Duration = Duration::from_hours(24);

/// The rules in force on this server.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Policy {
    profile: Profile,
    server_name: OwnedServerName,
    addresses: AddressRules,
    passwords: PasswordRules,
    naming: NamingRules,
    allow_name_change: bool,
    allow_avatar_change: bool,
    allow_address_change: bool,
    known_users_only: bool,
    invite_validity: Duration,
    rooms: rooms::RoomRules,
    identity: identity::IdentityRules,
}

impl Policy {
    /// The rules that the settings ask for, or all that is wrong with them.
    pub fn new(
        settings: &Settings,
        profile: Profile,
        server_name: &ServerName,
    ) -> Result<Self, Vec<Problem>> {
        let problems = settings.validate();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            profile,
            server_name: server_name.to_owned(),
            addresses: AddressRules::compile(&settings.addresses, server_name)?,
            passwords: PasswordRules::new(&settings.passwords, profile),
            naming: NamingRules::new(&settings.display_names),
            allow_name_change: settings.display_names.allow_change,
            allow_avatar_change: settings.display_names.allow_avatar_change,
            allow_address_change: settings.addresses.allow_change,
            known_users_only: settings.profiles.known_users_only,
            invite_validity: DAY * settings.invites.validity_days,
            rooms: rooms::RoomRules::new(settings),
            identity: identity::IdentityRules::new(&settings.identity, &settings.invites),
        })
    }

    /// The profile in force.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// What is known of an address: see [`AddressRules::info`]. With the profile `open` every
    /// address belongs to this server.
    pub fn address_info(
        &self,
        address: &EmailAddress,
        caller_ip: Option<IpAddr>,
        bound_server: Option<&ServerName>,
        invited: bool,
    ) -> AddressInfo {
        if self.is_open() {
            return AddressInfo {
                hs: Some(self.server_name.clone()),
                invited,
                ..AddressInfo::default()
            };
        }
        self.addresses
            .info(address, caller_ip, bound_server, invited)
    }

    /// Whether an address may register or be bound here: see [`AddressRules::may_register`].
    pub fn may_register(&self, info: &AddressInfo) -> Decision {
        if self.is_open() {
            return Decision::Allow { rule: OPEN };
        }
        self.addresses.may_register(info)
    }

    /// Whether the address makes an external of its owner. Nobody is one with the profile `open`.
    pub fn is_external_address(&self, address: &EmailAddress) -> bool {
        !self.is_open() && self.addresses.is_external(address)
    }

    /// Whether registration needs a confirmed address.
    pub fn registration_requires_email(&self) -> bool {
        !self.is_open()
    }

    /// Whether user IDs follow from addresses, so that a name that the client proposes is ignored
    /// (REG-15).
    pub fn username_is_derived(&self) -> bool {
        !self.is_open()
    }

    /// Whether anybody may learn that a user name is taken. If not, every name is said to be free
    /// (REG-16).
    pub fn reveals_availability(&self) -> bool {
        self.is_open()
    }

    /// The localparts to try for a new account, in order: the first that nobody has or had.
    pub fn localparts_for_address<'a>(
        &'a self,
        address: &EmailAddress,
    ) -> Result<impl Iterator<Item = String> + use<'a>, LocalpartError> {
        localparts_for_address(address, &self.server_name)
    }

    /// The display name of a new account. To be asked where [`Self::username_is_derived`].
    pub fn display_name_for_address(&self, address: &EmailAddress) -> String {
        let external = self.is_external_address(address);
        self.naming.display_name(address, external)
    }

    /// Whether a person may set their own display name, or an administrator may set it for them.
    /// `first_time`: there is none yet.
    pub fn may_set_display_name(&self, first_time: bool, is_admin: bool) -> Decision {
        let allowed = first_time || is_admin || self.allow_name_change;
        self.profile_decision(
            allowed,
            "display_name_fixed",
            const {
                Message::fixed(
                    "Le nom affiché ne peut pas être modifié.",
                    "The display name cannot be changed.",
                )
            },
        )
    }

    /// Whether a person may change their avatar, or an administrator may change it for them.
    pub fn may_set_avatar(&self, is_admin: bool) -> Decision {
        let allowed = is_admin || self.allow_avatar_change;
        self.profile_decision(
            allowed,
            "avatar_fixed",
            const {
                Message::fixed(
                    "L’avatar ne peut pas être modifié.",
                    "The avatar cannot be changed.",
                )
            },
        )
    }

    /// Whether profiles are shown to everybody, so that nobody need ask
    /// [`may_see_profile`](Self::may_see_profile).
    pub fn shows_all_profiles(&self) -> bool {
        self.is_open() || !self.known_users_only
    }

    /// Whether a person may see a profile. `is_known`: it is their own, or they share a room with
    /// its owner, or they administer the server.
    pub fn may_see_profile(&self, is_known: bool) -> Decision {
        const RULE: &str = "2.5";
        if is_known || self.shows_all_profiles() {
            return Decision::Allow { rule: RULE };
        }
        Decision::Deny(Violation::new(
            RULE,
            ViolationKind::Forbidden,
            "profile_of_a_stranger",
            const {
                Message::fixed(
                    "Ce profil n’est visible que des personnes avec qui un salon est partagé.",
                    "This profile is shown only to people who share a room.",
                )
            },
        ))
    }

    /// Whether people may add and remove addresses of their own account (tchap.md, 2.2: in
    /// production they may not).
    pub fn may_change_addresses(&self) -> Decision {
        const RULE: &str = "2.2";
        if self.is_open() {
            return Decision::Allow { rule: OPEN };
        }
        if self.allow_address_change {
            return Decision::Allow { rule: RULE };
        }
        Decision::Deny(Violation::new(
            RULE,
            ViolationKind::Forbidden,
            "addresses_fixed",
            const {
                Message::fixed(
                    "L’adresse électronique du compte ne peut pas être modifiée.",
                    "The e-mail address of the account cannot be changed.",
                )
            },
        ))
    }

    /// What is wrong with a new password.
    pub fn password_problem(&self, password: &str) -> Option<PasswordProblem> {
        self.passwords.problem(password)
    }

    /// Whether somebody who changes their password stays logged in on their other devices, where the
    /// client does not say. A forgotten password that is replaced by mail logs them out.
    pub fn new_password_keeps_devices(&self) -> bool {
        self.passwords.keeps_devices()
    }

    /// The answer of `GET /password_policy`.
    pub fn password_policy(&self) -> Map<String, Value> {
        self.passwords.describe()
    }

    /// For how long an invitation by e-mail lets somebody register (LK-08, LK-09).
    pub fn invite_validity(&self) -> Duration {
        self.invite_validity
    }

    fn is_open(&self) -> bool {
        self.profile == Profile::Open
    }

    /// Profiles are fixed after registration (tchap.md, 2.5).
    fn profile_decision(&self, allowed: bool, reason: &'static str, message: Message) -> Decision {
        const RULE: &str = "2.5";
        if self.is_open() {
            Decision::Allow { rule: OPEN }
        } else if allowed {
            Decision::Allow { rule: RULE }
        } else {
            let kind = ViolationKind::ProfileFixed;
            Decision::Deny(Violation::new(RULE, kind, reason, message))
        }
    }
}
