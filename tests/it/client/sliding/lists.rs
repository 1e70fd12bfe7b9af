//! Lists of rooms: windows, order and filters.

use serde_json::{Value, json};

use super::{Connection, public_room, rooms, window};
use crate::harness::{client::Client, server::TestServer};

async fn one_list(client: &Client, filters: &Value) -> (Vec<String>, i64) {
    let mut body = window(0, 99, 1);
    body["lists"]["all"]["filters"] = filters.clone();
    let answer = Connection::new(client).sync(&body).await;
    let count = answer["lists"]["all"]["count"].as_i64().unwrap();
    (rooms(&answer), count)
}

#[tokio::test]
async fn windows_show_the_rooms_with_the_newest_events() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let mut all = Vec::new();
    for number in 0..5 {
        all.push(public_room(&anna, &number.to_string()).await);
    }
    let mut sync = Connection::new(&anna);
    let answer = sync.sync(&window(0, 1, 1)).await;
    assert_eq!(answer["lists"]["all"]["count"], 5);
    let mut newest = vec![all[4].clone(), all[3].clone()];
    newest.sort();
    assert_eq!(rooms(&answer), newest);
    // A wider window tells the rest, and only that.
    let answer = sync.sync(&window(0, 3, 1)).await;
    let mut rest = vec![all[1].clone(), all[2].clone()];
    rest.sort();
    assert_eq!(rooms(&answer), rest);
    // Whatever happens in a room brings it up; out of sight it is not told.
    let topic = json!({ "topic": "quiet" });
    anna.send_state(&all[0], "m.room.topic", "", &topic)
        .await
        .expect_ok();
    let answer = sync.sync(&window(0, 0, 1)).await;
    assert_eq!(rooms(&answer), [all[0].clone()]);
    assert_eq!(answer["rooms"][&all[0]]["initial"], true);
    assert_eq!(answer["rooms"][&all[0]]["num_live"], 1);
    let missed = anna.send(&all[4], "unseen").await;
    anna.send(&all[3], "seen").await;
    let answer = sync.sync(&window(0, 0, 1)).await;
    assert_eq!(rooms(&answer), [all[3].clone()]);
    anna.send(&all[3], "seen").await;
    sync.sync(&window(0, 0, 1)).await;
    // It is told once it is looked at, and nothing of it twice.
    let answer = sync.sync(&window(0, 4, 5)).await;
    let room = &answer["rooms"][&all[4]];
    assert!(room["initial"].is_null(), "{room}");
    assert!(room.to_string().contains(&missed), "{room}");
    // Several ranges.
    let mut body = window(0, 0, 1);
    body["lists"]["all"]["ranges"] = json!([[0, 0], [4, 4]]);
    let answer = Connection::new(&anna).sync(&body).await;
    assert_eq!(rooms(&answer).len(), 2);
}

#[tokio::test]
async fn filters_choose_rooms() {
    let server = TestServer::new().await;
    let (anna, ben) = (server.register("anna").await, server.register("ben").await);
    let plain = public_room(&anna, "Plain").await;
    let encrypted = anna
        .create_room(&json!({ "initial_state": [{
            "type": "m.room.encryption", "state_key": "",
            "content": { "algorithm": "m.megolm.v1.aes-sha2" },
        }] }))
        .await;
    let space = anna
        .create_room(&json!({ "creation_content": { "type": "m.space" } }))
        .await;
    let via = json!({ "via": ["example.org"] });
    anna.send_state(&space, "m.space.child", &plain, &via)
        .await
        .expect_ok();
    anna.send_state(&space, "m.space.child", &encrypted, &json!({}))
        .await
        .expect_ok();
    let invite = json!({ "invite": [anna.user_id] });
    let invited = ben.create_room(&invite).await;
    let user = &anna.user_id;
    let direct = json!({ &ben.user_id: [encrypted] });
    anna.put(&format!("user/{user}/account_data/m.direct"), &direct)
        .await
        .expect_ok();
    anna.put(
        &format!("user/{user}/rooms/{plain}/tags/m.favourite"),
        &json!({}),
    )
    .await
    .expect_ok();
    let sorted = |rooms: &[&String]| {
        let mut rooms: Vec<String> = rooms.iter().map(|room| (*room).clone()).collect();
        rooms.sort();
        rooms
    };
    let cases = [
        (json!({}), sorted(&[&plain, &encrypted, &space, &invited])),
        (json!({ "is_dm": true }), sorted(&[&encrypted])),
        (
            json!({ "is_dm": false }),
            sorted(&[&plain, &space, &invited]),
        ),
        (json!({ "is_encrypted": true }), sorted(&[&encrypted])),
        (
            json!({ "is_encrypted": false }),
            sorted(&[&plain, &space, &invited]),
        ),
        (json!({ "is_invite": true }), sorted(&[&invited])),
        (
            json!({ "is_invite": false }),
            sorted(&[&plain, &encrypted, &space]),
        ),
        (json!({ "room_types": ["m.space"] }), sorted(&[&space])),
        (
            json!({ "room_types": [null] }),
            sorted(&[&plain, &encrypted, &invited]),
        ),
        (
            json!({ "not_room_types": ["m.space"] }),
            sorted(&[&plain, &encrypted, &invited]),
        ),
        (
            json!({ "room_types": ["m.space"], "not_room_types": ["m.space"] }),
            vec![],
        ),
        (json!({ "tags": ["m.favourite"] }), sorted(&[&plain])),
        (
            json!({ "not_tags": ["m.favourite"] }),
            sorted(&[&encrypted, &space, &invited]),
        ),
        (json!({ "spaces": [space] }), sorted(&[&plain])),
        (json!({ "spaces": ["!nowhere:example.org"] }), vec![]),
        (json!({ "is_dm": true, "is_encrypted": false }), vec![]),
    ];
    let fresh = server.sibling().await;
    for (filters, expected) in cases {
        let count = i64::try_from(expected.len()).unwrap();
        for client in [&anna, &anna.at(&fresh.url)] {
            let found = one_list(client, &filters).await;
            assert_eq!(found, (expected.clone(), count), "{filters}");
        }
    }
}

#[tokio::test]
async fn a_room_in_several_lists_gets_what_any_of_them_asks_for() {
    let server = TestServer::new().await;
    let anna = server.register("anna").await;
    let room_id = public_room(&anna, "A room").await;
    let body = json!({ "lists": {
        "names": { "ranges": [[0, 9]], "timeline_limit": 1, "required_state": [["m.room.name", ""]] },
        "more": { "ranges": [[0, 9]], "timeline_limit": 3, "required_state": [["m.room.create", ""]] },
        "none": { "ranges": [[5, 9]], "timeline_limit": 9, "required_state": [["*", "*"]] },
    } });
    let answer = Connection::new(&anna).sync(&body).await;
    let room = &answer["rooms"][&room_id];
    assert_eq!(room["lists"], json!(["more", "names"]));
    assert_eq!(room["required_state"].as_array().unwrap().len(), 2);
    assert_eq!(room["timeline"].as_array().unwrap().len(), 3);
}
