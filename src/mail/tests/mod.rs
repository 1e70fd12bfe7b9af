//! Tests of what needs no mail server: addresses, words, headers, the outbox.

use std::{path::Path, sync::Arc, time::Duration};

use mail_parser::MessageParser;
use ruma::server_name;
use url::Url;

use super::{
    Encryption, InvalidMail, MailError, MailSettings, Mailer, SetupError, message::recipient,
    templates::spoken,
};
use crate::{
    clock::ManualClock,
    language::Language::{self, English, French},
    random::Random,
};

mod outbox;

/// 2026-01-02T03:04:05Z.
const NOW_MS: u64 = 1_767_323_045_000;

const DAY: Duration = Duration::from_hours(24);

fn settings(outbox: &Path) -> MailSettings {
    MailSettings {
        host: None,
        port: 465,
        encryption: Encryption::Tls,
        user: None,
        password: None,
        certificate_authorities: None,
        timeout: Duration::from_secs(5),
        from: "Tchap <ne-pas-repondre@example.org>".to_owned(),
        app_name: "Tchap".to_owned(),
        language: French,
        support: Some("support@example.org".to_owned()),
        restricted_documents_notice: true,
        outbox: outbox.to_owned(),
    }
}

fn try_mailer(settings: &MailSettings) -> Result<Mailer, SetupError> {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    Mailer::new(
        settings,
        server_name!("agent.example.org:8448"),
        clock,
        Random::seeded(1),
    )
}

fn mailer(outbox: &Path) -> Mailer {
    try_mailer(&settings(outbox)).unwrap()
}

fn link() -> Url {
    "https://agent.example.org/verify?token=a'b&client_secret=c%22d&sid=1"
        .parse()
        .unwrap()
}

/// The only mail of an outbox, as it was written.
fn only_file(outbox: &Path) -> Vec<u8> {
    let mut files = std::fs::read_dir(outbox).unwrap();
    let bytes = std::fs::read(files.next().unwrap().unwrap().path()).unwrap();
    assert!(files.next().is_none());
    bytes
}

/// Sends both kinds of mail, each in its own folder, and gives the bytes.
async fn both_kinds(language: Option<Language>) -> Vec<Vec<u8>> {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let to = "camille.martin@example.org";
    mailer(first.path())
        .send_address_verification(to, &link(), language, DAY)
        .await
        .unwrap();
    mailer(second.path())
        .send_password_reset(to, &link(), language, DAY)
        .await
        .unwrap();
    vec![only_file(first.path()), only_file(second.path())]
}

#[test]
fn only_one_local_part_one_at_sign_and_one_domain_make_a_recipient() {
    for good in [
        "a@example.org",
        "jean-paul.o'neil+x@sub.example.org",
        "a@localhost",
    ] {
        assert_eq!(recipient(good).unwrap().email.to_string(), good);
    }
    let bad = [
        "",
        "@",
        "a",
        "a@",
        "@example.org",
        "a@b@example.org",
        "a@example.org\r\nBcc: b@example.org",
        "a\r\nBcc: b@example.org",
        "a\n@example.org",
        "a\0@example.org",
        "a@example.org\u{7f}",
        "a b@example.org",
        "a,b@example.org",
        "<a@example.org>",
        "A <a@example.org>",
        "\"a\"@example.org",
        "é@example.org",
        "a@exämple.org",
        "a@exam ple.org",
        "a@example.org ",
    ];
    for bad in bad {
        assert!(
            matches!(recipient(bad), Err(InvalidMail::Address)),
            "{bad:?}"
        );
    }
}

#[tokio::test]
async fn a_header_cannot_be_injected_through_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let to = "a@example.org\r\nBcc: everybody@example.org";
    let result = mailer(folder.path())
        .send_password_reset(to, &link(), None, DAY)
        .await;
    assert!(matches!(
        result,
        Err(MailError::Invalid(InvalidMail::Address))
    ));
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn a_link_that_is_no_page_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let link = Url::parse("javascript:alert(1)").unwrap();
    let result = mailer(folder.path())
        .send_password_reset("a@example.org", &link, None, DAY)
        .await;
    assert!(matches!(result, Err(MailError::Invalid(InvalidMail::Link))));
}

#[test]
fn settings_that_would_spoil_headers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = settings(folder.path());
    for from in [
        "",
        "nobody",
        "a@example.org\r\nBcc: b@example.org",
        "é@example.org",
    ] {
        let bad = MailSettings {
            from: from.to_owned(),
            ..good.clone()
        };
        assert!(
            matches!(try_mailer(&bad), Err(SetupError::Sender)),
            "{from:?}"
        );
    }
    for app_name in ["", " ", "Tchap\r\nBcc: b@example.org"] {
        let bad = MailSettings {
            app_name: app_name.to_owned(),
            ..good.clone()
        };
        assert!(
            matches!(try_mailer(&bad), Err(SetupError::AppName)),
            "{app_name:?}"
        );
    }
}

#[test]
fn authorities_that_hold_no_certificate_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut bad = settings(folder.path());
    bad.host = Some("127.0.0.1".to_owned());
    bad.certificate_authorities = Some(folder.path().join("missing.pem"));
    assert!(matches!(
        try_mailer(&bad),
        Err(SetupError::CertificateAuthorities(_))
    ));
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    bad.certificate_authorities = Some(empty);
    assert!(matches!(try_mailer(&bad), Err(SetupError::Tls(None))));
}

#[tokio::test]
async fn mails_say_who_wrote_them_when_and_that_no_answer_is_wanted() {
    for bytes in both_kinds(None).await {
        let mail = MessageParser::default().parse(&bytes).unwrap();
        let from = mail.from().unwrap().first().unwrap();
        assert_eq!(from.name(), Some("Tchap"));
        assert_eq!(from.address(), Some("ne-pas-repondre@example.org"));
        let to = mail.to().unwrap().first().unwrap();
        assert_eq!(to.address(), Some("camille.martin@example.org"));
        assert_eq!(mail.date().unwrap().to_rfc3339(), "2026-01-02T03:04:05Z");
        assert!(mail.message_id().unwrap().ends_with("@agent.example.org"));
        assert_eq!(
            mail.header_raw("Auto-Submitted").unwrap().trim(),
            "auto-generated"
        );
        assert_eq!(mail.header_raw("Content-Language").unwrap().trim(), "fr");
        assert_eq!((mail.text_body_count(), mail.html_body_count()), (1, 1));
        let content_type = mail.header_raw("Content-Type").unwrap();
        assert!(
            content_type.contains("multipart/alternative"),
            "{content_type}"
        );
    }
}

#[tokio::test]
async fn both_parts_hold_the_link_and_the_validity_in_both_languages() {
    for (language, validity, subjects) in [
        (
            French,
            "24\u{a0}heures",
            ["confirmez votre adresse", "mot de passe"],
        ),
        (
            English,
            "24\u{a0}hours",
            ["confirm your e-mail address", "reset your password"],
        ),
    ] {
        for (bytes, subject) in both_kinds(Some(language)).await.iter().zip(subjects) {
            let mail = MessageParser::default().parse(bytes).unwrap();
            let (text, html) = (mail.body_text(0).unwrap(), mail.body_html(0).unwrap());
            let escaped = link().as_str().replace('&', "&amp;").replace('\'', "&#39;");
            assert!(text.lines().any(|line| line == link().as_str()), "{text}");
            assert!(html.contains(&format!("href=\"{escaped}\"")), "{html}");
            assert!(
                html.contains(&format!("<html lang=\"{}\">", language.tag())),
                "{html}"
            );
            assert!(text.contains(validity) && html.contains(validity), "{text}");
            assert!(text.contains("support@example.org") && html.contains("support@example.org"));
            assert!(mail.subject().unwrap().starts_with("Tchap"));
            assert!(mail.subject().unwrap().contains(subject));
        }
    }
}

#[tokio::test]
async fn mails_load_nothing_and_run_nothing() {
    for language in [French, English] {
        for bytes in both_kinds(Some(language)).await {
            let mail = MessageParser::default().parse(&bytes).unwrap();
            let html = mail.body_html(0).unwrap().to_lowercase();
            for bad in [
                "<img", "<script", "<link", "<iframe", "src=", "url(", "@import", "onclick",
            ] {
                assert!(!html.contains(bad), "{bad}");
            }
            assert_eq!(
                html.matches("http").count(),
                2,
                "the link, and its text: {html}"
            );
            assert_eq!(mail.attachment_count(), 0);
        }
    }
}

#[tokio::test]
async fn french_says_chiffre_and_verification_recalls_what_is_forbidden() {
    let mails = both_kinds(Some(French)).await;
    for bytes in &mails {
        let mail = MessageParser::default().parse(bytes).unwrap();
        let words = format!(
            "{}{}",
            mail.body_text(0).unwrap(),
            mail.body_html(0).unwrap()
        );
        assert!(!words.to_lowercase().contains("crypt"));
    }
    let verification = MessageParser::default()
        .parse(mails.first().unwrap())
        .unwrap();
    assert!(
        verification
            .body_text(0)
            .unwrap()
            .contains("Diffusion Restreinte")
    );
    assert!(
        verification
            .body_html(0)
            .unwrap()
            .contains("Diffusion Restreinte")
    );
}

#[tokio::test]
async fn names_are_escaped_in_html() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.app_name = "<script>alert(1)</script>".to_owned();
    settings.support = Some("<img src=x>".to_owned());
    let mailer = try_mailer(&settings).unwrap();
    mailer
        .send_password_reset("a@example.org", &link(), None, DAY)
        .await
        .unwrap();
    let bytes = only_file(folder.path());
    let mail = MessageParser::default().parse(&bytes).unwrap();
    let html = mail.body_html(0).unwrap();
    assert!(
        !html.contains("<script") && !html.contains("<img"),
        "{html}"
    );
    assert!(html.contains("&lt;script&gt;"), "{html}");
}

#[test]
fn durations_are_said_in_words() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let cases = [
        (minutes(1), "1\u{a0}minute", "1\u{a0}minute"),
        (minutes(30), "30\u{a0}minutes", "30\u{a0}minutes"),
        (minutes(60), "1\u{a0}heure", "1\u{a0}hour"),
        (minutes(90), "90\u{a0}minutes", "90\u{a0}minutes"),
        (DAY, "24\u{a0}heures", "24\u{a0}hours"),
        (7 * DAY, "7\u{a0}jours", "7\u{a0}days"),
    ];
    for (duration, french, english) in cases {
        assert_eq!(spoken(French, duration), french);
        assert_eq!(spoken(English, duration), english);
    }
}

#[test]
fn neither_settings_nor_mailer_show_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.host = Some("127.0.0.1".to_owned());
    settings.user = Some("chappe".to_owned());
    settings.password = Some("correct horse".to_owned().into());
    let shown = format!("{settings:?} {:?}", try_mailer(&settings).unwrap());
    assert!(!shown.contains("correct horse"), "{shown}");
}
