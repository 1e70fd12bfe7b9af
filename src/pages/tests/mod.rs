//! Tests of the pages: what they say, what they load, how they escape.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use super::{Home, OutboxEntry, Page, Pages, parts};
use crate::language::Language::{self, English, French};

const EVIL: &str = "\"'><script>alert(1)</script>&";

fn pages() -> Pages {
    Pages::new("Tchap").unwrap()
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
    vec![
        pages.home(&home, language),
        pages.address_confirmed(language),
        pages.link_invalid(language),
        pages.password_reset_confirm(word, &[(word, word)], language),
        pages.password_reset_done(language),
        pages.not_found(language),
        pages.development_outbox(&[], language),
        pages.development_outbox(&[entry], language),
        pages.development_mail(&entry, word, language),
    ]
}

#[test]
fn each_page_has_the_landmarks_and_the_language_that_people_need() {
    let pages = pages();
    for language in [French, English] {
        for page in every_page(&pages, "word", language) {
            let html = &page.html;
            let tag = format!("<html lang=\"{}\">", language.tag());
            for wanted in [
                tag.as_str(),
                "<!DOCTYPE html>",
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
    let evil = Pages::new(EVIL).unwrap();
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
                "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; \
                 frame-ancestors 'none'; base-uri 'none'"
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
    assert_eq!(statuses, [200, 200, 400, 200, 200, 404, 200, 200, 200]);
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
