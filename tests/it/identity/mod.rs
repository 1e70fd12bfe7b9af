//! The identity service and invitations by e-mail, over HTTP, with mails that really travel.

mod accounts;
mod addresses;
mod bad_input;
mod delivery;
mod invitations;
mod registration;
mod story;
mod validation;

use std::sync::Arc;

use chappe::clock::ManualClock;
use serde_json::{Value, json};

use crate::harness::{
    client::{Answer, Client, encode},
    server::{TestOptions, TestServer},
    smtp::{SmtpOptions, SmtpServer},
};

/// A password that fits every rule.
pub(crate) const PASSWORD: &str = "Chappe-1794-Lille";

/// The secret of clients in these tests.
const SECRET: &str = "secret";

/// Agents of `gouv.fr` register here, `example.com` needs an invitation, `other.fr` and `ext.fr`
/// belong to other servers, `twin.fr` to one whose public twin this is, and the rest to nobody.
const CONFIG: &str = r#"
[server]
profile = "tchap"
web_client_url = "https://tchap.example.org"
[registration]
open = false
[[listeners]]
address = "127.0.0.1:0"
serves = ["client", "health"]
[[listeners]]
address = "127.0.0.1:0"
serves = ["internal"]
[policy.addresses]
patterns = [
    { pattern = '.*@(.*\.|)gouv.fr' },
    { pattern = '.*@example.com', requires_invite = true },
    { pattern = '.*@other.fr', server = "other.example.org" },
    { pattern = '.*@ext.fr', server = "ext.example.org", external = true },
    { pattern = '.*@twin.fr', server = "twin.example.org", shadow_server = "example.org" },
]
"#;

/// A server with Tchap's rules, and its mails.
pub(crate) struct Town {
    pub(crate) server: TestServer,
    pub(crate) mails: SmtpServer,
    pub(crate) clock: Arc<ManualClock>,
}

impl Town {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// With more configuration.
    pub(crate) async fn with(config: &str) -> Self {
        let mails = SmtpServer::start(SmtpOptions::default()).await;
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let server = TestServer::start(TestOptions {
            config: format!("{config}\n{CONFIG}"),
            clock: Some(Arc::clone(&clock)),
            smtp_port: Some(mails.port()),
            ..TestOptions::default()
        })
        .await;
        Self {
            server,
            mails,
            clock,
        }
    }

    /// A client of the listener that other servers ask.
    pub(crate) fn internal(&self) -> Client {
        Client::new(&format!("http://{}", self.server.app.addresses()[1]))
    }

    /// What `internal-info` says of an address.
    pub(crate) async fn internal_info(&self, address: &str) -> Value {
        let path = format!(
            "/_matrix/identity/api/v1/internal-info?medium=email&address={}",
            encode(address)
        );
        self.internal().get(&path).await.expect_ok()
    }

    /// Asks for the mail of a registration.
    pub(crate) async fn ask_mail(&self, email: &str) -> Answer {
        let body = json!({ "client_secret": SECRET, "email": email, "send_attempt": 1 });
        let client = self.server.client();
        client.post("register/email/requestToken", &body).await
    }

    /// Begins a registration: its session.
    pub(crate) async fn begin(&self) -> Value {
        let client = self.server.client();
        let begun = client
            .post("register", &json!({ "password": PASSWORD }))
            .await;
        assert_eq!(begun.status, 401, "{}", begun.text);
        begun.body["session"].clone()
    }

    /// Asks for the mail of a registration and opens its link; gives the id of the session.
    pub(crate) async fn prove(&self, email: &str) -> Value {
        let sid = self.ask_mail(email).await.expect_ok()["sid"].clone();
        self.open_link(email, "registration/email/submit_token")
            .await;
        sid
    }

    /// Opens the link of the mail to an address whose path has `words`.
    pub(crate) async fn open_link(&self, to: &str, words: &str) {
        let to = to.trim().to_lowercase();
        let text = self.mails.wait_for_words(&to, words).await.text();
        let link = text.split_whitespace().find(|word| word.contains(words));
        let path = link.unwrap().strip_prefix(&self.server.url).unwrap();
        let opened = self.server.client().get(path).await;
        assert_eq!(opened.status, 200, "{}", opened.text);
    }

    /// Completes a registration.
    pub(crate) async fn complete(&self, session: &Value, sid: &Value) -> Answer {
        let auth = json!({
            "type": "m.login.email.identity",
            "session": session,
            "threepid_creds": { "sid": sid, "client_secret": SECRET },
        });
        let client = self.server.client();
        client.post("register", &json!({ "auth": auth })).await
    }

    /// Registers with an address, as clients do.
    pub(crate) async fn register(&self, email: &str) -> Client {
        let session = self.begin().await;
        let sid = self.prove(email).await;
        let answer = self.complete(&session, &sid).await.expect_ok();
        let mut client = self.server.client();
        client.take_session(&answer);
        client
    }

    /// Gives a client a token of the identity service.
    pub(crate) async fn identity(&self, client: &Client) -> Client {
        let mut identity = client.at(&self.server.url);
        identity.token = None;
        let body = openid(client).await;
        let answer = identity
            .post("/_matrix/identity/v2/account/register", &body)
            .await;
        let token = answer.expect_ok()["token"].as_str().unwrap().to_owned();
        identity.token = Some(token);
        identity
    }

    /// Whether a user has an account that is external.
    pub(crate) async fn is_external(&self, user_id: &str) -> bool {
        let user_id = ruma::UserId::parse(user_id).unwrap();
        let mut conn = self.server.app.store().conn().await.unwrap();
        let account = chappe::store::accounts::find(&mut conn, &user_id).await;
        account.unwrap().unwrap().is_external
    }

    /// How many mails of invitation went to an address.
    pub(crate) fn invitations_to(&self, address: &str) -> usize {
        let received = self.mails.received();
        let to = received
            .iter()
            .filter(|mail| mail.to.iter().any(|to| to == address));
        to.filter(|mail| mail.text().contains("#/register?"))
            .count()
    }
}

/// The answer of `openid/request_token`.
pub(crate) async fn openid(client: &Client) -> Value {
    let path = format!("user/{}/openid/request_token", encode(&client.user_id));
    client.post(&path, &json!({})).await.expect_ok()
}

/// The request of a room for agents and externals, or with another rule.
pub(crate) fn room(rule: &str) -> Value {
    json!({
        "name": "Projet",
        "visibility": "private",
        "preset": "private_chat",
        "initial_state": [{
            "type": "im.vector.room.access_rules",
            "state_key": "",
            "content": { "rule": rule },
        }],
    })
}

/// Invites an address.
pub(crate) async fn invite_address(client: &Client, room_id: &str, address: &str) -> Answer {
    let body = threepid(address);
    let path = format!("rooms/{}/invite", encode(room_id));
    client.post(&path, &body).await
}

/// The body of such an invite.
pub(crate) fn threepid(address: &str) -> Value {
    json!({
        "id_server": "example.org",
        "id_access_token": "x",
        "medium": "email",
        "address": address,
    })
}

/// The invitations by e-mail that a room knows: the tokens, and the contents of the events.
pub(crate) async fn pending(client: &Client, room_id: &str) -> Vec<(String, Value)> {
    let path = format!("rooms/{}/state", encode(room_id));
    let state = client.get(&path).await.expect_ok();
    let events = state.as_array().unwrap().iter();
    events
        .filter(|event| event["type"] == "m.room.third_party_invite")
        .map(|event| {
            let token = event["state_key"].as_str().unwrap().to_owned();
            (token, event["content"].clone())
        })
        .collect()
}

/// The rooms to which somebody is invited, by their ids, with the inviter.
pub(crate) async fn invites(client: &Client) -> Vec<(String, String)> {
    let sync = client.sync(None, std::time::Duration::ZERO).await;
    let Some(rooms) = sync["rooms"]["invite"].as_object() else {
        return Vec::new();
    };
    let inviter = |room: &Value| {
        let events = room["invite_state"]["events"].as_array().unwrap().iter();
        let own = events
            .filter(|event| event["state_key"] == client.user_id.as_str())
            .find(|event| event["content"]["membership"] == "invite");
        own.unwrap()["sender"].as_str().unwrap().to_owned()
    };
    let mut invites: Vec<_> = rooms
        .iter()
        .map(|(room_id, room)| (room_id.clone(), inviter(room)))
        .collect();
    invites.sort();
    invites
}
