//! Every row of Tchap's rules has a test that carries its id in its name, or stands in `rows.tsv`
//! with the reason why it has none.

use std::{collections::BTreeSet, fs, path::Path};

/// All ids, in the order of the rules.
const ROWS: &str = include_str!("rows.tsv");

/// The names of all functions of the tests and of the code, where unit tests stand.
fn names() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = BTreeSet::new();
    let mut folders = vec![root.join("src"), root.join("tests/it")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                names.extend(tests_of(&fs::read_to_string(&path).unwrap()));
            }
        }
    }
    names
}

/// The names of the tests in a file: functions right after an attribute that makes them one.
fn tests_of(text: &str) -> impl Iterator<Item = String> {
    let is_attribute = |line: &str| line == "#[test]" || line.starts_with("#[tokio::test");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    let mut is_test = false;
    for line in lines {
        let function = line
            .strip_prefix("async ")
            .unwrap_or(line)
            .strip_prefix("fn ");
        if is_attribute(line) {
            is_test = true;
        } else if let Some(name) = function {
            let name = name.split(['(', '<']).next().unwrap_or_default();
            if is_test {
                found.push(name.to_owned());
            }
            is_test = false;
        }
    }
    found.into_iter()
}

/// `LK2-01` as it stands in names: `lk2_01`, between underscores or at an end.
fn shows(name: &str, id: &str) -> bool {
    let id = id.to_lowercase().replace('-', "_");
    format!("_{name}_").contains(&format!("_{id}_"))
}

#[test]
fn every_row_has_a_test_or_a_reason_why_not() {
    let names = names();
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    for line in ROWS.lines().filter(|line| !line.starts_with('#')) {
        let (id, reason) = match line.split_once('\t') {
            Some((id, reason)) => (id, Some(reason)),
            None => (line, None),
        };
        if !seen.insert(id) {
            faults.push(format!("{id} stands there twice"));
        }
        let is_shown = names.iter().any(|name| shows(name, id));
        match reason {
            None if !is_shown => faults.push(format!("no test shows {id}")),
            Some(_) if is_shown => faults.push(format!("a test shows {id}: it needs no reason")),
            Some(reason) if reason.trim().is_empty() => {
                faults.push(format!("{id} has an empty reason"));
            }
            _ => {}
        }
    }
    assert!(seen.len() >= 395, "rows are missing: {}", seen.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_row_is_found_in_whole_names_only() {
    assert!(shows("mr_02_ro_05_an_external", "RO-05"));
    assert!(shows("lk2_01", "LK2-01"));
    assert!(!shows("mr_02_an_external", "R-02"));
    assert!(!shows("cr_10_something", "CR-1"));
    let text = "#[test]\nfn a_1() {}\nfn b_1() {}\n#[tokio::test]\n#[cfg(unix)]\nasync fn c_1() {}";
    assert_eq!(tests_of(text).collect::<Vec<_>>(), ["a_1", "c_1"]);
}
