//! What works without requests: the database, the journal, accounts, rooms. Commands use it
//! alone.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    AppOptions, BadConfiguration,
    database::{self, Opened},
    mail, settings, signing_key,
};
use crate::{
    accounts::Accounts,
    audit::Audit,
    cluster::Cluster,
    config::Config,
    identity::Identity,
    keys::Keys,
    lifecycle::{Drained, GRACE, Lifecycle},
    mail::Mailer,
    media::Media,
    notices::Notices,
    outbound::Outbound,
    policy::Policy,
    previews::Previews,
    push::Push,
    rooms::Rooms,
    scanner::Scanner,
    store::{
        Store,
        journal::{JournalObserver, JournalTask},
    },
    telemetry::Metrics,
};

/// How long the connections may take to close; the database ends them itself if they do not.
const CLOSING: Duration = Duration::from_secs(5);

/// The services below HTTP.
pub struct Core {
    /// Runs and ends the tasks.
    pub lifecycle: Lifecycle,
    /// The measures.
    pub metrics: Metrics,
    /// The database.
    pub store: Store,
    /// The policy in force.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Requests to servers elsewhere.
    pub outbound: Outbound,
    /// Where mails go.
    pub mailer: Mailer,
    /// Where it is written who changed what.
    pub audit: Audit,
    /// Accounts and sessions.
    pub accounts: Accounts,
    /// What people upload.
    pub media: Media,
    /// What looks for viruses in it.
    pub scanner: Scanner,
    /// Previews of web pages.
    pub previews: Previews,
    /// Rooms.
    pub rooms: Rooms,
    /// End-to-end encryption.
    pub keys: Keys,
    /// Whose address is whose, and invitations by e-mail.
    pub identity: Identity,
    /// What the operator tells people.
    pub notices: Notices,
    /// Telling devices what notifies their users.
    pub push: Push,
    /// Stops the journal, after what waits was written.
    pub(super) journal_stop: CancellationToken,
    cluster: Option<Cluster>,
}

impl Core {
    /// Builds the services. Without `database.url` the private cluster is started, or, where
    /// another process looks after it, used.
    ///
    /// # Errors
    /// [`BadConfiguration`] is among the causes where the configuration is to blame.
    #[expect(
        clippy::too_many_lines,
        reason = "all services in order, one after the other"
    )]
    pub async fn build(config: &Config, options: &AppOptions) -> anyhow::Result<Self> {
        let server = &config.server;
        // Before anything slow.
        let policy = Policy::new(&config.policy, server.profile, &server.name)
            .map_err(BadConfiguration)
            .context("the policy cannot be used")?;
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        let services = settings::registrations(config)
            .map_err(BadConfiguration)
            .context("the registrations of application services cannot be used")?;
        let services = Arc::new(ArcSwap::from_pointee(services));
        settings::prepare_data_folder(server)?;
        let key = signing_key::load_or_generate(&server.signing_key_file(), &options.random)?;
        let writer = mail::writer(config, options)?;
        let carrier = mail::carrier(config, options)?;
        let outbound = Outbound::new(&settings::outbound(config)?)?;
        let metrics = Metrics::new()?;

        let lifecycle = options.lifecycle.clone();
        let Opened { database, cluster } = database::open(config, options).await?;
        if let Some(cluster) = &cluster {
            lifecycle.spawn("postgresql", cluster.watch(lifecycle.soft()));
        }
        let (store, queue) = database
            .start(options.memory)
            .await
            .context("the database cannot be read")?;
        let now = options.clock.now_i64();
        signing_key::require_current(&store, &key, &server.signing_key_file(), now).await?;
        let mailer = Mailer::new(
            writer,
            carrier,
            config.mail.timeout.get(),
            store.clone(),
            Arc::clone(&options.clock),
            options.random.clone(),
        );
        let journal_stop = CancellationToken::new();
        let observer = Arc::new(Observer(metrics.clone()));
        let journal = JournalTask::new(store.clone(), queue, Some(observer));
        lifecycle.spawn_critical("journal", journal.run(journal_stop.clone()));

        let target = settings::audit(config);
        let (audit, writer) = Audit::open(&target, Arc::clone(&options.clock), &options.random)
            .context("the audit log cannot be opened")?;
        if let Some(writer) = writer {
            let task = writer.run(lifecycle.reloads(), journal_stop.clone());
            lifecycle.spawn_critical("audit", task);
        }
        let mut settings = settings::accounts(config, &services);
        options.adjust(&mut settings);
        let accounts = Accounts::new(
            settings,
            store.clone(),
            Arc::clone(&policy),
            mailer.clone(),
            audit.clone(),
            Arc::clone(&options.clock),
            options.random.clone(),
        );
        let Files {
            media,
            scanner,
            previews,
        } = Files::build(config, options, &store, &outbound).await?;
        let rooms = Rooms::new(
            settings::rooms(config, &services),
            store.clone(),
            Arc::clone(&policy),
            key,
            Arc::clone(&options.clock),
            options.random.clone(),
        );
        let keys = Keys::new(
            server.name.clone(),
            store.clone(),
            Arc::clone(&policy),
            Arc::clone(&options.clock),
        );
        let notices = Notices::new(
            settings::notices(config),
            store.clone(),
            accounts.clone(),
            rooms.clone(),
        );
        let identity = Identity::new(
            settings::identity(config),
            store.clone(),
            Arc::clone(&policy),
            rooms.clone(),
            mailer.clone(),
            Arc::clone(&options.clock),
            options.random.clone(),
        );
        let push = Push::new(
            settings::push(config),
            store.clone(),
            rooms.clone(),
            outbound.clone(),
            mailer.clone(),
            Arc::clone(&options.clock),
            options.random.clone(),
        );
        Ok(Self {
            lifecycle,
            metrics,
            store,
            policy,
            outbound,
            mailer,
            audit,
            accounts,
            media,
            scanner,
            previews,
            rooms,
            keys,
            identity,
            notices,
            push,
            journal_stop,
            cluster,
        })
    }

    /// Ends the services of a command: nothing asks for the journal any more.
    pub async fn shutdown(self) -> Drained {
        self.lifecycle.request_shutdown("done");
        self.journal_stop.cancel();
        let drained = self.lifecycle.drain(GRACE).await;
        self.close().await;
        drained
    }

    /// Closes the database, once all tasks have ended.
    pub(super) async fn close(self) {
        if let Err(error) = self.accounts.flush().await {
            tracing::warn!(%error, "when devices were last seen could not be written");
        }
        if timeout(CLOSING, self.store.close()).await.is_err() {
            tracing::warn!("some connections to the database do not close");
        }
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

/// What is done with files.
struct Files {
    media: Media,
    scanner: Scanner,
    previews: Previews,
}

impl Files {
    async fn build(
        config: &Config,
        options: &AppOptions,
        store: &Store,
        outbound: &Outbound,
    ) -> anyhow::Result<Self> {
        let media = Media::new(
            settings::media(config, options.program.as_deref()),
            store.clone(),
            Arc::clone(&options.clock),
            options.random.clone(),
        )
        .context("the place for media cannot be used")?;
        let previews = Previews::new(
            settings::previews(config),
            store.clone(),
            outbound.clone(),
            media.clone(),
            Arc::clone(&options.clock),
        );
        let (scanner, key) = settings::scanner(config)?;
        let scanner = Scanner::new(
            scanner,
            key,
            store.clone(),
            media.clone(),
            Arc::clone(&options.clock),
            &options.random,
        );
        Ok(Self {
            scanner: scanner.await.context("the scanner's key cannot be read")?,
            media,
            previews,
        })
    }
}

/// Measures the journal.
struct Observer(Metrics);

impl JournalObserver for Observer {
    #[expect(clippy::cast_precision_loss, reason = "batches are small")]
    fn committed(&self, writes: usize, took: Duration, waiting: usize) {
        self.0.journal_batch_size.observe(writes as f64);
        self.0.journal_commit_duration.observe(took.as_secs_f64());
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        self.0.journal_queue_depth.set(waiting);
    }
}
