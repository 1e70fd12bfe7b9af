//! Tests of the folder that keeps mails.

use std::os::unix::fs::PermissionsExt as _;

use std::path::Path;

use super::{DAY, link, settings, try_carrier, writer};
use crate::mail::{Carrier, Letter, Outbox, OutboxMail};

/// Writes mails and keeps them in a folder.
struct Post(Carrier);

impl Post {
    fn new(folder: &Path) -> Self {
        Self(try_carrier(&settings(folder)).unwrap())
    }

    async fn send(&self, to: &str) {
        let link = link();
        let letter = Letter::AddressVerification {
            link: &link,
            valid_for: DAY,
        };
        let mail = writer().write(to, &letter, None).unwrap();
        let carried = self.0.carry(to, &mail.message, mail.written_ms);
        carried.await.unwrap();
    }

    fn outbox(&self) -> &Outbox {
        self.0.outbox().unwrap()
    }
}

#[tokio::test]
async fn a_kept_mail_is_for_its_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data/outbox");
    Post::new(&folder).send("a@example.org").await;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
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
    let post = Post::new(folder.path());
    let outbox = post.outbox();
    assert_eq!(outbox.list().await.unwrap(), []);
    for number in 0..105 {
        let to = format!("user{number}@example.org");
        post.send(&to).await;
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
    Post::new(folder.path()).send("a@example.org").await;
    let left = |number: u32| folder.path().join(format!("{number:015}-0-a.eml")).exists();
    assert!(!left(0) && !left(1) && !left(2) && left(3));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1000);
}

#[tokio::test]
async fn a_mail_is_read_back_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let post = Post::new(folder.path());
    post.send("a@example.org").await;
    let outbox = post.outbox();
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
    let post = Post::new(&folder);
    post.send("a@example.org").await;
    let outbox = post.outbox();
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
