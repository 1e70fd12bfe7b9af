//! Push rules about subscriptions to threads (MSC4306).

use ruma::{RoomId, push::Ruleset};

use super::*;
use crate::event::push::{
    Class, Counting, Defaults, Reader, Rules, Subject, merged, predefined, usual,
};

/// Rules as a server keeps them for a user who has said this.
fn rules(own: Value) -> Rules {
    let own: Ruleset = serde_json::from_value(own).unwrap();
    Rules::new(&merged(own, usual(&user("bob"))))
}

fn shown(thread_subscriptions: bool) -> Ruleset {
    let defaults = Defaults {
        thread_subscriptions,
        ..Defaults::default()
    };
    predefined(&user("bob"), defaults)
}

fn said(event_type: &str, mut content: Value) -> Pdu {
    content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": "$root" });
    let json = json!({
        "type": event_type, "content": content, "sender": alice(), "origin_server_ts": 1,
        "depth": 3, "prev_events": [], "auth_events": [], "room_id": "!room:agent.tchap.example",
    });
    let event_id = EventId::parse("$event").unwrap();
    let room_id = RoomId::parse("!room:agent.tchap.example").unwrap();
    Pdu::from_stored(event_id, room_id, json.to_string()).unwrap()
}

fn muted() -> Value {
    json!({ "room": [{
        "rule_id": "!room:agent.tchap.example", "default": false, "enabled": true, "actions": [],
    }]})
}

fn switched(rule: &str, enabled: bool) -> Value {
    json!({
        "rule_id": format!(".io.element.msc4306.rule.{rule}"), "default": true,
        "enabled": enabled, "actions": if rule == "subscribed_thread" { json!(["notify"]) } else { json!([]) },
        "conditions": [],
    })
}

#[test]
fn a_message_in_a_thread_notifies_whoever_has_subscribed_and_whom_it_mentions() {
    let room = Builder::public("11").room;
    let plain = json!({ "msgtype": "m.text", "body": "some cake" });
    let mention = json!({
        "msgtype": "m.text", "body": "x", "m.mentions": { "user_ids": [user("bob")] },
    });
    let notice = json!({ "msgtype": "m.notice", "body": "x" });
    let word = json!({ "content": [{
        "rule_id": "cake", "default": false, "enabled": true, "pattern": "cake",
        "actions": ["notify"],
    }]});
    let off = |rule: &str| json!({ "postcontent": [switched(rule, false)] });
    let nothing = || json!({});
    // Who has subscribed: `None` is no thread, or a server where that says nothing.
    let cases = [
        (nothing(), &plain, Some(true), true),
        (nothing(), &plain, Some(false), false),
        (nothing(), &plain, None, true),
        (nothing(), &mention, Some(false), true),
        (nothing(), &notice, Some(true), false),
        (muted(), &plain, Some(true), true),
        (muted(), &plain, Some(false), false),
        (muted(), &plain, None, false),
        (word, &plain, Some(false), true),
        (off("unsubscribed_thread"), &plain, Some(false), true),
        (off("subscribed_thread"), &plain, Some(true), true),
        (off("subscribed_thread"), &plain, Some(false), false),
    ];
    for (own, content, subscribed, expected) in cases {
        let pdu = said("m.room.message", content.clone());
        let subject = Subject::new(&pdu, room.power_levels(), 5);
        let reader = Reader {
            subscribed,
            ..Reader::default()
        };
        let rules = rules(own.clone());
        let outcome = rules.ask(&subject, &reader);
        assert_eq!(outcome.notifies, expected, "{own} {content} {subscribed:?}");
    }
    let sticker = said("m.sticker", json!({ "body": "x" }));
    let subject = Subject::new(&sticker, room.power_levels(), 5);
    let reader = Reader {
        subscribed: Some(true),
        ..Reader::default()
    };
    let rules = rules(nothing());
    let actions = serde_json::to_value(rules.ask(&subject, &reader).actions).unwrap();
    let loud = json!(["notify", { "set_tweak": "sound", "value": "default" }]);
    assert_eq!(actions, loud);
}

#[test]
fn threads_are_counted_by_subscription_unless_somebody_has_other_rules() {
    let room_id = RoomId::parse("!room:agent.tchap.example").unwrap();
    let with = |mut own: Value, rule: &str| {
        own["postcontent"] = json!([switched(rule, false)]);
        own
    };
    let both_off = json!({ "postcontent": [
        switched("unsubscribed_thread", false), switched("subscribed_thread", false),
    ]});
    let silent = json!({ "override": [{
        "rule_id": "r", "default": false, "enabled": true, "actions": [],
        "conditions": [{ "kind": "event_match", "key": "room_id", "pattern": "!room:*" }],
    }]});
    let own_rule = json!({ "override": [{
        "rule_id": "r", "default": false, "enabled": true, "actions": ["notify"],
        "conditions": [{ "kind": "io.element.msc4306.thread_subscription", "subscribed": true }],
    }]});
    let cases = [
        (json!({}), Class::Predefined, true),
        (muted(), Class::Mentions, true),
        (silent, Class::Silent, false),
        (both_off, Class::Predefined, false),
        (with(json!({}), "unsubscribed_thread"), Class::Own, true),
        (with(muted(), "subscribed_thread"), Class::Own, true),
        (own_rule, Class::Own, true),
    ];
    for (own, class, by_subscription) in cases {
        let rules = rules(own.clone());
        let bob = user("bob");
        let found = rules.counting(&bob, &room_id, 5, true);
        let expected = Counting {
            class,
            by_subscription,
        };
        assert_eq!(found, expected, "{own}");
        // Where subscriptions say nothing, these rules do not either.
        let elsewhere = rules.counting(&bob, &room_id, 5, false);
        assert!(!elsewhere.by_subscription, "{own}");
        assert_ne!(elsewhere.class, Class::Own, "{own}");
    }
}

#[test]
fn the_rules_are_shown_where_they_say_something() {
    let ids = |rules: &Ruleset| -> Vec<String> {
        let rules = rules.postcontent.iter();
        rules.map(|rule| rule.rule_id.clone()).collect()
    };
    assert_eq!(ids(&shown(false)), [""; 0]);
    let both = [
        ".io.element.msc4306.rule.unsubscribed_thread",
        ".io.element.msc4306.rule.subscribed_thread",
    ];
    assert_eq!(ids(&shown(true)), both);
    // What a user says of them is kept, and nothing else of their kind.
    let stored = json!({ "postcontent": [
        switched("subscribed_thread", false),
        { "rule_id": "own", "default": false, "enabled": true, "actions": [], "conditions": [] },
    ]});
    let stored: Ruleset = serde_json::from_value(stored).unwrap();
    let now = merged(stored.clone(), shown(true));
    assert_eq!(ids(&now), both);
    let enabled: Vec<_> = now.postcontent.iter().map(|rule| rule.enabled).collect();
    assert_eq!(enabled, [true, false]);
    assert_eq!(ids(&merged(stored, shown(false))), [""; 0]);
    let json = serde_json::to_value(shown(false)).unwrap();
    assert!(json.get("postcontent").is_none());
}
