//! A user's view of their rooms: memberships, and how far the user has read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use imbl::HashMap;
use ruma::{OwnedEventId, OwnedUserId, UserId, push::Ruleset};
use serde::Deserialize;
use tokio::sync::Notify;

use super::{
    Change, TimelineEvent,
    labels::{IGNORED_USERS, Ignored, Labels, ignored_users},
};
use crate::{
    event::{
        push::{self, Rules},
        threads::MAIN,
    },
    store::{Membership, RoomNid, RoomPosition, StreamPosition, UserNid, unread::ThreadsRead},
};

/// Who is meant by a mention of the whole room.
pub const EVERYBODY: UserNid = UserNid(0);

/// The most mentions that are counted in a room.
const MAX_HIGHLIGHTS: usize = 100;

/// The tag of the room in which the operator tells people something.
pub const NOTICES: &str = "m.server_notice";
/// The account data that makes a user's rules.
pub const PUSH_RULES: &str = "m.push_rules";

/// One room in a user's view.
#[derive(Clone, Debug, Default)]
pub struct RoomOfUser {
    /// What the user is to the room.
    pub membership: Membership,
    /// The position of the membership event.
    pub position: RoomPosition,
    /// The place of that event in the stream, or one shortly before.
    pub changed_at: StreamPosition,
    /// Whether somebody else ended the membership of the user, who was joined.
    pub removed: bool,
    /// Whether the user has forgotten the room.
    pub forgotten: bool,
    /// How far the user has read the main timeline.
    pub read_position: RoomPosition,
    /// The count of unread messages up to there, see [`super::NotifyCount`].
    pub read_notify_count: i64,
    /// How far the user has read all threads.
    pub threads_position: RoomPosition,
    /// The count of unread messages up to there.
    pub threads_notify_count: i64,
    /// How far the user has read single threads beyond that.
    pub thread_reads: Arc<BTreeMap<OwnedEventId, RoomPosition>>,
    /// The newest event that the user has written in a thread, since the view was loaded.
    pub written_in_threads: RoomPosition,
    /// Unread events which mention the user.
    pub highlights: Arc<Vec<Highlight>>,
}

/// An event that mentions a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Highlight {
    /// Its position.
    pub position: RoomPosition,
    /// The thread that it is in; `None` on the main timeline.
    pub thread: Option<OwnedEventId>,
    /// Whether the count of unread messages leaves it out.
    pub is_extra: bool,
}

/// What a user has said about being notified, where that is not what is predefined.
#[derive(Clone, Debug, Default)]
pub struct OwnRules {
    /// The user's rules; `None` for those that are predefined.
    pub rules: Option<Arc<Rules>>,
    /// Whom the user ignores.
    pub ignored: Arc<Ignored>,
    /// Where in the stream the user has last subscribed to a thread, or unsubscribed.
    pub subscribed_at: StreamPosition,
}

impl OwnRules {
    /// Reads the contents of account data. What cannot be read says nothing.
    pub fn new(user_id: &UserId, rules: Option<&str>, ignored: Option<&str>) -> Self {
        Self {
            rules: rules.and_then(|rules| parse_rules(user_id, rules)),
            ignored: ignored.map(ignored_users).map(Arc::new).unwrap_or_default(),
            subscribed_at: StreamPosition::default(),
        }
    }
}

fn parse_rules(user_id: &UserId, content: &str) -> Option<Arc<Rules>> {
    #[derive(Deserialize)]
    struct Content {
        global: Ruleset,
    }
    let Content { global } = serde_json::from_str(content).ok()?;
    let rules = push::merged(global, push::usual(user_id));
    Some(Arc::new(Rules::new(&rules)))
}

/// All rooms that a user has to do with, and whom the user ignores. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct UserRooms {
    rooms: HashMap<RoomNid, RoomOfUser>,
    labels: Arc<Labels>,
    user_id: Option<OwnedUserId>,
    own: OwnRules,
}

impl UserRooms {
    /// A view of these rooms.
    pub fn new(rooms: impl IntoIterator<Item = (RoomNid, RoomOfUser)>, labels: Labels) -> Self {
        Self {
            rooms: rooms.into_iter().collect(),
            labels: Arc::new(labels),
            ..Self::default()
        }
    }

    /// How the user has sorted them.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Whom the user ignores.
    pub fn ignored(&self) -> &Arc<Ignored> {
        &self.own.ignored
    }

    /// The same, with what its user has said about being notified.
    #[must_use]
    pub fn with_rules(self, user_id: OwnedUserId, own: OwnRules) -> Self {
        Self {
            user_id: Some(user_id),
            own,
            ..self
        }
    }

    /// What the user has said about being notified.
    pub fn own_rules(&self) -> &OwnRules {
        &self.own
    }

    /// Whether the user is not told that they are invited to a room. What the operator has to say,
    /// people are told.
    pub fn hides_invite(&self, room: RoomNid) -> bool {
        let tags = || self.labels.tags.get(&room).into_iter().flatten();
        self.labels.refuses_invites && !tags().any(|tag| tag == NOTICES)
    }

    /// One room of the view.
    pub fn get(&self, room: RoomNid) -> Option<&RoomOfUser> {
        self.rooms.get(&room)
    }

    /// The user's membership in a room.
    pub fn membership(&self, room: RoomNid) -> Membership {
        self.get(room)
            .map_or(Membership::Leave, |room| room.membership)
    }

    /// All rooms, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (RoomNid, &RoomOfUser)> {
        self.rooms.iter().map(|(room, of_user)| (*room, of_user))
    }

    /// The rooms in which the user is this, in no order.
    pub fn with(&self, membership: Membership) -> impl Iterator<Item = RoomNid> {
        self.iter()
            .filter(move |(_, room)| room.membership == membership)
            .map(|(room, _)| room)
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// The rooms whose events the user sees.
    pub(super) fn watched(&self) -> Vec<RoomNid> {
        self.with(Membership::Join).collect()
    }

    /// Takes in a change that concerns this user.
    pub(super) fn apply(&mut self, user: UserNid, change: &Change, at: StreamPosition) {
        match change {
            Change::Event(event) => {
                if let Some(member) = event.member.filter(|member| member.user == user) {
                    let mut room = self.rooms.get(&event.room).cloned().unwrap_or_default();
                    room.removed = ends_membership(member.after)
                        && event.sender != user
                        && (member.before == Membership::Join || room.removed);
                    room.membership = member.after;
                    room.changed_at = at;
                    room.position = event.position;
                    room.forgotten = false;
                    self.rooms.insert(event.room, room);
                }
                let Some(room) = self.rooms.get_mut(&event.room) else {
                    return;
                };
                if event.sender == user && event.marks_read() {
                    let thread = if event.member.is_some() { "" } else { MAIN };
                    room.mark_read(thread, event.position, event.notify_count);
                } else if event.sender == user {
                    room.write_in_thread(event);
                } else if event.mentions.contains(&user) || event.mentions.contains(&EVERYBODY) {
                    room.highlight(event);
                }
            }
            Change::Receipt {
                room,
                user: reader,
                thread,
                position,
                notify_count,
                ..
            } if *reader == user => {
                if let Some(room) = self.rooms.get_mut(room) {
                    room.mark_read(thread, *position, *notify_count);
                }
            }
            Change::AccountData {
                user: owner,
                room,
                event_type,
                content,
            } if *owner == user => {
                if Labels::concerns(event_type) {
                    Arc::make_mut(&mut self.labels).apply(*room, event_type, content);
                }
                match (room, &**event_type, &self.user_id) {
                    (None, PUSH_RULES, Some(user_id)) => {
                        self.own.rules = parse_rules(user_id, content.get());
                    }
                    (None, IGNORED_USERS, _) => {
                        self.own.ignored = Arc::new(ignored_users(content.get()));
                    }
                    _ => {}
                }
            }
            Change::ThreadSubscription { user: owner, .. } if *owner == user => {
                self.own.subscribed_at = self.own.subscribed_at.max(at);
            }
            Change::Receipt { .. }
            | Change::AccountData { .. }
            | Change::DeviceList { .. }
            | Change::ToDevice { .. }
            | Change::OneTimeKeys { .. }
            | Change::ThreadSubscription { .. }
            | Change::Nothing => {}
        }
    }

    /// An event lost its content, and with it whom it mentioned.
    pub(super) fn forget_highlight(&mut self, event: &TimelineEvent) {
        let is_it = |highlight: &Highlight| highlight.position == event.position;
        let room = self.rooms.get(&event.room);
        // Writing copies what others look at, so there must be something to write.
        if room.is_some_and(|room| room.highlights.iter().any(is_it))
            && let Some(room) = self.rooms.get_mut(&event.room)
        {
            Arc::make_mut(&mut room.highlights).retain(|highlight| !is_it(highlight));
        }
    }

    /// Notes that the threads of a room are read up to a position, where it is known to be so.
    pub(super) fn note_threads_read(&mut self, read: &ThreadsRead) {
        if let Some(room) = self.rooms.get_mut(&read.room) {
            room.mark_threads_read(read.position, read.notify_count);
        }
    }
}

impl RoomOfUser {
    /// How far a thread has been read; without a thread, the main timeline.
    pub fn read_up_to(&self, thread: Option<&OwnedEventId>) -> RoomPosition {
        let Some(thread) = thread else {
            return self.read_position;
        };
        let of_thread = self.thread_reads.get(thread).copied().unwrap_or_default();
        of_thread.max(self.threads_position)
    }

    fn highlight(&mut self, event: &TimelineEvent) {
        self.add_highlight(Highlight {
            position: event.position,
            thread: event.thread.clone(),
            is_extra: event.is_extra(),
        });
    }

    /// Takes in an event that mentions the user, unless it is known already, or read.
    pub(in crate::store) fn add_highlight(&mut self, highlight: Highlight) {
        let is_known = |last: &Highlight| last.position >= highlight.position;
        if self.highlights.len() < MAX_HIGHLIGHTS
            && !self.highlights.last().is_some_and(is_known)
            && highlight.position > self.read_up_to(highlight.thread.as_ref())
        {
            Arc::make_mut(&mut self.highlights).push(highlight);
        }
    }

    /// Takes a receipt in: for a thread, for the main timeline, or, with an empty thread, for all.
    fn mark_read(&mut self, thread: &str, position: RoomPosition, notify_count: i64) {
        if matches!(thread, "" | MAIN) && self.read_position < position {
            self.read_position = position;
            self.read_notify_count = notify_count;
        }
        match thread {
            "" => self.mark_threads_read(position, notify_count),
            MAIN => {}
            thread => {
                if let Ok(thread) = OwnedEventId::try_from(thread)
                    && self.read_up_to(Some(&thread)) < position
                {
                    Arc::make_mut(&mut self.thread_reads).insert(thread, position);
                }
            }
        }
        self.drop_read_highlights();
    }

    /// Who writes in a thread has read what mentions them there.
    fn write_in_thread(&mut self, event: &TimelineEvent) {
        if event.thread.is_some() {
            self.written_in_threads = self.written_in_threads.max(event.position);
        }
        let is_read = |highlight: &Highlight| {
            highlight.thread.is_some()
                && highlight.thread == event.thread
                && highlight.position < event.position
        };
        if self.highlights.iter().any(is_read) {
            Arc::make_mut(&mut self.highlights).retain(|highlight| !is_read(highlight));
        }
    }

    fn mark_threads_read(&mut self, position: RoomPosition, notify_count: i64) {
        if self.threads_position < position {
            self.threads_position = position;
            self.threads_notify_count = notify_count;
            if self.thread_reads.values().any(|read| *read <= position) {
                Arc::make_mut(&mut self.thread_reads).retain(|_, read| *read > position);
            }
        }
    }

    fn drop_read_highlights(&mut self) {
        let is_read = |highlight: &Highlight| {
            highlight.position <= self.read_up_to(highlight.thread.as_ref())
        };
        if self.highlights.iter().any(is_read) {
            let left = self
                .highlights
                .iter()
                .filter(|highlight| !is_read(highlight));
            self.highlights = Arc::new(left.cloned().collect());
        }
    }
}

/// Whether a membership is the end of one.
fn ends_membership(membership: Membership) -> bool {
    matches!(membership, Membership::Leave | Membership::Ban)
}

/// A user whose view is in memory.
#[derive(Debug)]
pub(super) struct OnlineUser {
    rooms: UserRooms,
    waiter: Arc<Notify>,
    last_used: AtomicU64,
}

impl OnlineUser {
    pub(super) fn new(rooms: UserRooms, use_number: u64) -> Self {
        Self {
            rooms,
            waiter: Arc::new(Notify::new()),
            last_used: AtomicU64::new(use_number),
        }
    }

    pub(super) fn rooms(&self) -> &UserRooms {
        &self.rooms
    }

    /// Notes a use, by a number that grows with each.
    pub(super) fn touch(&self, use_number: u64) {
        self.last_used.store(use_number, Ordering::Relaxed);
    }

    pub(super) fn rooms_mut(&mut self) -> &mut UserRooms {
        &mut self.rooms
    }

    pub(super) fn waiter(&self) -> Arc<Notify> {
        Arc::clone(&self.waiter)
    }

    pub(super) fn wake(&self) {
        self.waiter.notify_waiters();
    }

    /// Whether a sync holds the waiter.
    pub(super) fn is_waiting(&self) -> bool {
        Arc::strong_count(&self.waiter) > 1
    }

    pub(super) fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }
}
