//! Who looks at a page: their language, and how the page is had in the other one.

use url::form_urlencoded;

use crate::language::Language;

/// The parameter that names the language.
const PARAMETER: &str = "lang";

/// Who looks at a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visitor {
    /// The language of the page.
    pub language: Language,
    pub(super) switch: Switch,
}

/// How the same page is had in the other language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Switch {
    /// Not at all.
    #[default]
    None,
    /// By a link, relative to the page.
    Link(String),
    /// By posting these fields again, which does the same as before.
    Form(Vec<(String, String)>),
}

impl From<Language> for Visitor {
    fn from(language: Language) -> Self {
        Self {
            language,
            switch: Switch::None,
        }
    }
}

impl From<&Visitor> for Visitor {
    fn from(visitor: &Visitor) -> Self {
        visitor.clone()
    }
}

impl Visitor {
    /// Who opens an address: the `query` of the address may name the language (`lang=en`), and the
    /// browser's is taken if it does not. The page must be one that can be opened again.
    pub fn opening(query: Option<&str>, browser: Language) -> Self {
        let pairs = || form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let named = pairs().find(|(name, _)| name == PARAMETER);
        let language = named.and_then(|(_, tag)| from_tag(&tag));
        let language = language.unwrap_or(browser);
        let mut link = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
        link.extend_pairs(pairs().filter(|(name, _)| name != PARAMETER));
        link.append_pair(PARAMETER, other(language).tag());
        Self {
            language,
            switch: Switch::Link(link.finish()),
        }
    }

    /// Who posted these fields, which may be posted again. `named` is the language among them.
    pub fn posting(fields: &[(&str, &str)], named: Option<&str>, browser: Language) -> Self {
        let language = named.and_then(from_tag).unwrap_or(browser);
        let fields = fields
            .iter()
            .copied()
            .chain([(PARAMETER, other(language).tag())])
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            language,
            switch: Switch::Form(fields.collect()),
        }
    }
}

fn from_tag(tag: &str) -> Option<Language> {
    [Language::French, Language::English]
        .into_iter()
        .find(|language| language.tag() == tag)
}

fn other(language: Language) -> Language {
    match language {
        Language::French => Language::English,
        Language::English => Language::French,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Language::{English, French};

    #[test]
    fn the_address_goes_before_the_browser_and_the_switch_keeps_the_rest() {
        let cases = [
            (None, French, French, "?lang=en"),
            (None, English, English, "?lang=fr"),
            (Some("lang=en"), French, English, "?lang=fr"),
            (Some("lang=de"), English, English, "?lang=fr"),
            (
                Some("a=b%26c&lang=en&d="),
                French,
                English,
                "?a=b%26c&d=&lang=fr",
            ),
            (
                Some("\"><script>"),
                French,
                French,
                "?%22%3E%3Cscript%3E=&lang=en",
            ),
        ];
        for (query, browser, language, link) in cases {
            let visitor = Visitor::opening(query, browser);
            assert_eq!(visitor.language, language, "{query:?}");
            assert_eq!(visitor.switch, Switch::Link(link.to_owned()), "{query:?}");
        }
    }

    #[test]
    fn what_was_posted_is_posted_again_in_the_other_language() {
        let visitor = Visitor::posting(&[("sid", "1")], Some("en"), French);
        assert_eq!(visitor.language, English);
        let fields = [("sid", "1"), ("lang", "fr")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(visitor.switch, Switch::Form(fields.to_vec()));
    }
}
