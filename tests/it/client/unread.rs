//! Unread counts: what rules, receipts and threads make of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::paging::path;
use crate::harness::{
    client::{Client, encode},
    server::TestServer,
};

/// Anna and Ben in a room, and where Ben's news begin.
struct Pair {
    server: TestServer,
    anna: Client,
    ben: Client,
    room_id: String,
}

impl Pair {
    async fn new() -> Self {
        let server = TestServer::new().await;
        let (anna, ben) = (server.register("anna").await, server.register("ben").await);
        // A third one, so that the rules for rooms of two are not asked.
        let carl = server.register("carl").await;
        let room_id = anna.create_room(&json!({ "preset": "public_chat" })).await;
        ben.join(&room_id).await.expect_ok();
        carl.join(&room_id).await.expect_ok();
        Self {
            server,
            anna,
            ben,
            room_id,
        }
    }

    /// (notifications, highlights) that Ben sees.
    async fn counts(&self) -> (i64, i64) {
        of_room(&self.ben, &self.room_id, false).await.0
    }

    /// The same of the main timeline, and of each thread.
    async fn by_thread(&self) -> ((i64, i64), Vec<(String, (i64, i64))>) {
        of_room(&self.ben, &self.room_id, true).await
    }

    async fn in_thread(&self, root: &str, text: &str) -> String {
        let content = json!({
            "msgtype": "m.text",
            "body": text,
            "m.relates_to": { "rel_type": "m.thread", "event_id": root },
        });
        self.anna
            .send_event(&self.room_id, "m.room.message", &content)
            .await
    }

    async fn read(&self, event_id: &str, thread: Option<&str>) {
        let body = thread.map_or_else(|| json!({}), |thread| json!({ "thread_id": thread }));
        let rest = format!("receipt/m.read/{}", encode(event_id));
        self.ben
            .post(&path(&self.room_id, &rest), &body)
            .await
            .expect_ok();
    }

    async fn rule(&self, kind: &str, id: &str, body: Value) {
        let rule = format!("pushrules/global/{kind}/{}", encode(id));
        self.ben.put(&rule, &body).await.expect_ok();
    }
}

fn count(json: &Value) -> (i64, i64) {
    let number = |name: &str| json[name].as_i64().unwrap();
    (number("notification_count"), number("highlight_count"))
}

/// What a sync tells of a room: the messages of the main timeline, and those of threads.
pub(super) async fn of_room(
    client: &Client,
    room_id: &str,
    threads: bool,
) -> ((i64, i64), Vec<(String, (i64, i64))>) {
    let filter = json!({ "room": { "timeline": { "unread_thread_notifications": threads } } });
    let filter = encode(&filter.to_string());
    let answer = client
        .get(&format!("sync?filter={filter}"))
        .await
        .expect_ok();
    let room = &answer["rooms"]["join"][room_id];
    let by_thread = room["unread_thread_notifications"].as_object();
    let by_thread = by_thread.into_iter().flatten();
    (
        count(&room["unread_notifications"]),
        by_thread
            .map(|(root, it)| (root.clone(), count(it)))
            .collect(),
    )
}

fn mention(user: &Client, text: &str) -> Value {
    json!({
        "msgtype": "m.text",
        "body": text,
        "m.mentions": { "user_ids": [user.user_id] },
    })
}

#[tokio::test]
async fn the_predefined_rules_count_messages_and_nothing_else() {
    let pair = Pair::new().await;
    let (anna, room_id) = (&pair.anna, &*pair.room_id);
    let first = anna.send(room_id, "one").await;
    anna.send(room_id, "two").await;
    assert_eq!(pair.counts().await, (2, 0));
    let notice = json!({ "msgtype": "m.notice", "body": "a machine" });
    anna.send_event(room_id, "m.room.message", &notice).await;
    let edit = json!({
        "msgtype": "m.text", "body": "* uno",
        "m.new_content": { "msgtype": "m.text", "body": "uno" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": first },
    });
    anna.send_event(room_id, "m.room.message", &edit).await;
    let reaction = json!({
        "m.relates_to": { "rel_type": "m.annotation", "event_id": first, "key": "👍" },
    });
    anna.send_event(room_id, "m.reaction", &reaction).await;
    anna.send_state(room_id, "m.room.topic", "", &json!({ "topic": "t" }))
        .await
        .expect_ok();
    anna.send_event(room_id, "org.example.custom", &json!({}))
        .await;
    assert_eq!(pair.counts().await, (2, 0));
    // A mention counts whatever it stands in, unless a machine wrote it.
    anna.send_event(room_id, "m.room.message", &mention(&pair.ben, "ben"))
        .await;
    assert_eq!(pair.counts().await, (3, 1));
    anna.send_event(room_id, "org.example.custom", &mention(&pair.ben, "ben"))
        .await;
    assert_eq!(pair.counts().await, (4, 2));
    let mut machine = mention(&pair.ben, "ben");
    machine["msgtype"] = json!("m.notice");
    anna.send_event(room_id, "m.room.message", &machine).await;
    assert_eq!(pair.counts().await, (4, 2));
    let all = json!({ "msgtype": "m.text", "body": "all", "m.mentions": { "room": true } });
    let last = anna.send_event(room_id, "m.room.message", &all).await;
    assert_eq!(pair.counts().await, (5, 3));
    pair.read(&last, None).await;
    assert_eq!(pair.counts().await, (0, 0));
    // Ben may not call the whole room.
    pair.ben.send_event(room_id, "m.room.message", &all).await;
    let (counts, _) = of_room(anna, room_id, false).await;
    assert_eq!(counts, (1, 0));
}

#[tokio::test]
async fn a_redacted_mention_is_no_highlight() {
    let pair = Pair::new().await;
    let said = mention(&pair.ben, "ben");
    let event_id = pair
        .anna
        .send_event(&pair.room_id, "m.room.message", &said)
        .await;
    assert_eq!(pair.counts().await, (1, 1));
    let rest = format!(
        "redact/{}/{}",
        encode(&event_id),
        pair.anna.transaction_id()
    );
    let redact = path(&pair.room_id, &rest);
    pair.anna.put(&redact, &json!({})).await.expect_ok();
    assert_eq!(pair.counts().await, (1, 0));
    let sibling = pair.server.sibling().await;
    let (counts, _) = of_room(&pair.ben.at(&sibling.url), &pair.room_id, false).await;
    assert_eq!(counts, (1, 0));
}

#[tokio::test]
async fn rules_of_ones_own_count() {
    let pair = Pair::new().await;
    let room_id = &*pair.room_id;
    let say = async |text: &str| {
        pair.anna.send(room_id, text).await;
    };
    say("one").await;
    // A word of Ben's highlights, in any case and by whole words.
    let word = json!({
        "pattern": "Cake",
        "actions": ["notify", { "set_tweak": "highlight" }],
    });
    pair.rule("content", "cake", word).await;
    for text in ["a CAKE!", "pancakes", "no pie"] {
        say(text).await;
    }
    assert_eq!(pair.counts().await, (4, 1));
    // Without messages in general, words are left.
    let switch = "pushrules/global/underride/.m.rule.message/enabled";
    let ben = &pair.ben;
    ben.put(switch, &json!({ "enabled": false }))
        .await
        .expect_ok();
    assert_eq!(pair.counts().await, (1, 1));
    ben.put(switch, &json!({ "enabled": true }))
        .await
        .expect_ok();
    // What Anna says does not count.
    let nothing = json!({ "actions": [] });
    pair.rule("sender", &pair.anna.user_id, nothing.clone())
        .await;
    assert_eq!(pair.counts().await, (1, 1));
    let sender = format!("pushrules/global/sender/{}", encode(&pair.anna.user_id));
    ben.delete(&sender).await.expect_ok();
    ben.delete("pushrules/global/content/cake")
        .await
        .expect_ok();
    assert_eq!(pair.counts().await, (4, 0));
    // Mentions only.
    pair.rule("room", room_id, nothing.clone()).await;
    assert_eq!(pair.counts().await, (0, 0));
    let said = mention(ben, "hello you");
    pair.anna.send_event(room_id, "m.room.message", &said).await;
    assert_eq!(pair.counts().await, (1, 1));
    // Not even those.
    let mute = json!({
        "conditions": [{ "kind": "event_match", "key": "room_id", "pattern": room_id }],
        "actions": [],
    });
    pair.rule("override", room_id, mute).await;
    assert_eq!(pair.counts().await, (0, 0));
    // Everything, as long as it is said by name.
    let mute = format!("pushrules/global/override/{}", encode(room_id));
    ben.delete(&mute).await.expect_ok();
    let name = json!({
        "conditions": [{ "kind": "contains_display_name" }],
        "actions": ["notify"],
    });
    pair.rule("override", "name", name).await;
    say("hello BEN").await;
    assert_eq!(pair.counts().await, (2, 1));
    // Another process says the same.
    let sibling = pair.server.sibling().await;
    let (counts, _) = of_room(&ben.at(&sibling.url), room_id, false).await;
    assert_eq!(counts, (2, 1));
}

#[tokio::test]
async fn who_is_ignored_does_not_count() {
    let pair = Pair::new().await;
    pair.anna.send(&pair.room_id, "one").await;
    let ignored = json!({ "ignored_users": { pair.anna.user_id.as_str(): {} } });
    let data = format!(
        "user/{}/account_data/m.ignored_user_list",
        encode(&pair.ben.user_id)
    );
    pair.ben.put(&data, &ignored).await.expect_ok();
    pair.anna.send(&pair.room_id, "two").await;
    assert_eq!(pair.counts().await, (0, 0));
}

#[tokio::test]
async fn threads_are_counted_and_read_apart() {
    let pair = Pair::new().await;
    let (anna, room_id) = (&pair.anna, &*pair.room_id);
    let a = anna.send(room_id, "root").await;
    let b = pair.in_thread(&a, "one").await;
    let mut in_thread = mention(&pair.ben, "two");
    in_thread["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": a });
    anna.send_event(room_id, "m.room.message", &in_thread).await;
    let d = anna
        .send_event(room_id, "m.room.message", &mention(&pair.ben, "main"))
        .await;
    let last = pair.in_thread(&a, "three").await;
    let reference = json!({
        "msgtype": "m.text", "body": "reference",
        "m.relates_to": { "rel_type": "m.reference", "event_id": a },
    });
    anna.send_event(room_id, "m.room.message", &reference).await;
    let to_thread = json!({
        "m.relates_to": { "rel_type": "m.annotation", "event_id": last, "key": "👍" },
    });
    let reaction = anna.send_event(room_id, "m.reaction", &to_thread).await;
    assert_eq!(pair.counts().await, (6, 2));
    let thread = |count| vec![(a.clone(), count)];
    assert_eq!(pair.by_thread().await, ((3, 1), thread((3, 1))));
    pair.read(&a, Some("main")).await;
    assert_eq!(pair.by_thread().await, ((2, 1), thread((3, 1))));
    pair.read(&b, Some(&a)).await;
    assert_eq!(pair.by_thread().await, ((2, 1), thread((2, 1))));
    assert_eq!(pair.counts().await, (4, 2));
    pair.read(&d, None).await;
    assert_eq!(pair.by_thread().await, ((1, 0), thread((1, 0))));
    let sibling = pair.server.sibling().await;
    let there = of_room(&pair.ben.at(&sibling.url), room_id, true).await;
    assert_eq!(there, ((1, 0), thread((1, 0))));
    pair.read(&reaction, Some(&a)).await;
    assert_eq!(pair.by_thread().await, ((1, 0), vec![]));
    assert_eq!(pair.counts().await, (1, 0));
    // Who answers in a thread has read it.
    pair.in_thread(&a, "four").await;
    assert_eq!(pair.by_thread().await, ((1, 0), thread((1, 0))));
    let own = json!({
        "msgtype": "m.text", "body": "five",
        "m.relates_to": { "rel_type": "m.thread", "event_id": a },
    });
    pair.ben.send_event(room_id, "m.room.message", &own).await;
    assert_eq!(pair.by_thread().await, ((1, 0), vec![]));
    // Also with what notifies nobody.
    pair.in_thread(&a, "six").await;
    assert_eq!(pair.by_thread().await, ((1, 0), thread((1, 0))));
    let mut notice = own;
    notice["msgtype"] = json!("m.notice");
    pair.ben
        .send_event(room_id, "m.room.message", &notice)
        .await;
    assert_eq!(pair.by_thread().await, ((1, 0), vec![]));
}

#[tokio::test]
async fn an_incremental_sync_tells_of_counts_with_what_changes_them() {
    let pair = Pair::new().await;
    let since = pair.ben.sync(None, Duration::ZERO).await;
    let since = since["next_batch"].as_str().unwrap();
    let event_id = pair.anna.send(&pair.room_id, "one").await;
    let news = pair.ben.sync(Some(since), Duration::ZERO).await;
    let room = &news["rooms"]["join"][&pair.room_id];
    assert_eq!(count(&room["unread_notifications"]), (1, 0));
    let since = news["next_batch"].as_str().unwrap();
    pair.read(&event_id, Some("main")).await;
    let news = pair.ben.sync(Some(since), Duration::ZERO).await;
    let room = &news["rooms"]["join"][&pair.room_id];
    assert_eq!(count(&room["unread_notifications"]), (0, 0));
}
