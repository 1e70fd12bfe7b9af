//! The private PostgreSQL cluster: made, started again, taken back, looked after.
//!
//! Run by root, these tests see PostgreSQL run by another user; by anybody else, by that user.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{ChildStdin, Command},
    sync::Mutex,
    time::Duration,
};

use chappe::cluster::{Cluster, ClusterError, ClusterOptions};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::harness::postgres;

/// How long anything may take here.
const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_first_start_makes_the_cluster_and_the_second_is_quick() {
    let folder = postgres::folder();
    let said = Mutex::new(Vec::new());
    let options = options(folder.path());
    let cluster = Cluster::start(options.clone(), |line| {
        said.lock().unwrap().push(line.to_owned());
    })
    .await
    .unwrap();
    assert!(said.lock().unwrap()[0].starts_with("creating the database cluster in "));
    assert_eq!(one(&cluster.url()).await, 1);
    execute(&cluster.url(), "CREATE TABLE kept (id BIGINT)").await;
    let (case, order): (String, bool) = sqlx::query_as("SELECT lower('ÉTÉ'), 'Z' < 'a'")
        .fetch_one(&mut connect(&cluster.url()).await)
        .await
        .unwrap();
    assert_eq!((case.as_str(), order), ("été", true));
    cluster.stop().await;

    let since = Instant::now();
    let cluster = start(options).await;
    assert!(since.elapsed() < Duration::from_secs(5));
    execute(&cluster.url(), "INSERT INTO kept VALUES (1)").await;
    cluster.stop().await;
    assert!(!folder.path().join("data/postmaster.pid").exists());
}

#[tokio::test]
async fn only_the_user_that_runs_the_server_can_reach_it() {
    let folder = made().await;
    let cluster = start(options(folder.path())).await;
    for name in ["data", "socket"] {
        let metadata = fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o700, "{name}");
        assert_ne!(metadata.uid(), 0, "{name}");
    }
    let tcp: String = sqlx::query_scalar("SELECT current_setting('listen_addresses')")
        .fetch_one(&mut connect(&cluster.url()).await)
        .await
        .unwrap();
    assert_eq!(tcp, "");
    cluster.stop().await;
}

#[tokio::test]
async fn a_killed_server_comes_back() {
    let folder = made().await;
    let cluster = start(options(folder.path())).await;
    let token = CancellationToken::new();
    let watcher = cluster.watch(token.clone());
    let scenario = async {
        execute(&cluster.url(), "CREATE TABLE kept (id BIGINT)").await;
        let first = pid(folder.path()).unwrap();
        kill_process(first, Signal::KILL).unwrap();
        until(|| pid(folder.path()).is_some_and(|pid| pid != first)).await;
        until_answer(&cluster.url()).await;
        execute(&cluster.url(), "INSERT INTO kept VALUES (1)").await;
        token.cancel();
    };
    timeout(LIMIT, async { tokio::join!(watcher, scenario) })
        .await
        .unwrap();
    cluster.stop().await;
    assert_eq!(pid(folder.path()), None);
}

#[tokio::test]
async fn a_stopped_server_stays_stopped() {
    let folder = made().await;
    let cluster = start(options(folder.path())).await;
    let watcher = cluster.watch(CancellationToken::new());
    timeout(LIMIT, async { tokio::join!(watcher, cluster.stop()) })
        .await
        .unwrap();
    assert_eq!(pid(folder.path()), None);
}

#[tokio::test]
async fn a_server_left_behind_is_taken_back_and_looked_after() {
    let folder = made().await;
    let cluster = start(options(folder.path())).await;
    let first = pid(folder.path()).unwrap();
    cluster.detach();

    let cluster = start(options(folder.path())).await;
    assert_eq!(pid(folder.path()), Some(first));
    assert_eq!(one(&cluster.url()).await, 1);
    let token = CancellationToken::new();
    let watcher = cluster.watch(token.clone());
    let scenario = async {
        kill_process(first, Signal::KILL).unwrap();
        until(|| pid(folder.path()).is_some_and(|pid| pid != first)).await;
        until_answer(&cluster.url()).await;
        token.cancel();
    };
    timeout(LIMIT, async { tokio::join!(watcher, scenario) })
        .await
        .unwrap();
    cluster.stop().await;
    assert_eq!(pid(folder.path()), None);
}

#[tokio::test]
async fn a_server_left_behind_with_other_settings_is_replaced() {
    let folder = made().await;
    let mut options = options(folder.path());
    let cluster = start(options.clone()).await;
    let first = pid(folder.path());
    cluster.detach();

    options
        .settings
        .push(("work_mem".to_owned(), "7MB".to_owned()));
    let cluster = start(options).await;
    assert_ne!(pid(folder.path()), first);
    let memory: String = sqlx::query_scalar("SELECT current_setting('work_mem')")
        .fetch_one(&mut connect(&cluster.url()).await)
        .await
        .unwrap();
    assert_eq!(memory, "7MB");
    cluster.stop().await;
}

#[tokio::test]
async fn a_dropped_cluster_stops_and_can_be_started_at_once() {
    let folder = made().await;
    let cluster = start(options(folder.path())).await;
    drop(cluster);
    let cluster = start(options(folder.path())).await;
    assert_eq!(one(&cluster.url()).await, 1);
    cluster.stop().await;
}

/// After a reboot the number may be that of any process.
#[tokio::test]
async fn a_pid_file_that_names_another_process_is_no_obstacle() {
    let folder = made().await;
    let cluster = start(options(folder.path())).await;
    let file = folder.path().join("data/postmaster.pid");
    let text = fs::read_to_string(&file).unwrap();
    let (server, rest) = text.split_once('\n').unwrap();
    let stale = format!("{}\n{rest}", std::process::id());
    let server = Pid::from_raw(server.parse().unwrap()).unwrap();
    cluster.detach();
    kill_process(server, Signal::KILL).unwrap();
    fs::write(&file, stale).unwrap();

    let cluster = start(options(folder.path())).await;
    assert_eq!(one(&cluster.url()).await, 1);
    cluster.stop().await;
}

#[tokio::test]
async fn a_second_owner_is_refused() {
    let folder = made().await;
    let cluster = start(options(folder.path())).await;
    let error = Cluster::start(options(folder.path()), |_| ())
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::InUse { .. }));
    assert!(error.to_string().ends_with("another chappe process"));
    assert_eq!(one(&cluster.url()).await, 1);
    cluster.stop().await;
}

#[tokio::test]
async fn without_binaries_the_package_is_named() {
    let folder = postgres::folder();
    let options = ClusterOptions {
        binaries: Some(folder.path().to_path_buf()),
        ..options(folder.path())
    };
    let error = Cluster::start(options, |_| ()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no PostgreSQL server is installed: install it (Debian, Ubuntu: apt-get install \
         postgresql), or name an existing server with database.url"
    );
}

#[tokio::test]
async fn a_cluster_of_another_version_names_the_binaries_it_needs() {
    let folder = made().await;
    start(options(folder.path())).await.stop().await;
    fs::write(folder.path().join("data/PG_VERSION"), "9\n").unwrap();
    let error = Cluster::start(options(folder.path()), |_| ())
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        ClusterError::OtherVersion { needed: 9, .. }
    ));
    assert!(error.to_string().contains("apt-get install postgresql-9)"));
}

#[tokio::test]
async fn a_wrong_setting_is_named() {
    let folder = made().await;
    let mut options = options(folder.path());
    let wrong = ("shared_buffers".to_owned(), "much".to_owned());
    options.settings.push(wrong);
    let error = Cluster::start(options, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("shared_buffers"), "{error}");
}

#[tokio::test]
async fn a_long_path_gets_a_short_socket() {
    let folder = postgres::folder();
    let long = folder.path().join("a".repeat(120));
    let cluster = start(options(&long)).await;
    assert_eq!(one(&cluster.url()).await, 1);
    assert!(!cluster.url().contains("aaaa"));
    cluster.stop().await;
}

/// As in `/root`: the cluster goes where its user can work, and is found there again.
#[tokio::test]
async fn root_shelters_a_cluster_that_its_user_cannot_reach() {
    if !geteuid().is_root() {
        return;
    }
    let (closed, shelter) = (postgres::folder(), postgres::folder());
    fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).unwrap();
    let folder = closed.path().join("postgres");
    let options = ClusterOptions {
        shelter: shelter.path().join("chappe"),
        ..options(&folder)
    };
    let said = Mutex::new(Vec::new());
    let cluster = Cluster::start(options.clone(), |line| {
        said.lock().unwrap().push(line.to_owned());
    })
    .await
    .unwrap();
    assert!(said.lock().unwrap()[0].contains("is closed to the user that runs PostgreSQL"));
    execute(&cluster.url(), "CREATE TABLE kept (id BIGINT)").await;
    cluster.stop().await;

    let moved = closed.path().join("moved");
    fs::rename(&folder, &moved).unwrap();
    let cluster = start(ClusterOptions {
        folder: moved,
        ..options
    })
    .await;
    execute(&cluster.url(), "INSERT INTO kept VALUES (1)").await;
    cluster.stop().await;
}

/// A folder with a stopped cluster. It is a copy: making one takes long.
async fn made() -> TempDir {
    static MADE: OnceCell<(PathBuf, ChildStdin)> = OnceCell::const_new();
    let make = || async {
        let folder = postgres::folder().keep();
        let guard = postgres::guard(&folder);
        start(options(&folder)).await.stop().await;
        (folder, guard)
    };
    let (original, _guard) = MADE.get_or_init(make).await;
    let folder = postgres::folder();
    let status = Command::new("cp")
        .arg("-a")
        .arg(original.join("data"))
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    folder
}

/// As in production, but for the safety of the data.
fn options(folder: &Path) -> ClusterOptions {
    ClusterOptions {
        durable: false,
        ..ClusterOptions::new(folder)
    }
}

async fn start(options: ClusterOptions) -> Cluster {
    timeout(LIMIT, Cluster::start(options, |_| ()))
        .await
        .unwrap()
        .unwrap()
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn one(url: &str) -> i32 {
    sqlx::query_scalar::<_, i32>("SELECT 1")
        .fetch_one(&mut connect(url).await)
        .await
        .unwrap()
}

async fn execute(url: &str, statement: &'static str) {
    connect(url).await.execute(statement).await.unwrap();
}

/// The process that the pid file names.
fn pid(folder: &Path) -> Option<Pid> {
    let text = fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.parse().ok()?)
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        sleep(Duration::from_millis(20)).await;
    }
}

async fn until_answer(url: &str) {
    while PgConnection::connect(url).await.is_err() {
        sleep(Duration::from_millis(20)).await;
    }
}
