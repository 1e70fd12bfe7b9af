//! Tests of the pages: what they say, what they load, how they escape.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use super::{AuthForm, Home, OutboxEntry, Page, PageError, Pages, Visitor, parts};
use crate::language::Language::{self, English, French};

const EVIL: &str = "\"'><script>alert(1)</script>&";

fn pages() -> Pages {
    Pages::new("Tchap", None).unwrap()
}

/// Every page, with `word` wherever a caller gives a word.
fn every_page(pages: &Pages, word: &str, language: Language) -> Vec<Page> {
    let home = Home {
        server_name: word,
        homeserver_url: word,
        version: word,
        profile: word,
    };
    let text = format!("{word}\nhttps://example.org/{word}\n");
    let entry = OutboxEntry {
        link: word,
        to: word,
        subject: word,
        date: word,
        text: &text,
    };
    let opens = Visitor::opening(Some(&format!("a={word}&lang={}", language.tag())), language);
    let posts = Visitor::posting(&[(word, word)], Some(word), language);
    vec![
        pages.home(&home, language),
        pages.address_confirmed(&opens),
        pages.link_invalid(&opens),
        pages.password_reset_confirm(word, &[(word, word)], &opens),
        pages.password_reset_done(&posts),
        pages.not_found(language),
        pages.development_outbox(&[], language),
        pages.development_outbox(&[entry], language),
        pages.development_mail(&entry, word, language),
        pages.renewed(&opens),
        pages.already_renewed(&opens),
        pages.renewal_invalid(&opens),
        pages.consent(word, &[(word, word, word)], &[(word, word)], &opens),
        pages.consent_done(&posts),
        pages.auth(&AuthForm::Dummy, &[(word, word)], false, &opens),
        pages.auth(
            &AuthForm::Terms(&[(word, word, word)]),
            &[(word, word)],
            false,
            &opens,
        ),
        pages.auth(&AuthForm::Password, &[(word, word)], true, &opens),
        pages.auth(&AuthForm::RegistrationToken, &[(word, word)], false, &opens),
        pages.auth(&AuthForm::Email, &[(word, word)], true, &opens),
        pages.auth(&AuthForm::EmailSent, &[(word, word)], false, &opens),
    ]
}

#[test]
fn each_page_has_the_landmarks_and_the_language_that_people_need() {
    let pages = pages();
    for language in [French, English] {
        for page in every_page(&pages, "word", language) {
            let html = &page.html;
            let tag = format!("<html lang=\"{}\" dir=\"ltr\">", language.tag());
            for wanted in [
                tag.as_str(),
                "<!DOCTYPE html>",
                "<nav class=\"skip\"",
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
                "<header role=\"banner\">",
                "<main id=\"content\" role=\"main\"",
                "<footer role=\"contentinfo\">",
                "href=\"#content\"",
            ] {
                assert!(html.contains(wanted), "{wanted}: {html}");
            }
            assert_eq!(html.matches("<h1>").count(), 1, "{html}");
            assert_eq!(html.matches("<title>").count(), 1, "{html}");
            assert!(!html.contains("<title> "), "{html}");
        }
    }
}

#[test]
fn pages_load_nothing_and_run_nothing() {
    let pages = pages();
    for language in [French, English] {
        for page in every_page(&pages, "word", language) {
            let html = page.html.to_lowercase();
            for bad in [
                "<script",
                "<img",
                "<link",
                "<iframe",
                " src=",
                "url(",
                "@import",
                " style=",
                "onclick",
                "javascript:",
            ] {
                assert!(!html.contains(bad), "{bad}: {html}");
            }
        }
    }
}

#[test]
fn every_word_of_a_caller_is_escaped() {
    let evil = Pages::new(EVIL, None).unwrap();
    for pages in [pages(), evil] {
        for language in [French, English] {
            for page in every_page(&pages, EVIL, language) {
                assert!(!page.html.contains("<script"), "{}", page.html);
                assert!(!page.html.contains("\"'>"), "{}", page.html);
                assert_ne!(page.status, 500);
            }
        }
    }
}

#[test]
fn the_policy_allows_the_style_sheet_as_it_is_served_and_nothing_else() {
    let pages = pages();
    let policy = pages.content_security_policy().to_str().unwrap();
    for page in every_page(&pages, "word", French) {
        let (_, rest) = page.html.split_once("<style>").unwrap();
        let (style, _) = rest.split_once("</style>").unwrap();
        let hash = STANDARD.encode(Sha256::digest(style));
        assert_eq!(
            policy,
            format!(
                "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; font-src data:; \
                 form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
            )
        );
    }
}

#[test]
fn pages_answer_with_the_status_of_what_happened() {
    let pages = pages();
    let statuses: Vec<u16> = every_page(&pages, "word", French)
        .iter()
        .map(|page| page.status)
        .collect();
    assert_eq!(
        statuses,
        [
            200, 200, 400, 200, 200, 404, 200, 200, 200, 200, 200, 400, 200, 200, 200, 200, 401,
            200, 401, 200
        ]
    );
}

#[test]
fn french_never_says_crypte() {
    for page in every_page(&pages(), "word", French) {
        assert!(!page.html.to_lowercase().contains("crypt"), "{}", page.html);
    }
}

#[test]
fn the_reset_form_posts_its_hidden_fields_and_has_a_button() {
    let fields = [("sid", "1"), ("token", "abc")];
    let page = pages().password_reset_confirm("submit_token", &fields, English);
    for wanted in [
        "<form method=\"post\" action=\"submit_token\">",
        "<input type=\"hidden\" name=\"sid\" value=\"1\">",
        "<input type=\"hidden\" name=\"token\" value=\"abc\">",
        "<button type=\"submit\">",
    ] {
        assert!(page.html.contains(wanted), "{wanted}: {}", page.html);
    }
}

#[test]
fn the_home_page_says_how_to_sign_in() {
    let home = Home {
        server_name: "agent.example.org",
        homeserver_url: "matrix.example.org",
        version: "0.1.0",
        profile: "tchap",
    };
    let page = pages().home(&home, French);
    for wanted in [
        "agent.example.org",
        "<code>matrix.example.org</code>",
        "Chappe 0.1.0",
        "tchap",
    ] {
        assert!(page.html.contains(wanted), "{wanted}: {}", page.html);
    }
}

#[test]
fn links_in_a_text_are_found_and_the_text_stays_whole() {
    let text = "Ouvrez :\r\n\r\nhttps://example.org/?a=b&c=d\r\n\r\njavascript:x http: fin";
    let parts = parts(text);
    let whole: String = parts.iter().map(|part| part.text).collect();
    assert_eq!(whole, text);
    let links: Vec<&str> = parts
        .iter()
        .filter(|part| part.is_link)
        .map(|part| part.text)
        .collect();
    assert_eq!(links, ["https://example.org/?a=b&c=d"]);
}

#[test]
fn every_page_that_can_be_had_again_leads_to_the_other_language() {
    let pages = pages();
    let opens = Visitor::opening(Some("token=a&lang=en"), French);
    let page = pages.renewed(&opens);
    assert_eq!(page.language, English);
    let link = "<a href=\"?token=a&amp;lang=fr\" lang=\"fr\" hreflang=\"fr\">Français</a>";
    assert!(page.html.contains(link), "{}", page.html);
    let posts = Visitor::posting(&[("token", "a")], None, French);
    let html = pages.password_reset_done(&posts).html;
    for wanted in [
        "<input type=\"hidden\" name=\"token\" value=\"a\">",
        "<input type=\"hidden\" name=\"lang\" value=\"en\">",
        "<button type=\"submit\" class=\"link\" lang=\"en\">English</button>",
    ] {
        assert!(html.contains(wanted), "{wanted}: {html}");
    }
    assert!(!pages.not_found(French).html.contains("English"));
}

#[test]
fn an_operators_pages_and_style_replace_ours_and_are_tried_out_first() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("style.css"), "a { color: red; }").unwrap();
    std::fs::create_dir(folder.path().join("fr")).unwrap();
    let file = folder.path().join("fr/renewed.html");
    std::fs::write(&file, "<p>Merci, {{ app_name }}</p>").unwrap();
    let pages = Pages::new("Tchap", Some(folder.path())).unwrap();
    assert_eq!(pages.renewed(French).html, "<p>Merci, Tchap</p>");
    assert!(pages.renewed(English).html.contains("a { color: red; }"));
    let hash = STANDARD.encode(Sha256::digest("a { color: red; }"));
    let policy = pages.content_security_policy().to_str().unwrap();
    assert!(policy.contains(&hash), "{policy}");

    std::fs::write(&file, "<p>\n{{ nobody }}</p>").unwrap();
    let Err(PageError::Templates(faults)) = Pages::new("Tchap", Some(folder.path())) else {
        panic!("the template was taken")
    };
    let expected = format!("{}:2: undefined value", file.display());
    assert!(faults.to_string().starts_with(&expected), "{faults}");
}

#[test]
fn every_sample_can_be_rendered() {
    for language in [French, English] {
        for sample in pages().samples(language) {
            assert!(sample.page.fault.is_none(), "{}", sample.name);
            assert_eq!(sample.page.language, language);
        }
    }
}
