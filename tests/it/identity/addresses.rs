//! Which server an address belongs to, and who it is (tchap.md 2.1, rows LK; identity service API
//! v1.19, "Association lookup").

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Town, invite_address, room};
use crate::harness::client::{Client, encode};

const AGENT: &str = "jean.dupont@culture.gouv.fr";

async fn info(client: &Client, query: &str) -> crate::harness::client::Answer {
    let path = format!("/_matrix/identity/api/v1/info?{query}");
    client.get(&path).await
}

#[tokio::test]
async fn lk_05_lk_06_the_public_twin_hides_the_server_from_outside() {
    let at = |network: &str| format!("[policy.addresses]\nnonshadow_networks = [\"{network}\"]");
    let query = "medium=email&address=a%40twin.fr";
    let merge = |network: &str| {
        super::CONFIG.replace(
            "[policy.addresses]",
            &format!("{}\n", at(network).trim_end()),
        )
    };
    for (network, expected) in [
        (
            "127.0.0.0/8",
            json!({ "hs": "twin.example.org", "shadow_hs": "example.org", "invited": false }),
        ),
        (
            "10.0.0.0/8",
            json!({ "hs": "example.org", "invited": false }),
        ),
    ] {
        let server = crate::harness::server::TestServer::start(
            crate::harness::server::TestOptions::with(&merge(network)),
        )
        .await;
        let found = info(&server.client(), query).await.expect_ok();
        assert_eq!(found, expected, "{network}");
    }
}

#[tokio::test]
async fn lk_07_an_address_that_is_bound_elsewhere_stays_there() {
    let town = Town::new().await;
    let bind = json!({
        "medium": "email",
        "address": "a@other.fr",
        "mxid": "@a-other.fr:other.example.org",
    });
    let internal = town.internal();
    let path = "/_matrix/identity/internal/bind";
    internal.post(path, &bind).await.expect_ok();
    internal.post(path, &bind).await.expect_ok();
    // The rules change: the address belongs here now.
    let moved = super::CONFIG.replace(r#", server = "other.example.org""#, "");
    town.server.reload(&moved).await;
    let expected = json!({ "hs": "other.example.org", "new_hs": "example.org", "invited": false });
    // The configuration is taken over soon after it was read.
    let query = "medium=email&address=a%40other.fr";
    let client = town.server.client();
    let mut found = Value::Null;
    for _ in 0..500 {
        found = info(&client, query).await.expect_ok();
        if found == expected {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(found, expected);
    // CK-06: it cannot register here.
    town.ask_mail("a@other.fr")
        .await
        .expect_error(403, "M_THREEPID_DENIED");
    let unbind = "/_matrix/identity/internal/unbind";
    internal.post(unbind, &bind).await.expect_ok();
    internal.post(unbind, &bind).await.expect_ok();
    let found = info(&client, query).await.expect_ok();
    assert_eq!(found, json!({ "hs": "example.org", "invited": false }));
}

#[tokio::test]
async fn lk_10_lk_11_lk_12_odd_addresses() {
    let town = Town::new().await;
    let client = town.server.client();
    let found = info(&client, "medium=msisdn&address=33123456789").await;
    assert_eq!(found.expect_ok(), json!({}));
    let found = info(
        &client,
        "medium=email&address=a%40evil.com%40elysee.gouv.fr",
    )
    .await;
    found.expect_error(400, "M_INVALID_PARAM");
    let lower = info(&client, "medium=email&address=x%40culture.gouv.fr").await;
    let upper = info(&client, "medium=email&address=X%40Culture.GOUV.fr").await;
    let lower = lower.expect_ok();
    assert_eq!(lower["hs"], "example.org");
    assert_eq!(upper.expect_ok(), lower);
    let found = info(&client, "medium=email&address=a%40nowhere.net").await;
    assert_eq!(found.expect_ok(), json!({}));
    for query in ["", "medium=email", "address=a%40b.fr"] {
        info(&client, query)
            .await
            .expect_error(400, "M_MISSING_PARAM");
    }
}

#[tokio::test]
async fn what_servers_ask_is_not_for_clients() {
    let town = Town::new().await;
    let client = town.server.client();
    let query = "/_matrix/identity/api/v1/internal-info?medium=email&address=a%40example.com";
    client.get(query).await.expect_error(404, "M_UNRECOGNIZED");
    for path in [
        "/_matrix/identity/internal/bind",
        "/_matrix/identity/internal/unbind",
    ] {
        let answer = client.post(path, &json!({})).await;
        answer.expect_error(404, "M_UNRECOGNIZED");
    }
    // And what clients ask is not served there.
    let answer = town.internal().get("/_matrix/client/versions").await;
    answer.expect_error(404, "M_UNRECOGNIZED");
    // A user's server must be the address's.
    let bind = json!({
        "medium": "email",
        "address": "a@other.fr",
        "mxid": "@a:elsewhere.example.org",
    });
    let answer = town
        .internal()
        .post("/_matrix/identity/internal/bind", &bind)
        .await;
    answer.expect_error(403, "M_UNAUTHORIZED");
}

fn hash(address: &str, pepper: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{address} email {pepper}")))
}

#[tokio::test]
async fn people_are_found_by_the_hashes_of_their_addresses() {
    let town = Town::with("[policy.identity]\nlookup_limit = 3").await;
    let agent = town.register(AGENT).await;
    let identity = town.identity(&agent).await;
    let details = "/_matrix/identity/v2/hash_details";
    let found = identity.get(details).await.expect_ok();
    assert_eq!(found["algorithms"], json!(["sha256"]));
    let pepper = found["lookup_pepper"].as_str().unwrap().to_owned();
    // Also somebody who comes after the pepper.
    let anne = town.register("anne.martin@justice.gouv.fr").await;
    let look_up = async |pepper: &str, addresses: Value| {
        let body = json!({ "algorithm": "sha256", "pepper": pepper, "addresses": addresses });
        identity.post("/_matrix/identity/v2/lookup", &body).await
    };
    let (jean, other, unknown) = (
        hash(AGENT, &pepper),
        hash("anne.martin@justice.gouv.fr", &pepper),
        hash("nobody@culture.gouv.fr", &pepper),
    );
    let found = look_up(&pepper, json!([jean, other, unknown])).await;
    let expected = json!({ "mappings": { &jean: agent.user_id, &other: anne.user_id } });
    assert_eq!(found.expect_ok(), expected);
    let found = look_up(&pepper, json!([AGENT, "", "ü"])).await;
    assert_eq!(found.expect_ok(), json!({ "mappings": {} }));
    let refused = look_up(&pepper, json!(["a", "b", "c", "d"])).await;
    refused.expect_error(400, "M_TOO_LARGE");
    let refused = look_up("other", json!([jean])).await;
    refused.expect_error(400, "M_INVALID_PEPPER");
    let body = json!({ "algorithm": "none", "pepper": pepper, "addresses": [AGENT] });
    let refused = identity.post("/_matrix/identity/v2/lookup", &body).await;
    refused.expect_error(400, "M_INVALID_PARAM");

    // The pepper changes; the old one is good for a while.
    let service = town.server.app.identity();
    town.clock.advance(Duration::from_hours(24 * 7));
    service.clean_up().await.unwrap();
    let found = identity.get(details).await.expect_ok();
    assert_eq!(found["lookup_pepper"], pepper.as_str());
    town.clock.advance(Duration::from_mins(10));
    service.clean_up().await.unwrap();
    let found = identity.get(details).await.expect_ok();
    let newer = found["lookup_pepper"].as_str().unwrap().to_owned();
    assert_ne!(newer, pepper);
    for pepper in [&pepper, &newer] {
        let hash = hash(AGENT, pepper);
        let found = look_up(pepper, json!([hash])).await.expect_ok();
        assert_eq!(found["mappings"][&hash], agent.user_id.as_str());
    }
    town.clock.advance(Duration::from_hours(24 * 7));
    for _ in 0..3 {
        service.clean_up().await.unwrap();
        town.clock.advance(Duration::from_mins(10));
    }
    let refused = look_up(&pepper, json!([jean])).await;
    refused.expect_error(400, "M_INVALID_PEPPER");
}

#[tokio::test]
async fn old_clients_look_up_addresses_in_clear() {
    let town = Town::new().await;
    let agent = town.register(AGENT).await;
    let path = |address: &str| {
        let address = encode(address);
        format!("/_matrix/client/unstable/account/3pid/lookup?medium=email&address={address}")
    };
    let found = agent.get(&path("Jean.Dupont@culture.gouv.fr")).await;
    assert_eq!(found.expect_ok(), json!({ "mxid": agent.user_id }));
    for unknown in ["nobody@culture.gouv.fr", "a@b@c.fr"] {
        let found = agent.get(&path(unknown)).await;
        assert_eq!(found.expect_ok(), json!({}));
    }
    let anybody = town.server.client();
    let refused = anybody.get(&path(AGENT)).await;
    refused.expect_error(401, "M_MISSING_TOKEN");
    let body = json!({
        "id_server": "example.org",
        "threepids": [["email", AGENT], ["email", "x@y.fr"], ["msisdn", "33"]],
    });
    let bulk = "/_matrix/client/unstable/account/3pid/bulk_lookup";
    let found = agent.post(bulk, &body).await.expect_ok();
    let expected = json!({ "threepids": [["email", AGENT, agent.user_id]] });
    assert_eq!(found, expected);
    let refused = agent.post(bulk, &json!({ "threepids": ["email"] })).await;
    refused.expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn ud_07_an_external_finds_nobody_by_the_address_either() {
    let town = Town::new().await;
    let agent = town.register(AGENT).await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    let outsider = "kermit@example.com";
    invite_address(&agent, &room_id, outsider).await.expect_ok();
    let guest = town.register(outsider).await;
    assert!(town.is_external(&guest.user_id).await);
    for (who, mxid) in [(&agent, Some(agent.user_id.as_str())), (&guest, None)] {
        let identity = town.identity(who).await;
        let details = identity.get("/_matrix/identity/v2/hash_details").await;
        let pepper = details.expect_ok()["lookup_pepper"].clone();
        let hash = hash(AGENT, pepper.as_str().unwrap());
        let body = json!({ "algorithm": "sha256", "pepper": pepper, "addresses": [hash] });
        let found = identity.post("/_matrix/identity/v2/lookup", &body).await;
        assert_eq!(found.expect_ok()["mappings"][&hash], json!(mxid));
        let path = format!(
            "/_matrix/client/unstable/account/3pid/lookup?medium=email&address={}",
            encode(AGENT)
        );
        assert_eq!(who.get(&path).await.expect_ok()["mxid"], json!(mxid));
        let body = json!({ "threepids": [["email", AGENT]] });
        let bulk = "/_matrix/client/unstable/account/3pid/bulk_lookup";
        let found = who.post(bulk, &body).await.expect_ok();
        assert_eq!(found["threepids"][0][2], json!(mxid));
    }
}

#[tokio::test]
async fn r_03_addresses_are_not_guessed_by_the_thousand() {
    let limits = "[limits]\nenabled = true\n\
                  directory_search_daily = { per_second = 0.001, burst = 3 }";
    let town = Town::with(limits).await;
    let agent = town.register(AGENT).await;
    let identity = town.identity(&agent).await;
    let details = identity.get("/_matrix/identity/v2/hash_details").await;
    let pepper = details.expect_ok()["lookup_pepper"].clone();
    let look_up = async |count: usize| {
        let hashes: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        let body = json!({ "algorithm": "sha256", "pepper": pepper, "addresses": hashes });
        identity.post("/_matrix/identity/v2/lookup", &body).await
    };
    look_up(0).await.expect_ok();
    look_up(1).await.expect_ok();
    look_up(20).await.expect_ok();
    look_up(1).await.expect_error(429, "M_LIMIT_EXCEEDED");
    let path = format!(
        "/_matrix/client/unstable/account/3pid/lookup?medium=email&address={}",
        encode(AGENT)
    );
    agent.get(&path).await.expect_error(429, "M_LIMIT_EXCEEDED");
}
