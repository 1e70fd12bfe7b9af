//! The real program in a process of its own, to be killed and started again.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{
    client::Client,
    postgres::{self, TestDatabase},
    server::{self, PASSWORD, TestOptions},
};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How often something is looked at.
const SOON: Duration = Duration::from_millis(10);

static PORT: AtomicU16 = AtomicU16::new(0);

/// The program, with a configuration file, on a database that outlives it.
pub(crate) struct Process {
    child: Option<Child>,
    /// Where it is, without a slash at the end.
    pub(crate) url: String,
    place: Arc<Place>,
}

/// What is there whether the program runs or not.
struct Place {
    database: TestDatabase,
    folder: TempDir,
}

impl Process {
    /// Starts the program with the settings of tests and waits until it is ready.
    pub(crate) async fn start(options: &TestOptions) -> Self {
        let place = Place {
            database: server::database().await,
            folder: postgres::folder(),
        };
        let port = free_port();
        let listens = format!(
            "server.public_url = 'http://127.0.0.1:{port}'\n\
             listeners = [{{ address = '127.0.0.1:{port}', \
             serves = ['client', 'health', 'metrics', 'development'] }}]\n{}",
            options.config
        );
        let mut process = Self {
            child: None,
            url: format!("http://127.0.0.1:{port}"),
            place: Arc::new(place),
        };
        process.configure(&TestOptions {
            config: listens,
            ..options.clone()
        });
        process.start_again().await;
        process
    }

    /// Writes the configuration file.
    fn configure(&self, options: &TestOptions) {
        let text = server::config(&self.place.database.url, &self.data_folder(), options);
        fs::write(self.config_file(), text).unwrap();
    }

    /// The configuration file.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.place.folder.path().join("chappe.toml")
    }

    /// The data folder.
    pub(crate) fn data_folder(&self) -> PathBuf {
        self.place.folder.path().join("data")
    }

    /// The database.
    pub(crate) fn database(&self) -> &TestDatabase {
        &self.place.database
    }

    /// Starts the program again and waits until it is ready.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.child.is_none());
        let mut command = command(["serve", "--config"]);
        command.arg(self.config_file());
        self.child = Some(spawn(&mut command, &self.log_file()));
        until_ready(&self.url, || self.output()).await;
    }

    /// All that the program has said since it was started.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.place.folder.path().join("output.txt")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        signal_child(self.child.as_ref().unwrap(), signal);
    }

    /// Ends the program at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for the end of the program.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        ended(&mut child).await
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

    /// Runs another command of the program with the same configuration.
    pub(crate) fn command(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = command(arguments.iter().copied());
        command.env("CHAPPE_CONFIG", self.config_file());
        run(&mut command, input)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The program with these arguments, and without the variables that configure it.
pub(crate) fn command<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chappe"));
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CHAPPE") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may not want any.
    drop(std::io::Write::write_all(&mut stdin, input.as_bytes()));
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Starts a command whose words go to a file.
pub(crate) fn spawn(command: &mut Command, log_file: &Path) -> Child {
    let log = File::create(log_file).unwrap();
    command
        .stdin(Stdio::null())
        .stderr(log.try_clone().unwrap())
        .stdout(log)
        .spawn()
        .unwrap()
}

/// Sends a signal to a child.
pub(crate) fn signal_child(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Waits for the end of a child.
pub(crate) async fn ended(child: &mut Child) -> ExitStatus {
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(since.elapsed() < LIMIT, "the program does not end");
        sleep(SOON).await;
    }
}

/// Waits until a server says that it is ready.
pub(crate) async fn until_ready(url: &str, output: impl Fn() -> String) {
    let client = Client::new(url);
    let ready = async || {
        let answer = client.try_request(reqwest::Method::GET, "/health/ready", None);
        answer.await.is_ok_and(|answer| answer.status == 200)
    };
    until("ready", output, ready).await;
}

/// Waits until something holds; `output` is told if it never does.
pub(crate) async fn until(what: &str, output: impl Fn() -> String, holds: impl AsyncFn() -> bool) {
    let since = Instant::now();
    while !holds().await {
        assert!(since.elapsed() < LIMIT, "not {what}: {}", output());
        sleep(SOON).await;
    }
}

/// A port that nobody has. It is not one of those that the system hands out.
pub(crate) fn free_port() -> u16 {
    let spread = u16::try_from(std::process::id() % 97).unwrap() * 100;
    loop {
        let port = 20_000 + (spread + PORT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
