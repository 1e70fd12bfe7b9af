//! The names that are an application service's.

use regex::{RegexSet, RegexSetBuilder};

/// How large the compiled patterns of one list may be, in bytes.
const MAX_SIZE: usize = 8 << 20;

/// One list of namespaces.
///
/// A pattern is tried at the beginning of a name, and need not reach its end: that is how
/// registrations are written for other servers.
#[derive(Debug)]
pub(super) struct Namespaces {
    all: RegexSet,
    exclusive: RegexSet,
}

impl Namespaces {
    /// From patterns, each with whether it is exclusive.
    pub(super) fn compile(list: &[(String, bool)]) -> Result<Self, regex::Error> {
        let compile = |only_exclusive: bool| {
            let wanted = list
                .iter()
                .filter(|(_, is_exclusive)| *is_exclusive || !only_exclusive);
            RegexSetBuilder::new(wanted.map(|(pattern, _)| format!("^(?:{pattern})")))
                .size_limit(MAX_SIZE)
                .build()
        };
        Ok(Self {
            all: compile(false)?,
            exclusive: compile(true)?,
        })
    }

    /// Whether a name is in one of them.
    pub(super) fn contain(&self, name: &str) -> bool {
        !self.all.is_empty() && self.all.is_match(name)
    }

    /// Whether a name is in an exclusive one.
    pub(super) fn reserve(&self, name: &str) -> bool {
        !self.exclusive.is_empty() && self.exclusive.is_match(name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
