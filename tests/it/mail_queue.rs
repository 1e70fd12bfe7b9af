//! The queue of mails: what becomes of them when the mail server or the process fails.

use std::{sync::Arc, time::Duration};

use chappe::{clock::ManualClock, lifecycle::Drained, mail::Outcomes};
use serde_json::json;
use sqlx::Executor as _;

use crate::harness::{
    client::Client,
    process::{Process, free_port, until},
    server::{TestOptions, TestServer},
    smtp::{Behavior, SmtpOptions, SmtpServer},
};

/// How long a mail may take that nothing holds up.
const SOON: Duration = Duration::from_secs(20);

/// 2026-01-02T03:04:05Z.
const NOW_MS: u64 = 1_767_323_045_000;

const CONFIG: &str = r"
server.profile = 'tchap'
registration.open = false
registration.validation_lifetime = '2w'
policy.addresses.patterns = [{ pattern = '.*@culture\.gouv\.fr' }]
";

fn options(port: u16) -> TestOptions {
    TestOptions {
        smtp_port: Some(port),
        ..TestOptions::with(CONFIG)
    }
}

fn with_clock(port: u16, clock: &Arc<ManualClock>) -> TestOptions {
    TestOptions {
        clock: Some(Arc::clone(clock)),
        ..options(port)
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(NOW_MS))
}

fn address(name: &str) -> String {
    format!("{name}@culture.gouv.fr")
}

/// Asks for the mail of a registration, which is answered although nothing was sent yet.
async fn ask(client: &Client, name: &str) {
    let path = "register/email/requestToken";
    let body = json!({ "email": address(name), "client_secret": name, "send_attempt": 1 });
    client.post(path, &body).await.expect_ok();
}

/// Waits until the counts are as wanted.
async fn until_counted(server: &TestServer, wanted: impl Fn(Outcomes) -> bool + Send + Sync) {
    let outcomes = || server.app.mailer().outcomes();
    until(
        "counted",
        || format!("{:?}", outcomes()),
        async || wanted(outcomes()),
    )
    .await;
}

/// How many mails wait.
async fn waiting(server: &TestServer) -> i64 {
    let mut conn = server.database().connect().await;
    sqlx::query_scalar("SELECT COUNT(*) FROM mails")
        .fetch_one(&mut conn)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_dead_mail_server_loses_no_mail() {
    let port = free_port();
    let server = TestServer::start(options(port)).await;
    let client = server.client();
    let names = ["anna", "ben", "cleo", "dora", "emil", "fanny"];
    for name in names {
        ask(&client, name).await;
    }
    until_counted(&server, |counts| counts.postponed > 0).await;
    assert_eq!(waiting(&server).await, 6);
    let smtp = SmtpServer::start(SmtpOptions {
        port,
        ..SmtpOptions::default()
    })
    .await;
    for name in names {
        smtp.wait_for_mail(&address(name), SOON).await;
    }
    server.mails_sent().await;
    assert_eq!(smtp.received().len(), names.len());
    let counts = server.app.mailer().outcomes();
    assert_eq!((counts.sent, counts.failed), (6, 0));
}

#[tokio::test]
async fn r_14_a_mail_leaves_at_once_and_the_queue_is_measured() {
    let smtp = SmtpServer::start(SmtpOptions::default()).await;
    let server = TestServer::start(options(smtp.port())).await;
    let client = server.client();
    ask(&client, "anna").await;
    smtp.wait_for_mail(&address("anna"), SOON).await;
    server.mails_sent().await;
    smtp.set_behavior(Behavior::FailForNow);
    ask(&client, "ben").await;
    until_counted(&server, |counts| {
        counts.postponed == 1 && counts.waiting == 1
    })
    .await;
    let metrics = client.get("/metrics").await.text;
    for line in [
        "chappe_mails_total{outcome=\"sent\"} 1",
        "chappe_mails_total{outcome=\"postponed\"} 1",
        "chappe_mails_total{outcome=\"failed\"} 0",
        "chappe_mail_queue_depth 1",
        "chappe_mail_queue_oldest_age_seconds ",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_is_given_up_and_nobody_is_named() {
    let smtp = SmtpServer::start(SmtpOptions::default()).await;
    smtp.set_behavior(Behavior::RejectRecipient);
    let process = Process::start(&options(smtp.port())).await;
    ask(&process.client(), "camille").await;
    let given_up = async || process.output().contains("given up");
    until("given up", || process.output(), given_up).await;
    let output = process.output();
    assert!(output.contains("(550)"), "{output}");
    assert!(!output.contains("camille"), "{output}");
    let is_gone = async || {
        let mut conn = process.database().connect().await;
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM mails")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        rows == 0
    };
    until("gone", || process.output(), is_gone).await;
    assert!(smtp.received().is_empty());
}

#[tokio::test]
async fn a_mail_that_is_refused_for_now_comes_later() {
    let smtp = SmtpServer::start(SmtpOptions::default()).await;
    smtp.set_behavior(Behavior::FailForNow);
    let clock = clock();
    let server = TestServer::start(with_clock(smtp.port(), &clock)).await;
    ask(&server.client(), "anna").await;
    until_counted(&server, |counts| counts.postponed == 1).await;
    smtp.set_behavior(Behavior::Accept);
    let mailer = server.app.mailer();
    mailer.deliver_due().await.unwrap();
    assert!(smtp.received().is_empty(), "it is not due yet");
    clock.advance(Duration::from_mins(2));
    mailer.deliver_due().await.unwrap();
    assert_eq!(smtp.received().len(), 1);
    assert_eq!(waiting(&server).await, 0);
}

#[tokio::test]
async fn a_mail_is_given_up_after_three_days() {
    let clock = clock();
    let server = TestServer::start(with_clock(free_port(), &clock)).await;
    ask(&server.client(), "anna").await;
    until_counted(&server, |counts| counts.postponed == 1).await;
    let mailer = server.app.mailer();
    clock.advance(Duration::from_hours(71));
    mailer.deliver_due().await.unwrap();
    assert_eq!(waiting(&server).await, 1);
    clock.advance(Duration::from_hours(2));
    mailer.deliver_due().await.unwrap();
    assert_eq!(waiting(&server).await, 0);
    assert_eq!(mailer.outcomes().failed, 1);
}

#[tokio::test]
async fn a_mail_whose_link_is_no_longer_good_is_dropped() {
    let port = free_port();
    let clock = clock();
    let mut options = with_clock(port, &clock);
    options.config = CONFIG.replace("2w", "1h");
    let server = TestServer::start(options).await;
    ask(&server.client(), "anna").await;
    until_counted(&server, |counts| counts.postponed == 1).await;
    let smtp = SmtpServer::start(SmtpOptions {
        port,
        ..SmtpOptions::default()
    })
    .await;
    clock.advance(Duration::from_mins(61));
    let mailer = server.app.mailer();
    mailer.deliver_due().await.unwrap();
    assert_eq!(waiting(&server).await, 0);
    assert_eq!(mailer.outcomes().expired, 1);
    assert_eq!(smtp.connections(), 0);
}

#[tokio::test]
async fn processes_share_the_queue_and_no_mail_comes_twice() {
    let smtp = SmtpServer::start(SmtpOptions::default()).await;
    let one = TestServer::start(options(smtp.port())).await;
    let other = one.sibling().await;
    let (one_client, other_client) = (one.client(), other.client());
    for number in 0..20 {
        ask(&one_client, &format!("one{number}")).await;
        ask(&other_client, &format!("other{number}")).await;
    }
    one.mails_sent().await;
    let mut recipients: Vec<String> = smtp
        .received()
        .into_iter()
        .flat_map(|mail| mail.to)
        .collect();
    assert_eq!(recipients.len(), 40);
    recipients.sort_unstable();
    recipients.dedup();
    assert_eq!(recipients.len(), 40);
}

#[tokio::test]
async fn a_mail_that_was_under_way_when_the_process_died_is_sent_again() {
    let smtp = SmtpServer::start(SmtpOptions::default()).await;
    smtp.set_behavior(Behavior::Hang);
    let mut process = Process::start(&options(smtp.port())).await;
    ask(&process.client(), "anna").await;
    let has_begun = async || smtp.commands().iter().any(|command| command == "DATA");
    until("begun", || process.output(), has_begun).await;
    process.kill();
    smtp.set_behavior(Behavior::Accept);
    // As if its time with the mail were over.
    let mut conn = process.database().connect().await;
    let done = conn.execute("UPDATE mails SET next_attempt_ms = 0").await;
    assert_eq!(done.unwrap().rows_affected(), 1);
    process.start_again().await;
    smtp.wait_for_mail(&address("anna"), SOON).await;
    assert_eq!(smtp.received().len(), 1);
}

#[tokio::test]
async fn a_stop_waits_for_the_mail_that_is_under_way() {
    let smtp = SmtpServer::start(SmtpOptions::default()).await;
    smtp.set_behavior(Behavior::Hang);
    let mut options = options(smtp.port());
    options.config = format!("{CONFIG}\nmail.timeout = '2s'\n");
    let server = TestServer::start(options).await;
    let mailer = server.app.mailer().clone();
    ask(&server.client(), "anna").await;
    let has_begun = async || smtp.commands().iter().any(|command| command == "DATA");
    until("begun", String::new, has_begun).await;
    assert_eq!(mailer.outcomes().postponed, 0);
    assert_eq!(server.stop().await, Drained::Finished);
    assert_eq!(mailer.outcomes().postponed, 1);
}

#[tokio::test]
async fn a_person_is_written_to_in_the_language_that_the_application_asks_for() {
    let smtp = SmtpServer::start(SmtpOptions::default()).await;
    let server = TestServer::start(options(smtp.port())).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!(
        "{}/_matrix/client/v3/register/email/requestToken",
        server.url
    );
    for (name, header, subject) in [
        ("anna", "en-GB, fr;q=0.5", "confirm your e-mail"),
        ("ben", "fr", "confirmez votre adresse"),
        ("cleo", "de", "confirmez votre adresse"),
    ] {
        let body = json!({ "email": address(name), "client_secret": name, "send_attempt": 1 });
        let request = http
            .post(&url)
            .header("accept-language", header)
            .json(&body);
        assert_eq!(request.send().await.unwrap().status(), 200);
        let mail = smtp.wait_for_mail(&address(name), SOON).await;
        assert!(mail.subject().contains(subject), "{}", mail.subject());
    }
}
