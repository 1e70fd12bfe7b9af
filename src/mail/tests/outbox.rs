//! Tests of the folder that keeps mails.

use std::os::unix::fs::PermissionsExt as _;

use super::{DAY, link, mailer};
use crate::mail::OutboxMail;

#[tokio::test]
async fn a_kept_mail_is_for_its_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data/outbox");
    mailer(&folder)
        .send_password_reset("a@example.org", &link(), None, DAY)
        .await
        .unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1);
    assert!(files.iter().all(|file| mode(file) == 0o600));
    assert!(files.iter().all(|file| file.extension().unwrap() == "eml"));
}

#[tokio::test]
async fn the_list_is_newest_first_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mailer = mailer(folder.path());
    let outbox = mailer.outbox().unwrap();
    assert_eq!(outbox.list().await.unwrap(), []);
    for number in 0..105 {
        let to = format!("user{number}@example.org");
        mailer
            .send_address_verification(&to, &link(), None, DAY)
            .await
            .unwrap();
    }
    std::fs::write(folder.path().join("note.eml"), "not a mail").unwrap();
    std::fs::write(folder.path().join(".0-unfinished.part"), "x").unwrap();
    let listed = outbox.list().await.unwrap();
    let to: Vec<String> = listed.iter().map(|mail| mail.to.clone()).collect();
    let expected: Vec<String> = (5..105)
        .rev()
        .map(|number| format!("user{number}@example.org"))
        .collect();
    assert_eq!(to, expected);
}

#[tokio::test]
async fn the_oldest_mails_make_room_for_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..1002 {
        let name = format!("{number:015}-0-a.eml");
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    mailer(folder.path())
        .send_password_reset("a@example.org", &link(), None, DAY)
        .await
        .unwrap();
    let left = |number: u32| folder.path().join(format!("{number:015}-0-a.eml")).exists();
    assert!(!left(0) && !left(1) && !left(2) && left(3));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1000);
}

#[tokio::test]
async fn a_mail_is_read_back_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let mailer = mailer(folder.path());
    mailer
        .send_address_verification("a@example.org", &link(), None, DAY)
        .await
        .unwrap();
    let outbox = mailer.outbox().unwrap();
    let listed: Vec<OutboxMail> = outbox.list().await.unwrap();
    let mail = listed.first().unwrap();
    assert_eq!(
        mail.subject,
        "Tchap\u{a0}: confirmez votre adresse électronique"
    );
    assert_eq!(mail.date, "2026-01-02T03:04:05Z");
    assert!(mail.text.contains(link().as_str()), "{}", mail.text);
    assert_eq!(outbox.read(&mail.id).await.unwrap().as_ref(), Some(mail));
}

#[tokio::test]
async fn no_id_names_a_file_outside_the_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("outbox");
    let mailer = mailer(&folder);
    mailer
        .send_password_reset("a@example.org", &link(), None, DAY)
        .await
        .unwrap();
    let outbox = mailer.outbox().unwrap();
    let id = outbox.list().await.unwrap().remove(0).id;
    std::fs::copy(
        folder.join(format!("{id}.eml")),
        parent.path().join("secret.eml"),
    )
    .unwrap();
    let long = "a".repeat(65);
    for bad in [
        "",
        ".",
        "..",
        "../secret",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "a\0",
        "é",
        "x",
        &long,
    ] {
        assert_eq!(outbox.read(bad).await.unwrap(), None, "{bad:?}");
    }
}
