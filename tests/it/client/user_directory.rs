//! Finding people (specification v1.19, client-server API, "User directory"; tchap.md 6.1, 6.2).

use chappe::{
    accounts::NewUser,
    store::{
        UserNid,
        user_directory::{self, Listing},
        users,
    },
};
use ruma::UserId;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::harness::{
    client::{Client, encode},
    server::{TestOptions, TestServer},
    tchap::{person, person_with, server},
};

/// A search, and its answer.
async fn search(client: &Client, term: &str) -> Value {
    let body = json!({ "search_term": term, "limit": 100 });
    client
        .post("user_directory/search", &body)
        .await
        .expect_ok()
}

/// The ids of the users who are found.
async fn found(client: &Client, term: &str) -> Vec<String> {
    let answer = search(client, term).await;
    let results = answer["results"].as_array().unwrap();
    let id = |user: &Value| user["user_id"].as_str().unwrap().to_owned();
    results.iter().map(id).collect()
}

async fn hide(client: &Client, content: Value) {
    set_account_data(client, "im.vector.hide_profile", content).await;
}

async fn set_account_data(client: &Client, kind: &str, content: Value) {
    let path = format!("user/{}/account_data/{kind}", encode(&client.user_id));
    client.put(&path, &content).await.expect_ok();
}

async fn number(server: &TestServer, client: &Client) -> UserNid {
    let mut conn = server.app.store().conn().await.unwrap();
    let user_id = <&UserId>::try_from(client.user_id.as_str()).unwrap();
    users::find(&mut conn, user_id).await.unwrap().unwrap()
}

async fn set_expired(server: &TestServer, client: &Client, expired: bool) {
    let user = number(server, client).await;
    let mut conn = server.app.store().conn().await.unwrap();
    user_directory::set_expired(&mut conn, &[user], expired)
        .await
        .unwrap();
}

async fn listing(server: &TestServer, client: &Client) -> Listing {
    let user = number(server, client).await;
    let mut conn = server.app.store().conn().await.unwrap();
    user_directory::find(&mut conn, user)
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn ud_01_agents_find_each_other_by_the_beginnings_of_words_in_any_order() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    let elea = person_with(
        &server,
        "elea@culture.gouv.fr",
        Some("Éléa d’Œuvre-Dupond"),
        false,
    )
    .await;
    for term in [
        "jean",
        "Jean Dupont",
        "dup jea",
        "DUPONT",
        "dupont [Intér",
        "jean.dupont@interieur.gouv.fr",
        "@jean.dupont-inter",
        &jean.user_id,
    ] {
        assert_eq!(found(&alice, term).await, [&*jean.user_id], "{term}");
    }
    for term in ["elea", "oeuvre él", "d'œuvre", "DUPOND"] {
        assert_eq!(found(&alice, term).await, [&*elea.user_id], "{term}");
    }
    // The exact word first.
    assert_eq!(
        found(&alice, "dupon").await,
        [&*elea.user_id, &*jean.user_id]
    );
    for term in ["ean", "dupont alice", "@jean:elsewhere.org", "zzz", "alice"] {
        assert!(found(&alice, term).await.is_empty(), "{term}");
    }
    let answer = search(&alice, "jean").await;
    assert_eq!(
        answer,
        json!({
            "results": [{
                "user_id": jean.user_id,
                "display_name": "Jean Dupont [Interieur]",
            }],
            "limited": false,
        })
    );
    // On every process.
    let sibling = server.sibling().await;
    let elsewhere = alice.at(&sibling.url);
    assert_eq!(found(&elsewhere, "jean").await, [&*jean.user_id]);
    sibling.stop().await;
}

#[tokio::test]
async fn a_new_name_is_found_and_the_old_one_is_not() {
    let server = server("[policy.display_names]\nallow_change = true").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    let path = format!("profile/{}/displayname", encode(&jean.user_id));
    let body = json!({ "displayname": "Camille Durand" });
    jean.put(&path, &body).await.expect_ok();
    assert_eq!(found(&alice, "cam dur").await, [&*jean.user_id]);
    assert!(found(&alice, "jean durand camille x").await.is_empty());
}

#[tokio::test]
async fn ud_02_rl_01_rl_02_the_red_list_hides_from_names_and_not_from_addresses() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    hide(&jean, json!({ "hide_profile": true })).await;
    for term in [
        "jean",
        "dupont",
        "@jean.dupont",
        &jean.user_id,
        "jean.dupont@interieur",
    ] {
        assert!(found(&alice, term).await.is_empty(), "{term}");
    }
    for term in [
        "jean.dupont@interieur.gouv.fr",
        " Jean.Dupont@Interieur.Gouv.FR ",
    ] {
        assert_eq!(found(&alice, term).await, [&*jean.user_id], "{term}");
    }
    let sibling = server.sibling().await;
    assert!(found(&alice.at(&sibling.url), "jean").await.is_empty());
    hide(&jean, json!({ "hide_profile": false })).await;
    assert_eq!(found(&alice, "jean").await, [&*jean.user_id]);
    assert_eq!(
        found(&alice.at(&sibling.url), "jean").await,
        [&*jean.user_id]
    );
    sibling.stop().await;
}

#[tokio::test]
async fn rl_03_other_account_data_hides_nobody() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    let content = json!({ "hide_profile": true });
    set_account_data(&jean, "im.vector.setting", content.clone()).await;
    let room = jean.create_room(&json!({})).await;
    let (user, room) = (encode(&jean.user_id), encode(&room));
    let path = format!("user/{user}/rooms/{room}/account_data/im.vector.hide_profile");
    jean.put(&path, &content).await.expect_ok();
    assert_eq!(found(&alice, "jean").await, [&*jean.user_id]);
}

#[tokio::test]
async fn rl_04_a_content_without_the_key_shows_again() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    hide(&jean, json!({ "hide_profile": true })).await;
    assert!(found(&alice, "jean").await.is_empty());
    hide(&jean, json!({})).await;
    assert_eq!(found(&alice, "jean").await, [&*jean.user_id]);
}

#[tokio::test]
async fn ud_03_rl_05_rl_06_the_expired_are_hidden_until_they_renew() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    set_expired(&server, &jean, true).await;
    assert!(found(&alice, "jean").await.is_empty());
    assert_eq!(
        found(&alice, "jean.dupont@interieur.gouv.fr").await,
        [&*jean.user_id]
    );
    let hidden = Listing {
        is_listed: false,
        hidden_by_choice: false,
        hidden_by_expiry: true,
    };
    assert_eq!(listing(&server, &jean).await, hidden);
    // The account data is not touched.
    let path = format!(
        "user/{}/account_data/im.vector.hide_profile",
        encode(&jean.user_id)
    );
    jean.get(&path).await.expect_error(404, "M_NOT_FOUND");
    set_expired(&server, &jean, false).await;
    assert_eq!(found(&alice, "jean").await, [&*jean.user_id]);
}

#[tokio::test]
async fn rl_07_who_hides_while_expired_stays_hidden_after_the_renewal() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    set_expired(&server, &jean, true).await;
    hide(&jean, json!({ "hide_profile": true })).await;
    set_expired(&server, &jean, false).await;
    assert!(found(&alice, "jean").await.is_empty());
    let hidden = Listing {
        is_listed: false,
        hidden_by_choice: true,
        hidden_by_expiry: false,
    };
    assert_eq!(listing(&server, &jean).await, hidden);
}

#[tokio::test]
async fn rl_09_who_asks_to_be_shown_while_expired_is_shown_after_the_renewal_only() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    hide(&jean, json!({ "hide_profile": true })).await;
    set_expired(&server, &jean, true).await;
    hide(&jean, json!({ "hide_profile": false })).await;
    assert!(found(&alice, "jean").await.is_empty());
    set_expired(&server, &jean, false).await;
    assert_eq!(found(&alice, "jean").await, [&*jean.user_id]);
}

#[tokio::test]
async fn rl_10_the_same_value_twice_changes_nothing() {
    let server = server("").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    let user = number(&server, &jean).await;
    let mut conn = server.app.store().conn().await.unwrap();
    for content in [json!({ "hide_profile": true }), json!({})] {
        hide(&jean, content.clone()).await;
        hide(&jean, content).await;
        let changed = user_directory::refresh(&mut conn, &[user]).await.unwrap();
        assert!(changed.is_empty());
    }
    for expired in [true, false] {
        let first = user_directory::set_expired(&mut conn, &[user], expired).await;
        assert_eq!(first.unwrap(), [user]);
        let second = user_directory::set_expired(&mut conn, &[user], expired).await;
        assert!(second.unwrap().is_empty());
    }
}

#[tokio::test]
async fn ud_04_a_closed_account_is_found_by_nobody() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    let user_id = <&UserId>::try_from(jean.user_id.as_str()).unwrap();
    let closed = server.app.accounts().deactivate_user(user_id, false).await;
    assert!(closed.unwrap().was_open);
    for term in ["jean", "jean.dupont@interieur.gouv.fr", &jean.user_id] {
        assert!(found(&alice, term).await.is_empty(), "{term}");
    }
}

#[tokio::test]
async fn ud_05_ud_06_ro_13_an_external_is_hidden_until_they_accept() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let paul = person(&server, "paul.externe@entreprise.example").await;
    for term in ["paul", "externe", &paul.user_id] {
        assert!(found(&alice, term).await.is_empty(), "{term}");
    }
    let address = "paul.externe@entreprise.example";
    assert_eq!(found(&alice, address).await, [&*paul.user_id]);
    // Nothing but a clear word shows an external.
    hide(&paul, json!({})).await;
    assert!(found(&alice, "paul").await.is_empty());
    hide(&paul, json!({ "hide_profile": false })).await;
    assert_eq!(found(&alice, "paul").await, [&*paul.user_id]);
    assert_eq!(found(&alice, address).await, [&*paul.user_id]);
    hide(&paul, json!({ "hide_profile": true })).await;
    assert!(found(&alice, "paul").await.is_empty());
}

#[tokio::test]
async fn ud_07_ro_10_an_external_finds_nobody() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let paul = person(&server, "paul.externe@entreprise.example").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    let empty = json!({ "results": [], "limited": false });
    for term in ["alice", "alice.martin@culture.gouv.fr", &alice.user_id] {
        assert_eq!(search(&paul, term).await, empty, "{term}");
        // There is somebody to be found.
        assert_eq!(found(&jean, term).await, [&*alice.user_id], "{term}");
    }
}

#[tokio::test]
async fn ud_08_a_hidden_person_is_seen_in_the_room_and_not_in_searches() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    hide(&jean, json!({ "hide_profile": true })).await;
    let room = alice
        .create_room(&json!({ "invite": [jean.user_id] }))
        .await;
    jean.join(&room).await.expect_ok();
    let path = format!("rooms/{}/joined_members", encode(&room));
    let members = alice.get(&path).await.expect_ok();
    assert_eq!(
        members["joined"][&jean.user_id]["display_name"],
        "Jean Dupont [Interieur]"
    );
    assert!(found(&alice, "jean").await.is_empty());
    assert_eq!(
        found(&alice, "jean.dupont@interieur.gouv.fr").await,
        [&*jean.user_id]
    );
}

#[tokio::test]
async fn ud_09_at_most_fifty_are_found_always_the_same() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    for n in 0..60 {
        let new = NewUser {
            localpart: Some(format!("jean{n:02}-x.gouv.fr")),
            display_name: Some(format!("Jean Jeanne {}", (n * 7) % 60)),
            ..NewUser::default()
        };
        server.app.accounts().create_user(new).await.unwrap();
    }
    let all = search(&alice, "jean").await;
    assert_eq!(all["results"].as_array().unwrap().len(), 50);
    assert_eq!(all["limited"], true);
    assert_eq!(search(&alice, "jean").await, all);
    let body = json!({ "search_term": "jean" });
    let ten = alice.post("user_directory/search", &body).await.expect_ok();
    assert_eq!(ten["results"].as_array().unwrap()[..], {
        all["results"].as_array().unwrap()[..10].to_vec()
    });
    assert_eq!(ten["limited"], true);
    // Nobody twice, although two words of each begin so.
    let ids: std::collections::BTreeSet<_> = found(&alice, "jea").await.into_iter().collect();
    assert_eq!(ids.len(), 50);
}

#[tokio::test]
async fn r_03_r_23_the_directory_is_not_read_letter_by_letter_and_no_term_breaks_it() {
    let server = server("[directory]\nmin_term_length = 3").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person_with(&server, "j@culture.gouv.fr", Some("Je Dupont 100"), false).await;
    for term in [
        "",
        " ",
        "j",
        "je",
        "j d",
        "%",
        "%%%",
        "___",
        "*",
        "j*",
        "\\",
        "'",
        "\"",
        "[[[",
        "@",
        "@:",
        "@:example.org",
        "😀😀😀",
        "je d 1",
        ".*.*.*",
        "dup%",
        "d_pont",
        "\u{10FFFF}",
    ] {
        let answer = search(&alice, term).await;
        let is_word = term == "dup%";
        assert_eq!(answer["results"] == json!([]), !is_word, "{term}");
    }
    assert_eq!(found(&alice, "dup je").await, [&*jean.user_id]);
    assert_eq!(found(&alice, "100%").await, [&*jean.user_id]);
    for term in ["du\0pont", &"x".repeat(256)] {
        let body = json!({ "search_term": term });
        let answer = alice.post("user_directory/search", &body).await;
        answer.expect_error(400, "M_INVALID_PARAM");
    }
    let body = json!({ "search_term": "x".repeat(255) });
    let answer = alice.post("user_directory/search", &body).await;
    answer.expect_ok();
    let answer = alice.post("user_directory/search", &json!({})).await;
    answer.expect_error(400, "M_BAD_JSON");
    let body = json!({ "search_term": "dupont" });
    let answer = server.client().post("user_directory/search", &body).await;
    answer.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn accounts_from_before_the_directory_are_brought_in_and_a_second_time_nothing_happens() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    let paul = person(&server, "paul.externe@entreprise.example").await;
    let hidden = person(&server, "zoe.dupont@interieur.gouv.fr").await;
    hide(&hidden, json!({ "hide_profile": true })).await;
    let mut conn = server.database().connect().await;
    conn.execute("DELETE FROM user_directory").await.unwrap();
    assert!(found(&alice, "jean").await.is_empty());
    // A process that starts does it.
    let sibling = server.sibling().await;
    let wanted = [&*jean.user_id];
    for _ in 0..200 {
        if found(&alice, "dupont").await == wanted {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(found(&alice, "dupont").await, wanted);
    assert!(found(&alice, &paul.user_id).await.is_empty());
    sibling.stop().await;
    let accounts = server.app.accounts();
    assert_eq!(accounts.fill_directory(UserNid(0)).await.unwrap(), None);
    // An older folding is made anew.
    conn.execute("UPDATE user_directory SET fold_version = 0")
        .await
        .unwrap();
    let last = accounts.fill_directory(UserNid(0)).await.unwrap();
    assert_eq!(accounts.fill_directory(last.unwrap()).await.unwrap(), None);
    assert_eq!(accounts.fill_directory(UserNid(0)).await.unwrap(), None);
}

#[tokio::test]
async fn with_the_profile_open_people_find_whom_they_share_a_room_with_and_public_rooms() {
    let server = TestServer::new().await;
    let alice = server.register("alice").await;
    let bob = server.register("bobby").await;
    let claire = server.register("bobette").await;
    let dora = server.register("bobine").await;
    assert!(found(&alice, "bob").await.is_empty());
    let room = bob.create_room(&json!({ "invite": [alice.user_id] })).await;
    alice.join(&room).await.expect_ok();
    let body = json!({ "preset": "public_chat" });
    let public = claire.create_room(&body).await;
    assert_eq!(
        found(&alice, "bob").await,
        [&*bob.user_id, &*claire.user_id]
    );
    claire
        .post(&format!("rooms/{}/leave", encode(&public)), &json!({}))
        .await
        .expect_ok();
    assert_eq!(found(&alice, "bob").await, [&*bob.user_id]);
    hide(&bob, json!({ "hide_profile": true })).await;
    assert!(found(&alice, "bob").await.is_empty());
    drop(dora);

    let server = TestServer::start(TestOptions::with("[directory]\nsearch_all = true")).await;
    let alice = server.register("alice").await;
    let bob = server.register("bobby").await;
    assert_eq!(found(&alice, "bob").await, [&*bob.user_id]);
}

#[tokio::test]
async fn ro_09_r_03_public_rooms_are_listed_to_agents_only() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let paul = person(&server, "paul.externe@entreprise.example").await;
    let body = json!({ "preset": "public_chat", "visibility": "public", "name": "Place" });
    let room = alice.create_room(&body).await;
    for path in ["publicRooms", "publicRooms?limit=10"] {
        let listed = alice.get(path).await.expect_ok();
        assert_eq!(listed["chunk"][0]["room_id"], json!(room));
        let listed = paul.get(path).await.expect_ok();
        assert_eq!(listed["chunk"], json!([]));
        let refused = server.client().get(path).await;
        refused.expect_error(401, "M_MISSING_TOKEN");
    }
    let listed = alice.post("publicRooms", &json!({})).await.expect_ok();
    assert_eq!(listed["chunk"][0]["room_id"], json!(room));
    let listed = paul.post("publicRooms", &json!({})).await.expect_ok();
    assert_eq!(listed["chunk"], json!([]));
}

/// who has not joined a public room does not learn who is in it.
#[tokio::test]
async fn r_03_the_members_of_a_public_room_are_for_those_who_joined() {
    let server = server("").await;
    let alice = person(&server, "alice.martin@culture.gouv.fr").await;
    let jean = person(&server, "jean.dupont@interieur.gouv.fr").await;
    let body = json!({ "preset": "public_chat", "visibility": "public", "name": "Place" });
    let room = alice.create_room(&body).await;
    let paths = ["members", "joined_members", "state", "messages?dir=b"];
    for path in paths {
        let path = format!("rooms/{}/{path}", encode(&room));
        jean.get(&path).await.expect_error(403, "M_FORBIDDEN");
    }
    let member = format!(
        "rooms/{}/state/m.room.member/{}",
        encode(&room),
        encode(&alice.user_id)
    );
    let answer = jean.get(&member).await;
    assert!([403, 404].contains(&answer.status), "{}", answer.text);
    jean.join(&room).await.expect_ok();
    for path in paths {
        let path = format!("rooms/{}/{path}", encode(&room));
        jean.get(&path).await.expect_ok();
    }
}
