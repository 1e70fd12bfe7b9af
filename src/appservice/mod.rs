//! Application services: programs of the operator that act for many users, such as bridges.
//!
//! This is what is known of them from their registration files: their tokens, and the users,
//! aliases and rooms that are theirs. What they are told and asked is the layer `bridges` above.
//!
//! Specification v1.19, application service API, "Registration".

mod files;
mod namespaces;
mod registration;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use ruma::{OwnedServerName, OwnedUserId, RoomAliasId, RoomId, ServerName, UserId};
use sha2::{Digest as _, Sha256};
use url::Url;
use zeroize::Zeroizing;

pub use self::{files::load, registration::RegistrationError};
use self::{namespaces::Namespaces, registration::Registration};

/// The registry in force: another one takes its place when the configuration is read again.
pub type SharedRegistry = Arc<ArcSwap<Registry>>;

/// An application service.
pub struct Service {
    id: String,
    url: Option<Url>,
    as_token: [u8; 32],
    hs_token: Zeroizing<String>,
    sender: OwnedUserId,
    server_name: OwnedServerName,
    users: Namespaces,
    aliases: Namespaces,
    rooms: Namespaces,
    is_rate_limited: bool,
    protocols: Vec<String>,
    receives_ephemeral: bool,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// What names it for ever.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is; `None`: it wants to hear nothing.
    pub fn url(&self) -> Option<&Url> {
        self.url.as_ref()
    }

    /// What shows the service that it is this server that asks.
    pub fn hs_token(&self) -> &str {
        &self.hs_token
    }

    /// The user that it is when it says nothing else.
    pub fn sender(&self) -> &UserId {
        &self.sender
    }

    /// The networks that it connects to.
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// Whether it wants typing, receipts and presence.
    pub fn receives_ephemeral(&self) -> bool {
        self.receives_ephemeral
    }

    /// Whether the requests that it makes as this user are limited. Those of its own user never
    /// are.
    pub fn is_limited(&self, user_id: &UserId) -> bool {
        self.is_rate_limited && self.sender != user_id
    }

    /// Whether it may act for a user: its own, or a user of this server in one of its namespaces.
    pub fn covers_user(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.server_name
            && (self.sender == user_id || self.users.contain(user_id.as_str()))
    }

    /// Whether a user is in a namespace of its own, or is its own user. Its own user alone is no
    /// reason to ask it whether the user exists.
    pub fn may_create_user(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.server_name && self.users.contain(user_id.as_str())
    }

    /// Whether an alias is in one of its namespaces.
    pub fn covers_alias(&self, alias: &RoomAliasId) -> bool {
        self.aliases.contain(alias.as_str())
    }

    /// Whether a room is in one of its namespaces.
    pub fn covers_room(&self, room_id: &RoomId) -> bool {
        self.rooms.contain(room_id.as_str())
    }

    /// Whether aliases are a reason to tell it of a room.
    pub fn has_aliases(&self) -> bool {
        !self.aliases.is_empty()
    }

    /// Whether a user is in an exclusive namespace of its own, or is its own user.
    pub fn owns_user(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.server_name
            && (self.sender == user_id || self.users.reserve(user_id.as_str()))
    }
}

/// All application services.
#[derive(Debug, Default)]
pub struct Registry {
    services: Vec<Arc<Service>>,
    by_token: HashMap<[u8; 32], Arc<Service>>,
}

impl Registry {
    /// From the texts of registration files, each with a name for errors.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn parse<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        server_name: &ServerName,
    ) -> Result<Self, Vec<RegistrationError>> {
        let mut errors = Vec::new();
        let mut registry = Self::default();
        let (mut ids, mut secrets) = (HashSet::new(), HashSet::new());
        for (name, text) in files {
            let service = Registration::parse(text)
                .and_then(|registration| registration.into_service(server_name));
            let service = match service {
                Ok(service) => Arc::new(service),
                Err(message) => {
                    errors.push(RegistrationError::new(name, message));
                    continue;
                }
            };
            if !ids.insert(service.id.clone()) {
                let message = format!("another registration has the id `{}` already", service.id);
                errors.push(RegistrationError::new(name, message));
            }
            if !secrets.insert(service.as_token) {
                let message = "another registration has the same `as_token`".to_owned();
                errors.push(RegistrationError::new(name, message));
            }
            registry
                .by_token
                .insert(service.as_token, Arc::clone(&service));
            registry.services.push(service);
        }
        if errors.is_empty() {
            Ok(registry)
        } else {
            Err(errors)
        }
    }

    /// All of them, in the order of their files.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// The service with an id.
    pub fn find(&self, id: &str) -> Option<&Arc<Service>> {
        self.services.iter().find(|service| service.id == id)
    }

    /// The service that has the access token with this SHA-256.
    pub fn find_by_token(&self, hash: &[u8]) -> Option<&Arc<Service>> {
        if self.services.is_empty() {
            return None;
        }
        let hash: &[u8; 32] = hash.try_into().ok()?;
        self.by_token.get(hash)
    }

    /// The service for which alone a user id is.
    pub fn owner_of_user(&self, user_id: &UserId) -> Option<&Arc<Service>> {
        let mut services = self.services.iter();
        services.find(|service| service.owns_user(user_id))
    }

    /// The service for which alone an alias is.
    pub fn owner_of_alias(&self, alias: &RoomAliasId) -> Option<&Arc<Service>> {
        let mut services = self.services.iter();
        services.find(|service| service.aliases.reserve(alias.as_str()))
    }
}

/// SHA-256, by which tokens are compared: how far two hashes agree tells nothing of the tokens.
fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
