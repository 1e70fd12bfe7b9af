//! Edits, reactions, references and threads: what relates to an event, and what is told with it.
//!
//! What is recent is answered from memory, and the rest from the database: each test is run with
//! both.

use std::time::Duration;

use chappe::store::live::LiveOptions;
use serde_json::{Value, json};

use super::paging::{ids, path, room};
use crate::harness::{
    client::{Client, encode},
    server::{TestOptions, TestServer},
};

/// A server that remembers, and one that asks the database for everything.
async fn servers() -> [TestServer; 2] {
    let forgetful = TestOptions {
        memory: Some(LiveOptions {
            window_bytes: 0,
            ..LiveOptions::default()
        }),
        ..TestOptions::default()
    };
    [TestServer::new().await, TestServer::start(forgetful).await]
}

/// A message with something beside its text.
async fn related(client: &Client, room_id: &str, text: &str, relation: Value) -> String {
    let mut content = json!({ "msgtype": "m.text", "body": text, "m.relates_to": relation });
    if content["m.relates_to"]["rel_type"] == "m.replace" {
        content["m.new_content"] = json!({ "msgtype": "m.text", "body": text });
    }
    client.send_event(room_id, "m.room.message", &content).await
}

fn relates(rel_type: &str, event_id: &str) -> Value {
    json!({ "rel_type": rel_type, "event_id": event_id })
}

/// `m.relations` of an event, as `/event` shows it.
async fn bundle(client: &Client, room_id: &str, event_id: &str) -> Value {
    let event = path(room_id, &format!("event/{}", encode(event_id)));
    client.get(&event).await.expect_ok()["unsigned"]["m.relations"].clone()
}

fn v1(room_id: &str, rest: &str) -> String {
    format!("/_matrix/client/v1/{}", path(room_id, rest))
}

async fn relations(client: &Client, room_id: &str, rest: &str) -> Value {
    client
        .get(&v1(room_id, &format!("relations/{rest}")))
        .await
        .expect_ok()
}

async fn redact(client: &Client, room_id: &str, event_id: &str) {
    let redact = path(
        room_id,
        &format!("redact/{}/r{}", encode(event_id), event_id.len()),
    );
    let redact = format!("{redact}{}", encode(event_id));
    client.put(&redact, &json!({})).await.expect_ok();
}

#[tokio::test]
async fn an_event_is_shown_with_its_newest_edit() {
    for server in servers().await {
        let (anna, ben) = (server.register("anna").await, server.register("ben").await);
        let room_id = room(&anna, "shared").await;
        anna.invite(&room_id, &ben.user_id).await.expect_ok();
        ben.join(&room_id).await.expect_ok();
        let original = anna.send(&room_id, "one").await;
        related(&anna, &room_id, "two", relates("m.replace", &original)).await;
        let newest = related(&anna, &room_id, "three", relates("m.replace", &original)).await;
        // None of these is an edit of it.
        related(
            &ben,
            &room_id,
            "by another",
            relates("m.replace", &original),
        )
        .await;
        related(&anna, &room_id, "of an edit", relates("m.replace", &newest)).await;
        let content =
            json!({ "m.new_content": {}, "m.relates_to": relates("m.replace", &original) });
        anna.send_event(&room_id, "org.example.other", &content)
            .await;
        let content = json!({ "body": "x", "msgtype": "m.text",
            "m.relates_to": relates("m.replace", &original) });
        anna.send_event(&room_id, "m.room.message", &content).await;

        let shown = bundle(&ben, &room_id, &original).await;
        assert_eq!(shown["m.replace"]["event_id"], *newest);
        assert_eq!(
            shown["m.replace"]["content"]["m.new_content"]["body"],
            "three"
        );
        assert_eq!(shown["m.replace"]["room_id"], *room_id);
        let event = path(&room_id, &format!("event/{}", encode(&original)));
        let event = ben.get(&event).await.expect_ok();
        assert_eq!(
            event["content"]["body"], "one",
            "the original stays as it is"
        );
        assert_eq!(event["unsigned"]["membership"], "join");
        assert_eq!(bundle(&ben, &room_id, &newest).await, Value::Null);
        // An edit that is taken back leaves the one before.
        redact(&anna, &room_id, &newest).await;
        let shown = bundle(&ben, &room_id, &original).await;
        assert_eq!(
            shown["m.replace"]["content"]["m.new_content"]["body"],
            "two"
        );
        // An original that is taken back has none.
        redact(&anna, &room_id, &original).await;
        assert_eq!(bundle(&ben, &room_id, &original).await, Value::Null);
    }
}

#[tokio::test]
async fn the_root_of_a_thread_sums_it_up() {
    for server in servers().await {
        let (anna, ben) = (server.register("anna").await, server.register("ben").await);
        let room_id = room(&anna, "shared").await;
        anna.invite(&room_id, &ben.user_id).await.expect_ok();
        ben.join(&room_id).await.expect_ok();
        let root = ben.send(&room_id, "root").await;
        let first = related(&ben, &room_id, "first", relates("m.thread", &root)).await;
        let thread = bundle(&anna, &room_id, &root).await["m.thread"].clone();
        assert_eq!(thread["count"], 1);
        assert_eq!(thread["current_user_participated"], false);
        let own = bundle(&ben, &room_id, &root).await["m.thread"].clone();
        assert_eq!(own["current_user_participated"], true, "the root is Ben's");
        let second = related(&anna, &room_id, "second", relates("m.thread", &root)).await;
        let edit = related(&anna, &room_id, "2nd", relates("m.replace", &second)).await;
        let thread = bundle(&anna, &room_id, &root).await["m.thread"].clone();
        assert_eq!(thread["count"], 2);
        assert_eq!(thread["current_user_participated"], true);
        assert_eq!(thread["latest_event"]["event_id"], *second);
        let of_latest = &thread["latest_event"]["unsigned"]["m.relations"];
        assert_eq!(of_latest["m.replace"]["event_id"], *edit);
        redact(&anna, &room_id, &second).await;
        let thread = bundle(&anna, &room_id, &root).await["m.thread"].clone();
        assert_eq!(thread["count"], 1);
        assert_eq!(thread["latest_event"]["event_id"], *first);
        redact(&ben, &room_id, &first).await;
        assert_eq!(bundle(&anna, &room_id, &root).await, Value::Null);
        let threads = anna.get(&v1(&room_id, "threads")).await.expect_ok();
        assert_eq!(threads["chunk"], json!([]));
    }
}

#[tokio::test]
async fn references_are_listed_and_reactions_are_not() {
    for server in servers().await {
        let anna = server.register("anna").await;
        let room_id = room(&anna, "shared").await;
        let event = anna.send(&room_id, "poll").await;
        let mut expected = Vec::new();
        for _ in 0..3 {
            let content = json!({ "m.relates_to": relates("m.reference", &event) });
            let answer = anna
                .send_event(&room_id, "org.example.answer", &content)
                .await;
            expected.push(json!({ "event_id": answer }));
        }
        let react = |key: &str| {
            let relation = json!({ "rel_type": "m.annotation", "event_id": event, "key": key });
            json!({ "m.relates_to": relation })
        };
        let thumb = anna.send_event(&room_id, "m.reaction", &react("👍")).await;
        let shown = bundle(&anna, &room_id, &event).await;
        assert_eq!(shown, json!({ "m.reference": { "chunk": expected } }));
        // The same reaction again is refused, until it is taken back; another one is not.
        let again = path(&room_id, "send/m.reaction/again");
        let refused = anna.put(&again, &react("👍")).await;
        refused.expect_error(400, "M_DUPLICATE_ANNOTATION");
        anna.send_event(&room_id, "m.reaction", &react("👎")).await;
        redact(&anna, &room_id, &thumb).await;
        anna.put(&again, &react("👍")).await.expect_ok();
        // A repeated request is no second reaction.
        let sibling = server.sibling().await;
        let elsewhere = anna.at(&sibling.url);
        elsewhere.put(&again, &react("👍")).await.expect_ok();
    }
}

#[tokio::test]
async fn threads_do_not_begin_with_events_that_relate_to_others() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let root = anna.send(&room_id, "root").await;
    let reply = related(&anna, &room_id, "reply", relates("m.thread", &root)).await;
    let nested = json!({ "msgtype": "m.text", "body": "x",
        "m.relates_to": relates("m.thread", &reply) });
    let send = path(&room_id, "send/m.room.message/nested");
    anna.put(&send, &nested)
        .await
        .expect_error(400, "M_UNKNOWN");
    // A rich reply is no relation of this kind, nor is one to nothing.
    let relation = json!({ "m.in_reply_to": { "event_id": root } });
    let rich = related(&anna, &room_id, "rich", relation).await;
    related(&anna, &room_id, "reply", relates("m.thread", &rich)).await;
    related(&anna, &room_id, "nowhere", relates("m.thread", "$nowhere")).await;
    for odd in [
        json!(3),
        json!({}),
        json!({ "rel_type": 3, "event_id": root }),
        json!({ "rel_type": "a\u{0}b", "event_id": root }),
        json!({ "rel_type": "m.thread", "event_id": "no id" }),
    ] {
        related(&anna, &room_id, "odd", odd).await;
    }
    assert_eq!(bundle(&anna, &room_id, &root).await["m.thread"]["count"], 1);
    let nul = relations(&anna, &room_id, &format!("{}/a%00b", encode(&root))).await;
    assert_eq!(nul["chunk"], json!([]));
}

#[tokio::test]
async fn relations_are_paged_in_both_directions() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let root = anna.send(&room_id, "root").await;
    let mut sent = Vec::new();
    for number in 0..10 {
        let text = format!("reply {number}");
        sent.push(related(&anna, &room_id, &text, relates("m.thread", &root)).await);
        anna.send(&room_id, "beside").await;
    }
    for (dir, mut expected) in [("f", sent.clone()), ("b", sent.clone())] {
        if dir == "b" {
            expected.reverse();
        }
        let mut got = Vec::new();
        let mut from = String::new();
        loop {
            let query = format!("{}?limit=3&dir={dir}{from}", encode(&root));
            let page = relations(&anna, &room_id, &query).await;
            got.extend(ids(&page["chunk"]));
            assert_eq!(page["prev_batch"].is_null(), from.is_empty());
            let Some(next) = page["next_batch"].as_str() else {
                break;
            };
            from = format!("&from={next}");
        }
        assert_eq!(got, expected, "{dir}");
    }
    // From a sync on come those that follow it.
    let token = anna.sync(None, Duration::ZERO).await["next_batch"].clone();
    let token = token.as_str().unwrap();
    let later = related(&anna, &room_id, "later", relates("m.thread", &root)).await;
    let query = format!("{}?dir=f&from={token}", encode(&root));
    assert_eq!(
        ids(&relations(&anna, &room_id, &query).await["chunk"]),
        [later]
    );
    for token in ["nonsense", "t-1"] {
        for parameter in ["from", "to"] {
            let query = format!("relations/{}?{parameter}={token}", encode(&root));
            let answer = anna.get(&v1(&room_id, &query)).await;
            answer.expect_error(400, "M_INVALID_PARAM");
        }
    }
}

#[tokio::test]
async fn relations_are_chosen_by_type_and_followed_down() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let root = anna.send(&room_id, "root").await;
    let reply = related(&anna, &room_id, "reply", relates("m.thread", &root)).await;
    let dummy = json!({ "m.relates_to": relates("m.thread", &root) });
    let dummy = anna.send_event(&room_id, "m.dummy", &dummy).await;
    let edit = related(&anna, &room_id, "edited", relates("m.replace", &root)).await;
    let of_reply = related(&anna, &room_id, "edited", relates("m.replace", &reply)).await;
    let root = encode(&root);
    for (rest, expected) in [
        (root.clone(), vec![&edit, &dummy, &reply]),
        (format!("{root}/m.thread"), vec![&dummy, &reply]),
        (format!("{root}/m.thread/m.room.message"), vec![&reply]),
        (format!("{root}/m.annotation"), vec![]),
        (
            format!("{root}?recurse=true"),
            vec![&of_reply, &edit, &dummy, &reply],
        ),
        (
            format!("{root}/m.replace?recurse=true"),
            vec![&of_reply, &edit],
        ),
    ] {
        let page = relations(&anna, &room_id, &rest).await;
        let got = ids(&page["chunk"]);
        assert_eq!(got.iter().collect::<Vec<_>>(), expected, "{rest}");
        assert_eq!(page["recursion_depth"].is_null(), !rest.contains("recurse"));
    }
    let page = relations(&anna, &room_id, &format!("{root}/m.thread/m.room.message")).await;
    let bundled = &page["chunk"][0]["unsigned"]["m.relations"]["m.replace"];
    assert_eq!(bundled["event_id"], *of_reply);
}

#[tokio::test]
async fn the_relations_of_what_a_reader_may_not_see_stay_hidden() {
    for server in servers().await {
        let (anna, ben) = (server.register("anna").await, server.register("ben").await);
        let room_id = room(&anna, "joined").await;
        let before = anna.send(&room_id, "before").await;
        anna.invite(&room_id, &ben.user_id).await.expect_ok();
        ben.join(&room_id).await.expect_ok();
        let root = anna.send(&room_id, "root").await;
        let seen = related(&anna, &room_id, "seen", relates("m.thread", &root)).await;
        ben.post(&path(&room_id, "leave"), &json!({}))
            .await
            .expect_ok();
        related(&anna, &room_id, "secret", relates("m.thread", &root)).await;
        let thread = bundle(&ben, &room_id, &root).await["m.thread"].clone();
        assert_eq!(thread["count"], 1);
        assert_eq!(thread["latest_event"]["event_id"], *seen);
        let page = relations(&ben, &room_id, &encode(&root)).await;
        assert_eq!(ids(&page["chunk"]), [seen]);
        let hidden = v1(&room_id, &format!("relations/{}", encode(&before)));
        ben.get(&hidden).await.expect_error(404, "M_NOT_FOUND");
        let clara = server.register("clara").await;
        let stranger = v1(&room_id, &format!("relations/{}", encode(&root)));
        clara.get(&stranger).await.expect_error(404, "M_NOT_FOUND");
        let threads = clara.get(&v1(&room_id, "threads")).await;
        threads.expect_error(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn threads_are_listed_by_their_newest_event() {
    for server in servers().await {
        let (anna, ben) = (server.register("anna").await, server.register("ben").await);
        let room_id = room(&anna, "shared").await;
        anna.invite(&room_id, &ben.user_id).await.expect_ok();
        ben.join(&room_id).await.expect_ok();
        let mut roots = Vec::new();
        for number in 0..3 {
            let root = anna.send(&room_id, &format!("root {number}")).await;
            related(&anna, &room_id, "reply", relates("m.thread", &root)).await;
            roots.push(root);
        }
        related(&ben, &room_id, "reply", relates("m.thread", &roots[0])).await;
        let all = anna.get(&v1(&room_id, "threads")).await.expect_ok();
        let expected = [roots[0].clone(), roots[2].clone(), roots[1].clone()];
        assert_eq!(ids(&all["chunk"]), expected);
        let first = &all["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
        assert_eq!(first["count"], 2);
        assert_eq!(all["next_batch"], Value::Null);
        let page = anna.get(&v1(&room_id, "threads?limit=2")).await.expect_ok();
        assert_eq!(ids(&page["chunk"]), expected[..2]);
        let next = page["next_batch"].as_str().unwrap();
        let next = v1(&room_id, &format!("threads?limit=2&from={next}"));
        let page = anna.get(&next).await.expect_ok();
        assert_eq!(ids(&page["chunk"]), expected[2..]);
        assert_eq!(page["next_batch"], Value::Null);
        let own = ben
            .get(&v1(&room_id, "threads?include=participated"))
            .await
            .expect_ok();
        assert_eq!(ids(&own["chunk"]), expected[..1]);
        let none = anna.get(&v1(&room_id, "threads?limit=0")).await;
        none.expect_error(400, "M_INVALID_PARAM");
        let odd = anna.get(&v1(&room_id, "threads?from=odd")).await;
        odd.expect_error(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn timelines_are_shown_with_what_relates_to_them() {
    for server in servers().await {
        let anna = server.register("anna").await;
        let room_id = room(&anna, "shared").await;
        let event = anna.send(&room_id, "one").await;
        let edit = related(&anna, &room_id, "two", relates("m.replace", &event)).await;
        let is_shown = |events: &Value| {
            let events = events.as_array().unwrap().iter();
            let mut found = events.filter(|shown| shown["event_id"] == *event);
            let relations = &found.next().unwrap()["unsigned"]["m.relations"];
            assert_eq!(relations["m.replace"]["event_id"], *edit);
        };
        let page = anna.messages(&room_id, "&limit=5").await;
        is_shown(&page["chunk"]);
        let context = path(&room_id, &format!("context/{}", encode(&edit)));
        let context = anna.get(&context).await.expect_ok();
        is_shown(&context["events_before"]);
        let context = path(&room_id, &format!("context/{}", encode(&event)));
        let context = anna.get(&context).await.expect_ok();
        is_shown(&json!([context["event"]]));
        let filter = encode(&json!({ "room": { "timeline": { "limit": 2 } } }).to_string());
        let sync = anna.get(&format!("sync?filter={filter}")).await.expect_ok();
        let timeline = &sync["rooms"]["join"][&room_id]["timeline"];
        assert_eq!(timeline["limited"], true);
        is_shown(&timeline["events"]);
    }
}

#[tokio::test]
async fn who_is_ignored_is_not_heard_anywhere() {
    for server in servers().await {
        let (anna, ben) = (server.register("anna").await, server.register("ben").await);
        let room_id = room(&anna, "shared").await;
        anna.invite(&room_id, &ben.user_id).await.expect_ok();
        ben.join(&room_id).await.expect_ok();
        let root = anna.send(&room_id, "root").await;
        let reply = related(&ben, &room_id, "reply", relates("m.thread", &root)).await;
        let of_ben = ben.send(&room_id, "a root").await;
        related(&anna, &room_id, "reply", relates("m.thread", &of_ben)).await;
        assert_eq!(bundle(&anna, &room_id, &root).await["m.thread"]["count"], 1);
        let since = anna.sync(None, Duration::ZERO).await["next_batch"].clone();
        let list = |users: Value| json!({ "ignored_users": users });
        let data = format!(
            "user/{}/account_data/m.ignored_user_list",
            encode(&anna.user_id)
        );
        let both = list(json!({ &ben.user_id: {}, &anna.user_id: {}, "odd": {}, "@a\u{0}:b": {} }));
        anna.put(&data, &both).await.expect_ok();

        assert_eq!(bundle(&anna, &room_id, &root).await, Value::Null);
        let gone = path(&room_id, &format!("event/{}", encode(&reply)));
        anna.get(&gone).await.expect_error(404, "M_NOT_FOUND");
        let all = anna.messages(&room_id, "&limit=100").await;
        let shown = ids(&all["chunk"]);
        assert!(!shown.contains(&reply) && shown.contains(&root));
        let senders: Vec<_> = all["chunk"].as_array().unwrap().iter().collect();
        let is_join = |event: &&&Value| {
            event["state_key"] == *ben.user_id && event["content"]["membership"] == "join"
        };
        assert_eq!(senders.iter().filter(is_join).count(), 1, "state is shown");
        let page = relations(&anna, &room_id, &encode(&root)).await;
        assert_eq!(page["chunk"], json!([]));
        // Only the root with an event of others is a thread; Ben's root has lost its content.
        let threads = anna.get(&v1(&room_id, "threads")).await.expect_ok();
        assert_eq!(ids(&threads["chunk"]), [of_ben]);
        assert_eq!(threads["chunk"][0]["content"], json!({}));
        // A sync tells nothing of what is said next, nor of an invite, but of state.
        ben.send(&room_id, "unheard").await;
        ben.create_room(&json!({ "invite": [anna.user_id] })).await;
        let since = since.as_str();
        let sync = anna.sync(since, Duration::ZERO).await;
        assert_eq!(sync["rooms"], Value::Null, "{sync}");
        ben.post(&path(&room_id, "leave"), &json!({}))
            .await
            .expect_ok();
        let sync = anna.sync(since, Duration::ZERO).await;
        let events = &sync["rooms"]["join"][&room_id]["timeline"]["events"];
        assert_eq!(events.as_array().unwrap().len(), 1);
        assert_eq!(events[0]["type"], "m.room.member");
        // Heard again, all of it is there.
        anna.put(&data, &list(json!({}))).await.expect_ok();
        assert_eq!(bundle(&anna, &room_id, &root).await["m.thread"]["count"], 1);
    }
}
