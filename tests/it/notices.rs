//! Server notices (specification v1.19, client-server API, "Server Notices"; tchap.md 10.1).

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    client::{Answer, Client, encode},
    server::TestServer,
    tchap,
};

const SEND: &str = "/_synapse/admin/v1/send_server_notice";

async fn server() -> TestServer {
    tchap::server("[notices]\nlocal_part = 'annonces'\n").await
}

async fn notice(admin: &Client, to: &Client, text: &str) -> Answer {
    let content = json!({ "msgtype": "m.text", "body": text });
    let body = json!({ "user_id": to.user_id, "content": content });
    admin.post(SEND, &body).await
}

/// The rooms that somebody is invited to.
async fn invites(client: &Client) -> Vec<String> {
    let news = client.sync(None, Duration::ZERO).await;
    let rooms = news["rooms"]["invite"].as_object();
    rooms
        .map(|rooms| rooms.keys().cloned().collect())
        .unwrap_or_default()
}

#[tokio::test]
async fn r_33_a_notice_comes_in_a_plain_room_of_its_own() {
    let server = server().await;
    let root = tchap::person_with(&server, "root@gouv.fr", None, true).await;
    let jean = tchap::person(&server, "jean.dupont@interieur.gouv.fr").await;
    let gil = tchap::person(&server, "gil@entreprise.example").await;
    for (person, other) in [(&jean, &gil), (&gil, &jean)] {
        notice(&root, person, "Maintenance").await.expect_ok();
        notice(&root, person, "à midi").await.expect_ok();
        let rooms = invites(person).await;
        let [room] = &*rooms else {
            panic!("one room: {rooms:?}")
        };
        // The invitation cannot be refused, and the room can be left later.
        person
            .leave(room)
            .await
            .expect_error(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM");
        person.join(room).await.expect_ok();
        notice(&root, person, "est finie").await.expect_ok();
        let news = person.sync(None, Duration::ZERO).await;
        let joined = &news["rooms"]["join"][room];
        let text = joined["timeline"].to_string();
        assert!(text.contains("est finie"), "{text}");
        let encryption = format!("rooms/{}/state/m.room.encryption/", encode(room));
        let encryption = person.get(&encryption).await;
        encryption.expect_error(404, "M_NOT_FOUND");
        let tags = joined["account_data"]["events"].to_string();
        assert!(tags.contains("m.server_notice"), "{tags}");
        // Only the server writes.
        let path = format!("rooms/{}/send/m.room.message/1", encode(room));
        let answer = person.put(&path, &json!({ "body": "merci" })).await;
        answer.expect_error(403, "M_FORBIDDEN");
        let invite = person.invite(room, &other.user_id).await;
        invite.expect_error(403, "M_FORBIDDEN");
        person.leave(room).await.expect_ok();
        notice(&root, person, "encore").await.expect_ok();
        assert_eq!(invites(person).await, [room.clone()]);
    }
}

#[tokio::test]
async fn a_notice_with_the_same_transaction_is_sent_once() {
    let server = server().await;
    let root = tchap::person_with(&server, "root@gouv.fr", None, true).await;
    let jean = tchap::person(&server, "jean.dupont@interieur.gouv.fr").await;
    let content = json!({ "msgtype": "m.text", "body": "Bonjour" });
    let body = json!({ "user_id": jean.user_id, "content": content });
    let mut ids = Vec::new();
    for _ in 0..2 {
        let sent = root.put(&format!("{SEND}/une-fois"), &body).await;
        ids.push(sent.expect_ok()["event_id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn notices_are_sent_by_administrators_to_people_who_are_there() {
    let server = server().await;
    let root = tchap::person_with(&server, "root@gouv.fr", None, true).await;
    let jean = tchap::person(&server, "jean.dupont@interieur.gouv.fr").await;
    let refused = notice(&jean, &jean, "Bonjour").await;
    refused.expect_error(403, "M_FORBIDDEN");
    let nobody = server.client().post(SEND, &json!({})).await;
    nobody.expect_error(401, "M_MISSING_TOKEN");
    let content = json!({ "msgtype": "m.text", "body": "Bonjour" });
    for (body, status, errcode) in [
        (json!({ "content": content }), 400, "M_MISSING_PARAM"),
        (json!({ "user_id": jean.user_id }), 400, "M_MISSING_PARAM"),
        (
            json!({ "user_id": 1, "content": content }),
            400,
            "M_INVALID_PARAM",
        ),
        (
            json!({ "user_id": "jean", "content": content }),
            400,
            "M_INVALID_PARAM",
        ),
        (
            json!({ "user_id": jean.user_id, "content": 1 }),
            400,
            "M_INVALID_PARAM",
        ),
        (
            json!({ "user_id": "@nobody:example.org", "content": content }),
            404,
            "M_NOT_FOUND",
        ),
        (
            json!({ "user_id": "@jean:elsewhere.org", "content": content }),
            404,
            "M_NOT_FOUND",
        ),
    ] {
        root.post(SEND, &body).await.expect_error(status, errcode);
    }
    let off = tchap::server("").await;
    let root = tchap::person_with(&off, "root@gouv.fr", None, true).await;
    let body = json!({ "user_id": root.user_id, "content": content });
    let refused: Value = root.post(SEND, &body).await.expect_error(400, "M_UNKNOWN");
    assert!(refused["error"].as_str().unwrap().contains("not enabled"));
}

#[tokio::test]
async fn who_refuses_invitations_hears_the_operator_all_the_same() {
    let server = server().await;
    let root = tchap::person_with(&server, "root@gouv.fr", None, true).await;
    let jean = tchap::person(&server, "jean.dupont@interieur.gouv.fr").await;
    let user = encode(&jean.user_id);
    let path = format!("user/{user}/account_data/m.invite_permission_config");
    let block = json!({ "default_action": "block" });
    jean.put(&path, &block).await.expect_ok();
    notice(&root, &jean, "Maintenance").await.expect_ok();
    let rooms = invites(&jean).await;
    assert_eq!(rooms.len(), 1);
    jean.join(&rooms[0]).await.expect_ok();
}

#[tokio::test]
async fn the_writer_may_have_a_name_that_nobody_else_can_have() {
    let server = tchap::server("[notices]\nlocal_part = '_server'\n").await;
    let root = tchap::person_with(&server, "root@gouv.fr", None, true).await;
    let jean = tchap::person(&server, "jean.dupont@interieur.gouv.fr").await;
    notice(&root, &jean, "Maintenance").await.expect_ok();
    let rooms = invites(&jean).await;
    let [room] = &*rooms else {
        panic!("one room: {rooms:?}")
    };
    jean.join(room).await.expect_ok();
    let members = format!("rooms/{}/joined_members", encode(room));
    let members = jean.get(&members).await.expect_ok();
    assert!(
        members["joined"]
            .as_object()
            .unwrap()
            .keys()
            .any(|member| member.starts_with("@_server:")),
        "{members}"
    );
}
