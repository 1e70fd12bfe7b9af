//! The state of rooms: all of it, or one event.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    EventId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
};

use super::Viewer;
use crate::{
    event::{
        Pdu, StateEvent,
        client_format::{Unsigned, client_text},
    },
    rooms::{Actor, Error, Rooms},
    store::{
        RoomPosition,
        live::LiveRoom,
        state::{self, StateRow},
    },
};

/// How a state event is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFormat {
    /// Its content alone.
    Content,
    /// The whole event.
    Event,
}

/// The state of a room at one point: the head's where nothing has changed since, or else as it was
/// read.
pub(super) enum StateAt {
    Head,
    Rows(Vec<StateRow>),
}

impl Rooms {
    /// The state of a room (client-server API v1.19, `GET /rooms/{roomId}/state`) as JSON: now for
    /// members, as it was when they left for those who left.
    ///
    /// # Errors
    /// [`Error::NotJoined`] for a reader who never was a member, unless the history is
    /// world-readable.
    pub async fn state(&self, reader: &Actor, room_id: &RoomId) -> Result<Vec<String>, Error> {
        let (_, viewer, at) = self.open_state(reader, room_id).await?;
        self.state_texts_at(&viewer, at, None).await
    }

    /// One state event of a room (`GET /rooms/{roomId}/state/{eventType}/{stateKey}`), as JSON.
    ///
    /// # Errors
    /// [`Error::UnknownState`] if there is none, and as [`Self::state`].
    pub async fn state_event(
        &self,
        reader: &Actor,
        room_id: &RoomId,
        event_type: &StateEventType,
        state_key: &str,
        format: StateFormat,
    ) -> Result<String, Error> {
        let (_, viewer, at) = self.open_state(reader, room_id).await?;
        let wanted = [(event_type.clone(), state_key)];
        let found = self.slots_at(&viewer, &wanted, at).await?;
        let found = found.first().ok_or(Error::UnknownState)?;
        Ok(match format {
            StateFormat::Content => found.content_str().to_owned(),
            StateFormat::Event => text(found, None),
        })
    }

    /// A room with the point at which the reader may see its state.
    pub(super) async fn open_state(
        &self,
        reader: &Actor,
        room_id: &RoomId,
    ) -> Result<(Arc<LiveRoom>, Viewer, RoomPosition), Error> {
        let opened = self.open(reader, room_id).await?;
        let (room, mut viewer) = opened.ok_or(Error::NotJoined)?;
        if !viewer.head().room().is_joined(&reader.user_id) {
            viewer.reach(&self.0.store, RoomPosition(1)).await?;
        }
        let at = viewer.last_readable_state_position();
        Ok((room, viewer, at.ok_or(Error::NotJoined)?))
    }

    /// The state at a point. That the reader may see it was decided before.
    pub(super) async fn state_at(
        &self,
        viewer: &Viewer,
        at: RoomPosition,
    ) -> Result<StateAt, Error> {
        let room = viewer.head().room();
        if at >= viewer.head().position() || room.state().all(|event| event.position <= at.0) {
            return Ok(StateAt::Head);
        }
        let mut conn = self.0.store.conn().await?;
        let rows = state::list_at(&mut conn, &[(viewer.room(), at)]).await?;
        Ok(StateAt::Rows(rows))
    }

    /// The state at a point as JSON; where `members` is given, with no other members' events.
    pub(in crate::rooms) async fn state_texts_at(
        &self,
        viewer: &Viewer,
        at: RoomPosition,
        members: Option<&BTreeSet<&UserId>>,
    ) -> Result<Vec<String>, Error> {
        let wanted = |pdu: &Pdu| {
            *pdu.event_type() != TimelineEventType::RoomMember
                || members.is_none_or(|members| is_member_of(pdu, members))
        };
        Ok(match self.state_at(viewer, at).await? {
            StateAt::Head => {
                let events = viewer.head().room().state();
                let events = events.filter(|event| wanted(&event.pdu));
                events.map(|event| head_text(event)).collect()
            }
            StateAt::Rows(rows) => {
                let rows = rows.iter().filter(|row| wanted(&row.pdu));
                rows.map(|row| text(&row.pdu, None)).collect()
            }
        })
    }

    /// The member events of some users at a point, as JSON.
    pub(super) async fn members_at(
        &self,
        viewer: &Viewer,
        users: &BTreeSet<&UserId>,
        at: RoomPosition,
    ) -> Result<Vec<String>, Error> {
        let users = users.iter();
        let slots: Vec<_> = users
            .map(|user| (StateEventType::RoomMember, user.as_str()))
            .collect();
        let found = self.slots_at(viewer, &slots, at).await?;
        Ok(found.iter().map(|pdu| text(pdu, None)).collect())
    }

    /// What some slots hold at a point. Those that never held anything are left out.
    async fn slots_at(
        &self,
        viewer: &Viewer,
        slots: &[(StateEventType, &str)],
        at: RoomPosition,
    ) -> Result<Vec<Arc<Pdu>>, Error> {
        let room = viewer.head().room();
        let mut found = Vec::with_capacity(slots.len());
        let mut changed = Vec::new();
        for (event_type, state_key) in slots {
            match room.state_event(event_type, state_key) {
                Some(now) if now.position <= at.0 => found.push(Arc::clone(&now.pdu)),
                Some(_) => changed.push((event_type.to_string(), (*state_key).to_owned())),
                // State never goes away: what is not there now was not there before.
                None => (),
            }
        }
        if !changed.is_empty() {
            let numbers = self.0.store.slot_numbers(changed).await?;
            let wanted: Vec<_> = numbers
                .into_values()
                .map(|slot| (viewer.room(), slot, at))
                .collect();
            let mut conn = self.0.store.conn().await?;
            let rows = state::slots_at(&mut conn, &wanted).await?;
            found.extend(rows.into_iter().map(|row| row.pdu));
        }
        Ok(found)
    }
}

fn is_member_of(pdu: &Pdu, members: &BTreeSet<&UserId>) -> bool {
    let member = pdu
        .state_key()
        .and_then(|key| <&UserId>::try_from(key).ok());
    member.is_some_and(|member| members.contains(member))
}

/// A state event of a head as JSON.
pub(super) fn head_text(event: &StateEvent) -> String {
    text(&event.pdu, event.replaces.as_deref())
}

/// A state event as JSON.
pub(super) fn text(pdu: &Pdu, replaces: Option<&EventId>) -> String {
    let unsigned = Unsigned {
        replaces_state: replaces,
        ..Unsigned::default()
    };
    client_text(pdu, &unsigned, true)
}
