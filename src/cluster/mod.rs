//! The private PostgreSQL cluster of a machine where no database was configured.
//!
//! [`Cluster::start`] finds the PostgreSQL binaries (`binaries`), settles who runs them and where
//! (`account`, `place`), makes the cluster the first time (`create`), writes its settings
//! (`settings`), and starts the server or takes back the one that a killed process left behind
//! (`process`). It returns when the server answers (`probe`). The application then spawns
//! [`Cluster::watch`], which starts PostgreSQL again when it dies, and ends with
//! [`Cluster::stop`].
//!
//! Nobody but the user that runs the server, and root, can reach it: it listens on one Unix
//! socket, in a folder of mode 0700.

mod account;
mod binaries;
mod create;
mod error;
mod place;
mod probe;
mod process;
mod settings;

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::Signal;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use self::error::ClusterError;
use self::{
    binaries::Binaries,
    place::Place,
    process::{Launch, Process},
};

/// The name of the superuser, and of the database.
const NAME: &str = "chappe";

/// How often the server is looked at while something is expected of it.
const SOON: Duration = Duration::from_millis(20);

/// How often the watcher looks whether the server is still there.
const WATCH: Duration = Duration::from_millis(200);

/// How long a server may take to recover after a crash.
const RECOVERY: Duration = Duration::from_mins(10);

/// How long a server that was left behind may take to answer.
const ADOPTION: Duration = Duration::from_mins(1);

/// How long a start is tried again while the remains of a killed server go away.
const REMAINS: Duration = Duration::from_secs(15);

/// After which time a start is called slow, and said to be.
const SLOW: Duration = Duration::from_secs(2);

/// How long a fast shutdown may take before it becomes an immediate one.
const FAST_STOP: Duration = Duration::from_mins(1);

/// The longest pause between two attempts to start the server again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where the cluster is, and how it behaves.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The folder of the cluster; it is made when absent. A relative one starts at the working
    /// folder.
    pub folder: PathBuf,
    /// Whether what was committed survives a crash of the machine. Only tests say `false`: what
    /// they commit survives a killed process, and no more.
    pub durable: bool,
    /// PostgreSQL settings, after ours and so before them in force.
    pub settings: Vec<(String, String)>,
    /// The folder of the PostgreSQL binaries; `None` looks for them on the machine.
    pub binaries: Option<PathBuf>,
    /// Where a cluster goes whose folder is closed to the user that runs PostgreSQL. Used by root
    /// alone: a folder such as `/root/chappe/data` is closed to every other user.
    pub shelter: PathBuf,
}

impl ClusterOptions {
    /// A durable cluster in `folder`, by the binaries of the machine.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            durable: true,
            settings: Vec::new(),
            binaries: None,
            shelter: PathBuf::from("/var/lib/chappe"),
        }
    }
}

/// A running private cluster.
///
/// Dropped without [`Cluster::stop`], it asks the server to stop, and does not wait.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    url: String,
    /// Held as long as the cluster is ours.
    _lock: File,
}

/// What the cluster and its watcher share.
#[derive(Debug)]
struct Shared {
    launch: Launch,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    process: Process,
    /// Whether the server must not be started again.
    stopping: bool,
}

impl Cluster {
    /// Starts the server, after making the cluster if there is none, and waits until it answers.
    ///
    /// A server that a killed process left in the folder is taken back when it runs the same
    /// binary with the same settings, else it is stopped first. `progress` gets a sentence for
    /// people before each slow step.
    pub async fn start(
        options: ClusterOptions,
        progress: impl Fn(&str) + Send + Sync,
    ) -> Result<Self, ClusterError> {
        let binaries = Binaries::find(options.binaries.as_deref()).await?;
        let place = Place::settle(&options.folder, &options.shelter, &progress)?;
        let lock = place.lock().await?;
        let binaries = binaries.choose(&place).await?;
        if !place.data().exists() {
            progress(&format!(
                "creating the database cluster in {}",
                place.home().display()
            ));
            create::create(&binaries, &place, options.durable).await?;
        }
        let settings = settings::render(&place, options.durable, &options.settings)?;
        let launch = Launch::new(binaries, place);
        let process = match adopt(&launch, &settings, &progress).await? {
            Some(process) => process,
            None => first_start(&launch, &settings, &progress).await?,
        };
        let url = launch.place.url()?;
        let state = Mutex::new(State {
            process,
            stopping: false,
        });
        Ok(Self {
            shared: Arc::new(Shared { launch, state }),
            url,
            _lock: lock,
        })
    }

    /// The address of the database of a cluster that another process looks after.
    pub fn url_in(options: &ClusterOptions) -> Result<String, ClusterError> {
        Place::settle(&options.folder, &options.shelter, &|_: &str| ())?.url()
    }

    /// The address of the database, as sqlx and libpq take it.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Starts the server again whenever it is gone, until `token` is cancelled or the cluster
    /// stopped.
    ///
    /// Failed attempts are repeated, with pauses that grow from a tenth of a second to half a
    /// minute.
    pub fn watch(&self, token: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            token.run_until_cancelled(shared.watch()).await;
        }
    }

    /// Stops the server: it refuses new connections, ends the open ones, and writes a
    /// checkpoint. Returns when it is gone.
    pub async fn stop(self) {
        self.shared.begin_stop();
        let gone = || self.shared.lock().process.has_exited();
        if !wait_until(gone, FAST_STOP).await {
            tracing::warn!("PostgreSQL does not stop: its processes are ended at once");
            self.shared.lock().process.signal(Signal::QUIT);
            if !wait_until(gone, Duration::from_secs(10)).await {
                self.shared.lock().process.signal(Signal::KILL);
            }
        }
        self.shared.launch.place.clean();
    }

    /// Lets go of the server without stopping it: the next start in the same folder takes it
    /// back.
    pub fn detach(self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        state.process.leave();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shared.begin_stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done by a holder that panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the server to stop, unless that was done, or it was let go.
    fn begin_stop(&self) {
        let mut state = self.lock();
        if !state.stopping {
            state.stopping = true;
            state.process.signal(Signal::INT);
        }
    }

    async fn watch(&self) {
        let mut pause = Duration::from_millis(100);
        let mut since = Instant::now();
        loop {
            sleep(WATCH).await;
            match self.look() {
                Some(false) => continue,
                Some(true) => tracing::error!("PostgreSQL is gone: it is started again"),
                None => return,
            }
            if since.elapsed() > LONGEST_PAUSE {
                pause = Duration::from_millis(100);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            since = Instant::now();
            self.restart_and_say().await;
        }
    }

    async fn restart_and_say(&self) {
        match self.restart().await {
            Ok(true) => tracing::info!("PostgreSQL answers again"),
            Ok(false) => (),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "PostgreSQL does not start again");
            }
        }
    }

    /// Whether the server is gone, or nothing when it is to be so.
    fn look(&self) -> Option<bool> {
        let mut state = self.lock();
        if state.stopping {
            return None;
        }
        Some(state.process.has_exited())
    }

    /// Starts the server once more and waits for it. `false`: the cluster was stopped meanwhile.
    async fn restart(&self) -> Result<bool, ClusterError> {
        {
            let mut state = self.lock();
            if state.stopping {
                return Ok(false);
            }
            state.process = self.launch.spawn()?;
        }
        let gone = || self.look().unwrap_or(true);
        match wait_for_answer(&self.launch, gone, RECOVERY, |_| ()).await {
            Ok(()) => Ok(true),
            Err(_) if self.look().is_none() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Takes back the server that a killed process left behind, or makes sure that there is none.
async fn adopt(
    launch: &Launch,
    settings: &str,
    progress: &(impl Fn(&str) + Sync),
) -> Result<Option<Process>, ClusterError> {
    let Some((mut process, same_binary)) = launch.left_behind()? else {
        return Ok(None);
    };
    if same_binary && launch.place.has_settings(settings) {
        let gone = || process.has_exited();
        let answers = wait_for_answer(launch, gone, ADOPTION, progress).await;
        if answers.is_ok() {
            tracing::info!("PostgreSQL was still running, and is taken back");
            return Ok(Some(process));
        }
    }
    progress("stopping the database server that was left running");
    for signal in [Signal::INT, Signal::QUIT, Signal::KILL] {
        process.signal(signal);
        if wait_until(|| process.has_exited(), ADOPTION).await {
            return Ok(None);
        }
    }
    Err(ClusterError::LeftBehind {
        folder: launch.place.data(),
    })
}

/// Starts the server, and waits until it answers.
async fn first_start(
    launch: &Launch,
    settings: &str,
    progress: &(impl Fn(&str) + Sync),
) -> Result<Process, ClusterError> {
    launch.place.write_settings(settings)?;
    let since = Instant::now();
    loop {
        let mut process = launch.spawn()?;
        let gone = || process.has_exited();
        match wait_for_answer(launch, gone, RECOVERY, progress).await {
            Ok(()) => return Ok(process),
            // Processes of a killed server hold its shared memory until they notice.
            Err(ClusterError::Start { reason, .. })
                if reason.contains("still in use") && since.elapsed() < REMAINS =>
            {
                sleep(WATCH).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits until the server answers. Fails when it is `gone`, or when `limit` has passed.
async fn wait_for_answer(
    launch: &Launch,
    mut gone: impl FnMut() -> bool + Send,
    limit: Duration,
    progress: impl Fn(&str) + Sync,
) -> Result<(), ClusterError> {
    let since = Instant::now();
    let mut said = false;
    loop {
        if gone() {
            return Err(launch.start_error());
        }
        if probe::answers(&launch.place.socket_file()).await {
            return Ok(());
        }
        if !said && since.elapsed() > SLOW {
            progress("waiting for the database server to recover");
            said = true;
        }
        if since.elapsed() > limit {
            return Err(ClusterError::NoAnswer {
                seconds: limit.as_secs(),
            });
        }
        sleep(SOON).await;
    }
}

/// Waits until `done` says so, for at most `limit`. Returns what it said last.
async fn wait_until(mut done: impl FnMut() -> bool + Send, limit: Duration) -> bool {
    let since = Instant::now();
    while !done() {
        if since.elapsed() > limit {
            return false;
        }
        sleep(SOON).await;
    }
    true
}

/// Says which operation failed on which file.
fn failed(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.into();
    move |source| ClusterError::Io {
        doing,
        path,
        source,
    }
}
