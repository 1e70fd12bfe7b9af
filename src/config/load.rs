//! From a text and variables to a [`Config`]: parse, override, shape, read secrets, validate.
//!
//! A value of the wrong shape is reported, taken out, and the rest is tried again, so that one
//! run reports everything. The checks of a section are left out while a value of it is missing
//! in this way: they would report what is not there.

use std::collections::BTreeSet;

use super::{
    Config, Problem, Profile,
    errors::{ConfigError, ConfigErrors, Source, reword},
    listeners, secret,
    tree::{Content, Node, Step, VARIABLE_PREFIX},
};

/// How many wrong values are reported before giving up.
const MAX_FAULTS: usize = 100;

/// Reads a configuration. `name` is what errors call the text.
pub(super) fn load(
    name: &str,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigErrors> {
    let source = Source { name, text };
    let mut tree = Node::parse(text).map_err(|error| {
        let place = error
            .span()
            .map_or_else(|| source.whole(), |span| source.at(span.start));
        let message = error.message().trim().replace('\n', ", ");
        ConfigErrors(vec![ConfigError {
            place,
            key: String::new(),
            message,
        }])
    })?;
    let mut errors = apply_variables(&mut tree, environment);
    let Shaped {
        mut config,
        faults,
        sections,
    } = shape(source, &mut tree);
    errors.extend(faults);
    let mut problems = config.read_secrets();
    problems.extend(config.validate(&sections));
    errors.extend(
        problems
            .into_iter()
            .map(|problem| source.locate(&tree, problem)),
    );
    if errors.is_empty() {
        return Ok(config);
    }
    errors.sort_by(|one, other| one.place.cmp(&other.place));
    Err(ConfigErrors(errors))
}

/// Overrides what the file says by what the variables say.
fn apply_variables(
    tree: &mut Node,
    environment: impl Iterator<Item = (String, String)>,
) -> Vec<ConfigError> {
    let ours = environment.filter(|(name, _)| name.starts_with(VARIABLE_PREFIX));
    let mut variables: Vec<(String, String)> = ours.collect();
    // A table before the keys in it, whatever the order of the environment.
    variables.sort();
    let mut errors = Vec::new();
    for (name, value) in variables {
        if let Err(message) = tree.set_from_variable(&name, &value) {
            let place = super::Place::Variable(name);
            errors.push(ConfigError {
                place,
                key: String::new(),
                message,
            });
        }
    }
    errors
}

/// What could be read of a tree.
pub(super) struct Shaped {
    pub(super) config: Config,
    pub(super) faults: Vec<ConfigError>,
    /// The sections that a value was taken out of.
    pub(super) sections: BTreeSet<String>,
}

/// Reads the tree into the structs, without what does not fit.
pub(super) fn shape(source: Source<'_>, tree: &mut Node) -> Shaped {
    let mut faults = Vec::new();
    let mut sections = BTreeSet::new();
    while faults.len() < MAX_FAULTS {
        let error = match serde_path_to_error::deserialize::<_, Config>(tree.to_value()) {
            Ok(config) => {
                return Shaped {
                    config,
                    faults,
                    sections,
                };
            }
            Err(error) => error,
        };
        let path: Vec<Step> = error.path().iter().filter_map(step).collect();
        let fault = error.inner().message().trim();
        if retry_as_text(tree, &path, fault) {
            continue;
        }
        faults.push(source.describe(tree, &path, fault));
        let (_, depth) = tree.find(&path);
        let found = path.get(..depth).unwrap_or_default();
        match found.first() {
            Some(Step::Key(section)) => sections.insert(section.clone()),
            Some(Step::Index(_)) | None => break,
        };
        tree.remove(found);
    }
    // Nothing more can be said of it, and nothing should be checked.
    sections.extend(SECTIONS.iter().map(|section| (*section).to_owned()));
    Shaped {
        config: Config::default(),
        faults,
        sections,
    }
}

/// Reads a variable's value as a text after all. Gives whether it had been something else.
fn retry_as_text(tree: &mut Node, path: &[Step], fault: &str) -> bool {
    let Some(node) = tree.find_mut(path) else {
        return false;
    };
    let Some(text) = node.text.take() else {
        return false;
    };
    node.first_fault = Some(reword(fault, node));
    node.content = Content::Scalar(toml::Value::String(text));
    true
}

fn step(segment: &serde_path_to_error::Segment) -> Option<Step> {
    use serde_path_to_error::Segment;

    match segment {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// The sections of the file.
const SECTIONS: &[&str] = &[
    "server",
    "database",
    "listeners",
    "registration",
    "accounts",
    "mail",
    "sessions",
    "rooms",
    "application_services",
    "directory",
    "notices",
    "calls",
    "push",
    "outbound",
    "limits",
    "audit",
    "logging",
    "policy",
];

impl Config {
    /// Reads the files that secrets are in.
    fn read_secrets(&mut self) -> Vec<Problem> {
        let database = secret::Source {
            key: "database.url",
            file_key: "database.url_file",
            inline: &mut self.database.url,
            file: &self.database.url_file,
        };
        let registration = secret::Source {
            key: "registration.shared_secret",
            file_key: "registration.shared_secret_file",
            inline: &mut self.registration.shared_secret,
            file: &self.registration.shared_secret_file,
        };
        let mail = secret::Source {
            key: "mail.password",
            file_key: "mail.password_file",
            inline: &mut self.mail.password,
            file: &self.mail.password_file,
        };
        let turn = secret::Source {
            key: "calls.turn_secret",
            file_key: "calls.turn_secret_file",
            inline: &mut self.calls.turn_secret,
            file: &self.calls.turn_secret_file,
        };
        let s3 = secret::Source {
            key: "media.s3.secret_access_key",
            file_key: "media.s3.secret_access_key_file",
            inline: &mut self.media.s3.secret_access_key,
            file: &self.media.s3.secret_access_key_file,
        };
        let scanner = secret::Source {
            key: "scanner.private_key",
            file_key: "scanner.private_key_file",
            inline: &mut self.scanner.private_key,
            file: &self.scanner.private_key_file,
        };
        let sources = [database, registration, mail, turn, s3, scanner];
        sources
            .into_iter()
            .filter_map(|source| source.resolve().err())
            .collect()
    }

    /// What contradicts itself or cannot be used, but in the sections that are not whole.
    fn validate(&self, incomplete: &BTreeSet<String>) -> Vec<Problem> {
        let checks: [(&str, &dyn Fn() -> Vec<Problem>); 21] = [
            ("server", &|| self.server.validate()),
            ("database", &|| self.database.validate()),
            ("listeners", &|| listeners::validate(&self.listeners)),
            ("registration", &|| self.registration.validate()),
            ("accounts", &|| self.accounts.validate()),
            ("mail", &|| self.mail.validate()),
            ("sessions", &|| self.sessions.validate()),
            ("qr_sign_in", &|| self.qr_sign_in.validate()),
            ("rooms", &|| self.rooms.validate()),
            ("directory", &|| self.directory.validate()),
            ("application_services", &|| {
                self.application_services.validate()
            }),
            ("media", &|| self.media.validate()),
            ("scanner", &|| self.scanner.validate()),
            ("previews", &|| self.previews.validate()),
            ("notices", &|| self.notices.validate()),
            ("calls", &|| self.calls.validate()),
            ("push", &|| self.push.validate()),
            ("outbound", &|| self.outbound.validate()),
            ("limits", &|| self.limits.validate()),
            ("logging", &|| self.logging.validate()),
            ("policy", &|| self.policy.validate()),
        ];
        let whole = checks
            .into_iter()
            .filter(|(section, _)| !incomplete.contains(*section));
        let mut problems: Vec<Problem> = whole.flat_map(|(_, check)| check()).collect();
        if incomplete.is_empty() {
            problems.extend(self.validate_across());
        }
        problems
    }

    /// What contradicts a value of another section.
    fn validate_across(&self) -> Vec<Problem> {
        if self.server.profile != Profile::Tchap {
            return Vec::new();
        }
        let registration = &self.registration;
        let message = "contradicts `server.profile = \"tchap\"`, in which every account has a \
                       validated e-mail address; expected false, or the profile \"open\"";
        [("open", registration.open), ("guests", registration.guests)]
            .into_iter()
            .filter(|(_, is_set)| *is_set)
            .map(|(key, _)| Problem::new(format!("registration.{key}"), message))
            .collect()
    }
}
