//! Mails as a mail server sees them: encryption, authentication, failures.

use std::{sync::Arc, time::Duration};

use chappe::{
    clock::SystemClock,
    language::Language,
    mail::{Encryption, MailError, MailSettings, Mailer, Unavailable},
    random::Random,
};
use ruma::server_name;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::harness::smtp::{Behavior, ServerTls, SmtpOptions, SmtpServer};

const TO: &str = "camille.martin@example.org";
const LINK: &str = "https://agent.example.org/verify?token=abc&client_secret=d%22e&sid=1";
const DAY: Duration = Duration::from_hours(24);
const LOGIN: Option<(&str, &str)> = Some(("chappe", "correct horse"));

/// A mail server, and a mailer's settings for it.
struct World {
    server: SmtpServer,
    settings: MailSettings,
    _folder: TempDir,
}

impl World {
    /// A mailer that trusts the server's authority.
    async fn new(options: SmtpOptions, encryption: Encryption) -> Self {
        let login = options.login;
        let server = SmtpServer::start(options).await;
        let folder = tempfile::tempdir().unwrap();
        let authority = folder.path().join("authority.pem");
        server.write_authority(&authority);
        let settings = MailSettings {
            host: Some("127.0.0.1".to_owned()),
            port: server.port(),
            encryption,
            user: login.map(|(user, _)| user.to_owned()),
            password: login.map(|(_, password)| password.to_owned().into()),
            certificate_authorities: Some(authority),
            timeout: Duration::from_secs(20),
            from: "Tchap <ne-pas-repondre@example.org>".to_owned(),
            app_name: "Tchap".to_owned(),
            language: Language::French,
            support: None,
            restricted_documents_notice: false,
            outbox: folder.path().join("outbox"),
        };
        Self {
            server,
            settings,
            _folder: folder,
        }
    }

    fn mailer(&self) -> Mailer {
        let name = server_name!("agent.example.org");
        Mailer::new(
            &self.settings,
            name,
            Arc::new(SystemClock),
            Random::seeded(1),
        )
        .unwrap()
    }
}

async fn send(mailer: &Mailer) -> Result<(), MailError> {
    let link = LINK.parse().unwrap();
    mailer.send_address_verification(TO, &link, None, DAY).await
}

/// Sends a mail and checks that it arrived as it was meant.
async fn arrives(world: &World) {
    send(&world.mailer()).await.unwrap();
    let mail = world
        .server
        .wait_for_mail(TO, Duration::from_secs(10))
        .await;
    assert_eq!(mail.from, "ne-pas-repondre@example.org");
    assert_eq!(mail.to, [TO]);
    assert_eq!(
        mail.subject(),
        "Tchap\u{a0}: confirmez votre adresse électronique"
    );
    assert_eq!(mail.first_link(), LINK);
    assert!(
        mail.html().contains(&LINK.replace('&', "&amp;")),
        "{}",
        mail.html()
    );
}

/// Asserts that neither a password nor a mail was given to the server.
fn gave_nothing_away(server: &SmtpServer) {
    let said = server.commands();
    assert!(
        !said.iter().any(|word| word == "AUTH" || word == "MAIL"),
        "{said:?}"
    );
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn a_mail_arrives_in_clear_text() {
    arrives(&World::new(SmtpOptions::default(), Encryption::None).await).await;
}

#[tokio::test]
async fn a_mail_arrives_with_either_way_to_authenticate() {
    for mechanisms in ["PLAIN LOGIN", "LOGIN"] {
        let options = SmtpOptions {
            login: LOGIN,
            mechanisms,
            ..SmtpOptions::default()
        };
        let world = World::new(options, Encryption::None).await;
        arrives(&world).await;
        assert!(world.server.commands().iter().any(|word| word == "AUTH"));
    }
}

#[tokio::test]
async fn a_mail_arrives_over_tls_and_over_starttls() {
    for (tls, encryption) in [
        (ServerTls::Implicit, Encryption::Tls),
        (ServerTls::StartTls, Encryption::StartTls),
    ] {
        let options = SmtpOptions {
            tls,
            login: LOGIN,
            ..SmtpOptions::default()
        };
        arrives(&World::new(options, encryption).await).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_not_a_fault_of_the_mail() {
    let options = SmtpOptions {
        login: LOGIN,
        ..SmtpOptions::default()
    };
    let mut world = World::new(options, Encryption::None).await;
    world.settings.password = Some("wrong".to_owned().into());
    let turned_away = |result, expected| match result {
        Err(MailError::Unavailable(Unavailable::TurnedAway { code })) => code == expected,
        _ => false,
    };
    assert!(turned_away(send(&world.mailer()).await, 535));
    world.settings.user = None;
    assert!(turned_away(send(&world.mailer()).await, 530));
    assert!(world.server.received().is_empty());
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused() {
    for (tls, encryption) in [
        (ServerTls::Implicit, Encryption::Tls),
        (ServerTls::StartTls, Encryption::StartTls),
    ] {
        let options = SmtpOptions {
            tls,
            login: LOGIN,
            ..SmtpOptions::default()
        };
        let mut world = World::new(options, encryption).await;
        world.settings.certificate_authorities = None;
        let result = send(&world.mailer()).await;
        let expected = matches!(result, Err(MailError::Unavailable(Unavailable::Tls(_))));
        assert!(expected, "{result:?}");
        gave_nothing_away(&world.server);
    }
}

#[tokio::test]
async fn a_certificate_for_another_server_is_refused() {
    let options = SmtpOptions {
        tls: ServerTls::Implicit,
        login: LOGIN,
        certificate_name: "mail.example.org",
        ..SmtpOptions::default()
    };
    let world = World::new(options, Encryption::Tls).await;
    let result = send(&world.mailer()).await;
    let expected = matches!(result, Err(MailError::Unavailable(Unavailable::Tls(_))));
    assert!(expected, "{result:?}");
    gave_nothing_away(&world.server);
}

#[tokio::test]
async fn without_starttls_nothing_is_said_in_clear_text() {
    let options = SmtpOptions {
        login: LOGIN,
        ..SmtpOptions::default()
    };
    let world = World::new(options, Encryption::StartTls).await;
    let result = send(&world.mailer()).await;
    let expected = matches!(
        result,
        Err(MailError::Unavailable(Unavailable::Unsupported))
    );
    assert!(expected, "{result:?}");
    gave_nothing_away(&world.server);
}

#[tokio::test]
async fn refusals_for_good_and_for_now_are_told_apart_and_name_nobody() {
    let world = World::new(SmtpOptions::default(), Encryption::None).await;
    let mailer = world.mailer();
    world.server.set_behavior(Behavior::RejectRecipient);
    let refused = send(&mailer).await.unwrap_err();
    assert!(
        matches!(refused, MailError::Refused { code: 550 }),
        "{refused:?}"
    );
    world.server.set_behavior(Behavior::FailForNow);
    let for_now = send(&mailer).await.unwrap_err();
    let temporary = Unavailable::Temporary { code: 451 };
    assert_eq!(
        format!("{for_now:?}"),
        format!("{:?}", MailError::from(temporary))
    );
    for error in [refused, for_now] {
        assert!(!format!("{error} {error:?}").contains("camille"));
    }
    assert!(world.server.received().is_empty());
}

#[tokio::test]
async fn a_server_that_is_away_is_not_a_fault_of_the_mail() {
    let mut world = World::new(SmtpOptions::default(), Encryption::None).await;
    // Bound and never listening: nobody else gets this port while the test runs.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    world.settings.port = socket.local_addr().unwrap().port();
    let result = send(&world.mailer()).await;
    let expected = matches!(
        result,
        Err(MailError::Unavailable(Unavailable::Connection(_)))
    );
    assert!(expected, "{result:?}");
}

#[tokio::test]
async fn a_server_that_hangs_costs_no_more_than_the_time_allowed_and_spoils_no_later_mail() {
    let mut world = World::new(SmtpOptions::default(), Encryption::None).await;
    world.settings.timeout = Duration::from_millis(300);
    let mailer = world.mailer();
    world.server.set_behavior(Behavior::Hang);
    let start = Instant::now();
    let result = send(&mailer).await;
    let expected = matches!(result, Err(MailError::Unavailable(Unavailable::Timeout)));
    assert!(expected, "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
    world.server.set_behavior(Behavior::Accept);
    // The same mailer, whose first connection was left in the middle of a mail.
    send(&mailer).await.unwrap();
    assert_eq!(world.server.received().len(), 1);
    assert_eq!(world.server.connections(), 2);
}

#[tokio::test]
async fn mails_one_after_the_other_share_a_connection() {
    let world = World::new(SmtpOptions::default(), Encryption::None).await;
    let mailer = world.mailer();
    for _ in 0..3 {
        send(&mailer).await.unwrap();
    }
    assert_eq!(world.server.received().len(), 3);
    assert_eq!(world.server.connections(), 1);
}

#[tokio::test]
async fn many_mails_at_once_use_few_connections() {
    let world = World::new(SmtpOptions::default(), Encryption::None).await;
    let mailer = world.mailer();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mailer = mailer.clone();
        tasks.spawn(async move { send(&mailer).await });
    }
    for result in tasks.join_all().await {
        result.unwrap();
    }
    assert_eq!(world.server.received().len(), 20);
    assert!(
        world.server.connections() <= 4,
        "{}",
        world.server.connections()
    );
}

#[tokio::test]
async fn an_address_with_a_line_break_reaches_no_server() {
    let world = World::new(SmtpOptions::default(), Encryption::None).await;
    let link = LINK.parse().unwrap();
    let result = world
        .mailer()
        .send_password_reset("a@example.org>\r\nRCPT TO:<b@example.org", &link, None, DAY)
        .await;
    assert!(matches!(result, Err(MailError::Invalid(_))), "{result:?}");
    assert_eq!(world.server.connections(), 0);
}
