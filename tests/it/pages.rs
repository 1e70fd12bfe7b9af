//! The pages and mails that people see: languages, headers, and an operator's own templates.

use std::{collections::BTreeSet, fs, path::Path, process::Output};

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{
    process::{command, run},
    server::{TestOptions, TestServer},
    smtp::{Behavior, SmtpOptions, SmtpServer},
};

const CONFIG: &str = r"
server.profile = 'tchap'
registration.open = false
policy.addresses.patterns = [{ pattern = '.*@culture\.gouv\.fr' }]
";

const RESET: &str = "/_synapse/client/password_reset/email/submit_token";

async fn get(server: &TestServer, path: &str, languages: &str) -> reqwest::Response {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{path}", server.url);
    let request = http.get(url).header("accept-language", languages);
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_page_is_in_the_language_of_the_address_or_else_of_the_browser() {
    let server = TestServer::new().await;
    for (path, languages, tag, other) in [
        ("/", "fr", "fr", "?lang=en"),
        ("/", "en-GB, fr;q=0.5", "en", "?lang=fr"),
        ("/?lang=en", "fr", "en", "?lang=fr"),
        ("/?lang=fr", "en", "fr", "?lang=en"),
        ("/?lang=de", "de", "fr", "?lang=en"),
    ] {
        let page = get(&server, path, languages).await;
        assert_eq!(page.status(), 200);
        assert_eq!(page.headers()["content-language"], tag, "{path}");
        let html = page.text().await.unwrap();
        assert!(html.contains(&format!("<html lang=\"{tag}\"")), "{html}");
        assert!(html.contains(&format!("href=\"{other}\"")), "{html}");
    }
}

#[tokio::test]
async fn a_page_keeps_to_itself() {
    let server = TestServer::new().await;
    for path in [
        "/",
        "/_matrix/client/unstable/registration/email/submit_token?token=a",
    ] {
        let page = get(&server, path, "fr").await;
        let headers = page.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        for part in [
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(
            !policy.contains("unsafe") && !policy.contains("script"),
            "{policy}"
        );
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
    }
}

#[tokio::test]
async fn a_bad_link_is_told_in_either_language_and_keeps_its_words() {
    let server = TestServer::new().await;
    let page = get(&server, &format!("{RESET}?token=%3Cscript%3E&sid=1"), "fr").await;
    assert_eq!(page.status(), 400);
    let html = page.text().await.unwrap();
    assert!(html.contains("n’est plus valable"), "{html}");
    let other = "href=\"?token=%3Cscript%3E&amp;sid=1&amp;lang=en\"";
    assert!(html.contains(other), "{html}");
}

#[tokio::test]
async fn a_new_password_is_allowed_in_the_language_that_was_chosen() {
    let server = TestServer::start(TestOptions::with(CONFIG)).await;
    let client = server.client();
    let email = "anna.martin@culture.gouv.fr";
    let ask = json!({ "client_secret": "secret", "email": email, "send_attempt": 1 });
    let sid = client
        .post("register/email/requestToken", &ask)
        .await
        .expect_ok()["sid"]
        .clone();
    let link = link_in(&server.mail_to(email).await.text);
    assert_eq!(get(&server, &link, "fr").await.status(), 200);
    let credentials = json!({ "sid": sid, "client_secret": "secret" });
    let session = client.post("register", &json!({})).await.body["session"].clone();
    let auth = json!({
        "type": "m.login.email.identity",
        "threepid_creds": credentials,
        "session": session,
    });
    let register = json!({ "password": "Correct-horse7", "auth": auth });
    client.post("register", &register).await.expect_ok();

    let path = "account/password/email/requestToken";
    let ask = json!({ "client_secret": "other", "email": email, "send_attempt": 1 });
    client.post(path, &ask).await.expect_ok();
    let link = link_in(&server.mail_to(email).await.text);
    let html = get(&server, &format!("{link}&lang=en"), "fr")
        .await
        .text()
        .await
        .unwrap();
    assert!(html.contains("Confirm the change of password"), "{html}");
    assert!(html.contains("name=\"lang\" value=\"en\""), "{html}");
    let (path, query) = link.split_once('?').unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |language: &str| {
        http.post(format!("{}{path}", server.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("{query}&lang={language}"))
            .send()
            .await
            .unwrap()
    };
    let done = post("en").await;
    assert_eq!(
        (
            done.status().as_u16(),
            done.headers()["content-language"].as_bytes()
        ),
        (200, &b"en"[..])
    );
    let html = done.text().await.unwrap();
    assert!(html.contains("lang=\"fr\">Français</button>"), "{html}");
    // The switch posts the same again.
    assert_eq!(post("fr").await.headers()["content-language"], "fr");
}

/// The path of the first link of a text.
fn link_in(text: &str) -> String {
    let link = text
        .split_whitespace()
        .find(|word| word.starts_with("http://"));
    let link: url::Url = link.unwrap().parse().unwrap();
    format!("{}?{}", link.path(), link.query().unwrap())
}

/// A configuration with a folder of templates.
struct Operator(TempDir);

impl Operator {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for kind in ["mail", "page/fr"] {
            fs::create_dir_all(folder.path().join("templates").join(kind)).unwrap();
        }
        let operator = Self(folder);
        operator.configure("");
        operator
    }

    fn configure(&self, more: &str) {
        let folder = self.0.path();
        let (templates, data) = (folder.join("templates"), folder.join("data"));
        let config = format!(
            "{more}\n[server]\ntemplates = {templates:?}\ndata_folder = {data:?}\n\
             [[listeners]]\naddress = '127.0.0.1:0'\n"
        );
        fs::write(self.config(), config).unwrap();
    }

    fn config(&self) -> std::path::PathBuf {
        self.0.path().join("chappe.toml")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join("templates").join(name), text).unwrap();
    }

    /// Runs a command with this configuration: exit code, answer, problems.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = command(arguments.iter().copied());
        command.env("CHAPPE_CONFIG", self.config());
        let Output {
            status,
            stdout,
            stderr,
        } = run(&mut command, "");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn preview(&self) -> (i32, String, String) {
        let folder = self.0.path().join("preview");
        self.run(&["mail", "preview", "--to", folder.to_str().unwrap()])
    }

    fn previewed(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join("preview").join(name)).unwrap()
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_preview_shows_every_mail_and_page_as_the_operator_changed_them() {
    let operator = Operator::new();
    operator.write("mail/invitation.fr.subject", "Bienvenue sur {{ app_name }}");
    operator.write("page/style.css", "main { color: #123456; }");
    let (code, answer, problems) = operator.preview();
    assert_eq!((code, problems.as_str()), (0, ""), "{answer}");
    let folder = operator.0.path().join("preview");
    let mails = names(&folder.join("mail"));
    for kind in [
        "address_verification",
        "already_registered",
        "invitation",
        "password_reset",
        "renewal",
        "renewal_2",
        "renewal_3",
        "unread",
    ] {
        for language in ["fr", "en"] {
            for ending in ["subject", "txt", "html", "eml"] {
                let name = format!("{kind}.{language}.{ending}");
                assert!(mails.contains(&name), "{name}: {mails:?}");
            }
        }
    }
    assert_eq!(mails.len(), 8 * 2 * 4);
    assert_eq!(
        operator.previewed("mail/invitation.fr.subject"),
        "Bienvenue sur Tchap"
    );
    assert!(
        operator
            .previewed("mail/invitation.en.subject")
            .starts_with("Invitation")
    );
    assert!(
        operator
            .previewed("mail/invitation.fr.eml")
            .contains("Subject: Bienvenue sur Tchap")
    );
    let pages = names(&folder.join("page"));
    assert_eq!(pages.len(), 24 * 2, "{pages:?}");
    assert!(
        operator
            .previewed("page/renewed.fr.html")
            .contains("#123456")
    );
}

#[test]
fn a_broken_template_is_refused_everywhere_with_its_file_and_line() {
    let operator = Operator::new();
    let config = operator.config();
    let check = ["config", "check", config.to_str().unwrap()];
    assert_eq!(operator.run(&check).0, 0);
    operator.write("mail/renewal.fr.txt", "Bonjour,\n\n{{ nom }}\n");
    operator.write("page/fr/renewed.html", "<p>\n{% if %}</p>\n");
    operator.write("page/fr/renewd.html", "");
    let serve = ["serve", "--config", config.to_str().unwrap()];
    for arguments in [&check[..], &serve[..]] {
        let (code, _, problems) = operator.run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {problems}");
        assert!(
            problems.contains("mail/renewal.fr.txt:3: undefined value"),
            "{problems}"
        );
    }
    let (_, _, problems) = operator.run(&check);
    assert!(
        problems.contains("page/fr/renewed.html:2: syntax error"),
        "{problems}"
    );
    assert!(
        problems.contains("page/fr/renewd.html: replaces nothing"),
        "{problems}"
    );
    assert_eq!(operator.preview().0, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_can_be_tried_out() {
    let smtp = SmtpServer::start(SmtpOptions::default()).await;
    let operator = Operator::new();
    let port = smtp.port();
    operator.configure(&format!(
        "mail = {{ host = '127.0.0.1', port = {port}, encryption = 'none' }}"
    ));
    let test = |address: &'static str| {
        tokio::task::block_in_place(|| operator.run(&["mail", "test", address]))
    };
    assert_eq!(test("camille@example.org").0, 0);
    let mails = smtp.received();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, ["camille@example.org"]);
    let (code, _, problems) = test("a@b@example.org");
    assert_eq!(code, 1);
    assert!(problems.contains("is not an address"), "{problems}");
    smtp.set_behavior(Behavior::RejectRecipient);
    let (code, _, problems) = test("camille@example.org");
    assert_eq!(code, 1);
    assert!(problems.contains("550"), "{problems}");
}
