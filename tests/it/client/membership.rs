//! Joining, inviting, leaving and moderating (specification v1.19, client-server API, "Room
//! membership").

use serde_json::{Value, json};

use super::create_room::state;
use crate::harness::{
    client::{Answer, Client, encode},
    server::TestServer,
};

/// `POST /rooms/{room}/{what}` about a user.
async fn act(client: &Client, room: &str, what: &str, user_id: &str) -> Answer {
    let path = format!("rooms/{}/{what}", encode(room));
    client.post(&path, &json!({ "user_id": user_id })).await
}

async fn membership(client: &Client, room: &str, user_id: &str) -> Value {
    state(client, room, "m.room.member", user_id).await["membership"].clone()
}

/// How many events the room has, as this member sees them.
async fn count(client: &Client, room: &str) -> usize {
    let page = client.messages(room, "&limit=100").await;
    page["chunk"].as_array().unwrap().len()
}

async fn forget(client: &Client, room: &str) -> Answer {
    let path = format!("rooms/{}/forget", encode(room));
    client.post(&path, &json!({})).await
}

#[tokio::test]
async fn invited_users_join_and_others_do_not() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let room = alice.create_room(&json!({})).await;
    bob.join(&room).await.expect_error(403, "M_FORBIDDEN");
    alice.invite(&room, &bob.user_id).await.expect_ok();
    let before = count(&alice, &room).await;
    // A second invite changes nothing.
    alice.invite(&room, &bob.user_id).await.expect_ok();
    assert_eq!(count(&alice, &room).await, before);
    let joined = bob.join(&room).await.expect_ok();
    assert_eq!(joined["room_id"], room.as_str());
    // Nor does joining again.
    bob.join(&room).await.expect_ok();
    assert_eq!(count(&alice, &room).await, before + 1);
    alice
        .invite(&room, &bob.user_id)
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice
        .invite(&room, "@eve:elsewhere.org")
        .await
        .expect_error(404, "M_NOT_FOUND");
    bob.join("!unknown:example.org")
        .await
        .expect_error(404, "M_NOT_FOUND");
    bob.join("#unknown:example.org")
        .await
        .expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn rooms_are_joined_by_alias_and_with_a_reason() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let body = json!({ "preset": "public_chat", "room_alias_name": "place" });
    let room = alice.create_room(&body).await;
    let path = format!("join/{}", encode("#place:example.org"));
    let joined = bob.post(&path, &json!({ "reason": "Marché" })).await;
    assert_eq!(joined.expect_ok()["room_id"], room.as_str());
    let member = state(&alice, &room, "m.room.member", &bob.user_id).await;
    assert_eq!(member["reason"], "Marché");
    let carol = server.register("carol").await;
    let path = format!("rooms/{}/join", encode(&room));
    carol.post(&path, &json!({})).await.expect_ok();
}

#[tokio::test]
async fn leaving_twice_is_as_good_as_once() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let room = alice.create_room(&json!({})).await;
    bob.leave(&room).await.expect_error(403, "M_FORBIDDEN");
    alice.invite(&room, &bob.user_id).await.expect_ok();
    // An invite is refused the same way.
    bob.leave(&room).await.expect_ok();
    let before = count(&alice, &room).await;
    bob.leave(&room).await.expect_ok();
    assert_eq!(count(&alice, &room).await, before);
    assert_eq!(membership(&alice, &room, &bob.user_id).await, "leave");
    bob.join(&room).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn only_rooms_that_were_left_are_forgotten() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let room = alice.create_room(&json!({})).await;
    forget(&alice, &room).await.expect_error(400, "M_UNKNOWN");
    forget(&alice, "!unknown:example.org")
        .await
        .expect_error(400, "M_UNKNOWN");
    alice.leave(&room).await.expect_ok();
    forget(&alice, &room).await.expect_ok();
    forget(&alice, &room).await.expect_ok();
}

#[tokio::test]
async fn banned_users_stay_out_until_they_are_let_in() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&room).await.expect_ok();
    act(&alice, &room, "ban", &bob.user_id).await.expect_ok();
    let before = count(&alice, &room).await;
    act(&alice, &room, "ban", &bob.user_id).await.expect_ok();
    assert_eq!(count(&alice, &room).await, before);
    bob.join(&room).await.expect_error(403, "M_FORBIDDEN");
    bob.leave(&room).await.expect_error(403, "M_FORBIDDEN");
    alice
        .invite(&room, &bob.user_id)
        .await
        .expect_error(403, "M_FORBIDDEN");
    // A kick does not end the ban.
    act(&alice, &room, "kick", &bob.user_id)
        .await
        .expect_error(403, "M_FORBIDDEN");
    assert_eq!(membership(&alice, &room, &bob.user_id).await, "ban");
    act(&alice, &room, "unban", &bob.user_id).await.expect_ok();
    act(&alice, &room, "unban", &bob.user_id)
        .await
        .expect_error(403, "M_FORBIDDEN");
    bob.join(&room).await.expect_ok();
}

#[tokio::test]
async fn each_action_needs_its_level() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let carol = server.register("carol").await;
    let dave = server.register("dave").await;
    let body = json!({
        "preset": "public_chat",
        "power_level_content_override": { "events_default": 5, "users_default": 0 },
    });
    let room = alice.create_room(&body).await;
    bob.join(&room).await.expect_ok();
    carol.join(&room).await.expect_ok();
    for what in ["kick", "ban"] {
        act(&bob, &room, what, &carol.user_id)
            .await
            .expect_error(403, "M_FORBIDDEN");
    }
    bob.invite(&room, &dave.user_id)
        .await
        .expect_error(403, "M_FORBIDDEN");
    let message = json!({ "msgtype": "m.text", "body": "x" });
    let path = format!("rooms/{}/send/m.room.message/1", encode(&room));
    bob.put(&path, &message)
        .await
        .expect_error(403, "M_FORBIDDEN");
    bob.send_state(&room, "m.room.name", "", &json!({ "name": "x" }))
        .await
        .expect_error(403, "M_FORBIDDEN");
    let event_id = alice.send(&room, "Bonjour").await;
    let redact = format!("rooms/{}/redact/{}/1", encode(&room), encode(&event_id));
    bob.put(&redact, &json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    // Strangers may do nothing at all, and do not learn whether there is such a room.
    for room in [room.as_str(), "!unknown:example.org"] {
        for what in ["kick", "ban", "unban", "invite"] {
            act(&dave, room, what, &carol.user_id)
                .await
                .expect_error(403, "M_FORBIDDEN");
        }
        let path = format!("rooms/{}/send/m.room.message/1", encode(room));
        dave.put(&path, &message)
            .await
            .expect_error(403, "M_FORBIDDEN");
        dave.send_state(room, "m.room.name", "", &json!({ "name": "x" }))
            .await
            .expect_error(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn kicked_users_are_out_and_invites_are_taken_back() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let room = alice.create_room(&json!({})).await;
    act(&alice, &room, "kick", &bob.user_id)
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice.invite(&room, &bob.user_id).await.expect_ok();
    act(&alice, &room, "kick", &bob.user_id).await.expect_ok();
    bob.join(&room).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn membership_can_be_set_as_state() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
    let set = async |client: &Client, user_id: &str, content: Value| {
        let answer = client.send_state(&room, "m.room.member", user_id, &content);
        answer.await
    };
    let join = json!({ "membership": "join", "displayname": "Bobby" });
    set(&alice, &bob.user_id, join.clone())
        .await
        .expect_error(403, "M_FORBIDDEN");
    let first = set(&bob, &bob.user_id, join.clone()).await.expect_ok();
    let again = set(&bob, &bob.user_id, join).await.expect_ok();
    assert_eq!(first, again);
    let member = state(&alice, &room, "m.room.member", &bob.user_id).await;
    assert_eq!(member["displayname"], "Bobby");
    set(&bob, &bob.user_id, json!({}))
        .await
        .expect_error(400, "M_BAD_JSON");
    set(&bob, "bob", json!({ "membership": "join" }))
        .await
        .expect_error(400, "M_INVALID_PARAM");
    set(&bob, &bob.user_id, json!({ "membership": "leave" }))
        .await
        .expect_ok();
    assert_eq!(membership(&alice, &room, &bob.user_id).await, "leave");
}

#[tokio::test]
async fn members_of_a_space_join_its_rooms() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let carol = server.register("carol").await;
    let space = alice.create_room(&json!({ "preset": "public_chat" })).await;
    let rules = json!({
        "join_rule": "restricted",
        "allow": [{ "type": "m.room_membership", "room_id": space }],
    });
    for version in ["8", "12"] {
        let body = json!({
            "room_version": version,
            "initial_state": [{ "type": "m.room.join_rules", "content": rules }],
        });
        let room = alice.create_room(&body).await;
        carol.join(&room).await.expect_error(403, "M_FORBIDDEN");
        // Nobody vouches for themselves.
        let forged = json!({
            "membership": "join",
            "join_authorised_via_users_server": alice.user_id,
        });
        carol
            .send_state(&room, "m.room.member", &carol.user_id, &forged)
            .await
            .expect_error(403, "M_FORBIDDEN");
        bob.join(&space).await.expect_ok();
        bob.join(&room).await.expect_ok();
        let member = state(&alice, &room, "m.room.member", &bob.user_id).await;
        assert_eq!(
            member["join_authorised_via_users_server"],
            alice.user_id.as_str()
        );
        bob.leave(&space).await.expect_ok();
    }
}

#[tokio::test]
async fn changed_profiles_reach_all_rooms() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let mut rooms = Vec::new();
    for _ in 0..12 {
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await.expect_ok();
        rooms.push(room);
    }
    bob.leave(&rooms[0]).await.expect_ok();
    let path = format!("profile/{}", encode(&bob.user_id));
    let name = json!({ "displayname": "Bobby" });
    bob.put(&format!("{path}/displayname"), &name)
        .await
        .expect_ok();
    let avatar = json!({ "avatar_url": "mxc://example.org/a" });
    bob.put(&format!("{path}/avatar_url"), &avatar)
        .await
        .expect_ok();
    for room in rooms.iter().skip(1) {
        let member = state(&alice, room, "m.room.member", &bob.user_id).await;
        assert_eq!(
            member,
            json!({
                "membership": "join",
                "displayname": "Bobby",
                "avatar_url": "mxc://example.org/a",
            })
        );
    }
    assert_eq!(membership(&alice, &rooms[0], &bob.user_id).await, "leave");
}

#[tokio::test]
async fn a_closed_account_leaves_its_rooms() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let public = alice.create_room(&json!({ "preset": "public_chat" })).await;
    let private = alice.create_room(&json!({ "invite": [bob.user_id] })).await;
    bob.join(&public).await.expect_ok();
    let mut body = json!({ "auth": {
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": bob.user_id },
        "password": crate::harness::server::PASSWORD,
    } });
    let mut answer = bob.post("account/deactivate", &body).await;
    if answer.status == 401 {
        body["auth"]["session"] = answer.body["session"].clone();
        answer = bob.post("account/deactivate", &body).await;
    }
    answer.expect_ok();
    for room in [public, private] {
        assert_eq!(membership(&alice, &room, &bob.user_id).await, "leave");
    }
}

#[tokio::test]
async fn state_that_makes_no_sense_is_refused() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let room = alice.create_room(&json!({ "room_version": "11" })).await;
    let mut levels = state(&alice, &room, "m.room.power_levels", "").await;
    levels["users"]["@bob:example.org"] = json!("50");
    alice
        .send_state(&room, "m.room.power_levels", "", &levels)
        .await
        .expect_error(400, "M_BAD_JSON");
    alice
        .send_state(&room, "m.room.create", "", &json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice
        .send_state(&room, "m.x", "\0", &json!({}))
        .await
        .expect_error(400, "M_INVALID_PARAM");
    // The same state again is the same event; an empty state key may be left out.
    let name = json!({ "name": "Salon" });
    let path = format!("rooms/{}/state/m.room.name", encode(&room));
    let first = alice.put(&path, &name).await.expect_ok();
    let again = alice.put(&format!("{path}/"), &name).await.expect_ok();
    assert_eq!(first, again);
}

#[tokio::test]
async fn what_somebody_says_when_they_join_stands_in_the_event() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let carol = server.register("carol").await;
    let body = json!({ "preset": "public_chat", "room_alias_name": "place" });
    let room = alice.create_room(&body).await;
    let said = json!({
        "foo": "bar",
        "org.example.deep": { "a": [1] },
        "reason": "Marché",
        // What servers go by is not the client's to say.
        "membership": "ban",
        "displayname": "Alice",
        "is_direct": true,
        "join_authorised_via_users_server": alice.user_id,
    });
    let by_alias = format!("join/{}", encode("#place:example.org"));
    let by_id = format!("rooms/{}/join", encode(&room));
    for (client, path) in [(&bob, by_alias), (&carol, by_id)] {
        client.post(&path, &said).await.expect_ok();
        let member = state(&alice, &room, "m.room.member", &client.user_id).await;
        let name = client
            .user_id
            .split(':')
            .next()
            .unwrap()
            .trim_start_matches('@');
        let expected = json!({
            "membership": "join",
            "displayname": name,
            "foo": "bar",
            "org.example.deep": { "a": [1] },
            "reason": "Marché",
        });
        assert_eq!(member, expected);
    }
    let dave = server.register("dave").await;
    let path = format!("join/{}", encode(&room));
    dave.post(&path, &json!({ "foo": 1.5 }))
        .await
        .expect_error(400, "M_BAD_JSON");
    assert_eq!(membership(&alice, &room, &dave.user_id).await, Value::Null);
}

#[tokio::test]
async fn any_of_the_rooms_that_a_restricted_room_names_lets_people_in() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let public = json!({ "preset": "public_chat" });
    let (first, second) = (
        alice.create_room(&public).await,
        alice.create_room(&public).await,
    );
    let allow = |rooms: &[&str]| {
        let rooms = rooms.iter();
        let rooms = rooms.map(|room| json!({ "type": "m.room_membership", "room_id": room }));
        Value::Array(rooms.collect())
    };
    let cases = (8..=12).map(|version| (version, "restricted"));
    for (version, rule) in cases.chain((10..=12).map(|version| (version, "knock_restricted"))) {
        let rooms = ["!nowhere:example.org", &*first, &*second];
        let mut rules = json!({ "join_rule": rule, "allow": allow(&rooms) });
        // What nobody knows lets nobody in, and does no harm.
        let unknown = json!({ "type": "org.example.other", "room_id": first });
        rules["allow"].as_array_mut().unwrap().push(unknown);
        let room = alice
            .create_room(&json!({
                "room_version": version.to_string(),
                "initial_state": [{ "type": "m.room.join_rules", "content": rules }],
            }))
            .await;
        let set = async |rules: Value| {
            let sent = alice.send_state(&room, "m.room.join_rules", "", &rules);
            sent.await.expect_ok();
        };
        bob.join(&room).await.expect_error(403, "M_FORBIDDEN");
        for allowed in [&first, &second] {
            bob.join(allowed).await.expect_ok();
            bob.join(&room).await.expect_ok();
            // Once inside, the member event needs nobody's word.
            let content = json!({
                "membership": "join",
                "displayname": "Bobby",
                "join_authorised_via_users_server": "unused",
            });
            bob.send_state(&room, "m.room.member", &bob.user_id, &content)
                .await
                .expect_ok();
            bob.leave(&room).await.expect_ok();
            bob.leave(allowed).await.expect_ok();
            bob.join(&room).await.expect_error(403, "M_FORBIDDEN");
        }
        // An invite is as good.
        alice.invite(&room, &bob.user_id).await.expect_ok();
        bob.join(&room).await.expect_ok();
        bob.leave(&room).await.expect_ok();
        bob.join(&first).await.expect_ok();
        for mangled in [
            json!(["invalid"]),
            json!("invalid"),
            json!([]),
            allow(&[&*second]),
        ] {
            set(json!({ "join_rule": rule, "allow": mangled })).await;
            bob.join(&room).await.expect_error(403, "M_FORBIDDEN");
        }
        // Nobody who is left may invite: nobody vouches.
        set(rules.clone()).await;
        let mut levels = state(&alice, &room, "m.room.power_levels", "").await;
        levels["invite"] = json!(100);
        if version < 12 {
            levels["users"][&alice.user_id] = json!(50);
        }
        alice
            .send_state(&room, "m.room.power_levels", "", &levels)
            .await
            .expect_ok();
        let joined = bob.join(&room).await;
        if version < 12 {
            joined.expect_error(403, "M_FORBIDDEN");
        } else {
            // Its creator stands above all levels.
            joined.expect_ok();
        }
        bob.leave(&first).await.expect_ok();
    }
}
