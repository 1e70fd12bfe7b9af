//! The audit log: what is in it, and that changes of it are found.

use std::{fs, path::Path};

use chappe::cli;
use serde_json::{Value, json};

use crate::harness::{
    client::encode,
    server::{PASSWORD, TestServer},
    tchap::{person, person_with, server},
};

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// `chappe audit verify`: the exit code, the answer and the problems.
fn verify(files: &[&Path]) -> (u8, String, String) {
    let mut arguments = vec!["chappe".into(), "audit".into(), "verify".into()];
    arguments.extend(files.iter().map(|file| file.as_os_str().to_owned()));
    let (mut out, mut problems) = (Vec::new(), Vec::new());
    let code = cli::run(arguments, &mut out, &mut problems).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (code, text(out), text(problems))
}

/// Ends a server, and gives a copy of its log.
async fn log_of(server: TestServer, folder: &tempfile::TempDir) -> std::path::PathBuf {
    let file = server.folder().join("audit.log");
    let copy = folder.path().join("audit.log");
    let second = server.sibling().await;
    server.stop().await;
    fs::copy(&file, &copy).unwrap();
    second.stop().await;
    copy
}

#[tokio::test]
async fn changes_of_accounts_and_refusals_are_told_and_nothing_secret() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let root = person_with(&server, "root@culture.gouv.fr", None, true).await;
    // Profiles are fixed.
    let path = format!("profile/{}/displayname", encode(&alice.user_id));
    let refused = alice.put(&path, &json!({ "displayname": "Zoé" })).await;
    let request_id = refused.headers["x-request-id"].to_str().unwrap().to_owned();
    refused.expect_error(400, "M_FORBIDDEN");
    // An address that may not register.
    let body = json!({
        "client_secret": "secret", "email": "secret.person@evil.example", "send_attempt": 1,
    });
    let refused = server
        .client()
        .post("register/email/requestToken", &body)
        .await;
    refused.expect_error(403, "M_THREEPID_DENIED");
    // A new password, then the end.
    let password = "Another-horse-8";
    let auth = |password: &str| {
        json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": alice.user_id },
            "password": password,
        })
    };
    let body = json!({ "new_password": password, "auth": auth(PASSWORD) });
    let mut answer = alice.post("account/password", &body).await;
    if answer.status == 401 {
        let mut body = body.clone();
        body["auth"]["session"] = answer.body["session"].clone();
        answer = alice.post("account/password", &body).await;
    }
    answer.expect_ok();
    let user_id = <&ruma::UserId>::try_from(root.user_id.as_str()).unwrap();
    let accounts = server.app.accounts();
    accounts.set_admin(user_id, false).await.unwrap();
    accounts.deactivate_user(user_id, false).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let log = log_of(server, &folder).await;

    let text = fs::read_to_string(&log).unwrap();
    for secret in [
        "secret.person",
        PASSWORD,
        password,
        alice.token.as_deref().unwrap(),
        "Zoé",
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
    let lines = lines(&log);
    let told = |action: &str| -> Vec<(&Value, &Value)> {
        let of_action = lines.iter().filter(|line| line["action"] == action);
        of_action
            .map(|line| (&line["actor"], &line["object"]))
            .collect()
    };
    let (alice_id, root_id, operator) =
        (json!(alice.user_id), json!(root.user_id), json!("operator"));
    assert_eq!(
        told("account.created"),
        [(&operator, &alice_id), (&operator, &root_id)]
    );
    assert_eq!(told("account.admin_granted"), [(&operator, &root_id)]);
    assert_eq!(told("account.admin_revoked"), [(&operator, &root_id)]);
    assert_eq!(told("account.password_changed"), [(&alice_id, &alice_id)]);
    assert_eq!(told("account.deactivated"), [(&operator, &root_id)]);
    let denied: Vec<_> = lines
        .iter()
        .filter(|line| line["action"] == "policy.denied")
        .collect();
    assert_eq!(denied.len(), 2);
    assert_eq!(denied[0]["actor"], alice_id);
    assert_eq!(denied[0]["rule"], "2.5");
    assert_eq!(denied[0]["details"]["reason"], "display_name_fixed");
    assert_eq!(denied[0]["request_id"], json!(request_id));
    assert_eq!(denied[0]["outcome"], "denied");
    assert_eq!(denied[1]["actor"], "anonymous");
    assert_eq!(denied[1]["rule"], "CK-01");
    for line in &lines {
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(line["time_ms"].as_u64().unwrap() > 0, "{line}");
    }
    let (code, out, problems) = verify(&[&log]);
    assert_eq!((code, problems.as_str()), (0, ""), "{out}");
}

#[tokio::test]
async fn a_line_that_is_removed_changed_or_swapped_is_found() {
    let server = server("").await;
    for name in ["alice", "bob", "claire", "david"] {
        person(&server, &format!("{name}@culture.gouv.fr")).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let log = log_of(server, &folder).await;
    let (code, out, _) = verify(&[&log]);
    assert_eq!(code, 0, "{out}");
    let good: Vec<String> = fs::read_to_string(&log)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let of = |name: &str| good.iter().position(|line| line.contains(name)).unwrap();
    let (bob, claire) = (of("@bob-"), of("@claire-"));
    let expect = |lines: Vec<String>, number: usize, problem: &str| {
        fs::write(&log, lines.join("\n") + "\n").unwrap();
        let (code, _, problems) = verify(&[&log]);
        assert_eq!(code, 1, "{problem}");
        let place = format!("audit.log:{}: ", number + 1);
        assert!(problems.contains(&place), "{problems}");
        assert!(problems.contains(problem), "{problems}");
    };
    let mut removed = good.clone();
    removed.remove(bob);
    expect(removed, bob, "missing");
    let mut changed = good.clone();
    changed[bob] = changed[bob].replace("@bob-", "@eve-");
    expect(changed, bob, "changed");
    let mut swapped = good.clone();
    swapped.swap(bob, claire);
    expect(swapped, bob, "missing");
    let mut doubled = good.clone();
    doubled.insert(claire, good[bob].clone());
    expect(doubled, claire, "stands where");
    // The end of a chain may be gone where its process was killed, and that is said.
    let ended = good.iter().rposition(|line| line.contains("audit.ended"));
    let mut cut = good.clone();
    cut.remove(ended.unwrap());
    fs::write(&log, cut.join("\n") + "\n").unwrap();
    let (code, out, _) = verify(&[&log]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("the last lines are missing"), "{out}");
    fs::write(&log, good.join("\n")).unwrap();
    let (code, _, problems) = verify(&[&log]);
    assert_eq!(code, 1);
    assert!(problems.contains("does not end"), "{problems}");
    let (code, _, problems) = verify(&[&folder.path().join("nothing.log")]);
    assert_eq!(code, 1);
    assert!(problems.contains("cannot be read"), "{problems}");
}

#[tokio::test]
async fn a_log_that_was_renamed_goes_on_in_a_new_file_at_a_reload() {
    let server = server("").await;
    person(&server, "alice@culture.gouv.fr").await;
    let file = server.folder().join("audit.log");
    let old = server.folder().join("audit.log.1");
    let waits = async || fs::read_to_string(&file).is_ok_and(|text| text.contains("@alice-"));
    crate::harness::process::until("written", String::new, waits).await;
    fs::rename(&file, &old).unwrap();
    server.app.lifecycle().request_reload();
    let reopened =
        async || fs::read_to_string(&file).is_ok_and(|text| text.contains("audit.reopened"));
    crate::harness::process::until("reopened", String::new, reopened).await;
    person(&server, "bob@culture.gouv.fr").await;
    let written = async || fs::read_to_string(&file).is_ok_and(|text| text.contains("@bob-"));
    crate::harness::process::until("written", String::new, written).await;
    let (code, out, problems) = verify(&[&old, &file]);
    assert_eq!(code, 0, "{out}{problems}");
    let (code, _, _) = verify(&[&file]);
    assert_eq!(code, 0);
    let (code, _, problems) = verify(&[&file, &old]);
    assert_eq!(code, 1, "{problems}");
}

#[tokio::test]
async fn processes_share_a_file_each_with_its_own_chain() {
    let server = server("").await;
    let sibling = server.sibling().await;
    for name in ["alice", "bob", "claire"] {
        person(&server, &format!("{name}@culture.gouv.fr")).await;
        person(&sibling, &format!("{name}@interieur.gouv.fr")).await;
    }
    sibling.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let log = log_of(server, &folder).await;
    let lines = lines(&log);
    let instances: std::collections::BTreeSet<_> = lines
        .iter()
        .map(|line| line["instance"].as_str().unwrap())
        .collect();
    assert_eq!(instances.len(), 3);
    let (code, out, problems) = verify(&[&log]);
    assert_eq!(code, 0, "{out}{problems}");
    // The chain of the first process cannot be taken out as a whole.
    let first = lines[0]["instance"].as_str().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    let without: Vec<_> = text.lines().filter(|line| !line.contains(first)).collect();
    fs::write(&log, without.join("\n") + "\n").unwrap();
    let (code, _, problems) = verify(&[&log]);
    assert_eq!(code, 1);
    assert!(problems.contains("is gone"), "{problems}");
}

#[tokio::test]
async fn r_07_what_administrators_do_is_told_by_whom_and_to_whom() {
    let server = server("").await;
    let root = person_with(&server, "root@culture.gouv.fr", None, true).await;
    let alice = person(&server, "alice@culture.gouv.fr").await;
    let lock = format!("/_matrix/client/v1/admin/lock/{}", encode(&alice.user_id));
    alice
        .put(&lock, &json!({ "locked": false }))
        .await
        .expect_error(403, "M_FORBIDDEN");
    root.put(&lock, &json!({ "locked": true }))
        .await
        .expect_ok();
    let stranger = server.client().put(&lock, &json!({ "locked": true })).await;
    stranger.expect_error(401, "M_MISSING_TOKEN");
    let folder = tempfile::tempdir().unwrap();
    let log = log_of(server, &folder).await;
    let lines = lines(&log);
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line["action"] == "admin.request")
        .map(|line| (&line["actor"], &line["outcome"]))
        .collect();
    let (alice_id, root_id) = (json!(alice.user_id), json!(root.user_id));
    assert_eq!(
        told,
        [(&alice_id, &json!("denied")), (&root_id, &json!("done"))]
    );
    let object = format!("PUT /_matrix/client/v1/admin/lock/{}", alice.user_id);
    let request = lines.iter().find(|line| line["action"] == "admin.request");
    assert_eq!(request.unwrap()["object"], json!(object));
}

#[tokio::test]
async fn r_07_changes_of_accounts_name_who_made_them() {
    let server = server("[accounts.validity]\nperiod = \"365d\"").await;
    let root = person_with(&server, "root@culture.gouv.fr", None, true).await;
    let alice = person(&server, "alice@culture.gouv.fr").await;
    let bob = person(&server, "bob@culture.gouv.fr").await;
    let synapse = |user_id: &str| format!("/_synapse/admin/v2/users/{}", encode(user_id));
    let matrix = |what: &str| format!("/_matrix/client/v1/admin/{what}/{}", encode(&alice.user_id));
    let chappe = |what: &str| {
        let user_id = encode(&alice.user_id);
        format!("/_chappe/admin/v1/users/{user_id}/{what}")
    };
    for held in [true, false] {
        let body = json!({ "suspended": held });
        root.put(&matrix("suspend"), &body).await.expect_ok();
    }
    root.post(&chappe("block"), &json!({})).await.expect_ok();
    root.put(&matrix("lock"), &json!({ "locked": false }))
        .await
        .expect_ok();
    root.post(&chappe("kill-sessions"), &json!({}))
        .await
        .expect_ok();
    let change = json!({
        "password": "Another-horse-8",
        "threepids": [{ "medium": "email", "address": "alice.martin@culture.gouv.fr" }],
    });
    root.put(&synapse(&alice.user_id), &change)
        .await
        .expect_ok();
    let path = "/_synapse/client/email_account_validity/admin";
    root.post(path, &json!({ "user_id": alice.user_id }))
        .await
        .expect_ok();
    for is_admin in [true, false] {
        let body = json!({ "admin": is_admin });
        root.put(&synapse(&bob.user_id), &body).await.expect_ok();
    }
    let path = format!("/_synapse/admin/v1/deactivate/{}", encode(&bob.user_id));
    root.post(&path, &json!({ "erase": true }))
        .await
        .expect_ok();
    let body = json!({
        "deactivated": false,
        "threepids": [{ "medium": "email", "address": "bob@culture.gouv.fr" }],
    });
    root.put(&synapse(&bob.user_id), &body).await.expect_ok();
    let folder = tempfile::tempdir().unwrap();
    let log = log_of(server, &folder).await;
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains("alice.martin@"), "{text}");
    assert!(!text.contains("Another-horse-8"), "{text}");
    let lines = lines(&log);
    let by_root: Vec<_> = lines
        .iter()
        .filter(|line| line["actor"] == json!(root.user_id))
        .filter_map(|line| Some((line["action"].as_str()?, line["object"].as_str()?)))
        .filter(|(action, _)| action.starts_with("account."))
        .collect();
    let (alice_id, bob_id) = (alice.user_id.as_str(), bob.user_id.as_str());
    assert_eq!(
        by_root,
        [
            ("account.suspended", alice_id),
            ("account.unsuspended", alice_id),
            ("account.sessions_ended", alice_id),
            ("account.locked", alice_id),
            ("account.unlocked", alice_id),
            ("account.sessions_ended", alice_id),
            ("account.addresses_changed", alice_id),
            ("account.password_changed", alice_id),
            ("account.validity_set", alice_id),
            ("account.admin_granted", bob_id),
            ("account.admin_revoked", bob_id),
            ("account.erased", bob_id),
            ("account.deactivated", bob_id),
            ("account.reactivated", bob_id),
            ("account.addresses_changed", bob_id),
        ]
    );
}
