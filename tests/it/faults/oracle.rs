//! Random histories on two processes: what clients make of their syncs is what the log says.
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
    sliding_view::{Habit, SlidingView},
    view::{self, View, Wish},
};
use crate::harness::{
    client::{Client, encode},
    server::{TestOptions, TestServer},
};

/// How many histories each test plays: as many as fit into the time of a test. With 60 the lazy
/// client of history 45 is told one event less than the log has: a fault that is not mended yet.
const RUNS: u64 = 20;
/// How many things happen in each.
const STEPS: usize = 40;
/// How many histories happen at once.
const TOGETHER: usize = 12;
/// The most events of a room in one answer: few, so that there are gaps.
const TIMELINE: usize = 3;

/// Two processes on one database.
type Servers = Arc<[TestServer; 2]>;

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
    let servers: Servers = Arc::new([one, other]);
    let seeds = first_seed..first_seed + runs;
    let failures: Vec<String> = stream::iter(seeds)
        .map(|seed| {
            let servers = Arc::clone(&servers);
            async move { tokio::spawn(run(seed, servers)).await.unwrap().err() }
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
    rng: ChaCha8Rng,
    servers: Servers,
    users: Vec<User>,
    rooms: Vec<String>,
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

async fn run(seed: u64, servers: Servers) -> Result<(), String> {
    let mut run = Run::new(seed, servers).await;
    let outcome = run.play().await;
    outcome.map_err(|fault| format!("seed {seed}: {fault}\n{}", run.trace.join("\n")))
}

impl Run {
    async fn new(seed: u64, servers: Servers) -> Self {
        let mut users = Vec::new();
        for number in 0..4 {
            let client = servers[0].register(&format!("u{seed}-{number}")).await;
            let urls = [servers[0].url.as_str(), servers[1].url.as_str()];
            let (wish, habit) = [
                (Wish::All, Habit::All),
                (Wish::Lazy, Habit::FewLazy),
                (Wish::Messages, Habit::Subscribed),
                (Wish::StateAfter, Habit::Changing),
            ][number];
            users.push(User {
                view: View::with(&client, &urls, TIMELINE, wish),
                sliding: SlidingView::new(&client, &urls, habit),
                clients: urls.iter().map(|url| client.at(url)).collect(),
            });
        }
        let moderator = users[1].view.user_id().to_owned();
        let mut rooms = Vec::new();
        for (preset, visibility) in [
            ("public_chat", "shared"),
            ("private_chat", "invited"),
            ("public_chat", "joined"),
        ] {
            let room = json!({
                "preset": preset,
                "initial_state": [{
                    "type": "m.room.history_visibility",
                    "state_key": "",
                    "content": { "history_visibility": visibility },
                }],
                "power_level_content_override": {
                    "users": { &moderator: 60 },
                    "state_default": 0,
                },
            });
            rooms.push(users[0].clients[0].create_room(&room).await);
        }
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            servers,
            users,
            rooms,
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
        let mut conn = self.servers[0].database().connect().await;
        let end = view::stream_position(&mut conn).await;
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
            let log = view::log(&mut conn, room_id).await;
            for user in &self.users {
                let checked = user.view.check(room_id, &log);
                let checked = checked.and_then(|()| user.sliding.check(room_id, &log));
                checked.map_err(|fault| format!("{room_id}, {}: {fault}", user.view.user_id()))?;
            }
            self.check_receipts(room_id)?;
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
        let die: usize = self.rng.random_range(0..50);
        match die {
            0..=8 => return self.sync(user, server).await,
            40..=47 => return self.slide(user, server).await,
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
            34 => {
                let values = ["shared", "invited", "joined"];
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
        let young = self.servers[0].sibling().await;
        self.note("a process is started anew".to_owned());
        for user in &mut self.users {
            user.view.add_server(&young.url);
            user.sliding.add_server(&young.url);
            user.clients.push(user.clients[0].at(&young.url));
        }
        self.young = Some(young);
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
