//! Mails as a mail server sees them: encryption, authentication, failures.

use std::{sync::Arc, time::Duration};

use chappe::{
    clock::SystemClock,
    language::Language,
    mail::{Carrier, DeliveryError, Encryption, Letter, MailSettings, Unavailable, Writer},
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
            guest_accounts: false,
            android_app: None,
            ios_app: None,
            help: None,
            public_url: "https://agent.example.org".parse().unwrap(),
            templates: None,
            outbox: folder.path().join("outbox"),
        };
        Self {
            server,
            settings,
            _folder: folder,
        }
    }

    fn carrier(&self) -> Carrier {
        let name = server_name!("agent.example.org");
        Carrier::new(&self.settings, name, Random::seeded(1)).unwrap()
    }

    /// Writes a mail and hands it to the server.
    async fn send(&self, carrier: &Carrier) -> Result<(), DeliveryError> {
        let name = server_name!("agent.example.org");
        let (clock, random) = (Arc::new(SystemClock), Random::seeded(1));
        let writer = Writer::new(&self.settings, name, clock, random).unwrap();
        let link = LINK.parse().unwrap();
        let letter = Letter::AddressVerification {
            link: &link,
            valid_for: DAY,
        };
        let mail = writer.write(TO, &letter, None).unwrap();
        carrier.carry(TO, &mail.message, mail.written_ms).await
    }
}

/// Sends a mail and checks that it arrived as it was meant.
async fn arrives(world: &World) {
    world.send(&world.carrier()).await.unwrap();
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
        Err(DeliveryError::Unavailable(Unavailable::TurnedAway { code })) => code == expected,
        _ => false,
    };
    assert!(turned_away(world.send(&world.carrier()).await, 535));
    world.settings.user = None;
    assert!(turned_away(world.send(&world.carrier()).await, 530));
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
        let result = world.send(&world.carrier()).await;
        let expected = matches!(result, Err(DeliveryError::Unavailable(Unavailable::Tls(_))));
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
    let result = world.send(&world.carrier()).await;
    let expected = matches!(result, Err(DeliveryError::Unavailable(Unavailable::Tls(_))));
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
    let result = world.send(&world.carrier()).await;
    let expected = matches!(
        result,
        Err(DeliveryError::Unavailable(Unavailable::Unsupported))
    );
    assert!(expected, "{result:?}");
    gave_nothing_away(&world.server);
}

#[tokio::test]
async fn refusals_for_good_and_for_now_are_told_apart_and_name_nobody() {
    let world = World::new(SmtpOptions::default(), Encryption::None).await;
    let carrier = world.carrier();
    world.server.set_behavior(Behavior::RejectRecipient);
    let refused = world.send(&carrier).await.unwrap_err();
    assert!(
        matches!(refused, DeliveryError::Refused { code: 550 }),
        "{refused:?}"
    );
    world.server.set_behavior(Behavior::FailForNow);
    let for_now = world.send(&carrier).await.unwrap_err();
    let temporary = Unavailable::Temporary { code: 451 };
    assert_eq!(
        format!("{for_now:?}"),
        format!("{:?}", DeliveryError::from(temporary))
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
    let result = world.send(&world.carrier()).await;
    let expected = matches!(
        result,
        Err(DeliveryError::Unavailable(Unavailable::Connection(_)))
    );
    assert!(expected, "{result:?}");
}

#[tokio::test]
async fn a_server_that_hangs_costs_no_more_than_the_time_allowed_and_spoils_no_later_mail() {
    let mut world = World::new(SmtpOptions::default(), Encryption::None).await;
    world.settings.timeout = Duration::from_millis(300);
    let carrier = world.carrier();
    world.server.set_behavior(Behavior::Hang);
    let start = Instant::now();
    let result = world.send(&carrier).await;
    let expected = matches!(
        result,
        Err(DeliveryError::Unavailable(Unavailable::Timeout))
    );
    assert!(expected, "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
    world.server.set_behavior(Behavior::Accept);
    // The same mailer, whose first connection was left in the middle of a mail.
    world.send(&carrier).await.unwrap();
    assert_eq!(world.server.received().len(), 1);
    assert_eq!(world.server.connections(), 2);
}

#[tokio::test]
async fn mails_one_after_the_other_share_a_connection() {
    let world = World::new(SmtpOptions::default(), Encryption::None).await;
    let carrier = world.carrier();
    for _ in 0..3 {
        world.send(&carrier).await.unwrap();
    }
    assert_eq!(world.server.received().len(), 3);
    assert_eq!(world.server.connections(), 1);
}

#[tokio::test]
async fn many_mails_at_once_use_few_connections() {
    let world = World::new(SmtpOptions::default(), Encryption::None).await;
    let carrier = world.carrier();
    let shared = Arc::new((world, carrier));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let shared = Arc::clone(&shared);
        tasks.spawn(async move { shared.0.send(&shared.1).await });
    }
    for result in tasks.join_all().await {
        result.unwrap();
    }
    let world = &shared.0;
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
    let to = "a@example.org>\r\nRCPT TO:<b@example.org";
    let result = world.carrier().carry(to, b"", 0).await;
    assert!(
        matches!(result, Err(DeliveryError::Refused { code: 553 })),
        "{result:?}"
    );
    assert_eq!(world.server.connections(), 0);
}
