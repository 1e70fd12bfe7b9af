//! What administrators ask about an account that somebody else has used (tchap.md, R-03, R-17).

use serde_json::{Value, json};

use crate::harness::{
    client::{Client, encode},
    server::TestServer,
};

async fn server() -> (TestServer, Client) {
    let server = TestServer::new().await;
    let admin = server.register_admin("root").await;
    (server, admin)
}

fn path(user_id: &str, what: &str) -> String {
    format!("/_chappe/admin/v1/users/{}/{what}", encode(user_id))
}

#[tokio::test]
async fn r_03_administrators_see_what_an_account_could_read_and_nobody_else() {
    let (server, admin) = server().await;
    let bob = server.register("bob").await;
    let carla = server.register("carla").await;
    let encryption = json!({
        "type": "m.room.encryption",
        "content": { "algorithm": "m.megolm.v1.aes-sha2" },
    });
    let forum = carla
        .create_room(&json!({ "preset": "public_chat", "visibility": "public" }))
        .await;
    let secret = carla
        .create_room(&json!({ "invite": [bob.user_id], "initial_state": [encryption] }))
        .await;
    let invited = carla.create_room(&json!({ "invite": [bob.user_id] })).await;
    let other = carla.create_room(&json!({})).await;
    for room in [&forum, &secret] {
        bob.join(room).await.expect_ok();
    }
    // Another name is not another arrival.
    let name = format!("profile/{}/displayname", encode(&bob.user_id));
    bob.put(&name, &json!({ "displayname": "Bob" }))
        .await
        .expect_ok();
    carla.send(&forum, "for all who are here").await;
    let leave = format!("rooms/{}/leave", encode(&forum));
    bob.post(&leave, &json!({})).await.expect_ok();
    carla.send(&forum, "for those who stay").await;

    let told = admin.get(&path(&bob.user_id, "exposure")).await;
    assert!(!told.text.contains("for all who are here"), "{}", told.text);
    let told = told.expect_ok();
    assert_eq!(told["user_id"], json!(bob.user_id));
    assert!(told.get("next_token").is_none());
    let rooms = told["rooms"].as_array().unwrap();
    let of = |room_id: &str| rooms.iter().find(|room| room["room_id"] == room_id);
    assert_eq!(rooms.len(), 3, "{rooms:?}");
    assert!(of(&other).is_none());
    let steps = |room: &Value| -> Vec<String> {
        let steps = room["memberships"].as_array().unwrap().iter();
        assert!(steps.clone().all(|step| step["ts"].as_i64().unwrap() > 0));
        steps
            .map(|step| step["membership"].as_str().unwrap().to_owned())
            .collect()
    };
    let forum = of(&forum).unwrap();
    assert_eq!(forum["published"], true);
    assert_eq!(forum["encrypted"], false);
    assert_eq!(steps(forum), ["join", "leave"]);
    // The join, the other name and the text.
    assert_eq!(forum["events_while_joined"], 3);
    let all = forum["events"].as_i64().unwrap();
    assert!(all > 4, "{forum}");
    let secret = of(&secret).unwrap();
    assert_eq!(secret["published"], false);
    assert_eq!(secret["encrypted"], true);
    assert_eq!(steps(secret), ["invite", "join"]);
    assert_eq!(secret["events_while_joined"], 2);
    let invited = of(&invited).unwrap();
    assert_eq!(steps(invited), ["invite"]);
    assert_eq!(invited["events_while_joined"], 0);

    // In pages, each room once.
    let mut found = 0;
    let mut from = String::new();
    loop {
        let page = path(&bob.user_id, &format!("exposure?limit=2{from}"));
        let page = admin.get(&page).await.expect_ok();
        found += page["rooms"].as_array().unwrap().len();
        let Some(next) = page["next_token"].as_i64() else {
            break;
        };
        from = format!("&from={next}");
    }
    assert_eq!(found, 3);

    let own = path(&bob.user_id, "exposure");
    bob.get(&own).await.expect_error(403, "M_FORBIDDEN");
    let stranger = server.client().get(&own).await;
    stranger.expect_error(401, "M_MISSING_TOKEN");
    let nobody = admin.get(&path("@nobody:example.org", "exposure")).await;
    nobody.expect_error(404, "M_NOT_FOUND");
    for wrong in ["limit=a", "from=-1"] {
        let wrong = path(&bob.user_id, &format!("exposure?{wrong}"));
        admin.get(&wrong).await.expect_error(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn r_17_an_administrator_takes_power_away_in_all_rooms_that_others_lead() {
    let (server, admin) = server().await;
    let bob = server.register("bob").await;
    let carla = server.register("carla").await;
    let room = |level: i64| {
        json!({
            "preset": "public_chat",
            // Creators have a level that can be taken away.
            "room_version": "11",
            "power_level_content_override": { "users": {
                carla.user_id.clone(): 100,
                bob.user_id.clone(): level,
            } },
        })
    };
    let mut shared = Vec::new();
    for _ in 0..3 {
        let room_id = carla.create_room(&room(100)).await;
        bob.join(&room_id).await.expect_ok();
        shared.push(room_id);
    }
    let own = bob.create_room(&json!({ "room_version": "11" })).await;
    let demote = path(&bob.user_id, "demote");
    bob.post(&demote, &json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    let done = admin.post(&demote, &json!({})).await.expect_ok();
    assert_eq!(done, json!({ "failed": 0 }));
    for room_id in &shared {
        let levels = format!("rooms/{}/state/m.room.power_levels/", encode(room_id));
        let levels: Value = carla.get(&levels).await.expect_ok();
        assert_eq!(levels["users"], json!({ carla.user_id.clone(): 100 }));
        // They stay in the room.
        bob.send(room_id, "still here").await;
    }
    let levels = format!("rooms/{}/state/m.room.power_levels/", encode(&own));
    let levels: Value = bob.get(&levels).await.expect_ok();
    assert_eq!(
        levels["users"][&bob.user_id], 100,
        "nobody else could lead it"
    );
    let nobody = path("@nobody:example.org", "demote");
    let nobody = admin.post(&nobody, &json!({})).await;
    nobody.expect_error(404, "M_NOT_FOUND");
}
