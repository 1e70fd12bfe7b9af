//! What a client of sliding sync makes of its answers.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::{
    log::{Logged, Reader, check_room},
    view::{Members, Own, Place, RoomView, list, page_back, text},
};
use crate::{
    client::sliding::PATH,
    harness::client::{Client, encode},
};

/// How a client looks at its rooms.
#[derive(Clone, Copy, Debug)]
pub(super) enum Habit {
    /// At all of them.
    All,
    /// At the newest few, with members as they are needed.
    FewLazy,
    /// At some that it names.
    Subscribed,
    /// At the newest one, now with more and now with fewer events.
    Changing,
}

/// What a client knows.
pub(super) struct SlidingView {
    /// The same session at each of the servers.
    clients: Vec<Client>,
    habit: Habit,
    pos: Option<String>,
    /// Up to where it has the messages to its device.
    confirmed: Option<String>,
    pub(super) rooms: BTreeMap<String, RoomView>,
    pub(super) own: Own,
}

impl SlidingView {
    /// A client that has not synced yet.
    pub(super) fn new(client: &Client, urls: &[&str], habit: Habit) -> Self {
        Self {
            clients: urls.iter().map(|url| client.at(url)).collect(),
            habit,
            pos: None,
            confirmed: None,
            rooms: BTreeMap::new(),
            own: Own::default(),
        }
    }

    /// Adds a server.
    pub(super) fn add_server(&mut self, url: &str) {
        let client = self.clients[0].at(url);
        self.clients.push(client);
    }

    /// What the client asks for; `die` is a number that chance chose.
    pub(super) fn body(&self, rooms: &[String], die: u64) -> Value {
        let required = match self.habit {
            Habit::FewLazy => json!([["*", "*"], ["m.room.member", "$LAZY"]]),
            _ => json!([["*", "*"]]),
        };
        let list = |last: u64, limit: u64| json!({ "ranges": [[0, last]], "timeline_limit": limit, "required_state": required });
        let all = |last: u64, limit: u64| json!({ "lists": { "all": list(last, limit) } });
        let mut body = match self.habit {
            Habit::All => all(99, 3),
            Habit::FewLazy => all(die % 3, 2),
            Habit::Changing => all(0, 1 + die % 5),
            Habit::Subscribed => {
                let wanted = rooms.iter().enumerate();
                let wanted = wanted.filter(|(number, _)| die >> number & 1 == 1);
                let rule = json!({ "timeline_limit": 2, "required_state": required });
                let rules = wanted.map(|(_, room)| (room.clone(), rule.clone()));
                json!({ "room_subscriptions": Value::Object(rules.collect()) })
            }
        };
        body["extensions"] = json!({
            "account_data": { "enabled": true },
            "to_device": { "enabled": true },
        });
        if let Some(since) = &self.confirmed {
            body["extensions"]["to_device"]["since"] = json!(since);
        }
        body
    }

    /// What a client asks for that wants to know everything.
    fn everything(&self, rooms: &[String]) -> Value {
        let mut body = self.body(rooms, u64::MAX);
        if body["lists"]["all"].is_object() {
            body["lists"]["all"]["ranges"] = json!([[0, 99]]);
        }
        body
    }

    /// Asks a server, and loses the answer.
    pub(super) async fn ask(&self, server: usize, body: &Value) -> Result<Value, String> {
        let mut path = PATH.to_owned();
        if let Some(pos) = &self.pos {
            path.push_str(&format!("?pos={}", encode(pos)));
        }
        let answer = self.clients[server].post(&path, body).await;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(format!("sliding sync fails: {status} {}", answer.text)),
        }
    }

    /// Asks a server, and takes the answer in. Gives whether there was any room in it.
    pub(super) async fn sync(&mut self, server: usize, body: &Value) -> Result<bool, String> {
        let answer = self.ask(server, body).await?;
        let rooms = answer["rooms"].as_object().cloned().unwrap_or_default();
        for (room_id, room) in &rooms {
            let taken = self.take(server, room_id, room).await;
            taken.map_err(|fault| format!("{fault}\n{room:#}"))?;
        }
        let extensions = &answer["extensions"];
        let data = &extensions["account_data"];
        self.own.take_data(None, &data["global"]);
        for (room_id, events) in data["rooms"].as_object().into_iter().flatten() {
            self.own.take_data(Some(room_id), events);
        }
        self.own.take_messages(&extensions["to_device"]["events"]);
        self.confirmed = Some(text(&extensions["to_device"]["next_batch"]));
        self.pos = Some(text(&answer["pos"]));
        Ok(!rooms.is_empty())
    }

    /// Syncs until there is nothing more to tell. The server must know everything.
    pub(super) async fn sync_to_end(
        &mut self,
        server: usize,
        rooms: &[String],
    ) -> Result<(), String> {
        for _ in 0..5 {
            let body = self.everything(rooms);
            if !self.sync(server, &body).await? {
                return Ok(());
            }
        }
        Err("sliding sync tells the same again and again".to_owned())
    }

    async fn take(&mut self, server: usize, room_id: &str, room: &Value) -> Result<(), String> {
        if room["initial"] == true {
            self.rooms.insert(room_id.to_owned(), RoomView::default());
        }
        let view = self.rooms.entry(room_id.to_owned()).or_default();
        let place = match room["membership"].as_str() {
            Some("join") => Place::Join,
            Some(outside @ ("invite" | "knock")) => {
                let is_invite = outside == "invite";
                let place = if is_invite {
                    Place::Invite
                } else {
                    Place::Knock
                };
                view.place = Some(place);
                return Ok(());
            }
            _ => Place::Leave,
        };
        let limited = room["limited"] == true;
        // Who was not joined hears how it ended, and nothing of what was before.
        let only_end =
            place == Place::Leave && room["initial"] != true && view.place != Some(Place::Join);
        view.place = Some(place);
        if only_end {
            return Ok(());
        }
        let known: HashSet<String> = view.events.iter().cloned().collect();
        let timeline: Vec<_> = list(&room["timeline"]).collect();
        let ids = timeline.iter().map(|event| text(&event["event_id"]));
        let (old, new): (Vec<_>, Vec<_>) = ids.partition(|id| known.contains(id));
        let expanded = room["expanded_timeline"] == true;
        if !old.is_empty() && !limited && !expanded {
            return Err(format!("{room_id}: told twice: {old:?}"));
        }
        if !view.events.ends_with(&old) && !expanded {
            return Err(format!("{room_id}: told again in the wrong place: {old:?}"));
        }
        let mut missed = Vec::new();
        if limited && old.is_empty() {
            let from = text(&room["prev_batch"]);
            missed = page_back(&self.clients[server], room_id, from, &known, "").await;
        }
        let view = self.rooms.entry(room_id.to_owned()).or_default();
        view.events.extend(missed.into_iter().rev());
        view.events.extend(new);
        for event in list(&room["required_state"]) {
            let key = (text(&event["type"]), text(&event["state_key"]));
            view.state.insert(key, text(&event["event_id"]));
        }
        if !timeline.is_empty() {
            view.senders = timeline
                .iter()
                .map(|event| text(&event["sender"]))
                .collect();
        }
        if let Some(count) = room["joined_count"].as_i64() {
            view.joined_count = count;
        }
        view.told_at_end = (place == Place::Leave).then_some(view.events.len());
        Ok(())
    }

    /// Compares what was made of a room with its log.
    pub(super) fn check(
        &self,
        room_id: &str,
        log: &[Logged],
        ignored: Option<&str>,
    ) -> Result<(), String> {
        let nothing = RoomView::default();
        let view = self.rooms.get(room_id).unwrap_or(&nothing);
        let reader = Reader {
            user_id: &self.clients[0].user_id,
            members: match self.habit {
                Habit::FewLazy => Members::OfTimeline,
                _ => Members::All,
            },
            only_messages: false,
            ignored,
        };
        let checked = check_room(view, log, &reader);
        checked.map_err(|fault| format!("sliding, {:?}: {fault}", self.habit))
    }
}
