//! What a client makes of its syncs, and what the log says that it should have made of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use chappe::sync::SyncToken;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::harness::client::{Client, encode};

/// Where a client believes to stand in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Join,
    Invite,
    Leave,
}

/// What a client knows of a room.
#[derive(Debug, Default)]
pub(super) struct RoomView {
    pub(super) place: Option<Place>,
    /// The ids of the events, oldest first, gaps filled.
    pub(super) events: Vec<String>,
    /// The event of each (type, state key).
    pub(super) state: BTreeMap<(String, String), String>,
    /// The newest public receipt of each user.
    pub(super) receipts: BTreeMap<String, String>,
    /// How many are joined, by the summary.
    pub(super) joined_count: i64,
    /// Who sent the events of the newest timeline.
    pub(super) senders: BTreeSet<String>,
    /// How many of the events the server had to tell when it said that the user had left.
    pub(super) told_at_end: Option<usize>,
}

/// What a client asks of `/sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Everything.
    All,
    /// Members as the timeline needs them.
    Lazy,
    /// Messages only, and the state after them.
    Messages,
    /// The state after the timeline.
    StateAfter,
}

/// Which members a client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// All of them.
    All,
    /// Those that the newest timeline needs.
    OfTimeline,
}

/// What a client knows.
pub(super) struct View {
    wish: Wish,
    /// The filter of its timelines, for pages of them.
    timeline: String,
    /// The same session at each of the servers.
    clients: Vec<Client>,
    filter: String,
    pub(super) since: Option<String>,
    pub(super) rooms: BTreeMap<String, RoomView>,
}

impl View {
    /// A client that has not synced yet, and wants at most `limit` events of a room at once.
    pub(super) fn new(client: &Client, urls: &[&str], limit: usize) -> Self {
        Self::with(client, urls, limit, Wish::All)
    }

    /// The same for a client with a wish.
    pub(super) fn with(client: &Client, urls: &[&str], limit: usize, wish: Wish) -> Self {
        let mut timeline = json!({ "limit": limit });
        if wish == Wish::Messages {
            timeline["types"] = json!(["m.room.mess*"]);
        }
        let mut filter = json!({ "room": { "timeline": timeline } });
        if wish == Wish::Lazy {
            filter["room"]["state"] = json!({ "lazy_load_members": true });
        }
        Self {
            wish,
            timeline: encode(&timeline.to_string()),
            clients: urls.iter().map(|url| client.at(url)).collect(),
            filter: encode(&filter.to_string()),
            since: None,
            rooms: BTreeMap::new(),
        }
    }

    pub(super) fn user_id(&self) -> &str {
        &self.clients[0].user_id
    }

    /// Asks a server, and loses the answer.
    pub(super) async fn ask(&self, server: usize, timeout: Duration) -> Value {
        let mut path = format!(
            "sync?filter={}&timeout={}",
            self.filter,
            timeout.as_millis()
        );
        if self.takes_state_after() {
            path.push_str("&use_state_after=true");
        }
        if let Some(since) = &self.since {
            path.push_str(&format!("&since={}", encode(since)));
        }
        self.clients[server].get(&path).await.expect_ok()
    }

    /// Whether the state comes apart from the timeline.
    fn takes_state_after(&self) -> bool {
        matches!(self.wish, Wish::Messages | Wish::StateAfter)
    }

    /// Adds a server.
    pub(super) fn add_server(&mut self, url: &str) {
        let client = self.clients[0].at(url);
        self.clients.push(client);
    }

    /// Asks a server, and takes the answer in.
    pub(super) async fn sync(&mut self, server: usize, timeout: Duration) -> Result<(), String> {
        let answer = self.ask(server, timeout).await;
        let rooms = |kind: &str| {
            let rooms = answer["rooms"][kind].as_object().cloned();
            rooms.unwrap_or_default()
        };
        for (room_id, room) in rooms("join") {
            self.take_joined(server, &room_id, &room).await?;
        }
        for (room_id, room) in rooms("leave") {
            self.take_left(server, &room_id, &room).await?;
        }
        for (room_id, _) in rooms("invite") {
            self.rooms.entry(room_id).or_default().place = Some(Place::Invite);
        }
        self.since = Some(text(&answer["next_batch"]));
        Ok(())
    }

    /// Syncs until everything up to a place in the stream was told.
    pub(super) async fn sync_up_to(&mut self, server: usize, position: i64) -> Result<(), String> {
        loop {
            self.sync(server, Duration::from_millis(50)).await?;
            let token: SyncToken = self.since.as_ref().unwrap().parse().unwrap();
            if token.position.0 >= position {
                return Ok(());
            }
        }
    }

    async fn take_joined(
        &mut self,
        server: usize,
        room_id: &str,
        room: &Value,
    ) -> Result<(), String> {
        self.take_timeline(server, room_id, room).await?;
        let view = self.rooms.get_mut(room_id).unwrap();
        view.place = Some(Place::Join);
        view.told_at_end = None;
        if let Some(count) = room["summary"]["m.joined_member_count"].as_i64() {
            view.joined_count = count;
        }
        for event in list(&room["ephemeral"]["events"]) {
            if event["type"] != "m.receipt" {
                continue;
            }
            for (event_id, kinds) in event["content"].as_object().unwrap() {
                let readers = kinds["m.read"].as_object().into_iter().flatten();
                for (reader, _) in readers {
                    view.receipts.insert(reader.clone(), event_id.clone());
                }
            }
        }
        Ok(())
    }

    async fn take_left(
        &mut self,
        server: usize,
        room_id: &str,
        room: &Value,
    ) -> Result<(), String> {
        let known = self.rooms.entry(room_id.to_owned()).or_default();
        // Who was not joined hears how it ended, and nothing of what was before. Who came and went
        // has a gap to fill.
        let limited = room["timeline"]["limited"] == true;
        if known.place == Some(Place::Join) || limited {
            self.take_timeline(server, room_id, room).await?;
            let view = self.rooms.get_mut(room_id).unwrap();
            view.told_at_end = Some(view.events.len());
        }
        self.rooms.get_mut(room_id).unwrap().place = Some(Place::Leave);
        Ok(())
    }

    /// Takes a timeline in, and fills the gap before it.
    async fn take_timeline(
        &mut self,
        server: usize,
        room_id: &str,
        room: &Value,
    ) -> Result<(), String> {
        let view = self.rooms.entry(room_id.to_owned()).or_default();
        let known: HashSet<String> = view.events.iter().cloned().collect();
        let timeline = &room["timeline"];
        let limited = timeline["limited"] == true;
        let events: Vec<_> = list(&timeline["events"]).collect();
        let (old, new): (Vec<_>, Vec<_>) = events
            .iter()
            .map(|event| text(&event["event_id"]))
            .partition(|event_id| known.contains(event_id));
        if !old.is_empty() && !limited {
            return Err(format!("{room_id}: told twice: {old:?}"));
        }
        let mut missed = Vec::new();
        if limited && old.is_empty() {
            let from = text(&timeline["prev_batch"]);
            let client = &self.clients[server];
            missed = page_back(client, room_id, from, &known, &self.timeline).await;
        }
        let view = self.rooms.get_mut(room_id).unwrap();
        view.events.extend(missed.into_iter().rev());
        view.events.extend(new);
        if !events.is_empty() {
            view.senders = events.iter().map(|event| text(&event["sender"])).collect();
        }
        let apart = matches!(self.wish, Wish::Messages | Wish::StateAfter);
        let state = if apart { "state_after" } else { "state" };
        let events = events.into_iter().filter(|_| !apart);
        for event in list(&room[state]["events"]).chain(events) {
            if let Some(state_key) = event["state_key"].as_str() {
                let key = (text(&event["type"]), state_key.to_owned());
                view.state.insert(key, text(&event["event_id"]));
            }
        }
        Ok(())
    }
}

/// The ids of the events before a point, newest first, up to one that is known.
pub(super) async fn page_back(
    client: &Client,
    room_id: &str,
    from: String,
    known: &HashSet<String>,
    filter: &str,
) -> Vec<String> {
    let mut from = Some(from);
    let mut missed = Vec::new();
    while let Some(start) = from {
        let query = format!("&limit=50&from={}&filter={filter}", encode(&start));
        let query = query.trim_end_matches("&filter=");
        let page = client.messages(room_id, query).await;
        for event in list(&page["chunk"]) {
            let event_id = text(&event["event_id"]);
            if known.contains(&event_id) {
                return missed;
            }
            missed.push(event_id);
        }
        from = page["end"].as_str().map(ToOwned::to_owned);
    }
    missed
}

/// An event as the database has it.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) state_key: Option<String>,
    pub(super) content: Value,
}

impl Logged {
    fn key(&self) -> Option<(String, String)> {
        let state_key = self.state_key.clone()?;
        Some((self.event_type.clone(), state_key))
    }

    fn is_member(&self, user_id: &str) -> bool {
        self.event_type == "m.room.member" && self.state_key.as_deref() == Some(user_id)
    }
}

/// All events of a room, in their order, which has no gap.
pub(super) async fn log(conn: &mut PgConnection, room_id: &str) -> Vec<Logged> {
    let statement = "SELECT e.position, e.event_id, e.json FROM events e \
         JOIN rooms r USING (room_nid) WHERE r.room_id = $1 ORDER BY e.position";
    let rows = sqlx::query(statement)
        .bind(room_id)
        .fetch_all(conn)
        .await
        .unwrap();
    let positions: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let gapless: Vec<i64> = (1..).take(rows.len()).collect();
    assert_eq!(positions, gapless, "{room_id}");
    let logged = rows.iter().map(|row| {
        let json: Value = serde_json::from_str(row.get::<&str, _>(2)).unwrap();
        Logged {
            event_id: row.get(1),
            event_type: text(&json["type"]),
            state_key: json["state_key"].as_str().map(ToOwned::to_owned),
            content: json["content"].clone(),
        }
    });
    logged.collect()
}

/// The newest place in the stream.
pub(super) async fn stream_position(conn: &mut PgConnection) -> i64 {
    let statement = AssertSqlSafe("SELECT position FROM stream_counter");
    sqlx::query_scalar(statement).fetch_one(conn).await.unwrap()
}

/// How the membership of a user, and the history visibility, stand along the log: a value before
/// the first event, and one after each.
struct Course {
    memberships: Vec<String>,
    visibilities: Vec<String>,
}

impl Course {
    fn new(log: &[Logged], user_id: &str) -> Self {
        let mut course = Self {
            memberships: vec!["leave".to_owned()],
            visibilities: vec!["shared".to_owned()],
        };
        for event in log {
            let mut membership = course.memberships.last().unwrap().clone();
            let mut visibility = course.visibilities.last().unwrap().clone();
            if event.is_member(user_id) {
                membership = text(&event.content["membership"]);
            } else if event.event_type == "m.room.history_visibility" {
                visibility = text(&event.content["history_visibility"]);
            }
            course.memberships.push(membership);
            course.visibilities.push(visibility);
        }
        course
    }

    fn now(&self) -> &str {
        self.memberships.last().unwrap()
    }

    /// Whether the user may see the event at an index (client-server API v1.19, "Room history
    /// visibility").
    fn may_see(&self, index: usize) -> bool {
        let joins_later = self.memberships[index + 2..].iter().any(|to| to == "join");
        let around = [index, index + 1];
        around.iter().any(|visibility| {
            around.iter().any(|membership| {
                let membership = self.memberships[*membership].as_str();
                match self.visibilities[*visibility].as_str() {
                    _ if membership == "join" => true,
                    "world_readable" => true,
                    "shared" => joins_later,
                    "invited" => membership == "invite",
                    _ => false,
                }
            })
        })
    }
}

impl View {
    /// Compares what was made of the syncs of a room with its log.
    pub(super) fn check(&self, room_id: &str, log: &[Logged]) -> Result<(), String> {
        let nothing = RoomView::default();
        let view = self.rooms.get(room_id).unwrap_or(&nothing);
        let members = match self.wish {
            Wish::Lazy => Members::OfTimeline,
            _ => Members::All,
        };
        let only_messages = self.wish == Wish::Messages;
        let wanted = |event: &Logged| !only_messages || event.event_type == "m.room.message";
        let checked = check_room(view, self.user_id(), log, members, &wanted);
        checked.map_err(|fault| format!("{:?}: {fault}", self.wish))
    }
}

/// Compares what was made of a room with its log, in which `wanted` events were asked for.
pub(super) fn check_room(
    view: &RoomView,
    user_id: &str,
    log: &[Logged],
    members: Members,
    wanted: &dyn Fn(&Logged) -> bool,
) -> Result<(), String> {
    let course = Course::new(log, user_id);
    let place = match course.now() {
        "join" => Some(Place::Join),
        "invite" => Some(Place::Invite),
        // What ended before the first sync is not told.
        _ => view.place.and(Some(Place::Leave)),
    };
    if view.place != place {
        return Err(format!("stands at {:?}, not {place:?}", view.place));
    }
    let visible: Vec<&str> = (0..log.len())
        .filter(|index| course.may_see(*index) && wanted(&log[*index]))
        .map(|index| log[index].event_id.as_str())
        .collect();
    check_events(view, &visible)?;
    if place == Some(Place::Join) {
        check_state(view, log, members)
    } else {
        check_old_state(view, log, user_id)
    }
}

fn check_events(view: &RoomView, visible: &[&str]) -> Result<(), String> {
    let unique: HashSet<_> = view.events.iter().collect();
    if unique.len() != view.events.len() {
        return Err(format!("events are told twice: {:#?}", view.events));
    }
    // What was made of it must be all that is visible, up to where the user left.
    let count = match view.place {
        Some(Place::Join) => visible.len(),
        _ => view.told_at_end.unwrap_or(view.events.len()),
    };
    let complete = view.place == Some(Place::Join) || view.told_at_end.is_some();
    let wanted: Vec<&str> = visible.iter().copied().take(count).collect();
    if complete && view.events != wanted {
        let missing: BTreeSet<_> = wanted
            .iter()
            .filter(|event_id| !view.events.iter().any(|known| known == *event_id))
            .collect();
        return Err(format!(
            "found the events {:#?}, expected {wanted:#?}, missing {missing:#?}",
            view.events
        ));
    }
    let hidden: Vec<_> = view
        .events
        .iter()
        .filter(|event_id| !visible.contains(&event_id.as_str()))
        .collect();
    if hidden.is_empty() {
        Ok(())
    } else {
        Err(format!("told what is hidden: {hidden:#?}"))
    }
}

/// Whoever is not in the room knows no state of it that is younger than their last change of
/// membership (CVE-2024-53867).
fn check_old_state(view: &RoomView, log: &[Logged], user_id: &str) -> Result<(), String> {
    let end = log.iter().rposition(|event| event.is_member(user_id));
    let end = end.map_or(0, |end| end + 1);
    let known: HashSet<&String> = view.state.values().collect();
    let after = log.iter().skip(end);
    let hidden: Vec<_> = after
        .filter(|event| known.contains(&event.event_id))
        .collect();
    if hidden.is_empty() {
        Ok(())
    } else {
        Err(format!("told state that is hidden: {hidden:#?}"))
    }
}

fn check_state(view: &RoomView, log: &[Logged], members: Members) -> Result<(), String> {
    let state: BTreeMap<_, _> = log
        .iter()
        .filter_map(|event| Some((event.key()?, event.event_id.clone())))
        .collect();
    let matters = |(event_type, state_key): &(String, String)| {
        members == Members::All || event_type != "m.room.member" || view.senders.contains(state_key)
    };
    let keys = state.keys().chain(view.state.keys());
    for key in keys.filter(|key| matters(key)) {
        let (found, expected) = (view.state.get(key), state.get(key));
        if found != expected {
            return Err(format!("{key:?} is {found:?}, not {expected:?}"));
        }
    }
    let content: BTreeMap<&str, &Value> = log
        .iter()
        .map(|event| (event.event_id.as_str(), &event.content))
        .collect();
    let joined = state.iter().filter(|((event_type, _), event_id)| {
        event_type == "m.room.member" && content[event_id.as_str()]["membership"] == "join"
    });
    let joined = i64::try_from(joined.count()).unwrap();
    if view.joined_count == joined {
        Ok(())
    } else {
        let told = view.joined_count;
        Err(format!("the summary tells of {told} members, not {joined}"))
    }
}

/// The items of a JSON list; none where there is no list.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A JSON string.
#[track_caller]
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
