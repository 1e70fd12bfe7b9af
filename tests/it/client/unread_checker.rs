//! Unread counts against a checker, which works them out from the events, the rules and the receipts
//! alone. Which thread an event is in is taken from the server.

use std::{collections::BTreeMap, sync::Arc};

use chappe::{
    event::push::Rules,
    random::Random,
    rooms::{Asked, outcome},
    store::{
        RoomPosition, account_data, events, receipts, thread_subscriptions,
        unread::{self, ThreadsOf},
    },
};
use ruma::{OwnedEventId, RoomId, UserId};
use serde_json::json;

use super::{paging::path, unread::of_room};
use crate::harness::{
    client::{Client, encode},
    server::{TestOptions, TestServer},
};

type Count = (i64, i64);

/// What a client should see: (notifications, highlights) of the main timeline and of each thread.
/// `by_subscription`: who has subscribed to a thread is told of it, and others only of mentions.
async fn recount(
    server: &TestServer,
    reader: &Client,
    room_id: &str,
    by_subscription: bool,
) -> (Count, BTreeMap<String, Count>) {
    let store = server.app.store();
    let room_id = RoomId::parse(room_id).unwrap();
    let nid = store.room_number(&room_id).await.unwrap().unwrap();
    let room = store.load_room(nid).await.unwrap().unwrap();
    let head = room.head();
    let user_id = UserId::parse(&reader.user_id).unwrap();
    let user = store.user_number(&user_id).await.unwrap();
    let mut conn = store.conn().await.unwrap();
    let whole = events::Range {
        room: nid,
        first: RoomPosition(1),
        last: head.position(),
    };
    let forward = events::Direction::Forward;
    let all = events::list(&mut conn, &[whole], forward, 100_000)
        .await
        .unwrap();
    let threads = ThreadsOf {
        room: nid,
        after: RoomPosition(0),
        until: head.position(),
    };
    let threads = unread::threads_of_events(&mut conn, &[threads])
        .await
        .unwrap();
    let receipts = receipts::list(&mut conn, &[nid], user, Some(&[(nid, user)]))
        .await
        .unwrap();
    let roots: Vec<_> = threads.values().map(|root| (nid, root.clone())).collect();
    let users = [user];
    let since = thread_subscriptions::since(&mut conn, &users, &roots)
        .await
        .unwrap()
        .remove(&(user, nid))
        .unwrap_or_default();
    let rules = account_data::own_rules(&mut conn, &[user]).await.unwrap();
    let (_, own) = &rules[&user];
    let usual = Arc::new(Rules::predefined(&user_id));
    let rules = own.rules.as_ref().unwrap_or(&usual);

    // How far everything, the main timeline and each thread have been read.
    let position = |id: &OwnedEventId| {
        let event = all.iter().find(|event| event.pdu.event_id() == id);
        event.unwrap().position
    };
    let (mut whole, mut main) = (RoomPosition(0), RoomPosition(0));
    let mut in_thread: BTreeMap<OwnedEventId, RoomPosition> = BTreeMap::new();
    for receipt in &receipts {
        let at = position(&receipt.event_id);
        match receipt.thread.as_str() {
            "" => whole = whole.max(at),
            "main" => main = main.max(at),
            thread => {
                let read = in_thread.entry(thread.try_into().unwrap()).or_default();
                *read = (*read).max(at);
            }
        }
    }
    for event in all.iter().filter(|event| event.sender == user) {
        match threads.get(&(nid, event.position)) {
            Some(thread) => {
                let read = in_thread.entry(thread.clone()).or_default();
                *read = (*read).max(event.position);
            }
            None if event.pdu.membership().is_some() => whole = whole.max(event.position),
            None if !event.pdu.is_state() && *event.pdu.event_type() != "m.reaction".into() => {
                main = main.max(event.position);
            }
            None => {}
        }
    }
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    for event in all.iter().filter(|event| event.sender != user) {
        let thread = threads.get(&(nid, event.position));
        let read = match thread {
            None => main,
            Some(thread) => in_thread.get(thread).copied().unwrap_or_default(),
        };
        let is_subscribed = |root| {
            let since = since.get(root);
            since.is_some_and(|since| event.position > *since)
        };
        let asked = Asked {
            event,
            room: head.room(),
            own,
            user_id: &user_id,
            subscribed: thread.map(is_subscribed).filter(|_| by_subscription),
        };
        let outcome = outcome(&asked, rules);
        if event.position > read.max(whole) && outcome.notifies {
            let thread = thread.map(ToString::to_string).unwrap_or_default();
            let count = counts.entry(thread).or_default();
            count.0 += 1;
            count.1 += i64::from(outcome.highlights);
        }
    }
    (counts.remove("").unwrap_or_default(), counts)
}

/// What a client does see.
async fn seen(client: &Client, room_id: &str) -> (Count, BTreeMap<String, Count>) {
    let (main, threads) = of_room(client, room_id, true).await;
    (main, threads.into_iter().collect())
}

/// One room, in which people do anything.
struct Play {
    random: Random,
    room_id: String,
    /// Events, with the root of the thread that they are in.
    events: Vec<(String, Option<String>)>,
}

impl Play {
    fn pick(&self, many: usize) -> usize {
        let many = u64::try_from(many).unwrap();
        usize::try_from(self.random.range(0..many)).unwrap()
    }

    async fn say(&mut self, client: &Client, other: &Client) {
        let mut kind = "m.room.message";
        let mut content = json!({ "msgtype": "m.text", "body": "plain" });
        match self.pick(10) {
            0 => content["body"] = json!("a piece of cake"),
            1 => content["m.mentions"] = json!({ "user_ids": [other.user_id] }),
            2 => content["m.mentions"] = json!({ "room": true }),
            3 => content["msgtype"] = json!("m.notice"),
            4 => kind = "m.sticker",
            5 => {
                kind = "m.sticker";
                content["m.mentions"] = json!({ "user_ids": [other.user_id] });
            }
            _ => {}
        }
        let mut thread = None;
        let roots: Vec<_> = self
            .events
            .iter()
            .filter(|(_, thread)| thread.is_none())
            .collect();
        if self.pick(2) == 0 && !roots.is_empty() {
            let root = roots[self.pick(roots.len().min(3))].0.clone();
            content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": root });
            thread = Some(root);
        } else if self.pick(6) == 0 && !self.events.is_empty() {
            let (event_id, of) = self.events[self.pick(self.events.len())].clone();
            kind = "m.reaction";
            let key = format!("key {}", self.random.range(0..u64::MAX));
            content["m.relates_to"] =
                json!({ "rel_type": "m.annotation", "event_id": event_id, "key": key });
            thread = of;
        }
        let event_id = client.send_event(&self.room_id, kind, &content).await;
        if kind != "m.reaction" {
            self.events.push((event_id, thread));
        }
    }

    async fn read(&self, client: &Client) {
        if self.events.is_empty() {
            return;
        }
        let (event_id, thread) = &self.events[self.pick(self.events.len())];
        let body = match (self.pick(3), thread) {
            (0, _) => json!({}),
            (_, None) => json!({ "thread_id": "main" }),
            (_, Some(root)) => json!({ "thread_id": root }),
        };
        let kind = ["m.read", "m.read.private"][self.pick(2)];
        let rest = format!("receipt/{kind}/{}", encode(event_id));
        client
            .post(&path(&self.room_id, &rest), &body)
            .await
            .expect_ok();
    }

    async fn follow(&self, client: &Client) {
        let roots = self.events.iter().filter(|(_, thread)| thread.is_none());
        let roots: Vec<_> = roots.take(3).collect();
        if roots.is_empty() {
            return;
        }
        let root = encode(&roots[self.pick(roots.len())].0);
        let room_id = encode(&self.room_id);
        let path = format!(
            "/_matrix/client/unstable/io.element.msc4306/rooms/{room_id}/thread/{root}/subscription"
        );
        if self.pick(3) == 0 {
            client.delete(&path).await.expect_ok();
        } else {
            client.put(&path, &json!({})).await.expect_ok();
        }
    }

    async fn change_rules(&self, client: &Client, by_subscription: bool) {
        let room = format!("pushrules/global/room/{}", encode(&self.room_id));
        let word = "pushrules/global/content/cake";
        let switch = "pushrules/global/underride/.m.rule.message/enabled";
        let answer = match self.pick(6) {
            // A word does not bring back what was said in a thread without the user.
            2..=3 if by_subscription => {
                let rule = ".io.element.msc4306.rule.subscribed_thread";
                let switch = format!("pushrules/global/postcontent/{rule}/enabled");
                let enabled = self.pick(2) == 0;
                client.put(&switch, &json!({ "enabled": enabled })).await
            }
            0 => client.put(&room, &json!({ "actions": [] })).await,
            // There may be none to delete.
            1 => return drop(client.delete(&room).await),
            2 => {
                let actions = json!(["notify", { "set_tweak": "highlight" }]);
                let rule = json!({ "pattern": "cake", "actions": actions });
                client.put(word, &rule).await
            }
            3 => return drop(client.delete(word).await),
            4 => client.put(switch, &json!({ "enabled": false })).await,
            _ => client.put(switch, &json!({ "enabled": true })).await,
        };
        answer.expect_ok();
    }
}

#[tokio::test]
async fn the_counts_are_what_a_checker_finds() {
    Box::pin(check("", false)).await;
}

#[tokio::test]
async fn so_are_those_where_threads_are_subscribed_to() {
    Box::pin(check("[push]\nthread_subscriptions = true\n", true)).await;
}

async fn check(config: &str, by_subscription: bool) {
    let server = TestServer::start(TestOptions::with(config)).await;
    let sibling = server.sibling().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let (anna_there, ben_there) = (anna.at(&sibling.url), ben.at(&sibling.url));
    for seed in 0..8 {
        let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
        ben.join(&room_id).await.expect_ok();
        let mut play = Play {
            random: Random::seeded(seed),
            room_id: room_id.clone(),
            events: Vec::new(),
        };
        for step in 0..60 {
            let (a, b) = if play.pick(2) == 0 {
                (&anna, &ben)
            } else {
                (&anna_there, &ben_there)
            };
            match play.pick(10) {
                0..=4 => play.say(a, &ben).await,
                5 => play.say(b, &anna).await,
                6..=7 => play.read(b).await,
                8 if seed > 0 => play.change_rules(b, by_subscription).await,
                _ => play.follow(b).await,
            }
            if step % 3 == 0 {
                for server in [&server, &sibling] {
                    server.app.store().catch_up().await.unwrap();
                }
                let expected = recount(&server, &ben, &room_id, by_subscription).await;
                for ben in [&ben, &ben_there] {
                    let found = seen(ben, &room_id).await;
                    assert_eq!(found, expected, "seed {seed}, step {step}, {room_id}");
                }
            }
        }
    }
}
