//! PostgreSQL goes away while people send, and comes back.

use std::{
    fs,
    path::Path,
    process::ChildStdin,
    time::{Duration, Instant},
};

use chappe::cluster::{Cluster, ClusterOptions};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    load::{self, Load},
    log,
    view::{self, View, list},
};
use crate::harness::{
    client::{Client, encode},
    postgres,
    server::{TestOptions, TestServer},
};

/// How long the database may be away, and news may be late after that.
const LIMIT: Duration = Duration::from_secs(20);
/// How often something is looked at.
const SOON: Duration = Duration::from_millis(20);

/// A cluster that is started again when it ends.
struct Watched {
    cluster: Cluster,
    folder: TempDir,
    stop: CancellationToken,
    watcher: JoinHandle<()>,
    _guard: ChildStdin,
}

impl Watched {
    async fn start() -> Self {
        let folder = postgres::folder();
        let guard = postgres::guard(folder.path());
        let options = ClusterOptions::new(folder.path());
        let cluster = Cluster::start(options, |_| ()).await.unwrap();
        let stop = CancellationToken::new();
        let watch = cluster.watch(stop.clone());
        Self {
            cluster,
            folder,
            stop,
            watcher: tokio::spawn(watch),
            _guard: guard,
        }
    }

    /// Ends the server with a signal, and waits until another one answers.
    async fn restart(&self, signal: Signal) {
        let first = pid(self.folder.path()).unwrap();
        kill_process(first, signal).unwrap();
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < LIMIT, "PostgreSQL stays away");
            let is_other = pid(self.folder.path()).is_some_and(|pid| pid != first);
            if is_other && PgConnection::connect(&self.cluster.url()).await.is_ok() {
                return;
            }
            sleep(SOON).await;
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.watcher.await.unwrap();
        self.cluster.stop().await;
    }
}

/// The server's process.
fn pid(folder: &Path) -> Option<Pid> {
    let text = fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.parse().ok()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_database_restarts_under_load() {
    let watched = Watched::start().await;
    let url = watched.cluster.url();
    let options = format!("[database]\nurl = {url:?}\nacquire_timeout_ms = 3000");
    let one = TestServer::start(TestOptions::with(&options)).await;
    let other = one.sibling().await;
    let anna = one.register("anna").await;
    let ben = one.register("ben").await;
    let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
    ben.join(&room_id).await.expect_ok();
    let urls = [one.url.as_str(), other.url.as_str()];
    let mut views = vec![View::new(&anna, &urls, 50), View::new(&ben, &urls, 50)];
    let quiet_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
    ben.join(&quiet_id).await.expect_ok();

    let senders = [&anna, &ben, &anna].map(|sender| sender.at(&one.url));
    let load = Load::start(senders, &room_id, usize::MAX);
    for signal in [Signal::KILL, Signal::INT, Signal::KILL, Signal::INT] {
        sleep(Duration::from_millis(300)).await;
        watched.restart(signal).await;
        // The other process hears of it again, without being started anew.
        let late = hears(&anna.at(&one.url), &ben.at(&other.url), &quiet_id).await;
        println!("after {signal:?}, the other process knew after {late:?}");
    }
    let acknowledged = load.stop().await;
    assert!(acknowledged.len() > 20, "{} texts", acknowledged.len());
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let end = log::stream_position(&mut conn).await;
    for (server, view) in views.iter_mut().enumerate() {
        view.sync_up_to(server, end).await.unwrap();
    }
    load::check(&mut conn, &room_id, &acknowledged, &views).await;
    drop((one, other));
    watched.stop().await;
}

/// How long it takes until what one sends to its process is told to the other by another process.
async fn hears(sender: &Client, reader: &Client, room_id: &str) -> Duration {
    let begun = Instant::now();
    let path = |number: u32| format!("rooms/{}/send/m.room.message/{number}", encode(room_id));
    let patient = async |method: reqwest::Method, path: &str, body: Option<&Value>| loop {
        assert!(begun.elapsed() < LIMIT, "{path} is not answered");
        let answer = reader_or(sender, reader, &method)
            .request(method.clone(), path, body)
            .await;
        if answer.status == 200 {
            return answer.body;
        }
        assert!(answer.status >= 500, "{}", answer.text);
        sleep(SOON).await;
    };
    let filter = encode(&json!({ "room": { "rooms": [room_id] } }).to_string());
    let first = format!("sync?filter={filter}");
    let begin = patient(reqwest::Method::GET, &first, None).await;
    let mut since = view::text(&begin["next_batch"]);
    let content = json!({ "msgtype": "m.text", "body": format!("{begun:?}") });
    let number = u32::try_from(begun.elapsed().subsec_nanos()).unwrap();
    let sent = patient(reqwest::Method::PUT, &path(number), Some(&content)).await;
    let sent_at = Instant::now();
    loop {
        assert!(sent_at.elapsed() < LIMIT, "the other process hears nothing");
        let path = format!("sync?filter={filter}&timeout=5000&since={}", encode(&since));
        let answer = patient(reqwest::Method::GET, &path, None).await;
        let mut events = list(&answer["rooms"]["join"][room_id]["timeline"]["events"]);
        if events.any(|event| event["event_id"] == sent["event_id"]) {
            return sent_at.elapsed();
        }
        since = view::text(&answer["next_batch"]);
    }
}

/// The reader asks, the sender sends.
fn reader_or<'a>(sender: &'a Client, reader: &'a Client, method: &reqwest::Method) -> &'a Client {
    if *method == reqwest::Method::GET {
        reader
    } else {
        sender
    }
}
