//! A PostgreSQL server for one run of the tests, and a database of its own for each test.
//!
//! The server is made when the first test asks for it, in a temporary folder, without regard for
//! crashes. A guard process, which waits for the end of a pipe that this one holds, stops it and
//! removes its folder: that happens however this process ends.
//!
//! Tests run in threads with a runtime each, so nothing here keeps a connection.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    future::Future,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use chappe::cluster::{Cluster, ClusterOptions};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tokio::{sync::OnceCell, time::sleep};
use url::Url;

/// How many bytes must be free in memory for the server to be there.
const MEMORY_NEEDED: u64 = 4 << 30;

/// Waits for the end of its input, then stops the server and removes its folder, which may hold
/// no server yet.
const GUARD: &str = r#"
read -r _
pid=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
    kill -QUIT "$pid"
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ -e "$0/data/postmaster.pid" ] || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$0"
"#;

static SERVER: OnceLock<Server> = OnceLock::new();
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The server of this run.
struct Server {
    url: String,
    /// The last words of `CREATE DATABASE`.
    strategy: &'static str,
    /// The schemas that were made, or are being made.
    templates: Mutex<BTreeMap<&'static str, Arc<OnceCell<()>>>>,
    /// Takes the names of databases that may go.
    dropped: mpsc::Sender<String>,
    /// The guard's input, open as long as this process lives.
    _guard: ChildStdin,
}

/// A database that is gone some time after this value.
pub(crate) struct TestDatabase {
    /// Its address, good for this process and for its children.
    pub(crate) url: String,
    /// Its name.
    pub(crate) name: String,
}

impl TestDatabase {
    /// A connection of the test's own.
    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Some(server) = SERVER.get() {
            drop(server.dropped.send(std::mem::take(&mut self.name)));
        }
    }
}

/// A database with the schema that `migrate` makes, and that goes by the name `schema`.
///
/// The first `migrate` of a schema runs, on the address of an empty database; later callers get
/// copies of what it made.
pub(crate) async fn database<F, Fut>(schema: &'static str, migrate: F) -> TestDatabase
where
    F: FnOnce(String) -> Fut,
    Fut: Future<Output = ()>,
{
    let server = server();
    let made = Arc::clone(server.templates.lock().unwrap().entry(schema).or_default());
    made.get_or_init(|| server.make_template(schema, migrate))
        .await;
    server.copy(schema).await
}

/// A temporary folder, in memory if there is room, that the user who runs PostgreSQL may enter.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    let base = if free > MEMORY_NEEDED {
        memory.to_path_buf()
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new()
        .prefix("chappe-it-")
        .permissions(Permissions::from_mode(0o711))
        .tempdir_in(base)
        .unwrap()
}

/// The server of this run, which the first call starts.
fn server() -> &'static Server {
    // The runtime of a test must not be entered again: another thread does it.
    SERVER.get_or_init(|| thread::spawn(Server::start).join().unwrap())
}

impl Server {
    fn start() -> Self {
        let folder = folder().keep();
        let guard = guard(&folder);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let options = ClusterOptions {
            durable: false,
            settings: settings(),
            ..ClusterOptions::new(&folder)
        };
        let (url, strategy) = runtime.block_on(async {
            let cluster = Cluster::start(options, |_| ()).await.unwrap();
            let url = cluster.url();
            // The guard stops it.
            cluster.detach();
            let strategy = strategy(&url).await;
            (url, strategy)
        });
        let (dropped, names) = mpsc::channel();
        let janitor_url = url.clone();
        thread::spawn(move || runtime.block_on(drop_databases(&janitor_url, names)));
        Self {
            url,
            strategy,
            templates: Mutex::default(),
            dropped,
            _guard: guard,
        }
    }

    fn url_of(&self, name: &str) -> String {
        let mut url = Url::parse(&self.url).unwrap();
        url.set_path(name);
        url.into()
    }

    async fn make_template<F, Fut>(&self, name: &str, migrate: F)
    where
        F: FnOnce(String) -> Fut,
        Fut: Future<Output = ()>,
    {
        // One is there when a test failed while it made it.
        self.execute(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await;
        self.execute(format!("CREATE DATABASE {name}")).await;
        migrate(self.url_of(name)).await;
        // A database cannot be copied while somebody is connected.
        self.execute(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
            .await;
        self.execute(format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
        ))
        .await;
    }

    async fn copy(&self, template: &str) -> TestDatabase {
        let name = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.execute(format!(
            "CREATE DATABASE {name} TEMPLATE {template}{}",
            self.strategy
        ))
        .await;
        TestDatabase {
            url: self.url_of(&name),
            name,
        }
    }

    /// Runs a statement in the main database, on a connection of its own.
    async fn execute(&self, statement: String) {
        let mut conn = PgConnection::connect(&self.url).await.unwrap();
        conn.execute(AssertSqlSafe(statement)).await.unwrap();
        conn.close().await.unwrap();
    }
}

/// How to copy a template: as files, which takes a quarter of the time that the other way does,
/// through the log, for a schema of ninety tables. Before version 15 it was the only way.
async fn strategy(url: &str) -> &'static str {
    let mut conn = PgConnection::connect(url).await.unwrap();
    let version: String = sqlx::query_scalar("SHOW server_version_num")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    if version.parse::<u32>().unwrap() < 150_000 {
        ""
    } else {
        " STRATEGY FILE_COPY"
    }
}

/// Starts the guard of a folder. It lives until what is returned is closed.
pub(crate) fn guard(folder: &Path) -> ChildStdin {
    #[expect(clippy::zombie_processes, reason = "it ends after this process")]
    let child = Command::new("sh")
        .args(["-c", GUARD])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Out of reach of the terminal's signals.
        .process_group(0)
        .spawn()
        .unwrap();
    child.stdin.unwrap()
}

/// Many tests at once, and no checkpoint while they run.
fn settings() -> Vec<(String, String)> {
    [
        ("max_connections", "500"),
        ("autovacuum", "off"),
        ("wal_level", "minimal"),
        ("max_wal_senders", "0"),
        ("checkpoint_timeout", "1h"),
        ("max_wal_size", "1GB"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// Drops databases, one after the other, as their tests end.
async fn drop_databases(url: &str, names: mpsc::Receiver<String>) {
    let mut conn = PgConnection::connect(url).await.unwrap();
    while let Ok(name) = names.recv() {
        let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        // At worst it goes with the server.
        drop(conn.execute(AssertSqlSafe(statement)).await);
    }
}

#[tokio::test]
async fn each_test_has_its_own_copy_of_the_schema() {
    let migrate = |url: String| async move {
        let mut conn = PgConnection::connect(&url).await.unwrap();
        // Left open on purpose: a connection must not be in the way of the copies.
        conn.execute("CREATE TABLE shared (id BIGINT)")
            .await
            .unwrap();
        std::mem::forget(conn);
    };
    let one = database("copies", migrate).await;
    let other = database("copies", migrate).await;
    assert_ne!(one.name, other.name);
    for database in [&one, &other] {
        let mut conn = database.connect().await;
        for statement in [
            "INSERT INTO shared VALUES (1)",
            "CREATE TABLE own (id BIGINT)",
        ] {
            conn.execute(statement).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_server_goes_with_the_process_that_holds_its_guard() {
    let folder = folder().keep();
    let guard = guard(&folder);
    let options = ClusterOptions {
        durable: false,
        ..ClusterOptions::new(&folder)
    };
    let cluster = Cluster::start(options, |_| ()).await.unwrap();
    let url = cluster.url();
    cluster.detach();
    assert!(PgConnection::connect(&url).await.is_ok());
    drop(guard);
    while folder.exists() {
        sleep(Duration::from_millis(20)).await;
    }
    assert!(PgConnection::connect(&url).await.is_err());
}
