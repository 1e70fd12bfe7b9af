//! Unread messages: how many there are for a user in a room and in each of its threads.
//!
//! For most users they are a subtraction of what is in memory, since their rules say in the room what
//! the predefined ones say ([`Class`]). Where they do not, the unread events are asked one by one,
//! when somebody wants to know, and only those that came since then the next time. What a user reads,
//! and other rules, make that start again.
//!
//! Client-server API v1.19, "Receiving notifications" and "Threaded read receipts".

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ruma::{OwnedEventId, OwnedUserId, UserId, events::room::member::RoomMemberEventContent};

use super::{Error, Rooms};
use crate::{
    event::{
        Room,
        push::{Class, Outcome, Reader, Rules, Subject},
    },
    store::{
        RoomNid, RoomPosition, UserNid, events,
        live::{Ignored, NotifyCount, OwnRules, RoomHead, RoomOfUser, TimelineEvent},
        unread::{self, ThreadsOf, ThreadsRead},
    },
};

/// The most unread events of a room that are asked one by one, the newest of them.
const MAX_ASKED: u32 = 1_000;

/// How many messages are unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that notify.
    pub notifications: i64,
    /// Those among them that are highlighted.
    pub highlights: i64,
}

/// The unread messages of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Those of the main timeline.
    pub main: Count,
    /// Those of threads, by their roots; only threads that have any.
    pub threads: BTreeMap<OwnedEventId, Count>,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.notifications += other.notifications;
        self.highlights += other.highlights;
    }
}

impl Unread {
    /// All of them.
    pub fn total(&self) -> Count {
        let mut total = self.main;
        for count in self.threads.values() {
            total.add(*count);
        }
        total
    }

    fn of(&mut self, thread: Option<&OwnedEventId>) -> &mut Count {
        match thread {
            None => &mut self.main,
            Some(thread) => self.threads.entry(thread.clone()).or_default(),
        }
    }

    fn has_threads(&self) -> bool {
        !self.threads.is_empty()
    }
}

/// A room whose unread messages are wanted, as somebody sees it.
#[derive(Clone, Copy, Debug)]
pub struct UnreadOf<'a> {
    /// The room.
    pub room: RoomNid,
    /// Its head: what comes later is not counted.
    pub head: &'a RoomHead,
    /// What the reader is to it.
    pub of_user: &'a RoomOfUser,
}

/// A reader, and the rooms whose unread messages are wanted.
#[derive(Clone, Debug)]
pub struct UnreadBy<'a> {
    /// The reader.
    pub user: UserNid,
    /// The reader's id.
    pub user_id: &'a UserId,
    /// What the reader has said about being notified.
    pub own: &'a OwnRules,
    /// The rooms, each of them once.
    pub rooms: Vec<UnreadOf<'a>>,
}

/// Events by their rooms.
type EventsOfRooms = HashMap<RoomNid, Vec<Arc<TimelineEvent>>>;

/// The threads that events are in, by the places of the events.
type Threads = HashMap<(RoomNid, RoomPosition), OwnedEventId>;

/// The unread messages of readers in their rooms.
type Counts = HashMap<UserNid, HashMap<RoomNid, Unread>>;

/// What was worked out before, and what that is good for.
#[derive(Debug)]
pub(super) struct Tally {
    basis: Basis,
    /// The last event that was asked; with the usual rules, how many events of threads there were.
    until: i64,
    unread: Unread,
}

/// What a tally rests on.
#[derive(Clone, Debug)]
struct Basis {
    read_position: RoomPosition,
    threads_position: RoomPosition,
    thread_reads: Arc<BTreeMap<OwnedEventId, RoomPosition>>,
    written_in_threads: RoomPosition,
    rules: Option<Arc<Rules>>,
    ignored: Option<Arc<Ignored>>,
    members: usize,
}

impl Basis {
    fn new(of: UnreadOf<'_>, own: Option<&OwnRules>) -> Self {
        Self {
            read_position: of.of_user.read_position,
            threads_position: of.of_user.threads_position,
            thread_reads: Arc::clone(&of.of_user.thread_reads),
            written_in_threads: of.of_user.written_in_threads,
            rules: own.and_then(|own| own.rules.clone()),
            ignored: own.map(|own| Arc::clone(&own.ignored)),
            // What the usual rules say of messages is the same in a room of two.
            members: own.map_or(0, |_| of.head.room().joined_count()),
        }
    }

    fn is(&self, other: &Self) -> bool {
        let same_rules = match (&self.rules, &other.rules) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        self.read_position == other.read_position
            && self.threads_position == other.threads_position
            && self.members == other.members
            && same_rules
            && self.ignored == other.ignored
            && self.thread_reads == other.thread_reads
    }
}

impl Rooms {
    /// The unread messages of rooms that a user is in.
    pub async fn unread(&self, by: UnreadBy<'_>) -> Result<HashMap<RoomNid, Unread>, Error> {
        let user = by.user;
        let mut counts = self.unread_of_all(&[by]).await?;
        Ok(counts.remove(&user).unwrap_or_default())
    }

    /// The same for several readers, each of them once, with no more queries than for one.
    pub async fn unread_of_all(&self, readers: &[UnreadBy<'_>]) -> Result<Counts, Error> {
        let mut counts = HashMap::with_capacity(readers.len());
        let (mut with_threads, mut to_ask) = (Vec::new(), Vec::new());
        for by in readers {
            let mut of_reader = HashMap::with_capacity(by.rooms.len());
            for of in &by.rooms {
                let class = class(by.own, by.user_id, of.head.room());
                if class == Class::Own {
                    to_ask.push((by, *of));
                    continue;
                }
                let unread = subtract(class, *of);
                let last = NotifyCount::new(of.head.notify_count()).threads();
                let read = NotifyCount::new(of.of_user.threads_notify_count).threads();
                if class == Class::Predefined && last > read {
                    with_threads.push((by.user, *of, unread));
                } else {
                    of_reader.insert(of.room, unread);
                }
            }
            counts.insert(by.user, of_reader);
        }
        if !with_threads.is_empty() {
            self.add_threads(with_threads, &mut counts).await?;
        }
        if !to_ask.is_empty() {
            self.ask(&to_ask, &mut counts).await?;
        }
        Ok(counts)
    }

    /// The rooms whose threads have messages since they were all read.
    async fn add_threads(
        &self,
        rooms: Vec<(UserNid, UnreadOf<'_>, Unread)>,
        counts: &mut Counts,
    ) -> Result<(), Error> {
        let mut known = HashMap::new();
        let mut wanted = Vec::new();
        for (user, of, _) in &rooms {
            let is_good = |tally: &Arc<Tally>| {
                tally.until == NotifyCount::new(of.head.notify_count()).threads()
                    && tally.basis.is_threads(&Basis::new(*of, None))
            };
            let key = (*user, of.room);
            match self.0.tallies.get(&key).filter(is_good) {
                Some(tally) => {
                    known.insert(key, tally);
                }
                None => wanted.push((
                    *user,
                    ThreadsOf {
                        room: of.room,
                        after: of.of_user.threads_position,
                        until: of.head.position(),
                    },
                )),
            }
        }
        let mut found = HashMap::new();
        if !wanted.is_empty() {
            let mut conn = self.0.store.conn().await?;
            found = unread::count_threads(&mut conn, &wanted).await?;
        }
        let mut read = Vec::new();
        for (user, of, mut unread) in rooms {
            let key = (user, of.room);
            let tally = known.remove(&key).unwrap_or_else(|| {
                let mut of_threads = Unread::default();
                for (thread, notifications) in found.remove(&key).unwrap_or_default() {
                    of_threads.of(Some(&thread)).notifications = notifications;
                }
                let tally = Arc::new(Tally {
                    basis: Basis::new(of, None),
                    until: NotifyCount::new(of.head.notify_count()).threads(),
                    unread: of_threads,
                });
                self.0.tallies.insert(key, Arc::clone(&tally));
                tally
            });
            for (thread, count) in &tally.unread.threads {
                unread.of(Some(thread)).add(*count);
            }
            // What comes before is not looked at again.
            if !unread.has_threads() {
                read.push(ThreadsRead {
                    user,
                    room: of.room,
                    position: of.head.position(),
                    notify_count: of.head.notify_count(),
                });
            }
            counts.entry(user).or_default().insert(of.room, unread);
        }
        Ok(self.0.store.note_threads_read(&read).await?)
    }

    /// Asks the rules of users about the unread events of rooms.
    async fn ask(
        &self,
        rooms: &[(&UnreadBy<'_>, UnreadOf<'_>)],
        counts: &mut Counts,
    ) -> Result<(), Error> {
        let mut asked = Vec::with_capacity(rooms.len());
        let mut ranges: HashMap<RoomNid, events::Range> = HashMap::new();
        for (by, of) in rooms {
            let last = of.head.position();
            let basis = Basis::new(*of, Some(by.own));
            let known = self.0.tallies.get(&(by.user, of.room));
            let known = known.filter(|tally| tally.basis.is(&basis) && tally.until <= last.0);
            let (unread, after) = known.map_or_else(
                || {
                    let (main, threads) = (of.of_user.read_position, of.of_user.threads_position);
                    (Unread::default(), main.min(threads))
                },
                |tally| (tally.unread.clone(), RoomPosition(tally.until)),
            );
            if after < last {
                let first = RoomPosition(after.0 + 1);
                let room = of.room;
                let range = ranges
                    .entry(room)
                    .or_insert(events::Range { room, first, last });
                range.first = range.first.min(first);
                range.last = range.last.max(last);
            }
            asked.push((*by, *of, basis, unread, after));
        }
        let (events, threads) = self.events_of(ranges.into_values().collect()).await?;
        let mut usual: HashMap<UserNid, Rules> = HashMap::new();
        for (by, of, basis, mut unread, after) in asked {
            let predefined = || Rules::predefined(by.user_id);
            let rules = match &by.own.rules {
                Some(rules) => &**rules,
                None => &*usual.entry(by.user).or_insert_with(predefined),
            };
            let last = of.head.position();
            let events = events.get(&of.room).into_iter().flatten();
            for event in events.filter(|event| event.position > after && event.position <= last) {
                let place = (event.room, event.position);
                let thread = event.thread.as_ref().or_else(|| threads.get(&place));
                tell(&mut unread, event, thread, of, by, rules);
            }
            unread.threads.retain(|_, count| *count != Count::default());
            let tally = Tally {
                basis,
                until: last.0,
                unread: unread.clone(),
            };
            let key = (by.user, of.room);
            self.0.tallies.insert(key, Arc::new(tally));
            counts.entry(by.user).or_default().insert(of.room, unread);
        }
        Ok(())
    }

    /// The events of ranges, one of each room, in the order in which they were written, and the
    /// threads of those that do not say it themselves.
    async fn events_of(
        &self,
        mut ranges: Vec<events::Range>,
    ) -> Result<(EventsOfRooms, Threads), Error> {
        let mut events = self.recent(&mut ranges);
        let mut threads = HashMap::new();
        if !ranges.is_empty() {
            let mut conn = self.0.store.conn().await?;
            let backward = events::Direction::Backward;
            let read = events::list(&mut conn, &ranges, backward, MAX_ASKED).await?;
            let places: Vec<_> = ranges
                .iter()
                .map(|range| ThreadsOf {
                    room: range.room,
                    after: RoomPosition(range.first.0 - 1),
                    until: range.last,
                })
                .collect();
            threads = unread::threads_of_events(&mut conn, &places).await?;
            for event in read {
                events.entry(event.room).or_default().push(event);
            }
        }
        for of_room in events.values_mut() {
            of_room.sort_unstable_by_key(|event| event.position);
        }
        Ok((events, threads))
    }

    /// The events of ranges that memory has whole; these ranges are taken away.
    fn recent(&self, ranges: &mut Vec<events::Range>) -> EventsOfRooms {
        let mut events = HashMap::new();
        ranges.retain(|range| {
            let mut recent = self.0.store.live().recent_events(range.room);
            recent.retain(|event| event.position >= range.first && event.position <= range.last);
            let wanted = usize::try_from(range.last.0 - range.first.0 + 1);
            let is_whole = wanted.is_ok_and(|wanted| wanted == recent.len());
            if is_whole {
                events.insert(range.room, recent);
            }
            !is_whole
        });
        events
    }
}

impl Basis {
    /// Whether it is the same as far as threads go. What the user writes in them is no unread message
    /// and may not be in any count, and yet reads what came before; [`Self::is`] leaves that to those
    /// who look at the events.
    fn is_threads(&self, other: &Self) -> bool {
        self.rules.is_none()
            && self.ignored.is_none()
            && self.members == 0
            && self.threads_position == other.threads_position
            && self.written_in_threads == other.written_in_threads
            && self.thread_reads == other.thread_reads
    }
}

/// How a user's unread messages in a room are counted.
pub fn class(own: &OwnRules, user_id: &UserId, room: &Room) -> Class {
    let ignores = |user: &OwnedUserId| room.member(user).is_some();
    if own.ignored.iter().any(ignores) {
        return Class::Own;
    }
    own.rules.as_ref().map_or(Class::Predefined, |rules| {
        rules.class(user_id, room.room_id(), room.joined_count())
    })
}

/// What the subtraction and the mentions say; threads only by their mentions.
fn subtract(class: Class, of: UnreadOf<'_>) -> Unread {
    let mut unread = Unread::default();
    if class == Class::Silent {
        return unread;
    }
    if class == Class::Predefined {
        let last = NotifyCount::new(of.head.notify_count()).main();
        let read = NotifyCount::new(of.of_user.read_notify_count).main();
        unread.main.notifications = (last - read).max(0);
    }
    for highlight in of.of_user.highlights.iter() {
        if highlight.position > of.head.position() {
            continue;
        }
        let count = unread.of(highlight.thread.as_ref());
        count.highlights += 1;
        if highlight.is_extra || class == Class::Mentions {
            count.notifications += 1;
        }
    }
    unread
}

/// Adds an event to the unread ones, if it is one.
fn tell(
    unread: &mut Unread,
    event: &TimelineEvent,
    thread: Option<&OwnedEventId>,
    of: UnreadOf<'_>,
    by: &UnreadBy<'_>,
    rules: &Rules,
) {
    if event.sender == by.user {
        // Who writes in a thread has read it.
        if let Some(thread) = thread {
            unread.threads.remove(thread);
        }
        return;
    }
    if event.position <= of.of_user.read_up_to(thread) || event.redacted_by.is_some() {
        return;
    }
    let outcome = outcome(event, of.head.room(), by.own, rules, by.user_id);
    if outcome.notifies {
        unread.of(thread).add(Count {
            notifications: 1,
            highlights: i64::from(outcome.highlights),
        });
    }
}

/// What a user's rules say of somebody else's event, in the room as it is now.
pub fn outcome<'a>(
    event: &TimelineEvent,
    room: &Room,
    own: &OwnRules,
    rules: &'a Rules,
    user_id: &UserId,
) -> Outcome<'a> {
    let sender = event.pdu.sender();
    if own.ignored.contains(sender) {
        return Outcome::NOTHING;
    }
    let name = room
        .member(user_id)
        .and_then(|member| member.pdu.content_as::<RoomMemberEventContent>())
        .and_then(|content| content.displayname);
    let reader = Reader {
        display_name: name.as_deref(),
    };
    let subject = Subject::new(&event.pdu, room.power_levels(), room.joined_count());
    rules.ask(&subject, &reader)
}
