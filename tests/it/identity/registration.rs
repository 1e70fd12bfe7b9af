//! Who may register (tchap.md 2.2, rows CK, and 2.3, rows REG-02 to REG-04), and what goes wrong
//! when two do at once.

use std::time::Duration;

use serde_json::json;

use super::{PASSWORD, Town, invite_address, invites, room};
use crate::harness::client::encode;

const OUTSIDER: &str = "kermit@example.com";

#[tokio::test]
async fn ck_01_to_ck_06_reg_02_reg_03_the_address_decides() {
    let town = Town::new().await;
    for (rule, address, reason) in [
        ("ck_01", "a@nowhere.net", "address_not_allowed"),
        ("ck_03", OUTSIDER, "invitation_missing"),
        ("ck_05", "a@twin.fr", "wrong_server"),
        ("ck_06", "a@other.fr", "wrong_server"),
    ] {
        let refused = town.ask_mail(address).await;
        let body = refused.expect_error(403, "M_THREEPID_DENIED");
        assert_eq!(body["fr.gouv.tchap.reason"], reason, "{rule}");
    }
    assert!(town.mails.received().is_empty());
    // CK-02.
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    assert!(!town.is_external(&agent.user_id).await);
    // CK-04.
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, OUTSIDER).await.expect_ok();
    town.ask_mail(OUTSIDER).await.expect_ok();
    // Everybody else still needs one.
    town.ask_mail("gonzo@example.com")
        .await
        .expect_error(403, "M_THREEPID_DENIED");
}

#[tokio::test]
async fn two_who_register_the_same_address_at_once_make_one_account() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, OUTSIDER).await.expect_ok();
    let (one, other) = (town.begin().await, town.begin().await);
    let sid = town.prove(OUTSIDER).await;
    let (one, other) = tokio::join!(town.complete(&one, &sid), town.complete(&other, &sid));
    let (made, refused) = if one.status == 200 {
        (one, other)
    } else {
        (other, one)
    };
    let made = made.expect_ok();
    assert!(
        (400..500).contains(&refused.status),
        "{} {}",
        refused.status,
        refused.text
    );
    let mut guest = town.server.client();
    guest.take_session(&made);
    let expected = [(room_id, agent.user_id.clone())];
    assert_eq!(invites(&guest).await, expected);
}

#[tokio::test]
async fn a_proof_is_good_for_its_own_secret_and_time() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, OUTSIDER).await.expect_ok();
    let session = town.begin().await;
    let sid = town.ask_mail(OUTSIDER).await.expect_ok()["sid"].clone();
    // Before the link was opened.
    assert_eq!(town.complete(&session, &sid).await.status, 401);
    let mail = town
        .mails
        .wait_for_words(OUTSIDER, "registration/email/submit_token")
        .await;
    let text = mail.text();
    let link = text
        .split_whitespace()
        .find(|word| word.contains("submit_token"))
        .unwrap();
    let path = link.strip_prefix(&town.server.url).unwrap().to_owned();
    let anybody = town.server.client();
    let other = path.replace("client_secret=secret", "client_secret=other");
    assert_ne!(other, path);
    assert_eq!(anybody.get(&other).await.status, 400);
    // Twice is as good as once.
    for _ in 0..2 {
        assert_eq!(anybody.get(&path).await.status, 200);
    }
    let auth = json!({
        "type": "m.login.email.identity",
        "session": session,
        "threepid_creds": { "sid": sid, "client_secret": "other" },
    });
    let stolen = anybody.post("register", &json!({ "auth": auth })).await;
    assert_eq!(stolen.status, 401, "{}", stolen.text);
    // Too late.
    town.clock.advance(Duration::from_hours(24 * 4));
    assert_eq!(anybody.get(&path).await.status, 400);
    let session = town.begin().await;
    assert_eq!(town.complete(&session, &sid).await.status, 401);
}

#[tokio::test]
async fn an_external_stays_one_and_logs_in_like_anybody() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    invite_address(&agent, &room_id, OUTSIDER).await.expect_ok();
    let guest = town.register(OUTSIDER).await;
    let mut again = town.server.client();
    let body = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": OUTSIDER },
        "password": PASSWORD,
    });
    let answer = again.post("login", &body).await.expect_ok();
    again.take_session(&answer);
    assert_eq!(again.user_id, guest.user_id);
    assert!(town.is_external(&again.user_id).await);
    let path = format!("profile/{}", encode(&guest.user_id));
    agent.get(&path).await.expect_ok();
}
