//! Making rooms (tchap.md, 4.3 and 4.4).

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    ACCESS, LEVELS, agent, denied, guest, invalid, joined_rooms, open, person, private, public,
    state, tchap, with_access,
};

#[tokio::test]
async fn cr_03_cr_14_cr_20_cr_23_a_private_room_gets_what_it_lacks() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let room = marie.create_room(&private()).await;
    let access = state(&marie, &room, ACCESS).await;
    assert_eq!(
        access,
        json!({ "rule": "restricted", "visibility": "private" })
    );
    let encryption = state(&marie, &room, "m.room.encryption").await;
    assert_eq!(encryption, json!({ "algorithm": "m.megolm.v1.aes-sha2" }));
    let history = state(&marie, &room, "m.room.history_visibility").await;
    assert_eq!(history, json!({ "history_visibility": "invited" }));
    let guests = state(&marie, &room, "m.room.guest_access").await;
    assert_eq!(guests, json!({ "guest_access": "forbidden" }));
    let levels = state(&marie, &room, LEVELS).await;
    assert_eq!(
        (&levels["state_default"], &levels["invite"]),
        (&json!(100), &json!(50))
    );
    assert_eq!(levels["events"]["m.call.member"], 0);
    assert_eq!(state(&marie, &room, "m.room.retention").await, Value::Null);
}

#[tokio::test]
async fn cr_11_cr_15_cr_32_a_forum_is_open_and_forgets() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    for body in [public(), json!({ "preset": "public_chat" })] {
        let room = marie.create_room(&body).await;
        let access = state(&marie, &room, ACCESS).await;
        assert_eq!(
            access,
            json!({ "rule": "restricted", "visibility": "public" }),
            "{body}"
        );
        assert_eq!(state(&marie, &room, "m.room.encryption").await, Value::Null);
        let history = state(&marie, &room, "m.room.history_visibility").await;
        assert_eq!(history["history_visibility"], "shared");
        let retention = state(&marie, &room, "m.room.retention").await;
        assert_eq!(retention, json!({ "max_lifetime": 7_776_000_000_i64 }));
        assert_eq!(state(&marie, &room, LEVELS).await["invite"], 0);
    }
    // It is in the directory if that was asked for.
    let listed = marie.get("publicRooms").await.expect_ok();
    assert_eq!(listed["total_room_count_estimate"], 1);
}

#[tokio::test]
async fn cr_02_ro_02_ro_03_guests_make_no_rooms() {
    let server = tchap().await;
    let eve = guest(&server, "eve").await;
    let marie = agent(&server, "marie").await;
    for body in [
        json!({}),
        private(),
        public(),
        json!({ "creation_content": { "type": "m.space" } }),
        json!({ "is_direct": true, "invite": [marie.user_id], "preset": "trusted_private_chat" }),
    ] {
        denied(eve.post("createRoom", &body).await, "external_user");
    }
    assert_eq!(joined_rooms(&eve).await, json!([]));
}

#[tokio::test]
async fn cr_05_cr_07_cr_09_cr_13_cr_24_r_28_rooms_that_nobody_may_have_are_not_made() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let direct = json!({ "is_direct": true });
    for (body, reason) in [
        (with_access(private(), json!({})), "access_rules_invalid"),
        (
            with_access(direct, json!({ "rule": "restricted" })),
            "room_is_not_direct",
        ),
        (
            with_access(
                private(),
                json!({ "rule": "restricted", "visibility": "public" }),
            ),
            "visibility_mismatch",
        ),
        (
            with_access(public(), json!({ "rule": "unrestricted" })),
            "public_room_excludes_externals",
        ),
        (
            json!({ "power_level_content_override": { "invite": 0 } }),
            "power_level_too_low",
        ),
    ] {
        invalid(marie.post("createRoom", &body).await, reason);
    }
    assert_eq!(joined_rooms(&marie).await, json!([]));
}

#[tokio::test]
async fn cr_31_a_refused_invite_leaves_no_room_behind() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    let eve = guest(&server, "eve").await;
    let both = json!([paul.user_id, eve.user_id]);
    let body = json!({ "preset": "private_chat", "invite": both, "room_alias_name": "bureau" });
    denied(
        marie.post("createRoom", &body).await,
        "externals_not_allowed",
    );
    assert_eq!(joined_rooms(&marie).await, json!([]));
    let sync = paul.sync(None, Duration::ZERO).await;
    assert_eq!(sync["rooms"]["invite"], Value::Null);
    // The alias is free, and the room can be made once it is open.
    let mut body = open();
    body["invite"] = both;
    body["room_alias_name"] = json!("bureau");
    let room = marie.create_room(&body).await;
    eve.join(&room).await.expect_ok();
}

#[tokio::test]
async fn cr_22_both_people_of_a_direct_chat_lead_it() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let eve = guest(&server, "eve").await;
    for version in ["11", "12"] {
        let body = json!({
            "room_version": version,
            "preset": "trusted_private_chat",
            "is_direct": true,
            "invite": [eve.user_id],
        });
        let room = marie.create_room(&body).await;
        eve.join(&room).await.expect_ok();
        let access = state(&marie, &room, ACCESS).await;
        assert_eq!(access, json!({ "rule": "direct", "visibility": "private" }));
        let levels = state(&marie, &room, LEVELS).await;
        if version == "11" {
            let users = json!({ &marie.user_id: 100, &eve.user_id: 100 });
            assert_eq!(levels["users"], users);
        } else {
            let create = state(&marie, &room, "m.room.create").await;
            assert_eq!(create["additional_creators"], json!([eve.user_id]));
        }
    }
}

#[tokio::test]
async fn cr_01_ro_16_rooms_of_exempt_users_are_as_they_ask() {
    let server = tchap().await;
    let root = person(&server, "root", "gouv.example", true).await;
    let bot = agent(&server, "bot").await;
    let eve = guest(&server, "eve").await;
    for exempt in [root, bot] {
        let body = json!({ "preset": "private_chat", "invite": [eve.user_id] });
        let room = exempt.create_room(&body).await;
        for kind in [ACCESS, "m.room.encryption"] {
            assert_eq!(state(&exempt, &room, kind).await, Value::Null, "{kind}");
        }
        // An invite by them is as good as a rule.
        eve.join(&room).await.expect_ok();
    }
}

#[tokio::test]
async fn the_open_profile_adds_nothing() {
    let server = crate::harness::server::TestServer::new().await;
    let anna = server.register("anna").await;
    let body = with_access(
        json!({ "visibility": "public" }),
        json!({ "rule": "unrestricted" }),
    );
    let room = anna.create_room(&body).await;
    assert_eq!(
        state(&anna, &room, ACCESS).await,
        json!({ "rule": "unrestricted" })
    );
    assert_eq!(state(&anna, &room, "m.room.retention").await, Value::Null);
    assert_eq!(state(&anna, &room, LEVELS).await["state_default"], 50);
}
