//! What holds for every input.

use proptest::prelude::*;
use ruma::UserId;

use super::{me, tchap};
use crate::{
    config::policy::{CompiledPattern, pattern_source},
    policy::{EmailAddress, localpart_for_address, next_localpart, patterns::Patterns},
};

/// Texts that are nearly addresses, made of the characters that matter.
fn near_address() -> impl Strategy<Value = String> {
    let characters: Vec<char> = "abzAZ09..--@@_+'\"<>(),;:\\%! \n\0éÉœßİıK\u{301}\u{307}а＠ſǅ"
        .chars()
        .collect();
    let part = |range| {
        prop::collection::vec(prop::sample::select(characters.clone()), range)
            .prop_map(|letters| letters.into_iter().collect::<String>())
    };
    (part(0..12), part(0..4), "[a-zA-Z0-9.-]{0,12}")
        .prop_map(|(local, odd, domain)| format!("{local}@{domain}{odd}.fr"))
}

/// Texts that are mostly addresses, so that what is accepted is tried too.
fn likely_address() -> impl Strategy<Value = String> {
    let letters = [
        "a", "Z", "9", "x", "_", "-", ".", "+", "'", "é", "É", "e\u{301}", "Œ", "ẞ", "\u{212a}",
        "H\u{331}", "ế", "Ț", "\u{212b}",
    ];
    let local = prop::collection::vec(prop::sample::select(letters.to_vec()), 1..20);
    let label = "[A-Za-z0-9]([A-Za-z0-9-]{0,6}[A-Za-z0-9])?";
    let domain = prop::collection::vec(label, 2..5);
    (local, domain, " {0,2}").prop_map(|(local, domain, space)| {
        format!("{space}{}@{}", local.concat(), domain.join("."))
    })
}

fn any_address() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => any::<String>(),
        2 => near_address(),
        1 => r"\PC{1,20}@[a-z]{1,8}\.fr",
        4 => likely_address(),
    ]
}

/// Patterns of domains that collide, in several spellings.
fn patterns() -> impl Strategy<Value = Vec<String>> {
    let starts = [
        ".*@",
        r".*@(.*\.|)",
        r".*@(|.*\.)",
        r".*@(.*\.)?",
        "a.*@",
        ".*",
    ];
    let ends = [
        "b.fr",
        r"c\.b\.fr",
        "C.B.fr",
        "c-b.fr",
        "fr",
        "",
        "(b|c).fr",
    ];
    let pattern = (
        prop::sample::select(starts.to_vec()),
        prop::sample::select(ends.to_vec()),
    )
        .prop_map(|(start, end)| format!("{start}{end}"));
    prop::collection::vec(pattern, 0..8)
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let Ok(address) = EmailAddress::parse(text) else {
        return Ok(());
    };
    let canonical = address.as_str();
    prop_assert_eq!(canonical.matches('@').count(), 1);
    prop_assert_eq!(
        canonical,
        format!("{}@{}", address.local(), address.domain())
    );
    prop_assert!(canonical.len() <= 254);
    prop_assert!(!canonical.contains(|c: char| c.is_whitespace() || c.is_control()));
    prop_assert_eq!(EmailAddress::parse(canonical), Ok(address.clone()));
    prop_assert_eq!(
        EmailAddress::parse(&format!(" {canonical} ")),
        Ok(address.clone())
    );
    if let Ok(localpart) = localpart_for_address(&address, me()) {
        let user_id = format!("@{localpart}:{}", me());
        let user_id = UserId::parse(user_id);
        prop_assert!(user_id.is_ok_and(|id| id.validate_strict().is_ok()));
        prop_assert!(!next_localpart(&localpart).is_empty());
    }
    let name = tchap("").display_name_for_address(&address);
    prop_assert_eq!(name.matches('[').count(), 1);
    prop_assert!(name.ends_with(']'));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_accepted_address_is_canonical(text in any_address()) {
        check(&text)?;
    }

    #[test]
    fn the_next_localpart_counts(stem in "[a-z]{1,5}", number in 1_u64..u64::MAX) {
        prop_assert_eq!(next_localpart(&format!("{stem}{number}")), format!("{stem}{}", number + 1));
    }

    #[test]
    fn a_pattern_is_anchored(pattern in r"[a-c.*+?|()@\\\[\]]{1,10}", text in "[a-c@.]{0,10}") {
        // The anchored pattern is never wider than the plain one.
        if let (Ok(plain), Ok(anchored)) =
            (regex::Regex::new(&pattern), regex::Regex::new(&pattern_source(&pattern)))
            && anchored.is_match(&text)
        {
            prop_assert!(plain.is_match(&text));
        }
    }

    #[test]
    fn the_first_pattern_that_matches_is_found(
        list in patterns(),
        local in "[ax]{1,2}",
        domain in r"((a|c)\.)?(c\.|c-)?b\.fr",
    ) {
        let address = super::address(&format!("{local}@{domain}"));
        let expected = list.iter().position(|pattern| {
            let source = format!("(?i){}", pattern_source(pattern));
            regex::Regex::new(&source).unwrap().is_match(address.as_str())
        });
        let mut compiled = Patterns::default();
        for (at, pattern) in list.iter().enumerate() {
            compiled.push(at, CompiledPattern::compile(pattern).unwrap());
        }
        prop_assert_eq!(compiled.first(&address), expected);
    }
}
