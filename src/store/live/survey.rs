//! All rooms of a user at one moment, as lists of rooms are made of them.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use super::{Activity, Change, Entry, Live, UserRooms, activity::LiveActivity};
use crate::store::{RoomNid, RoomPosition, StreamPosition, UserNid};

/// A user's rooms and what happened in them, seen at one moment.
#[derive(Debug)]
pub struct Survey {
    /// The moment.
    pub now: StreamPosition,
    /// The user's rooms then.
    pub rooms: UserRooms,
    /// Whether memory reaches back to the position asked for; if not, `own` and `in_rooms` are
    /// empty.
    pub covers: bool,
    /// What happened to the user: membership events and account data.
    pub own: Vec<Arc<Entry>>,
    /// What happened in the user's rooms.
    pub in_rooms: HashMap<RoomNid, Vec<Arc<Entry>>>,
    /// What the rooms are listed by.
    pub activities: HashMap<RoomNid, Activity>,
    /// Rooms of which that is not in memory.
    pub missing: Vec<RoomNid>,
}

impl Live {
    /// Lifts a room in the lists; called under the lock.
    pub(super) fn apply_activity(&self, entry: &Entry) {
        let Change::Event(event) = &entry.change else {
            return;
        };
        let activity = match self.activities.get(&event.room) {
            Some(activity) => activity,
            None if event.position == RoomPosition(1) => {
                let begun = Arc::new(LiveActivity::begin(event));
                self.activities.insert(event.room, Arc::clone(&begun));
                begun
            }
            None => return,
        };
        activity.apply(event, entry.position);
    }

    /// Takes in the activity of rooms as it was read from the database, no later than this memory
    /// knows.
    pub(in crate::store) fn insert_activities(&self, activities: &[(RoomNid, Activity)]) {
        // Nothing is applied meanwhile.
        let inner = self.read();
        for (room, read) in activities {
            let activity = self
                .activities
                .get_with(*room, || Arc::new(LiveActivity::new(read)));
            for (at, event) in inner.window.events_at(*room) {
                activity.apply(&event, at);
            }
        }
    }

    /// A user's rooms, what happened in them and to the user since a position, and what lists of
    /// them are made by, all at one moment. `None` if the user's view is not in memory.
    pub fn survey(&self, user: UserNid, since: StreamPosition) -> Option<Survey> {
        let inner = self.read();
        let online = inner.users.get(&user)?;
        online.touch(inner.uses.fetch_add(1, Ordering::Relaxed));
        let rooms = online.rooms().clone();
        let covers = inner.window.covers(since);
        let mut survey = Survey {
            now: inner.window.last(),
            covers,
            own: Vec::new(),
            in_rooms: HashMap::new(),
            activities: HashMap::with_capacity(rooms.len()),
            missing: Vec::new(),
            rooms,
        };
        if covers {
            survey.own = inner.window.own_after(since, user);
            survey.in_rooms = inner
                .window
                .rooms_after(since, &survey.rooms)
                .into_iter()
                .collect();
        }
        for (room, _) in survey.rooms.iter() {
            match self.activities.get(&room) {
                Some(activity) => {
                    survey.activities.insert(room, activity.now());
                }
                None => survey.missing.push(room),
            }
        }
        Some(survey)
    }
}
