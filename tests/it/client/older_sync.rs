//! The ways to sync before `/sync` (specification v1.19, client-server API, `/initialSync`, `/events`,
//! "Room previews").

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    client::{Client, encode},
    server::TestServer,
};

fn room(visibility: &str) -> Value {
    json!({
        "preset": "public_chat",
        "initial_state": [{
            "type": "m.room.history_visibility", "state_key": "",
            "content": { "history_visibility": visibility },
        }],
    })
}

fn bodies(answer: &Value) -> Vec<&str> {
    let chunk = answer["chunk"].as_array().unwrap();
    let texts = chunk.iter().map(|event| &event["content"]["body"]);
    texts.filter_map(Value::as_str).collect()
}

async fn listen(client: &Client, from: &Value, more: &str) -> Value {
    let from = encode(from.as_str().unwrap());
    let path = format!("events?from={from}{more}");
    client.get(&path).await.expect_ok()
}

#[tokio::test]
async fn an_initial_sync_tells_of_all_rooms_as_before() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let ben = server.register("ben").await;
    let joined = anna.create_room(&room("shared")).await;
    let left = anna.create_room(&room("shared")).await;
    let invited = anna.create_room(&json!({ "invite": [ben.user_id] })).await;
    let list = format!("directory/list/room/{}", encode(&left));
    anna.put(&list, &json!({ "visibility": "public" }))
        .await
        .expect_ok();
    ben.join(&joined).await.expect_ok();
    ben.join(&left).await.expect_ok();
    for text in ["one", "two", "three"] {
        anna.send(&joined, text).await;
    }
    anna.send(&left, "before").await;
    ben.leave(&left).await.expect_ok();
    anna.send(&left, "after").await;
    let user = encode(&ben.user_id);
    let data = format!("user/{user}/rooms/{}/account_data/x.y", encode(&joined));
    ben.put(&data, &json!({ "a": 1 })).await.expect_ok();
    for version in ["v3", "r0"] {
        let path = format!("/_matrix/client/{version}/initialSync?limit=2");
        let told = ben.get(&path).await.expect_ok();
        let rooms = told["rooms"].as_array().unwrap();
        let find = |id: &str| rooms.iter().find(|room| room["room_id"] == id);
        assert!(find(&left).is_none(), "only where it is asked for");
        let room = find(&joined).unwrap();
        assert_eq!(room["membership"], "join");
        assert_eq!(room["visibility"], "private");
        assert_eq!(bodies(&room["messages"]), ["two", "three"]);
        assert_eq!(room["messages"]["chunk"][0]["room_id"], joined);
        let state = room["state"].as_array().unwrap();
        let own = state.iter().find(|event| event["state_key"] == ben.user_id);
        assert_eq!(own.unwrap()["content"]["membership"], "join");
        assert_eq!(room["account_data"][0]["content"], json!({ "a": 1 }));
        let invite = &find(&invited).unwrap()["invite"];
        assert_eq!(invite["sender"], anna.user_id);
        assert_eq!(invite["content"]["membership"], "invite");
        assert!(told["presence"].is_array());
        let types: Vec<_> = told["account_data"].as_array().unwrap().iter().collect();
        assert!(types.iter().any(|data| data["type"] == "m.push_rules"));
        // What comes before is read as ever.
        let start = encode(room["messages"]["start"].as_str().unwrap());
        let page = ben
            .messages(&joined, &format!("&limit=1&from={start}"))
            .await;
        assert_eq!(bodies(&page), ["one"]);
    }
    let told = ben.get("initialSync?archived=true").await.expect_ok();
    let rooms = told["rooms"].as_array().unwrap();
    let gone = rooms.iter().find(|room| room["room_id"] == left).unwrap();
    assert_eq!(gone["membership"], "leave");
    assert_eq!(gone["visibility"], "public");
    assert_eq!(bodies(&gone["messages"]), ["before"]);
    ben.get("initialSync?limit=x")
        .await
        .expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn listening_goes_on_where_it_stopped_and_misses_nothing() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let ben = server.register("ben").await;
    let shared = anna.create_room(&room("shared")).await;
    let other = anna.create_room(&room("shared")).await;
    ben.join(&shared).await.expect_ok();
    let end = ben.get("initialSync").await.expect_ok()["end"].clone();
    let nothing = listen(&ben, &end, "").await;
    assert_eq!(nothing["chunk"], json!([]));
    assert_eq!(nothing["start"], end);
    // More than one answer holds, with what is not for ben in between.
    let mut wanted = Vec::new();
    for number in 0..130 {
        anna.send(&other, "not for ben").await;
        wanted.push(number.to_string());
        anna.send(&shared, &wanted[number]).await;
    }
    let mut heard = Vec::new();
    let mut from = end;
    for _ in 0..3 {
        let answer = listen(&ben, &from, "").await;
        assert!(answer["chunk"].as_array().unwrap().len() <= 100);
        heard.extend(bodies(&answer).into_iter().map(str::to_owned));
        assert_eq!(answer["start"], from);
        from = answer["end"].clone();
    }
    assert_eq!(heard, wanted);
    // It waits, also for an invitation, on another process.
    let sibling = server.sibling().await;
    let there = anna.at(&sibling.url);
    let waiting = async { listen(&ben, &from, "&timeout=30000").await };
    let sending = async {
        tokio::task::yield_now().await;
        there.send(&shared, "from elsewhere").await
    };
    let (answer, _) = tokio::join!(waiting, sending);
    assert_eq!(bodies(&answer), ["from elsewhere"]);
    assert_eq!(answer["chunk"][0]["room_id"], shared);
    anna.invite(&other, &ben.user_id).await.expect_ok();
    let answer = listen(&ben, &answer["end"], "&timeout=30000").await;
    assert_eq!(answer["chunk"][0]["content"]["membership"], "invite");
    for token in ["x", "", "t5", "s1_1_1_1"] {
        let path = format!("events?from={token}");
        ben.get(&path).await.expect_error(400, "M_INVALID_PARAM");
    }
    ben.get("events?from=s0_0&timeout=x")
        .await
        .expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn rooms_that_everybody_may_read_are_peeked_into() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let ben = server.register("ben").await;
    let open = anna.create_room(&room("world_readable")).await;
    let closed = anna.create_room(&room("shared")).await;
    anna.send(&open, "first").await;
    let path = |room: &str| format!("rooms/{}/initialSync", encode(room));
    let told = ben.get(&path(&open)).await.expect_ok();
    assert!(told.get("membership").is_none(), "{told}");
    assert_eq!(bodies(&told["messages"]), ["first"]);
    assert!(told["state"].as_array().unwrap().len() > 5);
    ben.get(&path(&closed))
        .await
        .expect_error(403, "M_FORBIDDEN");
    ben.get(&path("!nowhere:example.org"))
        .await
        .expect_error(403, "M_FORBIDDEN");
    ben.get(&format!("{}?limit=x", path(&open)))
        .await
        .expect_error(400, "M_INVALID_PARAM");
    let cut = ben
        .get(&format!("{}?limit=1", path(&open)))
        .await
        .expect_ok();
    assert_eq!(cut["messages"]["chunk"].as_array().unwrap().len(), 1);
    assert!(cut["messages"]["start"].is_string());
    // What comes is told to who only looks, and to nobody who may not.
    let of = |room: &str| format!("&room_id={}&timeout=30000", encode(room));
    let from = &told["messages"]["end"];
    let more = of(&open);
    let waiting = async { listen(&ben, from, &more).await };
    let sending = async {
        tokio::task::yield_now().await;
        anna.send(&closed, "elsewhere").await;
        anna.send(&open, "second").await
    };
    let (answer, _) = tokio::join!(waiting, sending);
    assert_eq!(bodies(&answer), ["second"]);
    let again = listen(&ben, &answer["end"], &format!("&room_id={}", encode(&open))).await;
    assert_eq!(again["chunk"], json!([]));
    let from = encode(again["end"].as_str().unwrap());
    let refused = ben.get(&format!("events?from={from}{}", of(&closed))).await;
    refused.expect_error(403, "M_FORBIDDEN");
    let wrong = ben.get("events?room_id=here").await;
    wrong.expect_error(400, "M_INVALID_PARAM");
    // Who joins is told so, and who was thrown out sees how it was.
    ben.join(&open).await.expect_ok();
    let told = ben.get(&path(&open)).await.expect_ok();
    assert_eq!(told["membership"], "join");
    let shared = anna.create_room(&room("shared")).await;
    ben.join(&shared).await.expect_ok();
    anna.send(&shared, "for both").await;
    let kick = format!("rooms/{}/kick", encode(&shared));
    let body = json!({ "user_id": ben.user_id });
    anna.post(&kick, &body).await.expect_ok();
    anna.send(&shared, "for Anna").await;
    let told = ben.get(&path(&shared)).await.expect_ok();
    assert_eq!(told["membership"], "leave");
    assert_eq!(bodies(&told["messages"]), ["for both"]);
}

#[tokio::test]
async fn an_event_is_found_without_its_room_by_those_who_may_see_it() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let ben = server.register("ben").await;
    let room = anna.create_room(&room("joined")).await;
    let before = anna.send(&room, "before").await;
    ben.join(&room).await.expect_ok();
    let event = anna.send(&room, "hello").await;
    let get = async |client: &Client, version: &str, event: &str| {
        let path = format!("/_matrix/client/{version}/events/{}", encode(event));
        client.request(Method::GET, &path, None).await
    };
    for version in ["v3", "r0"] {
        let found = get(&ben, version, &event).await.expect_ok();
        assert_eq!(found["content"]["body"], "hello");
        assert_eq!(found["room_id"], room);
    }
    get(&ben, "v3", &before)
        .await
        .expect_error(404, "M_NOT_FOUND");
    let carl = server.register("carl").await;
    get(&carl, "v3", &event)
        .await
        .expect_error(404, "M_NOT_FOUND");
    get(&ben, "v3", "$nothing")
        .await
        .expect_error(404, "M_NOT_FOUND");
    get(&ben, "v3", "$a\0b")
        .await
        .expect_error(404, "M_NOT_FOUND");
    get(&ben, "v3", "nothing")
        .await
        .expect_error(400, "M_INVALID_PARAM");
    let none = get(&server.client(), "v3", &event).await;
    none.expect_error(401, "M_MISSING_TOKEN");
    // Who was banned sees what was said before.
    let body = json!({ "user_id": ben.user_id });
    anna.post(&format!("rooms/{}/ban", encode(&room)), &body)
        .await
        .expect_ok();
    let after = anna.send(&room, "after").await;
    get(&ben, "v3", &event).await.expect_ok();
    get(&ben, "v3", &after)
        .await
        .expect_error(404, "M_NOT_FOUND");
}
