//! Application services act for their users, and for nobody else.

use reqwest::Method;
use serde_json::{Value, json};

use super::{AS_TOKEN, Site, of, registration};
use crate::harness::{
    client::{Client, encode},
    keys::Identity,
};

async fn register(service: &Client, name: &str) -> crate::harness::client::Answer {
    let body = json!({ "type": "m.login.application_service", "username": name,
        "inhibit_login": true });
    service.post("register", &body).await
}

#[tokio::test]
async fn a_service_makes_its_users_and_acts_for_them() {
    let site = Site::new(&registration(None, "")).await;
    let service = site.service();
    let whoami = service.get("account/whoami").await.expect_ok();
    assert_eq!(whoami["user_id"], "@_bridge_bot:example.org");
    assert_eq!(whoami["device_id"], Value::Null);
    let made = register(&service, "_bridge_anna").await.expect_ok();
    assert_eq!(made["user_id"], "@_bridge_anna:example.org");
    assert_eq!(made["access_token"], Value::Null);
    register(&service, "_bridge_anna")
        .await
        .expect_error(400, "M_USER_IN_USE");
    let whoami = service.get(&of("account/whoami", "_bridge_anna")).await;
    assert_eq!(whoami.expect_ok()["user_id"], "@_bridge_anna:example.org");
    // Rooms, messages and profiles of the user.
    let body = json!({ "preset": "public_chat", "room_alias_name": "_bridge_room" });
    let room = service.post(&of("createRoom", "_bridge_anna"), &body).await;
    let room_id = room.expect_ok()["room_id"].as_str().unwrap().to_owned();
    let path = format!("rooms/{}/send/m.room.message/1", encode(&room_id));
    let content = json!({ "msgtype": "m.text", "body": "hello" });
    let path = of(&path, "_bridge_anna");
    let event_id = service.put(&path, &content).await.expect_ok()["event_id"].clone();
    // The same transaction makes nothing twice, though there is no device.
    let again = service.put(&path, &content).await.expect_ok()["event_id"].clone();
    assert_eq!(event_id, again);
    let ben = site.server.register("ben").await;
    ben.join("#_bridge_room:example.org").await.expect_ok();
    let messages = ben.messages(&room_id, "").await;
    assert!(messages["chunk"].as_array().unwrap().iter().any(|event| {
        event["event_id"] == event_id && event["sender"] == "@_bridge_anna:example.org"
    }));
}

#[tokio::test]
async fn a_service_is_nobody_else() {
    let site = Site::new(&registration(None, "")).await;
    let service = site.service();
    site.server.register("ben").await;
    for (who, errcode) in [
        ("ben", "M_FORBIDDEN"),
        ("nobody", "M_FORBIDDEN"),
        ("_bridge_unknown", "M_FORBIDDEN"),
    ] {
        let path = of("account/whoami", who);
        service.get(&path).await.expect_error(403, errcode);
    }
    for odd in ["%00", "ben", "%40_bridge_a%3Aelsewhere.org"] {
        let answer = service.get(&format!("account/whoami?user_id={odd}")).await;
        assert!([400, 403].contains(&answer.status), "{}", answer.text);
    }
    register(&service, "carla")
        .await
        .expect_error(400, "M_EXCLUSIVE");
    register(&service, "_bridge_A")
        .await
        .expect_error(400, "M_INVALID_USERNAME");
    let body = json!({ "type": "m.login.application_service" });
    service
        .post("register", &body)
        .await
        .expect_error(400, "M_MISSING_PARAM");
    // What others have: no token, and a wrong one.
    let mut other = site.server.client();
    let body = json!({ "type": "m.login.application_service", "username": "_bridge_x" });
    other
        .post("register", &body)
        .await
        .expect_error(401, "M_MISSING_TOKEN");
    other.token = Some("wrong".to_owned());
    other
        .post("register", &body)
        .await
        .expect_error(401, "M_UNKNOWN_TOKEN");
    // A closed account is closed for the service too.
    register(&service, "_bridge_gone").await.expect_ok();
    let gone = of("account/whoami", "_bridge_gone");
    service.get(&gone).await.expect_ok();
    let accounts = site.server.app.accounts();
    let user_id = ruma::user_id!("@_bridge_gone:example.org");
    accounts.deactivate_user(user_id, false).await.unwrap();
    service
        .get(&gone)
        .await
        .expect_error(403, "M_USER_DEACTIVATED");
}

#[tokio::test]
async fn others_keep_out_of_exclusive_namespaces() {
    let site = Site::new(&registration(None, "")).await;
    let service = site.service();
    let client = site.server.client();
    let body = json!({ "username": "_bridge_ben", "password": "Correct-horse7",
        "auth": { "type": "m.login.dummy" } });
    // A name that begins so is nobody's anyway; the sender's would be free otherwise.
    assert_eq!(client.post("register", &body).await.status, 400);
    let helper = site.server.register("helper").await;
    let room_id = helper.create_room(&json!({})).await;
    let ben = site.server.register("ben").await;
    let room = json!({ "room_alias_name": "_bridge_mine" });
    ben.post("createRoom", &room)
        .await
        .expect_error(400, "M_EXCLUSIVE");
    let own = ben.create_room(&json!({})).await;
    let alias = "directory/room/%23_bridge_mine%3Aexample.org";
    ben.put(alias, &json!({ "room_id": own }))
        .await
        .expect_error(400, "M_EXCLUSIVE");
    // The helper's id may be the service's, and the alias is: the service may, as the helper.
    let path = of(alias, "helper");
    service
        .put(&path, &json!({ "room_id": room_id }))
        .await
        .expect_ok();
    ben.delete(alias).await.expect_error(400, "M_EXCLUSIVE");
    // The service has no aliases but its own.
    let path = of("directory/room/%23other%3Aexample.org", "helper");
    service
        .put(&path, &json!({ "room_id": room_id }))
        .await
        .expect_error(400, "M_EXCLUSIVE");
    service.delete(&of(alias, "helper")).await.expect_ok();
}

#[tokio::test]
async fn a_service_logs_in_as_its_users() {
    let site = Site::new(&registration(None, "")).await;
    let service = site.service();
    let flows = service.get("login").await.expect_ok();
    let offered = flows["flows"].as_array().unwrap();
    assert!(offered.contains(&json!({ "type": "m.login.application_service" })));
    register(&service, "_bridge_anna").await.expect_ok();
    let login = |user: &str| {
        json!({ "type": "m.login.application_service",
            "identifier": { "type": "m.id.user", "user": user } })
    };
    let answer = service.post("login", &login("_bridge_anna")).await;
    let mut anna = site.server.client();
    anna.take_session(&answer.expect_ok());
    let whoami = anna.get("account/whoami").await.expect_ok();
    assert_eq!(whoami["user_id"], "@_bridge_anna:example.org");
    site.server.register("ben").await;
    service
        .post("login", &login("ben"))
        .await
        .expect_error(400, "M_EXCLUSIVE");
    service
        .post("login", &login("_bridge_nobody"))
        .await
        .expect_error(403, "M_FORBIDDEN");
    let nobody = site.server.client();
    nobody
        .post("login", &login("_bridge_anna"))
        .await
        .expect_error(401, "M_MISSING_TOKEN");
    anna.post("login", &login("_bridge_anna"))
        .await
        .expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn a_service_has_devices_without_logging_in() {
    let site = Site::new(&registration(None, "")).await;
    let service = site.service();
    register(&service, "_bridge_anna").await.expect_ok();
    let whoami = of("account/whoami?device_id=ONE", "_bridge_anna");
    service
        .get(&whoami)
        .await
        .expect_error(400, "M_UNKNOWN_DEVICE");
    let device = of("devices/ONE", "_bridge_anna");
    let body = json!({ "display_name": "bridge" });
    assert_eq!(service.put(&device, &body).await.status, 201);
    assert_eq!(service.put(&device, &body).await.status, 200);
    let found = service.get(&whoami).await.expect_ok();
    assert_eq!(found["device_id"], "ONE");
    // Nobody is there to prove anything.
    let deleted = service
        .request(Method::DELETE, &device, Some(&json!({})))
        .await;
    deleted.expect_ok();
    service
        .get(&whoami)
        .await
        .expect_error(400, "M_UNKNOWN_DEVICE");
    // Others cannot make devices.
    let ben = site.server.register("ben").await;
    ben.put("devices/ONE", &body)
        .await
        .expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_service_says_when_something_was_said() {
    let site = Site::new(&registration(None, "")).await;
    let service = site.service();
    register(&service, "_bridge_anna").await.expect_ok();
    let room = service
        .post(&of("createRoom", "_bridge_anna"), &json!({}))
        .await;
    let room_id = room.expect_ok()["room_id"].as_str().unwrap().to_owned();
    let room = encode(&room_id);
    let content = json!({ "msgtype": "m.text", "body": "long ago" });
    let path = format!("rooms/{room}/send/m.room.message/1?ts=1234567");
    let sent = service.put(&of(&path, "_bridge_anna"), &content).await;
    let event_id = sent.expect_ok()["event_id"].as_str().unwrap().to_owned();
    let event = format!("rooms/{room}/event/{}", encode(&event_id));
    let event = service.get(&of(&event, "_bridge_anna")).await.expect_ok();
    assert_eq!(event["origin_server_ts"], 1_234_567);
    let path = format!("rooms/{room}/state/m.room.topic/?ts=7654321");
    let topic = json!({ "topic": "old" });
    let sent = service.put(&of(&path, "_bridge_anna"), &topic).await;
    let event_id = sent.expect_ok()["event_id"].as_str().unwrap().to_owned();
    let event = format!("rooms/{room}/event/{}", encode(&event_id));
    let event = service.get(&of(&event, "_bridge_anna")).await.expect_ok();
    assert_eq!(event["origin_server_ts"], 7_654_321);
    let path = format!("rooms/{room}/send/m.room.message/2?ts=-1");
    let odd = service.put(&of(&path, "_bridge_anna"), &content).await;
    assert_eq!(odd.status, 400, "{}", odd.text);
    // A person cannot.
    let ben = site.server.register("ben").await;
    let own = ben.create_room(&json!({})).await;
    let path = format!("rooms/{}/send/m.room.message/1?ts=1234567", encode(&own));
    ben.put(&path, &content).await.expect_ok();
    let messages = ben.messages(&own, "&limit=1").await;
    assert_ne!(messages["chunk"][0]["origin_server_ts"], 1_234_567);
}

#[tokio::test]
async fn requests_of_a_service_are_limited_only_where_its_registration_says_so() {
    let limits = "[limits]\nenabled = true\nmessage = { per_second = 0.001, burst = 2 }";
    for (more, refused) in [("rate_limited: false", 0), ("rate_limited: true", 3)] {
        let site = Site::with(&registration(None, more), limits).await;
        let service = site.service();
        register(&service, "_bridge_anna").await.expect_ok();
        let mut statuses = Vec::new();
        for _ in 0..5 {
            let made = service
                .post(&of("createRoom", "_bridge_anna"), &json!({}))
                .await;
            statuses.push(made.status);
        }
        let limited = statuses.iter().filter(|status| **status == 429).count();
        assert_eq!(limited, refused, "{statuses:?}");
        // Its own user never is.
        for _ in 0..5 {
            service.post("createRoom", &json!({})).await.expect_ok();
        }
    }
}

#[tokio::test]
async fn registrations_are_read_again() {
    let site = Site::new(&registration(None, "")).await;
    let service = site.service();
    service.get("account/whoami").await.expect_ok();
    let second = registration(None, "")
        .replace("bridge", "other")
        .replace(AS_TOKEN, "as-token-of-the-other");
    site.reload("other.yaml", &second).await;
    let mut other = site.server.client();
    other.token = Some("as-token-of-the-other".to_owned());
    crate::harness::process::until(
        "read",
        || "the second registration is not in force".to_owned(),
        async || other.get("account/whoami").await.status == 200,
    )
    .await;
    // What is wrong changes nothing.
    site.reload("other.yaml", "id: [").await;
    other.get("account/whoami").await.expect_ok();
    service.get("account/whoami").await.expect_ok();
}

#[tokio::test]
async fn a_service_replaces_the_cross_signing_keys_of_its_users_without_a_password() {
    let site = Site::new(&registration(None, "")).await;
    let service = site.service();
    register(&service, "_bridge_anna").await.expect_ok();
    let mut anna = site.service();
    "@_bridge_anna:example.org".clone_into(&mut anna.user_id);
    let path = of("keys/device_signing/upload", "_bridge_anna");
    for _ in 0..2 {
        let body = Identity::of(&anna).body();
        service.post(&path, &body).await.expect_ok();
        let wanted = json!({ "device_keys": { anna.user_id.as_str(): [] } });
        let path = of("keys/query", "_bridge_anna");
        let found = service.post(&path, &wanted).await.expect_ok();
        let keys = &found["master_keys"][&anna.user_id]["keys"];
        assert_eq!(*keys, body["master_key"]["keys"]);
    }
    // Nobody else does so.
    let ben = site.server.register("ben").await;
    for (number, status) in [200, 401].into_iter().enumerate() {
        let body = Identity::of(&ben).body();
        let answer = ben.post("keys/device_signing/upload", &body).await;
        assert_eq!(answer.status, status, "{number}: {}", answer.text);
    }
}
