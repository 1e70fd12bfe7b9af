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

use ruma::{OwnedEventId, OwnedUserId, UserId};

use super::{
    Asked, Error, Rooms, outcome,
    tally::{Basis, Tally},
    threads_of,
};
use crate::{
    event::{
        Room,
        push::{Class, Counting, Rules},
    },
    store::{
        RoomNid, RoomPosition, StreamPosition, UserNid, events,
        live::{Highlight, NotifyCount, OwnRules, RoomHead, RoomOfUser, TimelineEvent},
        unread::{self, ThreadsOf, ThreadsRead, UnreadThreads},
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

/// A room whose threads have messages that may be unread.
struct InThreads<'a> {
    by: &'a UnreadBy<'a>,
    of: UnreadOf<'a>,
    counting: Counting,
}

/// The unread messages of readers in their rooms.
type Counts = HashMap<UserNid, HashMap<RoomNid, Unread>>;

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
                let counting = self.counting(by, of.head.room());
                let class = counting.class;
                if class == Class::Own {
                    to_ask.push((by, *of));
                    continue;
                }
                let last = NotifyCount::new(of.head.notify_count()).threads();
                let read = NotifyCount::new(of.of_user.threads_notify_count).threads();
                let in_threads = class == Class::Predefined || counting.by_subscription;
                if in_threads && last > read {
                    with_threads.push(InThreads {
                        by,
                        of: *of,
                        counting,
                    });
                } else {
                    of_reader.insert(of.room, subtract(counting, *of, &BTreeMap::new()));
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
        rooms: Vec<InThreads<'_>>,
        counts: &mut Counts,
    ) -> Result<(), Error> {
        let mut known = HashMap::new();
        let mut wanted = Vec::new();
        for room in &rooms {
            let basis = room.basis();
            let is_good =
                |tally: &Arc<Tally>| tally.until == room.until() && tally.basis.is_threads(&basis);
            match self.0.tallies.get(&room.key()).filter(is_good) {
                Some(tally) => {
                    known.insert(room.key(), tally);
                }
                None => wanted.push(UnreadThreads {
                    user: room.by.user,
                    of: ThreadsOf {
                        room: room.of.room,
                        after: room.of.of_user.threads_position,
                        until: room.of.head.position(),
                    },
                    by_subscription: room.counting.by_subscription,
                }),
            }
        }
        let mut found = HashMap::new();
        if !wanted.is_empty() {
            let mut conn = self.0.store.conn().await?;
            found = unread::count_threads(&mut conn, &wanted).await?;
        }
        let mut read = Vec::new();
        for room in rooms {
            let (key, of) = (room.key(), room.of);
            let tally = known.remove(&key).unwrap_or_else(|| {
                let (mut of_threads, mut since) = (Unread::default(), BTreeMap::new());
                for count in found.remove(&key).unwrap_or_default() {
                    of_threads.of(Some(&count.thread)).notifications = count.unread;
                    since.insert(count.thread, count.since);
                }
                let tally = Arc::new(Tally {
                    basis: room.basis(),
                    until: room.until(),
                    unread: of_threads,
                    since,
                });
                self.0.tallies.insert(key, Arc::clone(&tally));
                tally
            });
            let mut unread = subtract(room.counting, of, &tally.since);
            for (thread, count) in &tally.unread.threads {
                unread.of(Some(thread)).add(*count);
            }
            // What comes before is not looked at again.
            if !unread.has_threads() {
                read.push(ThreadsRead {
                    user: room.by.user,
                    room: of.room,
                    position: of.head.position(),
                    notify_count: of.head.notify_count(),
                });
            }
            let of_reader = counts.entry(room.by.user).or_default();
            of_reader.insert(of.room, unread);
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
            let subscribed_at = if self.thread_subscriptions_notify() {
                by.own.subscribed_at
            } else {
                StreamPosition::default()
            };
            let basis = Basis::new(*of, Some(by.own), subscribed_at);
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
        let mut users: Vec<_> = rooms.iter().map(|(by, _)| by.user).collect();
        users.sort_unstable();
        users.dedup();
        let mut in_threads = threads_of(events.values().flatten());
        in_threads.extend(
            threads
                .iter()
                .map(|((room, _), thread)| (*room, thread.clone())),
        );
        in_threads.sort_unstable();
        in_threads.dedup();
        let subscribed = self.subscribed(&users, &in_threads).await?;
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
                let root = thread.map(|thread| &**thread);
                let asked = Asked {
                    event,
                    room: of.head.room(),
                    own: by.own,
                    user_id: by.user_id,
                    subscribed: subscribed.to(by.user, event.room, root, event.position),
                };
                tell(&mut unread, &asked, thread, of, by.user, rules);
            }
            unread.threads.retain(|_, count| *count != Count::default());
            let tally = Tally {
                basis,
                until: last.0,
                unread: unread.clone(),
                since: BTreeMap::new(),
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

impl InThreads<'_> {
    fn key(&self) -> (UserNid, RoomNid) {
        (self.by.user, self.of.room)
    }

    /// How many events of threads there are.
    fn until(&self) -> i64 {
        NotifyCount::new(self.of.head.notify_count()).threads()
    }

    fn basis(&self) -> Basis {
        // A position is never negative.
        let always = StreamPosition(-1);
        let by_subscription = self.counting.by_subscription;
        let subscribed_at = by_subscription.then_some(self.by.own.subscribed_at);
        Basis::new(self.of, None, subscribed_at.unwrap_or(always))
    }
}

impl Rooms {
    /// How a user's unread messages in a room are counted.
    fn counting(&self, by: &UnreadBy<'_>, room: &Room) -> Counting {
        let by_subscription = self.thread_subscriptions_notify();
        let ignores = |user: &OwnedUserId| room.member(user).is_some();
        let usual = Counting::predefined(by_subscription);
        if by.own.ignored.iter().any(ignores) {
            return Counting {
                class: Class::Own,
                ..usual
            };
        }
        by.own.rules.as_ref().map_or(usual, |rules| {
            let members = room.joined_count();
            rules.counting(by.user_id, room.room_id(), members, by_subscription)
        })
    }
}

/// What the subtraction and the mentions say; threads only by their mentions, without those that are
/// counted with the other messages of the thread: with these rules those that came later than what
/// `since` says of it.
fn subtract(
    counting: Counting,
    of: UnreadOf<'_>,
    since: &BTreeMap<OwnedEventId, RoomPosition>,
) -> Unread {
    let class = counting.class;
    let mut unread = Unread::default();
    if class == Class::Silent {
        return unread;
    }
    if class == Class::Predefined {
        let last = NotifyCount::new(of.head.notify_count()).main();
        let read = NotifyCount::new(of.of_user.read_notify_count).main();
        unread.main.notifications = (last - read).max(0);
    }
    let is_counted = |highlight: &Highlight| match &highlight.thread {
        Some(thread) if counting.by_subscription => {
            let since = since.get(thread);
            since.is_some_and(|since| highlight.position > *since)
        }
        _ => class == Class::Predefined,
    };
    for highlight in of.of_user.highlights.iter() {
        if highlight.position > of.head.position() {
            continue;
        }
        let count = unread.of(highlight.thread.as_ref());
        count.highlights += 1;
        if highlight.is_extra || !is_counted(highlight) {
            count.notifications += 1;
        }
    }
    unread
}

/// Adds an event to the unread ones, if it is one.
fn tell(
    unread: &mut Unread,
    asked: &Asked<'_>,
    thread: Option<&OwnedEventId>,
    of: UnreadOf<'_>,
    user: UserNid,
    rules: &Rules,
) {
    let event = asked.event;
    if event.sender == user {
        // Who writes in a thread has read it.
        if let Some(thread) = thread {
            unread.threads.remove(thread);
        }
        return;
    }
    if event.position <= of.of_user.read_up_to(thread) || event.redacted_by.is_some() {
        return;
    }
    let outcome = outcome(asked, rules);
    if outcome.notifies {
        unread.of(thread).add(Count {
            notifications: 1,
            highlights: i64::from(outcome.highlights),
        });
    }
}
