//! Inviting addresses (tchap.md 4.7, rows M3, and 5, rows IN).

use serde_json::json;

use super::{Town, invite_address, invites, pending, room, threepid};
use crate::harness::client::encode;

const OUTSIDER: &str = "kermit@example.com";

#[tokio::test]
async fn in_03_in_04_all_rooms_that_wait_become_invites() {
    let town = Town::new().await;
    let jean = town.register("jean.dupont@culture.gouv.fr").await;
    let anne = town.register("anne.martin@justice.gouv.fr").await;
    let first = jean.create_room(&room("unrestricted")).await;
    let second = anne.create_room(&room("unrestricted")).await;
    invite_address(&jean, &first, OUTSIDER).await.expect_ok();
    invite_address(&anne, &second, OUTSIDER).await.expect_ok();
    let mut body = room("unrestricted");
    body["invite_3pid"] = json!([threepid(OUTSIDER), threepid("KERMIT@example.com")]);
    let third = jean.create_room(&body).await;
    assert_eq!(pending(&jean, &third).await.len(), 1);

    let guest = town.register(OUTSIDER).await;
    let mut expected = vec![
        (first, jean.user_id.clone()),
        (second, anne.user_id.clone()),
        (third, jean.user_id.clone()),
    ];
    expected.sort();
    assert_eq!(invites(&guest).await, expected);
}

#[tokio::test]
async fn in_05_m3_04_m3_05_r_18_a_restricted_room_takes_no_outsiders_and_nothing_is_stored() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("restricted")).await;
    for (address, reason) in [
        (OUTSIDER, "external_not_allowed"),
        ("a@ext.fr", "external_not_allowed"),
        ("a@nowhere.net", "address_not_allowed"),
        // M3-03.
        ("a@evil.com@culture.gouv.fr", "invalid_email_address"),
        ("Kermit <a@culture.gouv.fr>", "invalid_email_address"),
    ] {
        let refused = invite_address(&agent, &room_id, address).await;
        let body = refused.expect_error(403, "M_FORBIDDEN");
        assert_eq!(body["fr.gouv.tchap.reason"], reason, "{address}");
        let mut request = room("restricted");
        request["invite_3pid"] = json!([threepid(address)]);
        let refused = agent.post("createRoom", &request).await;
        refused.expect_error(403, "M_FORBIDDEN");
    }
    assert_eq!(pending(&agent, &room_id).await, []);
    let rooms = agent.get("joined_rooms").await.expect_ok();
    assert_eq!(rooms["joined_rooms"], json!([room_id]));
    assert_eq!(town.internal_info(OUTSIDER).await["invited"], false);
    town.ask_mail(OUTSIDER)
        .await
        .expect_error(403, "M_THREEPID_DENIED");
    assert_eq!(town.invitations_to(OUTSIDER), 0);
}

#[tokio::test]
async fn m3_01_m3_02_m3_06_who_may_be_invited() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("restricted")).await;
    let path = format!("rooms/{}/invite", encode(&room_id));
    let mut telephone = threepid("33123456789");
    telephone["medium"] = json!("msisdn");
    agent
        .post(&path, &telephone)
        .await
        .expect_error(403, "M_FORBIDDEN");
    // M3-06: agents, also those of other servers.
    for address in ["anne.martin@justice.gouv.fr", "a@other.fr"] {
        invite_address(&agent, &room_id, address).await.expect_ok();
    }
    assert_eq!(pending(&agent, &room_id).await.len(), 2);
    // An agent needs no invitation, and gets the invite all the same.
    let anne = town.register("anne.martin@justice.gouv.fr").await;
    assert!(!town.is_external(&anne.user_id).await);
    let expected = [(room_id, agent.user_id.clone())];
    assert_eq!(invites(&anne).await, expected);
    // M3-02: anybody to an unrestricted room, if it is an address.
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, "a@nowhere.net")
        .await
        .expect_ok();
    invite_address(&agent, &room_id, "a@b@nowhere.net")
        .await
        .expect_error(400, "M_INVALID_PARAM");
    let mut body = threepid(OUTSIDER);
    body["id_server"] = json!("vector.im");
    let path = format!("rooms/{}/invite", encode(&room_id));
    agent
        .post(&path, &body)
        .await
        .expect_error(403, "M_SERVER_NOT_TRUSTED");
}

#[tokio::test]
async fn m3_07_ck_07_nothing_is_sent_while_the_identity_service_cannot_answer() {
    let town = Town::with("[database]\nacquire_timeout_ms = 300\nmax_connections = 4").await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    agent.send(&room_id, "the room is in memory").await;
    let mut held = Vec::new();
    while let Ok(conn) = town.server.app.store().conn().await {
        held.push(conn);
    }
    let refused = invite_address(&agent, &room_id, OUTSIDER).await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.expect_error(503, "M_UNKNOWN");
    town.ask_mail("new@culture.gouv.fr")
        .await
        .expect_error(503, "M_UNKNOWN");
    drop(held);
    assert_eq!(pending(&agent, &room_id).await, []);
    assert_eq!(town.internal_info(OUTSIDER).await["invited"], false);
}

#[tokio::test]
async fn m3_08_invitations_by_mail_are_limited() {
    let limits = "[limits]\nenabled = true\nthird_party_invite = { per_second = 0.01, burst = 2 }\n\
                  message = { per_second = 100, burst = 100 }";
    let town = Town::with(limits).await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    for name in ["a", "b"] {
        let address = format!("{name}@example.com");
        invite_address(&agent, &room_id, &address).await.expect_ok();
    }
    let refused = invite_address(&agent, &room_id, "c@example.com").await;
    let body = refused.expect_error(429, "M_LIMIT_EXCEEDED");
    assert!(body["retry_after_ms"].as_u64().unwrap() > 1_000);
    let mut request = room("unrestricted");
    request["invite_3pid"] = json!([threepid("c@example.com")]);
    agent
        .post("createRoom", &request)
        .await
        .expect_error(429, "M_LIMIT_EXCEEDED");
    assert_eq!(pending(&agent, &room_id).await.len(), 2);
}

#[tokio::test]
async fn in_06_reg_13_a_withdrawn_invitation_lets_nobody_register() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, OUTSIDER).await.expect_ok();
    assert_eq!(town.internal_info(OUTSIDER).await["invited"], true);
    // Between the mail and the end of the registration.
    let session = town.begin().await;
    let sid = town.prove(OUTSIDER).await;
    let (token, _) = pending(&agent, &room_id).await.remove(0);
    let empty = json!({});
    let kind = "m.room.third_party_invite";
    agent
        .send_state(&room_id, kind, &token, &empty)
        .await
        .expect_ok();
    assert_eq!(town.internal_info(OUTSIDER).await["invited"], false);
    town.complete(&session, &sid)
        .await
        .expect_error(403, "M_THREEPID_DENIED");
    town.ask_mail(OUTSIDER)
        .await
        .expect_error(403, "M_THREEPID_DENIED");

    // A second invitation is not touched by the end of the first: only its room invites.
    let other = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &other, OUTSIDER).await.expect_ok();
    let answer = town.complete(&session, &sid).await.expect_ok();
    let mut guest = town.server.client();
    guest.take_session(&answer);
    assert_eq!(invites(&guest).await, [(other, agent.user_id.clone())]);
}

#[tokio::test]
async fn in_06_a_redacted_invitation_is_withdrawn_too() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, OUTSIDER).await.expect_ok();
    let path = format!("rooms/{}/state", encode(&room_id));
    let state = agent.get(&path).await.expect_ok();
    let mut events = state.as_array().unwrap().iter();
    let event = events.find(|event| event["type"] == "m.room.third_party_invite");
    let event_id = event.unwrap()["event_id"].as_str().unwrap();
    let path = format!("rooms/{}/redact/{}/1", encode(&room_id), encode(event_id));
    agent.put(&path, &json!({})).await.expect_ok();
    assert_eq!(town.internal_info(OUTSIDER).await["invited"], false);
}

#[tokio::test]
async fn in_07_lk_08_lk_09_an_old_invitation_lets_nobody_register() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, OUTSIDER).await.expect_ok();
    let info = town.internal_info(OUTSIDER).await;
    assert_eq!(
        info,
        json!({ "hs": "example.org", "requires_invite": true, "invited": true })
    );
    town.clock
        .advance(std::time::Duration::from_hours(24 * 30) - std::time::Duration::from_secs(1));
    assert_eq!(town.internal_info(OUTSIDER).await["invited"], true);
    town.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(town.internal_info(OUTSIDER).await["invited"], false);
    town.ask_mail(OUTSIDER)
        .await
        .expect_error(403, "M_THREEPID_DENIED");
}

#[tokio::test]
async fn in_08_the_invitations_of_a_closed_account_are_void() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, OUTSIDER).await.expect_ok();
    let user_id = ruma::UserId::parse(&agent.user_id).unwrap();
    let accounts = town.server.app.accounts();
    accounts.deactivate_user(&user_id, false).await.unwrap();
    assert_eq!(town.internal_info(OUTSIDER).await["invited"], false);
    town.ask_mail(OUTSIDER)
        .await
        .expect_error(403, "M_THREEPID_DENIED");
}

#[tokio::test]
async fn whoever_may_not_invite_may_not_by_mail_either() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, OUTSIDER).await.expect_ok();
    let guest = town.register(OUTSIDER).await;
    // Not a member yet.
    invite_address(&guest, &room_id, "b@example.com")
        .await
        .expect_error(403, "M_FORBIDDEN");
    guest.join(&room_id).await.expect_ok();
    // RO-12, whatever the levels are.
    invite_address(&guest, &room_id, "b@example.com")
        .await
        .expect_error(403, "M_FORBIDDEN");
    let stranger = town.register("anne.martin@justice.gouv.fr").await;
    invite_address(&stranger, &room_id, "b@example.com")
        .await
        .expect_error(403, "M_FORBIDDEN");
    invite_address(&stranger, "!nowhere:example.org", "b@example.com")
        .await
        .expect_error(403, "M_FORBIDDEN");
    assert_eq!(town.internal_info("b@example.com").await["invited"], false);
}
