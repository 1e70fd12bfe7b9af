//! Random requests, near to what is right and far from it.

use rand::{Rng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{World, routes::Route};
use crate::harness::client::encode;

/// Path segments that nobody should send.
const ODD_SEGMENTS: &[&str] = &[
    "%00",
    "a%00b",
    "%ff",
    "%zz",
    "",
    "%20",
    "%F0%9F%90%8C",
    "%2F",
    "-1",
    "null",
    "%22",
    "!",
    "@",
    "@:",
    "$",
    "%23",
    "!x:y:z",
    "@x:example.org:80:80",
    "99999999999999999999999999",
];

/// Texts, numbers and other values, as they stand in JSON.
const ODD_VALUES: &[&str] = &[
    r#""""#,
    r#""\u0000""#,
    r#""a\u0000b""#,
    r#""\ud800""#,
    r#""\udc00\ud800""#,
    r#""\u202e\u0007\u001b[31m""#,
    r#""@nobody:example.org""#,
    r#""@a\u0000:example.org""#,
    r#""!nowhere:example.org""#,
    r##""#nothing:example.org""##,
    r#""$nothing""#,
    r#""m.room.member""#,
    r#""org.matrix.custom.html""#,
    r#""s99999999999_0""#,
    r#""t-1""#,
    r#""'; DROP TABLE users; --""#,
    r#""\ud83d\udc0c""#,
    "0",
    "-1",
    "-0",
    "1.5",
    "1e400",
    "-1e-400",
    "1E5",
    "01",
    "9007199254740991",
    "9007199254740992",
    "9223372036854775807",
    "18446744073709551616",
    "99999999999999999999999999999999999999999999",
    "true",
    "false",
    "null",
    "[]",
    "{}",
    "[[]]",
    "[null]",
    "[{}]",
    r#"{"":null}"#,
    r#"{"a":1,"a":2}"#,
    r#"{"\u0000":"\u0000"}"#,
    "NaN",
    "'a'",
    "",
    "\"\n\"",
    "\"\u{1}\"",
];

/// Names of fields that mean something somewhere.
const FIELDS: &[&str] = &[
    "type",
    "user_id",
    "reason",
    "auth",
    "session",
    "password",
    "username",
    "device_id",
    "initial_device_display_name",
    "display_name",
    "displayname",
    "avatar_url",
    "identifier",
    "filter",
    "limit",
    "since",
    "from",
    "to",
    "room_id",
    "event_id",
    "content",
    "membership",
    "visibility",
    "room_alias_name",
    "name",
    "topic",
    "invite",
    "invite_3pid",
    "room_version",
    "creation_content",
    "initial_state",
    "preset",
    "is_direct",
    "power_level_content_override",
    "msgtype",
    "body",
    "formatted_body",
    "m.relates_to",
    "m.mentions",
    "thread_id",
    "typing",
    "timeout",
    "order",
    "actions",
    "conditions",
    "pattern",
    "enabled",
    "devices",
    "email",
    "client_secret",
    "send_attempt",
    "next_link",
    "sid",
    "new_password",
    "logout_devices",
    "refresh_token",
    "m.fully_read",
    "m.read",
    "m.read.private",
    "generic_search_term",
    "room_types",
    "third_party_signed",
    "users",
    "users_default",
    "events",
    "state_key",
    "history_visibility",
    "join_rule",
    "allow",
    "algorithm",
    "alias",
    "alt_aliases",
    "nonce",
    "mac",
    "admin",
    "token",
    "fr.gouv.tchap",
    "m.federate",
    "predecessor",
    "redacts",
    "event_fields",
    "event_format",
    "presence",
    "account_data",
    "room",
    "timeline",
    "state",
    "ephemeral",
    "not_types",
    "lazy_load_members",
    "contains_url",
    "senders",
    "",
    "\\u0000",
    "a.b.c",
];

/// A path of a route, most of whose arguments make sense, with a query.
pub(super) fn path(rng: &mut ChaCha8Rng, route: &Route, world: &World) -> String {
    let template = route.paths.choose(rng).unwrap();
    let mut path = fill(template, |name| {
        if rng.random_bool(0.2) {
            (*ODD_SEGMENTS.choose(rng).unwrap()).to_owned()
        } else {
            argument(rng, name, world)
        }
    });
    // A sync must not wait.
    path.push_str("?timeout=0");
    for _ in 0..rng.random_range(0..4) {
        path.push_str(&query(rng, world));
    }
    path
}

/// A path whose arguments all make sense.
pub(crate) fn plausible(rng: &mut ChaCha8Rng, template: &str, world: &World) -> String {
    fill(template, |name| argument(rng, name, world))
}

/// A path whose arguments are all the same.
pub(super) fn with_every_argument(template: &str, segment: &str) -> String {
    fill(template, |_| segment.to_owned())
}

fn fill(template: &str, mut argument: impl FnMut(&str) -> String) -> String {
    let segments = template.split('/').map(|segment| {
        let name = segment
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'));
        name.map_or_else(|| segment.to_owned(), &mut argument)
    });
    segments.collect::<Vec<_>>().join("/")
}

fn argument(rng: &mut ChaCha8Rng, name: &str, world: &World) -> String {
    let one_of = |rng: &mut ChaCha8Rng, texts: &[&str]| (*texts.choose(rng).unwrap()).to_owned();
    let text = match name {
        "room_id" => world.room_id.clone(),
        "room_id_or_alias" => one_of(rng, &[&world.room_id, &world.alias]),
        "room_alias" => one_of(rng, &[&world.alias, "#new:example.org", "#a:elsewhere.org"]),
        "event_id" => world.event_id.clone(),
        "user_id" => one_of(rng, &[&world.user.user_id, "@nobody:example.org"]),
        "device_id" => one_of(rng, &[&world.user.device_id, "OTHER"]),
        "filter_id" => one_of(rng, &[&world.filter_id, "99"]),
        "event_type" | "type" => one_of(
            rng,
            &[
                "m.room.message",
                "m.room.topic",
                "m.room.power_levels",
                "m.push_rules",
                "x.y",
            ],
        ),
        "state_key" => one_of(rng, &["", "key", &world.user.user_id]),
        "receipt_type" => one_of(rng, &["m.read", "m.read.private", "m.fully_read", "x"]),
        "kind" => one_of(
            rng,
            &["override", "underride", "sender", "room", "content", "x"],
        ),
        "rule_id" => one_of(rng, &[".m.rule.master", "mine", &world.room_id]),
        "field" | "key_name" => one_of(rng, &["displayname", "avatar_url", "m.tz", "x.y"]),
        "tag" => one_of(rng, &["m.favourite", "u.mine"]),
        _ => format!("x{}", rng.random_range(0..1000)),
    };
    encode(&text)
}

fn query(rng: &mut ChaCha8Rng, world: &World) -> String {
    let names = [
        "limit",
        "from",
        "to",
        "dir",
        "since",
        "filter",
        "at",
        "membership",
        "not_membership",
        "username",
        "token",
        "server",
        "before",
        "after",
        "format",
        "full_state",
        "kind",
        "user_id",
        "set_presence",
        "client_secret",
        "sid",
        "next_link",
        "access_token",
        "use_state_after",
        "room_id",
        "timeout",
    ];
    let name = names.choose(rng).unwrap();
    let values = [
        world.since.as_str(),
        world.room_id.as_str(),
        world.filter_id.as_str(),
        "0",
        "-1",
        "1",
        "b",
        "f",
        "t0",
        "t5",
        "t99999",
        "s0_0",
        "s9223372036854775807_9223372036854775807",
        "join",
        "true",
        "{}",
        "{\"room\":{\"timeline\":{\"limit\":0}}}",
        "{\"types\":[\"\\u0000\"]}",
        "{\"room\":{\"timeline\":{\"limit\":99999999}}}",
        "{",
        "\0",
        "a\0b",
        "\u{1F40C}",
        "",
        "18446744073709551616",
        "1e9",
        "event",
        "m.room.member",
    ];
    let value = values.choose(rng).unwrap();
    // Waiting is not what is tested.
    let value = if *name == "timeout" { "0" } else { value };
    if rng.random_bool(0.1) {
        return format!("&{name}=%ff%zz");
    }
    format!("&{name}={}", encode(value))
}

/// A body: what is right with one thing changed, or nonsense.
pub(super) fn body(rng: &mut ChaCha8Rng, route: &Route, world: &World) -> String {
    match rng.random_range(0..10) {
        0 => (*ODD_VALUES.choose(rng).unwrap()).to_owned(),
        1 | 2 => object(rng, 0),
        3 => right(route.name, world).to_string(),
        4 => {
            let right = right(route.name, world).to_string();
            let mut end = rng.random_range(0..right.len());
            while !right.is_char_boundary(end) {
                end -= 1;
            }
            right[..end].to_owned()
        }
        _ => {
            let right = right(route.name, world);
            let mut places = count(&right);
            places = rng.random_range(0..places);
            let odd = if rng.random_bool(0.2) {
                value(rng, 1)
            } else {
                (*ODD_VALUES.choose(rng).unwrap()).to_owned()
            };
            write_with(&right, &mut places, &odd)
        }
    }
}

/// How many values there are, those inside of others as well.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// Writes JSON with another text in the place of the value with this number.
fn write_with(value: &Value, place: &mut usize, odd: &str) -> String {
    if *place == 0 {
        *place = usize::MAX;
        return odd.to_owned();
    }
    *place -= 1;
    match value {
        Value::Array(items) => {
            let items = items.iter().map(|item| write_with(item, place, odd));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{}:{}", json!(name), write_with(value, place, odd)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

fn value(rng: &mut ChaCha8Rng, depth: usize) -> String {
    match rng.random_range(0..12) {
        0 | 1 if depth < 6 => object(rng, depth + 1),
        2 if depth < 6 => {
            let items = (0..rng.random_range(0..5)).map(|_| value(rng, depth + 1));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        3 => {
            let depth = rng.random_range(1..300);
            format!("{}{}", "[".repeat(depth), "]".repeat(depth))
        }
        4 => format!("\"{}\"", "x".repeat(rng.random_range(0..70_000))),
        _ => (*ODD_VALUES.choose(rng).unwrap()).to_owned(),
    }
}

fn object(rng: &mut ChaCha8Rng, depth: usize) -> String {
    let fields = (0..rng.random_range(0..8)).map(|_| {
        let name = FIELDS.choose(rng).unwrap();
        format!("\"{name}\":{}", value(rng, depth))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// A body that a route takes.
fn right(name: &str, world: &World) -> Value {
    let user_id = &world.user.user_id;
    match name {
        "login" => json!({
            "type": "m.login.password", "password": "wrong", "device_id": "OTHER",
            "initial_device_display_name": "a device", "refresh_token": true,
            "identifier": { "type": "m.id.user", "user": user_id },
        }),
        "refresh_token" => json!({ "refresh_token": "syr_nothing" }),
        "register" => json!({
            "username": "somebody", "password": "Correct-horse7", "device_id": "ONE",
            "initial_device_display_name": "a device", "inhibit_login": false,
            "auth": { "type": "m.login.dummy", "session": "none" },
        }),
        "request_registration_token_via_email"
        | "request_3pid_management_token_via_email"
        | "request_password_change_token_via_email" => {
            json!({
                "client_secret": "secret", "email": "a@example.com", "send_attempt": 1,
                "next_link": "https://example.org/", "id_server": "a", "id_access_token": "b",
            })
        }
        "add_3pid" | "bind_3pid" => json!({ "sid": "a", "client_secret": "secret",
            "id_server": "example.org", "id_access_token": "b",
            "auth": { "type": "m.login.dummy", "session": "none" } }),
        "delete_3pid" | "unbind_3pid" => json!({ "medium": "email", "address": "a@example.com" }),
        "lock_user" | "suspend_user" => json!({ "locked": true, "suspended": true }),
        "users_info" => json!({ "user_ids": [user_id, "@nobody:example.org"] }),
        "change_password" => json!({
            "new_password": "Correct-horse8", "logout_devices": true,
            "auth": { "type": "m.login.password", "password": "wrong", "session": "none",
                "identifier": { "type": "m.id.user", "user": user_id } },
        }),
        "deactivate" => json!({ "erase": true, "id_server": "a",
            "auth": { "type": "m.login.dummy", "session": "none" } }),
        "get_login_token" => json!({ "auth": { "type": "m.login.dummy", "session": "none" } }),
        "set_presence" => json!({ "presence": "online", "status_msg": "here" }),
        "delay_event" => json!({ "delay_ms": 5, "delay": 5, "state_key": "", "content": {} }),
        "manage_delayed_by_body" => json!({ "action": "cancel" }),
        "add_token" | "change_token" => json!({ "token": "a", "length": 16, "uses_allowed": 1,
            "expiry_time": 9_999_999_999_999_i64 }),
        "update_device" => json!({ "display_name": "a device" }),
        "delete_devices" => json!({ "devices": ["OTHER", "MORE"] }),
        "set_profile_field" => json!({ "displayname": "Name", "avatar_url": "mxc://a/b",
            "m.tz": "Europe/Paris", "x.y": { "z": [1, "a"] } }),
        "create_room" => json!({
            "visibility": "public", "room_alias_name": "new", "name": "Name", "topic": "Topic",
            "invite": ["@nobody:example.org"], "room_version": "11", "preset": "private_chat",
            "creation_content": { "m.federate": false, "type": "m.space" }, "is_direct": true,
            "initial_state": [{ "type": "x.y", "state_key": "k", "content": { "a": 1 } }],
            "power_level_content_override": { "users": { user_id: 100 }, "events": { "x": 5 } },
        }),
        "join_room_by_id_or_alias" | "join_room_by_id" => json!({ "reason": "why",
            "third_party_signed": { "sender": user_id, "mxid": user_id, "token": "t",
                "signatures": { "a": { "ed25519:0": "x" } } } }),
        "invite_user" | "kick_user" | "ban_user" | "unban_user" => {
            json!({ "user_id": "@nobody:example.org", "reason": "why" })
        }
        "create_alias" => json!({ "room_id": world.room_id }),
        "get_public_rooms_filtered" => json!({ "limit": 10, "since": "x",
            "filter": { "generic_search_term": "a", "room_types": [null, "m.space"] },
            "include_all_networks": false, "third_party_instance_id": "x" }),
        "set_room_visibility" => json!({ "visibility": "public" }),
        "send_message_event" | "send_state_event" => json!({
            "msgtype": "m.text", "body": "hello", "formatted_body": "<b>hello</b>",
            "m.mentions": { "user_ids": [user_id], "room": true }, "number": 1,
            "m.relates_to": { "rel_type": "m.thread", "event_id": world.event_id },
            "topic": "a", "users": { user_id: 100 }, "users_default": 0, "events": { "a": 1 },
        }),
        "redact_event" => json!({ "reason": "why" }),
        "create_receipt" => json!({ "thread_id": world.event_id }),
        "set_read_marker" => json!({ "m.fully_read": world.event_id, "m.read": world.event_id,
            "m.read.private": world.event_id }),
        "create_typing_event" => json!({ "typing": true, "timeout": 1000 }),
        "create_tag" => json!({ "order": 0.5 }),
        "create_filter" => json!({ "event_fields": ["type"], "event_format": "client",
            "room": { "rooms": [world.room_id], "timeline": { "limit": 5, "types": ["m.*"],
                "not_senders": [user_id], "lazy_load_members": true } },
            "account_data": { "types": ["x"] } }),
        "set_pushrule" => json!({ "actions": ["notify", { "set_tweak": "sound", "value": "a" }],
            "pattern": "word", "conditions": [{ "kind": "event_match", "key": "type",
                "pattern": "x" }] }),
        "set_pushrule_enabled" => json!({ "enabled": true }),
        "set_pushrule_actions" => json!({ "actions": ["notify"] }),
        "shared_secret_register" => json!({ "nonce": "n", "username": "a", "password": "b",
            "mac": "c", "admin": true, "displayname": "d" }),
        _ => json!({ "a": 1, "b": ["c"] }),
    }
}
