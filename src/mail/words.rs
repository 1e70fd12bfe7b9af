//! Names that people chose, as mails may repeat them.

/// How many characters of a name a mail shows.
const MAX_NAME: usize = 100;

/// A name that somebody chose, as a mail of ours may repeat it (tchap.md R-02): in one line and
/// one direction, not too long, and without what mail programs would make a link of.
pub(super) fn name(name: &str) -> String {
    let mut words = String::new();
    for word in name.split(|c: char| c.is_whitespace() || c.is_control() || is_invisible(c)) {
        if !word.is_empty() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
    }
    let mut shown = String::new();
    let mut letters = words.chars().peekable();
    let mut count = 0;
    while let Some(letter) = letters.next() {
        if count == MAX_NAME {
            shown.push('…');
            break;
        }
        count += 1;
        shown.push(letter);
        // Programs see links in `example.org`, `https://…` and addresses: not with a break inside.
        let joins = matches!(letter, '.' | ':' | '/' | '@');
        let goes_on = letters
            .peek()
            .is_some_and(|next| next.is_alphanumeric() || *next == '/');
        if joins && goes_on {
            shown.push('\u{200b}');
        }
    }
    shown
}

/// Marks that are not seen and change how what follows is read.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_02_a_name_is_one_line_in_one_direction_and_no_link() {
        let cases = [
            ("Camille MARTIN", "Camille MARTIN"),
            ("  Camille \t MARTIN\r\nBcc: a", "Camille MARTIN Bcc: a"),
            ("a\u{202e}b\u{200b}c\u{feff}", "a b c"),
            ("M. Dupont", "M. Dupont"),
            (
                "https://evil.org",
                "https:\u{200b}/\u{200b}/\u{200b}evil.\u{200b}org",
            ),
            ("a@evil.org", "a@\u{200b}evil.\u{200b}org"),
        ];
        for (given, shown) in cases {
            assert_eq!(name(given), shown, "{given:?}");
        }
        assert_eq!(name(&"é".repeat(101)), format!("{}…", "é".repeat(100)));
        assert_eq!(name(&"é".repeat(100)), "é".repeat(100));
    }
}
