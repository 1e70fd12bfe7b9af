//! What is wrong with a configuration, and where: file, line and column, or variable.

use std::fmt;

use super::{
    secret::NOT_SHOWN,
    tree::{Content, Node, Origin, Step, dotted, steps},
};

/// A value that cannot be used as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The dotted key, such as `listeners[1].address`.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
}

impl Problem {
    /// A problem with the value of `key`.
    pub fn new(key: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            key: key.into(),
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// Where a problem stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file. Line and column count from 1; there are none for what the file leaves out.
    File {
        /// The file as the operator named it.
        name: String,
        /// Line and column.
        position: Option<(usize, usize)>,
    },
    /// In an environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                name,
                position: Some((line, column)),
            } => {
                write!(f, "{name}:{line}:{column}")
            }
            Self::File {
                name,
                position: None,
            }
            | Self::Variable(name) => f.write_str(name),
        }
    }
}

/// A problem and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it stands.
    pub place: Place,
    /// The dotted key; empty if the file as a whole is meant.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.key.is_empty() { "" } else { ": " };
        write!(f, "{}: {}{separator}{}", self.place, self.key, self.message)
    }
}

/// All that is wrong with a configuration, in the order of the file, then of the variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The text of a file, to tell lines and columns in it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The file as a whole.
    pub(super) fn whole(self) -> Place {
        Place::File {
            name: self.name.to_owned(),
            position: None,
        }
    }

    /// The place of a byte.
    pub(super) fn at(self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before
            .get(line_start..)
            .map_or(0, |part| part.chars().count())
            + 1;
        Place::File {
            name: self.name.to_owned(),
            position: Some((line, column)),
        }
    }

    /// The place of an origin.
    pub(super) fn place(self, origin: &Origin) -> Place {
        match origin {
            Origin::Offset(offset) => self.at(*offset),
            Origin::Variable(name) => Place::Variable(name.clone()),
        }
    }

    /// The place of the key that a problem names, or of the nearest one around it.
    pub(super) fn locate(self, tree: &Node, problem: Problem) -> ConfigError {
        let (node, depth) = tree.find(&steps(&problem.key));
        let place = if depth == 0 {
            self.whole()
        } else {
            self.place(&node.key)
        };
        ConfigError {
            place,
            key: problem.key,
            message: problem.message,
        }
    }

    /// The error that serde gave for the value at `path`, put for people.
    pub(super) fn describe(self, tree: &Node, path: &[Step], fault: &str) -> ConfigError {
        let (node, depth) = tree.find(path);
        let unknown_key = fault.starts_with("unknown field ");
        let origin = if unknown_key { &node.key } else { &node.value };
        let place = if depth == 0 {
            self.whole()
        } else {
            self.place(origin)
        };
        let message = node
            .first_fault
            .clone()
            .unwrap_or_else(|| reword(fault, node));
        ConfigError {
            place,
            key: dotted(path),
            message,
        }
    }
}

/// Puts a message of serde for people.
pub(super) fn reword(fault: &str, node: &Node) -> String {
    let quoted: Vec<&str> = fault.split('`').skip(1).step_by(2).collect();
    if let Some((found, known)) = quoted.split_first() {
        if fault.starts_with("unknown field ") {
            let keys = list(known);
            let guess = did_you_mean(found, known);
            return format!("unknown key `{found}`;{guess} known keys here: {keys}");
        }
        if fault.starts_with("unknown variant ") {
            let values = list(known);
            let guess = did_you_mean(found, known);
            let separator = if guess.is_empty() { "" } else { ";" };
            return format!("found `{found}`, expected one of {values}{separator}{guess}");
        }
        if fault.starts_with("missing field ") {
            return format!("missing key `{found}`");
        }
    }
    let typed = ["invalid type: ", "invalid value: ", "invalid length "];
    let typed = typed.iter().find_map(|prefix| fault.strip_prefix(prefix));
    let scalar = match &node.content {
        Content::Scalar(value) => Some(value.to_string()),
        Content::List(_) | Content::Table(_) => None,
    };
    if let Some((found, expected)) = typed.and_then(|typed| typed.rsplit_once(", expected ")) {
        // What toml calls a value that should name a variant, and does not show.
        let shown = scalar.filter(|_| found == "unit variant");
        let found = shown.as_deref().unwrap_or(found);
        return format!("found {found}, expected {}", for_people(expected));
    }
    match scalar {
        Some(value) if !fault.contains(NOT_SHOWN) => {
            let fault = fault
                .trim_end_matches(value.as_str())
                .trim_end_matches(": ");
            format!("found {value}: {fault}")
        }
        _ => fault.to_owned(),
    }
}

/// The name of a Rust type in the words of the file.
fn for_people(expected: &str) -> &str {
    match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number, 0 or more",
        "a nonzero usize" => "a whole number, 1 or more",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "string" | "string only" | "str" | "path string" => "a text in quotes",
        "a sequence" => "a list",
        "a map" => "a table",
        _ if expected.starts_with("struct ") => "a table",
        _ => expected,
    }
}

fn list(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// A question that offers the name that looks most like `found`, if one does.
fn did_you_mean(found: &str, known: &[&str]) -> String {
    let likeness = |name: &&&str| (strsim::jaro_winkler(found, name) * 1000.0).round();
    let likely = known.iter().filter(|name| likeness(name) >= 800.0);
    let best = likely.max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    best.map(|name| format!(" did you mean `{name}`?"))
        .unwrap_or_default()
}
