//! Account data, tags and push rules.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    paging::room,
    sliding::{self, Connection},
};
use crate::harness::{
    client::{Client, encode},
    server::{TestOptions, TestServer},
};

fn own(client: &Client, rest: &str) -> String {
    format!("user/{}/{rest}", encode(&client.user_id))
}

#[tokio::test]
async fn account_data_is_kept_for_its_owner() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = room(&anna, "shared").await;
    let global = own(&anna, "account_data/org.example.a");
    let of_room = format!("rooms/{}/account_data/org.example.a", encode(&room_id));
    let of_room = own(&anna, &of_room);
    for (path, content) in [
        (&global, json!({ "a": 1 })),
        (&of_room, json!({ "b": [2] })),
    ] {
        anna.get(path).await.expect_error(404, "M_NOT_FOUND");
        anna.put(path, &json!({})).await.expect_ok();
        anna.put(path, &content).await.expect_ok();
        assert_eq!(anna.get(path).await.expect_ok(), content);
        ben.get(path).await.expect_error(403, "M_FORBIDDEN");
        ben.put(path, &content)
            .await
            .expect_error(403, "M_FORBIDDEN");
        for wrong in [json!([]), json!("text"), json!(null)] {
            anna.put(path, &wrong).await.expect_error(400, "M_BAD_JSON");
        }
        let large = json!({ "text": "x".repeat(300 << 10) });
        anna.put(path, &large)
            .await
            .expect_error(413, "M_TOO_LARGE");
    }
    // A room that one has nothing to do with.
    let foreign = format!("rooms/{}/account_data/org.example.a", encode(&room_id));
    let foreign = own(&ben, &foreign);
    ben.put(&foreign, &json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    ben.get(&foreign).await.expect_error(404, "M_NOT_FOUND");
    for kind in ["%00", "x%00", &"x".repeat(300)] {
        let path = own(&anna, &format!("account_data/{kind}"));
        anna.put(&path, &json!({}))
            .await
            .expect_error(400, "M_INVALID_PARAM");
        anna.get(&path).await.expect_error(404, "M_NOT_FOUND");
    }
}

#[tokio::test]
async fn what_the_server_manages_is_changed_elsewhere() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    for kind in ["m.fully_read", "m.push_rules"] {
        for path in [
            format!("account_data/{kind}"),
            format!("rooms/{}/account_data/{kind}", encode(&room_id)),
        ] {
            let answer = anna.put(&own(&anna, &path), &json!({})).await;
            answer.expect_error(405, "M_BAD_JSON");
        }
    }
    let rules = anna
        .get(&own(&anna, "account_data/m.push_rules"))
        .await
        .expect_ok();
    assert!(rules["global"]["override"].is_array());
}

#[tokio::test]
async fn tags_set_at_once_are_all_kept() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = room(&anna, "shared").await;
    let tags = own(&anna, &format!("rooms/{}/tags", encode(&room_id)));
    assert_eq!(anna.get(&tags).await.expect_ok(), json!({ "tags": {} }));
    let set = (0..20).map(|number| {
        let path = format!("{tags}/u.tag{number}");
        let anna = &anna;
        async move { anna.put(&path, &json!({ "order": 0.5 })).await.expect_ok() }
    });
    join_all(set).await;
    let found = anna.get(&tags).await.expect_ok();
    let found = found["tags"].as_object().unwrap();
    assert_eq!(found.len(), 20);
    assert_eq!(found["u.tag7"], json!({ "order": 0.5 }));
    anna.delete(&format!("{tags}/u.tag7")).await.expect_ok();
    anna.delete(&format!("{tags}/u.tag7")).await.expect_ok();
    let found = anna.get(&tags).await.expect_ok();
    assert_eq!(found["tags"].as_object().unwrap().len(), 19);
    let long = format!("{tags}/{}", "x".repeat(256));
    anna.put(&long, &json!({}))
        .await
        .expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn push_rules_begin_as_predefined_and_are_changed() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let all = anna.get("pushrules/").await.expect_ok();
    let global = anna.get("pushrules/global/").await.expect_ok();
    assert_eq!(all["global"], global);
    let master = "pushrules/global/override/.m.rule.master";
    let rule = anna.get(master).await.expect_ok();
    assert_eq!(
        (&rule["default"], &rule["enabled"]),
        (&json!(true), &json!(false))
    );
    anna.put(&format!("{master}/enabled"), &json!({ "enabled": true }))
        .await
        .expect_ok();
    let enabled = anna.get(&format!("{master}/enabled")).await.expect_ok();
    assert_eq!(enabled, json!({ "enabled": true }));
    let word = "pushrules/global/content/word";
    let new = json!({ "actions": ["notify"], "pattern": "chappe" });
    anna.put(word, &new).await.expect_ok();
    let actions = json!({ "actions": [] });
    anna.put(&format!("{word}/actions"), &actions)
        .await
        .expect_ok();
    let rule = anna.get(word).await.expect_ok();
    assert_eq!(
        (&rule["pattern"], &rule["actions"]),
        (&json!("chappe"), &json!([]))
    );
    let data: Value = anna
        .get(&own(&anna, "account_data/m.push_rules"))
        .await
        .expect_ok();
    assert_eq!(data["global"]["content"][0]["rule_id"], "word");
    anna.delete(word).await.expect_ok();
    anna.delete(word).await.expect_error(404, "M_NOT_FOUND");
    anna.get(word).await.expect_error(404, "M_NOT_FOUND");
    assert_eq!(anna.delete(master).await.status, 400);
    let reserved = "pushrules/global/content/.word";
    assert_eq!(anna.put(reserved, &new).await.status, 400);
    let after = format!("{word}?after=nothing");
    anna.put(&after, &new)
        .await
        .expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn account_data_that_was_deleted_is_gone_and_syncs_say_so() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = room(&anna, "shared").await;
    let kind = "org.example.a";
    let unstable = format!(
        "/_matrix/client/unstable/org.matrix.msc3391/user/{}",
        encode(&anna.user_id)
    );
    let of_room = format!("rooms/{}/account_data/{kind}", encode(&room_id));
    for (place, pointer) in [
        (
            format!("account_data/{kind}"),
            "/account_data/events".to_owned(),
        ),
        (
            of_room,
            format!("/rooms/join/{room_id}/account_data/events"),
        ),
    ] {
        let (path, delete) = (own(&anna, &place), format!("{unstable}/{place}"));
        let shown = |sync: &Value| {
            let events = sync.pointer(&pointer).and_then(Value::as_array).cloned();
            let events = events.unwrap_or_default().into_iter();
            let contents = events.filter(|event| event["type"] == kind);
            contents
                .map(|event| event["content"].clone())
                .collect::<Vec<_>>()
        };
        // There is nothing to delete, and no news of it.
        let before = anna.sync(None, Duration::ZERO).await["next_batch"].clone();
        anna.delete(&delete).await.expect_ok();
        let sync = anna.sync(before.as_str(), Duration::ZERO).await;
        assert_eq!(sync["next_batch"], before, "{sync}");
        for how in ["DELETE", "PUT"] {
            anna.put(&path, &json!({ "a": 1 })).await.expect_ok();
            let before = anna.sync(None, Duration::ZERO).await;
            assert_eq!(shown(&before), [json!({ "a": 1 })]);
            ben.delete(&delete).await.expect_error(403, "M_FORBIDDEN");
            if how == "DELETE" {
                anna.delete(&delete).await.expect_ok();
            } else {
                anna.put(&path, &json!({})).await.expect_ok();
            }
            let since = before["next_batch"].as_str();
            assert_eq!(shown(&anna.sync(since, Duration::ZERO).await), [json!({})]);
            anna.get(&path).await.expect_error(404, "M_NOT_FOUND");
            assert_eq!(
                shown(&anna.sync(None, Duration::ZERO).await),
                [] as [Value; 0]
            );
            let body = json!({
                "lists": { "all": {
                    "ranges": [[0, 9]],
                    "timeline_limit": 0,
                    "required_state": [],
                } },
                "extensions": { "account_data": { "enabled": true } },
            });
            let first = anna.post(sliding::PATH, &body).await.expect_ok();
            let told = first["extensions"]["account_data"].to_string();
            assert!(
                told.contains("m.push_rules") && !told.contains(kind),
                "{told}"
            );
            // Also for a process that has not seen it.
            let sibling = anna.at(&server.sibling().await.url);
            assert_eq!(
                shown(&sibling.sync(since, Duration::ZERO).await),
                [json!({})]
            );
        }
    }
    let rules = format!("{unstable}/account_data/m.push_rules");
    anna.delete(&rules).await.expect_error(405, "M_BAD_JSON");
    let nobody = server.client();
    nobody
        .delete(&rules)
        .await
        .expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn who_comes_back_to_a_room_is_told_its_account_data() {
    for options in [TestOptions::default(), TestOptions::forgetful()] {
        let server = TestServer::start(options).await;
        let (anna, ben) = (server.register("anna").await, server.register("ben").await);
        let room_id = ben.create_room(&json!({ "preset": "public_chat" })).await;
        anna.join(&room_id).await.expect_ok();
        let body = json!({
            "lists": { "all": { "ranges": [[0, 9]], "timeline_limit": 1 } },
            "extensions": { "account_data": { "enabled": true } },
        });
        let mut sliding = Connection::new(&anna);
        let mut since = String::new();
        let mut sync = async || {
            let query = if since.is_empty() {
                "sync?timeout=0".to_owned()
            } else {
                format!("sync?timeout=0&since={since}")
            };
            let answer = anna.get(&query).await.expect_ok();
            answer["next_batch"]
                .as_str()
                .unwrap()
                .clone_into(&mut since);
            let slid = sliding.sync(&body).await;
            [
                answer["rooms"]["join"][&room_id]["account_data"]["events"].clone(),
                slid["extensions"]["account_data"]["rooms"][&room_id].clone(),
            ]
        };
        sync().await;
        anna.leave(&room_id).await.expect_ok();
        sync().await;
        // A client of theirs that did not know it yet, or somebody who is about to come back.
        let path = format!(
            "user/{}/rooms/{room_id}/account_data/test.data",
            anna.user_id
        );
        anna.put(&path, &json!({ "at": 1 })).await.expect_ok();
        assert_eq!(sync().await, [Value::Null, Value::Null]);
        anna.join(&room_id).await.expect_ok();
        let expected = json!([{ "type": "test.data", "content": { "at": 1 } }]);
        assert_eq!(sync().await, [expected.clone(), expected]);
        assert_eq!(sync().await, [Value::Null, Value::Null]);
    }
}

#[tokio::test]
async fn a_room_without_account_data_says_so_when_it_is_told_whole() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = anna.create_room(&json!({})).await;
    let answer = anna.sync(None, Duration::ZERO).await;
    let room = &answer["rooms"]["join"][&room_id];
    assert_eq!(room["account_data"], json!({ "events": [] }));
    // Later answers are short.
    anna.send(&room_id, "hello").await;
    let answer = anna
        .sync(answer["next_batch"].as_str(), Duration::ZERO)
        .await;
    let room = &answer["rooms"]["join"][&room_id];
    assert_eq!(room["account_data"], Value::Null);
}
