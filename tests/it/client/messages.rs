//! Pages of the timeline, single events, the events around one, and state.

use std::time::Duration;

use serde_json::{Value, json};

use super::paging::{all, ids, path, room};
use crate::harness::{client::encode, server::TestServer};

#[tokio::test]
async fn pages_have_no_holes_and_no_doubles() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let mut sent = Vec::new();
    for number in 0..250 {
        sent.push(anna.send(&room_id, &format!("number {number}")).await);
    }
    for limit in [1, 7, 100, 1_000] {
        let query = format!("&limit={limit}");
        let mut back = ids(&all(&anna, &room_id, "b", &query).await.into());
        let forth = ids(&all(&anna, &room_id, "f", &query).await.into());
        back.reverse();
        assert_eq!(back, forth, "limit {limit}");
        assert!(forth.ends_with(&sent), "limit {limit}");
        // What comes before is the making of the room.
        let creation = &forth[..forth.len() - sent.len()];
        let first = path(&room_id, &format!("event/{}", encode(&creation[0])));
        let first = anna.get(&first).await.expect_ok();
        assert_eq!(first["type"], "m.room.create");
    }
}

#[tokio::test]
async fn tokens_name_points_between_events() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let mut sent = Vec::new();
    for number in 0..6 {
        sent.push(anna.send(&room_id, &format!("number {number}")).await);
    }
    let page = anna.messages(&room_id, "&limit=2").await;
    assert_eq!(ids(&page["chunk"]), [sent[5].clone(), sent[4].clone()]);
    let end = page["end"].as_str().unwrap();
    // From there the other way come the same events again.
    let again = path(&room_id, &format!("messages?dir=f&from={end}"));
    let again = anna.get(&again).await.expect_ok();
    assert_eq!(ids(&again["chunk"]), sent[4..6]);
    assert_eq!(again["start"], end);
    assert_eq!(again["end"], Value::Null);
    // A page stops where it is told to.
    let start = page["start"].as_str().unwrap();
    let query = format!("&from={start}&to={end}&limit=50");
    let part = anna.messages(&room_id, &query).await;
    assert_eq!(ids(&part["chunk"]), [sent[5].clone(), sent[4].clone()]);
    let nothing = anna
        .messages(&room_id, &format!("&from={end}&to={end}"))
        .await;
    assert_eq!(nothing["chunk"], json!([]));
    assert_eq!(nothing["end"], Value::Null);
    for token in ["nonsense", "t-1", "t", "s1_x", "t99999999999999999999"] {
        for parameter in ["from", "to"] {
            let query = path(&room_id, &format!("messages?dir=b&{parameter}={token}"));
            let answer = anna.get(&query).await;
            answer.expect_error(400, "M_INVALID_PARAM");
        }
    }
    // The stream has no more positions than it has, and knows the room at all of them.
    let beginning = anna.messages(&room_id, "&from=s0").await;
    assert_eq!(beginning["chunk"], json!([]));
    let now = anna
        .messages(&room_id, "&from=s99999999_1700000000000&limit=1")
        .await;
    assert_eq!(ids(&now["chunk"]), sent[5..6]);
}

#[tokio::test]
async fn a_filter_passes_over_events_without_losing_its_way() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let mut wanted = Vec::new();
    for number in 0..120 {
        let kind = if number % 40 == 0 {
            "org.example.rare"
        } else {
            "org.example.common"
        };
        let content = json!({ "number": number, "url": "mxc://example.org/a" });
        let event_id = anna.send_event(&room_id, kind, &content).await;
        if number % 40 == 0 {
            wanted.push(event_id);
        }
    }
    let filtered = async |filter: Value, dir: &str| {
        let query = format!("&limit=2&filter={}", encode(&filter.to_string()));
        ids(&all(&anna, &room_id, dir, &query).await.into())
    };
    assert_eq!(
        filtered(json!({ "types": ["org.example.r*"] }), "f").await,
        wanted
    );
    let but = json!({ "not_types": ["m.*", "org.example.common"], "related_by_senders": [] });
    let mut back = filtered(but, "b").await;
    back.reverse();
    assert_eq!(back, wanted);
    let with_url = filtered(json!({ "contains_url": true }), "f").await;
    assert_eq!(with_url.len(), 120);
    let nobody = json!({ "senders": ["@nobody:example.org"] });
    assert!(filtered(nobody, "b").await.is_empty());
    let elsewhere = json!({ "rooms": ["!elsewhere:example.org"] });
    assert!(filtered(elsewhere, "b").await.is_empty());
    let broken = path(&room_id, "messages?dir=b&filter=%7B");
    assert_eq!(anna.get(&broken).await.status, 400);
}

#[tokio::test]
async fn lazily_loaded_members_are_those_who_speak() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = room(&anna, "shared").await;
    anna.invite(&room_id, &ben.user_id).await.expect_ok();
    ben.join(&room_id).await.expect_ok();
    let hello = anna.send(&room_id, "hello").await;
    let filter = encode(&json!({ "lazy_load_members": true }).to_string());
    let page = anna
        .messages(&room_id, &format!("&limit=1&filter={filter}"))
        .await;
    let members = page["state"].as_array().unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0]["state_key"], *anna.user_id);
    assert_eq!(members[0]["room_id"], *room_id);
    let context = path(&room_id, &format!("context/{}?limit=0", encode(&hello)));
    let all_state = anna.get(&context).await.expect_ok();
    assert_eq!(all_state["event"]["event_id"], *hello);
    assert_eq!(members_in(&all_state["state"]), 2);
    let lazy = anna
        .get(&format!("{context}&filter={filter}"))
        .await
        .expect_ok();
    assert_eq!(members_in(&lazy["state"]), 1);
    assert!(lazy["state"].as_array().unwrap().len() > 2);
}

fn members_in(state: &Value) -> usize {
    let state = state.as_array().unwrap().iter();
    state
        .filter(|event| event["type"] == "m.room.member")
        .count()
}

#[tokio::test]
async fn a_context_has_half_before_and_half_after() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let mut sent = Vec::new();
    for number in 0..9 {
        sent.push(anna.send(&room_id, &format!("number {number}")).await);
    }
    let context = path(&room_id, &format!("context/{}?limit=4", encode(&sent[4])));
    let context = anna.get(&context).await.expect_ok();
    assert_eq!(
        ids(&context["events_before"]),
        [sent[3].clone(), sent[2].clone()]
    );
    assert_eq!(ids(&context["events_after"]), sent[5..7]);
    let (start, end) = (context["start"].as_str(), context["end"].as_str());
    let older = anna
        .messages(&room_id, &format!("&limit=1&from={}", start.unwrap()))
        .await;
    assert_eq!(ids(&older["chunk"]), sent[1..2]);
    let newer = format!("messages?dir=f&limit=1&from={}", end.unwrap());
    let newer = anna.get(&path(&room_id, &newer)).await.expect_ok();
    assert_eq!(ids(&newer["chunk"]), sent[7..8]);
    for event_id in ["$nothing", "$nothing%00"] {
        for what in ["event", "context"] {
            let answer = anna
                .get(&path(&room_id, &format!("{what}/{event_id}")))
                .await;
            answer.expect_error(404, "M_NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn state_is_read_as_a_whole_and_by_key() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = room(&anna, "shared").await;
    let topic = json!({ "topic": "Birds" });
    anna.send_state(&room_id, "m.room.topic", "", &topic)
        .await
        .expect_ok();
    let key = json!({ "n": 1 });
    anna.send_state(&room_id, "org.example.thing", "a/b", &key)
        .await
        .expect_ok();
    for topic_path in ["state/m.room.topic", "state/m.room.topic/"] {
        let found = anna.get(&path(&room_id, topic_path)).await.expect_ok();
        assert_eq!(found["topic"], "Birds");
    }
    let found = anna
        .get(&path(&room_id, "state/org.example.thing/a%2Fb"))
        .await;
    assert_eq!(found.expect_ok(), key);
    let event = anna
        .get(&path(&room_id, "state/m.room.topic/?format=event"))
        .await;
    let event = event.expect_ok();
    assert_eq!(event["content"]["topic"], "Birds");
    assert_eq!(event["room_id"], *room_id);
    let state = anna.get(&path(&room_id, "state")).await.expect_ok();
    assert!(
        state
            .as_array()
            .unwrap()
            .iter()
            .any(|other| other["event_id"] == event["event_id"])
    );
    let missing = anna
        .get(&path(&room_id, "state/org.example.thing/none%00"))
        .await;
    missing.expect_error(404, "M_NOT_FOUND");
    for part in [
        "state",
        "state/m.room.topic/",
        "members",
        "joined_members",
        "messages?dir=b",
    ] {
        let stranger = ben.get(&path(&room_id, part)).await;
        stranger.expect_error(403, "M_FORBIDDEN");
        let unknown = ben.get(&path("!unknown:example.org", part)).await;
        unknown.expect_error(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn members_are_listed_by_membership_and_moment() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = room(&anna, "shared").await;
    let before = anna.messages(&room_id, "&limit=1").await;
    let before = before["start"].as_str().unwrap().to_owned();
    anna.invite(&room_id, &ben.user_id).await.expect_ok();
    let members = async |query: &str| {
        let answer = anna.get(&path(&room_id, &format!("members?{query}"))).await;
        let chunk = answer.expect_ok()["chunk"].as_array().unwrap().clone();
        let mut users: Vec<String> = chunk
            .iter()
            .map(|member| member["state_key"].as_str().unwrap().to_owned())
            .collect();
        users.sort_unstable();
        users
    };
    let (a, b) = (&anna.user_id, &ben.user_id);
    assert_eq!(members("").await, [a.clone(), b.clone()]);
    assert_eq!(members("membership=join").await, [a.clone()]);
    assert_eq!(members("not_membership=join").await, [b.clone()]);
    assert_eq!(
        members("membership=join&not_membership=invite").await,
        [a.clone()]
    );
    assert_eq!(members(&format!("at={before}")).await, [a.clone()]);
    // The whole timeline begins before anybody was there.
    let sync = anna.sync(None, Duration::ZERO).await;
    let timeline = &sync["rooms"]["join"][&room_id]["timeline"];
    let begin = timeline["prev_batch"].as_str().unwrap();
    assert_eq!((&timeline["limited"], begin), (&json!(false), "t0"));
    assert_eq!(members(&format!("at={begin}")).await, [a.clone()]);
    let joined = anna
        .get(&path(&room_id, "joined_members"))
        .await
        .expect_ok();
    assert_eq!(
        joined["joined"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        [a]
    );
    ben.get(&path(&room_id, "joined_members"))
        .await
        .expect_error(403, "M_FORBIDDEN");
    assert_eq!(
        ben.get("joined_rooms").await.expect_ok()["joined_rooms"],
        json!([])
    );
    ben.join(&room_id).await.expect_ok();
    assert_eq!(
        ben.get("joined_rooms").await.expect_ok()["joined_rooms"],
        json!([room_id])
    );
}

#[tokio::test]
async fn the_timeline_of_who_left_and_came_back_begins_anew() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = room(&anna, "shared").await;
    anna.invite(&room_id, &ben.user_id).await.expect_ok();
    ben.join(&room_id).await.expect_ok();
    let filter = json!({ "room": { "timeline": { "types": ["m.room.message"] } } });
    let filter = encode(&filter.to_string());
    let sync = async |since: Option<&Value>, kind: &str| {
        let since = since.map(|since| format!("&since={}", since.as_str().unwrap()));
        let path = format!("sync?filter={filter}{}", since.unwrap_or_default());
        let answer = ben.get(&path).await.expect_ok();
        let timeline = answer["rooms"][kind][&room_id]["timeline"].clone();
        let events = timeline["events"].as_array().unwrap().iter();
        let bodies: Vec<_> = events
            .map(|event| event["content"]["body"].as_str().unwrap().to_owned())
            .collect();
        (
            answer["next_batch"].clone(),
            bodies,
            timeline["limited"].clone(),
        )
    };
    anna.send(&room_id, "first").await;
    let (since, bodies, limited) = sync(None, "join").await;
    assert_eq!((bodies, limited), (vec!["first".to_owned()], json!(false)));
    let again = async || {
        ben.leave(&room_id).await.expect_ok();
        anna.invite(&room_id, &ben.user_id).await.expect_ok();
        ben.join(&room_id).await.expect_ok();
    };
    again().await;
    anna.send(&room_id, "second").await;
    // The first one was told before: what comes now is no continuation.
    let (since, bodies, limited) = sync(Some(&since), "join").await;
    assert_eq!(
        (bodies, limited),
        (vec!["first".to_owned(), "second".to_owned()], json!(true))
    );
    again().await;
    ben.send(&room_id, "third").await;
    ben.leave(&room_id).await.expect_ok();
    // Who was there all the time, but for a moment, hears how it went on.
    let (since, bodies, limited) = sync(Some(&since), "leave").await;
    assert_eq!((bodies, limited), (vec!["third".to_owned()], json!(false)));
    // Who comes and goes again between two syncs was told the earlier ones, too.
    anna.invite(&room_id, &ben.user_id).await.expect_ok();
    ben.join(&room_id).await.expect_ok();
    ben.leave(&room_id).await.expect_ok();
    let (_, bodies, limited) = sync(Some(&since), "leave").await;
    let all = ["first", "second", "third"].map(str::to_owned);
    assert_eq!((bodies, limited), (all.to_vec(), json!(true)));
}

#[tokio::test]
async fn redacted_events_have_no_content_anywhere() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let secret = anna.send(&room_id, "a secret word").await;
    let topic = json!({ "topic": "a secret word" });
    let topic = anna
        .send_state(&room_id, "m.room.topic", "", &topic)
        .await
        .expect_ok();
    let topic = topic["event_id"].as_str().unwrap();
    anna.send(&room_id, "something else").await;
    // It tells what it replaced.
    let later = json!({ "topic": "a plain word" });
    anna.send_state(&room_id, "m.room.topic", "", &later)
        .await
        .expect_ok();
    for event_id in [&*secret, topic] {
        let rest = format!("redact/{}/{}", encode(event_id), anna.transaction_id());
        anna.put(&path(&room_id, &rest), &json!({}))
            .await
            .expect_ok();
    }
    let sibling = server.sibling().await;
    for anna in [&anna, &anna.at(&sibling.url)] {
        for part in [
            "messages?dir=b&limit=100".to_owned(),
            "messages?dir=f&limit=100".to_owned(),
            format!("event/{}", encode(&secret)),
            format!("context/{}", encode(&secret)),
            format!("event/{}", encode(topic)),
            "state".to_owned(),
            "state/m.room.topic/".to_owned(),
            "state/m.room.topic/?format=event".to_owned(),
        ] {
            let answer = anna.get(&path(&room_id, &part)).await;
            assert_eq!(answer.status, 200, "{part}");
            assert!(
                !answer.text.contains("a secret word"),
                "{part}: {}",
                answer.text
            );
        }
        let event = anna
            .get(&path(&room_id, &format!("event/{}", encode(&secret))))
            .await;
        let event = event.expect_ok();
        assert_eq!(event["unsigned"]["redacted_because"]["redacts"], *secret);
        let told = anna.sync(None, Duration::ZERO).await.to_string();
        assert!(!told.contains("a secret word"), "{told}");
    }
}
