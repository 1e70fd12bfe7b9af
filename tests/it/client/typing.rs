//! Typing notices. What others see of them is tested with syncs.

use serde_json::json;

use super::paging::{path, room};
use crate::harness::{client::encode, server::TestServer};

#[tokio::test]
async fn members_type_for_themselves() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = room(&anna, "shared").await;
    let anna_types = path(&room_id, &format!("typing/{}", encode(&anna.user_id)));
    let ben_types = path(&room_id, &format!("typing/{}", encode(&ben.user_id)));
    let begin = json!({ "typing": true, "timeout": 30_000 });
    let end = json!({ "typing": false });
    anna.put(&anna_types, &begin).await.expect_ok();
    anna.put(&anna_types, &end).await.expect_ok();
    let unsaid = json!({ "typing": true });
    anna.put(&anna_types, &unsaid).await.expect_ok();
    anna.put(&anna_types, &json!({ "timeout": 1 }))
        .await
        .expect_error(400, "M_BAD_JSON");
    let too_long = json!({ "typing": true, "timeout": 9_007_199_254_740_991_i64 });
    anna.put(&anna_types, &too_long).await.expect_ok();
    anna.put(&ben_types, &begin)
        .await
        .expect_error(403, "M_FORBIDDEN");
    ben.put(&ben_types, &begin)
        .await
        .expect_error(403, "M_FORBIDDEN");
}
