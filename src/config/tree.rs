//! The configuration as a tree that remembers where each value stands: in the file or in an
//! environment variable. It stays whole while wrong values are taken out of it, so that every
//! problem is found in one run.

use std::collections::BTreeMap;

use toml_edit::{Document, Item, TableLike};

/// What the names of overriding variables begin with.
pub(super) const VARIABLE_PREFIX: &str = "CHAPPE__";

/// Where a key or a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// At this byte of the file.
    Offset(usize),
    /// In this environment variable.
    Variable(String),
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where its key stands; for an element of a list, the element itself.
    pub(super) key: Origin,
    /// Where its value stands.
    pub(super) value: Origin,
    pub(super) content: Content,
    /// What a variable said, if that was read as something else than a text and may yet have
    /// been meant as one: `12` is a room version and a number.
    pub(super) text: Option<String>,
    /// What was wrong before the value was read as a text.
    pub(super) first_fault: Option<String>,
}

/// The entries of a table.
type Entries = BTreeMap<String, Node>;

#[derive(Clone, Debug)]
pub(super) enum Content {
    Scalar(toml::Value),
    List(Vec<Node>),
    Table(Entries),
}

/// One step from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Reads `listeners[1].address`.
pub(super) fn steps(key: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in key.split('.') {
        let mut pieces = part.split('[');
        steps.extend(pieces.next().map(|name| Step::Key(name.to_owned())));
        let indexes = pieces.filter_map(|piece| piece.trim_end_matches(']').parse().ok());
        steps.extend(indexes.map(Step::Index));
    }
    steps
}

/// Writes `listeners[1].address`.
pub(super) fn dotted(steps: &[Step]) -> String {
    let mut key = String::new();
    for step in steps {
        match step {
            Step::Key(name) if key.is_empty() => key.push_str(name),
            Step::Key(name) => key.extend([".", name]),
            Step::Index(at) => key.extend(["[", &at.to_string(), "]"]),
        }
    }
    key
}

impl Node {
    /// Parses a file.
    pub(super) fn parse(text: &str) -> Result<Self, toml_edit::TomlError> {
        let document = Document::parse(text)?;
        let at = |offset| Origin::Offset(offset);
        Ok(Self::table(document.as_table(), &at(0), &at(0), &at))
    }

    /// Puts the value of a variable in its place, or says why it has none.
    pub(super) fn set_from_variable(&mut self, name: &str, value: &str) -> Result<(), String> {
        let path = name
            .strip_prefix(VARIABLE_PREFIX)
            .unwrap_or_default()
            .to_lowercase();
        let origin = Origin::Variable(name.to_owned());
        let mut node = self;
        for part in path.split("__") {
            if part.is_empty() {
                return Err("expected a name such as CHAPPE__SERVER__NAME".to_owned());
            }
            node = match &mut node.content {
                Content::List(elements) => {
                    let length = elements.len();
                    let at = part.parse::<usize>().ok();
                    at.and_then(|at| elements.get_mut(at)).ok_or_else(|| {
                        format!("found `{part}`, expected the number of one of {length} elements")
                    })?
                }
                content => child(content, part, &origin),
            };
        }
        *node = Self::from_variable(&origin, value);
        Ok(())
    }

    /// The node at `path`, and how many steps of it exist.
    pub(super) fn find(&self, path: &[Step]) -> (&Self, usize) {
        let mut node = self;
        for (depth, step) in path.iter().enumerate() {
            let next = match (step, &node.content) {
                (Step::Key(name), Content::Table(entries)) => entries.get(name),
                (Step::Index(at), Content::List(elements)) => elements.get(*at),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return (node, depth),
            }
        }
        (node, path.len())
    }

    /// The node at `path`, if all of it exists.
    pub(super) fn find_mut(&mut self, path: &[Step]) -> Option<&mut Self> {
        path.iter()
            .try_fold(self, |node, step| match (step, &mut node.content) {
                (Step::Key(name), Content::Table(entries)) => entries.get_mut(name),
                (Step::Index(at), Content::List(elements)) => elements.get_mut(*at),
                _ => None,
            })
    }

    /// Takes out the value at `path`. Gives whether there was one.
    pub(super) fn remove(&mut self, path: &[Step]) -> bool {
        let Some((last, parent)) = path.split_last() else {
            return false;
        };
        let Some(parent) = self.find_mut(parent) else {
            return false;
        };
        match (last, &mut parent.content) {
            (Step::Key(name), Content::Table(entries)) => entries.remove(name).is_some(),
            (Step::Index(at), Content::List(elements)) if *at < elements.len() => {
                elements.remove(*at);
                true
            }
            _ => false,
        }
    }

    /// The bare value.
    pub(super) fn to_value(&self) -> toml::Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(elements) => {
                toml::Value::Array(elements.iter().map(Self::to_value).collect())
            }
            Content::Table(entries) => toml::Value::Table(
                entries
                    .iter()
                    .map(|(key, node)| (key.clone(), node.to_value()))
                    .collect(),
            ),
        }
    }

    fn new(key: Origin, value: Origin, content: Content) -> Self {
        Self {
            key,
            value,
            content,
            text: None,
            first_fault: None,
        }
    }

    /// A value as a variable gives it: TOML, or else a text.
    fn from_variable(origin: &Origin, text: &str) -> Self {
        let as_text = || Content::Scalar(toml::Value::String(text.to_owned()));
        let source = format!("value = {text}");
        // A text of several lines might hold further keys.
        let document = Document::parse(source)
            .ok()
            .filter(|document| document.len() == 1);
        let parsed = document.as_ref().and_then(|document| document.get("value"));
        let at = |_| origin.clone();
        let read = parsed.and_then(|item| Self::item(item, origin.clone(), &at));
        let Some(mut node) = read else {
            return Self::new(origin.clone(), origin.clone(), as_text());
        };
        let is_text = matches!(&node.content, Content::Scalar(toml::Value::String(_)));
        node.text = (!is_text).then(|| text.to_owned());
        node
    }

    fn table(
        table: &dyn TableLike,
        key: &Origin,
        value: &Origin,
        at: &dyn Fn(usize) -> Origin,
    ) -> Self {
        let mut entries = Entries::new();
        for (name, item) in table.iter() {
            let span = table.key(name).and_then(toml_edit::Key::span);
            let key = span.map_or_else(|| key.clone(), |span| at(span.start));
            entries.extend(Self::item(item, key, at).map(|node| (name.to_owned(), node)));
        }
        Self::new(key.clone(), value.clone(), Content::Table(entries))
    }

    fn item(item: &Item, key: Origin, at: &dyn Fn(usize) -> Origin) -> Option<Self> {
        let value = item
            .span()
            .map_or_else(|| key.clone(), |span| at(span.start));
        let elements: Vec<&dyn TableLike> = match item {
            Item::None => return None,
            Item::Value(inner) => return Some(Self::value(inner, key, at)),
            Item::Table(table) => return Some(Self::table(table, &key, &value, at)),
            Item::ArrayOfTables(tables) => {
                tables.iter().map(|table| table as &dyn TableLike).collect()
            }
        };
        // The headers of the elements, each at its own line.
        let headers: Vec<Option<usize>> = match item {
            Item::ArrayOfTables(tables) => tables
                .iter()
                .map(|table| table.span().map(|span| span.start))
                .collect(),
            _ => Vec::new(),
        };
        let nodes = elements.into_iter().zip(headers).map(|(table, header)| {
            let origin = header.map_or_else(|| key.clone(), at);
            Self::table(table, &origin, &origin, at)
        });
        let nodes = nodes.collect();
        Some(Self::new(key, value, Content::List(nodes)))
    }

    fn value(inner: &toml_edit::Value, key: Origin, at: &dyn Fn(usize) -> Origin) -> Self {
        let value = inner
            .span()
            .map_or_else(|| key.clone(), |span| at(span.start));
        let scalar = match inner {
            toml_edit::Value::String(text) => toml::Value::String(text.value().clone()),
            toml_edit::Value::Integer(number) => toml::Value::Integer(*number.value()),
            toml_edit::Value::Float(number) => toml::Value::Float(*number.value()),
            toml_edit::Value::Boolean(boolean) => toml::Value::Boolean(*boolean.value()),
            toml_edit::Value::Datetime(date) => toml::Value::Datetime(*date.value()),
            toml_edit::Value::InlineTable(table) => return Self::table(table, &key, &value, at),
            toml_edit::Value::Array(array) => {
                let element = |element: &toml_edit::Value| {
                    let start = element
                        .span()
                        .map_or_else(|| key.clone(), |span| at(span.start));
                    Self::value(element, start, at)
                };
                let elements = array.iter().map(element).collect();
                return Self::new(key, value, Content::List(elements));
            }
        };
        Self::new(key, value, Content::Scalar(scalar))
    }
}

/// The entry `name` of a table, made if missing. What is no table becomes one: a variable that
/// sets a key inside goes before it.
fn child<'a>(content: &'a mut Content, name: &str, origin: &Origin) -> &'a mut Node {
    let empty = || Content::Table(Entries::new());
    loop {
        match content {
            Content::Table(entries) => {
                let new = || Node::new(origin.clone(), origin.clone(), empty());
                return entries.entry(name.to_owned()).or_insert_with(new);
            }
            Content::Scalar(_) | Content::List(_) => *content = empty(),
        }
    }
}
