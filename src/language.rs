//! The languages in which the server speaks to people, and how one is chosen for a browser.

use std::time::Duration;

/// A language of mails and pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// French, the language of the administration.
    #[default]
    French,
    /// English.
    English,
}

const MONTHS: [(&str, &str); 12] = [
    ("janvier", "January"),
    ("février", "February"),
    ("mars", "March"),
    ("avril", "April"),
    ("mai", "May"),
    ("juin", "June"),
    ("juillet", "July"),
    ("août", "August"),
    ("septembre", "September"),
    ("octobre", "October"),
    ("novembre", "November"),
    ("décembre", "December"),
];

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

    /// A duration as people say it, in the largest unit that divides it, from two days on in days.
    pub fn duration(self, duration: Duration) -> String {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        let seconds = duration.as_secs();
        let (count, french, english) = if seconds >= 2 * DAY && seconds.is_multiple_of(DAY) {
            (seconds / DAY, "jour", "day")
        } else if seconds >= HOUR && seconds.is_multiple_of(HOUR) {
            (seconds / HOUR, "heure", "hour")
        } else {
            (seconds.div_ceil(MINUTE), "minute", "minute")
        };
        let unit = match self {
            Self::French => french,
            Self::English => english,
        };
        let plural = if count > 1 { "s" } else { "" };
        format!("{count}\u{a0}{unit}{plural}")
    }

    /// The day of a time (milliseconds since the epoch), in universal time, as people write it:
    /// `12 mars 2026`, `1er mars 2026`.
    pub fn date(self, at_ms: u64) -> String {
        let (year, month, day) = civil(at_ms / 86_400_000);
        let (french, english) = month
            .checked_sub(1)
            .and_then(|at| MONTHS.get(at))
            .copied()
            .unwrap_or_default();
        match self {
            Self::French if day == 1 => format!("1er\u{a0}{french}\u{a0}{year}"),
            Self::French => format!("{day}\u{a0}{french}\u{a0}{year}"),
            Self::English => format!("{day}\u{a0}{english}\u{a0}{year}"),
        }
    }

    /// The language that a browser likes best among ours: French where it has no opinion, where
    /// it names none of ours, or where it likes both the same and names French first.
    ///
    /// The header is that of RFC 9110, section 12.5.4. Entries that make no sense are left out.
    pub fn from_accept_language(header: Option<&str>) -> Self {
        Self::asked_for(header).unwrap_or_default()
    }

    /// The same, without a default: `None` where the browser names none of ours, or likes all
    /// languages better.
    pub fn asked_for(header: Option<&str>) -> Option<Self> {
        let mut best: Option<(u16, Option<Self>)> = None;
        for entry in header.unwrap_or_default().split(',').take(MAX_PREFERENCES) {
            let Some((weight, language)) = preference(entry) else {
                continue;
            };
            if weight > best.map_or(0, |(weight, _)| weight) {
                best = Some((weight, language));
            }
        }
        best.and_then(|(_, language)| language)
    }
}

/// One entry of the header, such as `en-GB;q=0.8`: its weight in thousandths and our language, if it
/// names one.
fn preference(entry: &str) -> Option<(u16, Option<Language>)> {
    let mut parts = entry.split(';').map(str::trim);
    let tag = parts.next()?;
    let primary = tag.split('-').next()?.to_ascii_lowercase();
    let language = match primary.as_str() {
        "fr" => Some(Language::French),
        "en" => Some(Language::English),
        "*" => None,
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

/// The date of a day counted from 1970-01-01: year, month and day. The year begins in March here,
/// so that the odd day of leap years comes last.
fn civil(days: u64) -> (u64, usize, u64) {
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year + u64::from(month <= 2);
    (year, usize::try_from(month).unwrap_or_default(), day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Language::{self, English, French};

    const DAY: Duration = Duration::from_hours(24);

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

    #[test]
    fn who_names_no_language_of_ours_has_asked_for_none() {
        for header in [
            None,
            Some(""),
            Some("*"),
            Some("de"),
            Some("*, en;q=0.5"),
            Some("en;q=0"),
        ] {
            assert_eq!(Language::asked_for(header), None, "{header:?}");
        }
        assert_eq!(Language::asked_for(Some("de, en;q=0.5")), Some(English));
        assert_eq!(Language::asked_for(Some("fr-FR, *;q=0.1")), Some(French));
    }

    #[test]
    fn durations_are_said_in_words() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let cases = [
            (minutes(1), "1\u{a0}minute", "1\u{a0}minute"),
            (minutes(30), "30\u{a0}minutes", "30\u{a0}minutes"),
            (minutes(60), "1\u{a0}heure", "1\u{a0}hour"),
            (minutes(90), "90\u{a0}minutes", "90\u{a0}minutes"),
            (DAY, "24\u{a0}heures", "24\u{a0}hours"),
            (7 * DAY, "7\u{a0}jours", "7\u{a0}days"),
        ];
        for (duration, french, english) in cases {
            assert_eq!(French.duration(duration), french);
            assert_eq!(English.duration(duration), english);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let cases = [
            (0, "1er\u{a0}janvier\u{a0}1970", "1\u{a0}January\u{a0}1970"),
            (
                951_782_400_000,
                "29\u{a0}février\u{a0}2000",
                "29\u{a0}February\u{a0}2000",
            ),
            (
                951_868_800_000,
                "1er\u{a0}mars\u{a0}2000",
                "1\u{a0}March\u{a0}2000",
            ),
            (
                1_767_225_599_999,
                "31\u{a0}décembre\u{a0}2025",
                "31\u{a0}December\u{a0}2025",
            ),
            (
                4_107_542_400_000,
                "1er\u{a0}mars\u{a0}2100",
                "1\u{a0}March\u{a0}2100",
            ),
        ];
        for (at_ms, french, english) in cases {
            assert_eq!(French.date(at_ms), french);
            assert_eq!(English.date(at_ms), english);
        }
    }
}
