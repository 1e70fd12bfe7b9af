//! The patterns of `[policy.addresses]`, arranged so that the first that matches is found fast.
//!
//! A deployment has hundreds of domains, and nearly all patterns name a domain: these are looked
//! up. Only what is left is matched as regular expressions, in linear time each.

use std::collections::HashMap;

use regex::Regex;

use super::address::EmailAddress;
use crate::config::policy::CompiledPattern;

/// Patterns, known by their position in the list.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    /// The first pattern for exactly a domain.
    domains: HashMap<String, usize>,
    /// The first pattern for a domain and those below it.
    trees: HashMap<String, usize>,
    /// The first pattern for everything.
    everything: Option<usize>,
    /// All others, in order.
    others: Vec<(usize, Regex)>,
}

impl Patterns {
    /// Adds the pattern at position `at`. Positions must be given in ascending order.
    pub(super) fn push(&mut self, at: usize, pattern: CompiledPattern) {
        match pattern {
            CompiledPattern::Everything => {
                self.everything.get_or_insert(at);
            }
            CompiledPattern::Domain(domain) => {
                self.domains.entry(domain).or_insert(at);
            }
            CompiledPattern::DomainAndBelow(domain) => {
                self.trees.entry(domain).or_insert(at);
            }
            CompiledPattern::Other(regex) => self.others.push((at, regex)),
        }
    }

    /// The position of the first pattern that matches.
    pub(super) fn first(&self, address: &EmailAddress) -> Option<usize> {
        let exact = self.domains.get(address.domain());
        let trees = above(address.domain()).filter_map(|domain| self.trees.get(domain));
        let known = trees.chain(exact).chain(&self.everything).min().copied();
        let mut earlier = self
            .others
            .iter()
            .take_while(|(at, _)| known.is_none_or(|known| *at < known));
        let other = earlier.find(|(_, regex)| regex.is_match(address.as_str()));
        other.map(|(at, _)| *at).or(known)
    }
}

/// A domain and those above it, the longest first.
pub(super) fn above(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(domain), |domain| Some(domain.split_once('.')?.1))
}
