//! Devices (specification v1.19, "Device management").

use serde_json::{Value, json};

use super::{PASSWORD, open, password_auth};
use crate::harness::{
    client::encode,
    server::{self, TestServer},
};

#[tokio::test]
async fn devices_are_listed_renamed_and_seen() {
    let site = open().await;
    let me = site.register("camille").await;
    let token = me["access_token"].as_str();
    let device_id = me["device_id"].as_str().unwrap();
    let path = format!("v3/devices/{device_id}");
    let body = json!({ "display_name": "Desk" });
    site.send("PUT", &path, token, Some(body)).await.ok();
    site.service.accounts.flush().await.unwrap();
    let device = site.get(&path, token).await.ok();
    assert_eq!(device["display_name"], "Desk");
    assert_eq!(device["last_seen_ip"], "198.51.100.7");
    assert_eq!(device["last_seen_ts"], 1_700_000_000_000_u64);
    let devices = site.get("v3/devices", token).await.ok();
    assert_eq!(devices["devices"], json!([device]));
    let none = site.get("v3/devices/NONE", token).await;
    assert_eq!(none.failure(), (404, "M_NOT_FOUND".to_owned()));
    let long = json!({ "display_name": "x".repeat(1000) });
    assert_eq!(site.send("PUT", &path, token, Some(long)).await.status, 400);
}

#[tokio::test]
async fn deleting_devices_needs_the_password() {
    let site = open().await;
    let me = site.register("camille").await;
    site.register("other").await;
    let token = me["access_token"].as_str();
    let login = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": "camille" },
        "password": PASSWORD,
        "device_id": "PHONE",
    });
    let phone = site.post("v3/login", None, login).await.ok();
    let delete = async |devices: Value, auth: Option<Value>| {
        let body = json!({ "devices": devices, "auth": auth });
        site.post("v3/delete_devices", token, body).await
    };
    let first = delete(json!(["PHONE"]), None).await;
    assert_eq!(first.status, 401);
    let session = &first.json()["session"];
    let wrong = password_auth("camille", "wrong", Some(session));
    let answer = delete(json!(["PHONE"]), Some(wrong)).await;
    assert_eq!(answer.failure(), (401, "M_FORBIDDEN".to_owned()));
    let somebody = password_auth("other", PASSWORD, Some(session));
    assert_eq!(delete(json!(["PHONE"]), Some(somebody)).await.status, 403);
    // What was begun for one device is not good for another.
    let good = password_auth("camille", PASSWORD, Some(session));
    let other = delete(json!([me["device_id"]]), Some(good.clone())).await;
    assert_eq!(other.status, 401);
    delete(json!(["PHONE"]), Some(good)).await.ok();
    let gone = site
        .get("v3/account/whoami", phone["access_token"].as_str())
        .await;
    assert_eq!(gone.status, 401);
    site.get("v3/account/whoami", token).await.ok();

    // In one request, without a session; a device that is not there is no failure.
    let path = format!("v3/devices/{}", me["device_id"].as_str().unwrap());
    let body = json!({ "auth": password_auth("@camille:example.org", PASSWORD, None) });
    site.send("DELETE", "v3/devices/NONE", token, Some(body.clone()))
        .await
        .ok();
    site.send("DELETE", &path, token, Some(body)).await.ok();
    assert_eq!(site.get("v3/account/whoami", token).await.status, 401);
}

#[tokio::test]
async fn profiles_have_fields() {
    let site = open().await;
    let me = site.register("camille").await;
    let other = site.register("other").await;
    let token = me["access_token"].as_str();
    let base = "v3/profile/@camille:example.org";
    let put = async |field: &str, value: Value, token: Option<&str>| {
        let path = format!("{base}/{field}");
        site.send("PUT", &path, token, Some(json!({ field: value })))
            .await
    };
    put("displayname", "Camille".into(), token).await.ok();
    put("avatar_url", "mxc://example.org/a".into(), token)
        .await
        .ok();
    put("m.tz", "Europe/Paris".into(), token).await.ok();
    put("fr.gouv.desk", json!({ "room": 12 }), token).await.ok();
    let profile = site.get(base, None).await.ok();
    assert_eq!(
        profile,
        json!({
            "displayname": "Camille",
            "avatar_url": "mxc://example.org/a",
            "m.tz": "Europe/Paris",
            "fr.gouv.desk": { "room": 12 },
        })
    );
    let field = site.get(&format!("{base}/fr.gouv.desk"), None).await.ok();
    assert_eq!(field, json!({ "fr.gouv.desk": { "room": 12 } }));
    site.send("DELETE", &format!("{base}/fr.gouv.desk"), token, None)
        .await
        .ok();
    assert_eq!(
        site.get(&format!("{base}/fr.gouv.desk"), None).await.status,
        404
    );
    put("avatar_url", "".into(), token).await.ok();
    assert_eq!(
        site.get(&format!("{base}/avatar_url"), None).await.ok(),
        json!({})
    );

    let stranger = put("displayname", "x".into(), other["access_token"].as_str()).await;
    assert_eq!(stranger.failure(), (403, "M_FORBIDDEN".to_owned()));
    let wrong = put("avatar_url", "https://example.org/".into(), token).await;
    assert_eq!(wrong.status, 400);
    let large = put("org.large", "x".repeat(70_000).into(), token).await;
    assert_eq!(large.failure(), (400, "M_PROFILE_TOO_LARGE".to_owned()));
    let key = put(&"k".repeat(300), "x".into(), token).await;
    assert_eq!(key.failure(), (400, "M_KEY_TOO_LARGE".to_owned()));
    assert_eq!(
        site.get("v3/profile/@nobody:example.org", None)
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn the_notification_settings_of_a_device_go_with_it() {
    let server = TestServer::new().await;
    let first = server.register("camille").await;
    let mut second = server.client();
    second.login("camille", server::PASSWORD).await.expect_ok();
    let path = |prefix: &str, device: &str| {
        let user = encode(&first.user_id);
        format!("user/{user}/account_data/{prefix}.local_notification_settings.{device}")
    };
    let settings = json!({ "is_silenced": true });
    let paths = ["m", "org.matrix.msc3890"].map(|prefix| path(prefix, &second.device_id));
    let kept = path("m", &first.device_id);
    for path in paths.iter().chain([&kept]) {
        first.put(path, &settings).await.expect_ok();
    }
    second.post("logout", &json!({})).await.expect_ok();
    for path in &paths {
        first.get(path).await.expect_error(404, "M_NOT_FOUND");
    }
    assert_eq!(first.get(&kept).await.expect_ok(), settings);
}
