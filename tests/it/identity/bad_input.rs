//! Nonsense on every endpoint of the identity service: an error of the specification, and never
//! the server's fault.

use serde_json::{Value, json};

use super::{Town, room};
use crate::harness::client::encode;

/// The endpoints that take a body, and all their parameters.
fn endpoints(room_id: &str, user_id: &str) -> Vec<(&'static str, Value)> {
    let v2 = [
        (
            "/_matrix/identity/v2/account/register",
            json!({ "access_token": "a", "matrix_server_name": "example.org" }),
        ),
        (
            "/_matrix/identity/v2/terms",
            json!({ "user_accepts": ["https://example.org"] }),
        ),
        (
            "/_matrix/identity/v2/lookup",
            json!({ "algorithm": "sha256", "pepper": "a", "addresses": ["a"] }),
        ),
        (
            "/_matrix/identity/v2/validate/email/requestToken",
            json!({ "client_secret": "a b", "email": "a@culture.gouv.fr", "send_attempt": 1 }),
        ),
        (
            "/_matrix/identity/v2/validate/email/submitToken",
            json!({ "client_secret": "a", "sid": "a", "token": "a" }),
        ),
        (
            "/_matrix/identity/v2/3pid/bind",
            json!({ "client_secret": "a", "sid": "a", "mxid": user_id }),
        ),
        (
            "/_matrix/identity/v2/3pid/unbind",
            json!({ "mxid": user_id, "threepid": { "medium": "email", "address": "a@b.fr" } }),
        ),
        (
            "/_matrix/identity/v2/store-invite",
            json!({
                "medium": "email",
                "address": "a@b@c.fr",
                "room_id": room_id,
                "sender": user_id,
            }),
        ),
        (
            "/_matrix/identity/v2/sign-ed25519",
            json!({ "mxid": user_id, "token": "a", "private_key": "a" }),
        ),
    ];
    v2.to_vec()
}

/// What stands in place of a parameter.
fn nonsense() -> Vec<Value> {
    vec![
        Value::Null,
        json!(1),
        json!(-1.5),
        json!(true),
        json!([]),
        json!([null]),
        json!({}),
        json!(""),
        json!("\u{0}"),
        json!("@\u{0}:example.org"),
        json!("é".repeat(300)),
        json!("a".repeat(5_000)),
        json!("!@#:%00"),
    ]
}

#[tokio::test]
async fn nonsense_is_answered_with_an_error_of_the_specification() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let identity = town.identity(&agent).await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    let large = json!({ "a": "x".repeat(2 << 20) });
    for (path, good) in endpoints(&room_id, &agent.user_id) {
        let names: Vec<String> = good.as_object().unwrap().keys().cloned().collect();
        let mut bodies = vec![json!({}), json!([]), json!("text"), json!(null)];
        for name in &names {
            let mut missing = good.clone();
            missing.as_object_mut().unwrap().remove(name);
            let answer = identity.post(path, &missing).await;
            answer.expect_error(400, "M_MISSING_PARAMS");
            for value in nonsense() {
                let mut body = good.clone();
                body[name] = value;
                bodies.push(body);
            }
        }
        for body in bodies {
            let answer = identity.post(path, &body).await;
            let is_error = (400..500).contains(&answer.status);
            let is_fine = answer.status == 200 && path.ends_with("terms");
            let shown: String = body.to_string().chars().take(200).collect();
            assert!(is_error || is_fine, "{path} {shown}: {}", answer.text);
            assert!(
                is_fine || answer.body["errcode"].is_string(),
                "{path} {shown}: {}",
                answer.text
            );
        }
        identity
            .post(path, &large)
            .await
            .expect_error(413, "M_TOO_LARGE");
    }
    // Nobody was invited, and nothing is bound.
    assert!(town.mails.received().len() == 1);
}

#[tokio::test]
async fn odd_questions_are_answered() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let identity = town.identity(&agent).await;
    let odd = [
        "",
        "%00",
        "%ff",
        "a%20b",
        "%F0%9F%90%8C",
        &"a".repeat(5_000),
    ];
    for odd in odd {
        for path in [
            format!("/_matrix/identity/v2/pubkey/isvalid?public_key={odd}"),
            format!("/_matrix/identity/v2/pubkey/ephemeral/isvalid?public_key={odd}"),
            format!("/_matrix/identity/v2/3pid/getValidated3pid?sid={odd}&client_secret={odd}"),
            format!("/_matrix/identity/v2/3pid/getValidated3pid?sid=a&sid=b&sid={odd}"),
            format!("/_matrix/identity/v2/validate/email/submitToken?sid={odd}&token={odd}"),
            format!("/_matrix/identity/v2/pubkey/{odd}"),
            format!("/_matrix/identity/api/v1/info?medium=email&address={odd}"),
            format!("/_matrix/identity/v2/account?access_token={odd}"),
        ] {
            let answer = identity.get(&path).await;
            assert!(answer.status < 500, "{path}: {}", answer.text);
        }
        let path = format!("/_matrix/identity/api/v1/internal-info?medium=email&address={odd}");
        let answer = town.internal().get(&path).await;
        assert!(answer.status < 500, "{path}: {}", answer.text);
    }
    for body in [
        json!({}),
        json!({ "medium": "email", "address": "a", "mxid": "a" }),
    ] {
        for path in ["bind", "unbind"] {
            let path = format!("/_matrix/identity/internal/{path}");
            let answer = town.internal().post(&path, &body).await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn odd_invitations_by_mail_are_refused() {
    let town = Town::new().await;
    let agent = town.register("jean.dupont@culture.gouv.fr").await;
    let room_id = agent.create_room(&room("unrestricted")).await;
    let path = format!("rooms/{}/invite", encode(&room_id));
    for name in ["id_server", "medium", "address"] {
        for value in nonsense() {
            let mut body = super::threepid("kermit@example.com");
            body[name] = value;
            let answer = agent.post(&path, &body).await;
            let refused = (400..500).contains(&answer.status);
            assert!(refused, "{body}: {}", answer.text);
            let mut request = room("unrestricted");
            request["invite_3pid"] = json!([body]);
            let answer = agent.post("createRoom", &request).await;
            let refused = (400..500).contains(&answer.status);
            assert!(refused, "{body}: {}", answer.text);
        }
    }
    assert_eq!(super::pending(&agent, &room_id).await, []);
}
