//! Secrets come from one place and are never shown.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::{errors, errors_with, load_with};

fn write(folder: &Path, text: &str, mode: u32) -> String {
    let file = folder.join("secret");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    file.display().to_string()
}

#[test]
fn a_secret_is_read_from_its_file_without_the_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "postgres://a:b@c/d\n", 0o640);
    let config = load_with(&format!("[database]\nurl_file = \"{file}\"\n"), &[]).unwrap();
    assert_eq!(config.database.url.unwrap().expose(), "postgres://a:b@c/d");
}

#[test]
fn a_secret_that_anybody_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "hidden", 0o644);
    assert_eq!(
        errors(&format!(
            "[registration]\nshared_secret_file = \"{file}\"\n"
        )),
        [format!(
            "test.toml:2:1: registration.shared_secret_file: {file}: anybody on this machine may \
             read it (mode 0644); run `chmod o-rwx` on it"
        )]
    );
}

#[test]
fn an_empty_or_missing_secret_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "\n", 0o600);
    let text = |file: &str| format!("[registration]\nshared_secret_file = \"{file}\"\n");
    let key = "test.toml:2:1: registration.shared_secret_file:";
    assert_eq!(errors(&text(&file)), [format!("{key} {file}: is empty")]);
    let missing = errors(&text("/nowhere/secret"));
    let expected = format!("{key} /nowhere/secret: cannot be read: ");
    assert!(missing[0].starts_with(&expected), "{missing:?}");
}

#[test]
fn a_secret_given_twice_is_a_contradiction() {
    let text = "[registration]\nshared_secret = \"a\"\nshared_secret_file = \"b\"\n";
    assert_eq!(
        errors(text),
        [
            "test.toml:3:1: registration.shared_secret_file: contradicts \
          `registration.shared_secret`: give one of the two"
        ]
    );
}

#[test]
fn no_error_and_no_debug_output_shows_a_secret() {
    let variables = [("CHAPPE__MAIL__PASSWORD", "[4711]")];
    let text = "[database]\nurl = 4711\n[registration]\nshared_secret = [\"4711\"]\n";
    let found = errors_with(text, &variables).join("\n");
    assert!(!found.contains("4711"), "{found}");
    assert_eq!(
        errors("[database]\nurl = 4711\n"),
        ["test.toml:2:7: database.url: expected a text in quotes; the value is not shown here"]
    );
    let wrong = errors("[database]\nurl = \"mysql://a:4711@b\"\n");
    assert_eq!(
        wrong,
        ["test.toml:2:1: database.url: expected an address that begins postgres://"]
    );

    let config = load_with("[database]\nurl = \"postgres://a:4711@b\"\n", &[]).unwrap();
    let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    assert!(!shown.contains("4711"), "{shown}");
}
