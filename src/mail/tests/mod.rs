//! Tests of what needs no mail server: addresses, words, headers, the outbox.

use std::{path::Path, sync::Arc, time::Duration};

use mail_parser::MessageParser;
use ruma::server_name;
use url::Url;

use super::{
    Carrier, Encryption, InvalidMail, Invitation, Letter, MailSettings, Renewal, SetupError,
    Unread, Writer, message::recipient,
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

const TO: &str = "camille.martin@example.org";

/// What somebody might call themself or a room.
const EVIL: &str = "\"'><script>alert(1)</script>\r\nBcc: everybody@example.org\u{202e}";

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
        guest_accounts: true,
        android_app: Some("https://android.example.org/".parse().unwrap()),
        ios_app: Some("https://ios.example.org/".parse().unwrap()),
        help: Some("https://help.example.org/".parse().unwrap()),
        public_url: "https://agent.example.org/".parse().unwrap(),
        templates: None,
        outbox: outbox.to_owned(),
    }
}

fn try_writer(settings: &MailSettings) -> Result<Writer, SetupError> {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let name = server_name!("agent.example.org:8448");
    Writer::new(settings, name, clock, Random::seeded(1))
}

fn writer() -> Writer {
    try_writer(&settings(Path::new("outbox"))).unwrap()
}

fn try_carrier(settings: &MailSettings) -> Result<Carrier, SetupError> {
    Carrier::new(
        settings,
        server_name!("agent.example.org"),
        Random::seeded(1),
    )
}

fn link() -> Url {
    "https://agent.example.org/verify?token=a'b&client_secret=c%22d&sid=1"
        .parse()
        .unwrap()
}

/// A letter of each kind, with `word` wherever a person gives a word.
fn letters<'a>(link: &'a Url, word: &'a str) -> Vec<Letter<'a>> {
    let renewal = Renewal {
        display_name: word,
        expires_ms: NOW_MS + 14 * 86_400_000,
        days: 14,
        link: Some(link),
        code: None,
    };
    vec![
        Letter::AddressVerification {
            link,
            valid_for: DAY,
        },
        Letter::PasswordReset {
            link,
            valid_for: DAY,
        },
        Letter::Invitation(Invitation {
            inviter: word,
            room_name: Some(word),
            link,
            valid_for: DAY,
        }),
        Letter::Renewal(renewal),
        Letter::Renewal(Renewal {
            link: None,
            code: Some("12345678"),
            days: 0,
            ..renewal
        }),
        Letter::AlreadyRegistered { link },
        Letter::Unread(Unread {
            display_name: word,
            count: 3,
            after: 3 * DAY,
            link: Some(link),
            unsubscribe: link,
        }),
    ]
}

/// Writes each kind of mail, and gives the bytes.
fn every_kind(language: Option<Language>, word: &str) -> Vec<Vec<u8>> {
    let (writer, link) = (writer(), link());
    let letters = letters(&link, word);
    let write = |letter| writer.write(TO, letter, language).unwrap().message;
    letters.iter().map(write).collect()
}

/// The subject, the text and the HTML of a mail.
fn parts(bytes: &[u8]) -> [String; 3] {
    let mail = MessageParser::default().parse(bytes).unwrap();
    [
        mail.subject().unwrap().to_owned(),
        mail.body_text(0).unwrap().into_owned(),
        mail.body_html(0).unwrap().into_owned(),
    ]
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

#[test]
fn a_header_cannot_be_injected_through_the_address() {
    let link = link();
    for letter in letters(&link, "word") {
        let to = "a@example.org\r\nBcc: everybody@example.org";
        let result = writer().write(to, &letter, None);
        assert!(matches!(result, Err(InvalidMail::Address)));
    }
}

#[test]
fn a_link_that_is_no_page_is_refused() {
    let link = Url::parse("javascript:alert(1)").unwrap();
    let letter = Letter::AlreadyRegistered { link: &link };
    let result = writer().write(TO, &letter, None);
    assert!(matches!(result, Err(InvalidMail::Link)));
}

#[test]
fn settings_that_would_spoil_headers_are_refused() {
    let good = settings(Path::new("outbox"));
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
            matches!(try_writer(&bad), Err(SetupError::Sender)),
            "{from:?}"
        );
    }
    for app_name in ["", " ", "Tchap\r\nBcc: b@example.org"] {
        let bad = MailSettings {
            app_name: app_name.to_owned(),
            ..good.clone()
        };
        assert!(
            matches!(try_writer(&bad), Err(SetupError::AppName)),
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
        try_carrier(&bad),
        Err(SetupError::CertificateAuthorities(_))
    ));
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    bad.certificate_authorities = Some(empty);
    assert!(matches!(try_carrier(&bad), Err(SetupError::Tls(None))));
}

#[test]
fn mails_say_who_wrote_them_when_and_that_no_answer_is_wanted() {
    for bytes in every_kind(None, "Camille") {
        let mail = MessageParser::default().parse(&bytes).unwrap();
        let from = mail.from().unwrap().first().unwrap();
        assert_eq!(from.name(), Some("Tchap"));
        assert_eq!(from.address(), Some("ne-pas-repondre@example.org"));
        let to = mail.to().unwrap().first().unwrap();
        assert_eq!(to.address(), Some(TO));
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

/// a template once led to a page that advertised the service.
#[test]
fn r_15_both_parts_of_each_mail_lead_where_its_link_leads_in_both_languages() {
    let (writer, link) = (writer(), link());
    let escaped = link.as_str().replace('&', "&amp;").replace('\'', "&#39;");
    for language in [French, English] {
        for letter in letters(&link, "Camille") {
            let mail = writer.write(TO, &letter, Some(language)).unwrap();
            let [subject, text, html] = parts(&mail.message);
            assert!(subject.contains("Tchap"), "{subject}");
            let tag = format!("<html lang=\"{}\"", language.tag());
            assert!(html.contains(&tag), "{html}");
            assert_eq!(html.matches("<h1 ").count(), 1, "{html}");
            for part in [&text, &html] {
                assert!(!part.contains("{{") && !part.contains("{%"), "{part}");
            }
            if letter.link().is_some() {
                assert!(text.lines().any(|line| line == link.as_str()), "{text}");
                assert!(html.contains(&format!("href=\"{escaped}\"")), "{html}");
                assert_eq!(html.matches("background: #000091").count(), 1, "{html}");
            } else {
                assert!(!html.contains(&escaped) && !text.contains(link.as_str()));
            }
        }
    }
}

/// What tchap.md, section 5.4, asks of each.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of words")]
fn each_mail_says_what_it_must() {
    let link = link();
    let wanted: &[(usize, Language, &[&str])] = &[
        (
            0,
            French,
            &[
                "confirmez votre adresse",
                "24\u{a0}heures",
                "n’avez rien demandé",
                "Diffusion Restreinte",
            ],
        ),
        (
            0,
            English,
            &[
                "confirm your e-mail address",
                "24\u{a0}hours",
                "did not ask",
                "Diffusion Restreinte",
            ],
        ),
        (
            1,
            French,
            &["mot de passe", "24\u{a0}heures", "support@example.org"],
        ),
        (
            1,
            English,
            &[
                "reset your password",
                "24\u{a0}hours",
                "support@example.org",
            ],
        ),
        (
            2,
            French,
            &[
                "Invitation",
                "Tchap",
                "Bonjour",
                "Camille MARTIN",
                "avec cette adresse",
                TO,
                "https://android.example.org/",
                "https://ios.example.org/",
                "https://help.example.org/",
                "agents de l’État",
                "compte invité",
                "Merci",
                "logiciels libres",
                "24\u{a0}heures",
            ],
        ),
        (
            2,
            English,
            &[
                "Invitation",
                "Tchap",
                "Hello",
                "Camille MARTIN",
                "with this e-mail address",
                TO,
                "https://android.example.org/",
                "guest account",
                "Thank you",
                "free software",
            ],
        ),
        (
            3,
            French,
            &[
                "expire dans 14 jours",
                "16\u{a0}janvier\u{a0}2026",
                "Garder mon compte ouvert",
                "ne pourrez plus",
            ],
        ),
        (
            3,
            English,
            &[
                "expires in 14 days",
                "16\u{a0}January\u{a0}2026",
                "Keep my account open",
            ],
        ),
        (4, French, &["a expiré", "12345678"]),
        (4, English, &["has expired", "12345678"]),
        (
            5,
            French,
            &["déjà un compte", "Mot de passe oublié", "rien demandé"],
        ),
        (5, English, &["already have an account", "Forgot password"]),
        (
            6,
            French,
            &["3 messages non lus", "3\u{a0}jours", "désactiver"],
        ),
        (
            6,
            English,
            &["3 unread messages", "3\u{a0}days", "turn these mails off"],
        ),
    ];
    let letters = letters(&link, "Camille MARTIN");
    for (at, language, words) in wanted {
        let letter = &letters[*at];
        let mail = writer().write(TO, letter, Some(*language)).unwrap();
        let [subject, text, html] = parts(&mail.message);
        for word in *words {
            let in_text = subject.contains(word) || text.contains(word);
            let is_button = word.contains("ouvert") || word.contains("open");
            assert!(in_text || is_button, "{word} in {subject}: {text}");
            assert!(
                subject.contains(word) || html.contains(word),
                "{word} in {subject}: {html}"
            );
        }
    }
}

#[test]
fn mails_load_nothing_and_run_nothing() {
    for language in [French, English] {
        for bytes in every_kind(Some(language), "Camille") {
            let mail = MessageParser::default().parse(&bytes).unwrap();
            let html = mail.body_html(0).unwrap().to_lowercase();
            for bad in [
                "<img", "<script", "<link", "<iframe", "<table", "src=", "url(", "@import",
                "onclick",
            ] {
                assert!(!html.contains(bad), "{bad}");
            }
            // Nothing but what was configured or given is linked to.
            for link in html.split("http").skip(1) {
                let is_known = link.split("://").nth(1).is_some_and(|rest| {
                    let host = rest.split('/').next().unwrap();
                    host.ends_with(".example.org")
                });
                assert!(is_known, "{link}");
            }
            assert_eq!(mail.attachment_count(), 0);
        }
    }
}

/// R-05: *crypté* is what an outsider says.
#[test]
fn r_05_french_says_chiffre() {
    let mut says = false;
    for bytes in every_kind(Some(French), "Camille") {
        let words = parts(&bytes).concat().to_lowercase();
        assert!(!words.contains("crypt"));
        says |= words.contains("chiffré");
    }
    assert!(says);
}

/// templates of another server were open to injection.
#[test]
fn r_02_names_that_people_chose_stay_words() {
    for language in [French, English] {
        for bytes in every_kind(Some(language), EVIL) {
            let mail = MessageParser::default().parse(&bytes).unwrap();
            assert!(mail.bcc().is_none());
            assert_eq!(mail.to().unwrap().iter().count(), 1);
            let [subject, text, html] = parts(&bytes);
            assert!(!subject.contains(['\r', '\n']), "{subject}");
            assert!(
                !html.contains("<script") && !html.contains("\"'>"),
                "{html}"
            );
            assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
            assert!(!text.contains('\u{202e}') && !html.contains('\u{202e}'));
        }
    }
}

#[test]
fn names_of_the_service_are_escaped_in_html() {
    let mut settings = settings(Path::new("outbox"));
    settings.app_name = "<script>alert(1)</script>".to_owned();
    settings.support = Some("<img src=x>".to_owned());
    let (writer, link) = (try_writer(&settings).unwrap(), link());
    for letter in letters(&link, "Camille") {
        let mail = writer.write(TO, &letter, None).unwrap();
        let [_, _, html] = parts(&mail.message);
        assert!(
            !html.contains("<script") && !html.contains("<img"),
            "{html}"
        );
        assert!(html.contains("&lt;script&gt;"), "{html}");
    }
}

#[test]
fn only_mails_with_a_link_that_expires_stop_being_of_use() {
    let (writer, link) = (writer(), link());
    let ends: Vec<bool> = letters(&link, "Camille")
        .iter()
        .map(|letter| {
            let mail = writer.write(TO, letter, None).unwrap();
            assert!(
                mail.valid_until_ms
                    .is_none_or(|until| until == NOW_MS + 86_400_000)
            );
            mail.valid_until_ms.is_some()
        })
        .collect();
    assert_eq!(ends, [true, true, true, false, false, false, false]);
}

#[test]
fn an_operators_templates_replace_ours_and_are_tried_out_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(Path::new("outbox"));
    settings.templates = Some(folder.path().to_owned());
    let file = folder.path().join("invitation.fr.subject");
    std::fs::write(&file, "{{ inviter }} vous attend\n").unwrap();
    let (writer, link) = (try_writer(&settings).unwrap(), link());
    let letters = letters(&link, EVIL);
    let mail = writer.write(TO, &letters[2], Some(French)).unwrap();
    let [subject, ..] = parts(&mail.message);
    assert!(
        subject.ends_with("vous attend") && !subject.contains('\n'),
        "{subject}"
    );
    let mail = writer.write(TO, &letters[2], Some(English)).unwrap();
    assert!(parts(&mail.message)[0].starts_with("Invitation to join"));

    std::fs::write(&file, "Bonjour,\n{{ nobody }}\n").unwrap();
    let Err(SetupError::Templates(faults)) = try_writer(&settings) else {
        panic!("the template was taken")
    };
    let expected = format!("{}:2: undefined value", file.display());
    assert_eq!(faults.0.len(), 1, "{faults}");
    assert!(faults.to_string().starts_with(&expected), "{faults}");
}

#[test]
fn neither_settings_nor_carrier_show_the_password() {
    let mut settings = settings(Path::new("outbox"));
    settings.host = Some("127.0.0.1".to_owned());
    settings.user = Some("chappe".to_owned());
    settings.password = Some("correct horse".to_owned().into());
    let shown = format!("{settings:?} {:?}", try_carrier(&settings).unwrap());
    assert!(!shown.contains("correct horse"), "{shown}");
}
