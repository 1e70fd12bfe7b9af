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
        unread::{self, ThreadsOf},
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
            rules: own.and_then(|own| own.rules.clone()),
            ignored: own.and_then(|own| own.ignored.clone()),
            // What the usual rules say of messages is the same in a room of two.
            members: own.map_or(0, |_| of.head.room().joined_count()),
        }
    }

    fn is(&self, other: &Self) -> bool {
        fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
            match (one, other) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (None, None) => true,
                _ => false,
            }
        }
        self.read_position == other.read_position
            && self.threads_position == other.threads_position
            && self.members == other.members
            && same(self.rules.as_ref(), other.rules.as_ref())
            && same(self.ignored.as_ref(), other.ignored.as_ref())
            && self.thread_reads == other.thread_reads
    }
}

impl Rooms {
    /// The unread messages of rooms that a user is in.
    pub async fn unread(
        &self,
        user: UserNid,
        user_id: &UserId,
        own: &OwnRules,
        rooms: &[UnreadOf<'_>],
    ) -> Result<HashMap<RoomNid, Unread>, Error> {
        let mut counts = HashMap::with_capacity(rooms.len());
        let (mut with_threads, mut to_ask) = (Vec::new(), Vec::new());
        for of in rooms {
            let class = class(own, user_id, of.head.room());
            if class == Class::Own {
                to_ask.push(*of);
                continue;
            }
            let unread = subtract(class, *of);
            let last = NotifyCount::new(of.head.notify_count()).threads();
            let read = NotifyCount::new(of.of_user.threads_notify_count).threads();
            if class == Class::Predefined && last > read {
                with_threads.push((*of, unread));
            } else {
                counts.insert(of.room, unread);
            }
        }
        if !with_threads.is_empty() {
            self.add_threads(user, with_threads, &mut counts).await?;
        }
        if !to_ask.is_empty() {
            self.ask(user, user_id, own, &to_ask, &mut counts).await?;
        }
        Ok(counts)
    }

    /// The rooms whose threads have messages since they were all read.
    async fn add_threads(
        &self,
        user: UserNid,
        rooms: Vec<(UnreadOf<'_>, Unread)>,
        counts: &mut HashMap<RoomNid, Unread>,
    ) -> Result<(), Error> {
        let mut threads: HashMap<RoomNid, Unread> = HashMap::new();
        let mut wanted = Vec::new();
        for (of, _) in &rooms {
            let known = self.0.tallies.get(&(user, of.room));
            let is_good = |tally: &&Arc<Tally>| {
                tally.until == NotifyCount::new(of.head.notify_count()).threads()
                    && tally.basis.is_threads(&Basis::new(*of, None))
            };
            match known.as_ref().filter(is_good) {
                Some(tally) => {
                    threads.insert(of.room, tally.unread.clone());
                }
                None => wanted.push(ThreadsOf {
                    room: of.room,
                    after: of.of_user.threads_position,
                    until: of.head.position(),
                }),
            }
        }
        let mut found = HashMap::new();
        if !wanted.is_empty() {
            let mut conn = self.0.store.conn().await?;
            found = unread::count_threads(&mut conn, user, &wanted).await?;
        }
        for (of, mut unread) in rooms {
            let of_threads = threads.remove(&of.room).unwrap_or_else(|| {
                let mut of_threads = Unread::default();
                for (thread, notifications) in found.remove(&of.room).unwrap_or_default() {
                    of_threads.of(Some(&thread)).notifications = notifications;
                }
                let tally = Tally {
                    basis: Basis::new(of, None),
                    until: NotifyCount::new(of.head.notify_count()).threads(),
                    unread: of_threads.clone(),
                };
                self.0.tallies.insert((user, of.room), Arc::new(tally));
                of_threads
            });
            for (thread, count) in of_threads.threads {
                unread.of(Some(&thread)).add(count);
            }
            self.note_threads_read(user, of, &unread).await?;
            counts.insert(of.room, unread);
        }
        Ok(())
    }

    /// Where no thread is unread, what comes before is not looked at again.
    async fn note_threads_read(
        &self,
        user: UserNid,
        of: UnreadOf<'_>,
        unread: &Unread,
    ) -> Result<(), Error> {
        let last = of.head.notify_count();
        let read = NotifyCount::new(of.of_user.threads_notify_count);
        if unread.has_threads() || NotifyCount::new(last).threads() <= read.threads() {
            return Ok(());
        }
        let (store, position) = (&self.0.store, of.head.position());
        store
            .note_threads_read(user, of.room, position, last)
            .await?;
        Ok(())
    }

    /// Asks the rules of a user about the unread events of rooms.
    async fn ask(
        &self,
        user: UserNid,
        user_id: &UserId,
        own: &OwnRules,
        rooms: &[UnreadOf<'_>],
        counts: &mut HashMap<RoomNid, Unread>,
    ) -> Result<(), Error> {
        let mut asked = Vec::new();
        for of in rooms {
            let basis = Basis::new(*of, Some(own));
            let known = self.0.tallies.get(&(user, of.room));
            let known =
                known.filter(|tally| tally.basis.is(&basis) && tally.until <= of.head.position().0);
            let (unread, after) = known.map_or_else(
                || {
                    let (main, threads) = (of.of_user.read_position, of.of_user.threads_position);
                    (Unread::default(), main.min(threads))
                },
                |tally| (tally.unread.clone(), RoomPosition(tally.until)),
            );
            asked.push((*of, basis, unread, after));
        }
        let mut ranges: Vec<_> = asked
            .iter()
            .filter(|(of, _, _, after)| *after < of.head.position())
            .map(|(of, _, _, after)| events::Range {
                room: of.room,
                first: RoomPosition(after.0 + 1),
                last: of.head.position(),
            })
            .collect();
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
        let usual = Arc::new(Rules::predefined(user_id));
        for (of, basis, mut unread, _) in asked {
            let rules = own.rules.as_ref().unwrap_or(&usual);
            let mut events = events.remove(&of.room).unwrap_or_default();
            // Read from the newest back, and told in the order in which they were written.
            events.sort_unstable_by_key(|event| event.position);
            for event in events {
                let place = (event.room, event.position);
                let thread = event.thread.as_ref().or_else(|| threads.get(&place));
                tell(&mut unread, &event, thread, of, own, rules, (user, user_id));
            }
            unread.threads.retain(|_, count| *count != Count::default());
            let tally = Tally {
                basis,
                until: of.head.position().0,
                unread: unread.clone(),
            };
            self.0.tallies.insert((user, of.room), Arc::new(tally));
            counts.insert(of.room, unread);
        }
        Ok(())
    }

    /// The events of ranges that memory has whole; these ranges are taken away.
    fn recent(&self, ranges: &mut Vec<events::Range>) -> HashMap<RoomNid, Vec<Arc<TimelineEvent>>> {
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
    /// Whether it is the same as far as threads go.
    fn is_threads(&self, other: &Self) -> bool {
        self.rules.is_none()
            && self.ignored.is_none()
            && self.members == 0
            && self.threads_position == other.threads_position
            && self.thread_reads == other.thread_reads
    }
}

/// How a user's unread messages in a room are counted.
pub fn class(own: &OwnRules, user_id: &UserId, room: &Room) -> Class {
    let ignores = |user: &OwnedUserId| room.member(user).is_some();
    if own
        .ignored
        .as_ref()
        .is_some_and(|ignored| ignored.iter().any(ignores))
    {
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
    own: &OwnRules,
    rules: &Rules,
    (user, user_id): (UserNid, &UserId),
) {
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
    let outcome = outcome(event, of.head.room(), own, rules, user_id);
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
    let ignored = own.ignored.as_ref();
    if ignored.is_some_and(|ignored| ignored.contains(sender)) {
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
