//! What waits in the database is taken up by whoever comes first (tchap.md 5.5).

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use chappe::store::{accounts, threepids, users};
use serde_json::{Value, json};

use super::{Town, invite_address, invites, pending, room, threepid};
use crate::harness::client::{Client, encode};

const OUTSIDER: &str = "kermit@example.com";

#[tokio::test]
async fn in_09_an_address_that_somebody_got_meanwhile_is_invited_directly() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, OUTSIDER).await.expect_ok();
    // Somebody gets the address in a way that knows nothing of invitations.
    let guest = town.register("anne.martin@justice.gouv.fr").await;
    let user_id = ruma::UserId::parse(&guest.user_id).unwrap();
    let store = town.server.app.store();
    {
        let mut conn = store.conn().await.unwrap();
        let user = users::intern(&mut conn, &user_id).await.unwrap();
        assert!(
            accounts::find_by_number(&mut conn, user)
                .await
                .unwrap()
                .is_some()
        );
        threepids::insert(&mut conn, user, OUTSIDER, 1, 1)
            .await
            .unwrap();
    }
    // Another process finds it.
    let sibling = town.server.sibling().await;
    sibling.app.identity().work().await.unwrap();
    let elsewhere = guest.at(&sibling.url);
    let expected = [(room_id.clone(), agent.user_id.clone())];
    assert_eq!(invites(&elsewhere).await, expected);
    // Again: nothing more comes of it.
    sibling.app.identity().work().await.unwrap();
    town.server.app.identity().work().await.unwrap();
    elsewhere.join(&room_id).await.expect_ok();
    assert_eq!(invites(&elsewhere).await, []);

    // The identity service's own answer names the owner.
    let identity = town.identity(&agent).await;
    let body = json!({
        "medium": "email",
        "address": "Kermit@example.com",
        "room_id": room_id,
        "sender": agent.user_id,
    });
    let refused = identity
        .post("/_matrix/identity/v2/store-invite", &body)
        .await
        .expect_error(400, "M_THREEPID_IN_USE");
    assert_eq!(refused["mxid"], guest.user_id.as_str());
}

#[tokio::test]
async fn an_invitation_is_mailed_once_however_often_it_is_looked_after() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, OUTSIDER).await.expect_ok();
    assert_eq!(pending(&agent, &room_id).await.len(), 1);
    assert_eq!(town.internal_info(OUTSIDER).await["invited"], true);
    town.mails.wait_for_words(OUTSIDER, "#/register?").await;
    // The agent's mail and this one have left the queue: time may pass.
    while town.server.app.mailer().outcomes().sent < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    town.clock.advance(std::time::Duration::from_mins(10));
    town.server.app.identity().work().await.unwrap();
    assert_eq!(town.invitations_to(OUTSIDER), 1);
}

#[tokio::test]
async fn an_invitation_to_a_room_that_bans_its_guest_ends_quietly() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let banning = agent.create_room(&room("unrestricted")).await;
    let welcoming = agent.create_room(&room("unrestricted")).await;
    for room_id in [&banning, &welcoming] {
        invite_address(&agent, room_id, OUTSIDER).await.expect_ok();
    }
    let body = json!({ "user_id": "@kermit-example.com:example.org" });
    let path = format!("rooms/{}/ban", encode(&banning));
    agent.post(&path, &body).await.expect_ok();
    let guest = town.register(OUTSIDER).await;
    let expected = [(welcoming, agent.user_id.clone())];
    assert_eq!(invites(&guest).await, expected);
    agent
        .post(&format!("rooms/{}/unban", encode(&banning)), &body)
        .await
        .expect_ok();
    town.clock.advance(std::time::Duration::from_hours(2));
    town.server.app.identity().work().await.unwrap();
    assert_eq!(invites(&guest).await, expected);
}

#[tokio::test]
async fn m3_05_a_stored_invitation_lets_its_address_register_and_needs_its_event() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let identity = town.identity(&agent).await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    let body = |sender: &str| {
        json!({
            "medium": "email",
            "address": OUTSIDER,
            "room_id": room_id,
            "sender": sender,
            "room_name": "Something else",
        })
    };
    for path in [
        "/_matrix/identity/v2/store-invite",
        "/_matrix/identity/api/v1/store-invite",
    ] {
        identity
            .post(path, &body("@somebody:example.org"))
            .await
            .expect_error(403, "M_UNAUTHORIZED");
        town.server
            .client()
            .post(path, &body(&agent.user_id))
            .await
            .expect_error(401, "M_UNAUTHORIZED");
    }
    assert_eq!(town.internal_info(OUTSIDER).await["invited"], false);
    let stored = identity
        .post("/_matrix/identity/v2/store-invite", &body(&agent.user_id))
        .await
        .expect_ok();
    assert_eq!(stored["display_name"], "ker...@exa...");
    assert_eq!(stored["public_keys"][1]["public_key"], stored["public_key"]);
    assert_eq!(town.internal_info(OUTSIDER).await["invited"], true);
    let mail = town.mails.wait_for_words(OUTSIDER, "#/register?").await;
    assert!(!mail.text().contains("Something else"));

    // The sender sends the event, as homeservers do.
    let content = json!({
        "display_name": stored["display_name"],
        "key_validity_url": stored["public_keys"][0]["key_validity_url"],
        "public_key": stored["public_keys"][0]["public_key"],
        "public_keys": stored["public_keys"],
    });
    let token = stored["token"].as_str().unwrap();
    agent
        .send_state(&room_id, "m.room.third_party_invite", token, &content)
        .await
        .expect_ok();
    // One without an event becomes nothing.
    let quiet = agent.create_room(&room("unrestricted")).await;
    let mut other = body(&agent.user_id);
    other["room_id"] = json!(quiet);
    identity
        .post("/_matrix/identity/v2/store-invite", &other)
        .await
        .expect_ok();
    let guest = town.register(OUTSIDER).await;
    let expected = [(room_id.clone(), agent.user_id.clone())];
    assert_eq!(invites(&guest).await, expected);
    // Nor does it let in whom a restricted room does not want.
    let restricted = agent.create_room(&room("restricted")).await;
    other["room_id"] = json!(restricted);
    other["address"] = json!("b@example.com");
    identity
        .post("/_matrix/identity/v2/store-invite", &other)
        .await
        .expect_error(403, "M_FORBIDDEN");
    other["medium"] = json!("msisdn");
    identity
        .post("/_matrix/identity/v2/store-invite", &other)
        .await
        .expect_error(400, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn the_keys_of_an_invitation_can_be_asked_for() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let mut request = room("unrestricted");
    request["invite_3pid"] = json!([threepid(OUTSIDER)]);
    let room_id = agent.create_room(&request).await;
    let (token, content) = pending(&agent, &room_id).await.remove(0);
    let anybody = town.server.client();
    let is_valid = async |at: usize, key: &str| {
        let url = content["public_keys"][at]["key_validity_url"].as_str();
        let path = url.unwrap().strip_prefix(&town.server.url).unwrap();
        let path = format!("{path}?public_key={}", encode(key));
        anybody.get(&path).await.expect_ok()["valid"].clone()
    };
    let key = |at: usize| {
        let key = content["public_keys"][at]["public_key"].as_str();
        key.unwrap().to_owned()
    };
    assert_eq!(is_valid(0, &key(0)).await, true);
    assert_eq!(is_valid(1, &key(1)).await, true);
    assert_eq!(is_valid(0, &key(1)).await, false);
    assert_eq!(is_valid(1, &key(0)).await, false);
    agent
        .send_state(&room_id, "m.room.third_party_invite", &token, &json!({}))
        .await
        .expect_ok();
    assert_eq!(is_valid(1, &key(1)).await, false);
    let (id, public) = {
        let (id, public) = town.server.app.rooms().public_key();
        (id.to_string(), public)
    };
    assert_eq!(public, key(0));
    for version in ["v2", "api/v1"] {
        let path = format!("/_matrix/identity/{version}/pubkey/{}", encode(&id));
        let answer = anybody.get(&path).await.expect_ok();
        assert_eq!(answer["public_key"], public.as_str());
        let path = format!("/_matrix/identity/{version}/pubkey/ed25519:other");
        anybody.get(&path).await.expect_error(404, "M_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_client_without_cryptography_has_an_invitation_signed() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let identity = town.identity(&agent).await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, OUTSIDER).await.expect_ok();
    let (token, _) = pending(&agent, &room_id).await.remove(0);
    let path = "/_matrix/identity/v2/sign-ed25519";
    // The seed of RFC 8032's test 1024 bytes long, which is nobody's.
    let key = "9eV2fPU_mVgWz_VGPOTCMFQ9Uf0bDDTWNqfz-PqT6RQ";
    let mut body = json!({ "mxid": "@a:example.org", "token": token, "private_key": key });
    let signed = identity.post(path, &body).await.expect_ok();
    assert_eq!(signed["sender"], agent.user_id.as_str());
    assert_eq!(signed["token"], token.as_str());
    assert!(signed["signatures"]["example.org"].is_object());
    body["private_key"] = json!("short");
    identity
        .post(path, &body)
        .await
        .expect_error(400, "M_INVALID_PARAM");
    body["private_key"] = json!(key);
    body["token"] = json!("unknown");
    identity
        .post(path, &body)
        .await
        .expect_error(404, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn whoever_holds_an_invitation_by_mail_joins_with_it_if_the_rules_let_them() {
    let town = Town::new().await;
    let jean = town.register("jean.dupont@culture.gouv.fr").await;
    let anne = town.register("anne.martin@justice.gouv.fr").await;
    let zoe = town.register("zoe@justice.gouv.fr").await;
    let identity = town.identity(&anne).await;
    let open = jean.create_room(&room("unrestricted")).await;
    invite_address(&jean, &open, OUTSIDER).await.expect_ok();
    let (token, _) = pending(&jean, &open).await.remove(0);
    // The key that the mail has in its link.
    let mail = town
        .mails
        .wait_for_words(OUTSIDER, "#/register?")
        .await
        .text();
    let key = {
        let store = town.server.database();
        let mut conn = store.connect().await;
        let seed: Vec<u8> = sqlx::query_scalar(
            "SELECT ephemeral_seed FROM third_party_invitations WHERE token = $1",
        )
        .bind(&token)
        .fetch_one(&mut conn)
        .await
        .unwrap();
        STANDARD_NO_PAD.encode(seed)
    };
    assert!(!mail.is_empty());
    let sign = async |user_id: &str, key: &str| {
        let body = json!({ "mxid": user_id, "token": token, "private_key": key });
        let path = "/_matrix/identity/v2/sign-ed25519";
        identity.post(path, &body).await.expect_ok()
    };
    let join = async |client: &Client, signed: &Value| {
        let path = format!("join/{}", encode(&open));
        client
            .post(&path, &json!({ "third_party_signed": signed }))
            .await
    };
    let signed = sign(&anne.user_id, &key).await;
    // Signed for somebody else, or by a key that the room does not know, or changed since.
    join(&zoe, &signed).await.expect_error(403, "M_FORBIDDEN");
    let foreign = sign(&anne.user_id, "9eV2fPU_mVgWz_VGPOTCMFQ9Uf0bDDTWNqfz-PqT6RQ").await;
    join(&anne, &foreign).await.expect_error(403, "M_FORBIDDEN");
    for (field, value) in [("token", "other"), ("sender", zoe.user_id.as_str())] {
        let mut changed = signed.clone();
        changed[field] = json!(value);
        join(&anne, &changed).await.expect_error(403, "M_FORBIDDEN");
    }
    join(&anne, &json!({ "mxid": 7 }))
        .await
        .expect_error(400, "M_BAD_JSON");
    join(&anne, &signed).await.expect_ok();
    join(&anne, &signed).await.expect_ok();
    let path = format!("rooms/{}/messages?dir=b&limit=20", encode(&open));
    let events = jean.get(&path).await.expect_ok();
    let invite = events["chunk"].as_array().unwrap().iter().find(|event| {
        event["state_key"] == anne.user_id.as_str() && event["content"]["membership"] == "invite"
    });
    let invite = invite.unwrap();
    assert_eq!(invite["sender"], jean.user_id.as_str());
    assert_eq!(invite["content"]["third_party_invite"]["signed"], signed);

    // A withdrawn one, and one that is too old, let nobody in.
    let signed = sign(&zoe.user_id, &key).await;
    town.clock.advance(std::time::Duration::from_hours(24 * 30));
    join(&zoe, &signed).await.expect_error(403, "M_FORBIDDEN");
    invite_address(&jean, &open, "b@example.com")
        .await
        .expect_ok();
    jean.send_state(&open, "m.room.third_party_invite", &token, &json!({}))
        .await
        .expect_ok();
    join(&zoe, &signed).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn mr_02_an_external_does_not_join_a_closed_room_with_an_invitation_by_mail() {
    let town = Town::new().await;
    let jean = town.register("jean.dupont@culture.gouv.fr").await;
    let open = jean.create_room(&room("unrestricted")).await;
    invite_address(&jean, &open, OUTSIDER).await.expect_ok();
    let guest = town.register(OUTSIDER).await;
    let identity = town.identity(&guest).await;
    let closed = jean.create_room(&room("restricted")).await;
    invite_address(&jean, &closed, "anne.martin@justice.gouv.fr")
        .await
        .expect_ok();
    let (token, _) = pending(&jean, &closed).await.remove(0);
    let key = {
        let mut conn = town.server.database().connect().await;
        let seed: Vec<u8> = sqlx::query_scalar(
            "SELECT ephemeral_seed FROM third_party_invitations WHERE token = $1",
        )
        .bind(&token)
        .fetch_one(&mut conn)
        .await
        .unwrap();
        STANDARD_NO_PAD.encode(seed)
    };
    let body = json!({ "mxid": guest.user_id, "token": token, "private_key": key });
    let path = "/_matrix/identity/v2/sign-ed25519";
    let signed = identity.post(path, &body).await.expect_ok();
    let path = format!("join/{}", encode(&closed));
    let refused = guest
        .post(&path, &json!({ "third_party_signed": signed }))
        .await;
    let refused = refused.expect_error(403, "M_FORBIDDEN");
    assert!(refused["fr.gouv.tchap.reason"].is_string(), "{refused}");
}
