//! What each operation is asked, so that it would do it for whoever may.

use reqwest::Method;
use serde_json::{Value, json};

use super::people::{Site, Who, World, Worlds};
use crate::{
    harness::{
        client::{Client, encode},
        keys::Identity,
        server::PASSWORD,
    },
    operations::Operation,
};

/// The account data, profile field and so on that is written.
const NAME: &str = "org.example.cell";
/// A rule that everybody has.
const RULE: &str = ".m.rule.message";
/// The session of a key backup.
const SESSION: &str = "session";

/// One cell: a request.
pub(super) struct Call<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    body: Option<Value>,
    bytes: Option<&'static str>,
}

impl<'a> Call<'a> {
    /// What somebody asks, once what it asks about is there.
    pub(super) async fn new(
        site: &'a Site,
        worlds: &Worlds,
        operation: &Operation,
        who: Who,
    ) -> Self {
        let name = operation.name;
        let session = match name {
            "logout" => 1,
            "logout_all" => 2,
            _ => 0,
        };
        let client = site.session(who, session);
        let cell = Cell {
            site,
            world: worlds.of(who),
            who,
            client,
            name,
        };
        let made = cell.prepare().await;
        let mut path = operation.path.to_owned();
        while let Some((before, rest)) = path.split_once('{') {
            let (argument, after) = rest.split_once('}').unwrap();
            let value = cell.argument(argument, &made);
            path = format!("{before}{}{after}", encode(&value));
        }
        let query = cell.query(&made);
        if !query.is_empty() {
            path = format!("{path}?{query}");
        }
        let bytes = name.starts_with("create_content").then_some("Texte");
        let has_body = operation.method != Method::GET && bytes.is_none();
        Self {
            client,
            method: operation.method.clone(),
            path,
            body: has_body.then(|| cell.body()),
            bytes,
        }
    }

    /// What comes of it: the status, and the error code where there is one.
    pub(super) async fn answer(self) -> String {
        let answer = if let Some(bytes) = self.bytes {
            let headers = [("content-type", "text/plain")];
            let client = &self.client;
            client.raw(self.method, &self.path, &headers, bytes).await
        } else {
            let body = self.body.as_ref();
            self.client.request(self.method, &self.path, body).await
        };
        let what = match answer.body["errcode"].as_str() {
            Some(errcode) => errcode,
            // The next step of the interactive authentication is asked for.
            None if answer.status == 401 => "flows",
            None => "",
        };
        format!("{} {what}", answer.status).trim_end().to_owned()
    }
}

/// Who asks for what, and about what.
struct Cell<'a> {
    site: &'a Site,
    world: &'a World,
    who: Who,
    client: &'a Client,
    name: &'static str,
}

impl Cell<'_> {
    /// Makes what is asked about where everybody has their own. Gives its name; one of nobody's
    /// where it could not be made.
    async fn prepare(&self) -> String {
        let client = self.client;
        let made = match self.name {
            "get_global_account_data" | "get_room_account_data" => {
                let user = encode(&client.user_id);
                let room = match self.name {
                    "get_room_account_data" => format!("rooms/{}/", encode(&self.world.room_id)),
                    _ => String::new(),
                };
                let path = format!("user/{user}/{room}account_data/{NAME}");
                client.put(&path, &json!({ "cell": true })).await;
                Value::Null
            }
            "get_filter" => {
                let path = format!("user/{}/filter", encode(&client.user_id));
                client.post(&path, &json!({})).await.body["filter_id"].clone()
            }
            "delete_pushrule" => {
                let path = format!("pushrules/global/override/{NAME}");
                let body = json!({ "actions": [], "conditions": [] });
                client.put(&path, &body).await;
                NAME.into()
            }
            "create_content_async" => {
                let owner = self.site.session(Who::Admin, 0);
                let of = if self.who.is_stranger() {
                    owner
                } else {
                    client
                };
                let path = "/_matrix/media/v1/create";
                let made = of.request(Method::POST, path, None).await;
                let uri = made.body["content_uri"].as_str().unwrap_or_default();
                uri.rsplit('/')
                    .next()
                    .filter(|id| !id.is_empty())
                    .unwrap_or("none")
                    .into()
            }
            name if name.contains("backup_") => self.backup().await,
            _ => Value::Null,
        };
        made.as_str().unwrap_or("1").to_owned()
    }

    /// A new backup of the client's, with a key in it.
    async fn backup(&self) -> Value {
        let made = self.client.post("room_keys/version", &backup()).await;
        let version = made.body["version"].clone();
        if let Some(version) = version.as_str() {
            let room = encode(&self.world.room_id);
            let path = format!("room_keys/keys/{room}/{SESSION}?version={version}");
            self.client.put(&path, &key()).await;
        }
        version
    }

    /// The user whose things are asked for: their own, or those of another.
    fn subject(&self) -> &str {
        if self.who.is_stranger() {
            &self.world.owner
        } else {
            &self.client.user_id
        }
    }

    fn argument(&self, argument: &str, made: &str) -> String {
        let world = self.world;
        let (target, _) = self.site.targets(self.who);
        let text = match argument {
            "room_id" | "room_id_or_alias" => &world.room_id,
            "room_alias" => return self.alias(),
            "event_id" => &world.event_id,
            "user_id" => match self.name {
                "get_user_info" | "is_user_locked" | "is_user_suspended" | "lock_user"
                | "suspend_user" | "report_user" => &target.user_id,
                "get_profile" | "get_profile_field" | "get_presence" => &world.owner,
                _ => self.subject(),
            },
            "device_id" if self.who.is_stranger() => &world.owner_device,
            "device_id" => &self.client.device_id,
            "media_id" if self.name == "create_content_async" => made,
            "media_id" => &world.media_id,
            "server_name" => "example.org",
            "file_name" => "file.txt",
            "filter_id" | "version" => made,
            "session_id" => SESSION,
            "event_type" if self.name.starts_with("get_relating") => "m.room.message",
            "event_type" if self.name == "get_state_event_for_key" => "m.room.join_rules",
            "event_type" if self.name.contains("state") => "m.room.topic",
            "event_type" => "m.room.message",
            "state_key" => "",
            "type" => NAME,
            "txn_id" => return self.client.transaction_id(),
            "receipt_type" => "m.read",
            "rel_type" => "m.thread",
            "kind" if self.rule() == RULE => "underride",
            "kind" => "override",
            "rule_id" => self.rule(),
            "key_name" => "displayname",
            "tag" => "u.cell",
            "protocol" => "irc",
            "appservice_id" | "network_id" | "idp_id" => "none",
            other => panic!("{other}"),
        };
        text.to_owned()
    }

    /// The alias of the room; a new one where one is made.
    fn alias(&self) -> String {
        if self.name == "create_alias" {
            return format!("#new_{:?}:example.org", self.who).to_lowercase();
        }
        self.world.alias.clone()
    }

    fn rule(&self) -> &'static str {
        match self.name {
            "set_pushrule" | "delete_pushrule" => NAME,
            _ => RULE,
        }
    }

    fn query(&self, made: &str) -> String {
        let (target, _) = self.site.targets(self.who);
        match self.name {
            "get_message_events" => "dir=b".to_owned(),
            "get_event_by_timestamp" => "dir=b&ts=9999999999999".to_owned(),
            "get_mutual_rooms" => format!("user_id={}", encode(&target.user_id)),
            "get_content_thumbnail" | "old_get_content_thumbnail" => {
                "width=32&height=32".to_owned()
            }
            "get_media_preview" | "old_get_media_preview" => {
                "url=http%3A%2F%2F127.0.0.1".to_owned()
            }
            "get_key_changes" => "from=s0_0&to=s0_0".to_owned(),
            "get_username_availability" => "username=nobody_yet".to_owned(),
            "check_registration_token_validity" => "token=none".to_owned(),
            "listen_to_new_events" => {
                let room = encode(&self.world.room_id);
                format!("room_id={room}&from=s0_0&timeout=0")
            }
            "get_location_for_room_alias" => format!("alias={}", encode(&self.world.alias)),
            "get_user_for_user_id" => format!("userid={}", encode(&target.user_id)),
            "sso_login" | "sso_login_with_provider" => "redirectUrl=http%3A%2F%2Fa".to_owned(),
            name if name.contains("backup_keys") => format!("version={made}"),
            _ => String::new(),
        }
    }

    fn body(&self) -> Value {
        let world = self.world;
        let (target, victim) = self.site.targets(self.who);
        let room_id = &world.room_id;
        match self.name {
            "suspend_user" => json!({ "suspended": false }),
            "lock_user" => json!({ "locked": false }),
            "post_3pids" => json!({ "three_pid_creds": { "client_secret": "secret", "sid": "1",
                "id_server": "example.org", "id_access_token": "x" } }),
            "add_3pid" => json!({ "client_secret": "secret", "sid": "1" }),
            "bind_3pid" => json!({ "client_secret": "secret", "sid": "1",
                "id_server": "example.org", "id_access_token": "x" }),
            "delete_3pid" | "unbind_3pid" => {
                json!({ "medium": "email", "address": "nobody@example.com" })
            }
            name if name.ends_with("_via_email") => {
                json!({ "client_secret": "secret", "email": "a@interieur.gouv.fr", "send_attempt": 1 })
            }
            name if name.ends_with("_via_msisdn") => {
                json!({ "client_secret": "secret", "country": "FR", "phone_number": "0601020304",
                    "send_attempt": 1 })
            }
            "set_appservice_room_visibility" | "set_room_visibility" => {
                json!({ "visibility": "private" })
            }
            "kick_user" | "ban_user" => json!({ "user_id": victim.user_id }),
            "unban_user" => {
                let banned = self.site.session(Who::Banned, 0);
                json!({ "user_id": banned.user_id })
            }
            "invite_user" => json!({ "user_id": target.user_id }),
            "upload_signing_keys" => Identity::of(self.client).body(),
            "update_device" => json!({ "display_name": "Poste" }),
            "delete_devices" => json!({ "devices": [self.argument("device_id", "")] }),
            "create_alias" => json!({ "room_id": room_id }),
            "create_backup_version" | "update_backup_version" => backup(),
            "add_backup_keys_for_session" => key(),
            "add_backup_keys_for_room" => json!({ "sessions": { SESSION: key() } }),
            "add_backup_keys" => {
                json!({ "rooms": { room_id: { "sessions": { SESSION: key() } } } })
            }
            "get_keys" => json!({ "device_keys": { target.user_id.as_str(): [] } }),
            "claim_keys" => json!({ "one_time_keys": {
                target.user_id.as_str(): { target.device_id.as_str(): "signed_curve25519" } } }),
            "login" => json!({ "type": "m.login.password", "password": PASSWORD,
                "identifier": { "type": "m.id.user", "user": target.user_id } }),
            "change_password" => json!({ "new_password": "Correct-horse8" }),
            "set_presence" => json!({ "presence": "online" }),
            "set_profile_field" => json!({ "displayname": "Nom" }),
            "set_pushrule" => json!({ "actions": [], "conditions": [] }),
            "set_pushrule_enabled" => json!({ "enabled": true }),
            "set_pushrule_actions" => json!({ "actions": ["notify"] }),
            "set_pusher" => json!({ "pushkey": "key", "kind": null, "app_id": "cell" }),
            "set_read_marker" => json!({ "m.fully_read": world.event_id }),
            "refresh_token" => json!({ "refresh_token": "none" }),
            "register" => json!({ "username": format!("new_{:?}", self.who).to_lowercase(),
                "password": PASSWORD, "auth": { "type": "m.login.dummy" } }),
            "send_message_event" => json!({ "msgtype": "m.text", "body": "Bonjour" }),
            "send_state_event" => json!({ "topic": format!("{:?}", self.who) }),
            "upgrade_room" => json!({ "new_version": "11" }),
            "search_events" => {
                json!({ "search_categories": { "room_events": { "search_term": "bonjour" } } })
            }
            "send_event_to_device" => {
                json!({ "messages": { target.user_id.as_str(): { "*": {} } } })
            }
            "create_typing_event" => json!({ "typing": true, "timeout": 1000 }),
            "search_users" => json!({ "search_term": "target" }),
            "report_room" | "report_user" => json!({ "reason": "why" }),
            _ => json!({}),
        }
    }
}

/// A key backup.
fn backup() -> Value {
    json!({
        "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
        "auth_data": { "public_key": "abcdefg", "signatures": {} },
    })
}

/// A key of a backup.
fn key() -> Value {
    json!({
        "first_message_index": 1, "forwarded_count": 0, "is_verified": true,
        "session_data": { "ephemeral": "a", "ciphertext": "b", "mac": "c" },
    })
}
