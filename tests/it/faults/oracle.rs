//! Random histories on two processes: what clients make of their syncs is what the log says.
//!
//! Four users with a device for `/sync` and one for sliding sync each, of all kinds of habits, do
//! what chance says, in rooms of their own, at either of two processes: they send, redact, change
//! state and history visibility, join, knock, invite, leave, kick, ban and unban, read, write
//! account data, and send messages to devices. Their syncs go to either process; answers are lost,
//! and a process is started anew. In some histories somebody ignores somebody. In the end everybody
//! syncs once more, and what each client has made of all its answers is compared with the log: its
//! place in each room, the events in their order and each once, the state that it asked for, the
//! count of members, receipts, account data, and the messages to its device, each once.
//!
//! Not looked at are: typing, presence and unread counts, which are no part of what a client keeps;
//! lists of devices, the counts of keys, the content of events (such as what is left after a
//! redaction, and what is bundled), private receipts and those of threads, the order of lists and
//! their filters, rooms that are forgotten or upgraded, and what a killed process or a lost database
//! does, for which there are other tests.
//!
//! `CHAPPE_ORACLE_RUNS` and `CHAPPE_ORACLE_SEED` ask for more runs, or others.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chappe::store::live::LiveOptions;
use futures_util::{StreamExt as _, stream};
use rand::{Rng as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    log,
    sliding_view::{Habit, SlidingView},
    view::{self, DATA, Own, Place, View, Wish},
};
use crate::harness::{
    client::{Client, encode},
    server::{PASSWORD, TestOptions, TestServer},
};

/// How many histories each test plays: as many as fit into the time of a test.
const RUNS: u64 = 20;
/// How many things happen in each.
const STEPS: usize = 40;
/// How many histories happen at once.
const TOGETHER: usize = 12;
/// The most events of a room in one answer: few, so that there are gaps.
const TIMELINE: usize = 3;

/// Two processes on one database, and what knows the way to them.
struct Site {
    servers: [TestServer; 2],
    /// Nobody: all clients of the histories share its connections.
    client: Client,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_know_what_the_log_says() {
    run_histories(1, TestOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_servers_that_forget_know_what_the_log_says() {
    let forgetful = LiveOptions {
        window_bytes: 8 << 10,
        rooms_bytes: 100 << 10,
        idle_users: 3,
    };
    let options = TestOptions {
        memory: Some(forgetful),
        ..TestOptions::default()
    };
    run_histories(1_000_001, options).await;
}

async fn run_histories(first_seed: u64, options: TestOptions) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let runs = number("CHAPPE_ORACLE_RUNS").unwrap_or(RUNS);
    let first_seed = number("CHAPPE_ORACLE_SEED").unwrap_or(first_seed);
    let one = TestServer::start(options).await;
    let other = one.sibling().await;
    let client = one.client();
    let servers = [one, other];
    let site = Arc::new(Site { servers, client });
    let seeds = first_seed..first_seed + runs;
    let failures: Vec<String> = stream::iter(seeds)
        .map(|seed| {
            let site = Arc::clone(&site);
            async move { tokio::spawn(run(seed, site)).await.unwrap().err() }
        })
        .buffer_unordered(TOGETHER)
        .filter_map(std::future::ready)
        .collect()
        .await;
    if let Some(first) = failures.first() {
        panic!("{} of {runs} histories fail; one:\n{first}", failures.len());
    }
}

/// One history.
struct Run {
    seed: u64,
    rng: ChaCha8Rng,
    site: Arc<Site>,
    users: Vec<User>,
    rooms: Vec<String>,
    /// Who ignores whom.
    ignores: Option<(usize, usize)>,
    /// The newest account data of each user, by room.
    account_data: BTreeMap<(usize, Option<String>), Value>,
    /// What was sent to the devices of each user.
    messages: BTreeMap<usize, Vec<u64>>,
    /// The events of each room that may be redacted, or read up to.
    sent: BTreeMap<String, Vec<String>>,
    /// The newest receipt that each user left in each room.
    receipts: BTreeMap<(String, String), String>,
    trace: Vec<String>,
    may_restart: bool,
    /// A process that was started in the middle.
    young: Option<TestServer>,
}

struct User {
    /// The session at each process.
    clients: Vec<Client>,
    view: View,
    sliding: SlidingView,
}

async fn run(seed: u64, site: Arc<Site>) -> Result<(), String> {
    let mut run = Run::new(seed, site).await;
    let outcome = run.play().await;
    outcome.map_err(|fault| format!("seed {seed}: {fault}\n{}", run.trace.join("\n")))
}

impl Run {
    async fn new(seed: u64, site: Arc<Site>) -> Self {
        let mut users = Vec::new();
        let urls = [site.servers[0].url.as_str(), site.servers[1].url.as_str()];
        for number in 0..4 {
            let name = format!("u{seed}-{number}");
            let mut client = site.client.at(urls[0]);
            client.register(&name, PASSWORD).await;
            let mut slider = site.client.at(urls[0]);
            slider.login(&name, PASSWORD).await.expect_ok();
            let (wish, habit) = [
                (Wish::All, Habit::All),
                (Wish::Lazy, Habit::FewLazy),
                (Wish::Messages, Habit::Subscribed),
                (Wish::StateAfter, Habit::Changing),
            ][number];
            users.push(User {
                view: View::with(&client, &urls, TIMELINE, wish),
                sliding: SlidingView::new(&slider, &urls, habit),
                clients: urls.iter().map(|url| client.at(url)).collect(),
            });
        }
        let moderator = users[1].view.user_id().to_owned();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ignores = (seed % 3 == 0).then(|| {
            let who = rng.random_range(1..4);
            (who, 1 + (who + rng.random_range(0..2)) % 3)
        });
        if let Some((who, whom)) = ignores {
            let client = &users[who].clients[0];
            let ignored = json!({ "ignored_users": { users[whom].view.user_id(): {} } });
            let path = "m.ignored_user_list";
            let path = format!("user/{}/account_data/{path}", client.user_id);
            client.put(&path, &ignored).await.expect_ok();
        }
        let mut rooms = Vec::new();
        for (join_rule, visibility) in [
            ("public", "shared"),
            ("knock", "invited"),
            ("public", "joined"),
        ] {
            let room = json!({
                "initial_state": [
                    {
                        "type": "m.room.history_visibility",
                        "state_key": "",
                        "content": { "history_visibility": visibility },
                    },
                    {
                        "type": "m.room.join_rules",
                        "state_key": "",
                        "content": { "join_rule": join_rule },
                    },
                ],
                "power_level_content_override": {
                    "users": { &moderator: 60 },
                    "state_default": 0,
                },
            });
            rooms.push(users[0].clients[0].create_room(&room).await);
        }
        Self {
            seed,
            rng,
            site: Arc::clone(&site),
            users,
            rooms,
            ignores,
            account_data: BTreeMap::new(),
            messages: BTreeMap::new(),
            sent: BTreeMap::new(),
            receipts: BTreeMap::new(),
            trace: Vec::new(),
            may_restart: seed % 8 == 0,
            young: None,
        }
    }

    async fn play(&mut self) -> Result<(), String> {
        for step in 0..STEPS {
            self.step(step).await?;
        }
        let site = Arc::clone(&self.site);
        self.come_to_rest().await?;
        let mut conn = site.servers[0].app.store().conn().await.unwrap();
        let end = log::stream_position(&mut conn).await;
        drop(conn);
        for user in 0..self.users.len() {
            let server = self.server();
            self.note(format!("u{user} syncs to the end at {server}"));
            let rooms = self.rooms.clone();
            let user = &mut self.users[user];
            user.view.sync_up_to(server, end).await?;
            // Now the server knows everything.
            user.sliding.sync_to_end(server, &rooms).await?;
        }
        for room_id in &self.rooms {
            let mut conn = site.servers[0].app.store().conn().await.unwrap();
            let log = log::log(&mut conn, room_id).await;
            drop(conn);
            for (number, user) in self.users.iter().enumerate() {
                let ignored = self.ignores.filter(|(who, _)| *who == number);
                let ignored = ignored.map(|(_, whom)| self.users[whom].view.user_id());
                let checked = user.view.check(room_id, &log, ignored);
                let checked = checked.and_then(|()| user.sliding.check(room_id, &log, ignored));
                checked.map_err(|fault| format!("{room_id}, u{number}: {fault}"))?;
            }
            self.check_receipts(room_id)?;
        }
        for (number, user) in self.users.iter().enumerate() {
            for (kind, own) in [("v2", &user.view.own), ("sliding", &user.sliding.own)] {
                let checked = self.check_own(number, own);
                checked.map_err(|fault| format!("u{number}, {kind}: {fault}"))?;
            }
        }
        Ok(())
    }

    /// Waits until new names are shown in all rooms, which is done beside requests.
    async fn come_to_rest(&self) -> Result<(), String> {
        let prefix = format!("u{}-", self.seed);
        for _ in 0..1_000 {
            let mut conn = self.site.servers[0].app.store().conn().await.unwrap();
            if log::is_at_rest(&mut conn, &prefix).await {
                return Ok(());
            }
            drop(conn);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err("new names are not shown".to_owned())
    }

    /// Account data is that which was written last, of rooms in which the user is; messages to the
    /// device came all, in their order, and once.
    fn check_own(&self, user: usize, own: &Own) -> Result<(), String> {
        let sent = self.messages.get(&user).cloned().unwrap_or_default();
        if own.messages != sent {
            return Err(format!("messages {:?}, not {sent:?}", own.messages));
        }
        for ((of, room_id), data) in &self.account_data {
            let is_there = room_id.as_ref().is_none_or(|room_id| {
                let room = self.users[user].view.rooms.get(room_id);
                room.is_some_and(|room| room.place == Some(Place::Join))
            });
            let found = own.account_data.get(room_id);
            if *of == user && is_there && found != Some(data) {
                return Err(format!(
                    "account data of {room_id:?} is {found:?}, not {data}"
                ));
            }
        }
        Ok(())
    }

    /// The maker of the rooms never leaves, and knows all receipts.
    fn check_receipts(&self, room_id: &str) -> Result<(), String> {
        let found = &self.users[0].view.rooms[room_id].receipts;
        for ((room, reader), event_id) in &self.receipts {
            if room == room_id && found.get(reader) != Some(event_id) {
                let found = found.get(reader);
                return Err(format!(
                    "{room_id}: {reader} has read {event_id}, told {found:?}"
                ));
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: usize) -> Result<(), String> {
        let user = self.rng.random_range(0..self.users.len());
        let server = self.server();
        let room_id = self.rooms.choose(&mut self.rng).unwrap().clone();
        let other = self.rng.random_range(0..self.users.len());
        let other_id = self.users[other].view.user_id().to_owned();
        let room = encode(&room_id);
        let target = json!({ "user_id": other_id });
        let die: usize = self.rng.random_range(0..60);
        match die {
            0..=8 => return self.sync(user, server).await,
            40..=47 | 58 => return self.slide(user, server).await,
            48 => {
                let body = self.body(user);
                self.note(format!(
                    "u{user} slides at {server}, and the answer is lost"
                ));
                self.users[user].sliding.ask(server, &body).await?;
            }
            49 => self.restart().await,
            9 => {
                self.note(format!("u{user} syncs at {server}, and the answer is lost"));
                self.users[user].view.ask(server, Duration::ZERO).await;
            }
            10..=17 => {
                let path = format!("rooms/{room}/send/m.room.message/{step}");
                let body = json!({ "msgtype": "m.text", "body": step.to_string() });
                let answer = self.act(user, server, Method::PUT, &path, &body).await?;
                self.keep(&room_id, &answer);
            }
            18..=21 => {
                let path = format!("join/{room}");
                self.act(user, server, Method::POST, &path, &json!({}))
                    .await?;
            }
            // The maker stays.
            22..=24 if user > 0 => {
                let path = format!("rooms/{room}/leave");
                self.act(user, server, Method::POST, &path, &json!({}))
                    .await?;
            }
            22..=27 if other > 0 => {
                let path = format!("rooms/{room}/invite");
                self.act(user, server, Method::POST, &path, &target).await?;
            }
            28..=31 if other > 0 => {
                let moderator = usize::from(die % 2 == 0);
                let what = ["kick", "ban", "unban", "unban"][die - 28];
                let path = format!("rooms/{room}/{what}");
                self.act(moderator, server, Method::POST, &path, &target)
                    .await?;
            }
            32..=33 => {
                let key = ["a", "b"].choose(&mut self.rng).unwrap();
                let path = format!("rooms/{room}/state/test.state/{key}");
                let body = json!({ "step": step });
                let answer = self.act(user, server, Method::PUT, &path, &body).await?;
                self.keep(&room_id, &answer);
            }
            50..=51 => {
                let path = format!("knock/{room}");
                self.act(user, server, Method::POST, &path, &json!({}))
                    .await?;
            }
            52..=54 => self.write_data(user, server, &room_id, step).await?,
            55..=57 => self.send_to_devices(user, server, other, step).await?,
            34 => {
                let values = ["shared", "invited", "joined", "world_readable"];
                let value = values.choose(&mut self.rng).unwrap();
                let path = format!("rooms/{room}/state/m.room.history_visibility/");
                let body = json!({ "history_visibility": value });
                self.act(0, server, Method::PUT, &path, &body).await?;
            }
            35 => {
                if let Some(event_id) = self.some_event(&room_id) {
                    let path = format!("rooms/{room}/redact/{}/r{step}", encode(&event_id));
                    self.act(1, server, Method::PUT, &path, &json!({})).await?;
                }
            }
            36..=37 => self.read(user, server, &room_id).await?,
            38 => {
                let own = encode(self.users[user].view.user_id());
                let path = format!("profile/{own}/displayname");
                let body = json!({ "displayname": format!("name {step}") });
                self.act(user, server, Method::PUT, &path, &body).await?;
            }
            _ => self.sync(user, server).await?,
        }
        Ok(())
    }

    async fn sync(&mut self, user: usize, server: usize) -> Result<(), String> {
        self.note(format!("u{user} syncs at {server}"));
        self.users[user].view.sync(server, Duration::ZERO).await
    }

    async fn slide(&mut self, user: usize, server: usize) -> Result<(), String> {
        let body = self.body(user);
        self.note(format!("u{user} slides at {server}: {body}"));
        self.users[user].sliding.sync(server, &body).await?;
        Ok(())
    }

    /// A process that knows nothing but what the database has takes the place of one; once in a
    /// history, and not in each, since it takes its time.
    async fn restart(&mut self) {
        if !self.may_restart || self.young.is_some() {
            return;
        }
        let young = self.site.servers[0].sibling().await;
        self.note("a process is started anew".to_owned());
        for user in &mut self.users {
            user.view.add_server(&young.url);
            user.sliding.add_server(&young.url);
            user.clients.push(user.clients[0].at(&young.url));
        }
        self.young = Some(young);
    }

    /// Writes account data, of a room or of none.
    async fn write_data(
        &mut self,
        user: usize,
        server: usize,
        room_id: &str,
        step: usize,
    ) -> Result<(), String> {
        let of_room: bool = self.rng.random();
        let own = encode(self.users[user].view.user_id());
        let room = if of_room {
            format!("rooms/{}/", encode(room_id))
        } else {
            String::new()
        };
        let path = format!("user/{own}/{room}account_data/{DATA}");
        let data = json!({ "step": step });
        let answer = self.act(user, server, Method::PUT, &path, &data).await?;
        if answer.is_some() {
            let room_id = of_room.then(|| room_id.to_owned());
            self.account_data.insert((user, room_id), data);
        }
        Ok(())
    }

    /// Sends a message to all devices of another user.
    async fn send_to_devices(
        &mut self,
        user: usize,
        server: usize,
        other: usize,
        step: usize,
    ) -> Result<(), String> {
        let to = self.users[other].view.user_id();
        let messages = json!({ "messages": { to: { "*": { "number": step } } } });
        let path = format!("sendToDevice/test.message/{step}");
        let answer = self
            .act(user, server, Method::PUT, &path, &messages)
            .await?;
        if answer.is_some() {
            let number = u64::try_from(step).unwrap();
            self.messages.entry(other).or_default().push(number);
        }
        Ok(())
    }

    /// What a user asks of sliding sync this time.
    fn body(&mut self, user: usize) -> Value {
        let die = self.rng.random();
        self.users[user].sliding.body(&self.rooms, die)
    }

    /// Moves a user's receipt on: always forward, since the server takes no other.
    async fn read(&mut self, user: usize, server: usize, room_id: &str) -> Result<(), String> {
        let newest = self.sent.get(room_id).and_then(|sent| sent.last()).cloned();
        let Some(event_id) = newest else {
            return Ok(());
        };
        let path = format!(
            "rooms/{}/receipt/m.read/{}",
            encode(room_id),
            encode(&event_id)
        );
        let answer = self
            .act(user, server, Method::POST, &path, &json!({}))
            .await?;
        if answer.is_some() {
            let reader = self.users[user].view.user_id().to_owned();
            self.receipts.insert((room_id.to_owned(), reader), event_id);
        }
        Ok(())
    }

    /// Does something that the rules may refuse.
    async fn act(
        &mut self,
        user: usize,
        server: usize,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Option<Value>, String> {
        let client = &self.users[user].clients[server];
        let answer = client.request(method, path, Some(body)).await;
        self.note(format!(
            "u{user} at {server}: {path} {body} -> {} {}",
            answer.status, answer.text
        ));
        match answer.status {
            200 => Ok(Some(answer.body)),
            400..500 => Ok(None),
            _ => Err(format!("{path} fails")),
        }
    }

    /// Some process; one that was started anew takes the place of the first.
    fn server(&mut self) -> usize {
        match (self.rng.random_range(0..2), &self.young) {
            (0, Some(_)) => 2,
            (server, _) => server,
        }
    }

    fn keep(&mut self, room_id: &str, answer: &Option<Value>) {
        if let Some(answer) = answer {
            let sent = self.sent.entry(room_id.to_owned()).or_default();
            sent.push(view::text(&answer["event_id"]));
        }
    }

    fn some_event(&mut self, room_id: &str) -> Option<String> {
        self.sent.get(room_id)?.choose(&mut self.rng).cloned()
    }

    fn note(&mut self, line: String) {
        self.trace.push(line);
    }
}

#[tokio::test]
async fn who_comes_and_goes_between_two_syncs_is_told_what_was_said_meanwhile() {
    let nothing = LiveOptions {
        window_bytes: 0,
        ..LiveOptions::default()
    };
    for memory in [None, Some(nothing)] {
        let options = TestOptions {
            memory,
            ..TestOptions::default()
        };
        let server = TestServer::start(options).await;
        let (anna, ben) = (server.register("anna").await, server.register("ben").await);
        let room = json!({ "preset": "public_chat", "name": "A room" });
        let room_id = anna.create_room(&room).await;
        let begin = ben.sync(None, Duration::ZERO).await;
        ben.join(&room_id).await.expect_ok();
        let said = anna.send(&room_id, "hello").await;
        ben.leave(&room_id).await.expect_ok();
        anna.send(&room_id, "is he gone?").await;
        let since = view::text(&begin["next_batch"]);
        let answer = ben.sync(Some(&since), Duration::ZERO).await;
        let left = &answer["rooms"]["leave"][&room_id];
        let events: Vec<_> = view::list(&left["timeline"]["events"]).collect();
        let heard = events.iter().any(|event| event["event_id"] == *said);
        assert!(heard, "{memory:?}: {answer:#}");
        let last = &events.last().unwrap()["content"]["membership"];
        assert_eq!(last, "leave", "{memory:?}: {answer:#}");
        let mut all = view::list(&left["state"]["events"]).chain(events);
        let named = all.any(|event| event["content"]["name"] == "A room");
        assert!(named, "{memory:?}: {answer:#}");
    }
}
