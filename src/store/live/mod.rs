//! What a process holds in memory: the recent stream, the rooms in use and the users online.
//!
//! An incremental sync whose token lies in the window touches no database. The window, the users'
//! views of their rooms and the watchers change together, under one lock that is held for no
//! longer than a few map operations, so a reader sees all of them at one stream position.

mod activity;
mod change;
mod counts;
mod devices;
mod event;
mod follow;
mod labels;
mod room;
mod survey;
mod trim;
mod unread;
mod user;
mod window;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use moka::sync::Cache;
use tokio::sync::{Notify, watch};

pub(in crate::store) use self::activity::bump;
pub(in crate::store) use self::change::{
    kind, parse_devices_detail, parse_event_detail, parse_member_detail, parse_receipt_detail,
    parse_recipients_detail,
};
pub use self::{
    activity::Activity,
    change::{Change, Entry},
    counts::NotifyCount,
    devices::{DeviceNews, ListNews},
    event::{DELAYED, MemberChange, SenderTransaction, TimelineEvent},
    labels::{INVITES, Ignored, Labels, refuses_invites},
    room::{LiveRoom, RoomHead, RoomWriter},
    survey::Survey,
    user::{EVERYBODY, Highlight, NOTICES, OwnRules, PUSH_RULES, RoomOfUser, UserRooms},
};
use self::{activity::LiveActivity, user::OnlineUser, window::Window};
use super::{Membership, RoomNid, StreamPosition, UserNid};

/// The most rooms whose activity is kept; each takes some 200 bytes.
const MAX_ACTIVITIES: u64 = 100_000;

/// How much memory this takes.
#[derive(Clone, Copy, Debug)]
pub struct LiveOptions {
    /// The window of the recent stream, in bytes.
    pub window_bytes: usize,
    /// The rooms in memory, in bytes.
    pub rooms_bytes: u64,
    /// How many users without a waiting sync are kept.
    pub idle_users: usize,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            window_bytes: 24 << 20,
            rooms_bytes: 192 << 20,
            idle_users: 5_000,
        }
    }
}

/// The memory of one process.
#[derive(Debug)]
pub struct Live {
    inner: RwLock<Inner>,
    rooms: Cache<RoomNid, Arc<LiveRoom>>,
    activities: Cache<RoomNid, Arc<LiveActivity>>,
    idle_users: usize,
    advanced: watch::Sender<StreamPosition>,
}

#[derive(Debug)]
struct Inner {
    window: Window,
    users: HashMap<UserNid, OnlineUser>,
    /// The users in memory by the rooms that they see.
    watchers: HashMap<RoomNid, HashSet<UserNid>>,
    /// Counts the uses of views, to find the longest unused.
    uses: AtomicU64,
    /// With how many users those without a waiting sync are counted anew.
    trim_at: usize,
}

/// What one user missed since a position, seen at one moment.
#[derive(Debug)]
pub struct Since {
    /// The moment.
    pub now: StreamPosition,
    /// The user's rooms then.
    pub rooms: UserRooms,
    /// What happened to the user: membership events and account data.
    pub own: Vec<Arc<Entry>>,
    /// What happened in the user's rooms, by room.
    pub in_rooms: Vec<(RoomNid, Vec<Arc<Entry>>)>,
    /// The heads of these rooms at that moment.
    pub heads: HashMap<RoomNid, Arc<RoomHead>>,
    /// Rooms whose heads are not in memory: read them, and look again.
    pub missing: Vec<RoomNid>,
}

/// Whose heads are wanted beside what a user missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heads {
    /// Those of the rooms in which something happened.
    OfNews,
    /// Those of all rooms that the user has not left.
    OfAll,
}

impl Live {
    /// A memory that knows the stream from `position` on.
    pub fn new(options: LiveOptions, position: StreamPosition) -> Self {
        let rooms = Cache::builder()
            .max_capacity(options.rooms_bytes)
            .weigher(|_, room: &Arc<LiveRoom>| {
                let state = room.head().room().state().count();
                u32::try_from(4096 + state * 2048).unwrap_or(u32::MAX)
            })
            .build();
        Self {
            inner: RwLock::new(Inner {
                window: Window::new(position, options.window_bytes),
                users: HashMap::new(),
                watchers: HashMap::new(),
                uses: AtomicU64::new(0),
                trim_at: options.idle_users,
            }),
            rooms,
            activities: Cache::new(MAX_ACTIVITIES),
            idle_users: options.idle_users,
            advanced: watch::Sender::new(position),
        }
    }

    /// The newest position that readers of this process see.
    pub fn position(&self) -> StreamPosition {
        self.read().window.last()
    }

    /// How many rooms and users are in memory.
    pub fn sizes(&self) -> (u64, usize) {
        (self.rooms.entry_count(), self.read().users.len())
    }

    /// A room that is in memory.
    pub fn room(&self, room: RoomNid) -> Option<Arc<LiveRoom>> {
        self.rooms.get(&room)
    }

    /// Takes a room in that was read from the database. Somebody else's copy goes first.
    pub(super) fn insert_room(&self, room: Arc<LiveRoom>) -> Arc<LiveRoom> {
        let nid = room.nid();
        let room = self.rooms.get_with(nid, || room);
        // What was committed while the room was read stands in the window, or will come.
        let missed: Vec<_> = {
            let inner = self.read();
            let behind = |event: &Arc<TimelineEvent>| event.position > room.head().position();
            inner.window.events_of(nid).filter(behind).collect()
        };
        for event in missed {
            if !room.advance_by(&event) {
                self.rooms.invalidate(&nid);
                break;
            }
        }
        room
    }

    /// Forgets a room, so that it is read anew.
    pub fn forget_room(&self, room: RoomNid) {
        self.rooms.invalidate(&room);
    }

    /// Whether a user's view is in memory.
    pub fn knows_user(&self, user: UserNid) -> bool {
        self.read().users.contains_key(&user)
    }

    /// Takes a user's view in that was read at `position`. `false` if the window does not reach
    /// back to there: then it must be read again.
    pub(super) fn insert_user(
        &self,
        user: UserNid,
        mut rooms: UserRooms,
        position: StreamPosition,
    ) -> bool {
        let mut inner = self.write();
        if inner.users.contains_key(&user) {
            return true;
        }
        if !inner.window.covers(position) {
            return false;
        }
        for entry in inner.window.after(position) {
            rooms.apply(user, &entry.change, entry.position);
        }
        inner.trim_users(self.idle_users);
        for room in rooms.watched() {
            inner.watchers.entry(room).or_default().insert(user);
        }
        let use_number = inner.uses.fetch_add(1, Ordering::Relaxed);
        inner.users.insert(user, OnlineUser::new(rooms, use_number));
        true
    }

    /// Drops a user's view, so that it is read anew.
    pub fn forget_user(&self, user: UserNid) {
        self.write().drop_user(user);
    }

    /// Drops all views, when changes outside the stream may have been missed.
    pub(super) fn forget_users(&self) {
        self.write().forget_users();
    }

    /// What wakes a user's syncs. Register with it before looking at [`Live::since`].
    /// `None` if the user's view is not in memory.
    pub fn waiter(&self, user: UserNid) -> Option<Arc<Notify>> {
        let inner = self.read();
        inner.users.get(&user).map(OnlineUser::waiter)
    }

    /// The user's rooms now, if they are in memory.
    pub fn rooms_of(&self, user: UserNid) -> Option<(StreamPosition, UserRooms)> {
        let inner = self.read();
        let online = inner.users.get(&user)?;
        Some((inner.window.last(), online.rooms().clone()))
    }

    /// What a user missed since `since`, all at one moment. `None` if the user's view is not in
    /// memory or the window does not reach back so far.
    pub fn since(&self, user: UserNid, since: StreamPosition, wanted: Heads) -> Option<Since> {
        let inner = self.read();
        let online = inner.users.get(&user)?;
        online.touch(inner.uses.fetch_add(1, Ordering::Relaxed));
        if !inner.window.covers(since) {
            return None;
        }
        let rooms = online.rooms().clone();
        let mut missed = Since {
            now: inner.window.last(),
            own: inner.window.own_after(since, user),
            in_rooms: inner.window.rooms_after(since, &rooms),
            heads: HashMap::new(),
            missing: Vec::new(),
            rooms,
        };
        self.add_heads(&mut missed, wanted);
        Some(missed)
    }

    /// A user's rooms now, with their heads, all at one moment. `None` if the user's view is not
    /// in memory.
    pub fn everything(&self, user: UserNid) -> Option<Since> {
        self.since(user, self.position(), Heads::OfAll)
    }

    /// Adds the heads; the lock that `missed` was read under is still held, and heads change under
    /// it only.
    fn add_heads(&self, missed: &mut Since, wanted: Heads) {
        let mut rooms: Vec<RoomNid> = missed.in_rooms.iter().map(|(room, _)| *room).collect();
        rooms.extend(missed.own.iter().filter_map(|entry| entry.change.room()));
        if wanted == Heads::OfAll {
            let present = missed.rooms.iter().filter(|(_, room)| {
                room.membership != Membership::Leave && room.membership != Membership::Ban
            });
            rooms.extend(present.map(|(room, _)| room));
        }
        rooms.sort_unstable();
        rooms.dedup();
        for nid in rooms {
            match self.rooms.get(&nid) {
                Some(room) => {
                    missed.heads.insert(nid, room.head());
                }
                None => missed.missing.push(nid),
            }
        }
    }

    /// The newest events of a room that are in the window, oldest first.
    pub fn recent_events(&self, room: RoomNid) -> Vec<Arc<TimelineEvent>> {
        self.read().window.events_of(room).collect()
    }

    /// Wakes the syncs of everybody who sees a room, for what is not in the stream, such as
    /// typing.
    pub fn wake_room(&self, room: RoomNid) {
        let inner = self.read();
        for user in inner.watchers.get(&room).into_iter().flatten() {
            if let Some(online) = inner.users.get(user) {
                online.wake();
            }
        }
    }

    /// Wakes the syncs of those among some users who see a room, and takes them from the list.
    pub fn wake_some(&self, room: RoomNid, users: &mut HashSet<UserNid>) {
        let inner = self.read();
        let Some(watchers) = inner.watchers.get(&room) else {
            return;
        };
        let woken: Vec<UserNid> = if watchers.len() <= users.len() {
            let watchers = watchers.iter().filter(|user| users.contains(*user));
            watchers.copied().collect()
        } else {
            let users = users.iter().filter(|user| watchers.contains(*user));
            users.copied().collect()
        };
        for user in woken {
            users.remove(&user);
            if let Some(online) = inner.users.get(&user) {
                online.wake();
            }
        }
    }

    /// Wakes all syncs, at the end of the process.
    pub fn wake_all(&self) {
        for online in self.read().users.values() {
            online.wake();
        }
    }

    /// Takes in what was committed. The entries follow the window without a gap; those it has
    /// already are passed over. `redacted` are older events that lost their content.
    /// `heads` are those of an own commit.
    pub(super) fn apply(
        &self,
        entries: Vec<Entry>,
        heads: Vec<(RoomNid, Arc<RoomHead>)>,
        redacted: &[Arc<TimelineEvent>],
    ) {
        let mut wake = HashSet::new();
        // Heads change under the lock, so that nobody sees a head that is ahead of the window.
        let mut inner = self.write();
        for (nid, head) in heads {
            match self.rooms.get(&nid) {
                Some(room) => room.advance_to(&head),
                // A room that was just made is wanted next.
                None => {
                    self.rooms.insert(nid, Arc::new(LiveRoom::new(nid, head)));
                }
            }
        }
        for entry in &entries {
            if let Change::Event(event) = &entry.change
                && let Some(room) = self.rooms.get(&event.room)
                && !room.advance_by(event)
            {
                self.rooms.invalidate(&event.room);
            }
        }
        for event in redacted {
            if let Some(room) = self.rooms.get(&event.room) {
                room.redact(event);
            }
        }
        for entry in entries {
            self.apply_activity(&entry);
            inner.apply(entry, &mut wake);
        }
        for event in redacted {
            inner.window.redact(event);
            inner.forget_highlight(event);
        }
        for user in wake {
            if let Some(online) = inner.users.get(&user) {
                online.wake();
            }
        }
        let last = inner.window.last();
        drop(inner);
        self.advanced.send_replace(last);
    }

    /// Starts again at `position`, when the process has fallen far behind.
    pub(super) fn restart(&self, position: StreamPosition) {
        self.rooms.invalidate_all();
        self.activities.invalidate_all();
        let mut inner = self.write();
        inner.forget_users();
        inner.window.restart(position);
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn apply(&mut self, entry: Entry, wake: &mut HashSet<UserNid>) {
        if entry.position <= self.window.last() {
            return;
        }
        let change = &entry.change;
        if let Some(room) = change.room() {
            let sender = match change {
                Change::Event(event) => Some(event.sender),
                Change::Receipt { user, .. } => Some(*user),
                _ => None,
            };
            // How far the actor has read changes; nobody else's view does.
            if let Some(online) = sender.and_then(|sender| self.users.get_mut(&sender)) {
                let user = sender.unwrap_or_default();
                online.rooms_mut().apply(user, change, entry.position);
            }
            if let Change::Event(event) = change {
                let watchers = self.watchers.get(&room).into_iter().flatten();
                let everybody = watchers.filter(|_| event.mentions.contains(&EVERYBODY));
                for user in event.mentions.iter().chain(everybody) {
                    if *user != event.sender
                        && let Some(online) = self.users.get_mut(user)
                    {
                        online.rooms_mut().apply(*user, change, entry.position);
                    }
                }
            }
            wake.extend(self.watchers.get(&room).into_iter().flatten());
        }
        for user in change.users() {
            if let Some(online) = self.users.get_mut(&user) {
                online.rooms_mut().apply(user, change, entry.position);
                if let Change::Event(event) = change {
                    let watchers = self.watchers.entry(event.room).or_default();
                    if online.rooms().membership(event.room) == Membership::Join {
                        watchers.insert(user);
                    } else {
                        watchers.remove(&user);
                    }
                }
            }
            wake.insert(user);
        }
        if let Change::DeviceList {
            viewer: None,
            rooms,
            ..
        } = change
        {
            for room in rooms.iter() {
                wake.extend(self.watchers.get(room).into_iter().flatten());
            }
        }
        self.window.push(entry);
    }
}
