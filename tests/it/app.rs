//! The server as a whole: it starts, serves, follows its configuration, and stops.

use std::{fs, time::Duration};

use chappe::{
    app::{App, AppOptions},
    config::Config,
    lifecycle::Drained,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::time::Instant;

use crate::harness::{
    postgres,
    process::{self, Process, until},
    server::{PASSWORD, TestOptions, TestServer},
};

const WHOAMI: &str = "account/whoami";

#[tokio::test]
async fn a_new_user_is_known() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let whoami = anna.get(WHOAMI).await.expect_ok();
    assert_eq!(whoami["user_id"], "@anna:example.org");
    let nobody = server.client().get(WHOAMI).await;
    nobody.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_session_works_in_every_process_and_ends_in_all() {
    let server = TestServer::new().await;
    let sibling = server.sibling().await;
    let anna = server.register("anna").await;
    let there = anna.at(&sibling.url);
    there.get(WHOAMI).await.expect_ok();
    anna.post("logout", &json!({})).await.expect_ok();
    let ended = async || there.get(WHOAMI).await.status == 401;
    until("logged out", String::new, ended).await;
}

#[tokio::test]
async fn a_sync_that_waits_is_answered_when_the_server_stops() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let first = anna.sync(None, Duration::ZERO).await;
    let since = first["next_batch"].as_str().unwrap().to_owned();
    let waiting = tokio::task::LocalSet::new();
    waiting
        .run_until(async {
            let sync = tokio::task::spawn_local(async move {
                anna.sync(Some(&since), Duration::from_secs(60)).await
            });
            let waits = async || {
                let text = server.client().get("/metrics").await.text;
                text.contains("\nchappe_sync_waiters 1\n")
            };
            until("waiting", String::new, waits).await;
            let started = Instant::now();
            assert_eq!(server.stop().await, Drained::Finished);
            assert!(sync.await.unwrap()["next_batch"].is_string());
            assert!(started.elapsed() < Duration::from_secs(10));
        })
        .await;
}

#[tokio::test]
async fn people_on_two_processes_share_a_room() {
    let server = TestServer::new().await;
    let sibling = server.sibling().await;
    let anna = server.register("anna").await;
    let bert = sibling.register("bert").await;
    let since = bert.sync(None, Duration::ZERO).await["next_batch"].clone();
    let room = anna
        .create_room(&json!({ "room_alias_name": "room" }))
        .await;
    let name = json!({ "name": "Room" });
    anna.send_state(&room, "m.room.name", "", &name)
        .await
        .expect_ok();
    anna.invite(&room, &bert.user_id).await.expect_ok();
    let news = bert.sync(since.as_str(), Duration::from_secs(30)).await;
    assert!(news["rooms"]["invite"][&room].is_object(), "{news}");
    bert.join("#room:example.org").await.expect_ok();
    let since = anna.sync(None, Duration::ZERO).await["next_batch"].clone();
    let sent = bert.send(&room, "hello").await;
    let news = anna.sync(since.as_str(), Duration::from_secs(30)).await;
    let timeline = &news["rooms"]["join"][&room]["timeline"]["events"];
    let is_sent = |event: &Value| event["event_id"] == sent;
    assert!(timeline.as_array().unwrap().iter().any(is_sent), "{news}");
    bert.leave(&room).await.expect_ok();
    let alias = "directory/room/%23room:example.org";
    anna.delete(alias).await.expect_ok();
    anna.get(alias).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn what_was_done_is_there_after_a_restart() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let key = fs::read(server.folder().join("signing.key")).unwrap();
    let next = server.sibling().await;
    assert_eq!(server.stop().await, Drained::Finished);
    let same = anna.at(&next.url);
    same.get(WHOAMI).await.expect_ok();
    assert_eq!(fs::read(next.folder().join("signing.key")).unwrap(), key);
    assert!(
        anna.try_request(reqwest::Method::GET, "/", None)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_new_configuration_is_taken_over_whole_or_not_at_all() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let limited = "[limits]\nenabled = true\nread = { per_second = 0.0001, burst = 1 }";
    let refused = async || anna.get("capabilities").await.status == 429;

    // Wrong, then in need of a restart, and in both cases not taken over.
    for fault in [
        "[rooms]\ndefault_version = \"none\"",
        "[server]\nname = \"other.org\"",
    ] {
        server.reload(&format!("{limited}\n{fault}")).await;
        // Of two that come in order the second one shows that the first one was read.
        server
            .reload("[policy.passwords]\nenforce = \"always\"")
            .await;
        let strict = async || {
            server
                .app
                .policy()
                .load()
                .password_problem("short")
                .is_some()
        };
        until("strict", String::new, strict).await;
        assert!(!refused().await && !refused().await, "{fault}");
        server.reload("").await;
        let lenient = async || {
            server
                .app
                .policy()
                .load()
                .password_problem("short")
                .is_none()
        };
        until("lenient", String::new, lenient).await;
    }

    server.reload(limited).await;
    until("limited", String::new, refused).await;
    let limits = server.client().get("/metrics").await.text;
    assert!(
        limits.contains("chappe_rejected_by_limit_total{kind=\"read\"}"),
        "{limits}"
    );
}

#[tokio::test]
async fn measures_are_served() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room = anna.create_room(&json!({})).await;
    anna.send(&room, "hello").await;
    let text = anna.get("/metrics").await.text;
    let whole = "chappe_http_requests_total{method=\"POST\",\
                 route=\"/_matrix/client/v3/createRoom\",status=\"200\"} 1";
    for said in [
        whole,
        "chappe_journal_batch_size_count",
        "chappe_database_connections{state=\"idle\"}",
        "chappe_room_snapshots_cached",
        "chappe_mails_total{outcome=\"sent\"} 0",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let position = text
        .lines()
        .find_map(|line| line.strip_prefix("chappe_stream_position "));
    assert!(position.unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn a_server_without_its_database_is_not_ready() {
    let server = TestServer::new().await;
    let ready = async || server.client().get("/health/ready").await;
    assert_eq!(ready().await.status, 200);
    let name = &server.database().name;
    let postgres = |allowed: bool| async move {
        let mut url: url::Url = server_url().await.parse().unwrap();
        url.set_path("postgres");
        let mut conn = PgConnection::connect(url.as_str()).await.unwrap();
        let allow = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}");
        conn.execute(AssertSqlSafe(allow)).await.unwrap();
        let end = format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        conn.execute(AssertSqlSafe(end)).await.unwrap();
    };
    postgres(false).await;
    let answer = ready().await;
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (503, &"failed".into())
    );
    assert_eq!(answer.body["checks"]["database"], "does not answer");
    assert_eq!(answer.body["checks"]["disk"], "ok");
    assert_eq!(server.client().get("/health/live").await.status, 200);
    postgres(true).await;
    until("ready", String::new, async || ready().await.status == 200).await;
}

/// The address of the server on which the databases of tests are.
async fn server_url() -> String {
    postgres::database("empty", async |_| ()).await.url.clone()
}

#[tokio::test]
async fn a_killed_server_keeps_what_it_acknowledged() {
    let mut process = Process::start(&TestOptions::default()).await;
    let anna = process.register("anna").await;
    let room = anna.create_room(&json!({})).await;
    let sent = anna.send(&room, "hello").await;
    process.kill();
    process.start_again().await;
    let newest = anna.messages(&room, "&limit=1").await;
    assert_eq!(newest["chunk"][0]["event_id"], sent);
}

#[tokio::test]
async fn hangup_reads_the_configuration_and_says_what_is_wrong() {
    let mut process = Process::start(&TestOptions::default()).await;
    let pid = fs::read_to_string(process.data_folder().join("chappe.pid")).unwrap();
    assert!(pid.trim().parse::<u32>().unwrap() > 0);
    let good = fs::read_to_string(process.config_file()).unwrap();
    let says = async |words: &str| {
        let said = async || process.output().contains(words);
        until(words, || process.output(), said).await;
    };

    fs::write(
        process.config_file(),
        good.replace("example.org", "other.org"),
    )
    .unwrap();
    process.signal(Signal::HUP);
    says("server.name: needs a restart to change").await;

    fs::write(process.config_file(), &good).unwrap();
    let reload = process.command(&["config", "reload"], "");
    assert_eq!(reload.status.code(), Some(0), "{reload:?}");
    says("the configuration was read again").await;

    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.code(), Some(0));
    assert!(!process.data_folder().join("chappe.pid").exists());
    let nobody = process.command(&["config", "reload"], "");
    assert_eq!(nobody.status.code(), Some(1));
}

#[tokio::test]
async fn operators_make_change_and_close_accounts_while_the_server_runs() {
    let process = Process::start(&TestOptions::default()).await;
    let run = |arguments: &[&str], input: &str| {
        let output = process.command(arguments, input);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said, output.stderr)
    };
    let create = [
        "user",
        "create",
        "anna",
        "--admin",
        "--address",
        "anna@example.org",
    ];
    let (code, said, problems) = run(&create, &format!("{PASSWORD}\n"));
    assert_eq!(
        (code, said.trim()),
        (Some(0), "@anna:example.org was made"),
        "{problems:?}"
    );
    let mut anna = process.client();
    anna.login("anna", PASSWORD).await.expect_ok();
    let threepids = anna.get("account/3pid").await.expect_ok();
    assert_eq!(threepids["threepids"][0]["address"], "anna@example.org");
    let room = anna.create_room(&json!({ "preset": "public_chat" })).await;
    let bert = process.register("bert").await;
    bert.join(&room).await.expect_ok();

    assert_eq!(run(&create, &format!("{PASSWORD}\n")).0, Some(1), "taken");
    assert_eq!(
        run(&["user", "create", "@a:elsewhere.org"], "x\n").0,
        Some(1)
    );
    assert_eq!(
        run(&["user", "create", "carl"], "").0,
        Some(1),
        "no password"
    );

    let reset = ["user", "reset-password", "@anna:example.org"];
    assert_eq!(run(&reset, "Another-horse8\n").0, Some(0));
    let ended = async || anna.get(WHOAMI).await.status == 401;
    until("logged out", || process.output(), ended).await;
    let mut again = process.client();
    again
        .login("anna", PASSWORD)
        .await
        .expect_error(403, "M_FORBIDDEN");
    again.login("anna", "Another-horse8").await.expect_ok();

    assert_eq!(run(&["user", "deactivate", "anna"], "").0, Some(0));
    let again = again.login("anna", "Another-horse8").await;
    assert_eq!(again.status, 403, "{}", again.text);
    let alone = async || {
        let members = bert.get(&format!("rooms/{room}/joined_members")).await;
        members.expect_ok()["joined"].as_object().unwrap().len() == 1
    };
    until("alone", || process.output(), alone).await;
}

#[tokio::test]
async fn wrong_configurations_and_taken_addresses_are_told() {
    let folder = postgres::folder();
    let file = folder.path().join("chappe.toml");
    let path = file.to_str().unwrap();
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        process::run(&mut process::command(["config", "check", path]), "")
    };
    assert_eq!(
        check("[server]\nname = \"example.org\"").status.code(),
        Some(0)
    );
    let wrong = check("[server]\nname = \"example.org\"\nnme = 1");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&wrong.stderr).contains("chappe.toml:3:1"),
        "{wrong:?}"
    );
    let serve = process::run(&mut process::command(["serve", "--config", path]), "");
    assert_eq!((serve.status.code(), serve.stderr), (Some(2), wrong.stderr));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let data = folder.path().join("data");
    let text =
        format!("server.data_folder = {data:?}\nlisteners = [{{ address = \"{address}\" }}]");
    fs::write(&file, text).unwrap();
    let serve = process::run(&mut process::command(["serve", "--config", path]), "");
    assert_eq!(serve.status.code(), Some(1));
    let said = String::from_utf8_lossy(&serve.stderr).into_owned();
    assert!(
        said.contains(&format!("cannot listen at {address}")),
        "{said}"
    );
    assert!(!data.exists(), "nothing else was done");
}

#[tokio::test]
async fn mails_wait_in_the_outbox_for_developers_only() {
    let closed =
        TestOptions::with("listeners = [{ address = '127.0.0.1:0', serves = ['client'] }]");
    let server = TestServer::start(closed).await;
    let hidden = server.client().get("/_chappe/dev/mails").await;
    hidden.expect_error(404, "M_UNRECOGNIZED");

    let server = TestServer::new().await;
    let client = server.client();
    let empty = client.get("/_chappe/dev/mails").await;
    assert_eq!(empty.status, 200);
    let unknown = client.get("/_chappe/dev/mails/none").await;
    assert_eq!((unknown.status, unknown.body), (404, Value::Null));
    for header in [
        "content-security-policy",
        "cache-control",
        "referrer-policy",
    ] {
        assert!(empty.headers.contains_key(header), "{header}");
    }
}

#[tokio::test]
async fn no_process_signs_with_another_key_than_that_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new().await;
    let url = server.database().url.clone();
    let at = |name: &str| {
        let data = folder.path().join(name);
        crate::harness::server::config(&url, &data, &TestOptions::default())
    };
    // The same key is welcome, and the first one stays.
    let sibling = server.sibling().await;
    let key_of = |server: &TestServer| server.app.rooms().public_key().1;
    assert_eq!(key_of(&server), key_of(&sibling));
    let key = server.app.rooms().public_key().0.to_string();
    sibling.stop().await;
    let refused = App::build(
        Config::from_toml(&at("other")).unwrap(),
        AppOptions::default(),
    )
    .await;
    let refused = format!("{:#}", refused.err().unwrap());
    for part in [
        "is not the one that signs for this server",
        key.as_str(),
        "chappe signing-key rotate",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let rotate = async |text: String| {
        let file = folder.path().join("chappe.toml");
        fs::write(&file, text).unwrap();
        let rotated = tokio::task::spawn_blocking(move || {
            let (mut out, mut problems) = (Vec::new(), Vec::new());
            let file = file.to_str().unwrap();
            let arguments = ["chappe", "signing-key", "rotate", "--config", file];
            let code = chappe::cli::run(arguments, &mut out, &mut problems).unwrap();
            let text = String::from_utf8([out, problems].concat()).unwrap();
            (code, text)
        });
        rotated.await.unwrap()
    };
    let (code, said) = rotate(at("other")).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("and {key} no more")), "{said}");
    let (code, said) = rotate(at("other")).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is the key that signs already"), "{said}");
    let app = App::build(
        Config::from_toml(&at("other")).unwrap(),
        AppOptions::default(),
    )
    .await;
    let app = app.unwrap();
    assert_ne!(app.rooms().public_key().1, key_of(&server));
    app.shutdown().await;
    // The old one signs no more, and does not come back.
    let old = crate::harness::server::config(&url, &server.folder(), &TestOptions::default());
    let refused = App::build(Config::from_toml(&old).unwrap(), AppOptions::default()).await;
    assert!(refused.is_err());
    let (code, said) = rotate(old).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("was called"), "{said}");
}
