//! What application services are told and asked.
//!
//! [`sender`] tells each of them what happens: one task for each service in each process, of which
//! the one that holds the service's lease does the work. It goes along the stream from where the
//! service is, keeps what concerns it ([`interest`]) as a transaction in the database, sends that
//! until it is taken, and moves on. So transactions come in order, each is the same whenever it is
//! sent, nothing is queued twice, and a service that is slow or away holds up nobody else.
//! [`queries`] asks whether a user or a room is there that nobody here knows.
//!
//! Specification v1.19, application service API.

mod body;
mod client;
mod devices;
mod interest;
mod presence;
mod queries;
mod sender;
mod third_party;

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use ruma::OwnedServerName;
use serde_json::Value;
use tokio::sync::watch;

pub use self::{queries::PingError, third_party::ThirdParty};
use crate::{
    appservice::SharedRegistry, clock::SharedClock, outbound::Outbound, random::Random,
    rooms::Rooms, store::Store, sync::Presence,
};

/// For how long it is remembered what a service says of its networks.
const PROTOCOLS_KEPT: Duration = Duration::from_mins(5);

/// What this is told by the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this server.
    pub server_name: OwnedServerName,
    /// How long a service may take to answer.
    pub timeout: Duration,
}

/// What this stands on.
pub struct Parts {
    /// The registrations.
    pub services: SharedRegistry,
    /// The database.
    pub store: Store,
    /// Who types.
    pub rooms: Rooms,
    /// Who is there.
    pub presence: Presence,
    /// Reaches every address: the operator chose those of the services.
    pub outbound: Outbound,
    /// The time.
    pub clock: SharedClock,
    /// Chance.
    pub random: Random,
}

/// What application services are told and asked. Cheap to clone.
#[derive(Clone)]
pub struct Bridges(Arc<Inner>);

struct Inner {
    settings: Settings,
    parts: Parts,
    /// Names this process where processes agree on who does what.
    process: String,
    /// Told when the registrations were read again.
    reloaded: watch::Sender<()>,
    /// What services say of their networks, by service and network.
    protocols: Cache<(String, String), Arc<Value>>,
}

impl std::fmt::Debug for Bridges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bridges")
    }
}

impl Bridges {
    /// The service.
    pub fn new(settings: Settings, parts: Parts) -> Self {
        let protocols = Cache::builder()
            .max_capacity(1_000)
            .time_to_live(PROTOCOLS_KEPT)
            .build();
        Self(Arc::new(Inner {
            process: parts.random.alphanumeric(16),
            settings,
            parts,
            reloaded: watch::Sender::new(()),
            protocols,
        }))
    }

    /// Says that the registrations were read again.
    pub fn reload(&self) {
        self.0.protocols.invalidate_all();
        self.0.reloaded.send_replace(());
    }
}
