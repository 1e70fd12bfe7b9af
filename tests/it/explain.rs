//! `chappe policy explain`: from a configuration, and from a running server.

use std::{fs, path::Path};

use chappe::cli;
use serde_json::{Value, json};

use crate::harness::tchap::{CONFIG, person, person_with, server};

const PATH: &str = "/_chappe/admin/v1/policy/explain/registration";

/// The exit code, the answer and the problems.
fn explain(arguments: &[&str]) -> (u8, String, String) {
    let fixed = ["chappe", "policy", "explain", "registration"];
    let arguments = fixed.iter().chain(arguments).copied();
    let (mut out, mut problems) = (Vec::new(), Vec::new());
    let code = cli::run(arguments, &mut out, &mut problems).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (code, text(out), text(problems))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_configuration_explains_who_may_register() {
    let folder = tempfile::tempdir().unwrap();
    let (config, password) = (folder.path().join("chappe.toml"), folder.path().join("pw"));
    fs::write(&config, CONFIG).unwrap();
    fs::write(&password, "court\n").unwrap();
    let ask = |more: &[&str]| {
        let source = ["--config", text(&config)];
        explain(&[&source, more].concat())
    };
    let (code, out, _) = ask(&["jean.dupont@interieur.gouv.fr"]);
    assert_eq!(code, 0, "{out}");
    for part in [
        "allowed  register        CK-02",
        "@jean.dupont-interieur.gouv.fr:localhost",
        "Jean Dupont [Interieur]",
        "by policy.addresses.patterns[0] (profile tchap)",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let (code, out, _) = ask(&["a@evil.example"]);
    assert_eq!(code, 1);
    assert!(out.contains("denied   register        CK-01"), "{out}");
    assert!(out.contains("address_not_allowed"), "{out}");
    let (code, out, _) = ask(&["jean@gouv.fr", "--password-file", text(&password), "--json"]);
    assert_eq!(code, 1);
    let answer: Value = serde_json::from_str(&out).unwrap();
    let last = answer["decisions"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["rule"], &last["errcode"]),
        (&json!("PW-01"), &json!("M_PASSWORD_TOO_SHORT"))
    );
    fs::write(&config, "[policy.passwords]\nminimum_length = 9999\n").unwrap();
    let (code, _, problems) = ask(&["jean@gouv.fr"]);
    assert_eq!(code, 2, "{problems}");
}

#[tokio::test]
async fn a_server_explains_to_its_administrators_alone() {
    let server = server("").await;
    let root = person_with(&server, "root@culture.gouv.fr", None, true).await;
    let alice = person(&server, "alice@culture.gouv.fr").await;
    let body = json!({ "address": "alice@culture.gouv.fr", "password": "court" });
    let stranger = server.client().post(PATH, &body).await;
    stranger.expect_error(401, "M_MISSING_TOKEN");
    alice
        .post(PATH, &body)
        .await
        .expect_error(403, "M_FORBIDDEN");
    let answer = root.post(PATH, &body).await.expect_ok();
    assert_eq!(answer["allowed"], false);
    let decisions = answer["decisions"].as_array().unwrap();
    let of = |question: &str| {
        let found = decisions
            .iter()
            .find(|decision| decision["question"] == question);
        found.unwrap()
    };
    assert_eq!(of("register")["rule"], "CK-02");
    assert_eq!(of("address_in_use")["allowed"], false);
    assert_eq!(of("password")["rule"], "PW-01");
    // The next one that is free.
    assert_eq!(
        of("user_id")["result"],
        "@alice-culture.gouv.fr1:example.org"
    );
    root.post(PATH, &json!({ "address": 7 }))
        .await
        .expect_error(400, "M_BAD_JSON");

    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, root.token.as_deref().unwrap()).unwrap();
    let (url, file) = (server.url.clone(), text(&token).to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let server = ["--server", &url, "--token-file", &file];
        let good = explain(&[&server[..], &["zoe@culture.gouv.fr"]].concat());
        let bad = explain(&[&server[..], &["zoe@evil.example"]].concat());
        (good, bad)
    });
    let (good, bad) = asked.await.unwrap();
    assert_eq!(good.0, 0, "{good:?}");
    assert!(good.1.contains("address_in_use"), "{good:?}");
    assert_eq!(bad.0, 1, "{bad:?}");
    assert!(bad.1.contains("CK-01"), "{bad:?}");
}
