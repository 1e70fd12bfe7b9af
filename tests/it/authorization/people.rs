//! Those who ask, and the rooms that they ask about.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;

use crate::{
    harness::{
        client::{Client, encode},
        server::{PASSWORD, TestOptions, TestServer},
        tchap,
    },
    media::images::png,
    operations::Operation,
};

/// Somebody who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// Nobody: there is no token.
    NoToken,
    /// A user who has nothing to do with the room. This one, and those whom the room does not have
    /// any more or not yet, ask for what belongs to another user.
    Other,
    /// One who left the room before what is asked for was said.
    Left,
    /// One who was banned before that.
    Banned,
    /// One who is invited.
    Invited,
    /// A guest account of the specification, which is in the room.
    Guest,
    /// An external of Tchap, who is in a room that takes them.
    External,
    /// A member who leads the room, and is suspended.
    Suspended,
    /// A member who leads the room, and is locked.
    Locked,
    /// A member who leads the room, and whose account has expired.
    Expired,
    /// A member who leads nothing.
    Member,
    /// Who made the room, and administers the server.
    Admin,
}

impl Who {
    /// All of them; those who may most come last.
    pub(super) const ALL: [Self; 12] = [
        Self::NoToken,
        Self::Other,
        Self::Left,
        Self::Banned,
        Self::Invited,
        Self::Guest,
        Self::External,
        Self::Suspended,
        Self::Locked,
        Self::Expired,
        Self::Member,
        Self::Admin,
    ];

    /// The one of a column of the matrix.
    pub(super) fn named(column: &str) -> Self {
        let who = Self::ALL.iter().find(|who| who.name() == column);
        *who.unwrap_or_else(|| panic!("no such column: {column}"))
    }

    fn name(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Other => "other",
            Self::Left => "left",
            Self::Banned => "banned",
            Self::Invited => "invited",
            Self::Guest => "guest",
            Self::External => "external",
            Self::Suspended => "suspended",
            Self::Locked => "locked",
            Self::Expired => "expired",
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }

    /// Whether what they ask for belongs to somebody else, where it belongs to a user.
    pub(super) fn is_stranger(self) -> bool {
        use Who::{Banned, Invited, Left, NoToken, Other};
        matches!(self, NoToken | Other | Left | Banned | Invited)
    }
}

/// How many sessions each has: logging out takes one, and logging out everywhere all.
const SESSIONS: usize = 3;

/// A server with the rules of the specification, one with those of Tchap, and all who ask.
pub(super) struct Site {
    people: BTreeMap<Who, Vec<Client>>,
    /// The servers, which end with this.
    _servers: (TestServer, TestServer),
    /// Who leads the rooms of Tchap's server.
    agent: Client,
    /// Others, about whom something is asked: on each server one who is in no room, and one who is
    /// in each.
    targets: BTreeMap<bool, (Client, Client)>,
    rooms: (World, World),
}

/// What requests name.
#[derive(Clone)]
pub(super) struct World {
    pub(super) room_id: String,
    /// Said when some were gone already.
    pub(super) event_id: String,
    pub(super) alias: String,
    pub(super) media_id: String,
    /// Who made the room.
    pub(super) owner: String,
    pub(super) owner_device: String,
}

/// Both worlds of a row.
pub(super) struct Worlds {
    open: World,
    tchap: World,
}

impl Worlds {
    pub(super) fn of(&self, who: Who) -> &World {
        if who == Who::External {
            &self.tchap
        } else {
            &self.open
        }
    }
}

impl Site {
    pub(super) async fn new() -> Self {
        let guests = "[registration]\nguests = true\n[accounts.validity]\nperiod = '365d'\n[previews]\nenabled = false";
        let open = TestServer::start(TestOptions::with(guests)).await;
        let tchap = tchap::server("").await;
        let mut people = BTreeMap::new();
        for who in Who::ALL {
            people.insert(who, sessions(&open, &tchap, who).await);
        }
        open.make_admin(&people[&Who::Admin][0]).await;
        let agent = tchap::person(&tchap, "marie.dupont@interieur.gouv.fr").await;
        let targets = BTreeMap::from([
            (
                false,
                (open.register("target").await, open.register("victim").await),
            ),
            (
                true,
                (
                    tchap::person(&tchap, "paul.durand@interieur.gouv.fr").await,
                    tchap::person(&tchap, "lea.petit@interieur.gouv.fr").await,
                ),
            ),
        ]);
        let nothing = World {
            room_id: String::new(),
            event_id: String::new(),
            alias: String::new(),
            media_id: String::new(),
            owner: String::new(),
            owner_device: String::new(),
        };
        let mut site = Self {
            _servers: (open, tchap),
            people,
            agent,
            targets,
            rooms: (nothing.clone(), nothing),
        };
        // They come in before they are held back, and stay in this room.
        let (open, tchap) = (site.room("held").await, site.tchap_room("held").await);
        site.rooms = (open, tchap);
        site.hold().await;
        site
    }

    /// The session of somebody: the first, or one of those that may end.
    pub(super) fn session(&self, who: Who, number: usize) -> &Client {
        &self.people[&who][number]
    }

    /// Somebody on the same server who is in no room, and somebody who is in every one.
    pub(super) fn targets(&self, who: Who) -> &(Client, Client) {
        &self.targets[&(who == Who::External)]
    }

    /// What an operation is asked about. Those that change a room have one of their own, in which
    /// those who are held back have been before.
    pub(super) async fn world(&self, operation: &Operation) -> Worlds {
        let is_of_room =
            operation.path.contains("{room_id") || operation.path.contains("{room_alias");
        if !is_of_room || operation.method == Method::GET {
            let (open, tchap) = self.rooms.clone();
            return Worlds { open, tchap };
        }
        self.let_go().await;
        let open = self.room(operation.name).await;
        let tchap = self.tchap_room(operation.name).await;
        self.hold().await;
        Worlds { open, tchap }
    }

    async fn room(&self, name: &str) -> World {
        let admin = self.session(Who::Admin, 0);
        let led = [Who::Suspended, Who::Locked, Who::Expired];
        let in_it = [Who::Left, Who::Banned, Who::Member, Who::Guest];
        let victim = &self.targets[&false].1;
        let mut users = serde_json::Map::new();
        users.insert(admin.user_id.clone(), 100.into());
        for who in led {
            users.insert(self.session(who, 0).user_id.clone(), 100.into());
        }
        let ids = led.iter().chain(&in_it).chain(&[Who::Invited]);
        let ids = ids.map(|who| self.session(*who, 0).user_id.clone());
        let ids: Vec<String> = ids.chain([victim.user_id.clone()]).collect();
        let alias = format!("cell_{name}");
        // Who may knock is told where knocking is what is asked for.
        let initial_state = if name == "knock_room" {
            let content = json!({ "join_rule": "knock" });
            json!([{ "type": "m.room.join_rules", "state_key": "", "content": content }])
        } else {
            json!([])
        };
        // Version 11: creators of later ones have no level.
        let body = json!({
            "preset": "private_chat", "room_alias_name": alias, "invite": ids,
            "room_version": "11", "power_level_content_override": { "users": users },
            "initial_state": initial_state,
        });
        let room_id = admin.create_room(&body).await;
        for who in led.iter().chain(&in_it) {
            self.session(*who, 0).join(&room_id).await.expect_ok();
        }
        victim.join(&room_id).await.expect_ok();
        self.session(Who::Left, 0).leave(&room_id).await.expect_ok();
        let body = json!({ "user_id": self.session(Who::Banned, 0).user_id });
        let ban = format!("rooms/{}/ban", encode(&room_id));
        admin.post(&ban, &body).await.expect_ok();
        world(admin, room_id, format!("#{alias}:example.org")).await
    }

    async fn tchap_room(&self, name: &str) -> World {
        let external = self.session(Who::External, 0);
        let victim = &self.targets[&true].1;
        let body = json!({
            "preset": "private_chat",
            "invite": [external.user_id, victim.user_id],
            "initial_state": [{ "type": "im.vector.room.access_rules", "state_key": "",
                "content": { "rule": "unrestricted" } }],
        });
        let room_id = self.agent.create_room(&body).await;
        external.join(&room_id).await.expect_ok();
        victim.join(&room_id).await.expect_ok();
        let alias = format!("#cell_{name}:example.org");
        let path = format!("directory/room/{}", encode(&alias));
        let body = json!({ "room_id": room_id });
        self.agent.put(&path, &body).await.expect_ok();
        world(&self.agent, room_id, alias).await
    }

    async fn hold(&self) {
        self.set_holds(true).await;
    }

    async fn let_go(&self) {
        self.set_holds(false).await;
    }

    async fn set_holds(&self, is_held: bool) {
        let admin = self.session(Who::Admin, 0);
        for (who, what, body) in [
            (Who::Suspended, "suspend", json!({ "suspended": is_held })),
            (Who::Locked, "lock", json!({ "locked": is_held })),
        ] {
            let user = encode(&self.session(who, 0).user_id);
            let path = format!("/_matrix/client/v1/admin/{what}/{user}");
            admin.put(&path, &body).await.expect_ok();
        }
        let until = if is_held { 1 } else { 9_999_999_999_999_i64 };
        let body = json!({
            "user_id": self.session(Who::Expired, 0).user_id, "expiration_ts": until,
        });
        let path = "/_synapse/client/email_account_validity/admin";
        admin.post(path, &body).await.expect_ok();
    }
}

/// What a room holds that requests name.
async fn world(owner: &Client, room_id: String, alias: String) -> World {
    let event_id = owner.send(&room_id, "Bonjour").await;
    let headers = [("content-type", "image/png")];
    let path = "/_matrix/media/v3/upload";
    let media = owner.raw(Method::POST, path, &headers, png(8, 8)).await;
    let uri = media.expect_ok()["content_uri"]
        .as_str()
        .unwrap()
        .to_owned();
    World {
        room_id,
        event_id,
        alias,
        media_id: uri.rsplit('/').next().unwrap().to_owned(),
        owner: owner.user_id.clone(),
        owner_device: owner.device_id.clone(),
    }
}

/// The sessions of somebody. A guest cannot log in: these are several guests.
async fn sessions(open: &TestServer, tchap: &TestServer, who: Who) -> Vec<Client> {
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        let client = match who {
            Who::NoToken => open.client(),
            Who::Guest => {
                let mut guest = open.client();
                let answer = guest.post("register?kind=guest", &json!({})).await;
                guest.take_session(&answer.expect_ok());
                guest
            }
            Who::External if number == 0 => {
                tchap::person(tchap, "eve.martin@entreprise.example").await
            }
            _ if number == 0 => open.register(who.name()).await,
            _ => {
                let first: &Client = &sessions[0];
                let mut again = first.at(if who == Who::External {
                    &tchap.url
                } else {
                    &open.url
                });
                again.login(&first.user_id, PASSWORD).await.expect_ok();
                again
            }
        };
        sessions.push(client);
    }
    sessions
}
