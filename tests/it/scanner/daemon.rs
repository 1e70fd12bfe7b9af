//! The real `ClamAV`, with a signature database of one line, over its Unix socket. Where there is no
//! `clamd` the test says so and is left out.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::geteuid;
use tempfile::TempDir;
use tokio::net::UnixStream;

use super::*;
use crate::harness::{postgres, process::until};

/// Where it is, if it must be there.
const VARIABLE: &str = "CHAPPE_CLAMD";

/// Ends the daemon with this process, however that ends.
const GUARD: &str = r#"
"$0" --foreground --config-file="$1" >"$2" 2>&1 &
read -r _
kill -KILL $!
wait
"#;

/// A `clamd` that runs in a folder of its own.
struct Daemon {
    program: PathBuf,
    folder: TempDir,
    /// Holds the input of the guard.
    guard: Option<Child>,
}

impl Daemon {
    /// Starts it, with these lines more in its configuration; `None`: there is none.
    async fn start(more: &str) -> Option<Self> {
        let program = find()?;
        let folder = postgres::folder();
        let path = folder.path();
        for name in ["signatures", "scratch"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        // Any file, wherever it stands in it.
        let mut signature = "Test.Eicar:0:*:".to_owned();
        for byte in EICAR {
            write!(signature, "{byte:02x}").unwrap();
        }
        fs::write(path.join("signatures/test.ndb"), signature).unwrap();
        let place = path.display();
        let mut settings = format!(
            "LocalSocket {place}/socket\nDatabaseDirectory {place}/signatures\n\
             TemporaryDirectory {place}/scratch\nAlertExceedsMax yes\n{more}"
        );
        if geteuid().is_root() {
            // It would look for a user of its own, who may not enter.
            settings.push_str("User root\n");
        }
        fs::write(path.join("clamd.conf"), settings).unwrap();
        let mut daemon = Self {
            program,
            folder,
            guard: None,
        };
        daemon.start_again().await;
        Some(daemon)
    }

    async fn start_again(&mut self) {
        let path = self.folder.path();
        let guard = Command::new("sh")
            .args(["-c", GUARD])
            .args([&self.program, &path.join("clamd.conf"), &self.log()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.guard = Some(guard.unwrap());
        let output = || fs::read_to_string(self.log()).unwrap_or_default();
        let listens = async || UnixStream::connect(self.socket()).await.is_ok();
        until("listening", output, listens).await;
    }

    /// Ends it at once, as `kill -9` does: the socket stays, and nobody listens at it.
    fn kill(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            guard.wait().unwrap();
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// How many files it has left in its scratch folder.
    fn leftovers(&self) -> usize {
        fs::read_dir(self.folder.path().join("scratch"))
            .unwrap()
            .count()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program. Debian has it where only root looks.
fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).collect::<Vec<_>>();
    let usual = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut programs = folders.iter().chain(&usual).map(|at| at.join("clamd"));
    programs.find(|program| Path::is_file(program))
}

/// A text that holds the virus.
fn infected(text: &str) -> Vec<u8> {
    [text.as_bytes(), EICAR].concat()
}

#[tokio::test]
async fn cs_07_cs_08_cs_10_cs_13_cs_14_the_real_clamav_decides() {
    let Some(mut clamd) = Daemon::start("StreamMaxLength 1M\nMaxFileSize 512K\n").await else {
        // Past what the test's runner swallows.
        let mut stderr = std::io::stderr();
        writeln!(
            stderr,
            "!!! NOT TESTED, because there is no clamd: the real ClamAV (Debian: clamav-daemon)"
        )
        .unwrap();
        return;
    };
    let settings = format!(
        "[scanner]\nclamd = \"unix:{}\"\nrequired = true\n",
        clamd.socket().display()
    );
    let server = TestServer::start(TestOptions::with(&settings)).await;
    let anna = server.register("anna").await;
    let elsewhere = async |path: &str| {
        let path = format!("/_matrix/client/v1/media/download/{path}");
        anna.get(&path).await
    };

    // What is clean passes, in the clear and encrypted.
    let clean = upload(&anna, b"a clean text").await;
    assert_eq!(scan(&anna, &clean).await.expect_ok()["clean"], true);
    assert_eq!(download(&anna, &clean).await.text, "a clean text");
    assert_eq!(elsewhere(&clean).await.text, "a clean text");
    // More than goes to it in one piece.
    let (_, body) = encrypted(&anna, &b"a long text ".repeat(40_000)).await;
    let sealed_body = sealed(&anna, &body).await;
    let answer = post(&anna, "scan_encrypted", &sealed_body).await;
    assert_eq!(answer.expect_ok()["clean"], true);
    let file = post(&anna, "download_encrypted", &sealed_body).await;
    assert_eq!(file.status, 200);

    // What is infected does not, wherever the virus stands and whoever is asked.
    let path = upload(&anna, EICAR).await;
    assert_eq!(scan(&anna, &path).await.expect_ok()["clean"], false);
    expect_refused(&download(&anna, &path).await, 403, "MCS_MEDIA_NOT_CLEAN");
    elsewhere(&path).await.expect_error(403, "M_FORBIDDEN");
    let (path, body) = encrypted(&anna, &infected(&"before ".repeat(30_000))).await;
    let sealed_body = sealed(&anna, &body).await;
    let answer = post(&anna, "scan_encrypted", &sealed_body).await;
    assert_eq!(answer.expect_ok()["clean"], false);
    let answer = post(&anna, "download_encrypted", &sealed_body).await;
    expect_refused(&answer, 403, "MCS_MEDIA_NOT_CLEAN");
    elsewhere(&path).await.expect_error(403, "M_FORBIDDEN");

    // What it will not look at whole does not pass either.
    let large = upload(&anna, &infected(&"x".repeat(700 << 10))).await;
    assert_eq!(scan(&anna, &large).await.expect_ok()["clean"], false);
    let long = upload(&anna, &infected(&"x".repeat(2 << 20))).await;
    expect_refused(&scan(&anna, &long).await, 502, "MCS_MEDIA_REQUEST_FAILED");
    expect_refused(
        &download(&anna, &long).await,
        502,
        "MCS_MEDIA_REQUEST_FAILED",
    );
    assert_eq!(clamd.leftovers(), 0, "it keeps what it was sent");

    // Without it nothing passes that it has not seen; what it has seen does.
    clamd.kill();
    let (bad, good) = (infected("later "), b"another text");
    let bad_plain = upload(&anna, &bad).await;
    let good_plain = upload(&anna, good).await;
    let (_, bad_body) = encrypted(&anna, &bad).await;
    let (_, good_body) = encrypted(&anna, good).await;
    let failed = (502, "MCS_MEDIA_REQUEST_FAILED");
    for path in [&bad_plain, &good_plain] {
        expect_refused(&scan(&anna, path).await, failed.0, failed.1);
        expect_refused(&download(&anna, path).await, failed.0, failed.1);
        elsewhere(path).await.expect_error(503, "M_UNKNOWN");
    }
    for body in [&bad_body, &good_body] {
        for what in ["scan_encrypted", "download_encrypted"] {
            expect_refused(&post(&anna, what, body).await, failed.0, failed.1);
        }
    }
    assert_eq!(download(&anna, &clean).await.text, "a clean text");

    // The same files once it is back: nothing was remembered of the failure.
    clamd.start_again().await;
    assert_eq!(download(&anna, &good_plain).await.text, "another text");
    expect_refused(
        &download(&anna, &bad_plain).await,
        403,
        "MCS_MEDIA_NOT_CLEAN",
    );
    let answer = post(&anna, "download_encrypted", &good_body).await;
    assert_eq!(answer.status, 200);
    let answer = post(&anna, "download_encrypted", &bad_body).await;
    expect_refused(&answer, 403, "MCS_MEDIA_NOT_CLEAN");
}
