//! Addresses that were, or could be, read in two ways (tchap.md R-01).

use serde_json::json;

use crate::harness::server::{TestOptions, TestServer};

/// Each names a domain that may register, somewhere.
const REFUSED: &[&str] = &[
    "own@mail.com@elysee.fr",
    "a@b@elysee.fr",
    "a@elysee.fr@b.com",
    "\"a@b\"@elysee.fr",
    "\"a b\"@elysee.fr",
    "\"a\"@elysee.fr",
    "a@mail.com,b@elysee.fr",
    "a@mail.com;b@elysee.fr",
    "a@mail.com b@elysee.fr",
    "<a@elysee.fr>",
    "A <a@elysee.fr>",
    "a@mail.com<a@elysee.fr>",
    "a(comment)@elysee.fr",
    "a@(comment)elysee.fr",
    "a@elysee.fr(comment)",
    "a@mail.com\n@elysee.fr",
    "a\n@elysee.fr",
    "a@elysee.fr\nb@mail.com",
    "a@elysee.fr\r\nBcc: b@mail.com",
    "a@mail.com\r\n\r\n@elysee.fr",
    "a @elysee.fr",
    "a@ elysee.fr",
    "a\t@elysee.fr",
    "a\0@elysee.fr",
    "a@elysee.fr\0",
    "a\u{7f}@elysee.fr",
    "a\u{a0}@elysee.fr",
    "a\u{200b}@elysee.fr",
    "a@elysee.fr\u{200b}",
    "a\u{202e}@elysee.fr",
    "a@elysee.fr.",
    "a@.elysee.fr",
    "a@elysee..fr",
    "a@-.elysee.fr",
    "@elysee.fr",
    "a@",
    "@",
    "",
    "a",
    "elysee.fr",
    "a@[127.0.0.1]",
    "a@[elysee.fr]",
    "a@elysee.fr:25",
    "a@elysee.fr/b",
    "a\\@elysee.fr",
    "a@elysee.fr\\",
    "a,@elysee.fr",
    ":a@elysee.fr",
    "a%mail.com@b@elysee.fr",
    // A Cyrillic е, a wide dot, a full-width letter, a long s, other at signs.
    "a@\u{435}lysee.fr",
    "a@elysee\u{3002}fr",
    "a@\u{ff45}lysee.fr",
    "a@ely\u{17f}ee.fr",
    "a\u{fe6b}elysee.fr",
    "a\u{ff20}elysee.fr",
    "a@mail.com\u{ff20}elysee.fr",
];

#[tokio::test]
async fn r_01_addresses_that_can_be_read_in_two_ways_are_refused_and_get_no_mail() {
    // As lenient a list as can be: what refuses is the reading of the address.
    let options = TestOptions::with(
        r#"
        server.profile = "tchap"
        registration.open = false
        policy.addresses.patterns = [{ pattern = '(?s).*' }]
        "#,
    );
    let server = TestServer::start(options).await;
    let client = server.client();
    let mut wrong = Vec::new();
    for path in ["register", "account/password"] {
        for version in ["r0", "v3"] {
            let path = format!("/_matrix/client/{version}/{path}/email/requestToken");
            for email in REFUSED {
                let body = json!({ "email": email, "client_secret": "secret", "send_attempt": 1 });
                let answer = client.post(&path, &body).await;
                if answer.status != 400 {
                    wrong.push(format!(
                        "{path} {email:?}: {} {}",
                        answer.status, answer.text
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mails = server.mails().await;
    assert!(mails.is_empty(), "{mails:?}");
    // Others get theirs.
    let path = "/_matrix/client/v3/register/email/requestToken";
    let body = json!({ "email": "a@elysee.fr", "client_secret": "secret", "send_attempt": 1 });
    client.post(path, &body).await.expect_ok();
    server.mail_to("a@elysee.fr").await;
}
