//! The process is killed while people send.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    load::{self, Load},
    log,
    view::View,
};
use crate::harness::{process::Process, server::TestOptions};

/// How often the process is killed.
const ROUNDS: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_twenty_kills_under_load() {
    let mut process = Process::start(&TestOptions::default()).await;
    let mut members = Vec::new();
    for name in ["anna", "ben", "cleo"] {
        members.push(process.register(name).await);
    }
    let room = serde_json::json!({ "preset": "public_chat" });
    let room_id = members[0].create_room(&room).await;
    for member in &members[1..] {
        member.join(&room_id).await.expect_ok();
    }
    let url = process.url.clone();
    let mut views: Vec<View> = members
        .iter()
        .map(|member| View::new(member, &[&url], 100))
        .collect();
    // Two devices of each at once, so that commits are shared.
    let senders = members.iter().chain(&members).map(|member| member.at(&url));
    let load = Load::start(senders, &room_id, usize::MAX);
    for round in 0..ROUNDS {
        // How long the load lasts is what is tested: not always the same part of a commit.
        sleep(Duration::from_millis(250) + Duration::from_millis(7) * round).await;
        process.kill();
        process.start_again().await;
        for view in &mut views {
            view.sync(0, Duration::ZERO).await.unwrap();
        }
    }
    let acknowledged = load.stop().await;
    assert!(acknowledged.len() > 100, "{} texts", acknowledged.len());
    let mut conn = process.database().connect().await;
    let end = log::stream_position(&mut conn).await;
    for view in &mut views {
        view.sync_up_to(0, end).await.unwrap();
    }
    load::check(&mut conn, &room_id, &acknowledged, &views).await;
    // Who comes for the first time sees the same.
    let mut newcomers = Vec::new();
    for member in &members {
        let mut view = View::new(member, &[&url], 100);
        view.sync(0, Duration::ZERO).await.unwrap();
        newcomers.push(view);
    }
    load::check(&mut conn, &room_id, &acknowledged, &newcomers).await;
}
