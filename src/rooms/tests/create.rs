//! What a new room holds.

use ruma::{
    OwnedRoomAliasId, RoomVersionId,
    api::{IncomingRequest as _, client::room::create_room::v3::Request},
    owned_room_alias_id, user_id,
};
use serde_json::{Value, json};

use crate::rooms::{Error, create::Blueprint};

fn request(body: &Value) -> Request {
    let body = body.to_string();
    let request = http::Request::post("/_matrix/client/v3/createRoom")
        .body(body.as_bytes())
        .unwrap();
    Request::try_from_http_request_inner(request, &[]).unwrap()
}

fn try_blueprint(
    version: &str,
    body: &Value,
    alias: Option<&OwnedRoomAliasId>,
) -> Result<Blueprint, Error> {
    let version = RoomVersionId::try_from(version).unwrap();
    let creator = user_id!("@alice:example.org");
    Blueprint::new(&request(body), creator, version, alias)
}

fn blueprint(version: &str, body: &Value) -> Blueprint {
    try_blueprint(version, body, None).unwrap()
}

/// The types of the state, in order, and the content of each.
fn state(blueprint: &Blueprint) -> Vec<(String, Value)> {
    let state = blueprint.state.iter();
    let content = |content| serde_json::to_value(content).unwrap();
    state
        .map(|draft| (draft.event_type.to_string(), content(&draft.content)))
        .collect()
}

fn of_type(blueprint: &Blueprint, event_type: &str) -> Value {
    let mut found = state(blueprint)
        .into_iter()
        .filter(|(name, _)| name == event_type);
    let (_, content) = found.next().unwrap();
    assert_eq!(found.next(), None, "{event_type} is there twice");
    content
}

#[test]
fn presets_set_join_rule_history_and_guests() {
    for (body, join_rule, guests) in [
        (json!({}), "invite", "can_join"),
        (json!({ "visibility": "private" }), "invite", "can_join"),
        (json!({ "visibility": "public" }), "public", "forbidden"),
        (json!({ "preset": "private_chat" }), "invite", "can_join"),
        (
            json!({ "preset": "trusted_private_chat" }),
            "invite",
            "can_join",
        ),
        (json!({ "preset": "public_chat" }), "public", "forbidden"),
        (
            json!({ "preset": "private_chat", "visibility": "public" }),
            "invite",
            "can_join",
        ),
    ] {
        let blueprint = blueprint("12", &body);
        let levels = (
            "m.room.power_levels".to_owned(),
            of_type(&blueprint, "m.room.power_levels"),
        );
        let expected = [
            levels,
            (
                "m.room.join_rules".to_owned(),
                json!({ "join_rule": join_rule }),
            ),
            (
                "m.room.history_visibility".to_owned(),
                json!({ "history_visibility": "shared" }),
            ),
            (
                "m.room.guest_access".to_owned(),
                json!({ "guest_access": guests }),
            ),
        ];
        assert_eq!(state(&blueprint), expected, "{body}");
    }
}

#[test]
fn the_state_has_the_order_of_the_specification() {
    let body = json!({
        "name": "Salon",
        "topic": "Thème",
        "room_alias_name": "salon",
        "initial_state": [
            { "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } },
            { "type": "m.room.name", "content": { "name": "Autre" } },
            { "type": "m.room.join_rules", "content": { "join_rule": "knock" } },
            { "type": "m.x", "state_key": "a", "content": {} },
        ],
    });
    let alias = owned_room_alias_id!("#salon:example.org");
    let blueprint = try_blueprint("11", &body, Some(&alias)).unwrap();
    let state = state(&blueprint);
    let types: Vec<_> = state.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "m.room.power_levels",
        "m.room.canonical_alias",
        "m.room.history_visibility",
        "m.room.guest_access",
        "m.room.encryption",
        "m.room.join_rules",
        "m.x",
        "m.room.name",
        "m.room.topic",
    ];
    assert_eq!(types, expected);
    assert_eq!(
        of_type(&blueprint, "m.room.name"),
        json!({ "name": "Salon" })
    );
    assert_eq!(
        of_type(&blueprint, "m.room.join_rules"),
        json!({ "join_rule": "knock" })
    );
    assert_eq!(
        of_type(&blueprint, "m.room.topic"),
        json!({ "topic": "Thème", "m.topic": { "m.text": [{ "body": "Thème" }] } })
    );
}

#[test]
fn creators_have_a_level_up_to_version_11_and_stand_above_levels_in_12() {
    let body = json!({
        "preset": "trusted_private_chat",
        "invite": ["@bob:example.org", "@alice:example.org", "@bob:example.org"],
        "creation_content": {
            "additional_creators": ["@carol:example.org", "@bob:example.org"],
            "room_version": "3",
            "creator": "@mallory:example.org",
            "m.federate": false,
        },
    });
    let old = blueprint("10", &body);
    let levels = of_type(&old, "m.room.power_levels");
    let users = json!({ "@alice:example.org": 100, "@bob:example.org": 100 });
    assert_eq!(levels["users"], users);
    assert_eq!(levels["events"]["m.room.tombstone"], 100);
    assert_eq!(old.invite, ["@bob:example.org"]);

    let new = blueprint("12", &body);
    let levels = of_type(&new, "m.room.power_levels");
    assert_eq!(levels["users"], json!({}));
    assert_eq!(levels["events"]["m.room.tombstone"], 150);
    let create = serde_json::to_value(&new.create).unwrap();
    let expected = json!({
        "additional_creators": ["@carol:example.org", "@bob:example.org"],
        "m.federate": false,
    });
    assert_eq!(create, expected);
}

#[test]
fn the_override_replaces_levels_field_by_field() {
    let body = json!({ "power_level_content_override": { "invite": 75, "events": { "m.x": 3 } } });
    let levels = of_type(&blueprint("11", &body), "m.room.power_levels");
    assert_eq!(levels["invite"], 75);
    assert_eq!(levels["events"], json!({ "m.x": 3 }));
    assert_eq!(levels["ban"], 50);
}

#[test]
fn nonsense_is_refused() {
    type IsIt = fn(&Error) -> bool;
    let invalid: IsIt = |error| matches!(error, Error::Invalid(_));
    let bad: IsIt = |error| matches!(error, Error::BadContent(_));
    let alias: IsIt = |error| matches!(error, Error::BadAlias(_));
    let cases: &[(Value, IsIt)] = &[
        (json!({ "preset": "secret_chat" }), invalid),
        (
            json!({ "initial_state": [{ "type": "m.room.create", "content": {} }] }),
            invalid,
        ),
        (
            json!({ "initial_state": [{
                "type": "m.room.member",
                "state_key": "@bob:example.org",
                "content": { "membership": "invite" },
            }] }),
            invalid,
        ),
        (json!({ "initial_state": [{ "type": "m.x" }] }), bad),
        (
            json!({ "initial_state": [{
                "type": "m.room.canonical_alias",
                "content": { "alias": "#a:example.org" },
            }] }),
            alias,
        ),
        (
            json!({ "power_level_content_override": { "ban": "50" } }),
            bad,
        ),
        (
            json!({ "creation_content": { "additional_creators": ["bob"] } }),
            bad,
        ),
    ];
    for (body, is_it) in cases {
        let error = try_blueprint("12", body, None).err().unwrap();
        assert!(is_it(&error), "{body}: {error:?}");
    }
    let unknown = try_blueprint("13", &json!({}), None).err().unwrap();
    assert!(matches!(unknown, Error::UnsupportedVersion(_)));
}
