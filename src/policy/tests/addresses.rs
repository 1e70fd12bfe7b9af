//! LK and CK rows: which server an address belongs to, and whether it may register here.

use std::net::IpAddr;

use ruma::{ServerName, server_name};
use serde_json::{Value, json};

use super::{address, me, tchap};
use crate::policy::{AddressInfo, EmailAddress, Policy};

const RULES: &str = r#"
    [addresses]
    entries = [
        { address = "john.doe@fake.server", server = "e.fake.server" },
        { address = "Boss@Allowed.Server", server = "boss.server" },
    ]
    patterns = [
        { pattern = '.*@allowed.server', server = "a.server" },
        { pattern = '.*@(.*\.|)vip.fake.server', server = "a.server" },
        { pattern = '.*@shadow.fr', server = "p.server", shadow_server = "public.p.server" },
        { pattern = '.*@elysee.fr', server = "elysee.server" },
        { pattern = '.*@(.*\.|)mine.fr' },
        { pattern = '.*', server = "externe.server", requires_invite = true },
    ]
    nonshadow_networks = ["10.0.0.0/8"]
"#;

fn internal(policy: &Policy, text: &str) -> Value {
    let info = policy.address_info(&address(text), None, None, false);
    serde_json::to_value(info.internal()).unwrap()
}

fn hs(policy: &Policy, text: &str) -> String {
    internal(policy, text)["hs"].as_str().unwrap().to_owned()
}

fn public(policy: &Policy, text: &str, caller: &str) -> Value {
    let caller: IpAddr = caller.parse().unwrap();
    let info = policy.address_info(&address(text), Some(caller), None, false);
    serde_json::to_value(info.public()).unwrap()
}

#[test]
fn lk_01_an_exact_entry_goes_first() {
    let expected = json!({"hs": "e.fake.server", "requires_invite": false, "invited": false});
    assert_eq!(internal(&tchap(RULES), "john.doe@fake.server"), expected);
    assert_eq!(hs(&tchap(RULES), "boss@allowed.server"), "boss.server");
}

#[test]
fn lk_02_a_pattern_matches_a_domain() {
    let expected = json!({"hs": "a.server", "requires_invite": false, "invited": false});
    assert_eq!(internal(&tchap(RULES), "x@allowed.server"), expected);
}

#[test]
fn lk_04_r_10_a_pattern_matches_a_domain_and_those_below() {
    let policy = tchap(RULES);
    assert_eq!(hs(&policy, "x@vip.fake.server"), "a.server");
    assert_eq!(hs(&policy, "x@sub.vip.fake.server"), "a.server");
    assert_eq!(hs(&policy, "x@notvip.fake.server"), "externe.server");
}

#[test]
fn lk_05_a_caller_inside_sees_the_server_and_its_public_twin() {
    let expected = json!({"hs": "p.server", "shadow_hs": "public.p.server", "invited": false});
    for inside in ["10.1.2.3", "::ffff:10.1.2.3"] {
        assert_eq!(public(&tchap(RULES), "x@shadow.fr", inside), expected);
    }
    // Servers see both, wherever they are.
    assert_eq!(
        internal(&tchap(RULES), "x@shadow.fr")["shadow_hs"],
        "public.p.server"
    );
}

#[test]
fn lk_06_a_caller_outside_sees_the_public_twin_only() {
    let expected = json!({"hs": "public.p.server", "invited": false});
    for outside in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!(public(&tchap(RULES), "x@shadow.fr", outside), expected);
    }
    let no_twin = public(&tchap(RULES), "x@elysee.fr", "192.0.2.1");
    assert_eq!(no_twin["hs"], "elysee.server");
    let rule_off = RULES.replace(r#""10.0.0.0/8""#, "");
    let info = public(&tchap(&rule_off), "x@shadow.fr", "192.0.2.1");
    assert_eq!(info["shadow_hs"], "public.p.server");
}

#[test]
fn lk_07_r_25_an_address_bound_elsewhere_learns_its_old_and_new_server() {
    let policy = tchap(RULES);
    let bound = |server: &ServerName| {
        let info = policy.address_info(&address("x@allowed.server"), None, Some(server), false);
        (info.hs, info.new_hs)
    };
    let (old, new) = (server_name!("old.server"), server_name!("a.server"));
    assert_eq!(bound(old), (Some(old.to_owned()), Some(new.to_owned())));
    assert_eq!(bound(new), (Some(new.to_owned()), None));
}

#[test]
fn lk_08_a_pending_invitation_shows() {
    let policy = tchap(RULES);
    let info = policy.address_info(&address("x@gmail.com"), None, None, true);
    let expected = json!({"hs": "externe.server", "requires_invite": true, "invited": true});
    assert_eq!(serde_json::to_value(info.internal()).unwrap(), expected);
}

#[test]
fn an_address_is_bound_to_users_of_its_server_or_of_its_twin() {
    let policy = tchap(
        "addresses.patterns = [
            { pattern = '.*@a.fr', server = 'a.server', shadow_server = 'public.a.server' },
        ]",
    );
    let may = |email: &str, server: &ServerName| {
        let decision = policy.may_be_bound(&address(email), server);
        decision.is_allowed()
    };
    assert!(may("x@a.fr", server_name!("a.server")));
    assert!(may("x@a.fr", server_name!("public.a.server")));
    assert!(!may("x@a.fr", server_name!("b.server")));
    assert!(!may("x@b.fr", server_name!("a.server")));
}

#[test]
fn lk_10_no_match_is_an_empty_object() {
    let none = AddressInfo::default();
    assert_eq!(serde_json::to_value(none.public()).unwrap(), json!({}));
    assert_eq!(serde_json::to_value(none.internal()).unwrap(), json!({}));
    let info = tchap("").address_info(&address("x@gmail.com"), None, Some(me()), true);
    assert_eq!(info, none);
}

#[test]
fn lk_11_two_at_signs_never_reach_a_rule() {
    assert!(EmailAddress::parse("a@evil.com@elysee.fr").is_err());
    let policy = tchap(RULES);
    assert_eq!(hs(&policy, "a@elysee.fr"), "elysee.server");
    // Patterns hold for the whole address, and a dot in a domain is a dot.
    assert_eq!(hs(&policy, "a@elysee.fr.evil.com"), "externe.server");
    assert_eq!(hs(&policy, "a@elysee-fr.com"), "externe.server");
    assert_eq!(hs(&policy, "a@vip-fake.server"), "externe.server");
}

#[test]
fn lk_12_capitals_do_not_matter() {
    let policy = tchap(RULES);
    let small = internal(&policy, "x@allowed.server");
    assert_eq!(internal(&policy, "X@Allowed.Server"), small);
    let capitals = RULES.replace("allowed.server'", "ALLOWED.Server'");
    assert_eq!(internal(&tchap(&capitals), "x@allowed.server"), small);
}

#[test]
fn the_first_pattern_wins_and_no_server_means_this_one() {
    let policy = tchap(RULES);
    assert_eq!(hs(&policy, "x@mine.fr"), me().as_str());
    let reversed = r#"
        [addresses]
        patterns = [{ pattern = '.*', server = "first.server" }, { pattern = '.*@mine.fr' }]
    "#;
    assert_eq!(hs(&tchap(reversed), "x@mine.fr"), "first.server");
}

#[test]
fn a_rule_that_asks_for_an_invitation_makes_externals() {
    let policy = tchap(
        r"
        [addresses]
        patterns = [
            { pattern = '.*@agent.fr' },
            { pattern = '.*@partner.fr', external = true },
            { pattern = '.*@guest.fr', requires_invite = true },
        ]
        ",
    );
    let external = |text| policy.is_external_address(&address(text));
    assert!(!external("x@agent.fr"));
    assert!(external("x@partner.fr"));
    assert!(external("x@guest.fr"));
    assert!(external("x@unknown.fr"));
}

/// Asks with an answer of `internal-info`; gives the rule, and the reason of a refusal.
fn check(answer: &Value) -> (&'static str, Option<&'static str>) {
    let info: AddressInfo = serde_json::from_value(answer.clone()).unwrap();
    let decision = tchap("").may_register(&info);
    let rule = decision.rule();
    let violation = decision.into_result().err();
    if let Some(violation) = &violation {
        assert_eq!(violation.kind.status(), 403);
        assert_eq!(violation.kind.errcode(), "M_THREEPID_DENIED");
    }
    (rule, violation.map(|violation| violation.reason))
}

#[test]
fn ck_01_an_address_without_a_server_may_not_register() {
    assert_eq!(check(&json!({})), ("CK-01", Some("address_not_allowed")));
}

#[test]
fn ck_02_an_address_of_this_server_may_register() {
    assert_eq!(check(&json!({"hs": me()})), ("CK-02", None));
}

#[test]
fn ck_03_an_address_that_needs_an_invitation_may_not_register_without() {
    let absent = json!({"hs": me(), "requires_invite": true});
    let denied = json!({"hs": me(), "requires_invite": true, "invited": false});
    assert_eq!(check(&absent), ("CK-03", Some("invitation_missing")));
    assert_eq!(check(&denied), ("CK-03", Some("invitation_missing")));
}

#[test]
fn ck_04_an_address_that_needs_an_invitation_may_register_with_one() {
    let answer = json!({"hs": me(), "requires_invite": true, "invited": true});
    assert_eq!(check(&answer), ("CK-04", None));
}

#[test]
fn ck_05_an_address_of_the_server_behind_this_one_may_not_register() {
    let answer = json!({"hs": "other.server", "shadow_hs": me()});
    assert_eq!(check(&answer), ("CK-05", Some("wrong_server")));
}

#[test]
fn ck_06_an_address_of_another_server_may_not_register() {
    let answer = json!({"hs": "other.server", "invited": true});
    assert_eq!(check(&answer), ("CK-06", Some("wrong_server")));
}
