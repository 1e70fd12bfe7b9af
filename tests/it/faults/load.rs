//! People who send, and send again what was not acknowledged.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use reqwest::Method;
use serde_json::json;
use sqlx::PgConnection;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    log,
    view::{View, text},
};
use crate::harness::client::{Client, encode};

/// How long an answer may take, and how long what fails may go on failing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before something is sent again.
const AGAIN: Duration = Duration::from_millis(5);
/// Every so many texts, one is sent again although it was acknowledged.
const REPEAT_EVERY: usize = 3;

/// Senders at work.
pub(super) struct Load {
    senders: JoinSet<Vec<(String, String)>>,
    stop: CancellationToken,
}

/// What was acknowledged: event ids by text.
pub(super) type Acknowledged = BTreeMap<String, String>;

impl Load {
    /// Lets each client send texts into a room until they are stopped, or `count` each.
    pub(super) fn start(
        clients: impl IntoIterator<Item = Client>,
        room_id: &str,
        count: usize,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut senders = JoinSet::new();
        for (number, client) in clients.into_iter().enumerate() {
            let (room, stop) = (encode(room_id), stop.clone());
            senders.spawn(async move {
                let mut acknowledged = Vec::new();
                while acknowledged.len() < count && !stop.is_cancelled() {
                    let body = format!("s{number}-{}", acknowledged.len());
                    let event_id = send(&client, &room, &body).await;
                    if acknowledged.len() % REPEAT_EVERY == 0 {
                        // As if the answer had been lost.
                        assert_eq!(send(&client, &room, &body).await, event_id);
                    }
                    acknowledged.push((body, event_id));
                }
                acknowledged
            });
        }
        Self { senders, stop }
    }

    /// Ends the senders once what they are at is acknowledged.
    pub(super) async fn stop(self) -> Acknowledged {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits for the end of the senders.
    pub(super) async fn ended(self) -> Acknowledged {
        self.senders
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Sends a text until it is acknowledged; the text is the transaction id as well.
async fn send(client: &Client, room: &str, body: &str) -> String {
    let path = format!("rooms/{room}/send/m.room.message/{body}");
    let content = json!({ "msgtype": "m.text", "body": body });
    let begun = Instant::now();
    loop {
        let sent = Instant::now();
        let answer = client.try_request(Method::PUT, &path, Some(&content)).await;
        assert!(sent.elapsed() < PATIENCE, "{body} is not answered");
        match answer {
            Ok(answer) if answer.status == 200 => return text(&answer.body["event_id"]),
            Ok(answer) => assert!(answer.status >= 500, "{body} is refused: {}", answer.text),
            // Nobody is there, or the answer broke off.
            Err(_) => (),
        }
        assert!(begun.elapsed() < PATIENCE, "{body} cannot be sent");
        sleep(AGAIN).await;
    }
}

/// Everything that was acknowledged is in the log and in each view, once, and nothing else that
/// was sent.
pub(super) async fn check(
    conn: &mut PgConnection,
    room_id: &str,
    acknowledged: &Acknowledged,
    views: &[View],
) {
    let log = log::log(conn, room_id).await;
    let mut bodies = HashSet::new();
    for event in log
        .iter()
        .filter(|event| event.event_type == "m.room.message")
    {
        let body = text(&event.content["body"]);
        // All was sent until it was acknowledged.
        assert_eq!(acknowledged.get(&body), Some(&event.event_id), "{body}");
        assert!(bodies.insert(body.clone()), "{body} is there twice");
    }
    assert_eq!(bodies.len(), acknowledged.len(), "something was lost");
    for view in views {
        let checked = view.check(room_id, &log, None);
        checked.unwrap_or_else(|fault| panic!("{}: {fault}", view.user_id()));
    }
}
