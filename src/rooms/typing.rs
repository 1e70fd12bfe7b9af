//! Who is typing: in memory only, and told to the other processes as it changes.
//!
//! Client-server API v1.19, "Typing notifications".

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ruma::{OwnedUserId, RoomId, UserId};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{Actor, Error, Rooms};
use crate::{
    clock::SharedClock,
    random::Random,
    store::{Membership, RoomNid, live::UserRooms},
};

/// The longest time for which one notice holds, in milliseconds.
const MAX_TIMEOUT: i64 = 120_000;
/// The most rooms that are remembered.
const MAX_ROOMS: usize = 10_000;
/// The most people who type in one room.
const MAX_USERS: usize = 100;
/// The shortest pause between two looks for notices that are over.
const MIN_PAUSE: Duration = Duration::from_millis(10);

/// Who types where.
#[derive(Debug)]
pub(super) struct Typing {
    rooms: Mutex<TypingRooms>,
    /// Told when something ends earlier than all that was known.
    earlier: Notify,
    /// Told of each change.
    news: watch::Sender<()>,
    clock: SharedClock,
    /// Names this process, which hears what it tells.
    process: String,
}

#[derive(Debug, Default)]
struct TypingRooms {
    rooms: HashMap<RoomNid, TypingRoom>,
    /// When the first notice of each room ends, in milliseconds.
    ends: BTreeSet<(i64, RoomNid)>,
    /// The time of the newest change in any room: each change has a time of its own.
    newest: i64,
}

/// One room. It stays after the last notice has ended, so that every sync hears of the end.
#[derive(Debug, Default)]
struct TypingRoom {
    /// Users with the end of their notice, in the order in which they began.
    users: Vec<(OwnedUserId, i64)>,
    changed_at: i64,
}

impl TypingRoom {
    fn end(&self) -> Option<i64> {
        self.users.iter().map(|(_, until)| *until).min()
    }

    /// The time of a change, after that of all earlier ones.
    fn change(&mut self, now: i64) {
        self.changed_at = now.max(self.changed_at + 1);
    }

    /// Drops what has ended; says whether there was anything.
    fn drop_ended(&mut self, now: i64) -> bool {
        let before = self.users.len();
        self.users.retain(|(_, until)| *until > now);
        let dropped = self.users.len() < before;
        if dropped {
            self.change(now);
        }
        dropped
    }

    /// Takes in a notice; says whether the list of those who type is another.
    fn set(&mut self, user: &UserId, until: Option<i64>, now: i64) -> bool {
        let at = self.users.iter().position(|(known, _)| known == user);
        match (at, until) {
            (Some(at), Some(until)) => {
                if let Some(known) = self.users.get_mut(at) {
                    known.1 = until;
                }
                return false;
            }
            (Some(at), None) => drop(self.users.remove(at)),
            (None, Some(until)) if self.users.len() < MAX_USERS => {
                self.users.push((user.to_owned(), until));
            }
            (None, _) => return false,
        }
        self.change(now);
        true
    }
}

impl TypingRooms {
    /// Changes a room and keeps the order of ends; `None` if there is no place for it.
    fn with<T>(&mut self, room: RoomNid, change: impl FnOnce(&mut TypingRoom) -> T) -> Option<T> {
        if !self.rooms.contains_key(&room) && self.rooms.len() >= MAX_ROOMS {
            self.rooms.retain(|_, room| !room.users.is_empty());
            if self.rooms.len() >= MAX_ROOMS {
                return None;
            }
        }
        let of_room = self.rooms.entry(room).or_default();
        let (before, changed_at) = (of_room.end(), of_room.changed_at);
        let answer = change(of_room);
        let after = of_room.end();
        if of_room.changed_at != changed_at {
            self.newest = of_room.changed_at.max(self.newest + 1);
            of_room.changed_at = self.newest;
        }
        if before != after {
            if let Some(before) = before {
                self.ends.remove(&(before, room));
            }
            if let Some(after) = after {
                self.ends.insert((after, room));
            }
        }
        Some(answer)
    }
}

impl Typing {
    pub(super) fn new(random: &Random, clock: SharedClock) -> Self {
        Self {
            rooms: Mutex::default(),
            earlier: Notify::new(),
            news: watch::Sender::new(()),
            clock,
            process: random.alphanumeric(8),
        }
    }

    /// Takes in that a user types for so many milliseconds from now on, or no longer; says whether
    /// the list of those who type is another.
    pub(super) fn set(&self, room: RoomNid, user: &UserId, timeout: i64) -> bool {
        let now = self.clock.now_i64();
        let timeout = timeout.min(MAX_TIMEOUT);
        let until = (timeout > 0).then_some(now + timeout);
        let mut rooms = self.lock();
        if until.is_none() && !rooms.rooms.contains_key(&room) {
            return false;
        }
        let first = rooms.ends.first().copied();
        let changed = rooms.with(room, |of_room| {
            let ended = of_room.drop_ended(now);
            of_room.set(user, until, now) || ended
        });
        let is_earlier = match (first, rooms.ends.first()) {
            (Some(before), Some(after)) => *after < before,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        drop(rooms);
        if is_earlier {
            self.earlier.notify_one();
        }
        changed.unwrap_or(false)
    }

    /// Who types, and since when that is so, if it has changed after `since`.
    pub(super) fn since(&self, room: RoomNid, since: i64) -> Option<(Vec<OwnedUserId>, i64)> {
        let now = self.clock.now_i64();
        let mut rooms = self.lock();
        if !rooms.rooms.contains_key(&room) {
            return None;
        }
        let answer = rooms.with(room, |of_room| {
            of_room.drop_ended(now);
            let changed = of_room.changed_at > since;
            changed.then(|| {
                let users = of_room.users.iter().map(|(user, _)| user.clone());
                (users.collect(), of_room.changed_at)
            })
        });
        answer.flatten()
    }

    /// The time of the newest change in any room.
    fn newest(&self) -> i64 {
        self.lock().newest
    }

    /// The rooms among these in which something changed after `since`.
    fn changed(&self, rooms: &UserRooms, since: i64) -> Vec<RoomNid> {
        let typing = self.lock();
        let changed = |room: &TypingRoom| room.changed_at > since;
        if typing.newest <= since {
            return Vec::new();
        }
        let of_user = typing.rooms.iter().filter(|(room, typing)| {
            changed(typing) && rooms.membership(**room) == Membership::Join
        });
        of_user.map(|(room, _)| *room).collect()
    }

    /// The rooms in which something changed after `since`.
    fn changed_rooms(&self, since: i64) -> Vec<RoomNid> {
        let typing = self.lock();
        if typing.newest <= since {
            return Vec::new();
        }
        let rooms = typing.rooms.iter();
        rooms
            .filter(|(_, room)| room.changed_at > since)
            .map(|(room, _)| *room)
            .collect()
    }

    /// Drops what has ended, and gives the rooms where that was so.
    pub(super) fn drop_ended(&self) -> Vec<RoomNid> {
        let now = self.clock.now_i64();
        let mut rooms = self.lock();
        let ended: Vec<_> = rooms
            .ends
            .iter()
            .take_while(|(end, _)| *end <= now)
            .map(|(_, room)| *room)
            .collect();
        for room in &ended {
            rooms.with(*room, |of_room| of_room.drop_ended(now));
        }
        ended
    }

    /// How long until a notice ends, if there is any.
    fn pause(&self) -> Option<Duration> {
        let (end, _) = *self.lock().ends.first()?;
        let left = u64::try_from(end - self.clock.now_i64()).unwrap_or(0);
        Some(Duration::from_millis(left).max(MIN_PAUSE))
    }

    fn lock(&self) -> MutexGuard<'_, TypingRooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    /// Says that a user types in a room, for so long, or no longer
    /// (`PUT /rooms/{roomId}/typing/{userId}`). At most two minutes.
    ///
    /// # Errors
    /// [`Error::NotJoined`].
    pub async fn set_typing(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        let room = self.joined_room(room_id, &actor.user_id).await?;
        let timeout = timeout.map_or(0, |timeout| {
            i64::try_from(timeout.as_millis()).unwrap_or(MAX_TIMEOUT)
        });
        let timeout = timeout.min(MAX_TIMEOUT);
        self.heard(room.nid(), &actor.user_id, timeout);
        let process = &self.0.typing.process;
        let text = format!("{process} {} {timeout} {}", room.nid(), actor.user_id);
        if let Err(error) = self.0.store.announce_typing(&text).await {
            // Nobody misses more than a few seconds of somebody typing.
            tracing::debug!(%error, "a typing notice was not told to the other processes");
        }
        Ok(())
    }

    /// Takes in what another process told. A text that makes no sense changes nothing.
    pub fn hear_typing(&self, text: &str) {
        let mut words = text.splitn(4, ' ');
        let mut next = || words.next();
        let (Some(process), Some(room), Some(timeout), Some(user)) =
            (next(), next(), next(), next())
        else {
            return;
        };
        if process == self.0.typing.process {
            return;
        }
        if let (Ok(room), Ok(timeout), Ok(user)) =
            (room.parse(), timeout.parse(), <&UserId>::try_from(user))
        {
            self.heard(RoomNid(room), user, timeout);
        }
    }

    fn heard(&self, room: RoomNid, user: &UserId, timeout: i64) {
        if self.0.typing.set(room, user, timeout) {
            self.0.store.live().wake_room(room);
            self.0.typing.news.send_replace(());
        }
    }

    /// Who types in a room, and the time in milliseconds of the last change, which grows with each.
    /// `None` if nothing has changed after `since`. Those who are not joined any more are left out.
    pub fn typing_since(&self, room: RoomNid, since: i64) -> Option<(Vec<OwnedUserId>, i64)> {
        let (mut users, changed_at) = self.0.typing.since(room, since)?;
        if let Some(live) = self.0.store.live().room(room) {
            let head = live.head();
            users.retain(|user| head.room().is_joined(user));
        }
        Some((users, changed_at))
    }

    /// Who types in which of a user's rooms, where that has changed after `since`; and the time to
    /// name as `since` next.
    pub fn typing_changes(
        &self,
        rooms: &UserRooms,
        since: i64,
    ) -> (Vec<(RoomNid, Vec<OwnedUserId>)>, i64) {
        let newest = self.0.typing.newest().max(since);
        let touched = self.0.typing.changed(rooms, since);
        let changes = touched.into_iter().filter_map(|room| {
            let (users, _) = self.typing_since(room, since)?;
            Some((room, users))
        });
        (changes.collect(), newest)
    }

    /// Who types in any room, where that has changed after `since`; and the time to name as `since`
    /// next. For who follows all rooms.
    pub fn all_typing_changes(&self, since: i64) -> (Vec<(RoomNid, Vec<OwnedUserId>)>, i64) {
        let newest = self.0.typing.newest().max(since);
        let touched = self.0.typing.changed_rooms(since);
        let changes = touched.into_iter().filter_map(|room| {
            let (users, _) = self.typing_since(room, since)?;
            Some((room, users))
        });
        (changes.collect(), newest)
    }

    /// Tells whenever it has changed who types anywhere.
    pub fn typing_news(&self) -> watch::Receiver<()> {
        self.0.typing.news.subscribe()
    }

    /// Ends typing notices when their time is over, until `stop`. One task of each process.
    pub async fn expire_typing(self, stop: CancellationToken) {
        let typing = &self.0.typing;
        loop {
            for room in typing.drop_ended() {
                self.0.store.live().wake_room(room);
                typing.news.send_replace(());
            }
            let pause = typing.pause();
            tokio::select! {
                () = stop.cancelled() => return,
                () = typing.earlier.notified() => {}
                () = tokio::time::sleep(pause.unwrap_or(Duration::MAX)), if pause.is_some() => {}
            }
        }
    }
}
