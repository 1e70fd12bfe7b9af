//! `chappe policy explain`: from a configuration, and from a running server.

use std::{fs, path::Path};

use chappe::cli;
use serde_json::{Value, json};

use crate::harness::{
    server::{TestOptions, TestServer},
    tchap::{CONFIG, person, person_with, server},
};

const PATH: &str = "/_chappe/admin/v1/policy/explain/registration";
const INVITE: &str = "/_chappe/admin/v1/policy/explain/invite";
const ROOM: &str = "/_chappe/admin/v1/policy/explain/room";

/// The exit code, the answer and the problems.
fn explain(arguments: &[&str]) -> (u8, String, String) {
    run("registration", arguments)
}

fn run(what: &str, arguments: &[&str]) -> (u8, String, String) {
    let fixed = ["chappe", "policy", "explain", what];
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

#[tokio::test]
async fn rooms_and_invites_are_explained_by_the_rule_that_would_refuse_them() {
    let server = server("").await;
    let root = person_with(&server, "root@culture.gouv.fr", None, true).await;
    let alice = person(&server, "alice@culture.gouv.fr").await;
    let bob = person(&server, "bob@culture.gouv.fr").await;
    let paul = person(&server, "paul@entreprise.example").await;
    let room = alice
        .create_room(&json!({ "preset": "private_chat" }))
        .await;
    let invite = async |sender: &str, user_id: &str| {
        let body = json!({ "room_id": room, "sender": sender, "user_id": user_id });
        root.post(INVITE, &body).await.expect_ok()
    };
    let good = invite(&alice.user_id, &bob.user_id).await;
    assert_eq!(good["allowed"], true, "{good}");
    assert_eq!(good["external"], false);
    // The room is not open to externals.
    let refused = invite(&alice.user_id, &paul.user_id).await;
    assert_eq!(refused["allowed"], false, "{refused}");
    assert_eq!(refused["external"], true);
    let first = &refused["decisions"][0];
    assert_eq!(
        (&first["question"], &first["allowed"]),
        (&json!("invite"), &json!(false))
    );
    // What is explained is what happens.
    let refusal = alice.invite(&room, &paul.user_id).await;
    let refusal = refusal.expect_error(403, "M_FORBIDDEN");
    assert_eq!(refusal["fr.gouv.tchap.reason"], first["reason"]);
    // Bob is not in the room.
    let stranger = invite(&bob.user_id, &root.user_id).await;
    assert_eq!(
        stranger["decisions"][1]["reason"], "not_joined",
        "{stranger}"
    );
    let body = json!({
        "room_id": "!nowhere:example.org", "sender": alice.user_id, "user_id": bob.user_id,
    });
    root.post(INVITE, &body)
        .await
        .expect_error(404, "M_NOT_FOUND");
    alice
        .post(INVITE, &body)
        .await
        .expect_error(403, "M_FORBIDDEN");

    // RO-02: an external makes no room.
    let create = async |creator: &str, room: Value| {
        let body = json!({ "creator": creator, "room": room });
        root.post(ROOM, &body).await.expect_ok()
    };
    let agent = create(&alice.user_id, json!({ "preset": "private_chat" })).await;
    assert_eq!(agent["allowed"], true, "{agent}");
    let external = create(&paul.user_id, json!({ "preset": "private_chat" })).await;
    assert_eq!(external["allowed"], false, "{external}");
    let refusal = paul
        .post("createRoom", &json!({ "preset": "private_chat" }))
        .await;
    assert_eq!(
        refusal.body["fr.gouv.tchap.reason"],
        external["decisions"][0]["reason"]
    );

    let folder = tempfile::tempdir().unwrap();
    let (token, body) = (folder.path().join("token"), folder.path().join("room.json"));
    fs::write(&token, root.token.as_deref().unwrap()).unwrap();
    fs::write(&body, r#"{"preset":"private_chat"}"#).unwrap();
    let (alice, bob, paul) = (
        alice.user_id.clone(),
        bob.user_id.clone(),
        paul.user_id.clone(),
    );
    let url = server.url.clone();
    let people = [room.clone(), alice.clone(), bob.clone(), paul.clone()];
    let asked = tokio::task::spawn_blocking(move || {
        let source = ["--server", &url, "--token-file", text(&token)];
        let invite = |user: &str| {
            let more = ["--room", &room, "--sender", &alice, user];
            run("invite", &[&source[..], &more].concat())
        };
        let room = run(
            "room",
            &[&source[..], &["--creator", &paul, text(&body)]].concat(),
        );
        (invite(&bob), invite(&paul), room)
    });
    let (good, refused, room) = asked.await.unwrap();
    assert_eq!(
        (good.0, refused.0, room.0),
        (0, 1, 1),
        "{good:?}{refused:?}{room:?}"
    );
    assert!(room.1.contains("denied   create_room"), "{room:?}");
    assert_eq!((good.1, refused.1, room.1), offline(&server, people).await);
}

/// What the database says, without a server that is asked.
async fn offline(
    server: &TestServer,
    [room, alice, bob, paul]: [String; 4],
) -> (String, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (config, body) = (
        folder.path().join("chappe.toml"),
        folder.path().join("room.json"),
    );
    let options = TestOptions::with(CONFIG);
    let text = crate::harness::server::config(&server.database().url, &server.folder(), &options);
    fs::write(&config, text).unwrap();
    fs::write(&body, r#"{"preset":"private_chat"}"#).unwrap();
    let asked = tokio::task::spawn_blocking(move || {
        let source = ["--config", self::text(&config)];
        let invite = |user: &str| {
            let more = ["--room", &room, "--sender", &alice, user];
            run("invite", &[&source[..], &more].concat())
        };
        let create = |file: &Path| {
            let more = ["--creator", &paul, self::text(file)];
            run("room", &[&source[..], &more].concat())
        };
        let unknown = run(
            "invite",
            &[
                &source[..],
                &["--room", "!nowhere:example.org", "--sender", &alice, &bob],
            ]
            .concat(),
        );
        assert_eq!(unknown.0, 1, "{unknown:?}");
        assert!(unknown.2.contains("unknown room"), "{unknown:?}");
        let broken = folder.path().join("broken.json");
        fs::write(&broken, r#"{"preset":7}"#).unwrap();
        let broken = create(&broken);
        assert_eq!((broken.0, broken.1.as_str()), (1, ""), "{broken:?}");
        (invite(&bob).1, invite(&paul).1, create(&body).1)
    });
    asked.await.unwrap()
}
