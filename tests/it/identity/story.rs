//! The whole story (tchap.md 5.1): an agent opens a room and invites an outsider by mail, who
//! registers through it and joins.

use serde_json::json;

use super::{Town, invite_address, invites, pending, room};
use crate::harness::client::encode;

#[tokio::test]
async fn in_01_in_02_reg_04_ro_01_r_27_an_outsider_is_invited_by_mail_registers_and_joins() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    // Nobody has invited her yet.
    let outsider = "kermit@example.com";
    town.ask_mail(outsider)
        .await
        .expect_error(403, "M_THREEPID_DENIED");

    // IN-04: capitals do not matter.
    invite_address(&agent, &room_id, " Kermit@Example.COM ")
        .await
        .expect_ok();
    let waiting = pending(&agent, &room_id).await;
    let [(token, content)] = waiting.as_slice() else {
        panic!("{waiting:?}");
    };
    assert_eq!(token.len(), 128);
    assert_eq!(content["display_name"], "ker...@exa...");
    assert_eq!(content["public_keys"].as_array().unwrap().len(), 2);
    assert_eq!(
        content["public_keys"][0]["public_key"],
        content["public_key"]
    );

    // The mail names who invites and the address to register with, and leads to the web client.
    let mail = town.mails.wait_for_words(outsider, "#/register?").await;
    let text = mail.text();
    assert!(mail.subject().contains("Invitation"), "{}", mail.subject());
    assert!(text.contains("Jean Dupont [Culture]"), "{text}");
    let link = mail.first_link();
    let expected = "https://tchap.example.org/#/register?email=kermit%40example.com";
    assert!(link.starts_with(expected), "{link}");

    let guest = town.register(outsider).await;
    assert_eq!(guest.user_id, "@kermit-example.com:example.org");
    assert!(town.is_external(&guest.user_id).await);
    assert!(!town.is_external(&agent.user_id).await);
    let expected = [(room_id.clone(), agent.user_id.clone())];
    assert_eq!(invites(&guest).await, expected);
    let path = format!(
        "rooms/{}/state/m.room.member/{}",
        encode(&room_id),
        encode(&guest.user_id)
    );
    let member = agent.get(&path).await.expect_ok();
    let signed = &member["third_party_invite"]["signed"];
    assert_eq!(signed["token"], token.as_str());
    assert_eq!(signed["mxid"], guest.user_id.as_str());
    assert_eq!(
        member["third_party_invite"]["display_name"],
        "ker...@exa..."
    );
    // the first room is no direct chat.
    assert!(member.get("is_direct").is_none(), "{member}");
    guest.join(&room_id).await.expect_ok();
    guest.send(&room_id, "Bonjour").await;

    // IN-02: from now on she is invited like anybody else.
    let second = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &second, outsider).await.expect_ok();
    assert_eq!(pending(&agent, &second).await, []);
    let expected = [(second.clone(), agent.user_id.clone())];
    assert_eq!(invites(&guest).await, expected);
    assert_eq!(town.invitations_to(outsider), 1);
    guest.join(&second).await.expect_ok();
}

#[tokio::test]
async fn a_direct_chat_with_an_address_becomes_one_with_its_owner() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    // Tchap's clients leave the token of the identity server out.
    let mut invited = super::threepid("kermit@example.com");
    invited.as_object_mut().unwrap().remove("id_access_token");
    let body = json!({
        "visibility": "private",
        "preset": "trusted_private_chat",
        "is_direct": true,
        "initial_state": [{
            "type": "im.vector.room.access_rules",
            "state_key": "",
            "content": { "rule": "direct" },
        }],
        "invite_3pid": [invited],
    });
    let room_id = agent.create_room(&body).await;
    assert_eq!(pending(&agent, &room_id).await.len(), 1);
    town.mails
        .wait_for_words("kermit@example.com", "#/register?")
        .await;
    let guest = town.register("kermit@example.com").await;
    let expected = [(room_id.clone(), agent.user_id.clone())];
    assert_eq!(invites(&guest).await, expected);
    guest.join(&room_id).await.expect_ok();
}
