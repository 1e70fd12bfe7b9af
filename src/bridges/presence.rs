//! Telling a service who is there: those who are its users, and those who share a room with what
//! concerns it.
//!
//! Specification v1.19, application service API, "Pushing ephemeral data".

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{body::Body, sender::Sender};
use crate::{
    store::{RoomNid, StoreError, UserNid, memberships},
    sync::{Changed, presence_event},
};

/// How many changed people are looked at for one transaction.
const MAX_PEOPLE: usize = 500;
/// About how many rooms are looked at for one transaction of which nothing is known yet.
const MAX_UNKNOWN: usize = 200;

/// Up to where a service was told who is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// The time of the newest change that was looked at.
    pub(super) until: i64,
    /// Whether there are more changes.
    pub(super) has_more: bool,
}

impl Sender {
    /// Up to where the service was told.
    pub(super) fn told(&self) -> Told {
        Told {
            until: self.presence,
            has_more: false,
        }
    }

    /// Adds those who have changed since and concern the service, each once and as they are now.
    pub(super) async fn add_presence(&mut self, body: &mut Body) -> Result<Told, StoreError> {
        let bridges = self.bridges.clone();
        let presence = &bridges.0.parts.presence;
        let mut told = self.told();
        let mut changed = presence.changed_after(self.presence, MAX_PEOPLE);
        told.has_more = changed.len() == MAX_PEOPLE;
        if changed.is_empty() {
            return Ok(told);
        }
        let rooms = self.rooms_of(&changed).await?;
        let unknown = self.unknown_rooms(&mut changed, &rooms, &mut told);
        self.learn(unknown).await?;
        let now = presence.now();
        for one in &changed {
            told.until = one.at;
            let mut rooms = rooms.get(&one.user).into_iter().flat_map(|rooms| &**rooms);
            if self.service.covers_user(&one.shown.user_id)
                || rooms.any(|room| self.interest.knows(*room) == Some(true))
            {
                body.push_presence(presence_event(&one.shown, now));
            }
        }
        Ok(told)
    }

    /// The rooms in which people are who are not the service's own.
    async fn rooms_of(
        &self,
        changed: &[Changed],
    ) -> Result<HashMap<UserNid, Arc<[RoomNid]>>, StoreError> {
        let others = changed.iter();
        let others = others.filter(|one| !self.service.covers_user(&one.shown.user_id));
        let others: Vec<UserNid> = others.map(|one| one.user).collect();
        if others.is_empty() {
            return Ok(HashMap::new());
        }
        let mut conn = self.bridges.0.parts.store.conn().await?;
        let rooms = memberships::joined_rooms(&mut conn, &others).await?;
        Ok(rooms.into_iter().collect())
    }

    /// The rooms that are to be looked at before it is known whom the service is told of. Where
    /// there are too many the last of the people have their turn later.
    fn unknown_rooms(
        &self,
        changed: &mut Vec<Changed>,
        rooms: &HashMap<UserNid, Arc<[RoomNid]>>,
        told: &mut Told,
    ) -> HashSet<RoomNid> {
        let mut unknown = HashSet::new();
        for (at, one) in changed.iter().enumerate() {
            let rooms = rooms.get(&one.user).into_iter().flat_map(|rooms| &**rooms);
            let rooms: Vec<RoomNid> = rooms.copied().collect();
            let known = |room: &RoomNid| self.interest.knows(*room);
            if rooms.iter().any(|room| known(room) == Some(true)) {
                continue;
            }
            if unknown.len() >= MAX_UNKNOWN {
                changed.truncate(at);
                told.has_more = true;
                break;
            }
            unknown.extend(rooms.into_iter().filter(|room| known(room).is_none()));
        }
        unknown
    }

    /// Finds out about rooms of which nothing is known.
    async fn learn(&mut self, rooms: HashSet<RoomNid>) -> Result<(), StoreError> {
        if rooms.is_empty() {
            return Ok(());
        }
        let bridges = self.bridges.clone();
        let store = &bridges.0.parts.store;
        let server_name = bridges.0.settings.server_name.as_str();
        let rooms: Vec<RoomNid> = rooms.into_iter().collect();
        let ids: Vec<_> = store.room_ids(&rooms).await?.into_iter().collect();
        let interest = &mut self.interest;
        interest
            .learn(store, &self.service, server_name, &ids)
            .await
    }
}
