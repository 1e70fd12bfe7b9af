//! Glob patterns of rules: `*` stands for any letters, `?` for one; case does not matter.
//!
//! A match takes no longer than the product of both lengths, whatever the pattern, since the pattern
//! comes from one person and the text from another. Appendices v1.19, "Glob-style matching".

/// The longest pattern that is matched, in letters; a longer one never matches.
const MAX_PATTERN: usize = 1_000;

/// A pattern, ready to be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    parts: Vec<Part>,
    /// The pattern in small letters, if nothing in it stands for anything else.
    literal: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Letter(char),
    Any,
    Star,
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        let is_literal = !pattern.contains(['*', '?']);
        let lower = pattern.to_lowercase();
        let mut parts = Vec::new();
        for letter in lower.chars() {
            match letter {
                '*' if parts.last() == Some(&Part::Star) => {}
                '*' => parts.push(Part::Star),
                '?' => parts.push(Part::Any),
                letter => parts.push(Part::Letter(letter)),
            }
        }
        Self {
            parts,
            literal: is_literal.then_some(lower),
        }
    }

    /// Whether the pattern is the whole text.
    pub(super) fn matches(&self, text: &str) -> bool {
        if let Some(literal) = &self.literal {
            return literal.eq_ignore_ascii_case(text) || *literal == text.to_lowercase();
        }
        if self.is_too_long() {
            return false;
        }
        let mut states = States::new(&self.parts);
        states.start();
        for letter in text.to_lowercase().chars() {
            states.step(letter);
        }
        states.is_matched()
    }

    /// Whether some part of the text that begins and ends at the boundary of a word matches.
    pub(super) fn matches_words(&self, text: &str) -> bool {
        if let Some(literal) = &self.literal {
            return contains_lower_words(&text.to_lowercase(), literal);
        }
        if self.is_too_long() {
            return false;
        }
        let text: Vec<char> = text.to_lowercase().chars().collect();
        let mut states = States::new(&self.parts);
        let mut before = None;
        for letter in &text {
            let at_boundary = is_boundary(before, Some(*letter));
            if at_boundary {
                if states.is_matched() {
                    return true;
                }
                states.start();
            }
            states.step(*letter);
            before = Some(*letter);
        }
        if text.is_empty() {
            states.start();
        }
        states.is_matched()
    }

    fn is_too_long(&self) -> bool {
        self.parts.len() > MAX_PATTERN
    }
}

/// Whether a text contains a name that begins and ends at the boundary of a word, in any case.
pub(super) fn contains_words(text: &str, name: &str) -> bool {
    contains_lower_words(&text.to_lowercase(), &name.to_lowercase())
}

fn contains_lower_words(text: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| rest.find(name)) {
        let start = from + found;
        let (head, rest) = text.split_at(start);
        let tail = rest.get(name.len()..).unwrap_or_default();
        let starts = is_boundary(head.chars().next_back(), name.chars().next());
        let ends = is_boundary(name.chars().next_back(), tail.chars().next());
        if starts && ends {
            return true;
        }
        from = start + name.chars().next().map_or(1, char::len_utf8);
    }
    false
}

/// Whether there is the boundary of a word between two letters: an end of the text, or beside a
/// letter that belongs to no word.
fn is_boundary(before: Option<char>, after: Option<char>) -> bool {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    !before.is_some_and(is_word) || !after.is_some_and(is_word)
}

/// How much of a pattern has been matched, in all ways at once.
struct States<'a> {
    parts: &'a [Part],
    /// Whether the parts before this one have been matched.
    reached: Vec<bool>,
    any: bool,
}

impl<'a> States<'a> {
    fn new(parts: &'a [Part]) -> Self {
        Self {
            parts,
            reached: vec![false; parts.len() + 1],
            any: false,
        }
    }

    /// Lets a match begin here too.
    fn start(&mut self) {
        self.any = true;
        self.reach(0);
    }

    /// Marks a state, and those that follow it without a letter.
    fn reach(&mut self, mut at: usize) {
        loop {
            if let Some(reached) = self.reached.get_mut(at) {
                *reached = true;
            }
            if self.parts.get(at) != Some(&Part::Star) {
                return;
            }
            at += 1;
        }
    }

    fn step(&mut self, letter: char) {
        if !self.any {
            return;
        }
        let before = std::mem::replace(&mut self.reached, vec![false; self.parts.len() + 1]);
        self.any = false;
        for (at, part) in self.parts.iter().enumerate() {
            if !before.get(at).copied().unwrap_or(false) {
                continue;
            }
            let next = match part {
                Part::Star => at,
                Part::Any => at + 1,
                Part::Letter(wanted) if *wanted == letter => at + 1,
                Part::Letter(_) => continue,
            };
            self.any = true;
            self.reach(next);
        }
    }

    fn is_matched(&self) -> bool {
        self.reached.last().copied().unwrap_or(false)
    }
}
