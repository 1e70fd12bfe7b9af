//! `chappe` on a fresh machine, without arguments and without a configuration.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{
    client::Client,
    postgres,
    process::{self, ended, signal_child, spawn, until, until_ready},
    server::PASSWORD,
};

/// The program in a folder of its own, where it has its data.
struct FirstRun {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    /// Stops PostgreSQL when this ends.
    _guard: ChildStdin,
}

impl FirstRun {
    async fn start() -> Self {
        let folder = postgres::folder();
        // The guard looks for the cluster in its own folder.
        let guard = postgres::guard(&folder.path().join("data/postgresql"));
        let mut run = Self {
            folder,
            port: process::free_port(),
            child: None,
            _guard: guard,
        };
        run.start_again().await;
        run
    }

    async fn start_again(&mut self) {
        let mut command = self.command(&[]);
        self.child = Some(spawn(&mut command, &self.log_file()));
        until_ready(&self.url(), || self.output()).await;
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = process::command(arguments.iter().copied());
        let port = self.port;
        command.current_dir(self.folder.path());
        command.env("CHAPPE__SERVER__PUBLIC_URL", self.url());
        command.env(
            "CHAPPE__LISTENERS",
            format!(
                "[{{ address = '127.0.0.1:{port}', \
                 serves = ['client', 'health', 'metrics', 'development'] }}]"
            ),
        );
        command
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("output.txt")
    }

    fn output(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn client(&self) -> Client {
        Client::new(&self.url())
    }

    /// The process id of PostgreSQL.
    fn postgres(&self) -> Option<Pid> {
        let home = self.folder.path().join("data/postgresql");
        let home = fs::read_link(home.join("elsewhere")).unwrap_or(home);
        pid(&home.join("data/postmaster.pid"))
    }
}

impl Drop for FirstRun {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        if let Some(postgres) = self.postgres() {
            let _ = kill_process(postgres, Signal::QUIT);
        }
    }
}

fn pid(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    Pid::from_raw(text.lines().next()?.parse().ok()?)
}

#[tokio::test]
async fn a_fresh_machine_has_a_server_after_one_command() {
    let mut run = FirstRun::start().await;
    let output = run.output();
    for said in [
        "creating the database cluster in",
        &run.url(),
        "Sign up",
        "/_chappe/dev/mails",
    ] {
        assert!(output.contains(said), "{said}: {output}");
    }
    let home = run.client().get("/").await;
    assert_eq!(home.status, 200);
    assert!(home.text.contains("Chappe"), "{}", home.text);

    let client = sign_up(&run).await;
    client.get("account/whoami").await.expect_ok();

    signal_child(run.child.as_ref().unwrap(), Signal::TERM);
    let status = ended(run.child.as_mut().unwrap()).await;
    assert_eq!(status.code(), Some(0), "{}", run.output());
    assert!(run.postgres().is_none(), "it stops with the server");
    run.start_again().await;
    client.get("account/whoami").await.expect_ok();
}

/// Makes an account with an address, by the mail that the server shows.
async fn sign_up(run: &FirstRun) -> Client {
    let mut client = run.client();
    let address = "anna.martin@example.org";
    let ask = json!({ "client_secret": "secret", "email": address, "send_attempt": 1 });
    let asked = client.post("register/email/requestToken", &ask).await;
    let sid = asked.expect_ok()["sid"].clone();
    let is_there = async || {
        let list = client.get("/_chappe/dev/mails").await.text;
        list.contains("mails&#x2f;")
    };
    until("sent", String::new, is_there).await;
    let list = client.get("/_chappe/dev/mails").await.text;
    let page = client
        .get(&between(&list, "/_chappe/dev/mails/", '"'))
        .await;
    let link = between(&page.text, "/_matrix/client/", '"').replace("&amp;", "&");
    let confirmed = client.get(&link).await;
    assert_eq!(confirmed.status, 200, "{link}: {}", confirmed.text);

    let mut body = json!({ "password": PASSWORD });
    let begun = client.post("register", &body).await;
    assert_eq!(begun.status, 401, "{}", begun.text);
    body["auth"] = json!({
        "type": "m.login.email.identity",
        "session": begun.body["session"],
        "threepid_creds": { "sid": sid, "client_secret": "secret" },
    });
    let made = client.post("register", &body).await.expect_ok();
    assert_eq!(made["user_id"], "@anna.martin-example.org:localhost");
    client.take_session(&made);
    client
}

/// What stands from `start` to before `end`, with HTML's slashes as they are meant.
fn between(text: &str, start: &str, end: char) -> String {
    let text = text.replace("&#x2f;", "/");
    let from = text
        .find(start)
        .unwrap_or_else(|| panic!("no {start}: {text}"));
    text[from..].split(end).next().unwrap().to_owned()
}

#[tokio::test]
async fn nothing_is_lost_when_either_process_is_killed() {
    let mut run = FirstRun::start().await;
    let client = sign_up(&run).await;

    let child = run.child.as_mut().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    run.start_again().await;
    client.get("account/whoami").await.expect_ok();

    let first = run.postgres().unwrap();
    kill_process(first, Signal::KILL).unwrap();
    let another = async || run.postgres().is_some_and(|pid| pid != first);
    until("started again", || run.output(), another).await;
    until_ready(&run.url(), || run.output()).await;
    let known = async || client.get("account/whoami").await.status == 200;
    until("known", || run.output(), known).await;
    let mut again = run.client();
    again
        .login("anna.martin-example.org", PASSWORD)
        .await
        .expect_ok();
}

#[tokio::test]
async fn an_operator_needs_no_configuration_either() {
    let mut run = FirstRun::start().await;
    let create = |run: &FirstRun, name: &str| {
        let output = process::run(
            &mut run.command(&["user", "create", name]),
            &format!("{PASSWORD}\n"),
        );
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    };
    create(&run, "bert");
    run.client().login("bert", PASSWORD).await.expect_ok();
    // A command starts the database where no server runs, and stops it again.
    signal_child(run.child.as_ref().unwrap(), Signal::TERM);
    ended(run.child.as_mut().unwrap()).await;
    create(&run, "carl");
    assert!(run.postgres().is_none());
    run.start_again().await;
    run.client().login("carl", PASSWORD).await.expect_ok();
}
