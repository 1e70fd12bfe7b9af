//! The languages in which the server speaks to people, and how one is chosen for a browser.

/// A language of mails and pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// French, the language of the administration.
    #[default]
    French,
    /// English.
    English,
}

/// How many entries of an `Accept-Language` header are looked at.
const MAX_PREFERENCES: usize = 16;

impl Language {
    /// The language's tag, as in the `lang` attribute of HTML (BCP 47).
    pub fn tag(self) -> &'static str {
        match self {
            Self::French => "fr",
            Self::English => "en",
        }
    }

    /// The language that a browser likes best among ours: French where it has no opinion, where
    /// it names none of ours, or where it likes both the same and names French first.
    ///
    /// The header is that of RFC 9110, section 12.5.4. Entries that make no sense are left out.
    pub fn from_accept_language(header: Option<&str>) -> Self {
        let mut best: Option<(u16, Self)> = None;
        for entry in header.unwrap_or_default().split(',').take(MAX_PREFERENCES) {
            let Some((weight, language)) = preference(entry) else {
                continue;
            };
            if weight > best.map_or(0, |(weight, _)| weight) {
                best = Some((weight, language));
            }
        }
        best.map_or_else(Self::default, |(_, language)| language)
    }
}

/// One entry of the header, such as `en-GB;q=0.8`: its weight in thousandths and our language.
fn preference(entry: &str) -> Option<(u16, Language)> {
    let mut parts = entry.split(';').map(str::trim);
    let tag = parts.next()?;
    let primary = tag.split('-').next()?.to_ascii_lowercase();
    let language = match primary.as_str() {
        "fr" | "*" => Language::French,
        "en" => Language::English,
        _ => return None,
    };
    let weight = match parts.next() {
        None => 1000,
        Some(parameter) => thousandths(parameter.strip_prefix("q=")?)?,
    };
    Some((weight, language))
}

/// A weight such as `0.85` in thousandths.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if fraction.len() > 3 {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Language::{self, English, French};

    #[test]
    fn the_browser_chooses_and_french_is_the_default() {
        let cases: &[(Option<&str>, Language)] = &[
            (None, French),
            (Some(""), French),
            (Some("fr"), French),
            (Some("en"), English),
            (Some("en-GB,en;q=0.9"), English),
            (Some("EN-us"), English),
            (Some("de"), French),
            (Some("de, en;q=0.5"), English),
            (Some("fr;q=0.4, en;q=0.5"), English),
            (Some("en;q=0.4, fr-CA;q=0.5"), French),
            (Some("en;q=0"), French),
            (Some("*"), French),
            (Some("en;q=2"), French),
            (Some("en;q=0.12345"), French),
            (Some("en;q=é"), French),
            (Some(";;;,,,q="), French),
            (Some("fr, en"), French),
            (Some("en, fr"), English),
        ];
        for (header, expected) in cases {
            assert_eq!(
                Language::from_accept_language(*header),
                *expected,
                "{header:?}"
            );
        }
    }
}
