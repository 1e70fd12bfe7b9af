//! Who may be in a room (tchap.md, 3, 4.5, 4.7, 4.8).

use serde_json::json;

use super::{
    ACCESS, LEVELS, agent, bring_in, denied, give_level, guest, moderate, open, private, public,
    set, state, tchap,
};
use crate::harness::client::encode;

#[tokio::test]
async fn mr_02_mr_03_ro_05_ro_08_guests_stay_out_of_restricted_and_public_rooms() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    let eve = guest(&server, "eve").await;
    for body in [private(), public()] {
        let room = marie.create_room(&body).await;
        bring_in(&marie, &room, &paul).await;
        denied(
            marie.invite(&room, &eve.user_id).await,
            "externals_not_allowed",
        );
        denied(eve.join(&room).await, "external_user");
        // However it is asked for.
        let content = json!({ "membership": "join" });
        let join = eve
            .send_state(&room, "m.room.member", &eve.user_id, &content)
            .await;
        denied(join, "external_user");
        let content = json!({ "membership": "invite" });
        let invite = marie
            .send_state(&room, "m.room.member", &eve.user_id, &content)
            .await;
        denied(invite, "externals_not_allowed");
    }
}

#[tokio::test]
async fn ro_17_guests_do_not_knock_on_a_restricted_room() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let eve = guest(&server, "eve").await;
    let knock = json!({ "join_rule": "knock" });
    for (body, may_knock) in [(private(), false), (open(), true)] {
        let room = marie.create_room(&body).await;
        set(&marie, &room, "m.room.join_rules", knock.clone())
            .await
            .expect_ok();
        let path = format!("knock/{}", encode(&room));
        let answer = eve.post(&path, &json!({})).await;
        if may_knock {
            answer.expect_ok();
            bring_in(&marie, &room, &eve).await;
        } else {
            denied(answer, "external_user");
        }
    }
}

#[tokio::test]
async fn ar_08_ar_11_a_room_is_opened_to_guests_and_never_closed_again() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let eve = guest(&server, "eve").await;
    let room = marie.create_room(&private()).await;
    denied(
        marie.invite(&room, &eve.user_id).await,
        "externals_not_allowed",
    );
    let rule = |rule: &str| json!({ "rule": rule, "visibility": "private" });
    set(&marie, &room, ACCESS, rule("unrestricted"))
        .await
        .expect_ok();
    bring_in(&marie, &room, &eve).await;
    eve.send(&room, "Bonjour").await;
    denied(
        set(&marie, &room, ACCESS, rule("restricted")).await,
        "access_rule_fixed",
    );
    denied(
        set(&marie, &room, ACCESS, rule("direct")).await,
        "access_rule_fixed",
    );
    assert_eq!(state(&marie, &room, ACCESS).await, rule("unrestricted"));
}

#[tokio::test]
async fn ar_16_jr_09_nm_02_moderators_rename_but_do_not_open() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    let room = marie.create_room(&private()).await;
    bring_in(&marie, &room, &paul).await;
    give_level(&marie, &room, &paul, 50).await.expect_ok();
    let name = json!({ "name": "Bureau" });
    set(&paul, &room, "m.room.name", name).await.expect_ok();
    let open = json!({ "rule": "unrestricted" });
    set(&paul, &room, ACCESS, open)
        .await
        .expect_error(403, "M_FORBIDDEN");
    let link = json!({ "join_rule": "public" });
    let set_link = set(&paul, &room, "m.room.join_rules", link).await;
    set_link.expect_error(403, "M_FORBIDDEN");
    let topic = set(&paul, &room, "m.room.topic", json!({ "topic": "x" })).await;
    topic.expect_error(403, "M_FORBIDDEN");
    let topic = json!({ "topic": "x" });
    set(&marie, &room, "m.room.topic", topic).await.expect_ok();
}

#[tokio::test]
async fn ar_29_access_rules_are_not_redacted() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let room = marie.create_room(&private()).await;
    let events = marie.messages(&room, "&limit=50").await;
    let find = |kind: &str| {
        let events = events["chunk"].as_array().unwrap();
        let event = events.iter().find(|event| event["type"] == kind).unwrap();
        event["event_id"].as_str().unwrap().to_owned()
    };
    let redact = |event_id: String| {
        let transaction = marie.transaction_id();
        format!(
            "rooms/{}/redact/{}/{transaction}",
            encode(&room),
            encode(&event_id)
        )
    };
    let path = redact(find(ACCESS));
    denied(marie.put(&path, &json!({})).await, "event_protected");
    // Nor as an event.
    let path = format!("rooms/{}/send/m.room.redaction/r1", encode(&room));
    denied(
        marie.put(&path, &json!({ "redacts": find(ACCESS) })).await,
        "event_protected",
    );
    let path = redact(find("m.room.guest_access"));
    marie.put(&path, &json!({})).await.expect_ok();
    assert_eq!(state(&marie, &room, ACCESS).await["rule"], "restricted");
}

#[tokio::test]
async fn mu_01_mu_02_mu_03_ro_06_ro_07_guests_come_by_invite_to_an_open_room() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    let eve = guest(&server, "eve").await;
    let room = marie.create_room(&open()).await;
    let link = json!({ "join_rule": "public" });
    set(&marie, &room, "m.room.join_rules", link)
        .await
        .expect_ok();
    denied(eve.join(&room).await, "external_user");
    paul.join(&room).await.expect_ok();
    bring_in(&marie, &room, &eve).await;
    // A new picture is a new member event, and no new join.
    let path = format!("profile/{}/avatar_url", encode(&eve.user_id));
    let avatar = json!({ "avatar_url": "mxc://example.org/eve" });
    eve.put(&path, &avatar).await.expect_ok();
    let path = format!(
        "rooms/{}/state/m.room.member/{}",
        encode(&room),
        encode(&eve.user_id)
    );
    let member = marie.get(&path).await.expect_ok();
    assert_eq!(member["avatar_url"], "mxc://example.org/eve");
    // Who has left needs another invite.
    eve.leave(&room).await.expect_ok();
    denied(eve.join(&room).await, "external_user");
}

#[tokio::test]
async fn mr_04_mr_05_guests_leave_and_are_removed() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let (eve, zoe) = (guest(&server, "eve").await, guest(&server, "zoe").await);
    let room = marie.create_room(&open()).await;
    for one in [&eve, &zoe] {
        bring_in(&marie, &room, one).await;
    }
    eve.leave(&room).await.expect_ok();
    moderate(&marie, &room, "kick", &zoe).await.expect_ok();
    moderate(&marie, &room, "ban", &zoe).await.expect_ok();
    moderate(&marie, &room, "unban", &zoe).await.expect_ok();
}

#[tokio::test]
async fn ro_12_guests_invite_nobody() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    let eve = guest(&server, "eve").await;
    let room = marie.create_room(&open()).await;
    bring_in(&marie, &room, &eve).await;
    let mut levels = state(&marie, &room, LEVELS).await;
    levels["invite"] = json!(0);
    // PL-01: that may be lowered later, but not for guests.
    set(&marie, &room, LEVELS, levels).await.expect_ok();
    denied(eve.invite(&room, &paul.user_id).await, "external_user");
    bring_in(&marie, &room, &paul).await;
}

#[tokio::test]
async fn pl_02_pl_03_pl_04_ro_11_guests_have_no_power() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let paul = agent(&server, "paul").await;
    let eve = guest(&server, "eve").await;
    let room = marie.create_room(&open()).await;
    for one in [&paul, &eve] {
        bring_in(&marie, &room, one).await;
    }
    give_level(&marie, &room, &paul, 50).await.expect_ok();
    for level in [1, 50, -1] {
        denied(
            give_level(&marie, &room, &eve, level).await,
            "external_power_level",
        );
    }
    let mut levels = state(&marie, &room, LEVELS).await;
    levels["users_default"] = json!(10);
    denied(
        set(&marie, &room, LEVELS, levels).await,
        "default_power_level",
    );
}

#[tokio::test]
async fn pl_05_pl_07_a_room_where_all_have_power_is_not_opened() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let room = marie.create_room(&private()).await;
    let mut levels = state(&marie, &room, LEVELS).await;
    levels["users_default"] = json!(50);
    set(&marie, &room, LEVELS, levels).await.expect_ok();
    let open = json!({ "rule": "unrestricted" });
    denied(
        set(&marie, &room, ACCESS, open).await,
        "default_power_level",
    );
}

#[tokio::test]
async fn ro_14_r_21_guests_are_in_no_space() {
    let server = tchap().await;
    let marie = agent(&server, "marie").await;
    let eve = guest(&server, "eve").await;
    let space = json!({ "preset": "private_chat", "creation_content": { "type": "m.space" } });
    let room = marie.create_room(&space).await;
    // CR-30.
    assert!(state(&marie, &room, "m.room.encryption").await.is_null());
    denied(
        marie.invite(&room, &eve.user_id).await,
        "externals_not_allowed_in_spaces",
    );
    let open = json!({ "rule": "unrestricted" });
    denied(
        set(&marie, &room, ACCESS, open).await,
        "externals_not_allowed_in_spaces",
    );
}
