//! Device lists (specification v1.19, "Tracking the device list for a user").

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    client::{Client, encode},
    keys::{Device, query},
    server::{PASSWORD, TestOptions, TestServer},
};

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(30);

/// A user with a place in the stream.
struct Follower<'a> {
    client: &'a Client,
    since: String,
}

impl<'a> Follower<'a> {
    async fn new(client: &'a Client) -> Self {
        let sync = client.sync(None, NOW).await;
        assert!(sync.get("device_lists").is_none());
        let since = sync["next_batch"].as_str().unwrap().to_owned();
        Self { client, since }
    }

    /// Who changed and who left since the last call. `/keys/changes` must say the same.
    async fn news(&mut self) -> (Vec<String>, Vec<String>) {
        let sync = self.client.sync(Some(&self.since), NOW).await;
        self.take(&sync).await
    }

    async fn take(&mut self, sync: &Value) -> (Vec<String>, Vec<String>) {
        let next = sync["next_batch"].as_str().unwrap().to_owned();
        let path = format!(
            "keys/changes?from={}&to={}",
            encode(&self.since),
            encode(&next)
        );
        let changes = self.client.get(&path).await.expect_ok();
        let names = |lists: &Value, key: &str| -> Vec<String> {
            let users = lists[key].as_array().into_iter().flatten();
            users
                .map(|user| user.as_str().unwrap().to_owned())
                .collect()
        };
        let said = (
            names(&sync["device_lists"], "changed"),
            names(&sync["device_lists"], "left"),
        );
        assert_eq!(said, (names(&changes, "changed"), names(&changes, "left")));
        self.since = next;
        said
    }
}

async fn public_room(client: &Client) -> String {
    client
        .create_room(&json!({ "preset": "public_chat" }))
        .await
}

/// The ids of users, in order.
pub(super) fn users(users: &[&Client]) -> Vec<String> {
    let mut ids: Vec<_> = users.iter().map(|user| user.user_id.clone()).collect();
    ids.sort_unstable();
    ids
}

/// A server that remembers nothing of the stream, and one that remembers a lot.
pub(super) async fn servers() -> [TestServer; 2] {
    let forgetful = TestServer::start(TestOptions::forgetful()).await;
    [forgetful, TestServer::new().await]
}

#[tokio::test]
async fn those_who_share_a_room_hear_of_new_keys_on_every_process() {
    let server = TestServer::new().await;
    let sibling = server.sibling().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let carol = server.register("carol").await;
    let room = public_room(&alice).await;
    bob.join(&room).await.expect_ok();
    public_room(&carol).await;
    let there = bob.at(&sibling.url);
    let (mut here, mut far) = (Follower::new(&alice).await, Follower::new(&there).await);
    let mut stranger = Follower::new(&carol).await;
    let since = far.since.clone();
    let waiting = there.sync(Some(&since), LONG);
    let device = Device::of(&alice);
    let (sync, ()) = tokio::join!(waiting, device.upload(&alice));
    assert_eq!(far.take(&sync).await, (users(&[&alice]), vec![]));
    // The own other devices hear of it as well.
    assert_eq!(here.news().await, (users(&[&alice]), vec![]));
    assert_eq!(stranger.news().await, (vec![], vec![]));
    // The same keys again are no news.
    let device = Device::of(&bob);
    device.upload(&bob).await;
    assert_eq!(here.news().await, (users(&[&bob]), vec![]));
    device.upload(&bob).await;
    assert_eq!(here.news().await, (vec![], vec![]));
}

#[tokio::test]
async fn devices_that_are_renamed_or_gone_are_told_if_they_had_keys() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let room = public_room(&alice).await;
    bob.join(&room).await.expect_ok();
    let login = async || {
        let mut client = server.client();
        client.login("bob", PASSWORD).await.expect_ok();
        client
    };
    let (plain, keyed, other) = (login().await, login().await, login().await);
    Device::of(&keyed).upload(&keyed).await;
    Device::of(&other).upload(&other).await;
    let mut follower = Follower::new(&alice).await;
    let nothing = (vec![], vec![]);
    let bobs = (users(&[&bob]), vec![]);
    let rename = async |client: &Client| {
        let path = format!("devices/{}", client.device_id);
        let name = json!({ "display_name": "Phone" });
        client.put(&path, &name).await.expect_ok();
    };
    rename(&plain).await;
    assert_eq!(follower.news().await, nothing);
    rename(&keyed).await;
    assert_eq!(follower.news().await, bobs);
    plain.post("logout", &json!({})).await.expect_ok();
    assert_eq!(follower.news().await, nothing);
    keyed.post("logout", &json!({})).await.expect_ok();
    assert_eq!(follower.news().await, bobs);
    let body = json!({
        "auth": {
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": "bob" },
            "password": PASSWORD,
        },
    });
    bob.post("account/deactivate", &body).await.expect_ok();
    let (changed, left) = follower.news().await;
    // The account may have left the room already.
    assert!(changed == users(&[&bob]) || left == users(&[&bob]));
    let found = query(&alice, &bob.user_id).await;
    let devices = &found["device_keys"][&bob.user_id];
    assert!(devices.as_object().is_none_or(serde_json::Map::is_empty));
}

#[tokio::test]
async fn who_comes_to_share_a_room_is_changed_and_who_shares_none_any_more_has_left() {
    for server in servers().await {
        let alice = server.register("alice").await;
        let bob = server.register("bob").await;
        let carol = server.register("carol").await;
        let nothing = (vec![], vec![]);
        let room = public_room(&alice).await;
        let mut follower = Follower::new(&alice).await;
        // Somebody joins.
        bob.join(&room).await.expect_ok();
        assert_eq!(follower.news().await, (users(&[&bob]), vec![]));
        // A second room is no news, in either direction.
        let second = public_room(&bob).await;
        alice.join(&second).await.expect_ok();
        assert_eq!(follower.news().await, nothing);
        bob.leave(&room).await.expect_ok();
        assert_eq!(follower.news().await, nothing);
        // Names change nothing.
        let name = json!({ "displayname": "Bob" });
        let path = format!("profile/{}/displayname", bob.user_id);
        bob.put(&path, &name).await.expect_ok();
        assert_eq!(follower.news().await, nothing);
        // The last room is left, by either.
        bob.leave(&second).await.expect_ok();
        assert_eq!(follower.news().await, (vec![], users(&[&bob])));
        // Whose keys change after that is not told, and comes again with the next room.
        Device::of(&bob).upload(&bob).await;
        assert_eq!(follower.news().await, nothing);
        bob.join(&second).await.expect_ok();
        carol.join(&second).await.expect_ok();
        assert_eq!(follower.news().await, (users(&[&bob, &carol]), vec![]));
        alice.leave(&second).await.expect_ok();
        assert_eq!(follower.news().await, (vec![], users(&[&bob, &carol])));
        alice.join(&second).await.expect_ok();
        assert_eq!(follower.news().await, (users(&[&bob, &carol]), vec![]));
    }
}

#[tokio::test]
async fn what_happened_between_two_syncs_is_told_by_its_outcome() {
    for server in servers().await {
        let alice = server.register("alice").await;
        let bob = server.register("bob").await;
        let carol = server.register("carol").await;
        let dora = server.register("dora").await;
        let room = public_room(&alice).await;
        for other in [&bob, &carol] {
            other.join(&room).await.expect_ok();
        }
        let mut follower = Follower::new(&alice).await;
        // Left and came back: the keys may be others now.
        bob.leave(&room).await.expect_ok();
        bob.join(&room).await.expect_ok();
        assert_eq!(follower.news().await, (users(&[&bob]), vec![]));
        // Came and left again.
        dora.join(&room).await.expect_ok();
        dora.leave(&room).await.expect_ok();
        assert_eq!(follower.news().await, (vec![], vec![]));
        // Left before and after the reader did; and somebody whom the reader never met.
        carol.leave(&room).await.expect_ok();
        alice.leave(&room).await.expect_ok();
        dora.join(&room).await.expect_ok();
        bob.leave(&room).await.expect_ok();
        let (changed, left) = follower.news().await;
        assert_eq!(changed, Vec::<String>::new());
        assert_eq!(left, users(&[&bob, &carol]));
        // Joined and left in between.
        alice.join(&room).await.expect_ok();
        alice.leave(&room).await.expect_ok();
        assert_eq!(follower.news().await, (vec![], vec![]));
    }
}

#[tokio::test]
async fn a_change_is_one_row_for_all_rooms() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    for _ in 0..5 {
        public_room(&alice).await;
    }
    let before = server.app.store().live().position();
    Device::of(&alice).upload(&alice).await;
    assert_eq!(server.app.store().live().position().0, before.0 + 1);
}

#[tokio::test]
async fn tokens_of_changes_must_be_tokens() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let wrong = alice.get("keys/changes?from=x&to=s1_0").await;
    wrong.expect_error(400, "M_INVALID_PARAM");
    let missing = alice.get("keys/changes?from=s1_0").await;
    missing.expect_error(400, "M_MISSING_PARAM");
    let nobody = server.client().get("keys/changes?from=s0_0&to=s1_0").await;
    nobody.expect_error(401, "M_MISSING_TOKEN");
}
