//! Up to where a client knows its rooms, and what happened since: from memory where the position
//! lies in the window, else from the log.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{Conversation, lists::Choice, snapshot::Snapshot};
use crate::{
    store::{
        RoomNid, RoomPosition, StreamPosition, UserNid,
        live::{Change, Survey, TimelineEvent},
        stream,
    },
    sync::{
        Error, Sync,
        entries::{OwnChange, events_of, logged_changes, own_changes},
    },
};

/// Up to where the rooms of a survey are known.
#[derive(Default)]
pub(super) struct Past {
    /// Whether memory reaches back to the position.
    covered: bool,
    /// Where rooms that are behind, or not in memory, were when they were told.
    from: HashMap<RoomNid, RoomPosition>,
    /// Where rooms were at the position, if memory does not say.
    live: HashMap<RoomNid, RoomPosition>,
    /// What happened to the user's own memberships since.
    own: HashMap<RoomNid, OwnChange>,
    /// For rooms of which memory does not say all: the oldest place that was asked for.
    pub(super) logged: Option<(StreamPosition, HashSet<RoomNid>)>,
    /// The rooms and types of account data that were written, of which memory does not say.
    pub(super) account_data: HashSet<(Option<RoomNid>, String)>,
    /// Whose receipts changed, of which memory does not say.
    pub(super) receipts: Vec<(RoomNid, UserNid)>,
}

impl Sync {
    /// Up to where the client knows the chosen rooms.
    pub(super) async fn past(
        &self,
        conversation: &Conversation,
        survey: &Survey,
        choice: &Choice<'_>,
    ) -> Result<Past, Error> {
        let user = conversation.request.actor.user;
        let mut past = Past {
            covered: survey.covers,
            own: own_changes(user, &survey.own),
            ..Past::default()
        };
        let Some(since) = conversation.since() else {
            return Ok(past);
        };
        let since = since.position;
        for (room, entries) in &survey.in_rooms {
            if let Some(first) = events_of(entries).first() {
                let before = RoomPosition(first.position.0 - 1);
                past.from.insert(*room, before);
            }
        }
        let sent = choice.rooms.keys().filter_map(|room| {
            let sent = conversation.known.rooms.get(room)?;
            Some((*room, sent.behind))
        });
        let places: Vec<(RoomNid, StreamPosition)> = sent
            .filter_map(|(room, behind)| match behind {
                Some(behind) => Some((room, behind)),
                None => (!survey.covers).then_some((room, since)),
            })
            .collect();
        let oldest = places.iter().map(|(_, at)| *at).min();
        let oldest = if survey.covers {
            oldest
        } else {
            Some(oldest.unwrap_or(since).min(since))
        };
        let Some(oldest) = oldest else {
            return Ok(past);
        };
        let rooms: Vec<RoomNid> = places.iter().map(|(room, _)| *room).collect();
        let mut conn = self.0.store.conn().await?;
        past.from
            .extend(stream::room_positions(&mut conn, &places).await?);
        if !survey.covers {
            let places: Vec<_> = choice.rooms.keys().map(|room| (*room, since)).collect();
            past.live = stream::room_positions(&mut conn, &places)
                .await?
                .into_iter()
                .collect();
        }
        let changes = stream::membership_changes(&mut conn, user, oldest, survey.now).await?;
        let changes: Vec<_> = changes
            .into_iter()
            .filter(|(room, _, position)| past.from.get(room).is_some_and(|from| position > from))
            .collect();
        past.own.extend(logged_changes(&changes, &survey.rooms));
        let written = stream::account_data_changes(&mut conn, user, oldest, survey.now).await?;
        past.account_data = written.into_iter().collect();
        past.receipts = stream::receipt_changes(&mut conn, &rooms, oldest, survey.now).await?;
        past.logged = Some((oldest, rooms.into_iter().collect()));
        Ok(past)
    }
}

impl Past {
    /// Whether memory says all that happened in a room since the client was told of it.
    pub(super) fn is_in_memory(&self, room: RoomNid) -> bool {
        let logged = self.logged.as_ref();
        self.covered && logged.is_none_or(|(_, rooms)| !rooms.contains(&room))
    }

    /// The last position that the client knows of a room that it was told of.
    pub(super) fn from(&self, room: RoomNid, newest: RoomPosition) -> RoomPosition {
        self.from.get(&room).copied().unwrap_or(newest)
    }

    /// What happened to the user's own membership.
    pub(super) fn own(&self, room: RoomNid) -> Option<OwnChange> {
        self.own.get(&room).copied()
    }

    /// All events of a room that the client does not know, where memory has them.
    pub(super) fn events(&self, room: RoomNid, survey: &Survey) -> Option<Vec<Arc<TimelineEvent>>> {
        if !self.is_in_memory(room) {
            return None;
        }
        let entries = survey.in_rooms.get(&room);
        Some(
            entries
                .map(|entries| events_of(entries))
                .unwrap_or_default(),
        )
    }

    /// The newest event of a room that had happened at the client's position: what follows is live.
    pub(super) fn live_after(&self, room: RoomNid, survey: &Survey) -> Option<RoomPosition> {
        if !self.covered {
            return self.live.get(&room).copied();
        }
        let entries = survey.in_rooms.get(&room)?;
        let first = events_of(entries).first().map(|event| event.position)?;
        Some(RoomPosition(first.0 - 1))
    }

    /// Whether account data was written since.
    pub(super) fn has_account_data(&self, survey: &Survey, of: Option<RoomNid>) -> bool {
        let in_memory = survey
            .own
            .iter()
            .any(|entry| matches!(&entry.change, Change::AccountData { room, .. } if *room == of));
        in_memory || self.account_data.iter().any(|(room, _)| *room == of)
    }

    /// Whether anybody has read anything since.
    pub(super) fn has_receipts(&self, room: RoomNid, survey: &Survey) -> bool {
        let entries = survey.in_rooms.get(&room).into_iter().flatten();
        let mut receipts = entries.filter(|entry| matches!(entry.change, Change::Receipt { .. }));
        receipts.next().is_some() || self.receipts.iter().any(|(of, _)| *of == room)
    }

    /// Whether the user has read anything since.
    pub(super) fn has_read(
        &self,
        room: RoomNid,
        conversation: &Conversation,
        survey: &Survey,
    ) -> bool {
        let reader = conversation.request.actor.user;
        let entries = survey.in_rooms.get(&room).into_iter().flatten();
        let mut own = entries
            .filter(|entry| matches!(entry.change, Change::Receipt { user, .. } if user == reader));
        own.next().is_some() || self.receipts.contains(&(room, reader))
    }

    /// The rooms that the client was told of, that are not chosen, and in which something happened.
    pub(super) fn unseen(
        survey: &Survey,
        known: &Snapshot,
        choice: &Choice<'_>,
    ) -> BTreeSet<RoomNid> {
        let is_unseen =
            |room: &RoomNid| known.rooms.contains_key(room) && !choice.rooms.contains_key(room);
        if !survey.covers {
            return known.rooms.keys().copied().filter(is_unseen).collect();
        }
        let happened = survey.in_rooms.keys().copied();
        let own = survey.own.iter().filter_map(|entry| match &entry.change {
            Change::AccountData { room, .. } => *room,
            change => change.room(),
        });
        happened.chain(own).filter(is_unseen).collect()
    }
}
