//! Which state goes into an answer: what the client does not know and the timeline does not tell.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{
    OwnedUserId, UserId,
    events::{StateEventType, TimelineEventType},
};

use super::{Error, Request, Sync, section::Section};
use crate::{
    event::Pdu,
    store::{
        RoomNid, RoomPosition, events,
        live::{RoomHead, TimelineEvent},
        state,
    },
};

/// Which state an answer tells.
#[derive(Clone, Copy)]
pub(super) struct StateScope {
    /// Whether it is told whole, whatever the client knows.
    pub(super) full: bool,
    /// Whether it is that after the timeline, instead of that before.
    pub(super) after: bool,
}

impl From<&Request> for StateScope {
    fn from(request: &Request) -> Self {
        Self {
            full: request.full_state,
            after: request.state_after,
        }
    }
}

impl Sync {
    /// Fills in the state of sections, with no more queries for many rooms than for one.
    pub(super) async fn add_state(
        &self,
        request: &Request,
        sections: &mut [Section],
    ) -> Result<(), Error> {
        self.add_whole_state(request.into(), sections).await?;
        self.add_changed_state(request.into(), sections).await?;
        let told = self.told(&request.told_key(), request.since);
        for section in sections {
            let room_id = section.head.room().room_id().to_owned();
            let whole = is_whole(request.into(), section);
            let mut wanted = None;
            if request.filter.lazy_load_members {
                let mut members = lazy_members(request, section, whole);
                let mut changed = HashSet::new();
                if !request.filter.redundant_members
                    && let Some(told) = &told
                {
                    let mut told = told
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    if section.from.is_none() {
                        // What the client has of the room is from before, if it has anything.
                        told.members.retain(|(room, _)| *room != section.room);
                    }
                    if !whole {
                        // Whom the client knows it must not know as they were.
                        changed = known_members(section, &told.members);
                    }
                    members.retain(|user| told.members.insert((section.room, user.clone())));
                    told.members.extend(told_by_timeline(section));
                }
                add_missing_members(section, &members);
                members.extend(changed);
                wanted = Some(members);
            }
            let filter = &request.filter.state;
            section.state.retain(|pdu| {
                filter.wants(&room_id, pdu)
                    && wanted
                        .as_ref()
                        .is_none_or(|members| is_wanted(pdu, members, &request.actor.user_id))
            });
        }
        Ok(())
    }

    /// The whole state, for rooms that the client does not know: the current state, with what the
    /// timeline changed taken back.
    pub(super) async fn add_whole_state(
        &self,
        scope: StateScope,
        sections: &mut [Section],
    ) -> Result<(), Error> {
        let mut places: Vec<(RoomNid, RoomPosition)> = Vec::new();
        let mut old: Vec<(RoomNid, RoomPosition)> = Vec::new();
        for section in sections
            .iter_mut()
            .filter(|section| is_whole(scope, section))
        {
            let end = end_of_state(scope, section);
            if section.head.position() > section.to && end < section.head.position() {
                // A room that was left: its state then is in the table.
                old.push((section.room, end));
                continue;
            }
            for event in section.head.room().state() {
                if RoomPosition(event.position) <= end {
                    section.state.push(Arc::clone(&event.pdu));
                }
            }
            places.extend(taken_back(section, end));
        }
        if places.is_empty() && old.is_empty() {
            return Ok(());
        }
        let mut conn = self.0.store.conn().await?;
        for event in events::at(&mut conn, &places).await? {
            add_to(sections, event.room, &event.pdu);
        }
        if !old.is_empty() {
            for row in state::list_at(&mut conn, &old).await? {
                add_to(sections, row.room, &row.pdu);
            }
        }
        Ok(())
    }

    /// What changed between what the client knows and the timeline.
    pub(super) async fn add_changed_state(
        &self,
        scope: StateScope,
        sections: &mut [Section],
    ) -> Result<(), Error> {
        let mut ranges = Vec::new();
        for section in sections
            .iter_mut()
            .filter(|section| !is_whole(scope, section))
        {
            let Some(from) = section.from else { continue };
            let end = end_of_state(scope, section);
            if from >= end {
                continue;
            }
            match &section.known {
                Some(events) => section.state = newest_state(events, end),
                None => ranges.push((section.room, from, end)),
            }
        }
        if !ranges.is_empty() {
            let mut conn = self.0.store.conn().await?;
            for row in state::changes(&mut conn, &ranges).await? {
                add_to(sections, row.room, &row.pdu);
            }
        }
        Ok(())
    }
}

/// Whether the answer holds the whole state of the room.
pub(super) fn is_whole(scope: StateScope, section: &Section) -> bool {
    section.from.is_none() || scope.full
}

/// The position whose state the answer tells.
fn end_of_state(scope: StateScope, section: &Section) -> RoomPosition {
    if scope.after {
        section.to
    } else {
        section.before
    }
}

fn add_to(sections: &mut [Section], room: RoomNid, pdu: &Arc<Pdu>) {
    if let Some(section) = sections.iter_mut().find(|section| section.room == room) {
        section.state.push(Arc::clone(pdu));
    }
}

/// The places of the events that stood where something after `end` stands now.
fn taken_back(section: &Section, end: RoomPosition) -> Vec<(RoomNid, RoomPosition)> {
    if end.0 < 1 {
        return Vec::new();
    }
    // The first change of each slot after the end names what it replaced.
    let mut seen = HashSet::new();
    let mut places = Vec::new();
    let known = section.known.as_deref().unwrap_or_default();
    let mut later: Vec<&Arc<TimelineEvent>> = known
        .iter()
        .chain(&section.timeline)
        .filter(|event| event.position > end && event.slot.is_some())
        .collect();
    later.sort_unstable_by_key(|event| event.position);
    for event in later {
        if seen.insert(event.slot)
            && let Some(replaced) = event.replaces
            && replaced <= end
        {
            places.push((section.room, replaced));
        }
    }
    places
}

/// The newest state event of each slot among events up to a position.
pub(super) fn newest_state(events: &[Arc<TimelineEvent>], end: RoomPosition) -> Vec<Arc<Pdu>> {
    let mut newest: HashMap<_, &Arc<TimelineEvent>> = HashMap::new();
    for event in events.iter().filter(|event| event.position <= end) {
        if let Some(slot) = event.slot {
            newest.insert(slot, event);
        }
    }
    let mut newest: Vec<_> = newest.into_values().collect();
    newest.sort_unstable_by_key(|event| event.position);
    newest
        .into_iter()
        .map(|event| Arc::clone(&event.pdu))
        .collect()
}

/// Whose member events a client with lazy loading must get.
fn lazy_members(request: &Request, section: &Section, whole: bool) -> HashSet<OwnedUserId> {
    let senders = section
        .timeline
        .iter()
        .map(|event| event.pdu.sender().to_owned());
    let mut members: HashSet<OwnedUserId> = senders.collect();
    if whole {
        members.insert(request.actor.user_id.clone());
        if is_nameless(&section.head) {
            let heroes = section.head.room().heroes(&request.actor.user_id);
            members.extend(heroes.into_iter().map(ToOwned::to_owned));
        }
    }
    // The timeline tells of these itself.
    for event in &section.timeline {
        if let Some(Ok(user)) = member_of(&event.pdu).map(UserId::parse)
            && !request.state_after
        {
            let first = section
                .timeline
                .iter()
                .find(|sent| sent.pdu.sender() == user);
            if first.is_none_or(|first| first.position >= event.position) {
                members.remove(&user);
            }
        }
    }
    members
}

/// The members that the timeline's own member events tell of.
fn told_by_timeline(section: &Section) -> Vec<(RoomNid, OwnedUserId)> {
    let users = section
        .timeline
        .iter()
        .filter_map(|event| member_of(&event.pdu));
    users
        .filter_map(|user| UserId::parse(user).ok())
        .map(|user| (section.room, user))
        .collect()
}

/// The users whose membership the state tells, and whom the client knows already.
fn known_members(
    section: &Section,
    told: &HashSet<(RoomNid, OwnedUserId)>,
) -> HashSet<OwnedUserId> {
    let users = section.state.iter().filter_map(|pdu| member_of(pdu));
    users
        .filter_map(|user| UserId::parse(user).ok())
        .filter(|user| told.contains(&(section.room, user.clone())))
        .collect()
}

/// Adds the member events of these users that the state does not hold, as they are now, unless
/// they are younger than the state.
fn add_missing_members(section: &mut Section, members: &HashSet<OwnedUserId>) {
    let present: HashSet<&str> = section
        .state
        .iter()
        .filter_map(|pdu| member_of(pdu))
        .collect();
    let start = section.start();
    let missing: Vec<_> = members
        .iter()
        .filter(|user| !present.contains(user.as_str()))
        .filter_map(|user| section.head.room().member(user))
        .filter(|member| RoomPosition(member.position) < start)
        .map(|member| Arc::clone(&member.pdu))
        .collect();
    section.state.extend(missing);
}

/// Whether a client with lazy loading wants a state event.
fn is_wanted(pdu: &Pdu, members: &HashSet<OwnedUserId>, own: &UserId) -> bool {
    let Some(user) = member_of(pdu) else {
        return true;
    };
    user == own.as_str() || members.iter().any(|member| member == user)
}

/// Whose membership an event is about.
pub(super) fn member_of(pdu: &Pdu) -> Option<&str> {
    if *pdu.event_type() == TimelineEventType::RoomMember {
        pdu.state_key()
    } else {
        None
    }
}

/// Whether clients name the room after its members.
pub(super) fn is_nameless(head: &RoomHead) -> bool {
    let has = |event_type| head.room().state_event(&event_type, "").is_some();
    !has(StateEventType::RoomName) && !has(StateEventType::RoomCanonicalAlias)
}
