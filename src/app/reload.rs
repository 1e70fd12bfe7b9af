//! Reads the configuration again while the server runs.
//!
//! All of a new configuration is taken over, or nothing: a fault, or a change that needs a
//! restart, is told in the log, and what was in force stays in force.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::task::spawn_blocking;

use super::{Source, settings};
use crate::{
    accounts::Accounts,
    appservice::Registry,
    bridges::Bridges,
    config::{Config, Problem},
    http::{Capabilities, RateLimits},
    lifecycle::Lifecycle,
    policy::Policy,
    telemetry::LogHandle,
};

/// What follows the configuration.
pub(super) struct Reload {
    pub(super) source: Source,
    pub(super) log: Option<LogHandle>,
    pub(super) policy: Arc<ArcSwap<Policy>>,
    pub(super) limits: RateLimits,
    pub(super) accounts: Accounts,
    pub(super) capabilities: Capabilities,
    pub(super) bridges: Bridges,
}

/// What is wrong, in words.
fn words<T: ToString>(problems: &[T]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// Says in the log what became of a new configuration; gives it if it is in force.
fn tell(taken: Result<Config, Vec<String>>) -> Option<Config> {
    match taken {
        Ok(new) => {
            tracing::info!("the configuration was read again");
            Some(new)
        }
        Err(problems) => {
            let problems = problems.join("; ");
            tracing::error!(problems, "the new configuration is not taken over");
            None
        }
    }
}

impl Reload {
    /// Takes over each new configuration, until a shutdown. `current` is the one in force, with
    /// the public address as it was completed from the listeners.
    pub(super) async fn run(self, mut current: Config, lifecycle: Lifecycle) {
        let soft = lifecycle.soft();
        let mut reloads = lifecycle.reloads();
        while let Some(Ok(())) = soft.run_until_cancelled(reloads.changed()).await {
            let source = Arc::clone(&self.source);
            // Reads files.
            let read = spawn_blocking(move || {
                let new = source().map_err(|errors| words(&errors.0))?;
                let services = settings::registrations(&new);
                Ok((new, services.map_err(|problems| words(&problems))?))
            });
            let Ok(read) = read.await else {
                tracing::error!("reading the configuration panicked");
                continue;
            };
            let taken = read.and_then(|(new, services)| self.take_over(&current, new, services));
            current = tell(taken).unwrap_or(current);
            let services = self.accounts.services().load_full();
            if let Err(error) = self.accounts.prepare_services(&services).await {
                tracing::warn!(%error, "the users of application services could not be made");
            }
        }
    }

    fn take_over(
        &self,
        current: &Config,
        mut new: Config,
        services: Registry,
    ) -> Result<Config, Vec<String>> {
        if new.server.public_url.port() == Some(0) {
            new.server.public_url = current.server.public_url.clone();
        }
        let told = |problems: Vec<Problem>| words(&problems);
        current.live_changes(&new).map_err(told)?;
        let policy =
            Policy::new(&new.policy, new.server.profile, &new.server.name).map_err(told)?;
        if let Some(log) = &self.log {
            let level = &new.logging.level;
            let set = log.set_level(level);
            set.map_err(|error| vec![format!("logging.level: {error}")])?;
        }
        let capabilities = settings::capabilities(&policy, &new);
        self.capabilities.reload(&capabilities);
        self.policy.store(Arc::new(policy));
        self.accounts.services().store(Arc::new(services));
        self.bridges.reload();
        self.limits.reload(&settings::rate_limits(&new.limits));
        self.accounts
            .reload_limits(settings::account_limits(&new.limits));
        Ok(new)
    }
}
