//! Who is found by name (tchap.md, 6.1 and 6.2).

use serde_json::json;

use crate::policy::{hides_profile, is_listed};

#[test]
fn rl_01_rl_02_rl_04_ro_13_account_data_hides_agents_and_shows_externals() {
    let cases = [
        (None, false, true),
        (Some(json!({ "hide_profile": true })), true, true),
        (Some(json!({ "hide_profile": false })), false, false),
        (Some(json!({})), false, true),
        (Some(json!({ "hide_profile": null })), false, true),
        (Some(json!({ "hide_profile": "yes" })), true, true),
    ];
    for (content, agent, external) in cases {
        let hides = |is_external| hides_profile(content.as_ref(), is_external);
        assert_eq!(
            (hides(false), hides(true)),
            (agent, external),
            "{content:?}"
        );
    }
}

#[test]
fn rl_01_rl_05_rl_07_rl_09_each_reason_to_hide_is_enough() {
    assert!(is_listed(true, false, false));
    for (is_open, by_choice, by_expiry) in [
        (false, false, false),
        (true, true, false),
        (true, false, true),
        (true, true, true),
    ] {
        assert!(!is_listed(is_open, by_choice, by_expiry));
    }
}
