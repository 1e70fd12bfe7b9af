//! Resolves names, and keeps back the addresses that may not be reached. What is connected to is
//! what was checked: there is no second look-up between.

use std::{net::SocketAddr, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{address::Allowed, error::Refused};

/// The resolver of the machine, with the check.
#[derive(Debug)]
pub(super) struct Resolver {
    allowed: Arc<Allowed>,
}

impl Resolver {
    pub(super) fn new(allowed: Arc<Allowed>) -> Self {
        Self { allowed }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = Arc::clone(&self.allowed);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            let was_found = !found.is_empty();
            let reachable: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| allowed.allows(address.ip()))
                .collect();
            if was_found && reachable.is_empty() {
                return Err(Refused.into());
            }
            let addresses: Addrs = Box::new(reachable.into_iter());
            Ok(addresses)
        })
    }
}
