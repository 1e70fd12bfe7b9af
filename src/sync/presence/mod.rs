//! Who is there: in memory only, and told once a second to those who look and to the other processes.
//!
//! What a client does is noted at once in [`people`]. Once a second the changes since are told
//! together: the syncs that wait and want to know are woken once, whoever changed, and the other
//! processes hear all of it in as few notifications as possible. Nothing is written down: a lost
//! message, or a restart, is put right by the next news. Somebody is seen by those who share a
//! room with them, and by nobody else.
//!
//! Client-server API v1.19, "Presence".

mod people;
mod section;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ruma::{UserId, presence::PresenceState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::people::People;
pub use self::{
    people::Shown,
    section::{content, event},
};
use super::Filter;
use crate::{
    clock::SharedClock,
    random::Random,
    rooms::Actor,
    store::{DeviceNid, Membership, Store, StoreError, UserNid, live::UserRooms, users},
};

/// How often changes are told.
const TICK: Duration = Duration::from_secs(1);
/// How many changed people are told of at once; the others have their turn a second later.
const MAX_TOLD: usize = 1_000;
/// How many views of people who are at other processes are read at once.
const MAX_LOADED: usize = 20;
/// Stands for the device of those who act without one: the users of application services.
const NO_DEVICE: DeviceNid = DeviceNid(0);
/// The longest status, in bytes.
const MAX_STATUS: usize = 1024;

/// Who is there. Cheap to clone.
#[derive(Clone)]
pub struct Presence(Arc<Inner>);

struct Inner {
    is_on: bool,
    store: Store,
    clock: SharedClock,
    /// Names this process, which hears what it tells.
    process: String,
    people: Mutex<People>,
    /// Whose waiting syncs want to know, and how many there are.
    lookers: Mutex<HashMap<UserNid, usize>>,
    /// Told when there were changes, at most once a second.
    news: watch::Sender<()>,
}

/// Somebody of whom there is news.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Who.
    pub user: UserNid,
    /// The time of the change, which grows with each.
    pub at: i64,
    /// How they are now.
    pub shown: Shown,
}

/// What somebody says of themselves cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the status is too long")]
pub struct StatusTooLong;

impl Presence {
    /// Presence; where it is not on, everybody is offline and nothing is noted.
    pub fn new(is_on: bool, store: Store, clock: SharedClock, random: &Random) -> Self {
        Self(Arc::new(Inner {
            is_on,
            store,
            clock,
            process: random.alphanumeric(8),
            people: Mutex::default(),
            lookers: Mutex::default(),
            news: watch::Sender::new(()),
        }))
    }

    /// Whether this server says who is there.
    pub fn is_on(&self) -> bool {
        self.0.is_on
    }

    /// A client syncs, in this state: what it holds counts for as long as it lives, and a little
    /// longer.
    pub fn begin_sync(&self, actor: &Actor, state: PresenceState) -> Option<Syncing> {
        let device = actor.device.filter(|_| self.0.is_on)?;
        let now = self.0.clock.now_i64();
        self.people()
            .begin_sync((actor.user, &actor.user_id, device), state, now);
        Some(Syncing {
            presence: self.clone(),
            user: actor.user,
            device,
        })
    }

    /// Somebody says how they are.
    ///
    /// # Errors
    /// [`StatusTooLong`].
    pub fn set(
        &self,
        actor: &Actor,
        state: PresenceState,
        status: Option<String>,
    ) -> Result<(), StatusTooLong> {
        if status
            .as_ref()
            .is_some_and(|status| status.len() > MAX_STATUS)
        {
            return Err(StatusTooLong);
        }
        if self.0.is_on {
            let device = actor.device.unwrap_or(NO_DEVICE);
            let now = self.0.clock.now_i64();
            let status = status.filter(|status| !status.is_empty());
            self.people()
                .set((actor.user, &actor.user_id, device), state, status, now);
        }
        Ok(())
    }

    /// Somebody does something that others see, such as sending a message.
    pub fn act(&self, actor: &Actor) {
        if let Some(device) = actor.device.filter(|_| self.0.is_on) {
            let now = self.0.clock.now_i64();
            self.people().act(actor.user, device, now);
        }
    }

    /// What a viewer may see of somebody. `None`: they share no room.
    pub async fn seen_by(
        &self,
        viewer: &Actor,
        user_id: &UserId,
    ) -> Result<Option<Shown>, StoreError> {
        let offline = || Shown {
            user_id: user_id.to_owned(),
            state: PresenceState::Offline,
            last_active_ms: 0,
            currently_active: false,
            status: None,
        };
        let user = if viewer.user_id == user_id {
            viewer.user
        } else {
            let store = &self.0.store;
            let found = users::find(&mut *store.conn().await?, user_id).await?;
            let Some(user) = found else { return Ok(None) };
            store.load_user(viewer.user).await?;
            store.load_user(user).await?;
            let (mine, theirs) = (self.rooms_of(viewer.user), self.rooms_of(user));
            let share = mine.zip(theirs);
            if !share.is_some_and(|(mine, theirs)| share_room(&mine, &theirs)) {
                return Ok(None);
            }
            user
        };
        let now = self.0.clock.now_i64();
        let shown = self.people().shown(user, now);
        Ok(Some(shown.unwrap_or_else(offline)))
    }

    /// The time, in milliseconds since the epoch.
    pub fn now(&self) -> i64 {
        self.0.clock.now_i64()
    }

    /// Told when somebody has changed, at most once a second.
    pub fn news(&self) -> watch::Receiver<()> {
        self.0.news.subscribe()
    }

    /// Up to `most` people who have changed after a moment, each once and as they are now, in the
    /// order of their changes; none where this is not on.
    pub fn changed_after(&self, since: i64, most: usize) -> Vec<Changed> {
        let now = self.0.clock.now_i64();
        let people = self.people();
        let changed = people.changed_in_order(since).take(most);
        let changed = changed.filter_map(|(at, user)| {
            let shown = people.shown(user, now)?;
            Some(Changed { user, at, shown })
        });
        changed.collect()
    }

    /// The time of the newest change.
    pub fn newest(&self) -> i64 {
        self.people().newest()
    }

    /// Takes in what another process told. A text that makes no sense changes nothing.
    pub fn hear(&self, text: &str) {
        if !self.0.is_on {
            return;
        }
        let Some((process, news)) = wire::parse(text) else {
            return;
        };
        if process == self.0.process {
            return;
        }
        let now = self.0.clock.now_i64();
        let mut people = self.people();
        for news in news {
            people.hear(&process, news, now);
        }
    }

    /// Tells of changes once a second, until `stop`. One task of each process.
    pub async fn run(self, stop: CancellationToken) {
        if !self.0.is_on {
            return;
        }
        while stop
            .run_until_cancelled(tokio::time::sleep(TICK))
            .await
            .is_some()
        {
            self.tick().await;
        }
    }

    /// Tells of what has changed since.
    pub async fn tick(&self) {
        let now = self.0.clock.now_i64();
        let (users, news) = {
            let mut people = self.people();
            people.pass(now);
            let untold = people.take_untold(MAX_TOLD);
            let told = untold.iter().filter(|(_, untold)| untold.others);
            let news: Vec<_> = told
                .filter_map(|(user, _)| people.news_of(*user, now))
                .collect();
            let users: Vec<UserNid> = untold.into_iter().map(|(user, _)| user).collect();
            (users, news)
        };
        if users.is_empty() {
            return;
        }
        for text in wire::texts(&self.0.process, &news) {
            if let Err(error) = self.0.store.announce_presence(&text).await {
                tracing::debug!(%error, "who is there was not told to the other processes");
            }
        }
        self.0.news.send_replace(());
        self.wake_lookers(&users).await;
    }

    /// Wakes the syncs that wait and want to know of one of these people.
    async fn wake_lookers(&self, users: &[UserNid]) {
        let mut lookers: HashSet<UserNid> = self.lookers().keys().copied().collect();
        if lookers.is_empty() {
            return;
        }
        let store = &self.0.store;
        let unknown = users.iter().filter(|user| !store.live().knows_user(**user));
        let unknown: Vec<UserNid> = unknown.copied().take(MAX_LOADED).collect();
        for user in unknown {
            // They are at another process. Once read, their view stays in memory for a while.
            if let Err(error) = store.load_user(user).await {
                tracing::debug!(%error, "nobody hears who is there");
                return;
            }
        }
        for user in users {
            let Some(rooms) = self.rooms_of(*user) else {
                continue;
            };
            for room in rooms.with(Membership::Join) {
                store.live().wake_some(room, &mut lookers);
                if lookers.is_empty() {
                    return;
                }
            }
        }
    }

    /// Counts somebody's waiting sync among those that want to know, if its filter says so.
    pub(super) fn look(&self, user: UserNid, filter: &Filter) -> Option<Looking<'_>> {
        if !self.0.is_on || !filter.presence.wants_type("m.presence") {
            return None;
        }
        *self.lookers().entry(user).or_default() += 1;
        Some(Looking {
            presence: self,
            user,
        })
    }

    fn rooms_of(&self, user: UserNid) -> Option<UserRooms> {
        let rooms = self.0.store.live().rooms_of(user);
        rooms.map(|(_, rooms)| rooms)
    }

    fn people(&self) -> MutexGuard<'_, People> {
        let people = self.0.people.lock();
        people.unwrap_or_else(PoisonError::into_inner)
    }

    fn lookers(&self) -> MutexGuard<'_, HashMap<UserNid, usize>> {
        let lookers = self.0.lookers.lock();
        lookers.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two people share a room. The shorter list is gone through.
fn share_room(one: &UserRooms, other: &UserRooms) -> bool {
    let (short, long) = if one.len() <= other.len() {
        (one, other)
    } else {
        (other, one)
    };
    short
        .with(Membership::Join)
        .any(|room| long.membership(room) == Membership::Join)
}

/// A sync under way.
pub struct Syncing {
    presence: Presence,
    user: UserNid,
    device: DeviceNid,
}

impl Drop for Syncing {
    fn drop(&mut self) {
        let now = self.presence.0.clock.now_i64();
        self.presence.people().end_sync(self.user, self.device, now);
    }
}

/// A waiting sync that wants to know who is there.
pub(super) struct Looking<'a> {
    presence: &'a Presence,
    user: UserNid,
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        let mut lookers = self.presence.lookers();
        if let Some(count) = lookers.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                lookers.remove(&self.user);
            }
        }
    }
}
