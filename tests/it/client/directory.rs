//! Aliases and published rooms (specification v1.19, client-server API, "Room aliases" and
//! "Published room directory").

use serde_json::{Value, json};

use super::create_room::state;
use crate::harness::{
    client::{Answer, Client, encode},
    server::TestServer,
};

fn path(alias: &str) -> String {
    format!("directory/room/{}", encode(alias))
}

async fn add(client: &Client, alias: &str, room: &str) -> Answer {
    client.put(&path(alias), &json!({ "room_id": room })).await
}

#[tokio::test]
async fn aliases_are_made_found_listed_and_deleted() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let room = alice.create_room(&json!({})).await;
    let other = bob.create_room(&json!({})).await;
    let alias = "#Été-1794:example.org";
    alice
        .get(&path(alias))
        .await
        .expect_error(404, "M_NOT_FOUND");
    add(&bob, alias, &room)
        .await
        .expect_error(403, "M_FORBIDDEN");
    add(&alice, alias, &room).await.expect_ok();
    add(&alice, alias, &room)
        .await
        .expect_error(409, "M_UNKNOWN");
    add(&bob, alias, &other)
        .await
        .expect_error(409, "M_UNKNOWN");
    // Nobody needs to be logged in to look it up.
    let found = server.client().get(&path(alias)).await.expect_ok();
    assert_eq!(
        found,
        json!({ "room_id": room, "servers": ["example.org"] })
    );
    let list = format!("rooms/{}/aliases", encode(&room));
    let listed = alice.get(&list).await.expect_ok();
    assert_eq!(listed["aliases"], json!([alias]));
    bob.get(&list).await.expect_error(403, "M_FORBIDDEN");
    bob.delete(&path(alias))
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice.delete(&path(alias)).await.expect_ok();
    alice
        .delete(&path(alias))
        .await
        .expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn aliases_of_odd_letters_length_or_servers_are_refused() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let room = alice.create_room(&json!({})).await;
    let long = format!("#{}:example.org", "a".repeat(255));
    for alias in [
        "#a b:example.org",
        "#a:elsewhere.org",
        "#:example.org",
        &long,
    ] {
        add(&alice, alias, &room)
            .await
            .expect_error(400, "M_INVALID_PARAM");
    }
    alice
        .get(&path("#a\0b:example.org"))
        .await
        .expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn the_canonical_alias_points_to_the_room() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let body = json!({ "preset": "public_chat", "room_alias_name": "place" });
    let room = alice.create_room(&body).await;
    let other = alice
        .create_room(&json!({ "room_alias_name": "rue" }))
        .await;
    let kind = "m.room.canonical_alias";
    for wrong in [
        json!({ "alias": "#rue:example.org" }),
        json!({ "alias": "#nowhere:example.org" }),
        json!({ "alias": "#place:example.org", "alt_aliases": ["#rue:example.org"] }),
    ] {
        alice
            .send_state(&room, kind, "", &wrong)
            .await
            .expect_error(400, "M_BAD_ALIAS");
    }
    alice
        .send_state(&room, kind, "", &json!({ "alias": "place" }))
        .await
        .expect_error(400, "M_INVALID_PARAM");
    add(&alice, "#parvis:example.org", &room).await.expect_ok();
    let both = json!({ "alias": "#place:example.org", "alt_aliases": ["#parvis:example.org"] });
    alice.send_state(&room, kind, "", &both).await.expect_ok();
    // A deleted alias is named no more.
    bob.join(&room).await.expect_ok();
    add(&bob, "#bob:example.org", &room).await.expect_ok();
    alice.delete(&path("#place:example.org")).await.expect_ok();
    assert_eq!(
        state(&alice, &room, kind, "").await,
        json!({ "alt_aliases": ["#parvis:example.org"] })
    );
    // Alice may change aliases in this room; Bob deletes his own.
    alice.delete(&path("#bob:example.org")).await.expect_ok();
    add(&bob, "#bob:example.org", &room).await.expect_ok();
    bob.delete(&path("#bob:example.org")).await.expect_ok();
    bob.delete(&path("#parvis:example.org"))
        .await
        .expect_error(403, "M_FORBIDDEN");
    assert_eq!(
        state(&alice, &other, kind, "").await,
        json!({ "alias": "#rue:example.org" })
    );
}

/// The names on a page.
fn names(page: &Value) -> Vec<String> {
    let chunk = page["chunk"].as_array().unwrap();
    let name = |room: &Value| room["name"].as_str().unwrap().to_owned();
    chunk.iter().map(name).collect()
}

#[tokio::test]
async fn thirty_published_rooms_are_paged_both_ways() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    for number in 0..30 {
        let body = json!({ "visibility": "public", "name": format!("Salon {number}") });
        let room = alice.create_room(&body).await;
        // The last ones are larger.
        if number >= 25 {
            bob.join(&room).await.expect_ok();
        }
    }
    alice.create_room(&json!({ "name": "Secret" })).await;
    let expected: Vec<_> = (25..30)
        .chain(0..25)
        .map(|number| format!("Salon {number}"))
        .collect();

    let page_of = async |since: Option<&str>| {
        let since = since.map(|since| format!("&since={since}"));
        let path = format!("publicRooms?limit=7{}", since.unwrap_or_default());
        server.client().get(&path).await.expect_ok()
    };
    let mut page = page_of(None).await;
    assert_eq!(page.get("prev_batch"), None);
    assert_eq!(page["total_room_count_estimate"], 30);
    assert_eq!(page["chunk"][0]["num_joined_members"], 2);
    // A room without a join rule in the list is public.
    assert_eq!(page["chunk"][0].get("join_rule"), None);
    let mut forward = vec![names(&page)];
    while let Some(next) = page["next_batch"].as_str() {
        page = page_of(Some(next)).await;
        forward.push(names(&page));
    }
    assert_eq!(forward.concat(), expected);
    assert_eq!(forward.last().unwrap().len(), 2);

    let mut backward = vec![names(&page)];
    while let Some(previous) = page["prev_batch"].as_str() {
        page = page_of(Some(previous)).await;
        backward.insert(0, names(&page));
    }
    assert_eq!(backward, forward);

    for since in ["x", "n1", "n1_x", "9", "p_"] {
        let path = format!("publicRooms?since={since}");
        let answer = server.client().get(&path).await;
        answer.expect_error(400, "M_INVALID_PARAM");
    }
    let far = format!("publicRooms?since=n0_{}&limit=0", i64::MAX);
    let page = server.client().get(&far).await.expect_ok();
    assert_eq!(page["chunk"], json!([]));
}

#[tokio::test]
async fn published_rooms_are_searched_by_text_and_type() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    for body in [
        json!({ "name": "100% Été", "creation_content": { "type": "m.space" } }),
        json!({ "name": "100 hivers", "topic": "Le_temps" }),
        json!({ "name": "Place", "room_alias_name": "agora" }),
    ] {
        let mut body = body;
        body["visibility"] = json!("public");
        alice.create_room(&body).await;
    }
    let search = async |filter: Value| {
        let body = json!({ "filter": filter });
        let page = alice.post("publicRooms", &body).await.expect_ok();
        names(&page)
    };
    let all = ["100% Été", "100 hivers", "Place"];
    for (filter, expected) in [
        (json!({}), &all[..]),
        (json!({ "generic_search_term": "" }), &all),
        (json!({ "generic_search_term": "100" }), &all[..2]),
        (json!({ "generic_search_term": "100%" }), &all[..1]),
        (json!({ "generic_search_term": "HIVER" }), &all[1..2]),
        (json!({ "generic_search_term": "le_t" }), &all[1..2]),
        (json!({ "generic_search_term": "l__t" }), &[]),
        (json!({ "generic_search_term": "#agora" }), &all[2..]),
        (json!({ "generic_search_term": "\\" }), &[]),
        (json!({ "generic_search_term": "a\u{0}gora" }), &all[2..]),
        (json!({ "room_types": ["m.space"] }), &all[..1]),
        (json!({ "room_types": [null] }), &all[1..]),
        (json!({ "room_types": [null, "m.space"] }), &all),
    ] {
        assert_eq!(search(filter.clone()).await, expected, "{filter}");
    }
    let elsewhere = alice.get("publicRooms?server=elsewhere.org").await;
    elsewhere.expect_error(404, "M_NOT_FOUND");
    let anonymous = server.client().post("publicRooms", &json!({})).await;
    anonymous.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn who_may_set_the_alias_may_publish_the_room() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let room = alice
        .create_room(&json!({ "preset": "public_chat", "name": "Place" }))
        .await;
    bob.join(&room).await.expect_ok();
    let path = format!("directory/list/room/{}", encode(&room));
    let public = json!({ "visibility": "public" });
    bob.put(&path, &public)
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice.put(&path, &public).await.expect_ok();
    let visibility = server.client().get(&path).await.expect_ok();
    assert_eq!(visibility, public);
    let page = server.client().get("publicRooms").await.expect_ok();
    assert_eq!(names(&page), ["Place"]);
    alice
        .put(&path, &json!({ "visibility": "private" }))
        .await
        .expect_ok();
    let page = server.client().get("publicRooms").await.expect_ok();
    assert_eq!(page["chunk"], json!([]));
    alice
        .put(&path, &json!({ "visibility": "hidden" }))
        .await
        .expect_error(400, "M_INVALID_PARAM");
    let unknown = "directory/list/room/!unknown:example.org";
    alice.get(unknown).await.expect_error(404, "M_NOT_FOUND");
}
