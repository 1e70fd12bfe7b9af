//! The composition root: every service is built here, once, lowest layer first.
//!
//! [`Core::build`] makes what needs no requests: the database (and the private cluster, where none
//! is configured), the journal, accounts and rooms. [`App::build`] puts HTTP on top, and the tasks
//! that run beside requests. [`App::shutdown`] ends all of it in the reverse order: listeners,
//! requests, the journal, the pool, the cluster.
//!
//! Nothing here is global: tests run many of these in one process.

mod core;
mod database;
mod http;
mod jobs;
mod listeners;
pub mod mail;
mod readiness;
mod reload;
mod settings;
mod signing_key;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use self::core::Core;
use self::listeners::Listeners;
use crate::{
    accounts::{self, Accounts, HashCost},
    clock::{SharedClock, SystemClock},
    config::{Config, ConfigErrors, Problem},
    http::AppState,
    identity::Identity,
    lifecycle::{Drained, GRACE, Lifecycle},
    mail::Mailer,
    media::Media,
    random::Random,
    rooms::Rooms,
    store::{Store, live::LiveOptions},
    sync::{self, SyncObserver},
    telemetry::{LogHandle, Metrics},
};

/// Is told of slow steps, with a sentence for people.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// Reads the configuration again.
pub type Source = Arc<dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync>;

/// What an [`App`] takes from its surroundings.
#[derive(Clone)]
pub struct AppOptions {
    /// Runs and ends the tasks.
    pub lifecycle: Lifecycle,
    /// Where the time comes from.
    pub clock: SharedClock,
    /// Where chance comes from.
    pub random: Random,
    /// Is told of slow steps.
    pub progress: Progress,
    /// Where the configuration is read again. Without it, that is not offered.
    pub source: Option<Source>,
    /// The log, whose level follows the configuration.
    pub log: Option<LogHandle>,
    /// Whether a private cluster that another process looks after may be used. For commands.
    pub shares_cluster: bool,
    /// How much of the recent past is held in memory.
    pub memory: LiveOptions,
    /// The program that reads images: this one if not set. Tests run in another.
    pub program: Option<PathBuf>,
    /// Does without what is slow on purpose: costly hashes, and pauses before answers. For tests.
    pub quick: bool,
}

impl Default for AppOptions {
    /// The machine's clock and chance, and nobody who listens.
    fn default() -> Self {
        Self {
            lifecycle: Lifecycle::new(),
            clock: Arc::new(SystemClock),
            random: Random::from_os(),
            progress: Arc::new(|_| ()),
            source: None,
            log: None,
            shares_cluster: false,
            memory: LiveOptions::default(),
            program: None,
            quick: false,
        }
    }
}

impl AppOptions {
    /// Changes the settings of accounts where nothing slow is wanted.
    fn adjust(&self, settings: &mut accounts::Settings) {
        if self.quick {
            settings.hash_cost = HashCost::Least;
            settings.pause_ms = 0..0;
        }
    }
}

/// Lets the key in the file of the configuration sign for the server from now on; see
/// `chappe signing-key rotate`. Gives the names of the old one and the new one.
///
/// # Errors
/// The file or the database cannot be used, or the key is the current one.
pub async fn rotate_signing_key(
    config: &Config,
    options: &AppOptions,
) -> anyhow::Result<(String, String)> {
    signing_key::rotate(config, options).await
}

/// The configuration has a fault that shows only once it is used.
#[derive(Clone, Debug)]
pub struct BadConfiguration(pub Vec<Problem>);

impl std::fmt::Display for BadConfiguration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BadConfiguration {}

/// A server that serves.
pub struct App {
    core: Core,
    state: AppState,
    addresses: Vec<SocketAddr>,
    public_url: Url,
}

impl App {
    /// Builds the server and begins to serve.
    ///
    /// Where `server.public_url` has port 0, it gets the port of the first listener, which the
    /// system chooses if that one's is 0 too.
    ///
    /// # Errors
    /// [`BadConfiguration`] is among the causes where the configuration is to blame. Whatever was
    /// begun is ended.
    pub async fn build(config: Config, options: AppOptions) -> anyhow::Result<Self> {
        let lifecycle = options.lifecycle.clone();
        let built = Self::try_build(config, options).await;
        if built.is_err() {
            lifecycle.abort();
        }
        built
    }

    async fn try_build(mut config: Config, options: AppOptions) -> anyhow::Result<Self> {
        // First of all, so that a second server on the same addresses changes nothing.
        let listeners = Listeners::reserve(&config.listeners)?;
        listeners.complete(&mut config.server.public_url);
        // Boxed: it is large, and alive as long as this is.
        let core = Box::pin(Core::build(&config, &options)).await?;
        let soft = options.lifecycle.soft();
        let waiting = Arc::new(Waiting(core.metrics.clone()));
        let presence = sync::Presence::new(
            config.presence.is_on(config.server.profile),
            core.store.clone(),
            Arc::clone(&options.clock),
            &options.random,
        );
        let sync = sync::Sync::new(
            core.store.clone(),
            core.rooms.clone(),
            core.keys.clone(),
            presence.clone(),
            soft,
            Some(waiting),
            Arc::clone(&options.clock),
            options.random.clone(),
        );
        let services = core.accounts.services().load_full();
        core.accounts.prepare_services(&services).await?;
        let bridges = http::bridges(&config, &core, presence.clone(), &options)?;
        let state = http::state(&config, &core, sync, bridges.clone(), &options)?;
        let addresses = listeners.addresses();
        let lifecycle = &options.lifecycle;
        let routers = http::routers(&config.listeners, &state, &core.mailer);
        let server = crate::http::Server::new(&settings::server(&config.limits));
        let serving = listeners.serve(&server, routers, &lifecycle.soft())?;
        let store = core.store.clone();
        // The journal goes on until no request can want it, however requests end.
        let journal = core.journal_stop.clone().drop_guard();
        let soft = lifecycle.soft();
        lifecycle.spawn_critical("http", async move {
            let _journal = journal;
            let wake = wake_at(soft, store);
            tokio::join!(serving, wake);
        });
        jobs::follow(&core, &presence);
        lifecycle.spawn(
            "application services",
            bridges.clone().run(lifecycle.soft()),
        );
        jobs::spawn(&core, &options.clock);
        let public_url = config.server.public_url.clone();
        if let Some(source) = &options.source {
            let reload = reload::Reload {
                source: Arc::clone(source),
                log: options.log.clone(),
                policy: Arc::clone(&core.policy),
                limits: state.limits.clone(),
                accounts: core.accounts.clone(),
                capabilities: state.capabilities.clone(),
                bridges,
            };
            lifecycle.spawn("reload", reload.run(config, lifecycle.clone()));
        }
        Ok(Self {
            core,
            state,
            addresses,
            public_url,
        })
    }

    /// The addresses that are listened at, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where clients reach the server.
    pub fn public_url(&self) -> &Url {
        &self.public_url
    }

    /// What runs and ends the tasks.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.core.lifecycle
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.core.store
    }

    /// Accounts and sessions.
    pub fn accounts(&self) -> &Accounts {
        &self.core.accounts
    }

    /// Rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.core.rooms
    }

    /// Keys of devices, and messages to them.
    pub fn keys(&self) -> &crate::keys::Keys {
        &self.core.keys
    }

    /// Who is there.
    pub fn presence(&self) -> &sync::Presence {
        self.state.sync.presence()
    }

    /// What people upload.
    pub fn media(&self) -> &Media {
        &self.core.media
    }

    /// Whose address is whose, and invitations by e-mail.
    pub fn identity(&self) -> &Identity {
        &self.core.identity
    }

    /// The policy in force.
    pub fn policy(&self) -> &Arc<ArcSwap<crate::policy::Policy>> {
        &self.core.policy
    }

    /// Telling devices what notifies their users.
    pub fn push(&self) -> &crate::push::Push {
        &self.core.push
    }

    /// Where mails go.
    pub fn mailer(&self) -> &Mailer {
        &self.core.mailer
    }

    /// The measures.
    pub fn metrics(&self) -> &Metrics {
        &self.core.metrics
    }

    /// What handlers work with.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Ends the server: requests under way are answered, and what was accepted is written.
    pub async fn shutdown(self) -> Drained {
        self.core.lifecycle.request_shutdown("asked to");
        self.ended().await
    }

    /// Waits until somebody asks for a shutdown, and for its end.
    pub async fn ended(self) -> Drained {
        let drained = self.core.lifecycle.drain(GRACE).await;
        self.core.close().await;
        drained
    }
}

/// Measures how many syncs wait.
struct Waiting(Metrics);

impl SyncObserver for Waiting {
    fn waiting(&self, change: i64) {
        self.0.sync_waiters.add(change);
    }
}

/// Lets the syncs that wait answer once a shutdown is asked for.
async fn wake_at(soft: CancellationToken, store: Store) {
    soft.cancelled().await;
    store.live().wake_all();
}
