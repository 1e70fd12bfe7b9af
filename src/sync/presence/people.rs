//! What a process knows of who is there.
//!
//! Pure but for the lock around it: time is passed in.

use std::collections::{BTreeMap, HashMap};

use ruma::{OwnedUserId, UserId, presence::PresenceState};

use crate::store::{DeviceNid, UserNid};

/// For how long a device counts as there after its last sync has ended, in milliseconds.
const GONE_AFTER: i64 = 30_000;
/// After how long without doing anything somebody is idle, in milliseconds.
const IDLE_AFTER: i64 = 5 * 60_000;
/// For how long somebody counts as active without further news, in milliseconds.
const ACTIVE_FOR: i64 = 60_000;
/// How often the other processes are told again who is there, in milliseconds.
const TELL_AGAIN: i64 = 60_000;
/// For how long what another process told is believed, in milliseconds.
const BELIEVED_FOR: i64 = 150_000;
/// For how long somebody who is gone is remembered, so that every client hears of it, in
/// milliseconds.
const REMEMBERED_FOR: i64 = 15 * 60_000;
/// How many people are remembered at most.
const MAX_PEOPLE: usize = 100_000;
/// How many devices of one person count.
const MAX_DEVICES: usize = 20;
/// How many processes' news of one person count.
const MAX_PROCESSES: usize = 16;

/// What others see of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Who it is.
    pub user_id: OwnedUserId,
    /// Whether they are there.
    pub state: PresenceState,
    /// When they last did something, in milliseconds since the epoch; 0: never.
    pub last_active_ms: i64,
    /// Whether they are doing something now.
    pub currently_active: bool,
    /// What they say of themselves.
    pub status: Option<String>,
}

/// What one process tells the others of somebody.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct News {
    pub(super) user: UserNid,
    pub(super) user_id: OwnedUserId,
    pub(super) state: PresenceState,
    pub(super) last_active_ms: i64,
    /// What they say of themselves, and since when.
    pub(super) status: Option<String>,
    pub(super) status_ms: i64,
}

#[derive(Debug)]
struct Person {
    user_id: OwnedUserId,
    devices: HashMap<DeviceNid, Device>,
    /// What other processes told, and when.
    elsewhere: HashMap<String, (PresenceState, i64)>,
    last_active_ms: i64,
    status: Option<String>,
    status_ms: i64,
    /// What clients were shown last.
    shown: PresenceState,
    shown_active: bool,
    /// The time of the last change, which grows with each.
    changed_at: i64,
    /// When the other processes were told last.
    told_ms: i64,
}

/// A device at this process.
#[derive(Clone, Debug)]
struct Device {
    state: PresenceState,
    /// How many of its syncs are under way.
    syncs: u32,
    seen_ms: i64,
}

/// Everybody of whom something is known.
#[derive(Debug, Default)]
pub(super) struct People {
    known: HashMap<UserNid, Person>,
    /// Who changed when, oldest first.
    changes: BTreeMap<i64, UserNid>,
    /// The time of the newest change.
    newest: i64,
    /// Whose syncs have not been woken since, and whom the other processes have not been told of.
    untold: HashMap<UserNid, Untold>,
}

/// What is still to be told of somebody's change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Untold {
    /// Whether it is to be told to the other processes.
    pub(super) others: bool,
}

impl Person {
    fn new(user_id: &UserId) -> Self {
        Self {
            user_id: user_id.to_owned(),
            devices: HashMap::new(),
            elsewhere: HashMap::new(),
            last_active_ms: 0,
            status: None,
            status_ms: 0,
            shown: PresenceState::Offline,
            shown_active: false,
            changed_at: 0,
            told_ms: 0,
        }
    }

    /// What the devices at this process say, idle or not.
    fn here(&self, now: i64) -> PresenceState {
        let states = self.devices.values().map(|device| &device.state);
        let best = states.max_by_key(|state| rank(state));
        match best {
            Some(PresenceState::Online) if self.last_active_ms + IDLE_AFTER <= now => {
                PresenceState::Unavailable
            }
            Some(state) => state.clone(),
            None => PresenceState::Offline,
        }
    }

    fn state(&self, now: i64) -> PresenceState {
        let elsewhere = self.elsewhere.values().map(|(state, _)| state.clone());
        let here = self.here(now);
        let all = elsewhere.chain([here]);
        all.max_by_key(rank).unwrap_or(PresenceState::Offline)
    }

    fn is_active(&self, now: i64) -> bool {
        self.last_active_ms + ACTIVE_FOR > now
    }

    fn forget_gone(&mut self, now: i64) {
        self.devices
            .retain(|_, device| device.syncs > 0 || device.seen_ms + GONE_AFTER > now);
        self.elsewhere
            .retain(|_, (_, heard)| *heard + BELIEVED_FOR > now);
    }
}

fn rank(state: &PresenceState) -> u8 {
    match state {
        PresenceState::Online => 2,
        PresenceState::Unavailable => 1,
        _ => 0,
    }
}

impl People {
    /// A sync of a device begins, in this state.
    pub(super) fn begin_sync(
        &mut self,
        who: (UserNid, &UserId, DeviceNid),
        state: PresenceState,
        now: i64,
    ) {
        let (user, user_id, device) = who;
        let is_online = state == PresenceState::Online;
        self.with(user, user_id, now, |person| {
            let is_new = !person.devices.contains_key(&device);
            if is_new && person.devices.len() >= MAX_DEVICES {
                return;
            }
            let known = person.devices.entry(device).or_insert(Device {
                state: PresenceState::Offline,
                syncs: 0,
                seen_ms: now,
            });
            // Who comes online does something; who goes on waiting does not.
            if is_online && known.state != PresenceState::Online {
                person.last_active_ms = now;
            }
            known.state = state;
            known.syncs = known.syncs.saturating_add(1);
            known.seen_ms = now;
        });
    }

    /// A sync of a device has ended.
    pub(super) fn end_sync(&mut self, user: UserNid, device: DeviceNid, now: i64) {
        let known = self.known.get_mut(&user);
        if let Some(known) = known.and_then(|person| person.devices.get_mut(&device)) {
            known.syncs = known.syncs.saturating_sub(1);
            known.seen_ms = now;
        }
    }

    /// Somebody says how they are. `status`: `None` takes away what they said before.
    pub(super) fn set(
        &mut self,
        who: (UserNid, &UserId, DeviceNid),
        state: PresenceState,
        status: Option<String>,
        now: i64,
    ) {
        let (user, user_id, device) = who;
        let mut has_new_status = false;
        self.with(user, user_id, now, |person| {
            if state == PresenceState::Online {
                person.last_active_ms = now;
            }
            has_new_status = person.status != status;
            if has_new_status {
                person.status = status;
                person.status_ms = now;
            }
            if let Some(known) = person.devices.get_mut(&device) {
                known.state = state;
                known.seen_ms = now;
            } else if person.devices.len() < MAX_DEVICES {
                let seen_ms = now;
                let known = Device {
                    state,
                    syncs: 0,
                    seen_ms,
                };
                person.devices.insert(device, known);
            }
        });
        if has_new_status {
            self.change(user, now, true);
        }
    }

    /// Somebody who is here does something.
    pub(super) fn act(&mut self, user: UserNid, device: DeviceNid, now: i64) {
        let Some(person) = self.known.get_mut(&user) else {
            return;
        };
        if !person.devices.contains_key(&device) {
            return;
        }
        person.last_active_ms = now;
        if let Some(known) = person.devices.get_mut(&device)
            && known.state == PresenceState::Unavailable
        {
            known.state = PresenceState::Online;
        }
        self.look_at(user, now, true);
    }

    /// Another process tells of somebody.
    pub(super) fn hear(&mut self, process: &str, news: News, now: i64) {
        let mut has_new_status = false;
        let user = news.user;
        let user_id = news.user_id.clone();
        let Some(person) = self.person(user, &user_id) else {
            return;
        };
        if news.status_ms > person.status_ms {
            has_new_status = person.status != news.status;
            person.status = news.status;
            person.status_ms = news.status_ms;
        }
        person.last_active_ms = person.last_active_ms.max(news.last_active_ms.min(now));
        if news.state == PresenceState::Offline {
            person.elsewhere.remove(process);
        } else if person.elsewhere.contains_key(process) || person.elsewhere.len() < MAX_PROCESSES {
            person
                .elsewhere
                .insert(process.to_owned(), (news.state, now));
        }
        self.look_at(user, now, false);
        if has_new_status {
            self.change(user, now, false);
        }
    }

    /// Lets time pass: who is gone or idle is so from now on, and who was told long ago is told
    /// again.
    pub(super) fn pass(&mut self, now: i64) {
        let users: Vec<UserNid> = self.known.keys().copied().collect();
        for user in users {
            if let Some(person) = self.known.get_mut(&user) {
                person.forget_gone(now);
            }
            self.look_at(user, now, true);
            if let Some(person) = self.known.get_mut(&user)
                && !person.devices.is_empty()
                && person.told_ms + TELL_AGAIN <= now
            {
                person.told_ms = now;
                self.untold.entry(user).or_default().others = true;
            }
        }
        let mut forgotten = Vec::new();
        self.known.retain(|_, person| {
            let is_kept = !person.devices.is_empty()
                || !person.elsewhere.is_empty()
                || person.changed_at + REMEMBERED_FOR > now;
            if !is_kept {
                forgotten.push(person.changed_at);
            }
            is_kept
        });
        for at in forgotten {
            self.changes.remove(&at);
        }
    }

    /// Whom others are to be told of, at most so many. Asked once.
    pub(super) fn take_untold(&mut self, most: usize) -> Vec<(UserNid, Untold)> {
        let users: Vec<UserNid> = self.untold.keys().copied().take(most).collect();
        let take = |user: UserNid| Some((user, self.untold.remove(&user)?));
        users.into_iter().filter_map(take).collect()
    }

    /// What this process tells the others of somebody.
    pub(super) fn news_of(&mut self, user: UserNid, now: i64) -> Option<News> {
        let person = self.known.get_mut(&user)?;
        person.told_ms = now;
        Some(News {
            user,
            user_id: person.user_id.clone(),
            state: person.here(now),
            last_active_ms: person.last_active_ms,
            status: person.status.clone(),
            status_ms: person.status_ms,
        })
    }

    /// Who changed after `since`, newest first.
    pub(super) fn changed_after(&self, since: i64) -> impl Iterator<Item = UserNid> {
        let after = self.changes.range(since.saturating_add(1)..);
        after.rev().map(|(_, user)| *user)
    }

    /// Who changed after `since`, and when, oldest first.
    pub(super) fn changed_in_order(&self, since: i64) -> impl Iterator<Item = (i64, UserNid)> {
        let after = self.changes.range(since.saturating_add(1)..);
        after.map(|(at, user)| (*at, *user))
    }

    /// Who is there, or was a while ago, in no order.
    pub(super) fn present(&self) -> impl Iterator<Item = (UserNid, &UserId)> {
        let present = self.known.iter();
        let present = present.filter(|(_, person)| person.shown != PresenceState::Offline);
        present.map(|(user, person)| (*user, &*person.user_id))
    }

    /// The time of the newest change.
    pub(super) fn newest(&self) -> i64 {
        self.newest
    }

    /// The user id of somebody of whom something is known.
    pub(super) fn user_id(&self, user: UserNid) -> Option<&UserId> {
        self.known.get(&user).map(|person| &*person.user_id)
    }

    /// What others see of somebody. `None`: nothing is known.
    pub(super) fn shown(&self, user: UserNid, now: i64) -> Option<Shown> {
        let person = self.known.get(&user)?;
        let state = person.state(now);
        Some(Shown {
            user_id: person.user_id.clone(),
            currently_active: state == PresenceState::Online && person.is_active(now),
            state,
            last_active_ms: person.last_active_ms,
            status: person.status.clone(),
        })
    }

    fn person(&mut self, user: UserNid, user_id: &UserId) -> Option<&mut Person> {
        if !self.known.contains_key(&user) && self.known.len() >= MAX_PEOPLE {
            return None;
        }
        let person = self.known.entry(user);
        Some(person.or_insert_with(|| Person::new(user_id)))
    }

    /// Changes what is known of somebody at this process.
    fn with(
        &mut self,
        user: UserNid,
        user_id: &UserId,
        now: i64,
        change: impl FnOnce(&mut Person),
    ) {
        if let Some(person) = self.person(user, user_id) {
            change(person);
            self.look_at(user, now, true);
        }
    }

    /// Notes it if others see somebody differently from before.
    fn look_at(&mut self, user: UserNid, now: i64, is_here: bool) {
        let Some(person) = self.known.get_mut(&user) else {
            return;
        };
        let state = person.state(now);
        let is_active = state == PresenceState::Online && person.is_active(now);
        // While somebody is active no more is told of it; that they are not any more is no news
        // by itself: the next news will say so.
        let begins = is_active && !person.shown_active;
        person.shown_active = is_active;
        if state == person.shown && !begins {
            return;
        }
        person.shown = state;
        self.change(user, now, is_here);
    }

    fn change(&mut self, user: UserNid, now: i64, is_here: bool) {
        let at = now.max(self.newest + 1);
        self.newest = at;
        if let Some(person) = self.known.get_mut(&user) {
            self.changes.remove(&person.changed_at);
            person.changed_at = at;
            self.changes.insert(at, user);
            self.untold.entry(user).or_default().others |= is_here;
        }
    }
}
