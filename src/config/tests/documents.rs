//! The example file and the documentation name every key, and the example tells the truth.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::{Config, EXAMPLE, Surface, errors::Source, load, tree::Node};

const DOCUMENTATION: &str = include_str!("../../../docs/configuration.md");

#[test]
fn the_defaults_are_valid() {
    assert_eq!(Config::from_toml("").unwrap(), Config::default());
}

#[test]
fn the_example_is_the_defaults() {
    assert_eq!(Config::from_toml(EXAMPLE).unwrap(), Config::default());
}

#[test]
fn the_example_with_every_key_is_the_defaults() {
    let text: Vec<&str> = EXAMPLE.lines().map(uncommented).collect();
    let text = text.join("\n");
    assert!(text.contains("\nname = \"localhost\"\n"));
    assert_eq!(Config::from_toml(&text).unwrap(), Config::default());
}

#[test]
fn each_optional_key_of_the_example_has_the_right_shape() {
    let examples = EXAMPLE.lines().filter(|line| line.starts_with("#   "));
    for example in examples {
        let only = |line: &'static str| {
            if line == example {
                line.trim_start_matches(['#', ' '])
            } else {
                line
            }
        };
        let text: Vec<&str> = EXAMPLE.lines().map(only).collect();
        let text = text.join("\n");
        let source = Source {
            name: "example",
            text: &text,
        };
        let shaped = load::shape(source, &mut Node::parse(&text).unwrap());
        assert!(shaped.faults.is_empty(), "{example}: {:?}", shaped.faults);
        assert_ne!(shaped.config, Config::default(), "{example}");
    }
}

#[test]
fn every_key_is_in_the_example_and_in_the_documentation() {
    let lines = EXAMPLE
        .lines()
        .map(|line| line.trim_start_matches(['#', ' ']));
    let example: BTreeSet<&str> = lines.filter_map(|line| line.split(" = ").next()).collect();
    for (key, name) in keys() {
        // Some tables have tables in them only.
        let in_table = example.contains(format!("[{key}]").as_str())
            || example
                .iter()
                .any(|line| line.starts_with(&format!("[{key}.")));
        let is_list_of_tables = example.contains(format!("[[{key}]]").as_str());
        let named = example.contains(name.as_str()) || in_table || is_list_of_tables;
        assert!(named, "`{key}` is missing in config/chappe.example.toml");
        let documented = DOCUMENTATION.contains(&format!("`{name}`"))
            || DOCUMENTATION.contains(&format!("`[{key}]`"))
            || DOCUMENTATION.contains(&format!("`[[{key}]]`"));
        assert!(documented, "`{key}` is missing in docs/configuration.md");
    }
}

#[test]
fn the_development_configuration_is_valid() {
    let config = Config::development().unwrap();
    assert!(config.listeners[0].serves(Surface::Development));
    assert_eq!(config.server.name, "localhost");
    assert!(config.mail.host.is_none() && config.database.url.is_none());
}

/// A line whose key is no longer a comment.
fn uncommented(line: &str) -> &str {
    let key = line
        .strip_prefix('#')
        .filter(|key| key.starts_with(|c: char| c.is_ascii_lowercase()));
    key.unwrap_or(line)
}

/// Each key of the configuration: dotted, and its last part.
fn keys() -> Vec<(String, String)> {
    let mut found = Vec::new();
    // Rates are tables whose keys the example shows inline.
    let is_rate = |value: &Value| value.get("per_second").is_some();
    let mut pending = vec![(
        String::new(),
        serde_json::to_value(Config::default()).unwrap(),
    )];
    while let Some((path, value)) = pending.pop() {
        let inner = match value {
            Value::Object(entries) => entries,
            // The keys of a listener.
            Value::Array(elements) => match elements.into_iter().next() {
                Some(Value::Object(entries)) => entries,
                _ => continue,
            },
            _ => continue,
        };
        for (name, value) in inner {
            let key = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            found.push((key.clone(), name));
            if !is_rate(&value) {
                pending.push((key, value));
            }
        }
    }
    // Lest the walk finds nothing.
    assert!(found.len() > 60, "{}", found.len());
    found
}
