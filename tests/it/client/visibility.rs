//! What a reader sees of a room's history, by visibility and membership, on every path.

use serde_json::json;

use super::paging::{all, ids, moderate, path, room};
use crate::harness::{
    client::{Client, encode},
    server::TestServer,
};

/// A reader's way through a room: what was sent while the reader was what.
struct Story {
    anna: Client,
    ben: Client,
    room_id: String,
    sent: Vec<(&'static str, String)>,
}

impl Story {
    async fn begin(server: &TestServer, visibility: &str) -> Self {
        let anna = server
            .register(&format!("anna-{}", visibility.replace('_', "-")))
            .await;
        let ben = server
            .register(&format!("ben-{}", visibility.replace('_', "-")))
            .await;
        let room_id = room(&anna, visibility).await;
        Self {
            anna,
            ben,
            room_id,
            sent: Vec::new(),
        }
    }

    async fn say(&mut self, when: &'static str) {
        let event_id = self.anna.send(&self.room_id, when).await;
        let topic = json!({ "topic": when });
        let sent = self
            .anna
            .send_state(&self.room_id, "m.room.topic", "", &topic)
            .await;
        sent.expect_ok();
        self.sent.push((when, event_id));
    }

    async fn invite(&self) {
        self.anna
            .invite(&self.room_id, &self.ben.user_id)
            .await
            .expect_ok();
    }

    async fn moderate(&self, what: &str) {
        moderate(&self.anna, &self.room_id, what, &self.ben.user_id).await;
    }

    /// Checks that the reader sees just what was sent then, and the topic of that moment.
    async fn check(&self, visibility: &str, seen: &[&str], topic: Option<&str>) {
        let stage = self.sent.last().unwrap().0;
        let case = format!("{visibility}, after {stage}");
        for (when, event_id) in &self.sent {
            let expected = if seen.contains(when) { 200 } else { 404 };
            for what in ["event", "context"] {
                let rest = format!("{what}/{}?limit=100", encode(event_id));
                let answer = self.ben.get(&path(&self.room_id, &rest)).await;
                assert_eq!(answer.status, expected, "{case}: {what} of {when}");
                self.shows_no_others(&answer.text, seen, &case);
            }
        }
        for dir in ["b", "f"] {
            let first = path(&self.room_id, &format!("messages?dir={dir}"));
            let first = self.ben.get(&first).await;
            if seen.is_empty() {
                assert_eq!(first.status, 403, "{case}: messages");
                continue;
            }
            let events = all(&self.ben, &self.room_id, dir, "&limit=2").await.into();
            let found = ids(&events);
            for (when, event_id) in &self.sent {
                let expected = seen.contains(when);
                assert_eq!(
                    found.contains(event_id),
                    expected,
                    "{case}: {when}, dir={dir}"
                );
            }
            self.shows_no_others(&events.to_string(), seen, &case);
        }
        let expected = if topic.is_some() { 200 } else { 403 };
        for part in ["state", "members", "state/m.room.create/"] {
            let answer = self.ben.get(&path(&self.room_id, part)).await;
            assert_eq!(answer.status, expected, "{case}: {part}");
        }
        if let Some(topic) = topic {
            let found = self
                .ben
                .get(&path(&self.room_id, "state/m.room.topic/"))
                .await;
            assert_eq!(found.expect_ok()["topic"], topic, "{case}");
            let state = self.ben.get(&path(&self.room_id, "state")).await.text;
            assert!(state.contains(&format!("\"topic\":\"{topic}\"")), "{case}");
        }
    }

    /// No message of another moment is in this text.
    fn shows_no_others(&self, text: &str, seen: &[&str], case: &str) {
        for (when, event_id) in &self.sent {
            if !seen.contains(when) {
                let shown = text.contains(&format!("\"event_id\":\"{event_id}\""));
                assert!(!shown, "{case}: {when} is shown");
            }
        }
    }
}

/// What is seen of the moments, and the topic.
type Expected = (&'static [&'static str], Option<&'static str>);

/// What is seen at the stages: before the invite, invited, joined, left, banned, invited again,
/// and joined again.
fn expected(visibility: &str) -> [Expected; 7] {
    match visibility {
        "world_readable" => [
            (&["before"], Some("before")),
            (&["before", "invited"], Some("invited")),
            (&["before", "invited", "joined"], Some("joined")),
            // Who left is shown the state of that moment, though everybody may see what follows.
            (&["before", "invited", "joined", "left"], Some("joined")),
            (
                &["before", "invited", "joined", "left", "banned"],
                Some("joined"),
            ),
            (
                &["before", "invited", "joined", "left", "banned", "again"],
                Some("joined"),
            ),
            (
                &[
                    "before", "invited", "joined", "left", "banned", "again", "back",
                ],
                Some("back"),
            ),
        ],
        "shared" => [
            (&[], None),
            (&[], None),
            (&["before", "invited", "joined"], Some("joined")),
            (&["before", "invited", "joined"], Some("joined")),
            (&["before", "invited", "joined"], Some("joined")),
            (&["before", "invited", "joined"], Some("joined")),
            (
                &[
                    "before", "invited", "joined", "left", "banned", "again", "back",
                ],
                Some("back"),
            ),
        ],
        "invited" => [
            (&[], None),
            (&["invited"], None),
            (&["invited", "joined"], Some("joined")),
            (&["invited", "joined"], Some("joined")),
            (&["invited", "joined"], Some("joined")),
            (&["invited", "joined", "again"], Some("joined")),
            (&["invited", "joined", "again", "back"], Some("back")),
        ],
        _ => [
            (&[], None),
            (&[], None),
            (&["joined"], Some("joined")),
            (&["joined"], Some("joined")),
            (&["joined"], Some("joined")),
            (&["joined"], Some("joined")),
            (&["joined", "back"], Some("back")),
        ],
    }
}

async fn tell(visibility: &str) {
    let server = TestServer::new().await;
    let mut story = Story::begin(&server, visibility).await;
    let [before, invited, joined, left, banned, again, back] = expected(visibility);
    story.say("before").await;
    story.check(visibility, before.0, before.1).await;
    story.invite().await;
    story.say("invited").await;
    story.check(visibility, invited.0, invited.1).await;
    story.ben.join(&story.room_id).await.expect_ok();
    story.say("joined").await;
    story.check(visibility, joined.0, joined.1).await;
    story.ben.leave(&story.room_id).await.expect_ok();
    story.say("left").await;
    story.check(visibility, left.0, left.1).await;
    story.moderate("ban").await;
    story.say("banned").await;
    story.check(visibility, banned.0, banned.1).await;
    story.moderate("unban").await;
    story.invite().await;
    story.say("again").await;
    story.check(visibility, again.0, again.1).await;
    story.ben.join(&story.room_id).await.expect_ok();
    story.say("back").await;
    story.check(visibility, back.0, back.1).await;
}

#[tokio::test]
async fn everybody_reads_a_world_readable_room() {
    tell("world_readable").await;
}

#[tokio::test]
async fn members_read_all_of_a_shared_history() {
    tell("shared").await;
}

#[tokio::test]
async fn invited_members_read_from_their_invite_on() {
    tell("invited").await;
}

#[tokio::test]
async fn members_read_what_was_said_while_they_were_there() {
    tell("joined").await;
}

#[tokio::test]
async fn events_say_what_the_reader_was() {
    let server = TestServer::new().await;
    let mut story = Story::begin(&server, "shared").await;
    story.say("before").await;
    story.invite().await;
    story.say("invited").await;
    story.ben.join(&story.room_id).await.expect_ok();
    story.say("joined").await;
    for (membership, (_, event_id)) in ["leave", "invite", "join"].iter().zip(&story.sent) {
        let event = path(&story.room_id, &format!("event/{}", encode(event_id)));
        let event = story.ben.get(&event).await.expect_ok();
        assert_eq!(event["unsigned"]["membership"], *membership);
    }
}

#[tokio::test]
async fn a_forgotten_room_is_closed() {
    let server = TestServer::new().await;
    let mut story = Story::begin(&server, "shared").await;
    story.invite().await;
    story.ben.join(&story.room_id).await.expect_ok();
    story.say("joined").await;
    story.ben.leave(&story.room_id).await.expect_ok();
    story.check("shared", &["joined"], Some("joined")).await;
    let forget = path(&story.room_id, "forget");
    story.ben.post(&forget, &json!({})).await.expect_ok();
    story.check("shared", &[], None).await;
}

#[tokio::test]
async fn who_refused_an_invitation_sees_nothing_of_the_room_in_a_first_sync() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let room = json!({ "preset": "private_chat", "name": "A secret" });
    let room_id = anna.create_room(&room).await;
    anna.send(&room_id, "a secret").await;
    anna.invite(&room_id, &ben.user_id).await.expect_ok();
    ben.leave(&room_id).await.expect_ok();
    for limit in [0, 10] {
        let filter = json!({ "room": { "include_leave": true, "timeline": { "limit": limit } } });
        let path = format!("sync?filter={}", encode(&filter.to_string()));
        let answer = ben.get(&path).await.expect_ok();
        assert!(!answer.to_string().contains("secret"), "{answer:#}");
        let left = &answer["rooms"]["leave"][&room_id];
        assert_ne!(left["timeline"]["limited"], true, "{answer:#}");
    }
}
