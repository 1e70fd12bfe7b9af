//! A whole server inside the test's own process, on a database of its own.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use chappe::{
    app::{App, AppOptions},
    clock::{ManualClock, SharedClock},
    config::Config,
    lifecycle::{Drained, Lifecycle},
    mail::OutboxMail,
    random::Random,
    store::{self, Database, PooledConn, StoreOptions, live::LiveOptions},
};
use tempfile::TempDir;
use tokio::sync::watch;
use toml::{Table, Value};

use super::{
    client::Client,
    postgres::{self, TestDatabase},
    process::until,
};

/// A pool that is soon taken, and given up on before long. Some of it listens all the time.
pub(crate) const SMALL_POOL: &str = "[database]\nmax_connections = 4\nacquire_timeout_ms = 2000";

/// The password of users that are registered without one.
pub(crate) const PASSWORD: &str = "Correct-horse7";

/// How a server is set up. By default it has the profile `open`, lets everybody register, limits
/// nothing, and keeps its mails in an outbox.
#[derive(Clone, Default)]
pub(crate) struct TestOptions {
    /// TOML that goes before the settings of tests.
    pub(crate) config: String,
    /// A clock that stands still; the machine's if not set.
    pub(crate) clock: Option<Arc<ManualClock>>,
    /// The port of a mail server on this machine, which speaks without TLS.
    pub(crate) smtp_port: Option<u16>,
    /// How much of the recent past is held in memory; what a server holds if not set.
    pub(crate) memory: Option<LiveOptions>,
    /// Makes hashes cost what they cost in production, and answers pause.
    pub(crate) slow: bool,
}

impl TestOptions {
    /// The settings of tests, and these before them.
    pub(crate) fn with(config: &str) -> Self {
        Self {
            config: config.to_owned(),
            ..Self::default()
        }
    }

    /// A server that remembers nothing of the stream.
    pub(crate) fn forgetful() -> Self {
        Self {
            memory: Some(LiveOptions {
                window_bytes: 1,
                ..LiveOptions::default()
            }),
            ..Self::default()
        }
    }
}

/// A server. It ends when it is dropped, without a farewell; see also [`TestServer::stop`].
pub(crate) struct TestServer {
    pub(crate) app: App,
    /// Where it is, without a slash at the end.
    pub(crate) url: String,
    shared: Arc<Shared>,
    /// What it reads at a reload.
    text: Arc<Mutex<String>>,
    /// How often it did.
    reads: watch::Receiver<usize>,
}

/// What siblings share.
struct Shared {
    database: TestDatabase,
    folder: TempDir,
    options: TestOptions,
}

impl TestServer {
    /// A server with the settings of tests.
    pub(crate) async fn new() -> Self {
        Self::start(TestOptions::default()).await
    }

    /// A server with settings of its own.
    pub(crate) async fn start(options: TestOptions) -> Self {
        let shared = Shared {
            database: database().await,
            folder: postgres::folder(),
            options,
        };
        Self::start_on(Arc::new(shared)).await
    }

    /// Another process, as it were, on the same database and data folder.
    pub(crate) async fn sibling(&self) -> Self {
        Self::start_on(Arc::clone(&self.shared)).await
    }

    async fn start_on(shared: Arc<Shared>) -> Self {
        let options = &shared.options;
        let folder = shared.folder.path().join("data");
        let text = config(&shared.database.url, &folder, options);
        let config = Config::from_toml(&text).unwrap();
        let text = Arc::new(Mutex::new(text));
        let source = Arc::clone(&text);
        let (told, reads) = watch::channel(0);
        let clock = options.clock.clone();
        let defaults = AppOptions::default();
        let app = App::build(
            config,
            AppOptions {
                lifecycle: Lifecycle::new(),
                clock: clock.map_or(defaults.clock, |clock| -> SharedClock { clock }),
                // Siblings must not choose the same ids.
                random: Random::from_os(),
                source: Some(Arc::new(move || {
                    let read = Config::from_toml(&source.lock().unwrap());
                    told.send_modify(|reads| *reads += 1);
                    read
                })),
                memory: options.memory.unwrap_or(defaults.memory),
                program: Some(env!("CARGO_BIN_EXE_chappe").into()),
                quick: !options.slow,
                ..AppOptions::default()
            },
        )
        .await
        .unwrap();
        let url = app.public_url().as_str().trim_end_matches('/').to_owned();
        Self {
            app,
            url,
            shared,
            text,
            reads,
        }
    }

    /// The data folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.shared.folder.path().join("data")
    }

    /// The database.
    pub(crate) fn database(&self) -> &TestDatabase {
        &self.shared.database
    }

    /// Takes all connections of its pool; quickly with [`SMALL_POOL`].
    pub(crate) async fn all_connections(&self) -> Vec<PooledConn> {
        let mut held = Vec::new();
        while let Ok(conn) = self.app.store().conn().await {
            held.push(conn);
        }
        assert!(!held.is_empty());
        held
    }

    /// A client without a session.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// A client with the session of a new user.
    pub(crate) async fn register(&self, name: &str) -> Client {
        let mut client = self.client();
        client.register(name, PASSWORD).await;
        client
    }

    /// Makes somebody an administrator.
    pub(crate) async fn make_admin(&self, client: &Client) {
        let user_id = client.user_id.as_str().try_into().unwrap();
        let accounts = self.app.accounts();
        accounts.set_admin(user_id, true).await.unwrap();
    }

    /// Registers an administrator.
    pub(crate) async fn register_admin(&self, name: &str) -> Client {
        let client = self.register(name).await;
        self.make_admin(&client).await;
        client
    }

    /// The newest mail of the outbox to an address, once all that wait are there.
    pub(crate) async fn mail_to(&self, address: &str) -> OutboxMail {
        let mails = self.mails().await;
        mails.into_iter().find(|mail| mail.to == address).unwrap()
    }

    /// The mails of the outbox, newest first, once all that wait are there.
    pub(crate) async fn mails(&self) -> Vec<OutboxMail> {
        self.mails_sent().await;
        let outbox = self.app.mailer().outbox().unwrap();
        outbox.list().await.unwrap()
    }

    /// Waits until no mail waits any more.
    pub(crate) async fn mails_sent(&self) {
        let store = self.app.store();
        let is_empty = async || {
            let mut conn = store.conn().await.unwrap();
            store::mails::backlog(&mut conn).await.unwrap().count == 0
        };
        until("sent", || "mails wait".to_owned(), is_empty).await;
    }

    /// Lets the server read another configuration: TOML that goes before the settings of tests.
    /// It is taken over, or refused, soon after it was read, which is waited for.
    pub(crate) async fn reload(&self, config_text: &str) {
        let mut reads = self.reads.clone();
        let before = *reads.borrow_and_update();
        let options = TestOptions {
            config: config_text.to_owned(),
            ..self.shared.options.clone()
        };
        let url = &self.shared.database.url;
        *self.text.lock().unwrap() = config(url, &self.folder(), &options);
        self.app.lifecycle().request_reload();
        reads.wait_for(|reads| *reads > before).await.unwrap();
    }

    /// Ends the server as a signal would, and waits for it.
    pub(crate) async fn stop(self) -> Drained {
        let lifecycle = self.app.lifecycle().clone();
        lifecycle.request_shutdown("test");
        // Taken apart by hand: dropping cuts off.
        let Self { app, .. } = self;
        app.shutdown().await
    }
}

/// A database with the tables of this program.
pub(crate) async fn database() -> TestDatabase {
    let migrate = |url: String| async move {
        let options = StoreOptions {
            url,
            max_connections: 1,
            acquire_timeout: Duration::from_secs(20),
            statement_timeout: Duration::ZERO,
        };
        let database = Database::open(&options).unwrap();
        database.migrate().await.unwrap();
    };
    postgres::database("main", migrate).await
}

/// A configuration: that of tests, and before it that of the options.
pub(crate) fn config(database_url: &str, folder: &Path, options: &TestOptions) -> String {
    let mut table: Table = format!(
        r#"
        [server]
        name = "example.org"
        profile = "open"
        public_url = "http://127.0.0.1:0"
        data_folder = {folder:?}
        [database]
        url = {database_url:?}
        max_connections = 8
        [[listeners]]
        address = "127.0.0.1:0"
        serves = ["client", "health", "metrics", "development"]
        [registration]
        open = true
        [limits]
        enabled = false
        [logging]
        level = "info,chappe=debug"
        "#
    )
    .parse()
    .unwrap();
    if let Some(port) = options.smtp_port {
        let mail = format!("[mail]\nhost = \"127.0.0.1\"\nport = {port}\nencryption = \"none\"");
        merge(&mut table, mail.parse().unwrap());
    }
    merge(&mut table, options.config.parse().unwrap());
    table.to_string()
}

/// Puts `over` before what is there. Lists are replaced.
fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}
