//! Reading rooms: events, pages of the timeline, state and members.
//!
//! Every path opens the room with [`Rooms::open`], which gives a [`Viewer`], and shows nothing that
//! the viewer may not see. Events come out as texts that are ready for the reader.

mod bundle;
pub mod filter;
mod members;
mod position;
mod relations;
mod state;
mod timeline;
mod visibility;
mod walk;

use std::{collections::HashMap, sync::Arc};

use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId, room::JoinRule};

use self::timeline::texts;
pub use self::{
    bundle::Bundles,
    members::MembersQuery,
    relations::{RelationsPage, RelationsQuery, ThreadsPage, ThreadsQuery},
    state::StateFormat,
    timeline::{Context, MessagesQuery, Page},
};
pub use self::{
    position::{NoToken, Token, token_after},
    visibility::Viewer,
};
#[cfg(test)]
pub(super) use self::{
    visibility::{Line, Steps},
    walk::Walk,
};
use super::{Actor, Error, Rooms};
use crate::store::{
    RoomNid, RoomPosition, StoreError, events,
    live::{LiveRoom, TimelineEvent},
};

impl Rooms {
    /// One event (client-server API v1.19, `GET /rooms/{roomId}/event/{eventId}`), as JSON.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] if there is none, or the reader may not see it.
    pub async fn event(
        &self,
        reader: &Actor,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<String, Error> {
        let opened = self.open(reader, room_id).await?;
        let (room, mut viewer) = opened.ok_or(Error::UnknownEvent)?;
        let event = self.visible_event(&room, &mut viewer, event_id).await?;
        let event = event.ok_or(Error::UnknownEvent)?;
        let events = [event];
        let bundles = self.bundle(reader, &viewer, &events).await?;
        let texts = texts(&events, &viewer, &bundles, reader, room_id);
        texts.into_iter().next().ok_or(Error::UnknownEvent)
    }

    /// The room of an event, of those that the reader is in or was in (`GET /events/{eventId}`).
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] where it is in none of them.
    pub async fn room_of_event(
        &self,
        reader: &Actor,
        event_id: &EventId,
    ) -> Result<OwnedRoomId, Error> {
        if event_id.as_str().contains('\0') {
            return Err(Error::UnknownEvent);
        }
        let store = &self.0.store;
        store.load_user(reader.user).await?;
        let rooms = store.live().rooms_of(reader.user);
        let rooms = rooms.map(|(_, rooms)| rooms).unwrap_or_default();
        let wanted: Vec<_> = rooms
            .iter()
            .map(|(room, _)| (room, event_id.to_owned()))
            .collect();
        let places = {
            let mut conn = store.conn().await?;
            events::places(&mut conn, &wanted).await?
        };
        let rooms: Vec<RoomNid> = places.iter().map(|(room, _)| *room).collect();
        let ids = store.room_ids(&rooms).await?;
        ids.into_values().next().ok_or(Error::UnknownEvent)
    }

    /// The ids of the rooms in which a user is joined (`GET /joined_rooms`).
    pub async fn joined_room_ids(&self, reader: &Actor) -> Result<Vec<OwnedRoomId>, Error> {
        let rooms = self.joined_rooms(reader.user).await?;
        let mut ids: Vec<_> = self.0.store.room_ids(&rooms).await?.into_values().collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Whether everybody may join a room, so that whoever reads it need not have been asked in.
    /// `false` where there is none.
    pub async fn is_public(&self, room_id: &RoomId) -> Result<bool, Error> {
        let room = self.find_room(room_id).await?;
        Ok(room.is_some_and(|room| *room.head().room().join_rule() == JoinRule::Public))
    }

    /// A room, and what the reader may see of it: known of the newest events only, at first.
    /// `None` if there is no such room.
    pub(super) async fn open(
        &self,
        reader: &Actor,
        room_id: &RoomId,
    ) -> Result<Option<(Arc<LiveRoom>, Viewer)>, Error> {
        let Some(room) = self.find_room(room_id).await? else {
            return Ok(None);
        };
        self.look_for(&room, &reader.user_id).await?;
        let viewer = self.viewer(&room, reader).await?;
        Ok(Some((room, viewer)))
    }

    /// What a user may see of a room: known of the newest events only, at first. Who has forgotten
    /// a room is a stranger to it.
    pub async fn viewer(&self, room: &LiveRoom, reader: &Actor) -> Result<Viewer, Error> {
        let store = &self.0.store;
        let newest = RoomPosition(i64::MAX);
        store.load_user(reader.user).await?;
        let rooms = store.live().rooms_of(reader.user);
        let (_, rooms) = rooms.unwrap_or_default();
        let ignored = Arc::clone(rooms.ignored());
        let of_user = rooms.get(room.nid());
        let viewer = if of_user.is_some_and(|of_user| of_user.forgotten)
            && !room.head().room().is_joined(&reader.user_id)
        {
            Viewer::load_stranger(store, room, newest).await?
        } else {
            Viewer::load(store, room, &reader.user_id, newest).await?
        };
        Ok(viewer.ignoring(ignored))
    }

    /// An event of a room, if the reader may see it. Afterwards the viewer knows of its position.
    pub(super) async fn visible_event(
        &self,
        room: &LiveRoom,
        viewer: &mut Viewer,
        event_id: &EventId,
    ) -> Result<Option<Arc<TimelineEvent>>, Error> {
        let found = self.find_events(room, &[event_id]).await?;
        let Some(event) = found.into_values().next() else {
            return Ok(None);
        };
        viewer.reach(&self.0.store, event.position).await?;
        Ok(viewer.shows(&event).then_some(event))
    }

    /// Events of a room by their ids, from memory where they are recent. Whether anybody may see
    /// them is not looked at.
    pub(super) async fn find_events(
        &self,
        room: &LiveRoom,
        event_ids: &[&EventId],
    ) -> Result<HashMap<OwnedEventId, Arc<TimelineEvent>>, StoreError> {
        self.find_events_of(room.nid(), event_ids).await
    }

    /// The same for a room that need not be in memory.
    pub(super) async fn find_events_of(
        &self,
        room: RoomNid,
        event_ids: &[&EventId],
    ) -> Result<HashMap<OwnedEventId, Arc<TimelineEvent>>, StoreError> {
        let recent = self.0.store.live().recent_events(room);
        let mut found = HashMap::with_capacity(event_ids.len());
        let mut missing = Vec::new();
        for event_id in event_ids {
            let known = recent
                .iter()
                .rfind(|event| event.pdu.event_id() == *event_id);
            match known {
                Some(event) => {
                    found.insert((*event_id).to_owned(), Arc::clone(event));
                }
                // The database keeps no NUL.
                None if event_id.as_str().contains('\0') => (),
                None => missing.push((room, (*event_id).to_owned())),
            }
        }
        if !missing.is_empty() {
            let mut conn = self.0.store.conn().await?;
            let places = events::places(&mut conn, &missing).await?;
            for event in events::at(&mut conn, &places).await? {
                found.insert(event.pdu.owned_event_id().clone(), event);
            }
        }
        Ok(found)
    }
}
