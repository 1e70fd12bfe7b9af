//! What a user missed: from memory where the token lies in the window, else from the database.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use serde_json::value::RawValue;

use super::{
    Error, Request, Sync,
    entries::{OwnChange, events_of, hides_invite, logged_changes, own_changes},
};
use crate::rooms::Unread;
use crate::store::{
    Membership, RoomNid, RoomPosition, StreamPosition, UserNid, account_data,
    live::{Change, Heads, PUSH_RULES, RoomHead, RoomOfUser, Since, TimelineEvent, UserRooms},
    receipts::{self, Receipt},
    stream,
};

/// How often memory is looked at again because a room fell out of it in between.
const MAX_LOOKS: usize = 4;

/// What there is to tell, all at one moment.
pub(super) struct Missed {
    /// The moment.
    pub(super) now: StreamPosition,
    /// The rooms in which the user is joined, and that have news.
    pub(super) joined: Vec<JoinedNews>,
    /// The rooms that the user left, or was removed from.
    pub(super) left: Vec<LeftNews>,
    /// The rooms that the user was invited to.
    pub(super) invited: Vec<Arc<RoomHead>>,
    /// The rooms that the user has knocked on.
    pub(super) knocked: Vec<Arc<RoomHead>>,
    /// Account data, by room; global under `None`.
    pub(super) account_data: HashMap<Option<RoomNid>, BTreeMap<String, Box<RawValue>>>,
    /// The user's rooms.
    pub(super) rooms: UserRooms,
    /// How many messages are unread in the rooms that have news.
    pub(super) unread: HashMap<RoomNid, Unread>,
}

/// News of a room in which the user is joined.
pub(super) struct JoinedNews {
    pub(super) room: RoomNid,
    pub(super) head: Arc<RoomHead>,
    pub(super) of_user: RoomOfUser,
    /// The last position that the client knows; `None` if it knows nothing of the room.
    pub(super) from: Option<RoomPosition>,
    /// All events after that, where memory has them.
    pub(super) events: Option<Vec<Arc<TimelineEvent>>>,
    /// The newest receipts that the client does not know and may see.
    pub(super) receipts: Vec<Receipt>,
}

/// A room that the user left.
#[derive(Debug)]
pub(super) struct LeftNews {
    pub(super) room: RoomNid,
    pub(super) head: Arc<RoomHead>,
    /// The position of the event that ended the membership.
    pub(super) at: RoomPosition,
    /// The last position that the client knows.
    pub(super) from: Option<RoomPosition>,
    /// Whether the user was joined at any time that the client does not know all of.
    pub(super) was_joined: bool,
}

impl Sync {
    /// All that a first sync tells.
    pub(super) async fn everything(&self, request: &Request) -> Result<Missed, Error> {
        let user = request.actor.user;
        let seen = self
            .seen(user, request, |live| live.everything(user))
            .await?
            .ok_or(crate::store::StoreError::Unavailable)?;
        let mut missed = Missed::new(&seen);
        for (room, of_user) in seen.rooms.iter() {
            let head = seen.heads.get(&room).cloned();
            match (of_user.membership, head) {
                (Membership::Join, Some(head)) => {
                    missed
                        .joined
                        .push(JoinedNews::new(room, head, of_user, None, None));
                }
                (Membership::Invite, Some(head)) => {
                    let user_id = &request.actor.user_id;
                    if !hides_invite(&seen.rooms, room, &head, user_id) {
                        missed.invited.push(head);
                    }
                }
                (Membership::Knock, Some(head)) => missed.knocked.push(head),
                _ => {}
            }
        }
        if request.filter.include_leave {
            self.add_rooms_left_before(request, &mut missed).await?;
        }
        let rooms: Vec<_> = missed.joined.iter().map(|news| news.room).collect();
        let mut conn = self.0.store.conn().await?;
        if !rooms.is_empty() {
            missed.add_receipts(receipts::list(&mut conn, &rooms, user, None).await?);
        }
        for data in account_data::list(&mut conn, user).await? {
            // Whoever never saw it need not hear that it is gone.
            if data.content.get() != account_data::DELETED {
                missed.add_account_data(data.room, data.event_type, data.content);
            }
        }
        let global = missed.account_data.entry(None).or_default();
        if !global.contains_key(PUSH_RULES) {
            // Who has changed none has the predefined ones.
            let rules = self.0.rooms.default_push_rules(&request.actor.user_id)?;
            global.insert(PUSH_RULES.to_owned(), rules);
        }
        Ok(missed)
    }

    /// What happened since a token.
    pub(super) async fn since(
        &self,
        request: &Request,
        since: StreamPosition,
    ) -> Result<Missed, Error> {
        let user = request.actor.user;
        let heads = if request.full_state {
            Heads::OfAll
        } else {
            Heads::OfNews
        };
        let seen = self
            .seen(user, request, |live| live.since(user, since, heads))
            .await?;
        match seen {
            Some(seen) => self.since_in_memory(request, &seen).await,
            None => self.since_in_database(request, since).await,
        }
    }

    /// Looks at memory until no head is missing there.
    async fn seen(
        &self,
        user: UserNid,
        request: &Request,
        look: impl Fn(&crate::store::live::Live) -> Option<Since> + Send,
    ) -> Result<Option<Since>, Error> {
        let store = &self.0.store;
        let mut last = None;
        for _ in 0..MAX_LOOKS {
            store.load_user(user).await?;
            let Some(mut seen) = look(store.live()) else {
                return Ok(None);
            };
            if seen.missing.is_empty() {
                return Ok(Some(seen));
            }
            let loaded = store.load_rooms(&seen.missing).await?;
            // Should memory be too short for all of them at once, these are a moment younger.
            for room in loaded {
                seen.heads.insert(room.nid(), room.head());
            }
            tracing::debug!(user.id = %request.actor.user_id, "rooms were read for a sync");
            last = Some(seen);
        }
        Ok(last)
    }

    async fn since_in_memory(&self, request: &Request, seen: &Since) -> Result<Missed, Error> {
        let user = request.actor.user;
        let mut missed = Missed::new(seen);
        let own = own_changes(user, &seen.own);
        for (room, entries) in &seen.in_rooms {
            let (Some(of_user), Some(head)) = (seen.rooms.get(*room), seen.heads.get(room)) else {
                continue;
            };
            let events = events_of(entries);
            let from = events.first().map_or_else(
                || head.position(),
                |event| RoomPosition(event.position.0 - 1),
            );
            let own = own.get(room).copied();
            match of_user.membership {
                Membership::Join if own.is_some_and(|own| own.joined) => {
                    // What the client has of the room is from before it left.
                    let head = Arc::clone(head);
                    missed
                        .joined
                        .push(JoinedNews::new(*room, head, of_user, None, None));
                }
                Membership::Join => {
                    let head = Arc::clone(head);
                    let news = JoinedNews::new(*room, head, of_user, Some(from), Some(events));
                    missed.joined.push(news);
                }
                _ => {
                    if let Some(own) = own {
                        missed.add_other(request, *room, head, own, Some(from));
                    }
                }
            }
        }
        if request.full_state {
            missed.add_rooms_without_news(seen);
        }
        missed
            .add_memory_receipts(self, user, &seen.in_rooms)
            .await?;
        missed.add_receipts_of_new_rooms(self, user).await?;
        missed.add_account_data_of_new_rooms(self, user).await?;
        // Somebody's private receipt wakes everybody, and is news for nobody else.
        let ignored = Arc::clone(missed.rooms.ignored());
        let is_news = |event: &Arc<TimelineEvent>| {
            event.slot.is_some() || event.sender == user || !ignored.contains(event.pdu.sender())
        };
        missed.joined.retain(|news| {
            let events = news.events.as_ref();
            let has_events = events.is_none_or(|events| events.iter().any(is_news));
            has_events || !news.receipts.is_empty() || request.full_state
        });
        for entry in &seen.own {
            if let Change::AccountData {
                room,
                event_type,
                content,
                ..
            } = &entry.change
            {
                missed.add_account_data(*room, (**event_type).to_owned(), (**content).to_owned());
            }
        }
        Ok(missed)
    }

    /// The same for a token older than the window: the cost follows what happened.
    async fn since_in_database(
        &self,
        request: &Request,
        since: StreamPosition,
    ) -> Result<Missed, Error> {
        let user = request.actor.user;
        let seen = self
            .seen(user, request, |live| live.everything(user))
            .await?
            .ok_or(crate::store::StoreError::Unavailable)?;
        let mut missed = Missed::new(&seen);
        let mut conn = self.0.store.conn().await?;
        let changes = stream::membership_changes(&mut conn, user, since, seen.now).await?;
        let own = logged_changes(&changes, &seen.rooms);
        let watched: Vec<RoomNid> = seen
            .rooms
            .iter()
            .filter(|(room, of_user)| {
                of_user.membership == Membership::Join || own.contains_key(room)
            })
            .map(|(room, _)| room)
            .collect();
        let places: Vec<_> = watched.iter().map(|room| (*room, since)).collect();
        let known = stream::room_positions(&mut conn, &places).await?;
        let known: HashMap<_, _> = known.into_iter().collect();
        let receipts = stream::receipt_changes(&mut conn, &watched, since, seen.now).await?;
        let with_receipts: HashSet<RoomNid> = receipts.iter().map(|(room, _)| *room).collect();
        let left_heads = self.heads_of(&watched, &seen).await?;
        for room in watched {
            let (Some(of_user), Some(head)) = (seen.rooms.get(room), left_heads.get(&room)) else {
                continue;
            };
            let from = known.get(&room).copied();
            let own = own.get(&room).copied();
            if of_user.membership == Membership::Join {
                let from = from.filter(|_| !own.is_some_and(|own| own.joined));
                let has_news = from.is_none_or(|from| from < head.position());
                if has_news || with_receipts.contains(&room) || request.full_state {
                    let head = Arc::clone(head);
                    missed
                        .joined
                        .push(JoinedNews::new(room, head, of_user, from, None));
                }
            } else if let Some(own) = own {
                missed.add_other(request, room, head, own, from);
            }
        }
        let rooms: Vec<_> = missed.joined.iter().map(|news| news.room).collect();
        missed.add_receipts(receipts::list(&mut conn, &rooms, user, Some(&receipts)).await?);
        missed.add_receipts_of_new_rooms(self, user).await?;
        missed.add_account_data_of_new_rooms(self, user).await?;
        let written = stream::account_data_changes(&mut conn, user, since, seen.now).await?;
        let written: HashSet<_> = written.into_iter().collect();
        for data in account_data::list(&mut conn, user).await? {
            let key = (data.room, data.event_type);
            if written.contains(&key) {
                missed.add_account_data(key.0, key.1, data.content);
            }
        }
        Ok(missed)
    }

    /// The heads of rooms, those that the user has left among them.
    async fn heads_of(
        &self,
        rooms: &[RoomNid],
        seen: &Since,
    ) -> Result<HashMap<RoomNid, Arc<RoomHead>>, Error> {
        let mut heads = seen.heads.clone();
        let missing: Vec<_> = rooms
            .iter()
            .copied()
            .filter(|room| !heads.contains_key(room))
            .collect();
        for room in self.0.store.load_rooms(&missing).await? {
            heads.insert(room.nid(), room.head());
        }
        Ok(heads)
    }

    /// Rooms that were left at any time and not forgotten, for a first sync that asks for them.
    async fn add_rooms_left_before(
        &self,
        request: &Request,
        missed: &mut Missed,
    ) -> Result<(), Error> {
        let rooms = missed.rooms.clone();
        let gone: Vec<_> = rooms
            .iter()
            .filter(|(_, of_user)| {
                matches!(of_user.membership, Membership::Leave | Membership::Ban)
                    && !of_user.forgotten
            })
            .collect();
        let nids: Vec<_> = gone.iter().map(|(room, _)| *room).collect();
        let heads: HashMap<_, _> = self
            .0
            .store
            .load_rooms(&nids)
            .await?
            .into_iter()
            .map(|room| (room.nid(), room.head()))
            .collect();
        tracing::debug!(user.id = %request.actor.user_id, rooms = gone.len(), "rooms left before");
        for (room, of_user) in gone {
            if let Some(head) = heads.get(&room) {
                missed.left.push(LeftNews {
                    room,
                    head: Arc::clone(head),
                    at: of_user.position,
                    from: None,
                    was_joined: true,
                });
            }
        }
        Ok(())
    }
}

impl JoinedNews {
    fn new(
        room: RoomNid,
        head: Arc<RoomHead>,
        of_user: &RoomOfUser,
        from: Option<RoomPosition>,
        events: Option<Vec<Arc<TimelineEvent>>>,
    ) -> Self {
        Self {
            room,
            head,
            of_user: of_user.clone(),
            from,
            events,
            receipts: Vec::new(),
        }
    }
}

impl Missed {
    fn new(seen: &Since) -> Self {
        Self {
            now: seen.now,
            joined: Vec::new(),
            left: Vec::new(),
            invited: Vec::new(),
            knocked: Vec::new(),
            account_data: HashMap::new(),
            rooms: seen.rooms.clone(),
            unread: HashMap::new(),
        }
    }

    /// A room in which the user is not joined, after a change of the user's membership.
    fn add_other(
        &mut self,
        request: &Request,
        room: RoomNid,
        head: &Arc<RoomHead>,
        own: OwnChange,
        from: Option<RoomPosition>,
    ) {
        let Some(of_user) = self.rooms.get(room) else {
            return;
        };
        let was_joined = own.before == Membership::Join;
        let left = match of_user.membership {
            // Of a room that they were in, they hear how that ended.
            Membership::Invite if hides_invite(&self.rooms, room, head, &request.actor.user_id) => {
                own.left
            }
            Membership::Invite => {
                self.invited.push(Arc::clone(head));
                None
            }
            Membership::Knock => {
                self.knocked.push(Arc::clone(head));
                None
            }
            Membership::Leave | Membership::Ban => Some(of_user.position),
            Membership::Join => None,
        };
        if let Some(at) = left {
            self.left.push(LeftNews {
                room,
                head: Arc::clone(head),
                at,
                // Who came and went since knows nothing of the room.
                from: from.filter(|_| was_joined),
                was_joined: was_joined || own.joined,
            });
        }
    }

    /// Rooms in which nothing happened, for an answer with the whole state.
    fn add_rooms_without_news(&mut self, seen: &Since) {
        let known: HashSet<_> = self.joined.iter().map(|news| news.room).collect();
        for (room, of_user) in seen.rooms.iter() {
            if of_user.membership == Membership::Join
                && !known.contains(&room)
                && let Some(head) = seen.heads.get(&room)
            {
                let from = Some(head.position());
                let head = Arc::clone(head);
                let news = JoinedNews::new(room, head, of_user, from, Some(Vec::new()));
                self.joined.push(news);
            }
        }
    }

    /// All account data of the rooms of which the client knows nothing: what was written while the
    /// user was not there was not told.
    async fn add_account_data_of_new_rooms(
        &mut self,
        sync: &Sync,
        user: UserNid,
    ) -> Result<(), Error> {
        let new = self.joined.iter().filter(|news| news.from.is_none());
        let new: HashSet<RoomNid> = new.map(|news| news.room).collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut conn = sync.0.store.conn().await?;
        for data in account_data::list(&mut conn, user).await? {
            let is_new = data.room.is_some_and(|room| new.contains(&room));
            if is_new && data.content.get() != account_data::DELETED {
                self.add_account_data(data.room, data.event_type, data.content);
            }
        }
        Ok(())
    }

    fn add_account_data(
        &mut self,
        room: Option<RoomNid>,
        event_type: String,
        content: Box<RawValue>,
    ) {
        let of_room = self.account_data.entry(room).or_default();
        of_room.insert(event_type, content);
    }
}
