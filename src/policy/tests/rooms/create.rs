//! New rooms (tchap.md, 4.4).

use ruma::OwnedUserId;
use serde_json::{Value, json};

use super::{
    ACCESS, ALICE, BOB, BOT, CAROL, EVE, EXTERNALS, LEVELS, ROOT, content, people, policy,
    policy_with, user,
};
use crate::{
    event::Draft,
    policy::{
        Policy, Violation,
        rooms::{Preset, RoomRequest, Visibility},
    },
};

const ENCRYPTION: &str = "m.room.encryption";
const HISTORY: &str = "m.room.history_visibility";
const JOIN_RULES: &str = "m.room.join_rules";
const RETENTION: &str = "m.room.retention";

/// A `createRoom` as its body says, by somebody.
fn create_by(
    policy: &Policy,
    creator: &str,
    body: &Value,
) -> Result<Vec<(String, Value)>, Violation> {
    let initial: Vec<Draft> = body["initial_state"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|event| {
            let kind = event["type"].as_str().unwrap();
            Draft::state(kind.into(), "", content(event["content"].clone()))
        })
        .collect();
    let ids = |value: &Value| -> Vec<OwnedUserId> {
        let ids = value.as_array().into_iter().flatten();
        ids.map(|id| id.as_str().unwrap().try_into().unwrap())
            .collect()
    };
    let invite = ids(&body["invite"]);
    let creators = ids(&body["creators"]);
    let levels = body["power_level_content_override"].as_object();
    let levels = levels.map(|levels| content(Value::Object(levels.clone())));
    let request = RoomRequest {
        creator: user(creator),
        preset: body["preset"].as_str().map(|preset| match preset {
            "private_chat" => Preset::PrivateChat,
            "trusted_private_chat" => Preset::TrustedPrivateChat,
            "public_chat" => Preset::PublicChat,
            other => panic!("{other}"),
        }),
        visibility: body["visibility"].as_str().and_then(Visibility::parse),
        is_direct: body["is_direct"].as_bool().unwrap_or(false),
        room_type: body["type"].as_str(),
        has_text: body.get("name").is_some(),
        invite: &invite,
        invited_addresses: body["invite_3pid"].as_array().map_or(0, Vec::len),
        initial_state: &initial,
        power_levels: levels.as_ref(),
        creators: &creators,
        has_infinite_creators: body["room_version"] == "12",
    };
    let people = people(policy, request.users());
    let creation = policy.rooms().may_create(&request, &people)?;
    let state = creation.state.into_iter();
    Ok(state
        .map(|draft| {
            let value = serde_json::to_value(&draft.content).unwrap();
            (draft.event_type.to_string(), value)
        })
        .collect())
}

/// What an agent's room gets of one type; `Null`: nothing.
#[track_caller]
fn gets(body: &Value, kind: &str) -> Value {
    let state = create_by(&policy(), ALICE, body).unwrap();
    let found = state.into_iter().find(|(known, _)| known == kind);
    found.map_or(Value::Null, |(_, content)| content)
}

#[track_caller]
fn refuses(body: &Value, status: u16, rule: &str) -> Violation {
    let violation = create_by(&policy(), ALICE, body).unwrap_err();
    assert_eq!(
        (violation.kind.status(), violation.rule),
        (status, rule),
        "{body}"
    );
    violation
}

#[track_caller]
fn passes(body: &Value) {
    create_by(&policy(), ALICE, body).unwrap();
}

fn access(content: Value) -> Value {
    json!({ "type": ACCESS, "content": content })
}

fn with(key: &str, value: Value, body: Value) -> Value {
    let mut body = body;
    body[key] = value;
    body
}

/// A body with this initial state.
fn initial(events: Value, body: Value) -> Value {
    with("initial_state", events, body)
}

fn join_rule(rule: &str) -> Value {
    json!({ "type": JOIN_RULES, "content": { "join_rule": rule } })
}

fn private() -> Value {
    json!({ "preset": "private_chat" })
}

#[test]
fn cr_01_who_is_exempt_gets_what_they_ask_for() {
    for creator in [ROOT, BOT] {
        let odd = initial(json!([access(json!({ "rule": "odd" }))]), json!({}));
        assert_eq!(create_by(&policy(), creator, &odd), Ok(Vec::new()));
    }
}

#[test]
fn cr_02_ro_02_ro_03_an_external_makes_no_room() {
    for external in EXTERNALS {
        for body in [
            json!({}),
            json!({ "visibility": "public" }),
            json!({ "type": "m.space" }),
            json!({ "is_direct": true, "preset": "trusted_private_chat", "invite": [ALICE] }),
        ] {
            let violation = create_by(&policy(), external, &body).unwrap_err();
            assert_eq!((violation.rule, violation.kind.status()), ("CR-02", 403));
            assert_eq!(violation.reason, "external_user");
            passes(&body);
        }
    }
}

#[test]
fn cr_03_a_room_without_access_rules_is_restricted() {
    let private = json!({ "rule": "restricted", "visibility": "private" });
    assert_eq!(gets(&json!({}), ACCESS), private);
    assert_eq!(gets(&json!({ "visibility": "private" }), ACCESS), private);
    let public = json!({ "rule": "restricted", "visibility": "public" });
    assert_eq!(gets(&json!({ "visibility": "public" }), ACCESS), public);
}

#[test]
fn cr_04_a_direct_chat_without_access_rules_is_direct() {
    let direct = json!({ "rule": "direct", "visibility": "private" });
    assert_eq!(gets(&json!({ "is_direct": true }), ACCESS), direct);
}

#[test]
fn cr_05_cr_06_the_rule_is_one_of_three() {
    refuses(
        &initial(json!([access(json!({}))]), private()),
        400,
        "CR-05",
    );
    refuses(
        &initial(json!([access(json!({ "rule": 1 }))]), private()),
        400,
        "CR-05",
    );
    for odd in [
        json!({ "rule": "open" }),
        json!({ "rule": "restricted", "force_unencrypted_at_creation": "yes" }),
    ] {
        let violation = refuses(&initial(json!([access(odd)]), private()), 400, "CR-06");
        assert_eq!(violation.kind.errcode(), "M_UNKNOWN");
    }
}

#[test]
fn cr_07_cr_08_direct_chats_say_so_twice() {
    for rule in ["restricted", "unrestricted"] {
        let body = json!({ "is_direct": true });
        refuses(
            &initial(json!([access(json!({ "rule": rule }))]), body),
            400,
            "CR-07",
        );
    }
    let direct = json!([access(json!({ "rule": "direct" }))]);
    refuses(&initial(direct.clone(), json!({})), 400, "CR-08");
    passes(&initial(direct, json!({ "is_direct": true })));
}

#[test]
fn cr_09_cr_10_the_event_has_the_visibility_of_the_request() {
    let event = |visibility| {
        json!([access(
            json!({ "rule": "restricted", "visibility": visibility })
        )])
    };
    refuses(&initial(event("public"), private()), 400, "CR-09");
    refuses(
        &initial(event("public"), json!({ "visibility": "private" })),
        400,
        "CR-09",
    );
    refuses(
        &initial(event("private"), json!({ "visibility": "public" })),
        400,
        "CR-09",
    );
    passes(&initial(event("public"), json!({ "visibility": "public" })));
    passes(&initial(event("private"), json!({})));
    let rule = json!([access(json!({ "rule": "unrestricted", "org.example": 1 }))]);
    assert_eq!(
        gets(&initial(rule, private()), ACCESS),
        json!({ "rule": "unrestricted", "visibility": "private", "org.example": 1 })
    );
}

#[test]
fn cr_11_a_public_chat_without_visibility_is_public() {
    let body = json!({ "preset": "public_chat" });
    assert_eq!(gets(&body, ACCESS)["visibility"], "public");
    let rule = json!([access(json!({ "rule": "restricted" }))]);
    assert_eq!(
        gets(&initial(rule, body.clone()), ACCESS)["visibility"],
        "public"
    );
    let said = with("visibility", json!("private"), body.clone());
    assert_eq!(gets(&said, ACCESS)["visibility"], "private");
    let closed = initial(json!([join_rule("restricted")]), body);
    assert_eq!(gets(&closed, ACCESS)["visibility"], "private");
}

#[test]
fn cr_12_a_direct_chat_is_not_open() {
    let direct = json!({ "is_direct": true });
    refuses(
        &with("preset", json!("public_chat"), direct.clone()),
        400,
        "CR-12",
    );
    refuses(
        &with("visibility", json!("public"), direct.clone()),
        400,
        "CR-12",
    );
    refuses(
        &initial(json!([join_rule("public")]), direct.clone()),
        400,
        "CR-12",
    );
    refuses(
        &initial(json!([join_rule("knock")]), direct.clone()),
        400,
        "JR-08",
    );
    refuses(&with("name", json!("Nous"), direct.clone()), 400, "NM-01");
    let topic = json!([{ "type": "m.room.topic", "content": {} }]);
    refuses(&initial(topic, direct), 400, "NM-01");
}

#[test]
fn cr_13_a_public_room_is_not_open_to_externals() {
    let open = json!([access(json!({ "rule": "unrestricted" }))]);
    refuses(
        &initial(open.clone(), json!({ "visibility": "public" })),
        400,
        "CR-13",
    );
    refuses(
        &initial(open.clone(), json!({ "preset": "public_chat" })),
        400,
        "CR-13",
    );
    refuses(
        &initial(open.clone(), json!({ "type": "m.space" })),
        400,
        "RO-14",
    );
    passes(&initial(open, private()));
}

fn is_encrypted(body: &Value) -> bool {
    let content = gets(body, ENCRYPTION);
    assert!(content.is_null() || content["algorithm"] == "m.megolm.v1.aes-sha2");
    !content.is_null()
}

fn unencrypted(body: Value) -> Value {
    let flag = json!({ "rule": "restricted", "force_unencrypted_at_creation": true });
    initial(json!([access(flag)]), body)
}

#[test]
fn cr_14_r_07_a_private_room_is_encrypted() {
    assert!(is_encrypted(&private()));
    assert!(is_encrypted(&json!({})));
    assert!(is_encrypted(
        &json!({ "is_direct": true, "preset": "trusted_private_chat" })
    ));
}

#[test]
fn cr_15_an_open_room_is_not_encrypted() {
    assert!(!is_encrypted(&json!({ "preset": "public_chat" })));
    assert!(!is_encrypted(&json!({ "visibility": "public" })));
    assert!(!is_encrypted(&initial(
        json!([join_rule("public")]),
        private()
    )));
}

#[test]
fn cr_16_cr_17_cr_18_only_a_private_chat_declines_encryption() {
    assert!(!is_encrypted(&unencrypted(private())));
    assert!(is_encrypted(&unencrypted(
        json!({ "preset": "trusted_private_chat" })
    )));
    assert!(is_encrypted(&unencrypted(json!({}))));
}

#[test]
fn cr_19_encryption_that_is_given_is_kept_but_not_in_a_public_room() {
    let own = json!([{ "type": ENCRYPTION, "content": { "algorithm": "own" } }]);
    assert!(
        !is_encrypted(&initial(own.clone(), private())),
        "nothing takes its place"
    );
    refuses(
        &initial(own, json!({ "visibility": "public" })),
        400,
        "CR-19",
    );
}

#[test]
fn cr_20_cr_21_r_12_history_begins_with_the_invite() {
    let history = |body: &Value| gets(body, HISTORY)["history_visibility"].clone();
    assert_eq!(history(&private()), "invited");
    assert_eq!(history(&json!({ "preset": "public_chat" })), "shared");
    assert_eq!(
        history(&initial(json!([join_rule("public")]), private())),
        "shared"
    );
    let given = |visibility: &str| {
        let content = json!({ "history_visibility": visibility });
        initial(json!([{ "type": HISTORY, "content": content }]), private())
    };
    assert_eq!(history(&given("joined")), "joined");
    assert_eq!(history(&given("shared")), "shared");
    // HV-01: what older clients ask for with a forum.
    assert_eq!(history(&given("world_readable")), "shared");
}

#[test]
fn ga_01_new_rooms_are_closed_to_guests() {
    let guests =
        json!([{ "type": "m.room.guest_access", "content": { "guest_access": "can_join" } }]);
    for body in [private(), initial(guests, private())] {
        let access = gets(&body, "m.room.guest_access");
        assert_eq!(access["guest_access"], "forbidden");
    }
}

#[test]
fn cr_22_who_is_invited_to_a_trusted_chat_has_the_creators_level() {
    let body = json!({ "preset": "trusted_private_chat", "invite": [BOB, CAROL] });
    let users = gets(&body, LEVELS)["users"].clone();
    assert_eq!(users, json!({ ALICE: 100, BOB: 100, CAROL: 100 }));
    // Creators of room version 12 are above all levels.
    let body = with("room_version", json!("12"), body);
    assert_eq!(gets(&body, LEVELS)["users"], json!({}));
    let body = json!({ "preset": "private_chat", "invite": [BOB] });
    assert_eq!(gets(&body, LEVELS)["users"], json!({ ALICE: 100 }));
}

#[test]
fn cr_23_new_rooms_have_these_levels() {
    let levels = gets(&private(), LEVELS);
    assert_eq!(
        levels,
        json!({
            "users": { ALICE: 100 },
            "users_default": 0,
            "events_default": 0,
            "state_default": 100,
            "ban": 50,
            "kick": 50,
            "redact": 50,
            "invite": 50,
            "events": {
                "m.room.name": 50,
                "m.room.canonical_alias": 50,
                "m.room.avatar": 50,
                "m.room.power_levels": 100,
                "m.room.history_visibility": 100,
                "m.room.tombstone": 100,
                "m.room.server_acl": 100,
                "m.room.encryption": 100,
                "m.beacon_info": 0,
                "org.matrix.msc3672.beacon_info": 0,
                "m.call.member": 0,
                "org.matrix.msc3401.call.member": 0,
            },
        })
    );
    assert_eq!(
        gets(&json!({ "preset": "public_chat" }), LEVELS)["invite"],
        0
    );
    assert_eq!(
        gets(&json!({ "visibility": "public" }), LEVELS)["invite"],
        0
    );
}

fn levels(value: Value, body: Value) -> Value {
    with("power_level_content_override", value, body)
}

fn initial_levels(value: Value, body: Value) -> Value {
    initial(json!([{ "type": LEVELS, "content": value }]), body)
}

#[test]
fn cr_24_cr_25_inviting_and_changing_need_their_levels() {
    for put in [levels, initial_levels] {
        let violation = refuses(&put(json!({ "invite": 0 }), private()), 400, "CR-24");
        assert_eq!(violation.reason, "power_level_too_low");
        refuses(&put(json!({ "invite": 49 }), json!({})), 400, "CR-24");
        passes(&put(
            json!({ "invite": 0 }),
            json!({ "preset": "public_chat" }),
        ));
        refuses(
            &put(json!({ "invite": -1 }), json!({ "preset": "public_chat" })),
            400,
            "CR-24",
        );
        refuses(
            &put(json!({ "state_default": 50 }), private()),
            400,
            "CR-25",
        );
        refuses(
            &put(
                json!({ "state_default": 99 }),
                json!({ "preset": "public_chat" }),
            ),
            400,
            "CR-25",
        );
    }
}

#[test]
fn cr_26_what_is_left_out_of_the_levels_is_filled_in() {
    let content = json!({ "kick": 60, "events": { "m.call.member": 10 }, "users": { BOB: 50 } });
    for put in [levels, initial_levels] {
        let levels = gets(&put(content.clone(), private()), LEVELS);
        assert_eq!(levels["kick"], 60);
        assert_eq!(
            (&levels["invite"], &levels["state_default"]),
            (&json!(50), &json!(100))
        );
        assert_eq!(levels["events"]["m.call.member"], 10);
        assert_eq!(levels["events"]["m.room.name"], 50);
        assert_eq!(levels["users"], json!({ ALICE: 100, BOB: 50 }));
    }
}

fn open(body: Value) -> Value {
    initial(json!([access(json!({ "rule": "unrestricted" }))]), body)
}

#[test]
fn cr_27_a_room_open_to_externals_gives_nobody_a_level_by_default() {
    refuses(
        &open(levels(json!({ "users_default": 50 }), private())),
        400,
        "CR-27",
    );
    passes(&open(levels(json!({ "users_default": 0 }), private())));
}

#[test]
fn cr_28_ro_11_externals_have_no_level() {
    for external in EXTERNALS {
        for level in [50, -1] {
            let body = open(levels(json!({ "users": { external: level } }), private()));
            let violation = refuses(&body, 400, "CR-28");
            assert_eq!(violation.reason, "external_power_level");
        }
        let trusted = json!({ "preset": "trusted_private_chat", "invite": [external] });
        refuses(&open(trusted), 400, "CR-28");
        let above = json!({ "creators": [external], "room_version": "12" });
        refuses(&open(above), 400, "CR-28");
        passes(&open(
            json!({ "preset": "private_chat", "invite": [external] }),
        ));
    }
    passes(&open(levels(json!({ "users": { BOB: 50 } }), private())));
}

#[test]
fn cr_29_a_restricted_room_has_any_default() {
    passes(&levels(json!({ "users_default": 100 }), private()));
}

#[test]
fn cr_30_a_space_is_not_encrypted() {
    assert!(!is_encrypted(
        &json!({ "type": "m.space", "preset": "private_chat" })
    ));
    assert_eq!(
        gets(&json!({ "type": "m.space" }), ACCESS)["rule"],
        "restricted"
    );
}

#[test]
fn cr_31_who_may_not_be_invited_is_not_invited_along() {
    for external in EXTERNALS {
        let body = json!({ "preset": "private_chat", "invite": [BOB, external] });
        let violation = refuses(&body, 403, "CR-31");
        assert_eq!(violation.reason, "externals_not_allowed");
        passes(&open(body));
        passes(&json!({ "is_direct": true, "invite": [external] }));
    }
    let three = json!({ "is_direct": true, "invite": [BOB, CAROL] });
    refuses(&three, 403, "MD-08");
    let mixed = json!({ "is_direct": true, "invite": [BOB], "invite_3pid": [{}] });
    refuses(&mixed, 403, "MD-08");
    passes(&json!({ "preset": "private_chat", "invite": [BOT] }));
}

#[test]
fn cr_32_rt_01_public_rooms_keep_messages_for_three_months() {
    let public = json!({ "visibility": "public" });
    assert_eq!(
        gets(&public, RETENTION),
        json!({ "max_lifetime": 7_776_000_000_i64 })
    );
    assert!(gets(&private(), RETENTION).is_null());
    let shorter = json!([{ "type": RETENTION, "content": { "max_lifetime": 1000 } }]);
    assert!(
        gets(&initial(shorter, public), RETENTION).is_null(),
        "the given one stays"
    );
}

#[test]
fn cr_33_rt_02_public_rooms_do_not_begin_with_more() {
    for given in [json!({ "max_lifetime": 10_368_000_000_i64 }), json!({})] {
        let given = json!([{ "type": RETENTION, "content": given }]);
        refuses(
            &initial(given.clone(), json!({ "visibility": "public" })),
            400,
            "CR-33",
        );
        passes(&initial(given, private()));
    }
}

#[test]
fn drc_07_who_is_invited_along_is_not_invited_later() {
    let policy = policy_with("restrictions.invite_at_creation_only = true");
    create_by(&policy, ALICE, &json!({ "invite": [BOB] })).unwrap();
}

#[test]
fn drc_12_only_chats_of_two_are_made() {
    let policy = policy_with("restrictions.create_one_to_one_only = true");
    for (invite, passes) in [
        (json!([]), false),
        (json!([BOB]), true),
        (json!([BOB, CAROL]), false),
    ] {
        let created = create_by(&policy, ALICE, &json!({ "invite": invite }));
        assert_eq!(created.is_ok(), passes);
        if let Err(violation) = created {
            assert_eq!((violation.rule, violation.kind.status()), ("DRC-12", 403));
            assert_eq!(
                violation.message.en,
                "You are not permitted to create rooms"
            );
        }
    }
}

#[test]
fn drc_02_drc_09_drc_10_restrictions_hold_for_who_is_invited_along() {
    let us = "agent.education.tchap.gouv.fr";
    let policy = policy_with(&format!(
        "restrictions.invite_servers = {{ \"{us}\" = [\"{us}\"] }}\n\
         restrictions.invite_by_email = false\n\
         restrictions.unpublished_only_servers = [\"{us}\"]"
    ));
    let rule = |body: Value| create_by(&policy, ALICE, &body).map_err(|violation| violation.rule);
    assert_eq!(rule(json!({ "invite": [CAROL] })), Err("DRC-02"));
    assert_eq!(rule(json!({ "invite_3pid": [{}] })), Err("DRC-09"));
    assert_eq!(
        rule(json!({ "visibility": "public", "invite": [BOB] })),
        Err("DRC-10")
    );
    assert!(rule(json!({ "invite": [BOB] })).is_ok());
    assert_eq!(rule(open(json!({ "invite": [EVE] }))), Err("DRC-02"));
}
