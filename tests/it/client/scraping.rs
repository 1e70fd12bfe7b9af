//! Limits against programs that copy what is public (tchap.md, R-03), and what the audit log says
//! of them.

use serde_json::{Value, json};

use crate::harness::{
    client::{Answer, Client, encode},
    server::TestServer,
    tchap::{person, server},
};

/// A limit that lets `burst` through, and nothing more for hours.
fn limits(name: &str, burst: u32) -> String {
    format!("[limits]\nenabled = true\n{name} = {{ per_second = 0.0001, burst = {burst} }}\n")
}

#[track_caller]
fn expect_limited(answer: Answer) {
    let seconds = answer.headers.get("retry-after").cloned();
    let body = answer.expect_error(429, "M_LIMIT_EXCEEDED");
    assert!(body["retry_after_ms"].as_u64().unwrap() > 1000, "{body}");
    let seconds: u64 = seconds.unwrap().to_str().unwrap().parse().unwrap();
    assert!(seconds > 1);
}

async fn public_room(client: &Client) -> String {
    let body = json!({ "preset": "public_chat", "visibility": "public", "name": "Place" });
    client.create_room(&body).await
}

/// The entries of the audit log, once the server has ended.
async fn entries(server: TestServer) -> Vec<Value> {
    let file = server.folder().join("audit.log");
    // The folder lives as long as the sibling.
    let sibling = server.sibling().await;
    server.stop().await;
    let text = std::fs::read_to_string(file).unwrap();
    sibling.stop().await;
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn hits<'a>(entries: &'a [Value], user: &Client) -> Vec<&'a str> {
    entries
        .iter()
        .filter(|entry| entry["action"] == "limit.hit" && entry["actor"] == user.user_id)
        .map(|entry| entry["details"]["limit"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn r_03_public_rooms_are_joined_one_after_the_other_and_invitations_do_not_count() {
    let server = server(&limits("public_join", 2)).await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    let mut rooms = Vec::new();
    for _ in 0..4 {
        rooms.push(public_room(&alice).await);
    }
    jean.join(&rooms[0]).await.expect_ok();
    // Joined already: not a join.
    jean.join(&rooms[0]).await.expect_ok();
    jean.join(&rooms[1]).await.expect_ok();
    expect_limited(jean.join(&rooms[2]).await);
    let by_id = format!("rooms/{}/join", encode(&rooms[2]));
    expect_limited(jean.post(&by_id, &json!({})).await);
    alice.invite(&rooms[3], &jean.user_id).await.expect_ok();
    jean.join(&rooms[3]).await.expect_ok();
    // Others are not held up, and the log says it once.
    let paul = person(&server, "paul.durand@interieur.gouv.fr").await;
    paul.join(&rooms[2]).await.expect_ok();
    let entries = entries(server).await;
    assert_eq!(hits(&entries, &jean), ["public_join"]);
    assert!(hits(&entries, &paul).is_empty());
    let hit = entries.iter().find(|entry| entry["action"] == "limit.hit");
    let hit = hit.unwrap();
    assert_eq!(hit["outcome"], "denied");
    assert!(hit["request_id"].is_string());
    let object = hit["object"].as_str().unwrap();
    assert!(
        object.starts_with("POST /_matrix/client/v3/join/"),
        "{object}"
    );
}

#[tokio::test]
async fn r_03_directories_are_searched_a_while_and_not_read_through() {
    let server = server(&limits("directory_search_daily", 3)).await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let body = json!({ "search_term": "dupont" });
    alice.post("user_directory/search", &body).await.expect_ok();
    alice.post("publicRooms", &json!({})).await.expect_ok();
    alice.get("publicRooms").await.expect_ok();
    expect_limited(alice.post("user_directory/search", &body).await);
    expect_limited(alice.post("publicRooms", &json!({})).await);
    expect_limited(alice.get("publicRooms").await);
    let entries = entries(server).await;
    // The list of rooms that takes no token does not tell whose limit it was.
    assert_eq!(hits(&entries, &alice), ["directory_search_daily"]);
}

#[tokio::test]
async fn r_03_searches_for_addresses_have_a_limit_of_their_own() {
    let server = server(&limits("address_lookup", 2)).await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let search = async |term: &str| {
        let body = json!({ "search_term": term });
        alice.post("user_directory/search", &body).await
    };
    for _ in 0..3 {
        search("dupont").await.expect_ok();
        search("@dupont").await.expect_ok();
    }
    search("jean.dupont@interieur.gouv.fr").await.expect_ok();
    search("paul.dupont@interieur.gouv.fr").await.expect_ok();
    expect_limited(search("luc.dupont@interieur.gouv.fr").await);
    search("dupont").await.expect_ok();
}

#[tokio::test]
async fn r_03_the_history_of_public_rooms_is_read_page_by_page_and_not_whole() {
    let server = server(&limits("public_history", 25)).await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    let room = public_room(&alice).await;
    let event = alice.send(&room, "bonjour").await;
    jean.join(&room).await.expect_ok();
    let room = encode(&room);
    let page = format!("rooms/{room}/messages?dir=b&limit=10");
    let event = format!("rooms/{room}/event/{}", encode(&event));
    let context = event.replace("/event/", "/context/") + "?limit=4";
    jean.get(&page).await.expect_ok();
    jean.get(&page).await.expect_ok();
    jean.get(&context).await.expect_ok();
    jean.get(&event).await.expect_ok();
    expect_limited(jean.get(&event).await);
    expect_limited(jean.get(&context).await);
    expect_limited(jean.get(&page).await);
    // Who was asked into a room reads as much as they like.
    let private = alice
        .create_room(&json!({ "invite": [jean.user_id] }))
        .await;
    jean.join(&private).await.expect_ok();
    let page = format!("rooms/{}/messages?dir=b&limit=100", encode(&private));
    jean.get(&page).await.expect_ok();
    let entries = entries(server).await;
    assert_eq!(hits(&entries, &jean), ["public_history"]);
}

#[tokio::test]
async fn new_limits_apply_while_the_server_runs() {
    let server = server(&limits("directory_search_daily", 1)).await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let body = json!({ "search_term": "dupont" });
    alice.post("user_directory/search", &body).await.expect_ok();
    expect_limited(alice.post("user_directory/search", &body).await);
    let tchap = crate::harness::tchap::CONFIG;
    let wider = limits("directory_search_daily", 100);
    server.reload(&format!("{tchap}{wider}")).await;
    let again = async || {
        let answer = alice.post("user_directory/search", &body).await;
        answer.status == 200
    };
    crate::harness::process::until("more searches", String::new, again).await;
}

#[tokio::test]
async fn r_32_info_is_no_oracle_for_lists_of_addresses() {
    let server = server(&limits("address_lookup", 2)).await;
    let ask = async |address: &str| {
        let path = format!("/_matrix/identity/api/v1/info?medium=email&address={address}");
        server.client().get(&path).await
    };
    ask("a@culture.gouv.fr").await.expect_ok();
    ask("b@culture.gouv.fr").await.expect_ok();
    expect_limited(ask("c@culture.gouv.fr").await);
}
