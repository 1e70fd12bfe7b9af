//! Rooms seen from the outside (specification v1.19, client-server API, "Spaces", "Room summary" and
//! "Mutual rooms").

use serde_json::{Value, json};

use crate::harness::{
    client::{Client, encode},
    server::TestServer,
    tchap,
};

async fn space(client: &Client, name: &str) -> String {
    let space = json!({
        "preset": "public_chat",
        "name": name,
        "creation_content": { "type": "m.space" },
    });
    client.create_room(&space).await
}

async fn public(client: &Client, name: &str) -> String {
    let room = json!({ "preset": "public_chat", "name": name });
    client.create_room(&room).await
}

async fn link(client: &Client, space: &str, child: &str, content: Value) {
    client
        .send_state(space, "m.space.child", child, &content)
        .await
        .expect_ok();
}

fn child(order: &str) -> Value {
    json!({ "via": ["example.org"], "order": order })
}

fn hierarchy(space: &str, query: &str) -> String {
    format!(
        "/_matrix/client/v1/rooms/{}/hierarchy?{query}",
        encode(space)
    )
}

fn names(page: &Value) -> Vec<&str> {
    let rooms = page["rooms"].as_array().unwrap().iter();
    rooms.map(|room| room["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_space_is_walked_depth_first_in_the_order_of_its_children() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let root = space(&anna, "root").await;
    let inner = space(&anna, "inner").await;
    let (early, late) = (public(&anna, "early").await, public(&anna, "late").await);
    let deep = public(&anna, "deep").await;
    link(&anna, &root, &late, child("z")).await;
    link(&anna, &root, &inner, child("b")).await;
    link(&anna, &root, &early, child("a")).await;
    link(&anna, &inner, &deep, child("a")).await;
    // A loop ends where it began.
    link(&anna, &inner, &root, child("b")).await;

    let page = anna.get(&hierarchy(&root, "")).await.expect_ok();
    assert_eq!(names(&page), ["root", "early", "inner", "deep", "late"]);
    assert_eq!(page.get("next_batch"), None);
    let first = &page["rooms"][0];
    assert_eq!(first["room_type"], "m.space");
    assert_eq!(first["room_version"], "12");
    let told: Vec<_> = first["children_state"].as_array().unwrap().iter().collect();
    let keys: Vec<_> = told
        .iter()
        .map(|event| event["state_key"].clone())
        .collect();
    assert_eq!(keys, [json!(early), json!(inner), json!(late)]);
    assert!(told[0]["origin_server_ts"].is_u64());
    assert_eq!(told[0]["sender"], json!(anna.user_id));
    assert_eq!(told[0]["content"]["order"], "a");
    assert_eq!(page["rooms"][1]["children_state"], json!([]));

    let flat = anna.get(&hierarchy(&root, "max_depth=1")).await.expect_ok();
    assert_eq!(names(&flat), ["root", "early", "inner", "late"]);
    let alone = anna.get(&hierarchy(&root, "max_depth=0")).await.expect_ok();
    assert_eq!(names(&alone), ["root"]);
}

#[tokio::test]
async fn pages_of_a_space_follow_each_other_without_holes_or_doubles() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let root = space(&anna, "root").await;
    let mut expected = vec!["root".to_owned()];
    for letter in ["a", "b", "c"] {
        let inner = space(&anna, letter).await;
        link(&anna, &root, &inner, child(letter)).await;
        expected.push(letter.to_owned());
        for number in ["1", "2"] {
            let name = format!("{letter}{number}");
            let room = public(&anna, &name).await;
            link(&anna, &inner, &room, child(number)).await;
            expected.push(name);
        }
    }
    for limit in 1..=4 {
        let mut found = Vec::new();
        let mut from = String::new();
        loop {
            let query = format!("limit={limit}{from}");
            let page = anna.get(&hierarchy(&root, &query)).await.expect_ok();
            let here = names(&page);
            assert!(here.len() <= limit);
            found.extend(here.into_iter().map(ToOwned::to_owned));
            match page["next_batch"].as_str() {
                Some(next) => from = format!("&from={}", encode(next)),
                None => break,
            }
        }
        assert_eq!(found, expected, "{limit} on a page");
    }
    let page = anna.get(&hierarchy(&root, "limit=2")).await.expect_ok();
    let next = encode(page["next_batch"].as_str().unwrap());
    for query in [
        format!("limit=2&max_depth=1&from={next}"),
        format!("limit=2&suggested_only=true&from={next}"),
        "from=x".to_owned(),
        "from=a999_0".to_owned(),
        "limit=0".to_owned(),
    ] {
        anna.get(&hierarchy(&root, &query))
            .await
            .expect_error(400, "M_INVALID_PARAM");
    }
    anna.get(&hierarchy(&root, "limit=many"))
        .await
        .expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn a_walk_shows_what_the_walker_may_join_or_read_and_nothing_else() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let root = space(&anna, "root").await;
    let rooms = [
        ("public", json!({ "preset": "public_chat" })),
        ("private", json!({ "preset": "private_chat" })),
        (
            "invited",
            json!({ "preset": "private_chat", "invite": [ben.user_id] }),
        ),
        ("knock", rule(&json!({ "join_rule": "knock" }))),
        (
            "readable",
            json!({ "preset": "private_chat", "initial_state": [{
            "type": "m.room.history_visibility",
            "content": { "history_visibility": "world_readable" },
        }] }),
        ),
        ("members", rule(&allow(&root))),
        ("strangers", rule(&allow("!elsewhere:example.org"))),
    ];
    for (name, mut room) in rooms {
        room["name"] = name.into();
        let room = anna.create_room(&room).await;
        link(
            &anna,
            &root,
            &room,
            json!({ "via": ["example.org"], "order": name }),
        )
        .await;
    }
    let gone = public(&anna, "removed").await;
    link(&anna, &root, &gone, json!({})).await;
    link(&anna, &root, "!nowhere:example.org", child("a")).await;
    link(&anna, &root, "not a room", child("a")).await;
    let suggested = public(&anna, "suggested").await;
    let content = json!({ "via": ["example.org"], "suggested": true });
    link(&anna, &root, &suggested, content).await;

    let seen = ben.get(&hierarchy(&root, "")).await.expect_ok();
    let open = [
        "root",
        "invited",
        "knock",
        "public",
        "readable",
        "suggested",
    ];
    assert_eq!(names(&seen), open);
    ben.join(&root).await.expect_ok();
    let seen = ben.get(&hierarchy(&root, "")).await.expect_ok();
    let mut also = open.to_vec();
    also.insert(3, "members");
    assert_eq!(names(&seen), also);
    assert_eq!(seen["rooms"][3]["allowed_room_ids"], json!([root]));
    let seen = ben.get(&hierarchy(&root, "suggested_only=true")).await;
    let seen = seen.expect_ok();
    assert_eq!(names(&seen), ["root", "suggested"]);
    assert_eq!(
        seen["rooms"][0]["children_state"].as_array().unwrap().len(),
        1
    );

    let ban = format!("rooms/{}/ban", encode(&root));
    anna.post(&ban, &json!({ "user_id": ben.user_id }))
        .await
        .expect_ok();
    for nothing in [&root, "!nowhere:example.org"] {
        ben.get(&hierarchy(nothing, ""))
            .await
            .expect_error(403, "M_FORBIDDEN");
    }
}

fn rule(content: &Value) -> Value {
    json!({ "initial_state": [{ "type": "m.room.join_rules", "content": content }] })
}

fn allow(room: &str) -> Value {
    json!({
        "join_rule": "restricted",
        "allow": [{ "type": "m.room_membership", "room_id": room }],
    })
}

fn summary(room: &str) -> String {
    format!("/_matrix/client/v1/room_summary/{}", encode(room))
}

#[tokio::test]
async fn a_summary_tells_of_a_room_who_may_join_it() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room = anna
        .create_room(&json!({
            "preset": "public_chat",
            "name": "Cartes",
            "topic": "Tout sur les cartes",
            "room_alias_name": "cartes",
            "initial_state": [{
                "type": "m.room.encryption",
                "content": { "algorithm": "m.megolm.v1.aes-sha2" },
            }],
        }))
        .await;
    let told = ben.get(&summary("#cartes:example.org")).await.expect_ok();
    assert_eq!(
        told,
        json!({
            "room_id": room,
            "name": "Cartes",
            "topic": "Tout sur les cartes",
            "canonical_alias": "#cartes:example.org",
            "num_joined_members": 1,
            // A room that does not say its join rule here is public.
            "world_readable": false,
            "guest_can_join": false,
            "encryption": "m.megolm.v1.aes-sha2",
            "room_version": "12",
            "membership": "leave",
        })
    );
    let own = anna.get(&summary(&room)).await.expect_ok();
    assert_eq!(own["membership"], "join");
    let private = anna.create_room(&json!({ "preset": "private_chat" })).await;
    for unknown in [&private, "!nowhere:example.org", "#nowhere:example.org"] {
        ben.get(&summary(unknown))
            .await
            .expect_error(404, "M_NOT_FOUND");
    }
    anna.invite(&private, &ben.user_id).await.expect_ok();
    let invited = ben.get(&summary(&private)).await.expect_ok();
    assert_eq!(invited["membership"], "invite");
    assert_eq!(invited.get("allowed_room_ids"), None);
    server
        .client()
        .get(&summary(&room))
        .await
        .expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_guest_of_tchap_sees_no_open_rooms_from_the_outside() {
    let server = tchap::server("").await;
    let agent = tchap::person(&server, "camille.durand@interieur.gouv.fr").await;
    let guest = tchap::person(&server, "kermit@entreprise.example").await;
    let forum = agent
        .create_room(&json!({ "preset": "public_chat", "name": "Forum" }))
        .await;
    guest
        .get(&summary(&forum))
        .await
        .expect_error(404, "M_NOT_FOUND");
    guest
        .get(&hierarchy(&forum, ""))
        .await
        .expect_error(403, "M_FORBIDDEN");
    agent.get(&summary(&forum)).await.expect_ok();
}

#[tokio::test]
async fn two_people_see_the_rooms_that_they_share() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let shared = public(&anna, "shared").await;
    let other = public(&anna, "other").await;
    let left = public(&anna, "left").await;
    for room in [&shared, &left] {
        ben.join(room).await.expect_ok();
    }
    ben.leave(&left).await.expect_ok();
    anna.invite(&other, &ben.user_id).await.expect_ok();
    let path = |user: &str| format!("/_matrix/client/v1/mutual_rooms?user_id={}", encode(user));
    let found = anna.get(&path(&ben.user_id)).await.expect_ok();
    assert_eq!(found, json!({ "joined": [shared], "count": 1 }));
    let nobody = anna.get(&path("@nobody:example.org")).await.expect_ok();
    assert_eq!(nobody, json!({ "joined": [], "count": 0 }));
    for wrong in [path(&anna.user_id), path("ben"), path("")] {
        anna.get(&wrong).await.expect_error(400, "M_INVALID_PARAM");
    }
    let token = format!("{}&from=elsewhere", path(&ben.user_id));
    anna.get(&token).await.expect_error(400, "M_INVALID_PARAM");
    anna.get("/_matrix/client/v1/mutual_rooms")
        .await
        .expect_error(400, "M_INVALID_PARAM");
}
