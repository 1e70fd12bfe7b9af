//! Which rooms a search looks at, and what the index finds in them.

use std::collections::{HashMap, HashSet};

use ruma::{OwnedRoomId, OwnedUserId, api::client::filter::RoomEventFilter};

use super::{Error, Rooms, SearchQuery, SearchToken, token::OneGroup};
use crate::{
    rooms::upgrade::predecessor,
    store::{
        Membership, RoomNid, RoomPosition, StreamPosition,
        live::UserRooms,
        search::{self, Findings, Found, Search},
    },
};

/// The most candidates of a page, the newest ones.
const MAX_CANDIDATES: i64 = 250;
/// The most among which the best come first, if that is asked for. What is older is ranked after
/// them, as many at a time.
const MAX_RANKED: i64 = 500;
/// How many rooms back a room's predecessors are searched.
const MAX_PREDECESSORS: usize = 10;

/// What a page is taken from.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// In the order in which they are looked at.
    pub(super) found: Vec<Found>,
    /// Before which place of the stream there may be more; none if these are all.
    pub(super) rest: Option<StreamPosition>,
    /// About how many there are in all.
    pub(super) about: usize,
}

impl Candidates {
    fn new(findings: Findings, search: &Search, query: &SearchQuery) -> Self {
        let mut found = findings.newest;
        let oldest = found.last().map(|found| found.at);
        let rest = oldest.filter(|_| search.is_reached_by(found.len()));
        if query.by_rank {
            found.sort_by(|a, b| b.rank.total_cmp(&a.rank).then(b.at.cmp(&a.at)));
        }
        Self {
            found,
            rest,
            about: findings.about,
        }
    }

    /// Where a search finds what comes after so many of these: before which place of the stream, and
    /// after how many of those.
    pub(super) fn after(&self, query: &SearchQuery, looked_at: usize) -> (StreamPosition, usize) {
        if query.by_rank {
            // The same are ranked again.
            let newest = self.found.iter().map(|found| found.at.0).max();
            let before = newest.unwrap_or(i64::MAX).saturating_add(1);
            return (StreamPosition(before), looked_at);
        }
        let last = looked_at.checked_sub(1).and_then(|at| self.found.get(at));
        (last.map_or(StreamPosition(i64::MAX), |last| last.at), 0)
    }
}

impl Rooms {
    /// The rooms that a search looks at, each up to where the reader was in it: all in which they
    /// are or were, or those of the filter with their predecessors.
    pub(super) async fn searched_rooms(
        &self,
        rooms: &UserRooms,
        filter: &RoomEventFilter,
    ) -> Result<Vec<(RoomNid, RoomPosition)>, Error> {
        let all: Vec<_> = rooms.iter().map(|(room, _)| room).collect();
        let ids = if filter.rooms.is_some() || !filter.not_rooms.is_empty() {
            self.0.store.room_ids(&all).await?
        } else {
            HashMap::new()
        };
        let mut wanted = None;
        if let Some(named) = &filter.rooms {
            let named: HashSet<_> = named.iter().collect();
            let named = ids.iter().filter(|(_, id)| named.contains(id));
            let mut numbers: HashSet<_> = named.map(|(room, _)| *room).collect();
            self.add_predecessors(&ids, &mut numbers).await?;
            wanted = Some(numbers);
        }
        let is_wanted = |room: &RoomNid| {
            let wanted = wanted.as_ref();
            wanted.is_none_or(|wanted| wanted.contains(room))
        };
        let mut searched: Vec<_> = rooms
            .iter()
            .filter(|(room, of_user)| is_wanted(room) && !of_user.forgotten)
            .filter_map(|(room, of_user)| match of_user.membership {
                Membership::Join => Some((room, RoomPosition(i64::MAX))),
                Membership::Leave | Membership::Ban => Some((room, of_user.position)),
                Membership::Invite | Membership::Knock => None,
            })
            .collect();
        if !filter.not_rooms.is_empty() {
            let not_wanted: HashSet<_> = filter.not_rooms.iter().collect();
            searched.retain(|(room, _)| {
                let id = ids.get(room);
                !id.is_some_and(|id| not_wanted.contains(id))
            });
        }
        Ok(searched)
    }

    /// Adds the rooms that rooms were upgraded from, and so on: one step for all of them at once.
    /// `ids` are those of the rooms that the reader has to do with.
    async fn add_predecessors(
        &self,
        ids: &HashMap<RoomNid, OwnedRoomId>,
        numbers: &mut HashSet<RoomNid>,
    ) -> Result<(), Error> {
        let by_id: HashMap<_, _> = ids.iter().map(|(room, id)| (id, *room)).collect();
        let mut step: Vec<_> = numbers.iter().copied().collect();
        for _ in 0..MAX_PREDECESSORS {
            let mut next = Vec::new();
            for room in self.0.store.load_rooms(&step).await? {
                let before = predecessor(room.head().room());
                let before = before.and_then(|before| by_id.get(&before).copied());
                next.extend(before.filter(|before| numbers.insert(*before)));
            }
            if next.is_empty() {
                break;
            }
            step = next;
        }
        Ok(())
    }

    /// What the index finds, in the order in which it is looked at.
    pub(super) async fn candidates(
        &self,
        rooms: &UserRooms,
        mut searched: Vec<(RoomNid, RoomPosition)>,
        query: &SearchQuery,
        token: Option<SearchToken>,
    ) -> Result<Candidates, Error> {
        let group = token.and_then(|token| token.group);
        // The best of all are counted before one group is taken from them.
        let group = group.filter(|_| !query.by_rank);
        if let Some(OneGroup::Room(room)) = group {
            searched.retain(|(searched, _)| *searched == room);
        }
        if searched.is_empty() || query.keys.is_empty() {
            return Ok(Candidates::default());
        }
        let texts = |users: &[OwnedUserId]| -> Vec<String> {
            let users = users.iter().map(ToString::to_string);
            users.filter(|user| !user.contains('\0')).collect()
        };
        let mut not_senders = texts(&query.filter.not_senders);
        // Names and topics of theirs are not heard either: nobody looks for state of ignored users.
        not_senders.extend(rooms.ignored().iter().map(ToString::to_string));
        let search = Search {
            term: query.term.clone(),
            rooms: searched,
            keys: query.keys.clone(),
            senders: query.filter.senders.as_deref().map(texts),
            not_senders,
            before: token.map_or(StreamPosition(i64::MAX), |token| token.before),
            limit: if query.by_rank {
                MAX_RANKED
            } else {
                MAX_CANDIDATES
            },
        };
        let mut tx = self.0.store.begin().await?;
        let findings = search::find(&mut tx, &search).await?;
        drop(tx);
        let mut candidates = Candidates::new(findings, &search, query);
        if let Some(OneGroup::Sender(sender)) = group {
            candidates.found.retain(|found| found.sender == sender);
        }
        Ok(candidates)
    }
}
