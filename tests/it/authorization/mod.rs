//! Who may do what: each operation of the client-server API, asked for by everybody who may not, and
//! by some who may.
//!
//! `authorization.tsv` says what each of them is answered, as the specification has it (v1.19,
//! client-server API), docs/tchap.md for external guests and for accounts that have expired, and
//! "Account suspension" and "Account locking" for those that are held back. A new operation has no
//! row there, and fails until somebody has thought about it.

mod people;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    people::{Site, Who},
    requests::Call,
};
use crate::operations::{self, Operation};

const MATRIX: &str = include_str!("../authorization.tsv");

/// What each operation answers to whom.
fn expected() -> BTreeMap<&'static str, BTreeMap<Who, &'static str>> {
    let mut lines = MATRIX.lines().filter(|line| !line.starts_with("# "));
    let head = lines.next().unwrap().trim_start_matches('#');
    let columns: Vec<Who> = head.split('\t').skip(1).map(Who::named).collect();
    assert_eq!(columns, Who::ALL, "a column for each, in their order");
    let mut rows = BTreeMap::new();
    for line in lines {
        let mut cells = line.split('\t');
        let name = cells.next().unwrap();
        let cells: Vec<&str> = cells.collect();
        assert_eq!(cells.len(), columns.len(), "a cell for each: {line}");
        let row = columns.iter().copied().zip(cells).collect();
        assert!(rows.insert(name, row).is_none(), "twice: {name}");
    }
    rows
}

#[test]
fn the_matrix_has_a_row_for_each_operation() {
    let rows: BTreeSet<&str> = expected().into_keys().collect();
    let there: BTreeSet<&str> = operations::routed().map(|one| one.name).collect();
    let without: Vec<_> = there.difference(&rows).collect();
    let unknown: Vec<_> = rows.difference(&there).collect();
    assert!(without.is_empty(), "no row: {without:?}");
    assert!(unknown.is_empty(), "no such operation: {unknown:?}");
}

/// Tries a whole row: those who may not first, so that the ones who may do not change what the
/// others are answered.
async fn row(site: &Site, operation: &Operation) -> BTreeMap<Who, String> {
    let mut found = BTreeMap::new();
    let world = site.world(operation).await;
    for who in Who::ALL {
        let call = Call::new(site, &world, operation, who).await;
        found.insert(who, call.answer().await);
    }
    found
}

/// Everything together: the sites are made once. `CHAPPE_AUTHORIZATION` writes what was found to a
/// file of this name, to be compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_answered_as_the_matrix_says() {
    let expected = expected();
    let site = Box::pin(Site::new()).await;
    let mut faults = Vec::new();
    let mut table = String::new();
    // In the order of the list: what ends sessions stands last.
    for operation in operations::routed() {
        let found = row(&site, operation).await;
        table.push_str(operation.name);
        let wanted = expected.get(operation.name);
        for (who, answer) in found {
            table.push('\t');
            table.push_str(&answer);
            let wanted = wanted.and_then(|row| row.get(&who)).copied();
            if wanted != Some(answer.as_str()) {
                let wanted = wanted.unwrap_or("nothing");
                faults.push(format!(
                    "{} {who:?}: {answer}, not {wanted}",
                    operation.name
                ));
            }
        }
        table.push('\n');
    }
    if let Ok(file) = std::env::var("CHAPPE_AUTHORIZATION") {
        std::fs::write(file, table).unwrap();
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
