//! Filters: those that clients leave with the server, and what they let through.

use std::time::Duration;

use chappe::store::live::LiveOptions;
use serde_json::json;

use super::paging::{ids, path, room};
use crate::harness::{
    client::encode,
    server::{TestOptions, TestServer},
};

#[tokio::test]
async fn a_filter_is_kept_once_for_its_owner() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let filters = format!("user/{}/filter", encode(&anna.user_id));
    let filter = json!({
        "room": { "timeline": { "limit": 10, "types": ["m.room.message"] } },
        "presence": { "not_types": ["m.presence"] },
    });
    let created = anna.post(&filters, &filter).await.expect_ok();
    let id = created["filter_id"].as_str().unwrap();
    let again = anna.post(&filters, &filter).await.expect_ok();
    assert_eq!(again["filter_id"], id);
    let found = anna.get(&format!("{filters}/{id}")).await.expect_ok();
    assert_eq!(found, filter);
    for missing in ["99", "nonsense", "-1", "%00"] {
        let answer = anna.get(&format!("{filters}/{missing}")).await;
        answer.expect_error(404, "M_NOT_FOUND");
    }
    let related = json!({
        "room": {
            "timeline": { "org.matrix.msc3874.not_rel_types": ["m.thread"] },
            "state": { "org.matrix.msc3874.rel_types": ["m.reference"] },
        },
    });
    let created = anna.post(&filters, &related).await.expect_ok();
    let id = created["filter_id"].as_str().unwrap();
    let found = anna.get(&format!("{filters}/{id}")).await.expect_ok();
    assert_eq!(found, related);
    let wrong = json!({
        "room": { "timeline": { "org.matrix.msc3874.rel_types": "m.thread" } },
    });
    assert_eq!(anna.post(&filters, &wrong).await.status, 400);
    let wrong = json!({ "room": { "timeline": { "limit": "ten" } } });
    assert_eq!(anna.post(&filters, &wrong).await.status, 400);
    ben.post(&filters, &filter)
        .await
        .expect_error(403, "M_FORBIDDEN");
    ben.get(&format!("{filters}/{id}"))
        .await
        .expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn filters_choose_events_by_how_they_relate_to_others() {
    // What is recent is answered from memory, and the rest from the database.
    let forgetful = TestOptions {
        memory: Some(LiveOptions {
            window_bytes: 0,
            ..LiveOptions::default()
        }),
        ..TestOptions::default()
    };
    for server in [TestServer::new().await, TestServer::start(forgetful).await] {
        let anna = server.register("anna").await;
        let room_id = room(&anna, "shared").await;
        let from = anna.messages(&room_id, "&limit=1").await;
        let from = from["start"].as_str().unwrap().to_owned();
        let since = anna.sync(None, Duration::ZERO).await["next_batch"].clone();
        let root = anna.send(&room_id, "root").await;
        let related = async |rel_type: &str| {
            let relation = json!({ "rel_type": rel_type, "event_id": root });
            let content = json!({ "msgtype": "m.text", "body": "b", "m.relates_to": relation });
            anna.send_event(&room_id, "m.room.message", &content).await
        };
        let thread = related("m.thread").await;
        let reference = related("m.reference").await;
        let filters = format!("user/{}/filter", encode(&anna.user_id));
        for (key, types, expected) in [
            ("rel_types", json!(["m.thread"]), vec![&thread]),
            ("rel_types", json!(["m.reference"]), vec![&reference]),
            (
                "rel_types",
                json!(["m.thread", "m.reference"]),
                vec![&thread, &reference],
            ),
            ("rel_types", json!([]), vec![]),
            (
                "not_rel_types",
                json!(["m.thread"]),
                vec![&root, &reference],
            ),
            (
                "not_rel_types",
                json!(["m.reference"]),
                vec![&root, &thread],
            ),
            (
                "not_rel_types",
                json!(["m.thread", "m.reference"]),
                vec![&root],
            ),
        ] {
            let key = format!("org.matrix.msc3874.{key}");
            let filter = json!({ &key: types });
            let text = encode(&filter.to_string());
            let query = format!("messages?dir=f&from={from}&filter={text}");
            let page = anna.get(&path(&room_id, &query)).await.expect_ok();
            assert_eq!(
                ids(&page["chunk"]).iter().collect::<Vec<_>>(),
                expected,
                "{filter}"
            );

            let whole = json!({ "room": { "timeline": filter } });
            let stored = anna.post(&filters, &whole).await.expect_ok();
            let stored = stored["filter_id"].as_str().unwrap().to_owned();
            for given in [encode(&whole.to_string()), stored] {
                let since = encode(since.as_str().unwrap());
                let sync = format!("sync?timeout=0&since={since}&filter={given}");
                let answer = anna.get(&sync).await.expect_ok();
                let timeline = &answer["rooms"]["join"][&room_id]["timeline"]["events"];
                assert_eq!(
                    ids(timeline).iter().collect::<Vec<_>>(),
                    expected,
                    "{filter}"
                );
            }
        }
        let filter = encode(r#"{"org.matrix.msc3874.rel_types":["m.reference"]}"#);
        let context = format!("context/{}?filter={filter}", encode(&root));
        let context = anna.get(&path(&room_id, &context)).await.expect_ok();
        assert_eq!(ids(&context["events_after"]), [reference]);
        assert_eq!(context["events_before"], json!([]));
        for endpoint in ["messages?dir=b&", &format!("context/{}?", encode(&root))] {
            for wrong in [r#"{"org.matrix.msc3874.rel_types":"m.thread"}"#, "[", "5"] {
                let query = format!("{endpoint}filter={}", encode(wrong));
                let answer = anna.get(&path(&room_id, &query)).await;
                assert_eq!(answer.status, 400, "{wrong}");
            }
        }
    }
}
