//! Subscriptions to threads (MSC4306), and what sliding sync tells of them (MSC4308).

use std::time::Duration;

use serde_json::{Value, json};

use super::{pushers, sliding::Connection, unread::of_room};
use crate::harness::{
    client::{Answer, Client, encode},
    gateway::Gateway,
    server::{TestOptions, TestServer},
};

const LONG: Duration = Duration::from_secs(30);
const EXTENSION: &str = "io.element.msc4308.thread_subscriptions";
const NOT_IN_THREAD: &str = "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD";
const SUBSCRIBED: &str = ".io.element.msc4306.rule.subscribed_thread";
const UNSUBSCRIBED: &str = ".io.element.msc4306.rule.unsubscribed_thread";
const CONFLICT: &str = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION";

/// Anna and Ben in a room, and a thread of Anna's.
struct Site {
    server: TestServer,
    anna: Client,
    ben: Client,
    room_id: String,
    root: String,
}

async fn site() -> Site {
    site_with("").await
}

async fn site_with(config: &str) -> Site {
    let server = TestServer::start(TestOptions::with(config)).await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
    ben.join(&room_id).await.expect_ok();
    let root = anna.send(&room_id, "root").await;
    Site {
        server,
        anna,
        ben,
        room_id,
        root,
    }
}

impl Site {
    async fn reply(&self, root: &str) -> String {
        self.reply_with(root, json!({})).await
    }

    /// Anna mentions Ben in a thread.
    async fn mention(&self, root: &str) -> String {
        let mentions = json!({ "user_ids": [self.ben.user_id] });
        self.reply_with(root, mentions).await
    }

    async fn reply_with(&self, root: &str, mentions: Value) -> String {
        let content = json!({
            "msgtype": "m.text", "body": "reply", "m.mentions": mentions,
            "m.relates_to": { "rel_type": "m.thread", "event_id": root },
        });
        let anna = &self.anna;
        anna.send_event(&self.room_id, "m.room.message", &content)
            .await
    }

    /// Ben has subscribed to the thread from now on, or not.
    async fn follow(&self, subscribed: bool) {
        let done = if subscribed {
            self.put(&json!({})).await
        } else {
            self.delete().await
        };
        done.expect_ok();
    }

    /// (notifications, highlights) that Ben sees in the room, threads and all.
    async fn unread(&self) -> (i64, i64) {
        of_room(&self.ben, &self.room_id, false).await.0
    }

    async fn mute(&self) {
        let rule = format!("pushrules/global/room/{}", encode(&self.room_id));
        let muted = self.ben.put(&rule, &json!({ "actions": [] })).await;
        muted.expect_ok();
    }

    fn path(&self, root: &str) -> String {
        path(&self.room_id, root)
    }

    async fn put(&self, body: &Value) -> Answer {
        self.ben.put(&self.path(&self.root), body).await
    }

    async fn get(&self) -> Answer {
        self.ben.get(&self.path(&self.root)).await
    }

    async fn delete(&self) -> Answer {
        self.ben.delete(&self.path(&self.root)).await
    }
}

fn path(room_id: &str, root: &str) -> String {
    let base = "/_matrix/client/unstable/io.element.msc4306";
    let (room_id, root) = (encode(room_id), encode(root));
    format!("{base}/rooms/{room_id}/thread/{root}/subscription")
}

fn list(query: &str) -> String {
    format!("/_matrix/client/unstable/io.element.msc4308/thread_subscriptions?{query}")
}

fn asks(limit: u64) -> Value {
    json!({ "extensions": { EXTENSION: { "enabled": true, "limit": limit } } })
}

/// The threads of one room in a part of what is told.
fn threads(told: &Value, list: &str, room_id: &str) -> Vec<String> {
    let threads = told[list][room_id].as_object().into_iter().flatten();
    threads.map(|(thread, _)| thread.clone()).collect()
}

#[tokio::test]
async fn a_thread_is_subscribed_to_and_left() {
    let site = site().await;
    site.get().await.expect_error(404, "M_NOT_FOUND");
    site.delete().await.expect_ok();
    assert_eq!(site.put(&json!({})).await.expect_ok(), json!({}));
    let found = site.get().await.expect_ok();
    assert_eq!(found, json!({ "automatic": false }));
    // It is Ben's alone, and the same on every process.
    let anna = site.anna.get(&site.path(&site.root)).await;
    anna.expect_error(404, "M_NOT_FOUND");
    let sibling = site.server.sibling().await;
    let there = site.ben.at(&sibling.url);
    there.get(&site.path(&site.root)).await.expect_ok();
    there.delete(&site.path(&site.root)).await.expect_ok();
    site.get().await.expect_error(404, "M_NOT_FOUND");
    site.delete().await.expect_ok();
}

#[tokio::test]
async fn what_a_client_does_by_itself_stands_behind_what_the_user_does() {
    let site = site().await;
    let automatic = |event_id: &str| json!({ "automatic": event_id });
    let first = site.reply(&site.root).await;
    site.put(&automatic(&first)).await.expect_ok();
    let found = site.get().await.expect_ok();
    assert_eq!(found, json!({ "automatic": true }));
    site.put(&json!({})).await.expect_ok();
    site.put(&automatic(&first)).await.expect_ok();
    let found = site.get().await.expect_ok();
    assert_eq!(found, json!({ "automatic": false }));
    // What happened before Ben unsubscribed subscribes no more, what came later does.
    let second = site.reply(&site.root).await;
    site.delete().await.expect_ok();
    for cause in [&first, &second] {
        site.put(&automatic(cause))
            .await
            .expect_error(409, CONFLICT);
        site.get().await.expect_error(404, "M_NOT_FOUND");
    }
    let third = site.reply(&site.root).await;
    site.put(&automatic(&third)).await.expect_ok();
    assert_eq!(site.get().await.expect_ok(), json!({ "automatic": true }));
    site.delete().await.expect_ok();
    site.put(&json!({})).await.expect_ok();
    assert_eq!(site.get().await.expect_ok(), json!({ "automatic": false }));
}

#[tokio::test]
async fn a_cause_has_to_be_in_the_thread() {
    let site = site().await;
    let other = site.anna.send(&site.room_id, "another root").await;
    let elsewhere = site.reply(&other).await;
    for cause in [&site.root, &other, &elsewhere, "$nowhere"] {
        let refused = site.put(&json!({ "automatic": cause })).await;
        refused.expect_error(400, NOT_IN_THREAD);
    }
    for body in [
        json!({ "automatic": true }),
        json!({ "automatic": "no id" }),
    ] {
        site.put(&body).await.expect_error(400, "M_INVALID_PARAM");
    }
    site.put(&json!([])).await.expect_error(400, "M_BAD_JSON");
    site.get().await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn there_are_threads_only_where_one_may_see_them() {
    let site = site().await;
    let reply = site.reply(&site.root).await;
    let carl = site.server.register("carl").await;
    let nobody = site.server.client();
    site.put(&json!({})).await.expect_ok();
    let refused = async |client: &Client, path: &str, status: u16, errcode: &str| {
        let put = client.put(path, &json!({})).await;
        put.expect_error(status, errcode);
        client.get(path).await.expect_error(status, errcode);
        client.delete(path).await.expect_error(status, errcode);
    };
    let own = site.path(&site.root);
    refused(&carl, &own, 404, "M_NOT_FOUND").await;
    refused(&nobody, &own, 401, "M_MISSING_TOKEN").await;
    // What relates to something begins no thread.
    for root in ["$nowhere:example.org", &reply] {
        refused(&site.ben, &site.path(root), 404, "M_NOT_FOUND").await;
    }
    let other = site.anna.create_room(&json!({})).await;
    let strange = site.anna.send(&other, "not for Ben").await;
    refused(&site.ben, &path(&other, &strange), 404, "M_NOT_FOUND").await;
    refused(&site.ben, &site.path(&strange), 404, "M_NOT_FOUND").await;
    refused(&site.ben, &path("no id", &strange), 400, "M_INVALID_PARAM").await;
    refused(&site.ben, &site.path("no id"), 400, "M_INVALID_PARAM").await;
    // Nor is there any for who has left, or was banned.
    site.ben.leave(&site.room_id).await.expect_ok();
    refused(&site.ben, &own, 404, "M_NOT_FOUND").await;
    let ban = format!("rooms/{}/ban", encode(&site.room_id));
    let whom = json!({ "user_id": site.ben.user_id });
    site.anna.post(&ban, &whom).await.expect_ok();
    refused(&site.ben, &own, 404, "M_NOT_FOUND").await;
}

#[tokio::test]
async fn sliding_sync_tells_what_has_changed_on_every_process() {
    let site = site().await;
    let mut sync = Connection::new(&site.ben);
    let answer = sync.sync(&asks(10)).await;
    assert_eq!(answer["extensions"], json!({}));
    let sibling = site.server.sibling().await;
    let there = site.ben.at(&sibling.url);
    let own = site.path(&site.root);
    let write = async { there.put(&own, &json!({})).await.expect_ok() };
    let asked = asks(10);
    let (answer, _) = tokio::join!(sync.wait(&asked, LONG), write);
    let told = &answer["extensions"][EXTENSION];
    let subscribed = &told["subscribed"][&site.room_id][&site.root];
    assert_eq!(subscribed["automatic"], false);
    let stamp = subscribed["bump_stamp"].as_i64().unwrap();
    assert!(told.get("unsubscribed").is_none() && told.get("prev_batch").is_none());
    // It is told once, and nobody else is.
    let answer = sync.sync(&asks(10)).await;
    assert_eq!(answer["extensions"], json!({}));
    let answer = Connection::new(&site.anna).sync(&asks(10)).await;
    assert_eq!(answer["extensions"], json!({}));
    // Nothing is told where nothing changes, or nobody asks.
    site.put(&json!({})).await.expect_ok();
    let answer = sync.sync(&asks(10)).await;
    assert_eq!(answer["extensions"], json!({}));
    site.delete().await.expect_ok();
    let answer = sync.ask(&json!({}), Duration::ZERO).await.expect_ok();
    assert_eq!(answer["extensions"], json!({}));
    let answer = sync.sync(&asks(10)).await;
    let told = &answer["extensions"][EXTENSION];
    let ended = &told["unsubscribed"][&site.room_id][&site.root];
    assert!(ended["bump_stamp"].as_i64().unwrap() > stamp);
    assert!(told.get("subscribed").is_none());
    let zero = sync.ask(&asks(0), Duration::ZERO).await;
    zero.expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn what_an_answer_has_no_room_for_is_listed_backwards() {
    let site = site().await;
    let mut sync = Connection::new(&site.ben);
    sync.sync(&asks(2)).await;
    let before = sync.pos.clone().unwrap();
    let mut roots = Vec::new();
    for number in 0..5 {
        let root = site.anna.send(&site.room_id, &number.to_string()).await;
        let put = site.ben.put(&site.path(&root), &json!({})).await;
        put.expect_ok();
        roots.push(root);
    }
    let answer = sync.sync(&asks(2)).await;
    let told = &answer["extensions"][EXTENSION];
    let mut seen = threads(told, "subscribed", &site.room_id);
    let sorted = |roots: &[String]| {
        let mut roots = roots.to_vec();
        roots.sort();
        roots
    };
    assert_eq!(sorted(&seen), sorted(&roots[3..]));
    let mut from = told["prev_batch"].as_str().map(str::to_owned);
    let mut pages = 0;
    while let Some(token) = from {
        let query = format!("dir=b&limit=2&from={}&to={before}", encode(&token));
        let page = site.ben.get(&list(&query)).await.expect_ok();
        let told = threads(&page, "subscribed", &site.room_id);
        assert!(!told.is_empty());
        seen.extend(told);
        pages += 1;
        from = page["end"].as_str().map(str::to_owned);
    }
    assert_eq!((pages, sorted(&seen)), (2, sorted(&roots)));
    // Without a beginning or an end it is everything, and for others nothing.
    let all = site.ben.get(&list("dir=b")).await.expect_ok();
    assert_eq!(threads(&all, "subscribed", &site.room_id).len(), 5);
    let after = sync.pos.clone().unwrap();
    let none = site.ben.get(&list(&format!("dir=b&to={after}"))).await;
    assert_eq!(none.expect_ok(), json!({}));
    assert_eq!(site.anna.get(&list("dir=b")).await.expect_ok(), json!({}));
    for (query, errcode) in [
        ("", "M_MISSING_PARAM"),
        ("dir=f", "M_INVALID_PARAM"),
        ("dir=b&limit=0", "M_INVALID_PARAM"),
        ("dir=b&limit=-1", "M_INVALID_PARAM"),
        ("dir=b&from=t-1", "M_INVALID_PARAM"),
        ("dir=b&from=x", "M_INVALID_PARAM"),
        ("dir=b&to=s1", "M_INVALID_PARAM"),
    ] {
        site.ben.get(&list(query)).await.expect_error(400, errcode);
    }
    let nobody = site.server.client();
    let refused = nobody.get(&list("dir=b")).await;
    refused.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn the_rules_and_their_announcement_are_there_where_they_are_switched_on() {
    for on in [false, true] {
        let site = site_with(&switched(on)).await;
        let versions = site.ben.get("/_matrix/client/versions").await.expect_ok();
        let features = &versions["unstable_features"];
        for feature in ["org.matrix.msc4306", "org.matrix.msc4308"] {
            assert_eq!(features[feature].as_bool(), on.then_some(true));
        }
        let rules = site.ben.get("pushrules/").await.expect_ok();
        let told = sync_rules(&site.ben).await;
        for rules in [&rules["global"], &told] {
            let of_threads = rules["postcontent"].as_array();
            assert_eq!(of_threads.map(Vec::len), on.then_some(2), "{rules}");
        }
        let sound = json!({ "set_tweak": "sound", "value": "default" });
        let loud = json!(["notify", sound]);
        let both = [(UNSUBSCRIBED, false, json!([])), (SUBSCRIBED, true, loud)];
        for (number, (id, subscribed, actions)) in both.into_iter().enumerate() {
            let path = format!("pushrules/global/postcontent/{id}");
            let rule = site.ben.get(&path).await;
            let enabled = site.ben.get(&format!("{path}/enabled")).await;
            let told = site.ben.get(&format!("{path}/actions")).await;
            if !on {
                for answer in [rule, enabled, told] {
                    answer.expect_error(404, "M_NOT_FOUND");
                }
                continue;
            }
            let condition = json!({
                "kind": "io.element.msc4306.thread_subscription", "subscribed": subscribed,
            });
            let expected = json!({
                "rule_id": id, "default": true, "enabled": true,
                "conditions": [condition], "actions": actions,
            });
            assert_eq!(rule.expect_ok(), expected);
            assert_eq!(rules["global"]["postcontent"][number], expected);
            assert_eq!(enabled.expect_ok(), json!({ "enabled": true }));
            assert_eq!(told.expect_ok(), json!({ "actions": actions }));
        }
        if !on {
            continue;
        }
        let path = format!("pushrules/global/postcontent/{SUBSCRIBED}");
        // A user can turn them off and say what they do, and make none.
        let enabled = format!("{path}/enabled");
        let off = site.ben.put(&enabled, &json!({ "enabled": false })).await;
        off.expect_ok();
        let found = site.ben.get(&enabled).await.expect_ok();
        assert_eq!(found["enabled"], false);
        assert_eq!(
            sync_rules(&site.ben).await["postcontent"][1]["enabled"],
            false
        );
        let quiet = json!({ "actions": ["notify"] });
        let actions = format!("{path}/actions");
        site.ben.put(&actions, &quiet).await.expect_ok();
        assert_eq!(site.ben.get(&actions).await.expect_ok(), quiet);
        let own = json!({ "conditions": [], "actions": [] });
        for kind in ["postcontent", "io.element.msc4306.postcontent"] {
            let path = format!("pushrules/global/{kind}/own");
            let refused = site.ben.put(&path, &own).await;
            refused.expect_error(400, "M_INVALID_PARAM");
        }
        let deleted = site.ben.delete(&path).await;
        deleted.expect_error(400, "M_INVALID_PARAM");
    }
}

/// The push rules that a sync tells somebody.
async fn sync_rules(client: &Client) -> Value {
    let answer = client.sync(None, Duration::ZERO).await;
    let events = answer["account_data"]["events"].as_array().unwrap();
    let mut rules = events
        .iter()
        .filter(|event| event["type"] == "m.push_rules");
    rules.next().unwrap()["content"]["global"].clone()
}

fn switched(on: bool) -> String {
    format!("[push]\nthread_subscriptions = {on}\n")
}

#[tokio::test]
async fn only_whoever_has_subscribed_has_unread_messages_in_a_thread() {
    let site = site_with(&switched(true)).await;
    let carl = site.server.register("carl").await;
    carl.join(&site.room_id).await.expect_ok();
    let read = format!("rooms/{}/receipt/m.read", encode(&site.room_id));
    let receipt = format!("{read}/{}", encode(&site.root));
    site.ben.post(&receipt, &json!({})).await.expect_ok();
    site.reply(&site.root).await;
    assert_eq!(site.unread().await, (0, 0));
    // What was said before is not brought back.
    site.follow(true).await;
    assert_eq!(site.unread().await, (0, 0));
    site.reply(&site.root).await;
    site.reply(&site.root).await;
    assert_eq!(site.unread().await, (2, 0));
    assert_eq!(of_room(&carl, &site.room_id, false).await.0.1, 0);
    // The same after a restart, as it were, and on another process.
    let sibling = site.server.sibling().await;
    let there = site.ben.at(&sibling.url);
    sibling.app.store().catch_up().await.unwrap();
    assert_eq!(of_room(&there, &site.room_id, false).await.0, (2, 0));
    site.mute().await;
    assert_eq!(site.unread().await, (2, 0));
    site.anna.send(&site.room_id, "not in the thread").await;
    assert_eq!(site.unread().await, (2, 0));
    site.follow(false).await;
    assert_eq!(site.unread().await, (0, 0));
    sibling.app.store().catch_up().await.unwrap();
    assert_eq!(of_room(&there, &site.room_id, false).await.0, (0, 0));
    site.mention(&site.root).await;
    site.reply(&site.root).await;
    assert_eq!(site.unread().await, (1, 1));
    // The mention is not counted a second time when the thread is followed from then on.
    site.follow(true).await;
    let last = site.reply(&site.root).await;
    site.mention(&site.root).await;
    assert_eq!(site.unread().await, (3, 2));
    let receipt = format!("{read}/{}", encode(&last));
    let thread = json!({ "thread_id": site.root });
    site.ben.post(&receipt, &thread).await.expect_ok();
    assert_eq!(site.unread().await, (1, 1));
}

#[tokio::test]
async fn stickers_count_for_whoever_has_subscribed_to_their_thread() {
    for on in [false, true] {
        let site = site_with(&switched(on)).await;
        let read = format!("rooms/{}/receipt/m.read", encode(&site.room_id));
        let receipt = format!("{read}/{}", encode(&site.root));
        site.ben.post(&receipt, &json!({})).await.expect_ok();
        let sticker = async |mentions: Value| {
            let content = json!({
                "body": "a cat", "url": "mxc://example.org/cat", "info": {}, "m.mentions": mentions,
                "m.relates_to": { "rel_type": "m.thread", "event_id": site.root },
            });
            let anna = &site.anna;
            anna.send_event(&site.room_id, "m.sticker", &content).await
        };
        sticker(json!({})).await;
        assert_eq!(site.unread().await, (0, 0));
        site.follow(true).await;
        sticker(json!({})).await;
        let counted = i64::from(on);
        assert_eq!(site.unread().await, (counted, 0));
        // A mention counts for everybody, and once.
        let ben = json!({ "user_ids": [site.ben.user_id] });
        let last = sticker(ben.clone()).await;
        assert_eq!(site.unread().await, (counted + 1, 1));
        let sibling = site.server.sibling().await;
        let there = site.ben.at(&sibling.url);
        let there = of_room(&there, &site.room_id, false).await.0;
        assert_eq!(there, (counted + 1, 1));
        // What notifies nobody in a thread does not count there either.
        let reaction = json!({
            "m.relates_to": { "rel_type": "m.annotation", "event_id": last, "key": "x" },
        });
        let anna = &site.anna;
        anna.send_event(&site.room_id, "m.reaction", &reaction)
            .await;
        assert_eq!(site.unread().await, (counted + 1, 1));
        site.follow(false).await;
        sticker(json!({})).await;
        sticker(ben).await;
        assert_eq!(site.unread().await, (2, 2));
    }
}

#[tokio::test]
async fn threads_are_as_other_messages_where_the_rules_are_not_switched_on() {
    let site = site().await;
    let receipt = format!(
        "rooms/{}/receipt/m.read/{}",
        encode(&site.room_id),
        encode(&site.root)
    );
    site.ben.post(&receipt, &json!({})).await.expect_ok();
    site.reply(&site.root).await;
    assert_eq!(site.unread().await, (1, 0));
    site.follow(true).await;
    assert_eq!(site.unread().await, (1, 0));
    site.mute().await;
    assert_eq!(site.unread().await, (0, 0));
}

fn is_told(gateway: &Gateway, event_id: &str) -> bool {
    let told = gateway.told();
    told.iter().any(|told| told["event_id"] == event_id)
}

#[tokio::test]
async fn push_gateways_are_told_of_threads_by_subscription() {
    let on = pushers::NEAR.replace("[push]", &switched(true));
    let site = site_with(&on).await;
    // Not a room of two.
    let carl = site.server.register("carl").await;
    carl.join(&site.room_id).await.expect_ok();
    let (gateway, other) = (Gateway::new().await, Gateway::new().await);
    pushers::set(&site.ben, &pushers::pusher(&gateway.url, "ben")).await;
    pushers::set(&carl, &pushers::pusher(&other.url, "carl")).await;
    let first = site.reply(&site.root).await;
    site.follow(true).await;
    let second = site.reply(&site.root).await;
    let told = gateway.of(&second).await;
    assert_eq!(told["devices"][0]["tweaks"]["sound"], "default");
    site.mute().await;
    let third = site.reply(&site.root).await;
    gateway.of(&third).await;
    site.follow(false).await;
    let fourth = site.reply(&site.root).await;
    let fifth = site.mention(&site.root).await;
    let told = gateway.of(&fifth).await;
    assert_eq!(told["devices"][0]["tweaks"]["highlight"], true);
    // Events are told in order: Carl is told of the last, and of none before.
    let last = site.anna.send(&site.room_id, "to all").await;
    other.of(&last).await;
    for event_id in [&first, &second, &third, &fourth, &fifth] {
        assert!(!is_told(&other, event_id), "{event_id}");
    }
    for event_id in [&first, &fourth] {
        assert!(!is_told(&gateway, event_id), "{event_id}");
    }
    // The list of notifications says the same.
    let listed = site.ben.get("notifications").await.expect_ok();
    let listed = listed["notifications"].as_array().unwrap();
    let newest = listed.first().map(|it| &it["event"]["event_id"]);
    assert_eq!(newest, Some(&json!(fifth)));
}
