//! Tells push gateways (push gateway API v1.19, `POST /_matrix/push/v1/notify`).

use std::{sync::Arc, time::Duration};

use ruma::push::{Action, HttpPusherData, PushFormat};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::Push;
use crate::{
    event::Room,
    outbound::Bounds,
    store::{live::TimelineEvent, pushers::Pusher},
};

/// What a request to a gateway may take.
const BOUNDS: Bounds = Bounds {
    timeout: Duration::from_secs(10),
    max_bytes: 64 * 1024,
    max_redirects: 0,
};

/// The longest content that is told.
const MAX_CONTENT: usize = 4_096;

/// How it went with a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It took the notification.
    Well,
    /// It says that there is no such pusher any more.
    Rejected,
    /// It could not be reached, or answered with an error.
    Failed,
}

/// An event that notifies somebody.
#[derive(Clone, Debug)]
pub(super) struct News {
    pub(super) event: Arc<TimelineEvent>,
    pub(super) room: Room,
    pub(super) actions: Arc<[Action]>,
}

#[derive(Deserialize)]
struct Answer {
    rejected: Vec<String>,
}

impl Push {
    /// Tells a gateway of an event, or of the number of unread messages alone.
    pub(super) async fn tell(&self, pusher: &Pusher, news: Option<&News>, unread: i64) -> Told {
        let Ok(data) = serde_json::from_str::<HttpPusherData>(&pusher.data) else {
            return Told::Rejected;
        };
        let Ok(url) = Url::parse(&data.url) else {
            return Told::Rejected;
        };
        let body = notification(pusher, &data, news, unread).to_string();
        let answer = match self.0.outbound.post_json(&url, body, BOUNDS).await {
            Ok(answer) if answer.status.is_success() => answer,
            Ok(answer) => {
                tracing::info!(pusher.id, status = %answer.status, "a push gateway fails");
                return Told::Failed;
            }
            Err(error) => {
                tracing::info!(pusher.id, %error, "a push gateway cannot be told");
                return Told::Failed;
            }
        };
        let rejected = serde_json::from_slice::<Answer>(&answer.body);
        let is_rejected = rejected.is_ok_and(|answer| answer.rejected.contains(&pusher.pushkey));
        if is_rejected {
            tracing::info!(pusher.id, "a push gateway rejects a pusher");
            Told::Rejected
        } else {
            Told::Well
        }
    }
}

/// The body of a request.
fn notification(pusher: &Pusher, data: &HttpPusherData, news: Option<&News>, unread: i64) -> Value {
    let is_short = data.format == Some(PushFormat::EventIdOnly);
    let mut told = Map::new();
    let mut tweaks = Map::new();
    if let Some(news) = news {
        told.insert("event_id".to_owned(), json!(news.event.pdu.event_id()));
        told.insert("room_id".to_owned(), json!(news.event.pdu.room_id()));
        if !is_short {
            describe(&mut told, news, pusher);
        }
        tweaks = tweaks_of(&news.actions);
        let is_loud = tweaks.contains_key("sound")
            || tweaks.get("highlight") == Some(&Value::Bool(true))
            || news.event.pdu.event_type().to_string() == "m.room.encrypted";
        let priority = if is_loud { "high" } else { "low" };
        told.insert("prio".to_owned(), json!(priority));
    }
    let mut counts = Map::new();
    // A device must learn that nothing is unread any more.
    if unread > 0 || news.is_none() {
        counts.insert("unread".to_owned(), json!(unread));
    }
    told.insert("counts".to_owned(), Value::Object(counts));
    let mut of_device = data.data.clone();
    if let Some(format) = &data.format {
        of_device.insert("format".to_owned(), json!(format));
    }
    told.insert(
        "devices".to_owned(),
        json!([{
            "app_id": pusher.app_id,
            "pushkey": pusher.pushkey,
            "pushkey_ts": pusher.set_ms / 1000,
            "data": of_device,
            "tweaks": tweaks,
        }]),
    );
    json!({ "notification": told })
}

/// What a gateway that does not ask for ids alone is told of an event.
fn describe(told: &mut Map<String, Value>, news: &News, pusher: &Pusher) {
    #[derive(Deserialize)]
    struct Texts {
        name: Option<String>,
        alias: Option<String>,
        displayname: Option<String>,
    }
    use ruma::events::StateEventType;

    let (pdu, room) = (&news.event.pdu, &news.room);
    told.insert("type".to_owned(), json!(pdu.event_type()));
    told.insert("sender".to_owned(), json!(pdu.sender()));
    let sender = room.member(pdu.sender());
    let sender = sender.and_then(|member| member.pdu.content_as::<Texts>());
    let state = |event_type| room.state_content::<Texts>(&event_type, "");
    let texts = [
        (
            "sender_display_name",
            sender.and_then(|texts| texts.displayname),
        ),
        (
            "room_name",
            state(StateEventType::RoomName).and_then(|texts| texts.name),
        ),
        (
            "room_alias",
            state(StateEventType::RoomCanonicalAlias).and_then(|texts| texts.alias),
        ),
    ];
    for (key, text) in texts {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            told.insert(key.to_owned(), json!(text));
        }
    }
    if let Some(member) = news.event.member {
        let is_target = member.user == pusher.user;
        told.insert("user_is_target".to_owned(), json!(is_target));
    }
    if pdu.content_str().len() <= MAX_CONTENT
        && let Some(content) = pdu.content_as::<Value>()
    {
        told.insert("content".to_owned(), content);
    }
}

/// What the actions of a rule set.
fn tweaks_of(actions: &[Action]) -> Map<String, Value> {
    let mut tweaks = Map::new();
    for action in actions {
        let Ok(Value::Object(mut action)) = serde_json::to_value(action) else {
            continue;
        };
        if let Some(Value::String(name)) = action.remove("set_tweak") {
            let default = Value::Bool(true);
            let value = action.remove("value");
            tweaks.insert(name, value.unwrap_or(default));
        }
    }
    tweaks
}
