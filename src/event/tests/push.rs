//! Push rules: conditions, the predefined rules, and how rooms are counted.

use proptest::prelude::*;
use ruma::{
    RoomId,
    push::{PushCondition, Ruleset},
};

use super::*;
use crate::event::push::{
    Broadcast, Class, Counting, Defaults, Reader, Rules, Subject, merged, notifies_subscribers,
    predefined,
};

/// An event with this content in a room with Alice.
fn event(event_type: &str, state_key: Option<&str>, content: &Value) -> Pdu {
    let mut json = json!({
        "type": event_type,
        "content": content,
        "sender": alice(),
        "origin_server_ts": 1,
        "depth": 3,
        "prev_events": [],
        "auth_events": [],
        "room_id": "!room:agent.tchap.example",
    });
    if let Some(key) = state_key {
        json["state_key"] = json!(key);
    }
    let event_id = EventId::parse("$event").unwrap();
    let room_id = RoomId::parse("!room:agent.tchap.example").unwrap();
    Pdu::from_stored(event_id, room_id, json.to_string()).unwrap()
}

fn message(body: &str) -> Pdu {
    let content = json!({ "msgtype": "m.text", "body": body });
    event("m.room.message", None, &content)
}

fn noisy_rules(noisy: bool) -> Defaults {
    Defaults {
        noisy,
        ..Defaults::default()
    }
}

fn rules(user: &UserId, own: Value) -> Rules {
    let own: Ruleset = serde_json::from_value(own).unwrap();
    Rules::new(&merged(own, predefined(user, Defaults::default())))
}

/// Whether an override rule with this condition notifies of an event.
fn holds(condition: &Value, pdu: &Pdu, members: usize) -> bool {
    serde_json::from_value::<PushCondition>(condition.clone()).unwrap();
    let own: Ruleset = serde_json::from_value(json!({ "override": [{
        "rule_id": "r", "default": false, "enabled": true,
        "conditions": [condition], "actions": ["notify", { "set_tweak": "highlight" }],
    }]}))
    .unwrap();
    let rules = Rules::new(&own);
    let room = Builder::public("11").room;
    let subject = Subject::new(pdu, room.power_levels(), members);
    let reader = Reader {
        display_name: Some("Bob Martin"),
        ..Reader::default()
    };
    rules.ask(&subject, &reader).highlights
}

#[test]
fn conditions_hold_as_the_specification_says() {
    let topic = event("m.room.topic", Some(""), &json!({ "topic": "Lunch plans" }));
    let cases = [
        (
            json!({"kind": "event_match", "key": "content.topic", "pattern": "lunc?*"}),
            true,
        ),
        (
            json!({"kind": "event_match", "key": "content.topic", "pattern": "LUNCH PLANS"}),
            true,
        ),
        (
            json!({"kind": "event_match", "key": "content.topic", "pattern": "lunch"}),
            false,
        ),
        (
            json!({"kind": "event_match", "key": "content.none", "pattern": "*"}),
            false,
        ),
        (
            json!({"kind": "event_match", "key": "content", "pattern": "*"}),
            false,
        ),
        (
            json!({"kind": "event_match", "key": "type", "pattern": "m.room.*"}),
            true,
        ),
        (
            json!({"kind": "event_match", "key": "state_key", "pattern": ""}),
            true,
        ),
        (
            json!({"kind": "event_match", "key": "room_id", "pattern": "!room:*"}),
            true,
        ),
        (
            json!({"kind": "event_match", "key": "sender", "pattern": "@alice:*"}),
            true,
        ),
        (
            json!({"kind": "event_match", "key": "depth", "pattern": "*"}),
            false,
        ),
        (
            json!({"kind": "event_property_is", "key": "depth", "value": 3}),
            true,
        ),
        (
            json!({"kind": "event_property_is", "key": "depth", "value": "3"}),
            false,
        ),
        (
            json!({"kind": "event_property_is", "key": "type", "value": "m.room.topic"}),
            true,
        ),
        (
            json!({"kind": "event_property_is", "key": "type", "value": "M.room.topic"}),
            false,
        ),
        (
            json!({"kind": "event_property_contains", "key": "content.topic", "value": "L"}),
            false,
        ),
        (json!({"kind": "room_member_count", "is": "2"}), true),
        (json!({"kind": "room_member_count", "is": ">2"}), false),
        (json!({"kind": "room_member_count", "is": "<=2"}), true),
        (
            json!({"kind": "sender_notification_permission", "key": "room"}),
            true,
        ),
        (json!({"kind": "contains_display_name"}), false),
        (json!({"kind": "org.example.unknown"}), false),
    ];
    for (condition, expected) in cases {
        assert_eq!(holds(&condition, &topic, 2), expected, "{condition}");
    }
}

#[test]
fn values_are_compared_without_casts() {
    let pdu = event(
        "m.room.create",
        Some(""),
        &json!({
            "m.federate": true, "list": ["a", 1, null, { "a": 1 }], "null": null, "big": 9_007_199_254_740_992_i64,
        }),
    );
    let cases = [
        (r"content.m\.federate", json!(true), "is", true),
        (r"content.m\.federate", json!("true"), "is", false),
        (r"content.m\.federate", json!(1), "is", false),
        ("content.null", json!(null), "is", true),
        ("content.none", json!(null), "is", false),
        ("content.list", json!("a"), "contains", true),
        ("content.list", json!(1), "contains", true),
        ("content.list", json!(null), "contains", true),
        ("content.list", json!("b"), "contains", false),
        ("content.list.0", json!("a"), "is", false),
    ];
    for (key, value, kind, expected) in cases {
        let condition =
            json!({ "kind": format!("event_property_{kind}"), "key": key, "value": value });
        assert_eq!(holds(&condition, &pdu, 5), expected, "{condition}");
    }
}

#[test]
fn bodies_are_matched_by_words() {
    let cases = [
        ("ex*ple", "An example event.", true),
        ("ex*ple", "exple", true),
        ("ex*ple", "An exciting triple-whammy", true),
        ("cake", "pancakes", false),
        ("cake", "CAKE!", true),
        ("cake", "a_cake", false),
        ("cake", "a-cake", true),
        ("c?ke", "coke", true),
        ("c?ke", "cke", false),
        ("été", "un ÉTÉ chaud", true),
        ("@bob", "hi@bob", true),
        ("*", "", true),
        ("*", "x", true),
        ("a*", "ba", false),
        ("", "x", false),
        ("tea time", "it's tea time", true),
    ];
    for (pattern, body, expected) in cases {
        let condition = json!({ "kind": "event_match", "key": "content.body", "pattern": pattern });
        assert_eq!(
            holds(&condition, &message(body), 5),
            expected,
            "{pattern} {body}"
        );
    }
    let name = json!({ "kind": "contains_display_name" });
    assert!(holds(&name, &message("well, bob martin?"), 5));
    assert!(!holds(&name, &message("bob martinez"), 5));
}

#[test]
fn a_pattern_takes_no_longer_than_it_should() {
    let condition = json!({
        "kind": "event_match", "key": "content.body", "pattern": "*a*a*a*a*a*a*a*a*a*a*b",
    });
    assert!(!holds(&condition, &message(&"a ".repeat(15_000)), 5));
}

#[test]
fn own_rules_come_before_those_that_are_predefined() {
    let bob = user("bob");
    let room = Builder::public("11").room;
    let ask = |own: Value, pdu: &Pdu| {
        let rules = rules(&bob, own);
        let subject = Subject::new(pdu, room.power_levels(), 5);
        let outcome = rules.ask(&subject, &Reader::default());
        (outcome.notifies, outcome.highlights)
    };
    let said = message("tea time");
    assert_eq!(ask(json!({}), &said), (true, false));
    let content = |id: &str, actions: Value| json!({ "rule_id": id, "default": false, "enabled": true, "pattern": id, "actions": actions });
    let words = json!({ "content": [
        content("time", json!(["notify", { "set_tweak": "highlight" }])),
        content("tea", json!(["dont_notify"])),
    ]});
    assert_eq!(ask(words, &said), (true, true));
    let silent = json!({ "sender": [{
        "rule_id": alice(), "default": false, "enabled": true, "actions": [],
    }]});
    assert_eq!(ask(silent.clone(), &said), (false, false));
    let mut off = silent;
    off["sender"][0]["enabled"] = json!(false);
    assert_eq!(ask(off, &said), (true, false));
    // The master switch is above all.
    let master = json!({
        "override": [
            { "rule_id": ".m.rule.master", "default": true, "enabled": true, "actions": [] },
            { "rule_id": "r", "default": false, "enabled": true, "conditions": [], "actions": ["notify"] },
        ],
    });
    assert_eq!(ask(master, &said), (false, false));
}

#[test]
fn a_room_is_counted_as_its_rules_allow() {
    let bob = user("bob");
    let room_id = RoomId::parse("!room:agent.tchap.example").unwrap();
    let room = |id: &str, actions: Value| json!({ "room": [{ "rule_id": id, "default": false, "enabled": true, "actions": actions }] });
    let muted = |id: &str| {
        json!({ "override": [{
            "rule_id": id, "default": false, "enabled": true, "actions": [],
            "conditions": [{ "kind": "event_match", "key": "room_id", "pattern": id }],
        }]})
    };
    let own = room_id.as_str();
    let loud = json!(["notify", { "set_tweak": "sound", "value": "default" }]);
    let cases = [
        (json!({}), Class::Predefined),
        (room("!other:example.org", json!([])), Class::Predefined),
        (muted("!other:example.org"), Class::Predefined),
        (room(own, json!([])), Class::Mentions),
        (room(own, json!(["dont_notify"])), Class::Mentions),
        (muted(own), Class::Silent),
        (room(own, loud), Class::Own),
        (
            json!({ "content": [{
                "rule_id": "w", "default": false, "enabled": true, "pattern": "w", "actions": ["notify"],
            }]}),
            Class::Own,
        ),
        (
            json!({ "underride": [{
                "rule_id": ".m.rule.message", "default": true, "enabled": true, "conditions": [],
                "actions": ["notify", { "set_tweak": "sound", "value": "default" }],
            }]}),
            Class::Predefined,
        ),
        (
            json!({ "override": [{
                "rule_id": ".m.rule.master", "default": true, "enabled": true, "actions": [],
            }]}),
            Class::Silent,
        ),
    ];
    for (own, expected) in cases {
        for members in [2, 5] {
            let rules = rules(&bob, own.clone());
            let counting = rules.counting(&bob, &room_id, members, false);
            let expected = Counting {
                class: expected,
                by_subscription: false,
            };
            assert_eq!(counting, expected, "{own} {members}");
        }
    }
}

#[test]
fn noisy_rules_make_a_sound_and_count_the_same() {
    let bob = user("bob");
    let room = Builder::public("11").room;
    let noisy = Rules::new(&predefined(&bob, noisy_rules(true)));
    let said = message("hello");
    let subject = Subject::new(&said, room.power_levels(), 5);
    let outcome = noisy.ask(&subject, &Reader::default());
    let actions = serde_json::to_value(outcome.actions).unwrap();
    let expected = json!(["notify", { "set_tweak": "sound", "value": "default" }]);
    assert_eq!(actions, expected);
    let counting = noisy.counting(&bob, room.room_id(), 5, false);
    assert_eq!(counting, Counting::predefined(false));
}

/// The ids of a kind's rules.
fn listed(kind: &Value) -> Vec<&str> {
    let rules = kind.as_array().unwrap().iter();
    rules.filter_map(|rule| rule["rule_id"].as_str()).collect()
}

#[test]
fn the_rules_of_polls_stand_where_their_proposal_has_them() {
    let rules = serde_json::to_value(predefined(&user("bob"), Defaults::default())).unwrap();
    let poll = |name: &str| format!(".org.matrix.msc3930.rule.poll_{name}");
    let override_ = listed(&rules["override"]);
    assert_eq!(override_.last(), Some(&&*poll("response")));
    let underride = listed(&rules["underride"]);
    let last = underride
        .iter()
        .skip_while(|id| **id != ".m.rule.encrypted");
    let last: Vec<_> = last.skip(1).copied().map(str::to_owned).collect();
    let order = ["start_one_to_one", "start", "end_one_to_one", "end"];
    assert_eq!(last, order.map(poll));
    let sound = json!(["notify", { "set_tweak": "sound", "value": "default" }]);
    let cases = [
        ("override", "response", "response", false, json!([])),
        (
            "underride",
            "start_one_to_one",
            "start",
            true,
            sound.clone(),
        ),
        ("underride", "start", "start", false, json!(["notify"])),
        ("underride", "end_one_to_one", "end", true, sound),
        ("underride", "end", "end", false, json!(["notify"])),
    ];
    for (kind, name, of_type, of_two, actions) in cases {
        let mut conditions = vec![json!({
            "kind": "event_match", "key": "type", "pattern": format!("org.matrix.msc3381.poll.{of_type}"),
        })];
        if of_two {
            conditions.insert(0, json!({ "kind": "room_member_count", "is": "2" }));
        }
        let mut of_kind = rules[kind].as_array().unwrap().iter();
        let found = of_kind.find(|rule| rule["rule_id"] == *poll(name));
        let expected = json!({
            "rule_id": poll(name), "default": true, "enabled": true,
            "conditions": conditions, "actions": actions,
        });
        assert_eq!(found, Some(&expected));
    }
}

#[test]
fn polls_notify_as_messages_do_and_their_answers_do_not() {
    let bob = user("bob");
    let room = Builder::public("11").room;
    let cases = [
        (
            "start",
            2,
            false,
            json!(["notify", { "set_tweak": "sound", "value": "default" }]),
        ),
        ("start", 3, false, json!(["notify"])),
        (
            "start",
            3,
            true,
            json!(["notify", { "set_tweak": "sound", "value": "default" }]),
        ),
        (
            "end",
            2,
            false,
            json!(["notify", { "set_tweak": "sound", "value": "default" }]),
        ),
        ("end", 3, false, json!(["notify"])),
        (
            "end",
            3,
            true,
            json!(["notify", { "set_tweak": "sound", "value": "default" }]),
        ),
        ("response", 2, false, json!([])),
        ("response", 3, true, json!([])),
        ("other", 2, true, json!([])),
    ];
    for (of_type, members, noisy, expected) in cases {
        let pdu = event(
            &format!("org.matrix.msc3381.poll.{of_type}"),
            None,
            &json!({}),
        );
        let rules = Rules::new(&predefined(&bob, noisy_rules(noisy)));
        let subject = Subject::new(&pdu, room.power_levels(), members);
        let outcome = rules.ask(&subject, &Reader::default());
        let actions = serde_json::to_value(outcome.actions).unwrap();
        assert_eq!(actions, expected, "{of_type} {members} {noisy}");
    }
    // An answer stays silent where somebody has asked for everything else in the room.
    let everything = json!({ "room": [{
        "rule_id": "!room:agent.tchap.example", "default": false, "enabled": true, "actions": ["notify"],
    }]});
    let answer = event("org.matrix.msc3381.poll.response", None, &json!({}));
    let subject = Subject::new(&answer, room.power_levels(), 5);
    let everything = rules(&bob, everything);
    assert!(!everything.ask(&subject, &Reader::default()).notifies);
}

#[test]
fn whoever_has_stored_rules_gets_those_of_polls_and_is_counted_as_everybody() {
    let bob = user("bob");
    let room_id = RoomId::parse("!room:agent.tchap.example").unwrap();
    let poll = ".org.matrix.msc3930.rule.poll_start";
    // As it was stored when the condition had other words.
    let rule = |enabled: bool| {
        json!({ "underride": [{
            "rule_id": poll, "default": true, "enabled": enabled, "actions": ["notify"],
            "conditions": [{
                "kind": "event_property_is", "key": "type", "value": "org.matrix.msc3381.poll.start",
            }],
        }]})
    };
    let class = |own: Value| rules(&bob, own).counting(&bob, &room_id, 5, false).class;
    assert_eq!(class(rule(true)), Class::Predefined);
    assert_eq!(class(rule(false)), Class::Own);
    let before: Ruleset = serde_json::from_value(json!({ "override": [] })).unwrap();
    let now = serde_json::to_value(merged(before, predefined(&bob, Defaults::default()))).unwrap();
    assert!(listed(&now["underride"]).contains(&poll));
}

proptest! {
    /// What is worked out once for everybody is what the rules of each say.
    #[test]
    fn everybody_is_told_what_the_predefined_rules_say(
        event_type in prop::sample::select(vec![
            "m.room.message", "m.room.encrypted", "m.call.invite", "m.reaction", "m.room.tombstone",
            "m.room.server_acl", "m.room.topic", "org.matrix.msc3381.poll.start",
            "org.matrix.msc3381.poll.response", "org.matrix.msc3381.poll.end", "org.example.x",
            "m.sticker",
        ]),
        state_key in prop::sample::select(vec![None, Some(""), Some("x")]),
        msgtype in prop::sample::select(vec![json!("m.text"), json!("m.notice"), json!("M.Notice"), json!(1)]),
        rel_type in prop::sample::select(vec![json!("m.replace"), json!("m.thread"), json!(null)]),
        mentions in prop::sample::select(vec![
            json!(null), json!({}), json!({ "room": true }), json!({ "room": "true" }),
            json!({ "user_ids": ["@bob:agent.tchap.example"] }),
            json!({ "user_ids": ["@carl:agent.tchap.example", 1], "room": false }), json!([]),
        ]),
        members in 1_usize..4,
    ) {
        let content = json!({
            "msgtype": msgtype, "body": "x", "m.mentions": mentions,
            "m.relates_to": { "rel_type": rel_type, "event_id": "$a" },
        });
        let pdu = event(event_type, state_key, &content);
        let room = Builder::public("11").room;
        let broadcast = Broadcast::new(&pdu, room.power_levels());
        for name in ["bob", "dora"] {
            let reader = user(name);
            let rules = Rules::predefined(&reader);
            let subject = Subject::new(&pdu, room.power_levels(), members);
            let outcome = rules.ask(&subject, &Reader::default());
            let is_mentioned = broadcast.mentioned.contains(&reader);
            prop_assert_eq!(outcome.notifies, broadcast.notifies || is_mentioned);
            prop_assert_eq!(outcome.highlights, broadcast.highlights || is_mentioned);
            // In a thread, it depends on who has subscribed to it.
            for subscribed in [false, true] {
                let reader = Reader { subscribed: Some(subscribed), ..Reader::default() };
                let in_thread = rules.ask(&subject, &reader);
                let counts = broadcast.notifies || notifies_subscribers(&pdu);
                let expected = outcome.highlights || (subscribed && counts);
                prop_assert_eq!(in_thread.notifies, expected);
                prop_assert_eq!(in_thread.highlights, outcome.highlights);
            }
        }
    }
}
