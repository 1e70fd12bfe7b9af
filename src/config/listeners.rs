//! `[[listeners]]`: the addresses to listen at, and what each one serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Problem;

/// One entry of `[[listeners]]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// The address and port to listen at.
    pub address: SocketAddr,
    /// What is served there.
    pub serves: BTreeSet<Surface>,
    /// The networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// A part of what the server answers.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Surface {
    /// The client-server API and the pages that people see.
    Client,
    /// Whether the process lives and is ready.
    Health,
    /// Measures for Prometheus.
    Metrics,
    /// What other servers of the same deployment may ask, without a password: for a closed network.
    Internal,
    /// The outbox and other pages that only a developer may see.
    Development,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8008)),
            serves: BTreeSet::from([Surface::Client, Surface::Health]),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Listener {
    /// Whether `surface` is served here.
    pub fn serves(&self, surface: Surface) -> bool {
        self.serves.contains(&surface)
    }
}

/// The listeners of a server whose configuration names none.
pub(super) fn default_listeners() -> Vec<Listener> {
    vec![Listener::default()]
}

pub(super) fn validate(listeners: &[Listener]) -> Vec<Problem> {
    let mut problems = Vec::new();
    if listeners.is_empty() {
        problems.push(Problem::new(
            "listeners",
            "is empty; expected one listener or more",
        ));
    }
    let mut taken = BTreeMap::new();
    for (at, listener) in listeners.iter().enumerate() {
        let address = listener.address;
        if listener.serves.is_empty() {
            let key = format!("listeners[{at}].serves");
            problems.push(Problem::new(key, "is empty; expected something to serve"));
        }
        if listener.serves(Surface::Development) && !address.ip().is_loopback() {
            let message = format!(
                "`development` shows every mail and cannot be served at {address}; expected an \
                 address of this machine only, such as 127.0.0.1"
            );
            problems.push(Problem::new(format!("listeners[{at}].serves"), message));
        }
        // The system picks another port each time for port 0.
        if address.port() == 0 {
            continue;
        }
        if let Some(first) = taken.insert(address, at) {
            let message = format!("{address} is the address of listeners[{first}] already");
            problems.push(Problem::new(format!("listeners[{at}].address"), message));
        }
    }
    problems
}
