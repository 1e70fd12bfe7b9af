//! The section of an answer that says who is there.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{UserId, presence::PresenceState};
use serde_json::json;

use super::{Presence, Shown, people::People, share_room};
use crate::{
    store::{
        Membership, RoomNid, UserNid,
        live::{LiveRoom, RoomHead, UserRooms},
    },
    sync::{Filter, Request, section::Section as RoomSection},
};
/// How many people one answer tells of.
const MAX_PEOPLE: usize = 500;
/// How many changed people are looked at for one answer.
const MAX_LOOKED_AT: usize = 5_000;
/// How often one answer asks whether somebody is in a room that is new to the reader.
const MAX_ASKED: usize = 100_000;

/// Who is to be told of, as events, and the time of the newest change that was seen.
#[derive(Debug, Default)]
pub(in crate::sync) struct Section {
    pub(in crate::sync) events: Vec<String>,
    pub(in crate::sync) newest: i64,
}

/// With whom the reader shares a room that they did not share before: of them the reader is told
/// though they have not changed.
#[derive(Debug, Default)]
struct Newcomers {
    /// People who joined a room in which the reader is.
    people: Vec<UserNid>,
    /// Rooms that the reader joined, and those in which it is not known who joined.
    rooms: Vec<Arc<RoomHead>>,
}

impl Newcomers {
    fn of(request: &Request, sections: &[RoomSection]) -> Self {
        let mut newcomers = Self::default();
        for section in sections {
            let is_unknown = section.known.is_none() && section.limited;
            if section.from.is_none() || is_unknown {
                newcomers.rooms.push(Arc::clone(&section.head));
                continue;
            }
            let events = section.known.as_ref().unwrap_or(&section.timeline);
            for change in events.iter().filter_map(|event| event.member) {
                if change.joins() && change.user != request.actor.user {
                    newcomers.people.push(change.user);
                }
            }
        }
        newcomers
    }

    fn into_people(self, people: &People) -> impl Iterator<Item = UserNid> {
        let Self {
            people: joined,
            rooms,
        } = self;
        let asked = MAX_ASKED.checked_div(rooms.len()).unwrap_or(0);
        let members = people.present().take(asked);
        let members = members.filter(move |(_, user_id)| {
            let mut rooms = rooms.iter();
            rooms.any(|head| head.room().is_joined(user_id))
        });
        joined.into_iter().chain(members.map(|(user, _)| user))
    }
}

impl Presence {
    /// What a client has not been told of the people with whom it shares a room; in a first sync,
    /// of those who are there. `sections` are those of the rooms in which the reader is.
    pub(in crate::sync) fn section(
        &self,
        request: &Request,
        rooms: &UserRooms,
        sections: &[RoomSection],
    ) -> Section {
        let since = request.since.map(|since| since.presence);
        if !self.is_on() {
            return Section {
                newest: since.unwrap_or(0),
                events: Vec::new(),
            };
        }
        let now = self.0.clock.now_i64();
        let people = self.people();
        let newest = people.newest().max(since.unwrap_or(0));
        // Changes at the very time of the token were seen, and what other processes call now may
        // differ a little: no one waits for them.
        let mut candidates: Vec<UserNid> = match since {
            Some(since) if since >= people.newest() => Vec::new(),
            Some(since) => people.changed_after(since).take(MAX_LOOKED_AT).collect(),
            None => {
                let present = people.present().map(|(user, _)| user);
                present.take(MAX_LOOKED_AT).collect()
            }
        };
        if since.is_some() {
            let mut looked_at: HashSet<_> = candidates.iter().copied().collect();
            let newcomers = Newcomers::of(request, sections).into_people(&people);
            let newcomers = newcomers.filter(|user| looked_at.insert(*user));
            candidates.extend(newcomers.take(MAX_LOOKED_AT));
        }
        let candidates: Vec<Shown> = {
            let own = request.actor.user;
            let mut known = HashMap::new();
            let seen = candidates.into_iter().filter(|user| {
                *user == own
                    || people
                        .user_id(*user)
                        .is_some_and(|user_id| self.share(rooms, *user, user_id, &mut known))
            });
            let shown = seen.filter_map(|user| people.shown(user, now));
            let limit = request.filter.presence.own_limit().unwrap_or(MAX_PEOPLE);
            shown
                .filter(|shown| wants(&request.filter, shown))
                .take(limit.min(MAX_PEOPLE))
                .collect()
        };
        drop(people);
        let events = candidates.iter();
        let events = events.map(|shown| event(shown, now).to_string()).collect();
        Section { events, newest }
    }

    /// Whether somebody shares a room with the reader, as far as memory knows.
    fn share(
        &self,
        rooms: &UserRooms,
        user: UserNid,
        user_id: &UserId,
        known: &mut HashMap<RoomNid, Option<Arc<LiveRoom>>>,
    ) -> bool {
        if let Some(theirs) = self.rooms_of(user) {
            return share_room(rooms, &theirs);
        }
        // Somebody at another process: the reader's rooms are asked.
        rooms.with(Membership::Join).any(|room| {
            let live = known
                .entry(room)
                .or_insert_with(|| self.0.store.live().room(room));
            live.as_ref()
                .is_some_and(|live| live.head().room().is_joined(user_id))
        })
    }
}

fn wants(filter: &Filter, shown: &Shown) -> bool {
    filter.presence.wants_type("m.presence") && filter.presence.wants_sender(&shown.user_id)
}

/// The event that tells of somebody.
pub fn event(shown: &Shown, now: i64) -> serde_json::Value {
    let content = content(shown, now);
    json!({ "type": "m.presence", "sender": shown.user_id, "content": content })
}

/// What the event, and the endpoint, say of somebody.
pub fn content(shown: &Shown, now: i64) -> serde_json::Value {
    let mut content = json!({ "presence": shown.state.as_str() });
    if shown.last_active_ms > 0 {
        content["last_active_ago"] = json!(now.saturating_sub(shown.last_active_ms).max(0));
    }
    if shown.state == PresenceState::Online {
        content["currently_active"] = json!(shown.currently_active);
    }
    if let Some(status) = &shown.status {
        content["status_msg"] = json!(status);
    }
    content
}
