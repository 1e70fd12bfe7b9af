//! What administrators are told of decisions that nobody has asked for yet.

use super::{open, tchap};
use crate::policy::{Explanation, RegistrationQuestion};

const RULES: &str = r"
[addresses]
entries = [{ address = 'consultant@gouv.fr', requires_invite = true }]
patterns = [
    { pattern = '.*@(.*\.|)gouv.fr' },
    { pattern = '.*@entreprise.example', requires_invite = true },
    { pattern = '.*@ailleurs.example', server = 'agent.ailleurs.tchap.gouv.fr' },
    { pattern = '.*@jumeau.example', server = 'a.example', shadow_server = 'agent.education.tchap.gouv.fr' },
]
";

fn rules(explanation: &Explanation) -> Vec<(&'static str, bool, &'static str)> {
    let decisions = explanation.decisions.iter();
    decisions
        .map(|decision| (decision.question, decision.allowed, decision.rule))
        .collect()
}

fn ask(address: &str) -> RegistrationQuestion<'_> {
    RegistrationQuestion {
        address,
        ..RegistrationQuestion::default()
    }
}

#[test]
fn each_row_of_the_addresses_is_named() {
    let policy = tchap(RULES);
    let cases = [
        (
            "jean@interieur.gouv.fr",
            false,
            true,
            "CK-02",
            Some("policy.addresses.patterns[0]"),
        ),
        (
            "consultant@gouv.fr",
            false,
            false,
            "CK-03",
            Some("policy.addresses.entries"),
        ),
        (
            "consultant@gouv.fr",
            true,
            true,
            "CK-04",
            Some("policy.addresses.entries"),
        ),
        (
            "a@entreprise.example",
            false,
            false,
            "CK-03",
            Some("policy.addresses.patterns[1]"),
        ),
        (
            "a@ailleurs.example",
            false,
            false,
            "CK-06",
            Some("policy.addresses.patterns[2]"),
        ),
        (
            "a@jumeau.example",
            false,
            false,
            "CK-05",
            Some("policy.addresses.patterns[3]"),
        ),
        ("a@inconnu.example", false, false, "CK-01", None),
    ];
    for (address, invited, allowed, rule, matched) in cases {
        let question = RegistrationQuestion {
            invited,
            ..ask(address)
        };
        let explanation = policy.explain_registration(&question);
        assert_eq!(explanation.allowed, allowed, "{address}");
        assert_eq!(explanation.matched.as_deref(), matched, "{address}");
        let found = rules(&explanation);
        assert!(found.contains(&("register", allowed, rule)), "{found:?}");
    }
    let explanation = policy.explain_registration(&ask("a@ailleurs.example"));
    let register = &explanation.decisions[1];
    assert_eq!(
        register.result.as_deref(),
        Some("agent.ailleurs.tchap.gouv.fr")
    );
    assert_eq!(register.errcode, Some("M_THREEPID_DENIED"));
    assert_eq!(register.reason, Some("wrong_server"));
    assert!(
        policy
            .explain_registration(&ask("a@entreprise.example"))
            .external
    );
    let explanation = policy.explain_registration(&ask("a@b@gouv.fr"));
    assert_eq!(rules(&explanation), [("address", false, "REG-07")]);
}

#[test]
fn name_id_and_password_are_explained_too() {
    let policy = tchap(RULES);
    let question = RegistrationQuestion {
        password: Some("short"),
        display_name: Some("Le Chef"),
        user_id: Some("@chef:agent.education.tchap.gouv.fr"),
        ..ask("Jean.Dupont@interieur.gouv.fr")
    };
    let explanation = policy.explain_registration(&question);
    assert!(!explanation.allowed);
    assert_eq!(
        rules(&explanation),
        [
            ("address", true, "R-01"),
            ("register", true, "CK-02"),
            ("user_id", true, "REG-15"),
            ("display_name", false, "2.5"),
            ("password", false, "PW-01"),
        ]
    );
    let results: Vec<_> = explanation
        .decisions
        .iter()
        .map(|decision| decision.result.as_deref())
        .collect();
    assert_eq!(
        results,
        [
            Some("jean.dupont@interieur.gouv.fr"),
            Some("agent.education.tchap.gouv.fr"),
            Some("@jean.dupont-interieur.gouv.fr:agent.education.tchap.gouv.fr"),
            Some("Jean Dupont [Interieur]"),
            None,
        ]
    );
    let explanation = policy.explain_registration(&RegistrationQuestion {
        password: Some("Assez-long-42!"),
        ..ask("jean.dupont@interieur.gouv.fr")
    });
    assert!(explanation.allowed);
    let underscore = policy.explain_registration(&ask("_@gouv.fr"));
    assert!(rules(&underscore).contains(&("user_id", false, "UID-18")));
}

#[test]
fn the_profile_open_allows_all_but_malformed_ids() {
    let policy = open("");
    let question = RegistrationQuestion {
        user_id: Some("bob"),
        password: Some("x"),
        ..ask("bob@example.org")
    };
    let explanation = policy.explain_registration(&question);
    assert!(explanation.allowed, "{explanation:?}");
    assert_eq!(explanation.profile, "open");
    let question = RegistrationQuestion {
        user_id: Some("Bob!"),
        ..question
    };
    assert!(!policy.explain_registration(&question).allowed);
}
