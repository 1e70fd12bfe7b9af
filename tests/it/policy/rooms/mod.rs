//! The rules for rooms, over HTTP: one server with agents and with guests whose accounts are flagged
//! as external.

use chappe::accounts::NewUser;
use ruma::UserId;
use serde_json::{Value, json};

use crate::harness::{
    client::{Answer, Client, encode},
    server::{PASSWORD, TestOptions, TestServer},
};

mod create;
mod directory;
mod directs;
mod last_admin;
mod links;
mod members;
mod restrictions;
mod state;
mod upgrade;

const ACCESS: &str = "im.vector.room.access_rules";
const LEVELS: &str = "m.room.power_levels";

const TCHAP: &str = r#"
    [server]
    profile = "tchap"
    [registration]
    open = false
    [policy]
    external_servers = ["externe.example.org"]
    bypass_users = ["@bot:example.org"]
    [policy.addresses]
    patterns = [
        { pattern = '.*@gouv\.example', external = false },
        { pattern = '.*@societe\.example', external = true },
    ]
"#;

/// A server with the rules of Tchap.
async fn tchap() -> TestServer {
    tchap_with("").await
}

/// The same with more settings, as a section of its own.
async fn tchap_with(more: &str) -> TestServer {
    TestServer::start(TestOptions::with(&format!("{TCHAP}\n{more}"))).await
}

/// Somebody of this server with an address of this domain.
async fn person(server: &TestServer, name: &str, domain: &str, is_admin: bool) -> Client {
    let new = NewUser {
        localpart: Some(name.to_owned()),
        address: Some(format!("{name}@{domain}")),
        password: Some(PASSWORD.to_owned().into()),
        is_admin,
        ..NewUser::default()
    };
    server.app.accounts().create_user(new).await.unwrap();
    let mut client = server.client();
    client.login(name, PASSWORD).await.expect_ok();
    client
}

async fn agent(server: &TestServer, name: &str) -> Client {
    person(server, name, "gouv.example", false).await
}

/// A guest, whose account is flagged.
async fn guest(server: &TestServer, name: &str) -> Client {
    let client = person(server, name, "societe.example", false).await;
    let user_id = UserId::parse(&client.user_id).unwrap();
    let mut conn = server.app.store().conn().await.unwrap();
    let flags = chappe::store::accounts::list_flags(&mut conn, &[user_id.clone()]).await;
    assert!(flags.unwrap()[&user_id].is_external);
    client
}

fn private() -> Value {
    json!({ "preset": "private_chat" })
}

/// A private room that is open to externals.
fn open() -> Value {
    with_access(private(), json!({ "rule": "unrestricted" }))
}

fn public() -> Value {
    json!({ "visibility": "public", "preset": "public_chat", "name": "Forum" })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it reads better without a reference"
)]
fn with_access(mut body: Value, access: Value) -> Value {
    body["initial_state"] = json!([{ "type": ACCESS, "state_key": "", "content": access }]);
    body
}

async fn state(client: &Client, room: &str, kind: &str) -> Value {
    let path = format!("rooms/{}/state/{kind}/", encode(room));
    let answer = client.get(&path).await;
    if answer.status == 404 {
        return Value::Null;
    }
    answer.expect_ok()
}

async fn set(client: &Client, room: &str, kind: &str, content: Value) -> Answer {
    client.send_state(room, kind, "", &content).await
}

/// Does something to a member: `kick`, `ban`, `unban`.
async fn moderate(client: &Client, room: &str, what: &str, target: &Client) -> Answer {
    let body = json!({ "user_id": target.user_id });
    client
        .post(&format!("rooms/{}/{what}", encode(room)), &body)
        .await
}

/// Lets somebody in by invite.
async fn bring_in(host: &Client, room: &str, target: &Client) {
    host.invite(room, &target.user_id).await.expect_ok();
    target.join(room).await.expect_ok();
}

/// Gives a member a level, in a room of a version whose creators are above all levels.
async fn give_level(host: &Client, room: &str, target: &Client, level: i64) -> Answer {
    let mut levels = state(host, room, LEVELS).await;
    levels["users"][&target.user_id] = json!(level);
    set(host, room, LEVELS, levels).await
}

async fn publish(client: &Client, room: &str, visibility: &str) -> Answer {
    let body = json!({ "visibility": visibility });
    client
        .put(&format!("directory/list/room/{}", encode(room)), &body)
        .await
}

/// A refusal by the policy.
#[track_caller]
fn denied(answer: Answer, reason: &str) {
    let body = answer.expect_error(403, "M_FORBIDDEN");
    assert_eq!(body["fr.gouv.tchap.reason"], reason, "{body}");
    assert!(body["fr.gouv.tchap.message"].is_string());
}

/// A refusal of a room that nobody may have.
#[track_caller]
fn invalid(answer: Answer, reason: &str) {
    let body = answer.expect_error(400, "M_UNKNOWN");
    assert_eq!(body["fr.gouv.tchap.reason"], reason, "{body}");
}

async fn joined_rooms(client: &Client) -> Value {
    client.get("joined_rooms").await.expect_ok()["joined_rooms"].clone()
}
