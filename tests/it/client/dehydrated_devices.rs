//! Dehydrated devices (MSC3814).

use serde_json::{Value, json};

use crate::harness::{
    client::Client,
    keys::{Device, Identity, query},
    server::{PASSWORD, TestServer},
};

const PATH: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";

fn body(device: &Device, device_id: &str) -> Value {
    json!({
        "device_id": device_id,
        "initial_device_display_name": "Dehydrated",
        "device_data": { "algorithm": "m.dehydration.v2", "device_pickle": "x" },
        "device_keys": device.keys(),
        "fallback_keys": { "signed_curve25519:F": device.fallback_key(1) },
    })
}

async fn events(client: &Client, device_id: &str, from: Option<&str>) -> Value {
    let path = format!("{PATH}/{device_id}/events");
    let body = from.map_or(json!({}), |from| json!({ "next_batch": from }));
    client.post(&path, &body).await.expect_ok()
}

#[tokio::test]
async fn a_dehydrated_device_collects_messages_until_it_is_replaced() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    alice.get(PATH).await.expect_error(404, "M_NOT_FOUND");
    Identity::of(&alice).upload(&alice).await.expect_ok();
    let device = Device::named(&alice, "DRY");
    let made = alice.put(PATH, &body(&device, "DRY")).await.expect_ok();
    assert_eq!(made, json!({ "device_id": "DRY" }));
    let found = alice.get(PATH).await.expect_ok();
    assert_eq!(found["device_id"], "DRY");
    assert_eq!(found["device_data"]["device_pickle"], "x");
    let keys = query(&bob, &alice.user_id).await;
    let keys = &keys["device_keys"][&alice.user_id]["DRY"];
    assert_eq!(keys["keys"], device.keys()["keys"]);

    for n in 0..120 {
        let messages = json!({ (&alice.user_id): { "DRY": { "n": n } } });
        let path = format!("sendToDevice/my.type/t{n}");
        let body = json!({ "messages": messages });
        bob.put(&path, &body).await.expect_ok();
    }
    // Reading takes nothing away.
    for _ in 0..2 {
        let (mut from, mut count): (Option<String>, usize) = (None, 0);
        loop {
            let batch = events(&alice, "DRY", from.as_deref()).await;
            count += batch["events"].as_array().unwrap().len();
            let next = batch["next_batch"].as_str();
            let Some(next) = next else { break };
            from = Some(next.to_owned());
        }
        assert_eq!(count, 120);
    }
    let path = format!("{PATH}/OTHER/events");
    let other = alice.post(&path, &json!({})).await;
    other.expect_error(403, "M_FORBIDDEN");

    let next = Device::named(&alice, "DRY2");
    alice.put(PATH, &body(&next, "DRY2")).await.expect_ok();
    let keys = query(&bob, &alice.user_id).await;
    let devices = keys["device_keys"][&alice.user_id].as_object().unwrap();
    assert_eq!(devices.keys().collect::<Vec<_>>(), ["DRY2"]);
    let deleted = alice.delete(PATH).await.expect_ok();
    assert_eq!(deleted, json!({ "device_id": "DRY2" }));
    alice.delete(PATH).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_dehydrated_device_goes_like_any_other_and_replaces_no_session() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let own = Device::of(&alice);
    let taken = alice.put(PATH, &body(&own, &alice.device_id)).await;
    taken.expect_error(403, "M_FORBIDDEN");
    let device = Device::named(&alice, "DRY");
    let mut forged = body(&device, "DRY");
    forged["fallback_keys"]["signed_curve25519:F"] = own.fallback_key(1);
    let forged = alice.put(PATH, &forged).await;
    forged.expect_error(400, "M_INVALID_SIGNATURE");
    let mut without = body(&device, "DRY");
    without["device_data"] = json!("text");
    alice
        .put(PATH, &without)
        .await
        .expect_error(400, "M_BAD_JSON");
    alice.get(PATH).await.expect_error(404, "M_NOT_FOUND");

    alice.put(PATH, &body(&device, "DRY")).await.expect_ok();
    let auth = json!({ "auth": {
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": "alice" },
        "password": PASSWORD,
    }, "devices": ["DRY"] });
    alice.post("delete_devices", &auth).await.expect_ok();
    alice.get(PATH).await.expect_error(404, "M_NOT_FOUND");
    let nobody = server.client().get(PATH).await;
    nobody.expect_error(401, "M_MISSING_TOKEN");
}
