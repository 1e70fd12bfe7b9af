//! Filters that clients leave with the server.

use serde_json::json;

use crate::harness::{client::encode, server::TestServer};

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
    let wrong = json!({ "room": { "timeline": { "limit": "ten" } } });
    assert_eq!(anna.post(&filters, &wrong).await.status, 400);
    ben.post(&filters, &filter)
        .await
        .expect_error(403, "M_FORBIDDEN");
    ben.get(&format!("{filters}/{id}"))
        .await
        .expect_error(403, "M_FORBIDDEN");
}
