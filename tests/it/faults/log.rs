//! What the database has of rooms, and what clients should have made of it.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::view::{Members, Place, RoomView, text};

/// An event as the database has it.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) sender: String,
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
            sender: text(&json["sender"]),
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

/// Whether nothing waits that users of this name prefix have begun, such as showing their new names
/// in all their rooms.
pub(super) async fn is_at_rest(conn: &mut PgConnection, prefix: &str) -> bool {
    let statement = "SELECT COUNT(*) FROM account_work JOIN users USING (user_nid) \
         WHERE user_id LIKE $1";
    let waiting: i64 = sqlx::query_scalar(statement)
        .bind(format!("@{prefix}%"))
        .fetch_one(conn)
        .await
        .unwrap();
    waiting == 0
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

/// Who reads, and what of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) user_id: &'a str,
    pub(super) members: Members,
    pub(super) only_messages: bool,
    /// Whom the reader has ignored from the beginning.
    pub(super) ignored: Option<&'a str>,
}

impl Reader<'_> {
    fn wants(&self, event: &Logged) -> bool {
        let is_of_kind = !self.only_messages || event.event_type == "m.room.message";
        is_of_kind && (event.state_key.is_some() || !self.ignores(event))
    }

    fn ignores(&self, event: &Logged) -> bool {
        self.ignored == Some(event.sender.as_str())
    }
}

/// Compares what was made of a room with its log.
pub(super) fn check_room(
    view: &RoomView,
    log: &[Logged],
    reader: &Reader<'_>,
) -> Result<(), String> {
    let user_id = reader.user_id;
    let course = Course::new(log, user_id);
    let mut own = log.iter().rev().filter(|event| event.is_member(user_id));
    if course.now() == "invite" && own.next().is_some_and(|event| reader.ignores(event)) {
        // That is not told, so that the room stays what it was.
        let is_told = view.place == Some(Place::Invite);
        return if is_told {
            Err("told of an invite of somebody who is ignored".to_owned())
        } else {
            Ok(())
        };
    }
    let place = match course.now() {
        "join" => Some(Place::Join),
        "invite" => Some(Place::Invite),
        "knock" => Some(Place::Knock),
        // What ended before the first sync is not told.
        _ => view.place.and(Some(Place::Leave)),
    };
    if view.place != place {
        return Err(format!("stands at {:?}, not {place:?}", view.place));
    }
    let visible: Vec<&str> = (0..log.len())
        .filter(|index| course.may_see(*index) && reader.wants(&log[*index]))
        .map(|index| log[index].event_id.as_str())
        .collect();
    // How their own membership ended people always hear, and from `/sync` even what others may
    // not see, such as a ban of somebody who had left.
    let own_ends: HashSet<&str> = log
        .iter()
        .filter(|event| event.is_member(user_id))
        .filter(|event| ["leave", "ban"].contains(&text(&event.content["membership"]).as_str()))
        .map(|event| event.event_id.as_str())
        .collect();
    check_events(view, &visible, &own_ends)?;
    if place == Some(Place::Join) {
        check_state(view, log, reader.members)
    } else {
        check_old_state(view, log, user_id)
    }
}

fn check_events(view: &RoomView, visible: &[&str], own_ends: &HashSet<&str>) -> Result<(), String> {
    let unique: HashSet<_> = view.events.iter().collect();
    if unique.len() != view.events.len() {
        return Err(format!("events are told twice: {:#?}", view.events));
    }
    let is_visible: HashSet<&str> = visible.iter().copied().collect();
    let hidden: Vec<&str> = view
        .events
        .iter()
        .map(String::as_str)
        .filter(|event_id| !is_visible.contains(event_id) && !own_ends.contains(event_id))
        .collect();
    if !hidden.is_empty() {
        return Err(format!("told what is hidden: {hidden:#?}"));
    }
    let found: Vec<&str> = view
        .events
        .iter()
        .map(String::as_str)
        .filter(|event_id| is_visible.contains(event_id))
        .collect();
    // What was made of it must be all that is visible, up to where the user left.
    let is_complete = view.place == Some(Place::Join) || view.told_at_end.is_some();
    let wanted = match view.place {
        Some(Place::Join) => visible,
        _ => visible.get(..found.len()).unwrap_or(visible),
    };
    if is_complete && found != wanted {
        let missing: Vec<_> = wanted.iter().filter(|one| !found.contains(one)).collect();
        return Err(format!(
            "found the events {found:#?}, expected {wanted:#?}, missing {missing:#?}"
        ));
    }
    Ok(())
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
