//! Searching what was said, and the event of a time.

use std::{sync::Arc, time::Duration};

use chappe::clock::ManualClock;
use serde_json::{Value, json};

use super::paging::{path, room};
use crate::harness::{
    client::{Client, encode},
    server::{TestOptions, TestServer},
};

/// Searches, and gives what was found.
async fn search(client: &Client, criteria: Value) -> Value {
    search_on(client, criteria, None).await
}

async fn search_on(client: &Client, criteria: Value, next: Option<&str>) -> Value {
    let next = next.map(|next| format!("?next_batch={next}"));
    let path = format!("search{}", next.unwrap_or_default());
    let body = json!({ "search_categories": { "room_events": criteria } });
    let found = client.post(&path, &body).await.expect_ok();
    found["search_categories"]["room_events"].clone()
}

/// The ids of the results, in their order.
fn results(found: &Value) -> Vec<String> {
    let results = found["results"].as_array().unwrap().iter();
    results
        .map(|result| result["result"]["event_id"].as_str().unwrap().to_owned())
        .collect()
}

fn term(term: &str) -> Value {
    json!({ "search_term": term, "order_by": "recent" })
}

#[tokio::test]
async fn words_are_found_in_french_and_english() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let french = anna
        .send(&room_id, "Les réunions sont reportées à l’été")
        .await;
    let english = anna.send(&room_id, "The meetings were postponed").await;
    for (words, expected) in [
        ("reunion", vec![&french]),
        ("RÉUNION", vec![&french]),
        ("reporter", vec![&french]),
        ("ete", vec![&french]),
        ("meeting", vec![&english]),
        ("postpone meeting", vec![&english]),
        ("meeting réunion", vec![]),
        ("l’été", vec![&french]),
        ("nothing", vec![]),
        ("", vec![]),
        ("!&|()' :*\\ \u{0}", vec![]),
        ("'; DROP TABLE events; --", vec![]),
        ("#1", vec![]),
    ] {
        let found = search(&anna, term(words)).await;
        let expected: Vec<_> = expected.into_iter().cloned().collect();
        assert_eq!(results(&found), expected, "{words}");
        assert_eq!(found["count"], expected.len(), "{words}");
    }
    let found = search(&anna, term("reunion")).await;
    assert_eq!(found["highlights"], json!(["reunion"]));
    let result = &found["results"][0];
    assert_eq!(result["result"]["room_id"], *room_id);
    assert!(result["rank"].as_f64().unwrap() > 0.0);
    assert_eq!(result["context"], Value::Null);
}

#[tokio::test]
async fn what_was_said_long_ago_is_found_after_what_was_said_just_now() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let (room_id, other) = (room(&anna, "shared").await, room(&ben, "shared").await);
    let mut said = Vec::new();
    for text in [
        "Le rapport annuel",
        "Rien",
        "Les rapports",
        "Le rapport de Ben",
    ] {
        said.push(anna.send(&room_id, text).await);
        ben.send(&other, "Un autre rapport").await;
    }
    assert_eq!(results(&search(&anna, term("rapport")).await).len(), 3);
    // Much else happens: those messages are beyond what is looked at one by one.
    let mut conn = server.app.store().conn().await.unwrap();
    sqlx::query("UPDATE stream_counter SET position = position + 5000")
        .execute(&mut *conn)
        .await
        .unwrap();
    drop(conn);
    let later = server.sibling().await;
    let anna = anna.at(&later.url);
    said.push(anna.send(&room_id, "Un rapport récent").await);
    anna.send(&room_id, "Rien de neuf").await;
    let expected = [4, 3, 2, 0].map(|nth: usize| said[nth].clone());
    assert_eq!(results(&search(&anna, term("rapport")).await), expected);
    let found = search(&anna, term("rapport annuel")).await;
    assert_eq!(results(&found), [said[0].clone()]);
    let mut others = term("rapport");
    others["filter"] = json!({ "not_senders": [&anna.user_id] });
    assert_eq!(results(&search(&anna, others).await), Vec::<String>::new());
}

#[tokio::test]
async fn a_frequent_word_is_found_to_its_first_message() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let (room_id, other) = (room(&anna, "shared").await, room(&ben, "shared").await);
    let mut said = Vec::new();
    for number in 0..620 {
        said.push(anna.send(&room_id, &format!("Rapport {number}")).await);
        if number % 10 == 0 {
            ben.send(&other, "Un autre rapport").await;
        }
    }
    said.reverse();
    for order in ["recent", "rank"] {
        let criteria =
            json!({ "search_term": "rapport", "order_by": order, "filter": { "limit": 50 } });
        let mut all = Vec::new();
        let mut next = None;
        for page in 0.. {
            assert!(page < 20, "{order}: no end");
            let found = search_on(&anna, criteria.clone(), next.as_deref()).await;
            // About: all were not counted.
            let count = found["count"].as_u64().unwrap();
            assert!((500..=750).contains(&count), "{order}: {count}");
            all.extend(results(&found));
            next = found["next_batch"].as_str().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        assert_eq!(all, said, "{order}");
    }
}

#[tokio::test]
async fn names_and_topics_are_found_by_their_keys() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let body = anna.send(&room_id, "télégraphe").await;
    let name = json!({ "name": "Télégraphe" });
    let name = anna
        .send_state(&room_id, "m.room.name", "", &name)
        .await
        .expect_ok();
    let topic = json!({ "topic": "x", "m.topic": { "m.text": [{ "body": "un télégraphe" }] } });
    let topic = anna
        .send_state(&room_id, "m.room.topic", "", &topic)
        .await
        .expect_ok();
    let id = |answer: &Value| answer["event_id"].as_str().unwrap().to_owned();
    for (key, expected) in [
        ("content.body", body),
        ("content.name", id(&name)),
        ("content.topic", id(&topic)),
    ] {
        let criteria = json!({ "search_term": "telegraphe", "keys": [key] });
        assert_eq!(results(&search(&anna, criteria).await), [expected], "{key}");
    }
    assert_eq!(search(&anna, term("telegraphe")).await["count"], 3);
    let odd = [
        json!({ "search_term": "x", "keys": ["content.other"] }),
        json!({ "search_term": "x", "order_by": "odd" }),
        json!({ "search_term": "x", "groupings": { "group_by": [{ "key": "odd" }] } }),
    ];
    for criteria in odd {
        let body = json!({ "search_categories": { "room_events": criteria } });
        anna.post("search", &body)
            .await
            .expect_error(400, "M_INVALID_PARAM");
    }
    let none = json!({ "search_categories": { "room_events": {} } });
    assert_eq!(anna.post("search", &none).await.status, 400);
    let nothing = json!({ "search_categories": {} });
    assert_eq!(anna.post("search", &nothing).await.expect_ok(), nothing);
    let token = json!({ "search_categories": { "room_events": term("x") } });
    anna.post("search?next_batch=odd", &token)
        .await
        .expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn results_are_paged_and_grouped() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let (one, two) = (room(&anna, "shared").await, room(&anna, "shared").await);
    for room_id in [&one, &two] {
        anna.invite(room_id, &ben.user_id).await.expect_ok();
        ben.join(room_id).await.expect_ok();
    }
    let mut sent = Vec::new();
    for number in 0..12 {
        let (who, room_id) = if number % 2 == 0 {
            (&anna, &one)
        } else {
            (&ben, &two)
        };
        sent.push(who.send(room_id, &format!("message {number}")).await);
    }
    sent.reverse();
    for order in ["recent", "rank"] {
        let criteria = json!({ "search_term": "message", "order_by": order,
            "filter": { "limit": 5 },
            "groupings": { "group_by": [{ "key": "room_id" }, { "key": "sender" }] } });
        let mut got = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = search_on(&anna, criteria.clone(), next.as_deref()).await;
            assert_eq!(page["count"], 12, "{order}");
            got.extend(results(&page));
            let Some(token) = page["next_batch"].as_str() else {
                break;
            };
            next = Some(token.to_owned());
        }
        // All are as good as each other: the newest come first.
        assert_eq!(got, sent, "{order}");
        let page = search(&anna, criteria.clone()).await;
        let group = &page["groups"]["room_id"][&two];
        assert_eq!(group["results"], json!([sent[0], sent[2], sent[4]]));
        assert_eq!(group["order"], 0);
        let token = group["next_batch"].as_str();
        let rest = search_on(&anna, criteria.clone(), token).await;
        assert_eq!(
            results(&rest),
            [sent[6].clone(), sent[8].clone(), sent[10].clone()]
        );
        let group = &page["groups"]["sender"][&anna.user_id];
        assert_eq!(group["results"], json!([sent[1], sent[3]]));
        let rest = search_on(&anna, criteria, group["next_batch"].as_str()).await;
        let expected: Vec<_> = [5, 7, 9, 11].map(|at: usize| sent[at].clone()).into();
        assert_eq!(results(&rest), expected);
    }
    for (filter, expected) in [
        (json!({ "rooms": [one] }), 6),
        (json!({ "not_rooms": [one] }), 6),
        (json!({ "senders": [ben.user_id] }), 6),
        (json!({ "not_senders": [ben.user_id] }), 6),
        (json!({ "rooms": ["!elsewhere:example.org"] }), 0),
        (json!({ "rooms": [] }), 0),
    ] {
        let criteria = json!({ "search_term": "message", "filter": filter });
        assert_eq!(search(&anna, criteria).await["count"], expected, "{filter}");
    }
}

#[tokio::test]
async fn results_come_with_what_is_around_them() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let mut sent = Vec::new();
    for number in 1..=7 {
        sent.push(anna.send(&room_id, &format!("message {number}")).await);
    }
    let name = path(
        &room_id,
        &format!("state/m.room.member/{}", encode(&anna.user_id)),
    );
    let later = json!({ "membership": "join", "displayname": "Later" });
    anna.put(&name, &later).await.expect_ok();
    let content = json!({ "msgtype": "m.text", "body": "4th",
        "m.new_content": { "msgtype": "m.text", "body": "4th" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": sent[3] } });
    let edit = anna.send_event(&room_id, "m.room.message", &content).await;
    let criteria = json!({ "search_term": "message 4", "include_state": true,
        "event_context": { "before_limit": 2, "after_limit": 2, "include_profile": true } });
    let found = search(&anna, criteria).await;
    assert_eq!(results(&found), [sent[3].clone()]);
    let result = &found["results"][0];
    let relations = &result["result"]["unsigned"]["m.relations"];
    assert_eq!(relations["m.replace"]["event_id"], *edit);
    let context = &result["context"];
    let ids = |key: &str| super::paging::ids(&context[key]);
    assert_eq!(ids("events_before"), [sent[2].clone(), sent[1].clone()]);
    assert_eq!(ids("events_after"), [sent[4].clone(), sent[5].clone()]);
    assert_ne!(
        context["profile_info"][&anna.user_id]["displayname"],
        "Later"
    );
    let state = found["state"][&room_id].as_array().unwrap();
    assert!(state.iter().any(|event| event["content"] == later));
    // From the tokens, pages go on.
    let start = context["start"].as_str().unwrap();
    let before = anna
        .messages(&room_id, &format!("&limit=1&from={start}"))
        .await;
    assert_eq!(super::paging::ids(&before["chunk"]), [sent[0].clone()]);
}

#[tokio::test]
async fn what_a_reader_may_not_see_is_not_found() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = room(&anna, "joined").await;
    anna.send(&room_id, "secret before").await;
    anna.invite(&room_id, &ben.user_id).await.expect_ok();
    anna.send(&room_id, "secret while invited").await;
    assert_eq!(search(&ben, term("secret")).await["count"], 0, "invited");
    ben.join(&room_id).await.expect_ok();
    let shown = anna.send(&room_id, "secret for both").await;
    assert_eq!(
        results(&search(&ben, term("secret")).await),
        [shown.clone()]
    );
    assert_eq!(results(&search(&anna, term("secret")).await).len(), 3);
    ben.post(&path(&room_id, "leave"), &json!({}))
        .await
        .expect_ok();
    anna.send(&room_id, "secret after").await;
    assert_eq!(
        results(&search(&ben, term("secret")).await),
        [shown.clone()]
    );
    ben.post(&path(&room_id, "forget"), &json!({}))
        .await
        .expect_ok();
    assert_eq!(results(&search(&ben, term("secret")).await).len(), 0);
    // What is redacted is found by nobody, nor is what ignored people say.
    let redact = path(&room_id, &format!("redact/{}/1", encode(&shown)));
    anna.put(&redact, &json!({})).await.expect_ok();
    assert_eq!(results(&search(&anna, term("secret")).await).len(), 3);
    assert_eq!(results(&search(&anna, term("both")).await).len(), 0);
    let encrypted = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    anna.send_state(&room_id, "m.room.encryption", "", &encrypted)
        .await
        .expect_ok();
    assert_eq!(
        results(&search(&anna, term("secret")).await).len(),
        0,
        "encrypted"
    );
    let other = room(&anna, "shared").await;
    anna.invite(&other, &ben.user_id).await.expect_ok();
    ben.join(&other).await.expect_ok();
    ben.send(&other, "secret of Ben").await;
    assert_eq!(results(&search(&anna, term("secret")).await).len(), 1);
    let data = format!(
        "user/{}/account_data/m.ignored_user_list",
        encode(&anna.user_id)
    );
    let list = json!({ "ignored_users": { &ben.user_id: {} } });
    anna.put(&data, &list).await.expect_ok();
    assert_eq!(
        results(&search(&anna, term("secret")).await).len(),
        0,
        "ignored"
    );
    let nobody = Client::new(&server.url);
    let body = json!({ "search_categories": { "room_events": term("x") } });
    nobody
        .post("search", &body)
        .await
        .expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_room_is_searched_with_the_one_before_its_upgrade() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let old = anna.create_room(&json!({ "room_version": "10" })).await;
    let before = anna.send(&old, "message before").await;
    let upgrade = json!({ "new_version": "11" });
    let new = anna
        .post(&path(&old, "upgrade"), &upgrade)
        .await
        .expect_ok();
    let new = new["replacement_room"].as_str().unwrap();
    let after = anna.send(new, "message after").await;
    let criteria = json!({ "search_term": "message", "order_by": "recent",
        "filter": { "rooms": [new] } });
    assert_eq!(results(&search(&anna, criteria).await), [after, before]);
}

#[tokio::test]
async fn search_can_be_turned_off() {
    let server = TestServer::start(TestOptions::with("rooms.search = false\n")).await;
    let anna = server.register("anna").await;
    let body = json!({ "search_categories": { "room_events": term("x") } });
    anna.post("search", &body)
        .await
        .expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn the_event_of_a_time_is_found_in_both_directions() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let options = TestOptions {
        clock: Some(Arc::clone(&clock)),
        ..TestOptions::default()
    };
    let server = TestServer::start(options).await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = room(&anna, "joined").await;
    let mut sent = Vec::new();
    for number in 0..20 {
        clock.advance(Duration::from_secs(1));
        sent.push(
            anna.send(&room_id, &format!("\"origin_server_ts\":5 \u{0} {number}"))
                .await,
        );
    }
    let at = |ts: i64, dir: &str| {
        let rest = format!("timestamp_to_event?ts={ts}&dir={dir}");
        format!("/_matrix/client/v1/{}", path(&room_id, &rest))
    };
    let events = anna.messages(&room_id, "&limit=20").await;
    let times: Vec<i64> = events["chunk"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|event| event["origin_server_ts"].as_i64().unwrap())
        .collect();
    for (number, time) in times.iter().enumerate() {
        for (ts, dir) in [(*time, "f"), (*time, "b"), (time - 1, "f"), (time + 1, "b")] {
            let found = anna.get(&at(ts, dir)).await.expect_ok();
            assert_eq!(found["event_id"], *sent[number], "{number} {ts} {dir}");
            assert_eq!(found["origin_server_ts"], *time);
        }
    }
    let late = times[19] + 1;
    anna.get(&at(late, "f"))
        .await
        .expect_error(404, "M_NOT_FOUND");
    anna.get(&at(1, "b")).await.expect_error(404, "M_NOT_FOUND");
    ben.get(&at(late, "b"))
        .await
        .expect_error(403, "M_FORBIDDEN");
    // Who joined later is shown the first event that they may see.
    anna.invite(&room_id, &ben.user_id).await.expect_ok();
    ben.join(&room_id).await.expect_ok();
    let found = ben.get(&at(times[3], "f")).await.expect_ok();
    assert!(!sent.contains(&found["event_id"].as_str().unwrap().to_owned()));
}
