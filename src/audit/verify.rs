//! Whether a log is whole.
//!
//! Files are read in the order in which they were written. What can be known: whether a line was
//! changed, whether lines of a chain are missing, doubled or in another order, and whether a chain
//! that another one followed is still there. What cannot: whether lines at the very end of a chain
//! were cut off, which looks as if its process had been killed; such chains are listed.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    fmt,
    io::{self, BufRead, Read as _},
};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{action, chain};

/// The longest line that is read; the program's own are far shorter.
const MAX_LINE: u64 = 1 << 20;
/// How many of the newest hashes of a file are remembered, for the chains that follow them.
const MAX_HASHES: usize = 200_000;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many lines were read and are good.
    pub lines: u64,
    /// The chains, by their instance.
    pub chains: BTreeMap<String, ChainReport>,
    /// The first line that is not good; nothing after it was read.
    pub fault: Option<Fault>,
}

/// What was found of one chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainReport {
    /// The number of the last line.
    pub last: u64,
    /// Its hash.
    pub hash: String,
    /// Whether that line says that the process ended. Otherwise it still runs, was killed, or the
    /// end of the chain was cut off.
    pub ended: bool,
}

/// The first line that is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It does not end.
    Incomplete,
    /// It is no line of an audit log.
    NotAnEntry,
    /// Its text does not fit its hash.
    Changed,
    /// Lines of its chain that should stand before it are missing.
    Missing {
        /// The first number that is missing.
        from: u64,
        /// The number of this line.
        found: u64,
    },
    /// A line with this number stood there already: the order was changed, or a line doubled.
    OutOfOrder {
        /// The number that should be here.
        expected: u64,
        /// The number of this line.
        found: u64,
    },
    /// The line before it in its chain is another than the one that it followed.
    BrokenLink,
    /// The line that its process found at the end of the file is not there any more.
    LostPredecessor,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            problem,
        } = self;
        write!(f, "{file}:{line}: ")?;
        match problem {
            Problem::Incomplete => write!(f, "the line does not end"),
            Problem::NotAnEntry => write!(f, "this is no line of an audit log"),
            Problem::Changed => write!(f, "the line was changed"),
            Problem::Missing { from, found } => {
                let to = found.saturating_sub(1);
                write!(f, "lines {from} to {to} of its chain are missing before it")
            }
            Problem::OutOfOrder { expected, found } => write!(
                f,
                "line {found} of its chain stands where line {expected} should be"
            ),
            Problem::BrokenLink => {
                write!(
                    f,
                    "the line before it in its chain is not the one it followed"
                )
            }
            Problem::LostPredecessor => {
                write!(
                    f,
                    "the line that was the last when its process began is gone"
                )
            }
        }
    }
}

/// Reads the files, oldest first, and stops at the first line that is not good.
///
/// # Errors
/// A file cannot be read.
pub fn verify<R: BufRead>(files: impl IntoIterator<Item = (String, R)>) -> io::Result<Report> {
    let mut report = Report::default();
    for (name, mut file) in files {
        let mut newest = Newest::default();
        let mut number = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = (&mut file).take(MAX_LINE).read_until(b'\n', &mut line)?;
            if length == 0 {
                break;
            }
            number += 1;
            if let Err(problem) = check(&line, &mut report.chains, &mut newest) {
                report.fault = Some(Fault {
                    file: name,
                    line: number,
                    problem,
                });
                return Ok(report);
            }
            report.lines += 1;
        }
    }
    Ok(report)
}

#[derive(Deserialize)]
struct Line<'a> {
    seq: u64,
    instance: String,
    action: String,
    prev: &'a str,
    #[serde(default)]
    details: Map<String, Value>,
}

fn check(
    line: &[u8],
    chains: &mut BTreeMap<String, ChainReport>,
    newest: &mut Newest,
) -> Result<(), Problem> {
    let line = line.strip_suffix(b"\n").ok_or(Problem::Incomplete)?;
    let line = std::str::from_utf8(line).map_err(|_| Problem::NotAnEntry)?;
    let (text, hash) = chain::split(line).ok_or(Problem::NotAnEntry)?;
    let entry: Line<'_> = serde_json::from_str(&text).map_err(|_| Problem::NotAnEntry)?;
    if chain::hash(entry.prev, &text) != hash {
        return Err(Problem::Changed);
    }
    match chains.get(&entry.instance) {
        Some(known) => {
            let expected = known.last + 1;
            let found = entry.seq;
            if found > expected {
                return Err(Problem::Missing {
                    from: expected,
                    found,
                });
            }
            if found < expected {
                return Err(Problem::OutOfOrder { expected, found });
            }
            if entry.prev != known.hash {
                return Err(Problem::BrokenLink);
            }
        }
        None => check_first(&entry, newest)?,
    }
    newest.push(hash);
    let ended = entry.action == action::ENDED;
    let known = ChainReport {
        last: entry.seq,
        hash: hash.to_owned(),
        ended,
    };
    chains.insert(entry.instance, known);
    Ok(())
}

/// The first line of a chain here: the first of all, or the first in a new file.
fn check_first(entry: &Line<'_>, newest: &Newest) -> Result<(), Problem> {
    let begins = entry.seq == 1 && entry.action == action::BEGUN;
    if !begins {
        if entry.action == action::REOPENED {
            return Ok(());
        }
        return Err(Problem::Missing {
            from: 1,
            found: entry.seq,
        });
    }
    if entry.prev != chain::no_hash() {
        return Err(Problem::BrokenLink);
    }
    match entry.details.get("follows").and_then(Value::as_str) {
        Some(follows) if !newest.hashes.contains(follows) => Err(Problem::LostPredecessor),
        _ => Ok(()),
    }
}

/// The newest hashes of a file.
#[derive(Default)]
struct Newest {
    hashes: HashSet<String>,
    order: VecDeque<String>,
}

impl Newest {
    fn push(&mut self, hash: &str) {
        self.hashes.insert(hash.to_owned());
        self.order.push_back(hash.to_owned());
        if self.order.len() > MAX_HASHES
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;
    use crate::audit::{Entry, Stamped, chain::Chain};

    /// A chain of `count` lines; the first follows a line with this hash.
    fn chain(instance: &str, follows: Option<&str>, count: u64) -> Vec<String> {
        let mut chain = Chain::new(instance.to_owned());
        let mut lines = String::new();
        for number in 0..count {
            let action = match number {
                0 => action::BEGUN,
                last if last == count - 1 => action::ENDED,
                _ => action::ACCOUNT_CREATED,
            };
            let mut details = Map::new();
            if number == 0 {
                let follows = follows.map_or(Value::Null, Value::from);
                details.insert("follows".to_owned(), follows);
            }
            let entry = Entry {
                action,
                object: Some(format!("@user{number}:example.org")),
                details,
                ..Entry::default()
            };
            let time_ms = 1_700_000_000_000 + number;
            chain.push(&Stamped { entry, time_ms }, &mut lines);
        }
        lines.lines().map(|line| format!("{line}\n")).collect()
    }

    fn hash_of(line: &str) -> &str {
        chain::split(line.trim_end()).unwrap().1
    }

    fn fault(lines: &[String]) -> Option<(u64, Problem)> {
        let text = lines.concat();
        let files = [("log".to_owned(), text.as_bytes())];
        let fault = verify(files).unwrap().fault;
        fault.map(|fault| (fault.line, fault.problem))
    }

    #[test]
    fn a_whole_chain_is_good() {
        let lines = chain("a", None, 5);
        let text = lines.concat();
        let report = verify([("log".to_owned(), text.as_bytes())]).unwrap();
        assert_eq!((report.lines, report.fault), (5, None));
        assert!(report.chains["a"].ended);
        let open = lines[..4].concat();
        let report = verify([("log".to_owned(), open.as_bytes())]).unwrap();
        assert_eq!(report.fault, None);
        assert!(!report.chains["a"].ended);
    }

    #[test]
    fn what_was_removed_changed_doubled_or_swapped_is_found() {
        let good = chain("a", None, 6);
        assert_eq!(fault(&good), None);
        let missing = |from, found| Problem::Missing { from, found };

        let mut removed = good.clone();
        removed.remove(2);
        assert_eq!(fault(&removed), Some((3, missing(3, 4))));
        let mut beheaded = good.clone();
        beheaded.remove(0);
        assert_eq!(fault(&beheaded), Some((1, missing(1, 2))));

        let mut changed = good.clone();
        changed[3] = changed[3].replace("user3", "user9");
        assert_eq!(fault(&changed), Some((4, Problem::Changed)));

        let mut swapped = good.clone();
        swapped.swap(2, 3);
        assert_eq!(fault(&swapped), Some((3, missing(3, 4))));

        let mut doubled = good.clone();
        doubled.insert(3, good[2].clone());
        let out_of_order = Problem::OutOfOrder {
            expected: 4,
            found: 3,
        };
        assert_eq!(fault(&doubled), Some((4, out_of_order)));

        let mut cut = good.clone();
        cut[5].truncate(40);
        assert_eq!(fault(&cut), Some((6, Problem::Incomplete)));
        cut[5] = "nonsense\n".to_owned();
        assert_eq!(fault(&cut), Some((6, Problem::NotAnEntry)));
    }

    #[test]
    fn a_line_with_a_new_hash_breaks_the_link_to_the_next() {
        let mut lines = chain("a", None, 5);
        let (text, _) = chain::split(lines[2].trim_end()).unwrap();
        let forged = text.replace("user2", "user9");
        let hash = chain::hash(hash_of(&lines[1]), &forged);
        let forged = forged.strip_suffix('}').unwrap();
        lines[2] = format!("{forged},\"hash\":\"{hash}\"}}\n");
        assert_eq!(fault(&lines), Some((4, Problem::BrokenLink)));
    }

    #[test]
    fn chains_share_a_file_and_hold_each_other() {
        let first = chain("a", None, 4);
        let second = chain("b", Some(hash_of(&first[1])), 3);
        let both = vec![
            first[0].clone(),
            first[1].clone(),
            second[0].clone(),
            first[2].clone(),
            second[1].clone(),
            second[2].clone(),
            first[3].clone(),
        ];
        assert_eq!(fault(&both), None);
        // The whole first chain, or its end, is gone.
        assert_eq!(fault(&second), Some((1, Problem::LostPredecessor)));
        let cut = [&first[..1], &second[..]].concat();
        assert_eq!(fault(&cut), Some((2, Problem::LostPredecessor)));
    }

    #[test]
    fn a_chain_goes_on_in_a_new_file() {
        let mut chain = Chain::new("a".to_owned());
        let mut push = |action| {
            let entry = Entry {
                action,
                ..Entry::default()
            };
            let mut line = String::new();
            chain.push(&Stamped { entry, time_ms: 1 }, &mut line);
            line
        };
        let old = push(action::BEGUN) + &push(action::ACCOUNT_CREATED);
        let new = push(action::REOPENED) + &push(action::ENDED);
        let check = |files: &[&str]| {
            let named = files.iter().map(|text| ("log".to_owned(), text.as_bytes()));
            verify(named).unwrap()
        };
        assert_eq!(check(&[&old, &new]).lines, 4);
        assert!(check(&[&old, &new]).chains["a"].ended);
        // The old file may be gone for good.
        assert_eq!(check(&[&new]).fault, None);
        assert!(check(&[&new, &old]).fault.is_some());
        let shorter = old.lines().next().unwrap().to_owned() + "\n";
        assert!(check(&[&shorter, &new]).fault.is_some());
    }
}
