//! Reports to the administrators (specification v1.19, client-server API, "Reporting content").

use serde_json::{Value, json};

use crate::harness::{
    client::{Client, encode},
    server::TestServer,
    tchap,
};

const ALL: &str = "/_chappe/admin/v1/reports";

async fn server() -> (TestServer, Client, Client, Client) {
    let server = tchap::server("").await;
    let admin = tchap::person_with(&server, "ada.min@interieur.gouv.fr", None, true).await;
    let anna = tchap::person(&server, "anna.durand@interieur.gouv.fr").await;
    let ben = tchap::person(&server, "ben.petit@culture.gouv.fr").await;
    (server, admin, anna, ben)
}

fn report(room: &str, event: &str) -> String {
    format!("rooms/{}/report/{}", encode(room), encode(event))
}

async fn reports(admin: &Client) -> Vec<Value> {
    let all = admin.get(ALL).await.expect_ok();
    all["reports"].as_array().unwrap().clone()
}

#[tokio::test]
async fn administrators_see_what_was_reported_newest_first() {
    let (_server, admin, anna, ben) = server().await;
    let room = anna.create_room(&json!({ "preset": "private_chat" })).await;
    anna.invite(&room, &ben.user_id).await.expect_ok();
    ben.join(&room).await.expect_ok();
    let event = anna.send(&room, "insulte").await;
    let reason = json!({ "reason": "C'est une insulte" });
    ben.post(&report(&room, &event), &reason).await.expect_ok();
    // Nothing need be said.
    ben.post(&report(&room, &event), &json!({}))
        .await
        .expect_ok();
    let of_room = format!("rooms/{}/report", encode(&room));
    ben.post(&of_room, &json!({ "reason": "" }))
        .await
        .expect_ok();
    let of_user = format!("users/{}/report", encode(&anna.user_id));
    ben.post(&of_user, &json!({ "reason": "encore" }))
        .await
        .expect_ok();

    let all = reports(&admin).await;
    assert_eq!(all.len(), 4);
    assert_eq!(all[0]["target_user_id"], json!(anna.user_id));
    assert_eq!(all[0]["reason"], "encore");
    assert_eq!(all[0].get("room_id"), None);
    assert_eq!(all[1]["room_id"], json!(room));
    assert_eq!(all[1].get("event_id"), None);
    let first = &all[3];
    assert_eq!(first["event_id"], json!(event));
    assert_eq!(first["user_id"], json!(ben.user_id));
    assert_eq!(first["sender"], json!(anna.user_id));
    assert_eq!(first["reason"], "C'est une insulte");

    let page = "/_synapse/admin/v1/event_reports?limit=1";
    let newest = admin.get(page).await.expect_ok();
    assert_eq!(newest["total"], 2);
    assert_eq!(newest["event_reports"], json!([all[2]]));
    let next = format!("{page}&from={}", newest["next_token"]);
    let older = admin.get(&next).await.expect_ok();
    assert_eq!(older["event_reports"], json!([all[3]]));

    let one = format!("{ALL}/{}", first["id"]);
    admin.delete(&one).await.expect_ok();
    admin.delete(&one).await.expect_error(404, "M_NOT_FOUND");
    assert_eq!(reports(&admin).await.len(), 3);
}

#[tokio::test]
async fn a_report_does_not_tell_what_there_is() {
    let (_server, admin, anna, ben) = server().await;
    let room = anna.create_room(&json!({ "preset": "private_chat" })).await;
    let event = anna.send(&room, "privé").await;
    let reason = json!({ "reason": "" });
    for unknown in [
        report(&room, &event),
        report(&room, "$nothing"),
        report("!nowhere:example.org", &event),
    ] {
        ben.post(&unknown, &reason)
            .await
            .expect_error(404, "M_NOT_FOUND");
    }
    anna.post(&report(&room, "$nothing"), &reason)
        .await
        .expect_error(404, "M_NOT_FOUND");
    // Whether there is such a room or user is not answered.
    for unknown in [
        "rooms/!nowhere:example.org/report",
        "users/@nobody:example.org/report",
    ] {
        ben.post(unknown, &reason).await.expect_ok();
    }
    assert!(reports(&admin).await.is_empty());
}

#[tokio::test]
async fn only_administrators_see_reports() {
    let (server, admin, anna, _) = server().await;
    anna.get(ALL).await.expect_error(403, "M_FORBIDDEN");
    let stranger = server.client();
    stranger.get(ALL).await.expect_error(401, "M_MISSING_TOKEN");
    anna.delete(&format!("{ALL}/1"))
        .await
        .expect_error(403, "M_FORBIDDEN");
    for wrong in ["limit=x", "from=-1"] {
        admin
            .get(&format!("{ALL}?{wrong}"))
            .await
            .expect_error(400, "M_INVALID_PARAM");
    }
    admin
        .delete(&format!("{ALL}/many"))
        .await
        .expect_error(404, "M_NOT_FOUND");
}
