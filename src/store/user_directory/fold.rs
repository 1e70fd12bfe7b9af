//! Names as they are compared: lower case, without accents, in words.

use std::collections::BTreeSet;

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Which folding this is. A change of the functions below needs a new number, so that the words of
/// all accounts are made again.
pub(super) const VERSION: i16 = 1;

/// The longest word that is kept and compared, in characters.
const MAX_WORD: usize = 64;
/// The most words of one account, and of one search.
const MAX_WORDS: usize = 24;
/// How much of all words of an account is kept in one line, in characters.
const MAX_LINE: usize = 256;

/// The words of a text, in order: what is between anything but letters and digits, folded. There
/// is no wildcard: `%`, `_` and `*` only separate words.
pub fn words(text: &str) -> Vec<String> {
    let folded = fold(text);
    folded
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(MAX_WORD).collect())
        .take(MAX_WORDS)
        .collect()
}

/// The words by which somebody is found: of the name, and of the user id before the colon.
pub(super) struct Words {
    /// Each once, in order.
    pub(super) all: BTreeSet<String>,
    /// All of them, first those of the name, each with a space before it: what orders results, and
    /// what the other words of a search are compared with.
    pub(super) line: String,
}

impl Words {
    /// Of what people see; without a name they see the user id.
    pub(super) fn of(display_name: Option<&str>, localpart: &str) -> Self {
        let mut all = BTreeSet::new();
        let mut line = String::new();
        for word in words(display_name.unwrap_or_default())
            .into_iter()
            .chain(words(localpart))
        {
            if all.insert(word.clone()) {
                line.push(' ');
                line.push_str(&word);
            }
        }
        let line = line.chars().take(MAX_LINE).collect();
        Self { all, line }
    }
}

/// Letters that are one letter without an accent, or two, and that decomposition leaves alone.
fn plain(letter: char) -> Option<&'static str> {
    Some(match letter {
        'œ' => "oe",
        'æ' => "ae",
        'ß' => "ss",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ł' => "l",
        'þ' => "th",
        'ħ' => "h",
        'ı' => "i",
        _ => return None,
    })
}

/// A text in lower case and without accents.
pub(in crate::store) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let letters = text.nfkd().filter(|letter| !is_combining_mark(*letter));
    for letter in letters.flat_map(char::to_lowercase) {
        // The lower case of a letter may be a letter with a mark, as that of İ is.
        if is_combining_mark(letter) {
            continue;
        }
        match plain(letter) {
            Some(text) => folded.push_str(text),
            None => folded.push(letter),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_accents_and_signs() {
        let cases = [
            ("Jean DUPONT [Intérieur]", "jean dupont interieur"),
            ("Anne-Sophie d’Œuvre", "anne sophie d oeuvre"),
            ("ÉLÉONORE  Ça_va", "eleonore ca va"),
            ("E\u{301}le\u{301}onore", "eleonore"),
            ("İsmail Straße Łódź", "ismail strasse lodz"),
            ("100% *_*", "100"),
            ("Ⅳ ﬁche", "iv fiche"),
            ("Жуков 李", "жуков 李"),
            ("a\0b", "a b"),
            ("%_*'\\", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn words_and_their_number_are_bounded() {
        let long = "é".repeat(500);
        assert_eq!(words(&long), ["e".repeat(MAX_WORD)]);
        assert_eq!(words(&"a b ".repeat(500)).len(), MAX_WORDS);
        let words = Words::of(Some(&"é b1 ".repeat(9)), &"x".repeat(80));
        assert_eq!(words.line, format!(" e b1 {}", "x".repeat(MAX_WORD)));
        let many: Vec<String> = (0..50).map(|n| format!("{n}{long}")).collect();
        let words = Words::of(Some(&many.join(" ")), "x");
        assert_eq!(words.line.chars().count(), MAX_LINE);
    }

    #[test]
    fn the_user_id_gives_words_too() {
        let found = Words::of(Some("Jean Dupont"), "jean.dupont-interieur.gouv.fr1");
        assert_eq!(found.line, " jean dupont interieur gouv fr1");
        let all: Vec<_> = found.all.iter().map(String::as_str).collect();
        assert_eq!(all, ["dupont", "fr1", "gouv", "interieur", "jean"]);
    }
}
