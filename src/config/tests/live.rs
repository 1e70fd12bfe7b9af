//! What may change while the server runs.

use super::super::Config;

fn changes(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (
        Config::from_toml(old).unwrap(),
        Config::from_toml(new).unwrap(),
    );
    let problems = old.live_changes(&new).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn policy_rates_and_level_may_change() {
    let new = "[policy.addresses]\npatterns = [{ pattern = '.*@example\\.org' }]\n\
               [limits]\nenabled = false\nlogin = { per_second = 3, burst = 3 }\n\
               [logging]\nlevel = \"debug\"\n";
    assert_eq!(changes("", new), Vec::<String>::new());
    let new = Config::from_toml(new).unwrap();
    assert_eq!(new.live().limits.login.burst, 3);
}

#[test]
fn other_keys_need_a_restart() {
    let new = "[server]\nname = \"b.example\"\n[limits]\nmax_body_bytes = \"2MiB\"\n\
               [logging]\nformat = \"json\"\n[[listeners]]\naddress = \"127.0.0.1:1\"\n";
    let mut found = changes("", new);
    found.sort();
    assert_eq!(
        found,
        [
            "limits.max_body_bytes: needs a restart to change",
            "listeners: needs a restart to change",
            "logging.format: needs a restart to change",
            "server.name: needs a restart to change",
        ]
    );
}

#[test]
fn a_changed_secret_is_seen_and_not_shown() {
    let secret = |text: &str| format!("[registration]\nshared_secret = \"{text}\"\n");
    let expected = ["registration.shared_secret: needs a restart to change"];
    assert_eq!(changes(&secret("a"), &secret("b")), expected);
    assert_eq!(changes("", &secret("b")), expected);
    assert!(changes(&secret("a"), &secret("a")).is_empty());
}
